//! System V objects, found by key, and POSIX message queues, found by name.

use std::fmt;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use super::quoted;
use crate::plan::slots::Slots;
use crate::plan::undo::Sysv;
use crate::sys::{queue, sysv};

/// The calls of this family. Those on queues open and close within one step, so no descriptor outlives it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ipc {
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
    /// mq_open(3) of a queue that must not be there yet.
    MakeQueue(String),
    /// mq_send(3) of one message.
    Send(String),
    /// mq_getattr(3): how many messages wait.
    Waiting(String),
}

impl fmt::Display for Ipc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ipc::Make { kind, key } => {
                let flags = "IPC_CREAT|IPC_EXCL|0600";
                match kind {
                    Sysv::Shm => write!(f, "shmget({key:#x}, 4096, {flags})"),
                    Sysv::Sem => write!(f, "semget({key:#x}, 1, {flags})"),
                    Sysv::Msg => write!(f, "msgget({key:#x}, {flags})"),
                }
            }
            Ipc::Find { kind, key } => match kind {
                Sysv::Shm => write!(f, "shmget({key:#x}, 0, 0)"),
                Sysv::Sem => write!(f, "semget({key:#x}, 0, 0)"),
                Sysv::Msg => write!(f, "msgget({key:#x}, 0)"),
            },
            Ipc::Poke { id, value } => write!(f, "*(int *)shmat({id}, NULL, 0) = {value}"),
            Ipc::Peek { id } => write!(f, "*(int *)shmat({id}, NULL, 0)"),
            Ipc::MakeQueue(name) => {
                write!(f, "mq_open({}, O_CREAT|O_EXCL, 0600, {{4, 64}})", quoted(name))
            }
            Ipc::Send(name) => write!(f, "mq_send(mq_open({}, O_WRONLY), \"one\", 3, 0)", quoted(name)),
            Ipc::Waiting(name) => write!(f, "mq_getattr(mq_open({}, O_RDONLY)).mq_curmsgs", quoted(name)),
        }
    }
}

impl Ipc {
    /// Makes the call.
    pub(super) fn perform(&self, _: &mut Slots) -> Result<i64, Errno> {
        match self {
            Ipc::Make { kind, key } => sysv::create(*kind, *key).map(i64::from),
            Ipc::Find { kind, key } => sysv::find(*kind, *key).map(i64::from),
            Ipc::Poke { id, value } => sysv::poke(*id, *value).map(|()| 0),
            Ipc::Peek { id } => sysv::peek(*id).map(i64::from),
            Ipc::MakeQueue(name) => queue::make(name).map(|()| 0),
            Ipc::Send(name) => queue::send(name, b"one").map(|()| 0),
            Ipc::Waiting(name) => queue::waiting(name),
        }
    }
}
