//! The `sandbox` command. It begins in [`entry`] and goes on in [`sandbox::cli`].
#![no_main]

#[path = "sys/entry.rs"]
mod entry;

// Why not musl's own: Cargo.toml.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;
