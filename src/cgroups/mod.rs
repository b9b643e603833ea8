//! The controllers of cgroups, one file each.

pub mod devices;
