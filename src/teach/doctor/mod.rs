//! `sandbox doctor`: which features work on this machine, for this user. It uses each feature in a child process, by
//! the same plan as the feature's own command, and then checks the effect. That a namespace can be made proves little:
//! on Ubuntu, an ordinary user can make a user namespace, but has no capabilities in it.

pub mod profile;

use nix::errno::Errno;
use serde::Serialize;

use crate::cgroups::cpu::Cpu;
use crate::cgroups::memory::Memory;
use crate::cgroups::pids::Pids;
use crate::config::complete::Completed;
use crate::config::compose::Ending;
use crate::config::spec::{Spec, shipped, yaml};
use crate::diagnose::{self, Failed};
use crate::error::{Error, ExitKind, Result};
use crate::exec::Unwatched;
use crate::feature::{Feature, Purpose};
use crate::host::Host;
use crate::host::facts::Facts;
use crate::namespaces::time::Time;
use crate::network::bridge;
use crate::network::user::UserNetwork;
use crate::observe::cgroup::ProcessCgroup;
use crate::observe::hierarchy::Controller;
use crate::observe::{file, mountinfo, proc};
use crate::plan::call::gate::GateCall;
use crate::plan::call::mount::MountCall;
use crate::plan::call::net::NetCall;
use crate::plan::call::uts::UtsCall;
use crate::plan::undo::Sysv;
use crate::teach::agent::Agent;
use crate::teach::call::{DemoCall, IpcCall, LoadCall};
use crate::teach::demo::answer_text;
use crate::text::{printed, text, text_with};
use crate::value::units::{Offset, Size};
use crate::views;

/// The result of `sandbox doctor`.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The version of `sandbox`.
    pub version: &'static str,
    /// One finding for each feature.
    pub features: Vec<Finding>,
    /// What else keeps containers from working, with what to do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The facts about this machine. They suffice to find the causes on another machine.
    pub facts: Facts,
}

/// Whether one feature works on this machine, for this user.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// The feature.
    #[serde(rename = "feature")]
    pub purpose: Purpose,
    /// Whether it works.
    pub works: bool,
    /// The evidence: a file or a call, and its value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shown: Option<Proof>,
    /// The error, if it does not work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Error>,
}

/// A file or a call, and its value.
#[derive(Debug, Clone, Serialize)]
pub struct Proof {
    /// The file or the call.
    pub source: String,
    /// The content of the file, or the result of the call.
    pub value: String,
}

/// Tries every feature.
///
/// # Errors
/// A signal interrupted it. A feature that does not work is a finding, not an error.
pub fn examine() -> Result<Report> {
    let host = Host::gather();
    let mut features = Vec::new();
    let all = Feature::WITH_SUBCOMMAND.iter().copied().map(Purpose::Feature);
    for purpose in all.chain([Purpose::Container]) {
        features.push(examine_one(purpose, &host)?);
    }
    Ok(Report {
        version: env!("CARGO_PKG_VERSION"),
        features,
        notes: network_notes(host.uid == 0),
        facts: Facts::read(),
    })
}

/// What is to know about the way from a container to other machines.
fn network_notes(is_root: bool) -> Vec<String> {
    if is_root { bridge::closed_chains() } else { vec![UserNetwork::gather(false).sentence()] }
}

/// Tries one feature.
///
/// # Errors
/// A signal interrupted it.
pub fn examine_one(purpose: Purpose, host: &Host) -> Result<Finding> {
    let (works, shown, error) = match use_it(purpose, host) {
        Ok((works, shown)) if works => (true, Some(shown), None),
        Ok((_, shown)) => (false, Some(shown), Some(Error::failed(text("doctor.differs")))),
        Err(error) if matches!(error.kind, ExitKind::Interrupted(_)) => return Err(error),
        Err(error) => (false, None, Some(as_finding(error, purpose))),
    };
    Ok(Finding { purpose, works, shown, error })
}

/// The error without the name of the feature, which the report prints beside it, and without the advice to run
/// `sandbox doctor`.
fn as_finding(mut error: Error, purpose: Purpose) -> Error {
    if let Some(what) = error.what.strip_prefix(&format!("{purpose}: ")) {
        error.what = what.to_owned();
    }
    let doctor = text("common.todo.doctor");
    error.todo.retain(|todo| *todo != doctor);
    error
}

/// The seconds of a day: the offset of the clock that the time namespace gets.
const DAY: i64 = 86_400;

/// Uses a feature or a container, and returns whether its effect is there, with the evidence.
fn use_it(purpose: Purpose, host: &Host) -> Result<(bool, Proof)> {
    match purpose {
        Purpose::Feature(feature) => use_feature(feature, host),
        Purpose::Container => use_container(),
    }
}

/// Starts a process with this spec.
fn start(spec: &Spec, purpose: Purpose) -> Result<Probe> {
    let plan = Completed::of(spec, purpose).plan(Ending::Demonstration, false);
    let agent = Agent::start(&plan, &mut Unwatched)?;
    Ok(Probe { agent, purpose, own: plan.namespaces })
}

/// Starts a whole container, and checks that its root is a mount of its own.
fn use_container() -> Result<(bool, Proof)> {
    const TABLE: &str = "/proc/self/mountinfo";
    let table = start(&whole()?, Purpose::Container)?.read(TABLE)?;
    let root = mountinfo::mounts(table.as_bytes()).find(|mount| mount.is_on("/"));
    let kind = root.map_or("-".into(), |mount| printed(&mount.filesystem));
    Ok((["overlay", "tmpfs"].contains(&kind.as_str()), shown(format!("{TABLE} /:"), kind)))
}

fn use_feature(feature: Feature, host: &Host) -> Result<(bool, Proof)> {
    let mut spec = Spec::of(feature);
    match feature {
        Feature::Time => spec.time = Some(Time { boottime: Some(Offset(DAY)), ..Time::default() }),
        Feature::Memory => spec.memory = Some(Memory { limit: Some(Size(64 << 20)), ..Memory::default() }),
        Feature::Cpu => spec.cpu = Some(Cpu { shares: Some(512), ..Cpu::default() }),
        Feature::Pids => spec.pids = Some(Pids { max: Some(64) }),
        _ => {}
    }
    let probe = start(&spec, feature.into())?;
    match feature {
        Feature::Pid => {
            let pid = probe.link("/proc/self")?;
            Ok((pid == "1", shown("/proc/self", pid)))
        }
        Feature::Mnt => {
            let target = ["/tmp", "/mnt", "/dev"].into_iter().find(|path| std::fs::metadata(path).is_ok());
            let target = target.unwrap_or("/").into();
            probe.call(MountCall::Filesystem { kind: "tmpfs".into(), target, data: None })
        }
        // The plan has brought lo up already. The call succeeds again, and its result is the evidence.
        Feature::Net => probe.call(NetCall::LinkUp { name: "lo".into() }),
        Feature::Uts => {
            const NAME: &str = "sandbox-doctor";
            probe.call(UtsCall::SetHostname(NAME.into()))?;
            let hostname = probe.read("/proc/sys/kernel/hostname")?;
            Ok((hostname == NAME, shown("/proc/sys/kernel/hostname", hostname)))
        }
        Feature::Ipc => probe.call(IpcCall::Make { kind: Sysv::Shm, key: 0x0d0c }),
        Feature::User => {
            let status = probe.read("/proc/self/status")?;
            let ids = proc::status_of(&status, "Uid").unwrap_or_default();
            let id = ids.split_whitespace().next().unwrap_or_default();
            let (outside, source) = (host.uid.to_string(), "/proc/self/status Uid:");
            Ok((
                id == "0",
                shown(source, text_with("doctor.outside", &[("value", id), ("outside", &outside)])),
            ))
        }
        Feature::Cgroup => {
            const LINK: &str = "/proc/self/ns/cgroup";
            let outside = file::read_link(LINK).unwrap_or_default();
            let inside = probe.link(LINK)?;
            Ok((inside != outside, shown(LINK, format!("{inside} != {outside}"))))
        }
        Feature::Time => {
            const UPTIME: &str = "/proc/uptime";
            let first = |uptime: &str| uptime.split(' ').next().unwrap_or_default().to_owned();
            let outside = first(&file::read_text(UPTIME).unwrap_or_default());
            let inside = first(&probe.read(UPTIME)?);
            let is_later = hundredths(&inside) - hundredths(&outside) >= DAY * 100;
            let value = text_with("doctor.outside", &[("value", &inside), ("outside", &outside)]);
            Ok((is_later, shown(UPTIME, value)))
        }
        Feature::Devices => {
            // This device is not in the default list, so not even root may open it.
            const REFUSED: &str = "/dev/kmsg";
            let call = LoadCall::Open { path: REFUSED.into() };
            let answer = probe.agent.perform(call.clone())?;
            Ok((answer == Err(Errno::EPERM), shown(call, answer_text(answer))))
        }
        Feature::Memory | Feature::Cpu | Feature::Blkio | Feature::Pids => {
            let (controller, v1, v2) = match feature {
                Feature::Memory => (Controller::Memory, "memory.limit_in_bytes", "memory.max"),
                Feature::Cpu => (Controller::Cpu, "cpu.shares", "cpu.weight"),
                Feature::Blkio => (Controller::Io, "blkio.throttle.io_serviced", "io.max"),
                _ => (Controller::Pids, "pids.max", "pids.max"),
            };
            let inside = ProcessCgroup::of(&format!("/proc/{}", probe.agent.pid()), controller);
            let Some(inside) = inside else { return Err(Error::failed(text("doctor.nogroup"))) };
            let content = inside.read(v1, v2);
            let value = content.as_deref().map_or("-", |content| content.lines().next().unwrap_or("(empty)"));
            let file = inside.directory().join(inside.name(v1, v2));
            Ok((content.is_some(), shown(printed(&file), value)))
        }
        // Any other feature: the first file of its page that differs.
        _ => {
            let inside = views::observe(feature, &format!("/proc/{}", probe.agent.pid()));
            let outside = views::observe(feature, "/proc/self");
            let mut pairs = inside.into_iter().zip(outside);
            let differing = pairs.find(|(inside, outside)| inside.value != outside.value);
            let (seen, _) = differing.ok_or_else(|| Error::failed(feature.name()))?;
            Ok((true, shown(seen.path, seen.value)))
        }
    }
}

/// The spec of a whole container: the shipped spec `first`, without its limits. Each limit has a finding of its own.
fn whole() -> Result<Spec> {
    let first = shipped::ALL.iter().find(|spec| spec.purpose == "first");
    let spec = first.and_then(|first| yaml::read(first.text, first.purpose).ok());
    let spec = spec.ok_or_else(|| Error::failed(Purpose::Container.name()))?;
    Ok(Spec { name: None, memory: None, pids: None, ..spec })
}

/// A process that uses the feature. The errors of its calls get their cause.
struct Probe {
    agent: Agent,
    purpose: Purpose,
    own: Vec<Feature>,
}

impl Probe {
    fn call(&self, call: impl Into<DemoCall>) -> Result<(bool, Proof)> {
        let call = call.into();
        let errno = match self.agent.perform(call.clone())? {
            Ok(result) => return Ok((true, shown(call, result))),
            Err(errno) => errno,
        };
        let error = Error::failed(self.purpose.name()).call(&call, errno);
        let call = match call {
            DemoCall::Plan(call) => call,
            // A call for demonstrations is not part of a plan. The step of the plan that runs it is this one.
            _ => GateCall::Serve.into(),
        };
        let failed = Failed { purpose: self.purpose, call: &call, errno, own: &self.own };
        Err(diagnose::explain(error, &Facts::read(), &failed))
    }

    fn read(&self, path: &str) -> Result<String> {
        let content = self.agent.read(path)?;
        content.map(|content| content.trim_end().to_owned()).map_err(|errno| self.unreadable(path, errno))
    }

    fn link(&self, path: &str) -> Result<String> {
        self.agent.link(path)?.map_err(|errno| self.unreadable(path, errno))
    }

    fn unreadable(&self, path: &str, errno: Errno) -> Error {
        let error = Error::failed(path).call(format!("openat(AT_FDCWD, \"{path}\")"), errno);
        diagnose::without_proc(error, &Facts::read(), self.purpose)
    }
}

/// An uptime, which has two decimals, as a whole number of hundredths. The difference of two floating-point numbers
/// could be a little less than a day: it is for one in eight uptimes of more than twelve hours and a half.
fn hundredths(uptime: &str) -> i64 {
    uptime.replace('.', "").parse().unwrap_or_default()
}

fn shown(source: impl ToString, value: impl ToString) -> Proof {
    Proof { source: source.to_string(), value: value.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptimes_one_day_apart_differ_by_exactly_one_day() {
        for outside in 4_460_000..4_560_000_i64 {
            let uptime = |hundredths: i64| format!("{}.{:02}", hundredths / 100, hundredths % 100);
            let inside = outside + DAY * 100;
            assert_eq!(hundredths(&uptime(inside)) - hundredths(&uptime(outside)), DAY * 100);
        }
    }
}
