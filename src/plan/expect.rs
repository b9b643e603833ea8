//! What the kernel must show once a plan is carried out. It's derived from the plan's own steps: an isolation that was
//! asked for and one that is checked can't be two lists that drift apart.

mod mounts;

use std::borrow::Cow;

use caps::Capability;
use serde::{Deserialize, Serialize};

use super::call::cgroup::CgroupCall;
use super::call::detached::Attributes;
use super::call::file::FileCall;
use super::call::mount::MountCall;
use super::call::net::NetCall;
use super::call::process::ProcessCall;
use super::call::restrict::RestrictCall;
use super::call::uts::UtsCall;
use super::{Actor, Call, Plan, Setting, Step};
use crate::feature::{Feature, Purpose};

/// One value that a file must have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expected {
    /// What it is a part of.
    pub purpose: Purpose,
    /// The file, as the process that is checked opens it; a file of a cgroup as the host does.
    pub path: Cow<'static, str>,
    /// The part of the file that is meant.
    pub field: Option<Cow<'static, str>>,
    /// What it must say.
    pub wanted: Wanted,
}

/// What a file must say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wanted {
    /// These words.
    Is(String),
    /// Another thing than outside: a namespace of its own.
    Own,
    /// The same as outside: nobody asked for another.
    Shared,
    /// The mount at this place, which is the field: its filesystem, where that is known, and what it refuses at least.
    Mounted {
        /// The filesystem.
        kind: Option<String>,
        /// What it refuses.
        attributes: Attributes,
        /// Whether this kernel may not have the place.
        may_lack: bool,
    },
}

impl Expected {
    /// Whether it's read by the host: a command may not see the cgroups at all.
    pub fn is_hosts(&self) -> bool {
        self.path.starts_with("/sys/fs/cgroup")
    }
}

/// In the place of the address that is known only while a plan runs.
pub const CLAIMED: &str = "<address>";

/// Everything that a plan promises.
pub fn of(plan: &Plan) -> Vec<Expected> {
    let mut all = links(plan);
    // The relay is no part of the container.
    for step in plan.steps.iter().filter(|step| step.actor != Actor::Relay) {
        all.extend(of_call(step.purpose, step.actor, &step.call));
        if let Call::Restrict(restriction) = &step.call {
            all.extend(of_restriction(step.purpose, restriction));
        }
    }
    all.extend(mounts::of(plan));
    all.extend(ids(plan));
    all.extend(folder(plan));
    all.extend(limits(plan));
    all
}

/// Each namespace is new where the plan says so, and the caller's where it doesn't.
fn links(plan: &Plan) -> Vec<Expected> {
    let joined = plan.steps.iter().find_map(|step| match &step.call {
        Call::Process(ProcessCall::Join { pid: Some(_), namespaces }) => Some(namespaces.features()),
        _ => None,
    });
    let is_own = |feature: &Feature| {
        plan.namespaces.contains(feature) || joined.as_ref().is_some_and(|joined| joined.contains(feature))
    };
    let link = |feature: Feature| Expected {
        purpose: feature.into(),
        path: ["/proc/self/ns/", feature.name()].concat().into(),
        field: None,
        wanted: if is_own(&feature) { Wanted::Own } else { Wanted::Shared },
    };
    Feature::NAMESPACES.iter().copied().map(link).collect()
}

fn of_call(purpose: Purpose, actor: Actor, call: &Call) -> Option<Expected> {
    let is = |path: Cow<'static, str>, field: Option<&'static str>, words: &str| Expected {
        purpose,
        path,
        field: field.map(Cow::from),
        wanted: Wanted::Is(words.split_whitespace().collect::<Vec<_>>().join(" ")),
    };
    Some(match call {
        Call::Uts(UtsCall::SetHostname(name)) => is("/proc/sys/kernel/hostname".into(), None, name),
        Call::Uts(UtsCall::SetDomainname(name)) => is("/proc/sys/kernel/domainname".into(), None, name),
        Call::Process(ProcessCall::DropGroups) => status(purpose, "Groups", String::new()),
        Call::File(FileCall::Write { path, content }) if path.ends_with("id_map") => {
            let name = path.rsplit('/').next()?;
            is(format!("/proc/self/{name}").into(), None, content)
        }
        Call::Net(NetCall::AddAddress { address: None, .. }) if actor == Actor::Child => {
            is("/proc/self/net/fib_trie".into(), Some(CLAIMED), "/32 host LOCAL")
        }
        Call::Net(NetCall::AddDefaultRoute { gateway }) => {
            is("/proc/self/net/route".into(), Some("0.0.0.0"), &gateway.to_string())
        }
        _ => return None,
    })
}

/// What a process has given up shows in its status file. proc_pid_status(5)
fn of_restriction(purpose: Purpose, restriction: &RestrictCall) -> Vec<Expected> {
    let set = |keep: &[Capability]| {
        let mask = keep.iter().fold(0_u64, |mask, capability| mask | capability.bitmask());
        format!("{mask:016x}")
    };
    let fields: Vec<(&'static str, String)> = match restriction {
        RestrictCall::Bound { keep, .. } => vec![("CapBnd", set(keep))],
        RestrictCall::Capabilities { keep } => {
            vec![("CapPrm", set(keep)), ("CapEff", set(keep)), ("CapInh", set(&[]))]
        }
        RestrictCall::ClearAmbient => vec![("CapAmb", set(&[]))],
        RestrictCall::NoNewPrivileges => vec![("NoNewPrivs", "1".into())],
        RestrictCall::Filter { .. } => vec![("Seccomp", "2".into())],
        RestrictCall::Limit { resource, soft, hard } => {
            let wanted = format!("{} {}", bound(*soft), bound(*hard));
            return vec![Expected {
                purpose,
                path: "/proc/self/limits".into(),
                field: Some(resource.line().into()),
                wanted: Wanted::Is(wanted),
            }];
        }
    };
    fields.into_iter().map(|(field, value)| status(purpose, field, value)).collect()
}

/// A number of proc_pid_limits(5).
fn bound(number: u64) -> String {
    if number == libc::RLIM_INFINITY { "unlimited".into() } else { number.to_string() }
}

/// Who it is in the end: the last of the steps that change it.
fn ids(plan: &Plan) -> Vec<Expected> {
    let all_four = |id: u32| [id; 4].map(|id| id.to_string()).join(" ");
    let last = |of: fn(&Call) -> Option<u32>| plan.steps.iter().rev().find_map(|step| of(&step.call));
    let user = last(|call| if let Call::Process(ProcessCall::SetUser(id)) = call { Some(*id) } else { None });
    let group =
        last(|call| if let Call::Process(ProcessCall::SetGroup(id)) = call { Some(*id) } else { None });
    let of = |field: &'static str, id: Option<u32>| id.map(|id| status(Feature::User, field, all_four(id)));
    [of("Uid", user), of("Gid", group)].into_iter().flatten().collect()
}

/// Where it begins: the last folder that is entered by its path. A root of its own is entered before.
fn folder(plan: &Plan) -> Option<Expected> {
    let (purpose, path) = plan.steps.iter().rev().find_map(|step| match &step.call {
        Call::Mount(MountCall::ChangeFolder { path }) if path.starts_with('/') => Some((step.purpose, path)),
        _ => None,
    })?;
    Some(Expected { purpose, path: "/proc/self/cwd".into(), field: None, wanted: Wanted::Is(path.clone()) })
}

fn status(purpose: impl Into<Purpose>, field: &'static str, value: String) -> Expected {
    Expected {
        purpose: purpose.into(),
        path: "/proc/self/status".into(),
        field: Some(field.into()),
        wanted: Wanted::Is(value),
    }
}

/// The files of the groups. Only numbers: what the kernel words in another way than it's told is held by its tests.
fn limits(plan: &Plan) -> Vec<Expected> {
    let groups = plan.steps.iter().filter_map(|step| match &step.call {
        Call::Cgroup(CgroupCall::Make { folder, shared: false }) => Some(folder.as_str()),
        _ => None,
    });
    let groups: Vec<&str> = groups.collect();
    let intents = plan.intents.iter().filter(|intent| !intent.is_idle);
    let settings =
        intents.flat_map(|intent| intent.settings().iter().map(move |setting| (intent.feature, setting)));
    let settings: Vec<(Feature, &Setting)> = settings.collect();
    let is_number = |value: &str| value.bytes().all(|byte| byte.is_ascii_digit() || byte == b' ');
    let expected = |step: &Step| {
        let Call::File(FileCall::Write { path, content }) = &step.call else { return None };
        let (_, file) = path.rsplit_once('/').filter(|(folder, _)| groups.contains(folder))?;
        let is_it = |setting: &Setting| setting.file == file && setting.value == content.trim();
        let (feature, setting) = settings.iter().find(|(_, setting)| is_it(setting))?;
        let wanted = match setting.value.parse() {
            // The kernel counts in pages, and takes no part of one.
            Ok(bytes) if *feature == Feature::Memory => whole_pages(bytes).to_string(),
            _ => setting.value.clone(),
        };
        is_number(&setting.value).then(|| Expected {
            purpose: (*feature).into(),
            path: path.clone().into(),
            field: None,
            wanted: Wanted::Is(wanted),
        })
    };
    plan.steps.iter().filter_map(expected).collect()
}

fn whole_pages(bytes: u64) -> u64 {
    // By the C library, which was told at its start. rustix asks the kernel, and panics where it gets no answer.
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten();
    bytes - bytes % page.map_or(4096, |page| page as u64)
}
