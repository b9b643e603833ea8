//! Containers that stay after their command has ended, and whose command runs on after the command line that has started
//! it.
//!
//! [`record`] has the two files of a container, and [`store`] the directory with all of them. A container that runs has a
//! process of `sandbox` as its [`supervisor`]. Commands are clients of it ([`client`]), by the messages in [`message`].
//! [`life`] has what the commands do. [`anatomy`] has the parts of a container as the kernel shows them, and [`usage`] what it
//! uses of the machine.

pub mod anatomy;
mod ancestor;
pub mod attach;
pub mod client;
mod control;
pub mod description;
pub mod devices;
pub mod events;
pub mod exec_files;
pub mod explain;
pub mod filter;
pub mod frames;
pub mod freezer;
pub mod id;
#[cfg(feature = "images")]
pub mod layers;
pub mod life;
pub mod limits;
pub mod links;
pub mod listing;
pub mod log;
pub mod message;
pub mod name;
pub mod network;
pub mod object_events;
pub mod processes;
pub mod record;
pub mod refusal;
pub mod restart;
pub mod stats;
pub mod store;
pub mod stream;
pub mod supervisor;
pub mod upper;
pub mod usage;
pub mod usage_details;
pub mod volumes;
