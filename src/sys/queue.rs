//! POSIX message queues by name. mq_overview(7)

use nix::errno::Errno;
use nix::mqueue::{MQ_OFlag, MqAttr, MqdT, mq_close, mq_getattr, mq_open, mq_send, mq_unlink};
use nix::sys::stat::Mode;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Makes a queue that must not be there yet.
pub(crate) fn make(name: &str) -> Result<(), Errno> {
    let flags = MQ_OFlag::O_RDONLY | MQ_OFlag::O_CREAT | MQ_OFlag::O_EXCL;
    // With attributes, though the kernel has defaults: without them nix leaves the mode out too, and O_CREAT reads it.
    let small = MqAttr::new(0, 4, 64, 0);
    mq_close(mq_open(name, flags, Mode::S_IRUSR | Mode::S_IWUSR, Some(&small))?)
}

/// Sends one message, without waiting for room.
pub(crate) fn send(name: &str, message: &[u8]) -> Result<(), Errno> {
    with(name, MQ_OFlag::O_WRONLY | MQ_OFlag::O_NONBLOCK, |queue| mq_send(queue, message, 0))
}

/// How many messages wait.
pub(crate) fn waiting(name: &str) -> Result<i64, Errno> {
    with(name, MQ_OFlag::O_RDONLY, |queue| mq_getattr(queue).map(|attributes| attributes.curmsgs()))
}

/// The device and inode behind a name: what proves that a queue is still the one that was made.
pub(crate) fn identity(name: &str) -> Option<String> {
    let stat = with(name, MQ_OFlag::O_RDONLY, |queue| {
        // SAFETY: the descriptor stays open until `with` closes it, after this.
        nix::sys::stat::fstat(unsafe { BorrowedFd::borrow_raw(queue.as_raw_fd()) })
    });
    stat.ok().map(|stat| format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// Removes the name; the queue goes with its last user.
pub(crate) fn remove(name: &str) -> Result<(), Errno> {
    mq_unlink(name)
}

fn with<T>(name: &str, flags: MQ_OFlag, act: impl FnOnce(&MqdT) -> Result<T, Errno>) -> Result<T, Errno> {
    let queue = mq_open(name, flags, Mode::empty(), None)?;
    let done = act(&queue);
    mq_close(queue)?;
    done
}
