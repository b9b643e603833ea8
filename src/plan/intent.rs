//! A limit as files of cgroup v1 and as files of cgroup v2, side by side: one controller has different interfaces in
//! the two versions.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::feature::Feature;
use crate::observe::hierarchy::{Controller, Version};

/// A limit that a controller shall enforce, once for each version of cgroups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Intent {
    /// The feature to which it belongs.
    pub feature: Feature,
    /// The controller that enforces it.
    pub controller: Controller,
    /// The limit as the user wrote it: `limit 64MiB`.
    pub wish: String,
    /// The files of cgroup v1 that are written, in this order.
    pub v1: Vec<Setting>,
    /// The files of cgroup v2 that are written, in this order.
    pub v2: Vec<Setting>,
    /// The version that has the controller on this machine. None if neither has it.
    pub here: Option<Version>,
    /// The key of the message that says why it is set, `NAME.why`. The messages `NAME.cannot` and `NAME.versions` say
    /// what it cannot do, and in what the versions differ.
    #[serde(serialize_with = "super::as_text")]
    pub why: &'static str,
    /// The same limit as a flag of Docker.
    pub docker: String,
    /// What the user must know about it on this machine: for instance, that the kernel accepts it but does not enforce
    /// it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// A description of the setting of cgroup v2, if it is more than a line in a file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
    /// Nothing on this machine enforces it. It is set if its file exists, and is shown as not effective.
    pub is_idle: bool,
    /// The instructions of a BPF program, if cgroup v2 has no file for this limit.
    #[serde(skip)]
    pub program: Option<Vec<u64>>,
}

/// A file of a cgroup, and the value that is written to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// The file's name.
    pub file: String,
    /// The value that is written.
    pub value: String,
    /// The value that the file shows afterwards. None if the kernel shows it in another form; then it is not compared.
    #[serde(skip)]
    pub shown: Option<String>,
}

impl Setting {
    /// A setting whose file then shows the value as it was written.
    pub fn new(file: &str, value: impl fmt::Display) -> Setting {
        let value = value.to_string();
        Setting { file: file.to_owned(), shown: Some(value.clone()), value }
    }

    /// A setting whose file then shows another text.
    pub fn shown_as(file: &str, value: impl fmt::Display, shown: Option<String>) -> Setting {
        Setting { file: file.to_owned(), value: value.to_string(), shown }
    }

    /// The path of the file in a cgroup's directory.
    pub fn path_in(&self, directory: &Path) -> PathBuf {
        directory.join(&self.file)
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{} = {}", self.file, self.value))
    }
}

impl Intent {
    /// The files that are written on this machine.
    pub fn settings(&self) -> &[Setting] {
        match self.here {
            Some(Version::V1) => &self.v1,
            Some(Version::V2) => &self.v2,
            None => &[],
        }
    }
}
