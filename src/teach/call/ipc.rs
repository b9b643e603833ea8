//! System V objects, found by key, and POSIX message queues, found by name.

use std::fmt;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::plan::call::c_string;
use crate::plan::undo::Sysv;
use crate::sys::{queue, sysv};

/// The calls of this family. Those on queues open and close within one step, so no descriptor outlives it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IpcCall {
    /// shmget(2), semget(2), msgget(2) of an object that must not be there yet.
    Make {
        /// Which kind.
        kind: Sysv,
        /// Its key.
        key: i32,
    },
    /// The same of one that must be there.
    Find {
        /// Which kind.
        kind: Sysv,
        /// Its key.
        key: i32,
    },
    /// Writes into a segment, by shmat(2).
    Poke {
        /// The segment's id.
        id: i32,
        /// What.
        value: i32,
    },
    /// Reads what is there.
    Peek {
        /// The segment's id.
        id: i32,
    },
    /// semop(2): adds one to the first semaphore of a set.
    Raise {
        /// The set's id.
        id: i32,
    },
    /// semctl(2): what that semaphore holds.
    Value {
        /// The set's id.
        id: i32,
    },
    /// msgsnd(2) of one message.
    Put {
        /// The queue's id.
        id: i32,
    },
    /// msgrcv(2) of just that message: its length.
    Take {
        /// The queue's id.
        id: i32,
    },
    /// mq_open(3) of a queue that must not be there yet.
    MakeQueue(String),
    /// mq_send(3) of one message.
    Send(String),
    /// mq_getattr(3): how many messages wait.
    Waiting(String),
}

/// What is sent, as the calls print it.
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
                (words, length) if words == *MESSAGE => Ok(length as i64),
                _ => Err(Errno::EBADMSG),
            },
            IpcCall::MakeQueue(name) => queue::make(name).map(|()| 0),
            IpcCall::Send(name) => queue::send(name, MESSAGE).map(|()| 0),
            IpcCall::Waiting(name) => queue::waiting(name),
        }
    }
}
