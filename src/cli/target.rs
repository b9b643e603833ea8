//! The process that a command line means: by its number, or by the name of a container of the caller's.

use std::str::FromStr;

use crate::error::{Error, Result};
use crate::exec::journal;
use crate::teach::compare::Subject;
use crate::text::{text, text_with};

/// `4711`, or `web`. A number is a process's.
#[derive(Debug, Clone)]
pub(super) enum Target {
    Pid(i32),
    Name(String),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(words: &str) -> std::result::Result<Target, String> {
        match words.parse() {
            Ok(pid) if pid > 0 => Ok(Target::Pid(pid)),
            Err(_) if !words.is_empty() && !words.starts_with('-') => Ok(Target::Name(words.to_owned())),
            _ => Err(text("run.target.form")),
        }
    }
}

impl Target {
    /// Takes hold of it.
    ///
    /// # Errors
    /// No container has the name, or several have; as [`Subject::open`].
    pub(super) fn open(&self) -> Result<Subject> {
        let name = match self {
            Target::Pid(pid) => return Subject::open(*pid),
            Target::Name(name) => name,
        };
        let values = [("name", name.as_str())];
        match &*journal::named(name) {
            [pid] => Subject::open(*pid),
            [] => {
                Err(Error::failed(text_with("run.target.none", &values)).todo(text("run.target.none.todo")))
            }
            several => {
                let pids = several.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                let todo = text_with("run.target.several.todo", &[("pids", &pids)]);
                Err(Error::failed(text_with("run.target.several", &values)).todo(todo))
            }
        }
    }
}
