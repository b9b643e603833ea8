//! System V IPC: objects that live in the kernel under a key until someone removes them. sysvipc(7)

use nix::errno::Errno;

use crate::plan::undo::Sysv;

/// The id of the object with this key in the caller's ipc namespace.
///
/// # Errors
/// ENOENT when there is none.
pub(crate) fn find(kind: Sysv, key: i32) -> Result<i32, Errno> {
    // SAFETY: without IPC_CREAT these only look up; no memory is passed.
    let id = unsafe {
        match kind {
            Sysv::Shm => libc::shmget(key, 0, 0),
            Sysv::Sem => libc::semget(key, 0, 0),
            Sysv::Msg => libc::msgget(key, 0),
        }
    };
    Errno::result(id)
}

/// Makes an object with this key, which must not be there yet.
///
/// # Errors
/// EEXIST; ENOSPC at the limits of sysvipc(7).
pub(crate) fn create(kind: Sysv, key: i32) -> Result<i32, Errno> {
    let flags = libc::IPC_CREAT | libc::IPC_EXCL | 0o600;
    // SAFETY: no memory is passed.
    Errno::result(unsafe {
        match kind {
            Sysv::Shm => libc::shmget(key, 4096, flags),
            Sysv::Sem => libc::semget(key, 1, flags),
            Sysv::Msg => libc::msgget(key, flags),
        }
    })
}

/// Removes the object with this key.
///
/// # Errors
/// ENOENT when there is none.
pub(crate) fn remove(kind: Sysv, key: i32) -> Result<(), Errno> {
    let id = find(kind, key)?;
    // SAFETY: IPC_RMID reads no further argument.
    let removed = unsafe {
        match kind {
            Sysv::Shm => libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut()),
            Sysv::Sem => libc::semctl(id, 0, libc::IPC_RMID),
            Sysv::Msg => libc::msgctl(id, libc::IPC_RMID, std::ptr::null_mut()),
        }
    };
    Errno::result(removed).map(|_| ())
}

/// Writes one number at the start of a segment.
///
/// # Errors
/// Those of shmat(2).
pub(crate) fn poke(id: i32, value: i32) -> Result<(), Errno> {
    attached(id, |start| {
        // SAFETY: `attached` gives a page-aligned place with room for the number.
        unsafe { start.write_volatile(value) }
    })
}

/// Reads the number at the start of a segment.
///
/// # Errors
/// As [`poke`].
pub(crate) fn peek(id: i32) -> Result<i32, Errno> {
    attached(id, |start| {
        // SAFETY: as in `poke`; every bit pattern is a number.
        unsafe { start.read_volatile() }
    })
}

/// A segment is whole pages, so any that can be attached has room for one number.
fn attached<T>(id: i32, act: impl FnOnce(*mut i32) -> T) -> Result<T, Errno> {
    // SAFETY: a null address has the kernel choose a free place, so nothing of ours is covered.
    let start = unsafe { libc::shmat(id, std::ptr::null(), 0) };
    if start as isize == -1 {
        return Err(Errno::last());
    }
    let done = act(start.cast());
    // SAFETY: this is the place that shmat gave, and nothing points into it any more.
    Errno::result(unsafe { libc::shmdt(start) }).map(|_| done)
}
