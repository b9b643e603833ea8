//! The namespaces of a container that are joined in place of new ones: which can be joined, and when.

use nix::errno::Errno;

use super::complete::needs_privilege;
use super::container::{Config, ContainerNamespaces};
use super::spec::Spec;
use crate::error::Error;
use crate::feature::Feature;
use crate::host::{Host, JoinedNamespace};
use crate::plan::call::user::IdMaps;
use crate::plan::{Draft, JoinTurn, Joined};
use crate::text::{printed, text, text_with};
use crate::value::join::JoinTarget;
use crate::value::typed::TypedCommand;

/// Looks at the namespaces that a container joins.
pub(super) fn gather<'a>(joins: impl IntoIterator<Item = (Feature, &'a JoinTarget)>, host: &mut Host) {
    for (kind, target) in joins {
        match JoinedNamespace::find(kind, target) {
            Ok(None) => {}
            Ok(Some(found)) => host.joins.push((kind, Ok(found))),
            Err(error) => host.joins.push((kind, Err(error))),
        }
    }
    match host.joined(Feature::Net).map(JoinedNamespace::network_files) {
        Some(Ok(files)) => host.network_files = files,
        // The namespace is not joined without them.
        Some(Err(error)) => {
            host.joins.retain(|(kind, _)| *kind != Feature::Net);
            host.joins.push((Feature::Net, Err(error)));
        }
        None => {}
    }
}

/// The maps of the user namespace that is joined. They are empty where they could not be read.
pub(super) fn maps(host: &Host) -> IdMaps {
    let joined = host.joined(Feature::User).and_then(|user| user.maps.as_ref());
    joined.map(IdMaps::from).unwrap_or_default()
}

/// The kinds of which the container has the caller's own namespace by request: by `host`, or by the name of a process
/// that is in it too.
pub(super) fn kept(spec: &Spec, host: &Host) -> Vec<Feature> {
    let is_kept = |kind: Feature, target: &JoinTarget| {
        *target == JoinTarget::Host || host.joined(kind).is_some_and(|joined| joined.is_own)
    };
    spec.joins().into_iter().filter(|(kind, target)| is_kept(*kind, target)).map(|(kind, _)| kind).collect()
}

/// Whether the container joins a PID namespace that belongs to others.
pub(super) fn others_pids(spec: &Spec, host: &Host) -> bool {
    spec.pid.as_ref().is_some_and(|pid| pid.join.is_some())
        && host.joined(Feature::Pid).is_some_and(|joined| !joined.is_own)
}

/// When a namespace is joined. None: it is not joined, or it cannot be.
fn turn(kind: Feature, new_user: bool, host: &Host) -> Option<JoinTurn> {
    let joined = host.joined(kind)?;
    let user = host.joined(Feature::User).filter(|user| !user.is_own);
    Some(match (kind, user) {
        (Feature::User, _) => JoinTurn::User,
        (_, Some(user)) if joined.owners.contains(&user.identity.1) => JoinTurn::AfterUser,
        (_, Some(_)) => JoinTurn::BeforeUser,
        (_, None) if new_user => JoinTurn::BeforeUser,
        (_, None) => JoinTurn::Alone,
    })
}

/// Whether filesystems that belong to the container's namespace of this kind can be mounted, such as /proc for a PID
/// namespace. This takes CAP_SYS_ADMIN in the user namespace that owns it. `new_user` is whether the container has a new
/// user namespace.
pub(super) fn can_mount(kind: Feature, new_user: bool, host: &Host) -> bool {
    turn(kind, new_user, host) != Some(JoinTurn::BeforeUser)
}

/// Refuses what is not possible where the caller's own namespace stays. `spec` is the one that is planned.
pub(super) fn check(requested: &Spec, spec: &Spec, host: &Host, draft: &mut Draft) {
    let kept = kept(requested, host);
    for (kind, target) in requested.joins().into_iter().filter(|(kind, _)| kept.contains(kind)) {
        // `net` has a note of its own.
        if kind != Feature::Net || *target != JoinTarget::Host {
            let values = [("name", kind.name()), ("target", &*target.to_string())];
            draft.note(text_with("join.host.note", &values));
        }
    }
    requested.check_joins(draft);
    if requested.rootfs.is_some() && requested.mnt.as_ref().is_some_and(|mnt| mnt.join.is_some()) {
        let error = Error::failed(text("join.rootfs.what")).why(text("mnt.joined.reason"));
        draft.problem_of(Feature::Mnt, "join", error.todo(text("mnt.joined.todo")));
    }
    if let Some(join) = requested.pid.as_ref().and_then(|pid| pid.join.as_ref()).filter(|_| requested.init) {
        draft.refuse_joined_at(Feature::Pid, "init", "init: true", join, "pid.joined.reason");
    }
    if kept.contains(&Feature::User) && !host.privileged && needs_privilege(spec) {
        let error = Error::failed(text("join.userhost.what")).why(text("join.userhost.reason"));
        let line = TypedCommand::of_this_process().as_root();
        draft.problem_of(Feature::User, "join", error.step(&text("join.userhost.todo"), line));
    }
}

/// Adds the namespaces that are joined, or the reason why one cannot be.
pub(super) fn plan(config: &Config, host: &Host, draft: &mut Draft) {
    let namespaces = &config.environment.namespaces;
    let new_user = namespaces.user.is_new();
    // Then it is not known in which user namespace the others are joined, and its own error is the one to report.
    let is_user_unknown = host.joins.iter().any(|(kind, found)| *kind == Feature::User && found.is_err());
    for (kind, target, name) in namespaces.joins() {
        match host.joins.iter().find(|(found, _)| *found == kind) {
            Some((_, Ok(joined))) => {
                let Some(turn) = turn(kind, new_user, host) else { continue };
                let is_other = name.is_some_and(|name| name != joined.name());
                let obstacle = || obstacle(joined, turn, host).filter(|_| !is_user_unknown);
                if let Some(error) = obstacle().or_else(|| is_other.then(|| replaced(joined))) {
                    draft.problem_of(kind, "join", error);
                }
                draft.join(match name.filter(|_| is_other) {
                    Some(name) => Joined::lost(kind, name, target),
                    None => Joined::new(joined, turn),
                });
            }
            Some((_, Err(error))) => {
                draft.problem_of(kind, "join", error.clone());
                // What a container has joined is known by its name also when the name of its owner means nothing now.
                name.iter().for_each(|name| draft.join(Joined::lost(kind, name, target)));
            }
            None => {}
        }
    }
    if host.joined(Feature::User).is_some_and(|user| !user.is_own) && !host.privileged {
        refuse_unreadable(namespaces, draft);
    }
    let shows_proc =
        config.environment.root.is_some() || namespaces.pid.options().is_some_and(|pid| pid.mount_proc);
    if shows_proc && !can_mount(Feature::Pid, new_user, host) {
        let error = Error::failed(text("join.proc.what")).why(text("join.proc.reason"));
        draft.problem_of(Feature::Pid, "join", error.todo(text("join.proc.todo")));
    }
}

/// The error of a namespace that is not the one that the container has joined before. The same name is no proof that it is:
/// when a namespace has ended, its inode becomes that of a new one.
fn replaced(joined: &JoinedNamespace) -> Error {
    let values = [("kind", joined.kind.name()), ("of", &*joined.whose())];
    Error::failed(text_with("join.what", &values)).why(text("join.open.ESTALE"))
}

/// Refuses what needs the child's files in /proc. A child in a joined user namespace is undumpable from its first
/// instruction, so that no other process of that namespace can trace it. Then root owns these files. proc(5)
fn refuse_unreadable(namespaces: &ContainerNamespaces, draft: &mut Draft) {
    let net = namespaces.net.options().filter(|_| namespaces.net.is_new());
    let time = namespaces.time.options().filter(|_| namespaces.time.is_new());
    let publishes = net.is_some_and(|net| !net.publish.is_empty());
    let has_offsets = time.is_some_and(|time| time.boottime.is_some() || time.monotonic.is_some());
    let refused = [(publishes, Feature::Net, "publish"), (has_offsets, Feature::Time, "boottime")];
    for (_, feature, key) in refused.into_iter().filter(|(is_refused, ..)| *is_refused) {
        let values = [("key", key), ("feature", feature.name())];
        let error =
            Error::failed(text_with("join.unreadable.what", &values)).why(text("join.unreadable.reason"));
        draft.problem_of(feature, key, error.todo(text_with("join.unreadable.todo", &values)));
    }
}

/// Why the caller may not join a namespace.
fn obstacle(joined: &JoinedNamespace, turn: JoinTurn, host: &Host) -> Option<Error> {
    let kind = joined.kind.name();
    let values = [("kind", kind), ("of", &*joined.whose())];
    let what = || Error::failed(text_with("join.what", &values));
    // The answer of the kernel by which it is known.
    let unseen =
        |request| what().call(format!("ioctl(<{}>, {request})", printed(&joined.path)), Errno::EPERM);
    if joined.is_above {
        return Some(unseen("NS_GET_PARENT").why(text("join.above.reason")).todo(text("join.above.todo")));
    }
    let is_allowed = match turn {
        JoinTurn::AfterUser => true,
        JoinTurn::User => host.privileged || joined.made_by == Some(host.uid),
        JoinTurn::Alone | JoinTurn::BeforeUser => host.privileged && !joined.owners.is_empty(),
    };
    if is_allowed {
        return None;
    }
    let typed = TypedCommand::of_this_process();
    if turn == JoinTurn::User {
        return Some(what().why(text("join.userowner.reason")).paste(typed.as_root()));
    }
    let error = if joined.owners.is_empty() { unseen("NS_GET_USERNS") } else { what() };
    let error = error.why(text("join.owner.reason"));
    match (&joined.target, joined.pid) {
        // The user namespace of the process is the owner, and it was made by the caller.
        (target, Some(pid)) if joined.owners.len() > 1 => {
            let user = match target {
                JoinTarget::Path(_) => format!("/proc/{pid}/ns/user"),
                other => other.to_string(),
            };
            let error = error.step(&text("join.owner.todo"), typed.with_flag(&format!("--userns={user}")));
            Some(error.todo(text_with("join.owner.key", &[("target", &user)])))
        }
        _ => Some(error.paste(typed.as_root())),
    }
}
