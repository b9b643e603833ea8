//! The heap of glibc. It has one for each thread, and keeps what was freed for the next time. A daemon with many threads and few busy
//! moments would keep the memory of the busiest one.

/// Lets all threads share one heap. It is called before there are threads.
pub(crate) fn share() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it changes a number of the allocator, and no other thread uses that yet.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Gives free memory back to the kernel.
pub(crate) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes the lock of the heap, and touches only what is free.
    unsafe {
        libc::malloc_trim(0);
    }
}
