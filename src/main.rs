//! The `sandbox` command. It begins in [`entry`] and goes on in [`sandbox::cli`].
#![no_main]

#[path = "sys/entry.rs"]
mod entry;

#[path = "sys/heap.rs"]
mod heap;

#[global_allocator]
static HEAP: heap::Heap = heap::Heap;
