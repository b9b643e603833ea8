//! One limit in both spellings: what v1 and what v2 of the same controller is told.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::feature::Feature;
use crate::observe::hierarchy::{Controller, Version};

/// What is wanted of a controller, once in the words of each version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Intent {
    /// The feature that it belongs to.
    pub feature: Feature,
    /// The controller that enforces it.
    pub controller: Controller,
    /// The flag's words: `limit 64MiB`.
    pub wish: String,
    /// What v1 is told, in this order.
    pub v1: Vec<Setting>,
    /// What v2 is told, in this order.
    pub v2: Vec<Setting>,
    /// Which of them this machine has; none where it has neither.
    pub here: Option<Version>,
    /// The catalogue's key: why it's set, and where it ends in `.why`, what can't be done (`.cannot`) and in what the two
    /// versions differ (`.versions`).
    #[serde(serialize_with = "super::as_text")]
    pub why: &'static str,
    /// Docker's flag for it.
    pub docker: String,
    /// What must be known about it on this machine: that it's accepted but not enforced, say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// What v2 is told, in words, where that is more than a file's line.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
    /// Nothing here would enforce it: it's set where there is a file for it, and said to be idle.
    pub is_idle: bool,
    /// What v2 is told by a BPF program, which is no file: its instructions.
    #[serde(skip)]
    pub program: Option<Vec<u64>>,
}

/// One file of a cgroup, and what is written to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// The file's name.
    pub file: String,
    /// What is written.
    pub value: String,
    /// What the file shows afterwards; none where the kernel shows it in another form, which is not compared.
    #[serde(skip)]
    pub shown: Option<String>,
}

impl Setting {
    /// `value` to `file`, which then shows it as it was written.
    pub fn new(file: &str, value: impl fmt::Display) -> Setting {
        let value = value.to_string();
        Setting { file: file.to_owned(), shown: Some(value.clone()), value }
    }

    /// `value` to `file`, which then shows something else.
    pub fn shown_as(file: &str, value: impl fmt::Display, shown: Option<String>) -> Setting {
        Setting { file: file.to_owned(), value: value.to_string(), shown }
    }

    /// The file in a cgroup's directory.
    pub fn path_in(&self, directory: &str) -> String {
        format!("{directory}/{}", self.file)
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{} = {}", self.file, self.value))
    }
}

impl Intent {
    /// What this machine is told.
    pub fn settings(&self) -> &[Setting] {
        match self.here {
            Some(Version::V1) => &self.v1,
            Some(Version::V2) => &self.v2,
            None => &[],
        }
    }
}
