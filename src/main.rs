//! The `sandbox` command. It begins in [`entry`] and goes on in [`sandbox::cli`].
#![no_main]

#[path = "sys/entry.rs"]
mod entry;
