//! The seccomp filter: a program that the kernel runs before each system call.
//!
//! # What it is
//!
//! A filter gets the number of the system call, its architecture and its arguments. It cannot read the memory that an
//! argument points to. It decides what happens: the call is made, it fails with an errno, or the process is killed. A
//! child inherits the filter, and nobody can remove it. If a process has several filters, the kernel runs all of them.
//!
//! # Why one wants it
//!
//! All processes of a machine use the same kernel, which has some 360 system calls. A program needs a few dozen of
//! them, and most vulnerabilities are in the others.
//!
//! # The default filter
//!
//! It is a list of allowed calls, much like docker's:
//!
//! - A known call that is not allowed fails with EPERM. A call on no list fails with ENOSYS, as on a kernel that is too
//!   old for it, so that programs fall back to an older call. clone3(2) is on no list: its flags are in memory, where
//!   the filter cannot read them. Those of clone(2) are in an argument.
//! - A call that needs a capability is allowed if `capabilities` keeps this capability.
//! - The calls of 32-bit programs (i386 on x86_64) have other numbers, so the filter has a second table for them. Each
//!   call gets the action of the native one of the same name.
//! - A call of any other architecture kills the process by SIGSYS, because its numbers have unknown meanings.
//!
//! # A filter from a file
//!
//! `seccomp: ./profile.json` is a profile as docker, Podman and the OCI runtime specification have it. `profile` says what
//! it means, `file` reads its conditions, and `compile` makes the program. The default filter is such a profile too
//! (`calls`).
//!
//! # When it is installed
//!
//! Last of all, just before execve(2): the calls that set up the container need not be allowed. execve(2) must be, and a
//! plan whose filter denies it is refused before anything is made (`plan::behind`). Without no_new_privileges the kernel
//! requires CAP_SYS_ADMIN, so the process keeps that until execve(2), where it is lost. An init executes nothing. It
//! gets a filter of its own, which allows only the calls of its loop.
//!
//! # What you see
//!
//! `Seccomp: 2` in `/proc/PID/status`, and EPERM although root has the capability. seccomp(2)

mod calls;
mod compile;
mod file;
mod init;
mod profile;
mod table;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use caps::Capability;
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use self::file::{KernelVersion, ProfileFile, ProfilePlace};
pub use self::profile::{
    ArgumentTest, Comparison, FilterAction, FilterArchitecture, FilterFlag, SeccompProfile, SeccompRule,
};
use super::capabilities;
use super::status;
use crate::error::Error;
use crate::feature::Feature;
use crate::observe::Observation;
use crate::plan::call::restrict::RestrictCall;
use crate::plan::filter::MAX_INSTRUCTIONS;
use crate::plan::order::Phase;
use crate::plan::{Actor, Draft};
use crate::text::{text, text_with};
use crate::value::parse::Scalar;

/// `seccomp: default`, `none`, or the file of a profile.
#[derive(Debug, Clone, Default, PartialEq, Eq, JsonSchema)]
#[schemars(with = "Scalar", inline, example = &"default")]
pub enum Seccomp {
    /// The default filter.
    #[default]
    Default,
    /// No filter.
    None,
    /// The filter of a file.
    File(NamedProfile),
}

/// The file of a profile, and its content if it has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedProfile {
    path: PathBuf,
    content: Option<Arc<ProfileFile>>,
}

impl NamedProfile {
    /// A file that is not read yet.
    pub fn unread(path: PathBuf) -> NamedProfile {
        NamedProfile { path, content: None }
    }

    /// The file. `base` is the directory where a relative path begins.
    pub fn path_from(&self, base: &Path) -> PathBuf {
        base.join(&self.path)
    }

    /// The same file with its content.
    pub fn read(self, path: PathBuf, content: ProfileFile) -> NamedProfile {
        NamedProfile { path, content: Some(Arc::new(content)) }
    }
}

impl Seccomp {
    /// The profile of the filter. `bounding` is the bounding set of the container, if it gives up capabilities.
    ///
    /// # Errors
    /// The file of the profile has not been read.
    pub fn profile(&self, bounding: Option<&[Capability]>) -> Result<Option<SeccompProfile>, Error> {
        match self {
            Seccomp::None => Ok(None),
            Seccomp::Default => Ok(Some(calls::profile(bounding.unwrap_or(&capabilities::DEFAULT)))),
            Seccomp::File(NamedProfile { content: Some(content), .. }) => {
                let all: Vec<Capability> = caps::all().into_iter().collect();
                let bounding = bounding.unwrap_or(&all);
                let kernel = KernelVersion::of_this_machine();
                Ok(Some(content.resolve(ProfilePlace { bounding, kernel })))
            }
            Seccomp::File(file) => {
                let file = crate::text::printed(&file.path);
                Err(Error::failed(text_with("seccomp.unread", &[("file", &file)])))
            }
        }
    }
}

/// The steps of a filter.
pub fn plan(profile: &SeccompProfile, draft: &mut Draft) {
    let has_init = draft.has(Phase::Init);
    let mut filter = |phase, actor, profile: &SeccompProfile, why| match compile::compile(profile) {
        Ok(program) => {
            let flags = profile.flags.clone().into_iter().fold(0, |all, flag: FilterFlag| all | flag.bit());
            let call = RestrictCall::Filter { program, flags, unknown_names: profile.unknown_names() as u64 };
            draft.step(phase, actor, Feature::Seccomp, call, why);
        }
        Err(length) => {
            let values = [("length", &*length.to_string()), ("most", &*MAX_INSTRUCTIONS.to_string())];
            let error = Error::failed(text_with("seccomp.length", &values)).why(text("seccomp.length.why"));
            draft.problem_at(Feature::Seccomp, "seccomp", error.todo(text("seccomp.length.todo")));
        }
    };
    filter(Phase::Filter, Actor::Command, profile, "seccomp.filter.why");
    if has_init {
        filter(Phase::InitFilter, Actor::Child, &init::profile(), "seccomp.init.why");
    }
}

impl fmt::Display for Seccomp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Seccomp::Default => f.write_str("default"),
            Seccomp::None => f.write_str("none"),
            Seccomp::File(file) => write!(f, "{}", file.path.display()),
        }
    }
}

impl Serialize for Seccomp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Seccomp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match &*String::deserialize(deserializer)? {
            "default" => Ok(Seccomp::Default),
            "none" => Ok(Seccomp::None),
            path if path.starts_with('~') => Err(D::Error::custom(text("spec.tilde"))),
            path if path.starts_with(['.', '/']) || path.ends_with(".json") => {
                Ok(Seccomp::File(NamedProfile { path: path.into(), content: None }))
            }
            other => Err(D::Error::unknown_variant(other, &["default", "none", "./profile.json"])),
        }
    }
}

/// What to observe. A process on each side reads these lines.
pub fn observe(process: &str) -> Vec<Observation> {
    status(process, ["Seccomp", "Seccomp_filters"])
}

#[cfg(test)]
mod profile_tests;
#[cfg(test)]
mod tests;
