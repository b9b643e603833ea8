//! A number in memory that this process shares with those that it clones.

use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicI32, Ordering};

use nix::errno::Errno;

/// The errno of a call that has failed. To store it takes no system call, so no seccomp filter can prevent it.
#[derive(Debug)]
pub(crate) struct SharedErrno(NonNull<AtomicI32>);

impl SharedErrno {
    /// Makes the memory, with no errno in it: mmap(2) with MAP_SHARED. A process that is cloned from now on has it too, until
    /// it calls execve(2).
    ///
    /// # Errors
    /// ENOMEM: there is no memory.
    pub(crate) fn new() -> Result<SharedErrno, Errno> {
        let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: it is a new mapping, so it replaces none that somebody uses.
        let memory = unsafe { libc::mmap(ptr::null_mut(), size_of::<AtomicI32>(), access, kind, -1, 0) };
        if memory == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        NonNull::new(memory.cast()).map(SharedErrno).ok_or(Errno::ENOMEM)
    }

    /// Stores an errno.
    pub(crate) fn store(&self, errno: Errno) {
        self.number().store(errno as i32, Ordering::Release);
    }

    /// The errno, if one was stored by any of the processes.
    pub(crate) fn load(&self) -> Option<Errno> {
        Some(self.number().load(Ordering::Acquire)).filter(|number| *number != 0).map(Errno::from_raw)
    }

    fn number(&self) -> &AtomicI32 {
        // SAFETY: the memory is mapped as long as `self` lives, is aligned to a page, and begins as zeros. It is used only as
        // an atomic number.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for SharedErrno {
    fn drop(&mut self) {
        // SAFETY: the mapping is that of `new`, and `self` is its only owner in this process.
        unsafe { libc::munmap(self.0.as_ptr().cast(), size_of::<AtomicI32>()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_child_stores_is_read_here() {
        let shared = SharedErrno::new().unwrap();
        assert_eq!(shared.load(), None);
        // SAFETY: the child only stores a number and ends.
        match unsafe { nix::unistd::fork() }.unwrap() {
            nix::unistd::ForkResult::Child => {
                shared.store(Errno::ENOENT);
                crate::sys::exit(0)
            }
            nix::unistd::ForkResult::Parent { child } => {
                nix::sys::wait::waitpid(child, None).unwrap();
            }
        }
        assert_eq!(shared.load(), Some(Errno::ENOENT));
    }
}
