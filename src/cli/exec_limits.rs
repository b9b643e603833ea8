//! The limits of a container that a further command meets. The kernel tells the command only EAGAIN or SIGKILL: the reason is in the
//! cgroup of the container.

use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::observe::cgroup::{ProcessCgroup, memory_limit, oom_kills};
use crate::observe::hierarchy::Controller;
use crate::render;
use crate::text::{text, text_with};
use crate::value::shell::quote;
use crate::value::units::Size;

/// The exit status of a command that SIGKILL has ended.
const KILLED: u8 = 128 + 9;

/// How many processes the start of a command takes: the process that joins the container, and the command.
const NEEDED: u64 = 2;

/// The cgroups of a container before a command is started in it.
pub(super) struct MetLimits {
    pids: Option<ProcessCgroup>,
    memory: Option<PathBuf>,
    kills: u64,
    /// The name, if it is a container that stays: its limits can be changed.
    name: Option<String>,
}

impl MetLimits {
    /// Those of the container with this process.
    pub(super) fn of(pid: i32, name: Option<&str>) -> MetLimits {
        let cgroup = |controller| ProcessCgroup::of(&format!("/proc/{pid}"), controller);
        let memory = cgroup(Controller::Memory).map(|cgroup| cgroup.directory().to_owned());
        MetLimits {
            pids: cgroup(Controller::Pids),
            kills: memory.as_deref().map_or(0, oom_kills),
            memory,
            name: name.map(str::to_owned),
        }
    }

    /// Adds to an error that the container has as many processes as it may have.
    pub(super) fn explain(&self, error: Error) -> Error {
        let is_refused = error.call.as_deref().is_some_and(|call| call.contains("EAGAIN"));
        let number = |file| self.pids.as_ref().and_then(|cgroup| cgroup.number(file, file));
        let (Some(current), Some(most)) = (number("pids.current"), number("pids.max")) else { return error };
        if !is_refused || current + NEEDED <= most {
            return error;
        }
        let values = [("count", &*current.to_string()), ("most", &*most.to_string())];
        let error = Error { why: vec![text_with("exec.full", &values)], todo: Vec::new(), ..error };
        match &self.name {
            Some(name) => error.step(
                &text("exec.full.todo"),
                format!("sandbox update --pids-limit {} {}", 2 * most.max(NEEDED), quote(name)),
            ),
            None => error.todo(text("exec.full.other")),
        }
    }

    /// Prints that the OOM killer has ended the command.
    pub(super) fn report(&self, status: u8) {
        let kills = |memory: &Path| oom_kills(memory) > self.kills;
        let Some(memory) = self.memory.as_deref().filter(|memory| status == KILLED && kills(memory)) else {
            return;
        };
        let limit = memory_limit(memory);
        let shown = limit.map_or_else(|| "?".to_owned(), |limit| Size(limit).to_string());
        render::err(&format!("{}\n", text_with("memory.oom.own", &[("limit", &shown)])));
        if let (Some(name), Some(limit)) = (&self.name, limit) {
            let more = Size(limit.saturating_mul(2)).docker();
            let line = format!("sandbox update --memory {more} {}", quote(name));
            render::err(&format!("{}\n", text_with("exec.oom.todo", &[("line", &line)])));
        }
    }
}
