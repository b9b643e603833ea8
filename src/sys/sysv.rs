//! System V IPC: objects that live in the kernel under a key until someone removes them. sysvipc(7)

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

/// The three kinds of System V objects, by the names of their files below `/proc/sysvipc`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sysv {
    /// Shared memory.
    Shm,
    /// Semaphores.
    Sem,
    /// A message queue.
    Msg,
}

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

/// Adds one to the first semaphore of a set.
///
/// # Errors
/// Those of semop(2).
pub(crate) fn raise(id: i32) -> Result<(), Errno> {
    let mut operation = libc::sembuf { sem_num: 0, sem_op: 1, sem_flg: libc::IPC_NOWAIT as libc::c_short };
    // SAFETY: one operation is passed and one is said to be there; it outlives the call.
    Errno::result(unsafe { libc::semop(id, &raw mut operation, 1) }).map(|_| ())
}

/// The number that the first semaphore of a set holds.
///
/// # Errors
/// Those of semctl(2).
pub(crate) fn value(id: i32) -> Result<i32, Errno> {
    // SAFETY: GETVAL reads no further argument.
    Errno::result(unsafe { libc::semctl(id, 0, libc::GETVAL) })
}

/// A message as msgsnd(2) takes it and msgrcv(2) gives it.
#[repr(C)]
struct Message {
    kind: libc::c_long,
    words: [u8; 3],
}

/// Puts a message of three bytes into a queue, without waiting for room.
///
/// # Errors
/// Those of msgsnd(2).
pub(crate) fn put(id: i32, words: [u8; 3]) -> Result<(), Errno> {
    // A kind must be above zero.
    let message = Message { kind: 1, words };
    // SAFETY: the message begins with its kind, and behind that are the three bytes that are said to be there.
    Errno::result(unsafe { libc::msgsnd(id, (&raw const message).cast(), words.len(), libc::IPC_NOWAIT) })
        .map(|_| ())
}

/// Takes the oldest message out of a queue: its bytes, and how many the kernel wrote.
///
/// # Errors
/// ENOMSG: none waits. E2BIG: a longer one does.
pub(crate) fn take(id: i32) -> Result<([u8; 3], isize), Errno> {
    let mut message = Message { kind: 0, words: [0; 3] };
    let room = message.words.len();
    // SAFETY: the kernel writes the kind and at most as many bytes as are said to have room behind it.
    let length = unsafe { libc::msgrcv(id, (&raw mut message).cast(), room, 0, libc::IPC_NOWAIT) };
    Errno::result(length).map(|length| (message.words, length))
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
