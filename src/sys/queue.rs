//! POSIX message queues by name. mq_overview(7)

use nix::errno::Errno;
use nix::mqueue::{MQ_OFlag, MqAttr, MqdT, mq_close, mq_getattr, mq_open, mq_send, mq_unlink};
use nix::sys::stat::Mode;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Creates a queue, which must not exist yet, with room for one message of 16 bytes. Every limit allows that.
///
/// The attributes are given explicitly. Without them nix leaves out the mode too, but the kernel reads the mode with
/// O_CREAT.
pub(crate) fn make(name: &str) -> Result<(), Errno> {
    let flags = MQ_OFlag::O_RDONLY | MQ_OFlag::O_CREAT | MQ_OFlag::O_EXCL;
    let room = MqAttr::new(0, 1, 16, 0);
    mq_close(mq_open(name, flags, Mode::S_IRUSR | Mode::S_IWUSR, Some(&room))?)
}

/// Sends one message, without waiting for room.
pub(crate) fn send(name: &str, message: &[u8]) -> Result<(), Errno> {
    with(name, MQ_OFlag::O_WRONLY | MQ_OFlag::O_NONBLOCK, |queue| mq_send(queue, message, 0))
}

/// The number of messages in the queue.
pub(crate) fn waiting(name: &str) -> Result<i64, Errno> {
    with(name, MQ_OFlag::O_RDONLY, |queue| mq_getattr(queue).map(|attributes| attributes.curmsgs()))
}

/// The device and the inode of a queue. They prove that the queue is still the one that was created.
pub(crate) fn identity(name: &str) -> Option<String> {
    let stat = with(name, MQ_OFlag::O_RDONLY, |queue| {
        // SAFETY: the descriptor stays open until `with` closes it, after this.
        nix::sys::stat::fstat(unsafe { BorrowedFd::borrow_raw(queue.as_raw_fd()) })
    });
    stat.ok().map(|stat| format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// Removes the name. The queue is removed when no process has it open any more.
pub(crate) fn remove(name: &str) -> Result<(), Errno> {
    mq_unlink(name)
}

fn with<T>(name: &str, flags: MQ_OFlag, act: impl FnOnce(&MqdT) -> Result<T, Errno>) -> Result<T, Errno> {
    let queue = mq_open(name, flags, Mode::empty(), None)?;
    let done = act(&queue);
    mq_close(queue)?;
    done
}
