//! A further process in a running container: `sandbox exec`.
//!
//! Its environment is the running one: a helper joins the container's namespaces and cgroups, as for `enter`. The process
//! itself is made from the container's config, by the same steps as the container's own: `compose::plan_process`. So it
//! has the restrictions that `run` was asked for, whatever the container has done since. Where the config asks for none,
//! it has no more capabilities than the container's process; what that one has from the caller of `run`, such as resource limits, it
//! has too ([`Inherited`]), as far as the caller of `exec` may raise them.
//!
//! The container may be hostile. The new process has none of the caller's descriptors, environment and terminals, and is
//! undumpable until execve(2). It is verified by the /proc of the host, never by the one inside.

mod written;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

pub use self::written::{NamedUser, user_of, variables};
use super::compose::{Ending, frame, keeps_admin, plan_process};
use super::container::{Config, Process};
use super::enter::{Entered, plan_forget, plan_joins, root};
use super::inherited::{Inherited, limits, may_raise};
use crate::error::{Error, Result};
use crate::feature::{Feature, Purpose};
use crate::host::accounts::Accounts;
use crate::host::containers::NameLine;
use crate::host::identity::IdentityChange;
use crate::host::resolver::Resolver;
use crate::host::untrusted::{UntrustedRoot, within_patience};
use crate::host::{self, Groups, Host, command};
use crate::namespaces::user::identity_calls;
use crate::observe::proc::namespace_link;
use crate::plan::call::file::FileCall;
use crate::plan::call::mount::MountCall;
use crate::plan::call::process::ProcessCall;
use crate::plan::call::user::IdMaps;
use crate::plan::order::Phase;
use crate::plan::{Actor, Context, Draft, Frame, Hold, Plan, Streams, TerminalPlace};
use crate::security::capabilities::CapabilitySets;
use crate::security::run_as::RunAs;
use crate::text::{text, text_with};

/// What the process has other than the container's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecRequest {
    /// The process of the container.
    pub pid: i32,
    /// The line of the container in its journal.
    pub container: NameLine,
    /// The command.
    pub arguments: Vec<OsString>,
    /// Variables that are added to its environment, as `NAME=VALUE`.
    pub variables: Vec<OsString>,
    /// The user, as `USER[:GROUP]`. None: that of the container.
    pub user: Option<OsString>,
    /// The working directory. None: that of the container's config.
    pub directory: Option<PathBuf>,
    /// Whether the command keeps the capabilities of the caller.
    pub privileged: bool,
    /// Descriptors 0 to 2.
    pub streams: Streams,
    /// Whether the process reports what it sees.
    pub view: bool,
}

/// The plan. It changes nothing.
///
/// # Errors
/// The process cannot be read, or has left the namespaces of its container; the user is not known there; the files of the
/// container do not answer; the command is not found (127), or cannot be executed (126).
pub fn plan(config: Config, request: ExecRequest) -> Result<Plan> {
    let process = format!("/proc/{}", request.pid);
    check_namespaces(&request.container, |kind| namespace_link(&process, kind).ok())?;
    let entered = Entered::read(request.pid)?;
    let Config { environment, process, .. } = config;
    // It may have left them meanwhile. Verify compares those that are joined with what was read here.
    check_namespaces(&request.container, |kind| {
        let other = entered.names.iter().find(|(other, _)| *other == kind).map(|(_, name)| name.clone());
        other.or_else(|| namespace_link("/proc/self", kind).ok())
    })?;
    let mut host = Host::gather();
    host.groups = Groups::gather();
    host.last_capability = host::last_capability();
    let maps = entered.maps.as_ref().map(IdMaps::from);
    if let Some(maps) = &entered.maps {
        // Its capabilities there include CAP_SETGID, but a map of one ID by an ordinary user denies setgroups(2).
        host.groups.are_fixed = maps.denies_setgroups;
    }
    let caller = Inherited::gather();
    let umask = process.inherited.as_ref().map(|inherited| inherited.umask);
    let inside = Inside::find(&process, &request)?;
    let process = further(process, &request, inside.user.as_ref(), &entered, caller.as_ref());
    let ending = Ending::Command { path: inside.program, arguments: request.arguments.clone() };

    let mut draft = Draft::new(Purpose::Container, Vec::new());
    draft.reserve();
    draft.frame(Frame { streams: request.streams, ..Frame::default() });
    plan_joins(&entered, host.program, true, &mut draft);
    plan_forget(request.streams.replaced(), &mut draft);
    if let Some(nice) = process.inherited.as_ref().and_then(|inherited| inherited.nice_for(caller.as_ref())) {
        // Before it joins: in another user namespace, nobody may lower a nice value.
        draft.common(Phase::Join, Actor::Helper, ProcessCall::SetNice(nice), "exec.nice.why");
    }
    draft.common(Phase::Prepare, Actor::Host, FileCall::OpenHostProc, "common.hostproc.why");
    if let Some(maps) = &entered.maps {
        plan_identity(maps.identity(None)?, &mut draft);
    }
    frame(
        &mut draft,
        &Hold::Gate,
        ending,
        request.view,
        true,
        process.env.clone(),
        process.inherited.as_ref(),
    );
    for error in host.unread.errors() {
        draft.problem(Purpose::Container, error.clone());
    }
    if entered.closed_cgroups > 0 && !environment.resources.controllers().is_empty() {
        let pid = request.pid.to_string();
        let why = text_with("exec.with.limits.reason", &[("pid", &pid)]);
        draft.problem(Purpose::Container, Error::failed(text("exec.with.limits")).why(why));
    }
    let chdir = MountCall::ChdirInside { path: inside.directory };
    draft.step(Phase::WorkingDirectory, Actor::Command, Feature::Mnt, chdir, "exec.workdir.why");
    if let Some(umask) = umask.filter(|own| caller.is_some_and(|caller| caller.umask != *own)) {
        let call = ProcessCall::SetUmask(umask);
        draft.common(Phase::WorkingDirectory, Actor::Command, call, "exec.umask.why");
    }
    let context = Context {
        host: &host,
        has_rootfs: false,
        mounts_sys: false,
        is_root: process.user.as_ref().is_none_or(RunAs::is_root),
        keeps_admin: keeps_admin(&process),
    };
    let has_terminals = environment.mounts.iter().any(|mount| mount.kind == "devpts");
    let place = if has_terminals { TerminalPlace::Joined } else { TerminalPlace::Host };
    plan_process(&process, &context, maps.as_ref(), place, true, &mut draft);
    if process.user.is_some() {
        // If fs.suid_dumpable is 1, a change of IDs makes the process dumpable, and so traceable, again.
        draft.common(Phase::RunAs, Actor::Command, ProcessCall::Undumpable, "enter.undumpable.why");
    }
    Ok(draft.finish())
}

/// What was found in the files of the container.
struct Inside {
    /// The user that was asked for.
    user: Option<NamedUser>,
    /// The file of the command.
    program: PathBuf,
    /// The working directory, without symbolic links.
    directory: PathBuf,
}

impl Inside {
    /// Looks. The files may be anything.
    fn find(own: &Process, request: &ExecRequest) -> Result<Inside> {
        let (pid, user) = (request.pid, request.user.clone());
        let name = request.arguments.first().cloned().unwrap_or_default();
        let path = variable("PATH", own, request).unwrap_or_else(|| command::PATH.into());
        let directory = request.directory.clone().or(own.cwd.clone()).unwrap_or_default();
        within_patience(pid, move || {
            let unread = |error: std::io::Error| {
                Error::failed(text("exec.with.root")).why(crate::error::io_text(&error))
            };
            let accounts = Accounts::of(UntrustedRoot::of(pid).map_err(unread)?);
            let tree = Resolver::new(Some(Path::new(&root(pid))));
            Ok(Inside {
                user: user.map(|user| user_of(&user, &accounts)).transpose()?,
                program: command::resolve(&name, &tree, &path)?,
                directory: tree.resolve(&Path::new("/").join(directory)).container,
            })
        })
    }
}

/// The value of a variable that the command gets: the last one that is set.
fn variable(name: &str, own: &Process, request: &ExecRequest) -> Option<OsString> {
    let entries = own.env.iter().flatten().chain(&request.variables).rev();
    let mut values =
        entries.filter_map(|entry| entry.as_bytes().strip_prefix(name.as_bytes())?.strip_prefix(b"="));
    values.next().map(|value| OsStr::from_bytes(value).to_owned())
}

/// The container's process, with what was asked for.
fn further(
    own: Process,
    request: &ExecRequest,
    named: Option<&NamedUser>,
    entered: &Entered,
    caller: Option<&Inherited>,
) -> Process {
    // In another user namespace, nobody may raise a hard limit.
    let may_raise = entered.maps.is_none() && may_raise();
    let rlimits = caller.map_or(own.rlimits.clone(), |caller| limits(&own, caller, may_raise));
    let user = named.map(|named| named.ids).or(own.user);
    let is_root = user.as_ref().is_none_or(RunAs::is_root);
    let capabilities = match &own.capabilities {
        _ if request.privileged => None,
        Some(sets) => {
            let was_root = own.user.as_ref().is_none_or(RunAs::is_root);
            // Another user has them only in the bounding set, and root has all of that.
            Some(if is_root == was_root { sets.clone() } else { CapabilitySets::of(&sets.bounding, is_root) })
        }
        // The container's command may have been started with fewer than the caller has.
        None => entered.bounding().map(|keep| CapabilitySets::of(keep, is_root)),
    };
    let variables = own.env.iter().flatten();
    let home = named.map(|named| [OsStr::new("HOME="), named.home.as_os_str()].join(OsStr::new("")));
    let mut all: BTreeMap<Vec<u8>, OsString> = BTreeMap::new();
    for entry in variables.chain(&home).chain(&request.variables) {
        let name = entry.as_bytes().split(|byte| *byte == b'=').next().unwrap_or_default();
        match entry.as_bytes().contains(&b'=') {
            true => all.insert(name.to_vec(), entry.clone()),
            // The caller has no variable of this name.
            false => all.remove(name),
        };
    }
    if request.streams == Streams::Terminal {
        // A container without a terminal has no type of one.
        all.entry(b"TERM".to_vec()).or_insert_with(|| "TERM=xterm".into());
    }
    Process {
        args: request.arguments.clone(),
        env: Some(all.into_values().collect()),
        cwd: request.directory.clone().or(own.cwd.clone()),
        user,
        additional_gids: named.map_or(own.additional_gids, |named| named.groups.clone()),
        capabilities,
        terminal: request.streams == Streams::Terminal,
        rlimits,
        no_new_privileges: own.no_new_privileges
            || own.inherited.as_ref().is_some_and(|inherited| inherited.no_new_privileges),
        // It has the size of the caller's terminal.
        console_size: None,
        timeout: None,
        ..own
    }
}

/// The helper becomes a user whom the user namespace maps, as the child of `run` does: a file that it makes, such as a pipe,
/// would otherwise have an owner without an ID there.
fn plan_identity(change: IdentityChange, draft: &mut Draft) {
    for (call, why) in identity_calls(change, "join.identity.why") {
        draft.step(Phase::Offsets, Actor::Helper, Feature::User, call, why);
    }
}

/// Refuses a command that is in other namespaces than those in which `run` has started it. `now` are those in which it is.
fn check_namespaces(own: &NameLine, now: impl Fn(Feature) -> Option<String>) -> Result<()> {
    let left = |kind: &Feature| Some((*kind, now(*kind).filter(|now| own.has_left(*kind, now))?));
    match Feature::NAMESPACES.iter().find_map(left) {
        Some((kind, now)) => Err(own.left(kind, &now)),
        None => Ok(()),
    }
}
