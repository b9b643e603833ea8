//! Calls on System V objects, which are found by key, and on POSIX message queues, which are found by name.

use std::fmt;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::plan::call::c_string;
use crate::plan::undo::Sysv;
use crate::sys::{queue, sysv};

/// The calls of this family. Calls on a POSIX queue open it and close it again, so that no descriptor stays open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IpcCall {
    /// shmget(2), semget(2) or msgget(2): makes an object, which must not exist yet. Returns its ID.
    Make {
        /// The kind of object.
        kind: Sysv,
        /// The key.
        key: i32,
    },
    /// The same calls for an object that must exist. Returns its ID.
    Find {
        /// The kind of object.
        kind: Sysv,
        /// The key.
        key: i32,
    },
    /// shmat(2): writes a number into a segment.
    Poke {
        /// The segment's ID.
        id: i32,
        /// The number.
        value: i32,
    },
    /// shmat(2): reads that number.
    Peek {
        /// The segment's ID.
        id: i32,
    },
    /// semop(2): adds one to the first semaphore of a set.
    Raise {
        /// The set's ID.
        id: i32,
    },
    /// semctl(2): the value of that semaphore.
    Value {
        /// The set's ID.
        id: i32,
    },
    /// msgsnd(2): sends one message.
    Put {
        /// The queue's ID.
        id: i32,
    },
    /// msgrcv(2): receives that message. Returns its length, or EBADMSG for another message.
    Take {
        /// The queue's ID.
        id: i32,
    },
    /// mq_open(3): makes a queue, which must not exist yet.
    MakeQueue(String),
    /// mq_send(3): sends one message.
    Send(String),
    /// mq_getattr(3): how many messages are in the queue.
    Waiting(String),
}

/// The message that is sent, as the calls print it.
const MESSAGE: &[u8; 3] = b"one";

impl fmt::Display for IpcCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IpcCall::Make { kind, key } => {
                let flags = "IPC_CREAT|IPC_EXCL|0600";
                match kind {
                    Sysv::Shm => write!(f, "shmget({key:#x}, 4096, {flags})"),
                    Sysv::Sem => write!(f, "semget({key:#x}, 1, {flags})"),
                    Sysv::Msg => write!(f, "msgget({key:#x}, {flags})"),
                }
            }
            IpcCall::Find { kind, key } => match kind {
                Sysv::Shm => write!(f, "shmget({key:#x}, 0, 0)"),
                Sysv::Sem => write!(f, "semget({key:#x}, 0, 0)"),
                Sysv::Msg => write!(f, "msgget({key:#x}, 0)"),
            },
            IpcCall::Poke { id, value } => write!(f, "*(int *)shmat({id}, NULL, 0) = {value}"),
            IpcCall::Peek { id } => write!(f, "*(int *)shmat({id}, NULL, 0)"),
            IpcCall::Raise { id } => write!(f, "semop({id}, [{{0, 1, IPC_NOWAIT}}], 1)"),
            IpcCall::Value { id } => write!(f, "semctl({id}, 0, GETVAL)"),
            IpcCall::Put { id } => write!(f, "msgsnd({id}, {{1, \"one\"}}, 3, IPC_NOWAIT)"),
            IpcCall::Take { id } => write!(f, "msgrcv({id}, {{1, \"one\"}}, 3, 0, IPC_NOWAIT)"),
            IpcCall::MakeQueue(name) => {
                write!(f, "mq_close(mq_open({}, O_CREAT|O_EXCL, ...))", c_string(name))
            }
            IpcCall::Send(name) => write!(f, "mq_send(mq_open({}, O_WRONLY), \"one\", 3, 0)", c_string(name)),
            IpcCall::Waiting(name) => {
                write!(f, "mq_getattr(mq_open({}, O_RDONLY)).mq_curmsgs", c_string(name))
            }
        }
    }
}

impl IpcCall {
    /// Makes the call.
    pub(super) fn perform(&self) -> Result<i64, Errno> {
        match self {
            IpcCall::Make { kind, key } => sysv::create(*kind, *key).map(i64::from),
            IpcCall::Find { kind, key } => sysv::find(*kind, *key).map(i64::from),
            IpcCall::Poke { id, value } => sysv::poke(*id, *value).map(|()| 0),
            IpcCall::Peek { id } => sysv::peek(*id).map(i64::from),
            IpcCall::Raise { id } => sysv::raise(*id).map(|()| 0),
            IpcCall::Value { id } => sysv::value(*id).map(i64::from),
            IpcCall::Put { id } => sysv::put(*id, *MESSAGE).map(|()| 0),
            IpcCall::Take { id } => match sysv::take(*id)? {
                (message, length) if message == *MESSAGE => Ok(length as i64),
                _ => Err(Errno::EBADMSG),
            },
            IpcCall::MakeQueue(name) => queue::make(name).map(|()| 0),
            IpcCall::Send(name) => queue::send(name, MESSAGE).map(|()| 0),
            IpcCall::Waiting(name) => queue::waiting(name),
        }
    }
}
