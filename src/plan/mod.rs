//! A plan: what will be done, as data. It is made without touching the machine, so it can be read, printed as JSON,
//! compared in a test, and then performed by `exec`.

pub mod call;
mod context;
mod draft;
pub mod expect;
pub mod gate;
mod intent;
pub mod order;
pub mod slots;
mod terminal;
pub mod undo;

use std::fmt;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

pub use self::call::Call;
pub use self::context::Context;
pub use self::draft::Draft;
pub use self::intent::{Intent, Setting};
pub use self::terminal::plan_terminal;
use crate::error::Error;
use crate::feature::{Feature, Purpose};
use crate::text::text;

/// Everything that one run of `sandbox` does, in order.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// What was asked for.
    #[serde(rename = "feature")]
    pub purpose: Purpose,
    /// The namespaces that are new in it.
    pub namespaces: Vec<Feature>,
    /// What the kernel forces besides what was asked for, and why.
    pub added: Vec<Addition>,
    /// What the container is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What the user should know of what they asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// How long the command may run, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
    /// The limits, each in the spelling of v1 and of v2.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub intents: Vec<Intent>,
    /// One ordered list over all actors.
    pub steps: Vec<Step>,
    /// What will stop this plan on this machine. Only `exec` treats them as fatal.
    pub problems: Vec<Problem>,
}

impl Plan {
    /// The name of the program that the plan ends in.
    pub fn command(&self) -> Option<&str> {
        self.arguments().first().map(String::as_str)
    }

    /// That program's name and arguments; none where the plan ends in a demonstration.
    pub fn arguments(&self) -> &[String] {
        let exec = self.steps.iter().find_map(|step| match &step.call {
            Call::Process(call::process::ProcessCall::Exec { arguments, .. }) => Some(arguments.as_slice()),
            _ => None,
        });
        exec.unwrap_or_default()
    }
}

/// A feature that nobody asked for but the kernel demands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Addition {
    /// What is isolated besides.
    pub feature: Feature,
    /// The catalogue's key of the reason: `not root`, `to mount /proc`.
    #[serde(serialize_with = "as_text")]
    pub reason: &'static str,
}

/// One call, by one actor, for one reason.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// Which process makes the call.
    pub actor: Actor,
    /// What it is for.
    #[serde(rename = "feature")]
    pub purpose: Purpose,
    /// The call.
    #[serde(serialize_with = "as_call")]
    pub call: Call,
    /// The catalogue's key of the reason.
    #[serde(serialize_with = "as_text")]
    pub why: &'static str,
    /// How it is undone, where it leaves something outside of the new process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undo: Option<undo::Undo>,
}

/// The processes of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Actor {
    /// `sandbox` itself, outside.
    Host,
    /// A process between the host and the child, for namespaces that only children enter (time).
    Helper,
    /// The process that is set up and becomes the command.
    Child,
    /// The command, where the child stays behind it as init.
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

/// Something that this machine won't allow, found before anything was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What it stops.
    pub purpose: Purpose,
    /// What can't be done, why, and what to do.
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

/// In a plan's JSON a call stands both as a person reads it and as data.
fn as_call<S: Serializer>(call: &Call, serializer: S) -> Result<S::Ok, S::Error> {
    let mut object = serializer.serialize_struct("Call", 2)?;
    object.serialize_field("text", &call.to_string())?;
    object.serialize_field("data", call)?;
    object.end()
}
