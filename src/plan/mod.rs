//! A plan: the list of system calls that a run of `sandbox` will make, as data. It is composed from the specification
//! and from facts about this machine. Nothing is made yet, so a plan can be printed as JSON or compared in a test.
//! `exec` performs it.

pub mod behind;
pub mod call;
mod context;
mod draft;
pub mod expect;
pub mod filter;
mod frame;
pub mod gate;
mod intent;
mod joined;
pub mod order;
pub mod slots;
mod streams;
mod terminal;
pub mod undo;

use std::ffi::{OsStr, OsString};
use std::fmt;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

pub use self::call::Call;
pub use self::context::Context;
pub use self::draft::Draft;
pub use self::frame::{Frame, Hold, Streams};
pub use self::intent::{Intent, Setting};
pub use self::joined::{JoinTurn, Joined};
pub use self::streams::{plan_null, plan_pipes, plan_streams};
pub use self::terminal::{TerminalPlace, plan_terminal};
use crate::error::Error;
use crate::feature::{Feature, Purpose};
use crate::host::resolver::Resolver;
use crate::text::text;

/// Everything that one run of `sandbox` does, in order.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// What was asked for.
    #[serde(rename = "feature")]
    pub purpose: Purpose,
    /// Whether this is the plan of root, although the caller is not root. It is printed because the caller's own plan
    /// could not do everything: create cgroups, or a bridge.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub as_root: bool,
    /// The namespaces that are new in it.
    pub namespaces: Vec<Feature>,
    /// The namespaces that it joins.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub joined: Vec<Joined>,
    /// The features that nobody asked for but the kernel requires, and why.
    pub added: Vec<Addition>,
    /// The name of the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What the user should know about what they asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Those of the notes that are about limits of the caller's cgroup. A container that stays reports them at each start.
    #[serde(skip)]
    pub limit_notes: Vec<String>,
    /// Those of the notes that are about something that no flag asks for, or about a flag without an effect. A container that stays
    /// reports them when it is made.
    #[serde(skip)]
    pub kept_notes: Vec<String>,
    /// How long the command may run, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
    /// The limits, each with its files of cgroup v1 and of cgroup v2.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub intents: Vec<Intent>,
    /// One ordered list over all actors.
    pub steps: Vec<Step>,
    /// The config of the container, as JSON. It is kept in RUN as long as the container runs.
    #[serde(skip)]
    pub config: Option<String>,
    /// What paths in the container resolve to. The file of the command is looked at by it, if execve refuses the file.
    #[serde(skip)]
    pub tree: Resolver,
    /// The namespaces of a running container that the plan enters, by their names: `net:[4026532281]`.
    #[serde(skip)]
    pub entered_namespaces: Vec<(Feature, String)>,
    /// The cgroups of that container which the plan enters: lines of /proc/PID/cgroup.
    #[serde(skip)]
    pub entered_cgroups: Vec<String>,
    /// What the plan has around the container itself.
    #[serde(skip)]
    pub frame: Frame,
    /// What prevents this plan on this machine. Only `exec` treats a problem as fatal.
    pub problems: Vec<Problem>,
}

impl Plan {
    /// The name of the program that the plan executes at its end.
    pub fn command(&self) -> Option<&OsStr> {
        self.arguments().first().map(OsString::as_os_str)
    }

    /// The name and the arguments of that program. Empty if the plan ends with a demonstration.
    pub fn arguments(&self) -> &[OsString] {
        let exec = self.steps.iter().find_map(|step| match &step.call {
            Call::Process(call::process::ProcessCall::Exec { arguments, .. }) => Some(arguments.as_slice()),
            _ => None,
        });
        exec.unwrap_or_default()
    }
}

/// A feature that nobody asked for but the kernel requires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Addition {
    /// The feature that is added.
    pub feature: Feature,
    /// The key of the message with the reason: `not root`, `to mount /proc`.
    #[serde(serialize_with = "as_text")]
    pub reason: &'static str,
}

/// One call, by one actor, for one reason.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// Which process makes the call.
    pub actor: Actor,
    /// What the step is for.
    #[serde(rename = "feature")]
    pub purpose: Purpose,
    /// The call.
    #[serde(serialize_with = "as_call")]
    pub call: Call,
    /// The key of the message with the reason.
    #[serde(serialize_with = "as_text")]
    pub why: &'static str,
    /// How the step is undone, if it leaves something outside of the new process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undo: Option<undo::Undo>,
}

/// The processes of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Actor {
    /// `sandbox` itself, on the host.
    Host,
    /// A process between the host and the child. Some namespaces (time) apply only to the children of the process that
    /// makes or joins them.
    Helper,
    /// The process that is confined and then becomes the command.
    Child,
    /// The command, if the child stays as its init.
    Command,
    /// The process that serves published ports.
    Relay,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Actor::Host => "OUTSIDE",
            Actor::Helper => "HELPER",
            Actor::Child => "INSIDE",
            Actor::Command => "COMMAND",
            Actor::Relay => "RELAY",
        })
    }
}

/// Something that this machine does not allow. It is found before anything is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The part of the plan that it prevents.
    pub purpose: Purpose,
    /// The key of the spec that it is about: `memory.limit`, or None for the key of the feature.
    pub key: Option<String>,
    /// What cannot be done, why, and what to do.
    pub error: Error,
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Problem", 4)?;
        object.serialize_field("feature", &self.purpose)?;
        object.serialize_field("what", &self.error.what)?;
        object.serialize_field("why", &self.error.reasons())?;
        object.serialize_field("todo", &self.error.todo)?;
        object.end()
    }
}

pub(super) fn as_text<S: Serializer>(key: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&text(key))
}

/// The JSON of a plan has each call twice: as text for people, and as data.
fn as_call<S: Serializer>(call: &Call, serializer: S) -> Result<S::Ok, S::Error> {
    let mut object = serializer.serialize_struct("Call", 2)?;
    object.serialize_field("text", &call.to_string())?;
    object.serialize_field("data", call)?;
    object.end()
}
