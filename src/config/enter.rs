//! Enters a running container: a plan of setns(2) calls, as nsenter(1) makes them. The command that it starts gets no
//! more than the process whose namespaces it joins.
//!
//! The container may be hostile: every program in it can be a trap, also `sh`. So the command takes over the user, the
//! capability sets and no_new_privs of that process, as its status file shows them, and moves to its cgroups where the
//! caller has the right to. It gets none of the caller's environment, and never the caller's terminal, into whose input
//! it could write (TIOCSTI). No file of /proc is read after the join: /proc inside belongs to the container, and a FIFO
//! in place of a file would wait for ever. proc_pid_status(5), capabilities(7)

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use caps::Capability;
use nix::unistd::AccessFlags;
use procfs::process::Status;

use super::compose::{Ending, frame};
use crate::error::{Error, Result};
use crate::feature::{Feature, Purpose};
use crate::host::ProgramFile;
use crate::host::identity::{IdentityChange, JoinedMaps};
use crate::host::resolver::Resolver;
use crate::namespaces::user::identity_calls;
use crate::observe::Unread;
use crate::observe::file;
use crate::observe::hierarchy::{Version, read_hierarchies};
use crate::observe::proc::{id_inside, namespace_link};
use crate::observe::processes;
use crate::plan::call::file::FileCall;
use crate::plan::call::mount::MountCall;
use crate::plan::call::process::{Namespaces, ProcessCall};
use crate::plan::call::restrict::RestrictCall;
use crate::plan::call::stream::StreamCall;
use crate::plan::call::terminal::TerminalCall;
use crate::plan::order::Phase;
use crate::plan::{Actor, Draft, Frame, Hold, Plan, TerminalPlace, plan_terminal};
use crate::security::capabilities::CapabilitySets;
use crate::text::{text, text_with};

/// A process whose namespaces are entered, and what is taken over from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entered {
    /// Its PID in the caller's PID namespace.
    pub pid: i32,
    /// When it was started, in clock ticks since the machine started.
    started: u64,
    /// Those of its namespaces that differ from the caller's.
    pub namespaces: Vec<Feature>,
    /// Their names, as its links show them: `net:[4026532281]`.
    pub(super) names: Vec<(Feature, String)>,
    /// Its root directory, if chroot(2) has changed it: a path from the root of its mount namespace.
    root: Option<PathBuf>,
    /// Its user and group IDs, in its user namespace.
    pub ids: (u32, u32),
    /// What the command changes to have these IDs, and none of the caller's groups.
    change: IdentityChange,
    /// The maps of its user namespace, if that is not the caller's.
    pub(super) maps: Option<JoinedMaps>,
    /// Its user ID, in the caller's user namespace.
    owner: u32,
    /// Its capability sets, as far as the caller can take them over.
    sets: CapabilitySets,
    /// Whether the bounding set has to be reduced.
    is_bounded: bool,
    no_new_privileges: bool,
    has_filter: bool,
    /// The files by which the caller moves to its cgroups.
    cgroups: Vec<PathBuf>,
    /// The lines of its /proc/PID/cgroup with these cgroups.
    cgroup_lines: Vec<String>,
    /// How many of its cgroups the caller may not enter.
    pub(super) closed_cgroups: usize,
}

/// The user ID that means no ID: the process's own has no name in its user namespace.
const NOBODY: u32 = 65534;

impl Entered {
    /// Reads the process.
    ///
    /// # Errors
    /// Its status cannot be read; its user namespace maps no ID, or denies to drop the caller's groups.
    pub fn read(pid: i32) -> Result<Entered> {
        let process = format!("/proc/{pid}");
        let unread =
            |path: &str, error| Error::failed(text("enter.unread")).call(format!("read(<{path}>)"), error);
        let status = |path: &str| file::parse::<Status>(path).map_err(|error| unread(path, error));
        let (theirs, own) = (status(&format!("{process}/status"))?, status("/proc/self/status")?);
        let names = named_others(pid)?;
        let namespaces: Vec<Feature> = names.iter().map(|(kind, _)| *kind).collect();
        let new_user = namespaces.contains(&Feature::User);
        let inside = |id: u32, map: &str| match new_user {
            true => id_inside(&format!("{process}/{map}"), id),
            false => Some(id),
        };
        let (user, group) = (inside(theirs.euid, "uid_map"), inside(theirs.egid, "gid_map"));
        let maps = new_user.then(|| JoinedMaps::of(pid)).transpose()?;
        let change = match &maps {
            Some(maps) => maps.identity(user.zip(group))?,
            None => {
                let setgroups = file::read_text(format!("{process}/setgroups")).unwrap_or_default();
                let is_privileged = own.capeff & Capability::CAP_SETGID.bitmask() != 0;
                let (theirs, own) = ((theirs.euid, theirs.egid), (own.euid, own.egid));
                let drops_groups = setgroups.trim() != "deny" && is_privileged;
                IdentityChange { ids: (drops_groups || theirs != own).then_some(theirs), drops_groups }
            }
        };
        let (cgroups, cgroup_lines, closed_cgroups) = cgroups(&process)?;
        let stat = format!("{process}/stat");
        let started = processes::read_started(pid).map_err(|error| unread(&stat, error))?;
        // Without an answer, the command would run outside of the root directory of the process.
        let root = std::fs::read_link(root(pid)).map_err(|error| unread(&root(pid), error))?;
        let (user, group) = change.ids.unwrap_or((user.unwrap_or(NOBODY), group.unwrap_or(NOBODY)));
        let (sets, is_bounded) = sets_of(&theirs, &own, new_user, user == 0);
        Ok(Entered {
            pid,
            ids: (user, group),
            change,
            maps,
            owner: theirs.euid,
            sets,
            is_bounded,
            no_new_privileges: theirs.nonewprivs == Some(1),
            has_filter: theirs.seccomp.is_some_and(|mode| mode != 0),
            names,
            namespaces,
            started: started.unwrap_or_default(),
            root: Some(root).filter(|root| root != Path::new("/")),
            cgroups,
            cgroup_lines,
            closed_cgroups,
        })
    }

    /// Its bounding set, if that has fewer capabilities than the caller could give.
    pub(super) fn bounding(&self) -> Option<&[Capability]> {
        self.is_bounded.then_some(&self.sets.bounding)
    }

    /// What the plan takes over, and what it cannot take over: one line for each.
    fn notes(&self, privileged: bool) -> Vec<String> {
        let names = self.namespaces.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ");
        let (pid, (user, group)) = (self.pid.to_string(), self.ids);
        let ids = format!("{user}:{group}");
        let mut values = vec![("names", names.as_str()), ("pid", &pid), ("ids", &ids)];
        if privileged {
            return vec![text_with("enter.note.privileged", &values)];
        }
        let more = [
            (self.no_new_privileges, "enter.note.nonew"),
            (!self.cgroups.is_empty(), "enter.note.cgroups"),
            (self.root.is_some(), "enter.note.root"),
        ];
        let more: String =
            more.iter().filter(|(is, _)| *is).map(|(_, key)| format!(", {}", text(key))).collect();
        values.push(("more", &more));
        let mut notes = vec![text_with("enter.note", &values)];
        let left = [(self.has_filter, "enter.note.filter"), (self.closed_cgroups > 0, "enter.note.closed")];
        let left: Vec<String> = left.iter().filter(|(is, _)| *is).map(|(_, key)| text(key)).collect();
        if !left.is_empty() {
            notes.push(text_with("enter.note.left", &[("left", &left.join(", "))]));
        }
        notes
    }
}

/// The sets of a process, and whether the bounding set has to be reduced. A process that joins a user namespace has all
/// capabilities in it; otherwise no set can have more than the caller has.
fn sets_of(theirs: &Status, own: &Status, new_user: bool, is_root: bool) -> (CapabilitySets, bool) {
    let mine = |set: u64| if new_user { u64::MAX } else { set };
    let permitted = theirs.capprm & mine(own.capprm);
    let inheritable = theirs.capinh & (permitted | mine(own.capinh | own.capbnd.unwrap_or_default()));
    let mut bounding = theirs.capbnd.unwrap_or_default();
    if is_root {
        // execve(2) gives root all of its bounding set. The process may have given up some of it.
        bounding &= permitted | inheritable;
    }
    let sets = CapabilitySets {
        bounding: names(bounding),
        permitted: names(permitted),
        effective: names(theirs.capeff & permitted),
        inheritable: names(inheritable),
        ambient: names(theirs.capamb.unwrap_or_default() & permitted & inheritable),
    };
    (sets, !names(mine(own.capbnd.unwrap_or_default()) & !bounding).is_empty())
}

/// The capabilities of a set, in the order of their numbers.
fn names(set: u64) -> Vec<Capability> {
    let mut all: Vec<Capability> =
        caps::all().into_iter().filter(|capability| set & capability.bitmask() != 0).collect();
    all.sort_by_key(|capability| *capability as u8);
    all
}

/// The namespaces of a process that differ from those of the caller.
///
/// # Errors
/// A link in /proc/PID/ns cannot be read: the command would stay in that namespace of the caller.
pub fn others(pid: i32) -> Result<Vec<Feature>> {
    Ok(named_others(pid)?.into_iter().map(|(kind, _)| kind).collect())
}

/// As [`others`], with the names of the namespaces.
fn named_others(pid: i32) -> Result<Vec<(Feature, String)>> {
    let process = format!("/proc/{pid}");
    let mut unread = Unread::default();
    let other = |kind: &Feature| {
        let mut link = |process: &str| {
            let link = namespace_link(process, *kind);
            unread.answer(&Path::new(process).join("ns").join(kind.name()), link)
        };
        let (theirs, own) = (link(&process), link("/proc/self"));
        Some((*kind, theirs.filter(|theirs| own.as_ref() != Some(theirs))?))
    };
    let others = Feature::NAMESPACES.iter().filter_map(other).collect();
    read_all(&unread).map(|()| others)
}

/// Fails if a file could not be read.
fn read_all(unread: &Unread) -> Result<()> {
    unread.errors().first().map_or(Ok(()), |error| Err(error.clone()))
}

/// The files by which the caller can move to the cgroups of a process that differ from its own, and the number of those
/// that it may not enter. In between, the lines of the process's /proc/PID/cgroup with these cgroups. On cgroup v2, the
/// caller must also have the right to write to the nearest common ancestor. cgroups(7)
///
/// # Errors
/// A file cannot be read: without an answer, the command would stay in the caller's cgroups, without the limits.
fn cgroups(process: &str) -> Result<(Vec<PathBuf>, Vec<String>, usize)> {
    let mut unread = Unread::default();
    let own = read_hierarchies("/proc/self", &mut unread);
    let theirs = read_hierarchies(process, &mut unread);
    let (mut files, mut paths, mut closed) = (Vec::new(), Vec::new(), 0);
    for (own, theirs) in own.iter().zip(&theirs) {
        if own.mount != theirs.mount || own.path == theirs.path {
            continue;
        }
        let (Some(from), Some(to)) = (own.own(), theirs.own()) else {
            closed += 1;
            continue;
        };
        let mut may_write = |file: &PathBuf| unread.may(file, AccessFlags::W_OK);
        // On v1, a single thread that moves itself by `tasks` does not wait as long as by cgroup.procs.
        let (file, is_open) = match own.version {
            Version::V1 => (to.join("tasks"), true),
            Version::V2 => {
                let common = to.ancestors().find(|above| from.starts_with(above)).unwrap_or(&own.mount);
                (to.join("cgroup.procs"), may_write(&common.join("cgroup.procs")))
            }
        };
        match is_open && may_write(&file) {
            true => {
                files.push(file);
                paths.push(theirs.path.clone());
            }
            false => closed += 1,
        }
    }
    let table = unread.text(format!("{process}/cgroup"));
    read_all(&unread)?;
    let path = |line: &str| line.splitn(3, ':').nth(2).map(PathBuf::from);
    let lines = table.lines().filter(|line| path(line).is_some_and(|path| paths.contains(&path)));
    Ok((files, lines.map(str::to_owned).collect(), closed))
}

/// How the command is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryOptions {
    /// The end of the plan.
    pub ending: Ending,
    /// The environment of the command. None: that of the caller.
    pub environment: Option<Vec<OsString>>,
    /// Whether the command keeps the capabilities of the caller.
    pub privileged: bool,
    /// Those of the caller's descriptors 0 to 2 that are a terminal.
    pub terminals: Vec<i32>,
    /// Whether the child reports what it sees.
    pub view: bool,
}

/// The plan. A helper process joins the namespaces and then makes the child, because a process enters a PID or time
/// namespace only as a new child.
pub fn plan(entered: &Entered, program: ProgramFile, entry: EntryOptions) -> Plan {
    let mut draft = Draft::new(Purpose::Container, Vec::new());
    draft.reserve();
    draft.frame(Frame { ends_orphans: false, ..Frame::default() });
    plan_joins(entered, program, !entry.privileged, &mut draft);
    if entry.environment.is_some() {
        plan_forget(&entry.terminals, &mut draft);
    }
    let is_command = matches!(entry.ending, Ending::Command { .. });
    frame(&mut draft, &Hold::Gate, entry.ending, entry.view, false, entry.environment, None);
    if is_command {
        entered.notes(entry.privileged).into_iter().for_each(|note| draft.note(note));
        draft.common(Phase::Undumpable, Actor::Command, ProcessCall::Undumpable, "run.undumpable.why");
    }
    plan_ids(entered, entry.privileged, &mut draft);
    if !entry.privileged {
        plan_sets(entered, &mut draft);
    }
    if is_command && !entry.terminals.is_empty() {
        let is_root = nix::unistd::geteuid().is_root();
        let owner = is_root.then_some(entered.owner);
        plan_terminal(&mut draft, TerminalPlace::Host, owner, None, entry.terminals);
    } else if is_command {
        // Without a controlling terminal, the command cannot open /dev/tty.
        let call = TerminalCall::NewSession;
        draft.common(Phase::Session, Actor::Command, call, "terminal.session.why");
    }
    draft.finish()
}

/// The steps by which a helper joins the namespaces of the process, and its cgroups, and then makes the child.
pub(super) fn plan_joins(entered: &Entered, program: ProgramFile, into_cgroups: bool, draft: &mut Draft) {
    let pid = entered.pid;
    if program.can_be_left {
        // /proc inside belongs to the container and may be hostile. So this is done before the join. Copies of the pages would
        // also take most of a small memory limit of the container.
        draft.common(Phase::Join, Actor::Helper, ProcessCall::PrepareProgram, "enter.program.why");
        let leave = ProcessCall::LeaveProgram { prepared: true };
        draft.common(Phase::ParentDeathSignal, Actor::Child, leave, "run.own.why");
    } else {
        draft.common(Phase::Program, Actor::Host, ProcessCall::ExecuteCopy, "run.copy.why");
    }
    draft.tree(Resolver::new(Some(Path::new(&root(pid)))));
    let open = ProcessCall::OpenContainer { pid, started: entered.started };
    draft.common(Phase::Prepare, Actor::Host, open, "common.container.why");
    if into_cgroups {
        for file in &entered.cgroups {
            let write = FileCall::Write { path: file.clone(), content: "0".into() };
            draft.common(Phase::Join, Actor::Child, write, "enter.cgroup.why");
        }
        draft.enters(entered.names.clone(), entered.cgroup_lines.clone());
    } else {
        draft.enters(entered.names.clone(), Vec::new());
    }
    let helper = Actor::Helper;
    // The helper still has the caller's credentials and descriptors, so no process of the container may trace it.
    draft.common(Phase::Offsets, helper, ProcessCall::Undumpable, "enter.undumpable.why");
    if !entered.namespaces.is_empty() {
        let join = ProcessCall::Join { pid: Some(pid), namespaces: Namespaces::of(&entered.namespaces) };
        draft.common(Phase::Offsets, helper, join, "enter.join.why");
    }
    if let Some(root) = entered.root.clone() {
        // setns(2) changes to the root of the mount namespace. The command is searched in the root of the process.
        draft.common(Phase::Offsets, helper, MountCall::Chroot { root }, "enter.root.why");
        draft.common(Phase::Offsets, helper, MountCall::Chdir { path: "/".into() }, "enter.root.why");
    }
    draft.through_helper();
}

/// The step by which the helper forgets what is the caller's, before its child is in a namespace of the container. Only if
/// the command gets an environment of its own. `replaced` are those of descriptors 0 to 2 that the command does not get.
pub(super) fn plan_forget(replaced: &[i32], draft: &mut Draft) {
    draft.common(Phase::Join, Actor::Helper, ProcessCall::ForgetCaller, "enter.forget.why");
    if !replaced.is_empty() {
        // Also the controlling terminal: by /dev/tty, it could be opened again.
        draft.common(Phase::Join, Actor::Helper, TerminalCall::NewSession, "terminal.session.why");
        let null = StreamCall::Null { descriptors: replaced.to_vec() };
        draft.common(Phase::Join, Actor::Helper, null, "enter.streams.why");
    }
}

/// The user of the command: the one of the process that is entered. With `privileged` and without a new user namespace,
/// the caller's stays.
fn plan_ids(entered: &Entered, privileged: bool, draft: &mut Draft) {
    let joins_user = entered.namespaces.contains(&Feature::User);
    if privileged && !joins_user {
        return;
    }
    // The kernel adds to the inheritable set only what is in the permitted set.
    let has_sets = !entered.sets.permitted.is_empty() || !entered.sets.inheritable.is_empty();
    if entered.change.ids.is_some_and(|(user, _)| user != 0) && has_sets && !privileged {
        let keep = ProcessCall::KeepCapabilities;
        draft.common(Phase::RunAs, Actor::Command, keep, "enter.keep.why");
    }
    for (call, why) in identity_calls(entered.change, "enter.ids.why") {
        draft.common(Phase::RunAs, Actor::Command, call, why);
    }
    if entered.change.ids.is_some() {
        draft.die_with_parent(Phase::RunAs, Actor::Command, draft.purpose(), "runas.pdeathsig.why");
    }
}

/// The capability sets and no_new_privs.
fn plan_sets(entered: &Entered, draft: &mut Draft) {
    let CapabilitySets { bounding, permitted, effective, inheritable, ambient } = entered.sets.clone();
    let mut step = |phase, call, why| draft.step(phase, Actor::Command, Feature::Capabilities, call, why);
    if entered.is_bounded {
        let keep = bounding;
        let last = crate::host::last_capability().unwrap_or(Capability::CAP_CHECKPOINT_RESTORE as u8);
        step(Phase::Bounding, RestrictCall::Bound { keep, last }, "capabilities.bound.why");
    }
    step(Phase::Capabilities, RestrictCall::ClearAmbient, "capabilities.ambient.why");
    let sets = RestrictCall::CapabilitySets { effective, permitted, inheritable, until_exec: Vec::new() };
    step(Phase::Capabilities, sets, "enter.sets.why");
    if !ambient.is_empty() {
        step(Phase::Capabilities, RestrictCall::RaiseAmbient { raise: ambient }, "enter.ambient.why");
    }
    if entered.no_new_privileges {
        step(Phase::NoNewPrivs, RestrictCall::NoNewPrivileges, "capabilities.nonew.why");
    }
}

/// The root directory of a process, as a path of the caller: a link in /proc. proc_pid_root(5)
pub fn root(pid: i32) -> String {
    format!("/proc/{pid}/root")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// This process, as if its namespaces were others.
    fn own(namespaces: &[Feature]) -> Entered {
        let own = Entered::read(std::process::id().cast_signed()).unwrap();
        Entered { pid: 1, namespaces: namespaces.to_vec(), ..own }
    }

    fn calls(entered: &Entered, privileged: bool, terminals: &[i32]) -> Vec<String> {
        let ending = Ending::Command { path: "/bin/true".into(), arguments: vec!["true".into()] };
        let terminals = terminals.to_vec();
        let entry = EntryOptions { ending, environment: Some(vec![]), privileged, terminals, view: false };
        let plan = plan(entered, ProgramFile::gather(), entry);
        assert!(plan.namespaces.is_empty());
        plan.steps.iter().map(|step| step.call.to_string()).collect()
    }

    #[test]
    fn a_plan_of_joins_makes_no_namespace() {
        let calls = calls(&own(&[Feature::Uts, Feature::Pid]), false, &[]);
        let place = |part: &str| calls.iter().position(|call| call.contains(part)).unwrap();
        let join = place("setns(<pidfd of 1>, CLONE_NEWUTS|CLONE_NEWPID)");
        assert!(place("PR_SET_DUMPABLE, 0") < join && join < place("CLONE_PARENT") && join < place("execve"));
        assert!(place("capset(") < place("execve") && place("setsid()") < place("execve"));
    }

    #[test]
    fn the_privileges_of_the_caller_are_kept_only_on_request() {
        let mut entered = own(&[Feature::Uts]);
        entered.sets.bounding = vec![Capability::CAP_KILL];
        entered.is_bounded = true;
        entered.no_new_privileges = true;
        let has = |privileged, part: &str| {
            calls(&entered, privileged, &[0, 2]).iter().any(|call| call.contains(part))
        };
        for part in ["capset(", "PR_CAPBSET_DROP, ~[CAP_KILL]", "PR_SET_NO_NEW_PRIVS"] {
            assert!(has(false, part) && !has(true, part), "{part}");
        }
        assert!(has(true, "TIOCSCTTY"), "the caller's terminal is never passed on");
        let all = calls(&entered, false, &[0, 2]);
        let place = |part: &str| all.iter().position(|call| call.contains(part)).unwrap();
        let null = place("dup2(<null>, 0); dup2(<null>, 2)");
        assert!(place("setsid()") < null && null < place("CLONE_PARENT"), "the helper has it no longer");
    }

    #[test]
    fn no_set_is_larger_than_that_of_the_process() {
        let status = file::parse::<Status>("/proc/self/status").unwrap();
        assert_eq!(sets_of(&status, &status, true, true).0.permitted, names(status.capprm));
        // Root that has given up CAP_KILL does not get it back by execve(2).
        let mut root = status;
        (root.capprm, root.capeff, root.capinh, root.capbnd) = (0b10_0001, 0b1, 0, Some(0b1111_1111));
        root.capamb = Some(0);
        let (sets, is_bounded) = sets_of(&root, &root, true, true);
        assert_eq!((sets.bounding, is_bounded), (names(0b10_0001), true));
        assert_eq!((sets.effective, sets.ambient), (names(0b1), vec![]));
        root.capbnd = Some(0);
        let (sets, is_bounded) = sets_of(&root, &root, true, false);
        assert_eq!((sets.bounding, is_bounded), (vec![], true));
    }
}
