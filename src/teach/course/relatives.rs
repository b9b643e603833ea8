//! Processes that are related to a process: its parent, its ancestors, its children.

use std::collections::BTreeSet;

use super::data::Relation;
use super::fact::FactValue;
use super::files;
use crate::observe::proc::status_of;
use crate::observe::{file, processes};

/// A process, and its name.
struct Relative {
    pid: String,
    name: String,
}

fn status(pid: &str) -> String {
    file::read_text(format!("/proc/{pid}/status")).unwrap_or_default()
}

/// The name of a starter. That of `sandbox` comes from the content of its executable: a copy can have any name.
fn name_of_starter(starter: Relative) -> String {
    match files::is_copy_of_checker(&format!("/proc/{}/exe", starter.pid)) {
        true => env!("CARGO_PKG_NAME").to_owned(),
        false => starter.name,
    }
}

fn field(status: &str, name: &str) -> String {
    status_of(status, name).unwrap_or_default().to_owned()
}

/// The parent of the process with this status, the parent of that, and so on.
fn ancestors(of: &str) -> Vec<Relative> {
    let (mut all, mut parent) = (Vec::new(), field(of, "PPid"));
    while parent != "0" && !parent.is_empty() {
        let status = status(&parent);
        all.push(Relative { pid: parent, name: field(&status, "Name") });
        parent = field(&status, "PPid");
    }
    all
}

/// The ancestors of a process that are no ancestors of the checker: the programs that started it.
fn starters(of: &str) -> Vec<Relative> {
    let checker = status("self");
    let mut shared: Vec<String> = ancestors(&checker).into_iter().map(|shared| shared.pid).collect();
    // `lesson test` starts what it checks.
    shared.push(field(&checker, "Pid"));
    ancestors(of).into_iter().filter(|relative| !shared.contains(&relative.pid)).collect()
}

/// The PID of the process with this directory in /proc.
pub(super) fn pid_of(process: &str) -> Option<i32> {
    let status = file::read_text(format!("{process}/status")).ok()?;
    field(&status, "Pid").parse().ok()
}

/// The PIDs of the processes that started it: its parent first.
pub(super) fn starters_of(process: &str) -> Vec<i32> {
    let status = file::read_text(format!("{process}/status")).unwrap_or_default();
    starters(&status).iter().filter_map(|starter| starter.pid.parse().ok()).collect()
}

/// Of these processes, the one that has all the others as ancestors.
pub(super) fn innermost(pids: &[i32]) -> Option<i32> {
    pids.iter().copied().find(|pid| {
        let above: BTreeSet<String> =
            ancestors(&status(&pid.to_string())).into_iter().map(|above| above.pid).collect();
        pids.iter().all(|other| other == pid || above.contains(&other.to_string()))
    })
}

/// The names of related processes.
pub(super) fn names(process: &str, relation: Relation) -> FactValue {
    FactValue::of(file::read_text(format!("{process}/status")), |own| {
        let names = |all: Vec<Relative>| all.into_iter().map(|relative| relative.name).collect();
        FactValue::list(match relation {
            Relation::Ancestors => names(ancestors(own)),
            Relation::Starters => starters(own).into_iter().map(name_of_starter).collect(),
            Relation::Children => children(own, false),
            Relation::Zombies => children(own, true),
        })
    })
}

/// The names of the children of the process with this status: those that have ended, or the others.
fn children(own: &str, have_ended: bool) -> Vec<String> {
    let pid = field(own, "Pid");
    let all = processes::pids().into_iter().map(|child| status(&child.to_string()));
    let wanted = all.filter(|status| {
        field(status, "PPid") == pid && field(status, "State").starts_with('Z') == have_ended
    });
    wanted.map(|status| field(&status, "Name")).collect()
}

/// A file in /proc of the parent. The arguments in `cmdline` are separated by a blank, not by the byte 0.
pub(super) fn file_of_parent(process: &str, path: &str) -> FactValue {
    let content = file::read_text(format!("{process}/status"))
        .and_then(|status| file::read_text(format!("/proc/{}/{path}", field(&status, "PPid"))));
    FactValue::of(content, |content| FactValue::lines(&without_zeros(content)))
}

/// The lines of a file in /proc of each process that started it. One that has ended, or that may not be read, has none.
pub(super) fn file_of_starters(process: &str, path: &str) -> FactValue {
    FactValue::of(file::read_text(format!("{process}/status")), |own| {
        let starters = starters(own).into_iter();
        let contents =
            starters.filter_map(|starter| file::read_text(format!("/proc/{}/{path}", starter.pid)).ok());
        FactValue::lines(&contents.map(|content| without_zeros(&content) + "\n").collect::<String>())
    })
}

fn without_zeros(content: &str) -> String {
    content.replace('\0', " ")
}
