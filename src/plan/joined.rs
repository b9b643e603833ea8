//! A namespace that a plan joins.

use std::path::PathBuf;

use serde::Serialize;

use crate::feature::Feature;
use crate::host::joined::{JoinedNamespace, OpenNamespace};
use crate::text::text_with;
use crate::value::bytes;
use crate::value::join::JoinTarget;

/// A namespace that exists already, and that the container joins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Joined {
    /// Its kind.
    #[serde(rename = "feature")]
    pub kind: Feature,
    /// Its name, as the kernel shows it: `net:[4026532281]`.
    pub namespace: String,
    /// Whose it is: `container web, pid 4711`, or the path.
    pub of: String,
    /// The file that refers to it.
    #[serde(serialize_with = "bytes::serialize")]
    pub path: PathBuf,
    /// The device and the inode of that file.
    #[serde(skip)]
    pub identity: (u64, u64),
    /// Keeps it open, so that the inode means no other one. None: only its name is known.
    #[serde(skip)]
    pub open: Option<OpenNamespace>,
    /// When it is joined.
    #[serde(skip)]
    pub turn: JoinTurn,
}

/// When a namespace is joined, relative to the user namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum JoinTurn {
    /// The container has the caller's user namespace.
    Alone,
    /// Before the user namespace, which does not own it.
    BeforeUser,
    /// It is the user namespace.
    User,
    /// After the user namespace, which owns it.
    AfterUser,
}

impl Joined {
    /// A namespace that was found.
    pub fn new(found: &JoinedNamespace, turn: JoinTurn) -> Joined {
        Joined {
            kind: found.kind,
            namespace: found.name(),
            of: found.whose(),
            path: found.path.clone(),
            identity: found.identity,
            open: Some(found.open.clone()),
            turn,
        }
    }

    /// A namespace that was joined, of which only the name is known now.
    pub fn lost(kind: Feature, name: &str, target: &JoinTarget) -> Joined {
        Joined {
            kind,
            namespace: name.to_owned(),
            of: text_with("join.former", &[("target", &target.to_string())]),
            path: target.written().into(),
            identity: (0, 0),
            open: None,
            turn: JoinTurn::Alone,
        }
    }
}
