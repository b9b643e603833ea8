//! Which command ends a process. `kill PID` sends SIGTERM, and that does not end each process: process 1 of a PID namespace
//! does not get it without a handler, and it only reaches the command of `sandbox` through `sandbox`. A container that stays is removed by
//! its name, because its supervisor would start it again, and its files stay otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::Path;

use super::survey::{Survey, with_ancestors};
use crate::feature::Feature;
use crate::host::home::HomePlace;
use crate::observe::file;
use crate::observe::proc::{namespace_link, status_of};
use crate::teach::stop_signal::has_term;
use crate::teach::supervised::SupervisedContainer;
use crate::value::paste::command_line;

/// The most processes that one command ends.
const MAX_ENDED: usize = 20;

/// The supervisors among these processes.
pub(super) fn supervisors(pids: &BTreeSet<i32>) -> BTreeMap<i32, SupervisedContainer> {
    pids.iter().filter_map(|pid| Some((*pid, SupervisedContainer::of(*pid)?))).collect()
}

impl Survey {
    /// A command that ends all of these processes. None: they are too many to type, or have ended, and wait for their parent.
    pub(super) fn ending(&self, pids: &[i32]) -> Option<String> {
        let is_zombie =
            |pid: &i32| status_of(&status(*pid), "State").is_some_and(|state| state.starts_with('Z'));
        if pids.iter().all(is_zombie) {
            return None;
        }
        let containers: Option<Vec<_>> = pids.iter().map(|pid| self.container_of(*pid)).collect();
        if let Some(containers) = containers.filter(|containers| !containers.is_empty()) {
            return self.removal(&containers);
        }
        let mut ended: BTreeSet<i32> = pids.iter().map(|pid| self.command_of(*pid)).collect();
        // `sandbox` ends with its command. If it is killed, it removes nothing.
        let above = |pid: &i32| with_ancestors(&self.processes, *pid).skip(1).collect::<Vec<_>>();
        let above: BTreeSet<i32> = ended.iter().flat_map(above).filter(|pid| self.is_sandbox(*pid)).collect();
        ended.retain(|pid| !above.contains(pid));
        let is_forced = ended.iter().any(|pid| !self.ends_by_term(*pid));
        kill(&ended.into_iter().collect::<Vec<_>>(), is_forced)
    }

    /// A command that removes these containers. None: their HOME are different ones.
    pub(super) fn removal(&self, containers: &[&SupervisedContainer]) -> Option<String> {
        let home = containers.first().map(|container| container.home.as_path())?;
        if containers.iter().any(|container| container.home != home) {
            return None;
        }
        let place = HomePlace::find();
        let is_usual = [Some(&place.path), place.instead_of.as_ref().map(|(asked, _)| asked)]
            .into_iter()
            .flatten()
            .any(|path| path == home);
        let name_of = |container: &&SupervisedContainer| {
            let short = container.id.short();
            self.name_of(short).filter(|_| is_usual).unwrap_or(short).to_owned()
        };
        let names: BTreeSet<String> = containers.iter().map(name_of).collect();
        let words = |words: &[&str]| words.iter().map(|word| OsStr::new(word).to_owned()).collect::<Vec<_>>();
        let mut command = words(&["sandbox"]);
        if !is_usual {
            command.extend([OsStr::new("--home").to_owned(), home.as_os_str().to_owned()]);
        }
        command.extend(words(&["rm", "-f"]));
        command.extend(names.into_iter().map(Into::into));
        Some(command_line(command))
    }

    /// The container to which a process belongs: its supervisor is above the process, or they are in one PID namespace.
    pub(super) fn container_of(&self, pid: i32) -> Option<&SupervisedContainer> {
        let above = with_ancestors(&self.processes, pid).find_map(|pid| self.supervisors.get(&pid));
        above.or_else(|| {
            let namespace_of = |pid: i32| namespace_link(&format!("/proc/{pid}"), Feature::Pid).ok();
            let own = namespace_of(pid)?;
            let of_caller = namespace_link("/proc/self", Feature::Pid).ok();
            let is_in_it = |supervisor: &&i32| {
                self.children(**supervisor).any(|child| namespace_of(child).as_ref() == Some(&own))
            };
            let supervisor =
                self.supervisors.keys().find(is_in_it).filter(|_| Some(&own) != of_caller.as_ref());
            self.supervisors.get(supervisor?)
        })
    }

    /// The container that has this directory in RUN.
    pub(super) fn container_of_run(&self, path: &Path) -> Option<(i32, &SupervisedContainer)> {
        let id = path.file_name()?.to_str()?;
        let mut all = self.supervisors.iter();
        all.find(|(_, container)| container.id.as_str() == id).map(|(pid, container)| (*pid, container))
    }

    fn children(&self, of: i32) -> impl Iterator<Item = i32> {
        self.processes.iter().filter(move |(_, entry)| entry.parent == of).map(|(pid, _)| *pid)
    }

    fn is_sandbox(&self, pid: i32) -> bool {
        self.processes.get(&pid).is_some_and(|entry| entry.name == env!("CARGO_PKG_NAME"))
    }

    /// The process to end in place of this one: `sandbox` forwards SIGTERM to its command, which may not end by it.
    fn command_of(&self, pid: i32) -> i32 {
        let is_deaf = |child: &i32| !self.is_sandbox(*child) && !self.ends_by_term(*child);
        let command = self.is_sandbox(pid).then(|| self.children(pid).find(is_deaf)).flatten();
        command.unwrap_or(pid)
    }

    /// Whether SIGTERM ends a process, or is handled by it. signal(7), pid_namespaces(7)
    fn ends_by_term(&self, pid: i32) -> bool {
        gets_term(&status(pid), self.is_sandbox(pid))
    }
}

fn status(pid: i32) -> String {
    file::read_text(format!("/proc/{pid}/status")).unwrap_or_default()
}

/// Whether a process gets SIGTERM, as its /proc/PID/status says. `sandbox` reads it from a descriptor, or waits for it by
/// sigwait(3), for which the status has no sign.
fn gets_term(status: &str, is_sandbox: bool) -> bool {
    let field = |name| status_of(status, name).unwrap_or_default();
    let (is_caught, is_blocked) = (has_term(field("SigCgt")), has_term(field("SigBlk")));
    let pids: Vec<&str> = field("NSpid").split_whitespace().collect();
    let is_process_1 = pids.len() > 1 && pids.last() == Some(&"1");
    let is_stopped = field("State").starts_with(['T', 't']);
    let is_kept = is_blocked || is_process_1 && !is_caught || has_term(field("SigIgn"));
    !is_stopped && (is_sandbox || !is_kept)
}

/// A command that ends all of them. None: they are too many to type.
fn kill(pids: &[i32], is_forced: bool) -> Option<String> {
    let all: Vec<String> = pids.iter().map(ToString::to_string).collect();
    let kill = if is_forced { "kill -KILL" } else { "kill" };
    (pids.len() <= MAX_ENDED).then(|| format!("{kill} {}", all.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_ends_all_processes_or_is_not_given() {
        assert_eq!(kill(&[4, 5, 6, 7], false).as_deref(), Some("kill 4 5 6 7"));
        let many: Vec<i32> = (1..=21).collect();
        assert!(
            kill(&many[..20], true)
                .is_some_and(|line| line.starts_with("kill -KILL 1 2") && line.ends_with(" 20"))
        );
        assert_eq!(kill(&many, false), None);
    }

    #[test]
    fn a_process_that_does_not_get_sigterm_is_found() {
        let status = |state: &str, pids: &str, [blocked, ignored, caught]: [u64; 3]| {
            format!(
                "State:\t{state}\nNSpid:\t{pids}\nSigBlk:\t{blocked:016x}\nSigIgn:\t{ignored:016x}\nSigCgt:\t{caught:016x}\n"
            )
        };
        let term = 1 << 14;
        let usual = "S (sleeping)";
        for (status, expected) in [
            (status(usual, "7", [0, 0, 0]), true),
            (status(usual, "7 2", [0, 0, 0]), true),
            (status(usual, "7 1", [0, 0, 0]), false),
            (status(usual, "7 1", [0, 0, term]), true),
            (status(usual, "7", [0, term, 0]), false),
            (status(usual, "7", [term, 0, 0]), false),
            (status("T (stopped)", "7", [0, 0, 0]), false),
        ] {
            assert_eq!(gets_term(&status, false), expected, "{status}");
        }
        assert!(gets_term(&status(usual, "7", [term, 0, 0]), true));
        assert!(gets_term(&status(usual, "7 1", [0, 0, 0]), true));
    }
}
