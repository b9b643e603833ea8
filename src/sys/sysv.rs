//! System V IPC: objects that live in the kernel under a key until someone removes them. sysvipc(7)

use nix::errno::Errno;

use crate::plan::undo::Sysv;

/// The id of the object with this key in the caller's ipc namespace.
pub(crate) fn find(kind: Sysv, key: i32) -> Option<i32> {
    // SAFETY: without IPC_CREAT these only look up; no memory is passed.
    let id = unsafe {
        match kind {
            Sysv::Shm => libc::shmget(key, 0, 0),
            Sysv::Sem => libc::semget(key, 0, 0),
            Sysv::Msg => libc::msgget(key, 0),
        }
    };
    Errno::result(id).ok()
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
    let id = find(kind, key).ok_or(Errno::ENOENT)?;
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
