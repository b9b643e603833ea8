//! System V IPC: objects in the kernel that have a key, and exist until they are removed. sysvipc(7)

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

/// The three kinds of System V objects. They are named as their files in `/proc/sysvipc`.
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

/// The ID of the object with this key in the caller's IPC namespace.
///
/// # Errors
/// ENOENT: there is none.
pub(crate) fn find(kind: Sysv, key: i32) -> Result<i32, Errno> {
    // SAFETY: without IPC_CREAT these calls only look up an object. No memory is passed.
    let id = unsafe {
        match kind {
            Sysv::Shm => libc::shmget(key, 0, 0),
            Sysv::Sem => libc::semget(key, 0, 0),
            Sysv::Msg => libc::msgget(key, 0),
        }
    };
    Errno::result(id)
}

/// Creates an object with this key, which must not exist yet.
///
/// # Errors
/// EEXIST: it exists. ENOSPC: a limit of sysvipc(7) is reached.
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
/// ENOENT: there is none.
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

/// Writes a number at the start of a shared memory segment.
///
/// # Errors
/// Those of shmat(2).
pub(crate) fn poke(id: i32, value: i32) -> Result<(), Errno> {
    attached(id, |start| {
        // SAFETY: `attached` passes a page-aligned address of memory that has room for the number.
        unsafe { start.write_volatile(value) }
    })
}

/// Reads the number at the start of a shared memory segment.
///
/// # Errors
/// As [`poke`].
pub(crate) fn peek(id: i32) -> Result<i32, Errno> {
    attached(id, |start| {
        // SAFETY: as in `poke`. Every bit pattern is a valid number.
        unsafe { start.read_volatile() }
    })
}

/// Adds one to the first semaphore of a set.
///
/// # Errors
/// Those of semop(2).
pub(crate) fn raise(id: i32) -> Result<(), Errno> {
    let mut operation = libc::sembuf { sem_num: 0, sem_op: 1, sem_flg: libc::IPC_NOWAIT as libc::c_short };
    // SAFETY: one operation is passed, with a count of one. It outlives the call.
    Errno::result(unsafe { libc::semop(id, &raw mut operation, 1) }).map(|_| ())
}

/// The value of the first semaphore of a set.
///
/// # Errors
/// Those of semctl(2).
pub(crate) fn value(id: i32) -> Result<i32, Errno> {
    // SAFETY: GETVAL reads no further argument.
    Errno::result(unsafe { libc::semctl(id, 0, libc::GETVAL) })
}

/// A message, as msgsnd(2) reads it and msgrcv(2) writes it: struct msgbuf.
#[repr(C)]
struct MessageBuffer {
    kind: libc::c_long,
    text: [u8; 3],
}

/// Sends a message of three bytes to a queue, without waiting for room.
///
/// # Errors
/// Those of msgsnd(2).
pub(crate) fn put(id: i32, text: [u8; 3]) -> Result<(), Errno> {
    // The type of a message must be greater than zero.
    let message = MessageBuffer { kind: 1, text };
    // SAFETY: the message begins with its type. After it are as many bytes as the length says.
    Errno::result(unsafe { libc::msgsnd(id, (&raw const message).cast(), text.len(), libc::IPC_NOWAIT) })
        .map(|_| ())
}

/// Receives the oldest message of a queue: its bytes, and how many of them the kernel wrote.
///
/// # Errors
/// ENOMSG: there is none. E2BIG: it is longer than three bytes.
pub(crate) fn take(id: i32) -> Result<([u8; 3], isize), Errno> {
    let mut message = MessageBuffer { kind: 0, text: [0; 3] };
    let room = message.text.len();
    // SAFETY: the kernel writes the type, and after it at most as many bytes as the length says.
    let length = unsafe { libc::msgrcv(id, (&raw mut message).cast(), room, 0, libc::IPC_NOWAIT) };
    Errno::result(length).map(|length| (message.text, length))
}

/// Attaches a segment, calls `act` with its address, and detaches it. A segment consists of whole pages, so it has room
/// for a number.
fn attached<T>(id: i32, act: impl FnOnce(*mut i32) -> T) -> Result<T, Errno> {
    // SAFETY: with a null address the kernel chooses a free one, so no memory of this process is replaced.
    let start = unsafe { libc::shmat(id, std::ptr::null(), 0) };
    if start as isize == -1 {
        return Err(Errno::last());
    }
    let done = act(start.cast());
    // SAFETY: this is the address that shmat(2) returned, and no pointer to it is used any more.
    Errno::result(unsafe { libc::shmdt(start) }).map(|_| done)
}
