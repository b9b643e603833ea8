//! A process that a command line names: by its PID, or by the name of one of the caller's containers.

use std::fmt;
use std::str::FromStr;

use crate::diagnose;
use crate::error::{Error, Result};
use crate::exec::sweep;
use crate::feature::Purpose;
use crate::teach::compare::Subject;
use crate::text::{text, text_with};
use crate::value::shell::quote;

/// `4711` or `web`. A number is a PID.
#[derive(Debug, Clone)]
pub(super) enum Target {
    Pid(i32),
    Name(String),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Pid(pid) => pid.fmt(f),
            Target::Name(name) => f.write_str(&quote(name)),
        }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(target: &str) -> std::result::Result<Target, String> {
        match target.parse() {
            Ok(pid) if pid > 0 => Ok(Target::Pid(pid)),
            Err(_) if !target.is_empty() && !target.starts_with('-') => Ok(Target::Name(target.to_owned())),
            _ => Err(text("run.target.form")),
        }
    }
}

impl Target {
    /// Opens the process. `line` is the command line of `sandbox`, as [`Subject::open`] needs it.
    ///
    /// # Errors
    /// No container has this name, or several have it; as [`Subject::open`].
    pub(super) fn open(&self, line: &str) -> Result<Subject> {
        let name = match self {
            Target::Pid(pid) => return Subject::open(*pid, line),
            Target::Name(name) => name,
        };
        // The journal has a PID, which means nothing without /proc.
        diagnose::need_proc(line.split(' ').next().unwrap_or_default(), Purpose::Container)?;
        let values = [("name", name.as_str())];
        match &*sweep::named(name)? {
            [pid] => Subject::open(*pid, line),
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
