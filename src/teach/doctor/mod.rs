//! What works on this machine, found by using it: each feature by the same plans as ever, in a child. A namespace that
//! can be made proves little: on Ubuntu anyone may make one, and is then denied every capability in it.

pub mod profile;

use nix::errno::Errno;
use serde::Serialize;

use crate::cgroups::cpu::Cpu;
use crate::cgroups::memory::Memory;
use crate::cgroups::pids::Pids;
use crate::config::compose::{self, Ending};
use crate::config::spec::{Spec, shipped, yaml};
use crate::diagnose::{self, Failed};
use crate::error::{Error, ExitKind, Result};
use crate::exec::Unwatched;
use crate::feature::{Feature, Purpose};
use crate::host::Host;
use crate::host::facts::Facts;
use crate::namespaces::time::Time;
use crate::observe::cgroup::ProcessCgroup;
use crate::observe::{file, mountinfo, proc};
use crate::plan::call::gate::GateCall;
use crate::plan::call::mount::MountCall;
use crate::plan::call::net::NetCall;
use crate::plan::call::uts::UtsCall;
use crate::plan::undo::Sysv;
use crate::teach::agent::Agent;
use crate::teach::call::{DemoCall, IpcCall, LoadCall};
use crate::teach::demo::answer_text;
use crate::text::{text, text_with};
use crate::value::units::{Offset, Size};
use crate::views;

/// What was found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The version of `sandbox`.
    pub version: &'static str,
    /// Each feature.
    pub features: Vec<Finding>,
    /// What was looked at: enough to judge this machine on another one.
    pub facts: Facts,
}

/// Whether one feature works here, as this user.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// The feature.
    #[serde(rename = "feature")]
    pub purpose: Purpose,
    /// Whether it does.
    pub works: bool,
    /// What the kernel showed: a file or a call, and its value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shown: Option<Proof>,
    /// What stopped it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Error>,
}

/// A file or a call, and its value.
#[derive(Debug, Clone, Serialize)]
pub struct Proof {
    /// The file or the call.
    pub source: String,
    /// What it gave.
    pub value: String,
}

/// Tries every feature.
///
/// # Errors
/// Only an interrupt: that a feature doesn't work is a finding.
pub fn examine() -> Result<Report> {
    let host = Host::gather();
    let mut features = Vec::new();
    let all = Feature::WITH_SUBCOMMAND.iter().copied().map(Purpose::Feature);
    for purpose in all.chain([Purpose::Container]) {
        let (works, shown, error) = match use_it(purpose, &host) {
            Ok((works, shown)) if works => (true, Some(shown), None),
            Ok((_, shown)) => (false, Some(shown), Some(Error::failed(text("doctor.differs")))),
            Err(error) if matches!(error.kind, ExitKind::Interrupted(_)) => return Err(error),
            Err(error) => (false, None, Some(as_finding(error, purpose))),
        };
        features.push(Finding { purpose, works, shown, error });
    }
    Ok(Report { version: env!("CARGO_PKG_VERSION"), features, facts: Facts::read() })
}

/// Without the name of the feature, which is printed beside it anyway, and without the advice to run `sandbox doctor`.
fn as_finding(mut error: Error, purpose: Purpose) -> Error {
    if let Some(what) = error.what.strip_prefix(&format!("{purpose}: ")) {
        error.what = what.to_owned();
    }
    let doctor = text("common.todo.doctor");
    error.todo.retain(|todo| *todo != doctor);
    error
}

/// A day, for the clock that is moved.
const DAY: i64 = 86_400;

/// Uses a feature or a container, and says whether the kernel shows its effect.
fn use_it(purpose: Purpose, host: &Host) -> Result<(bool, Proof)> {
    match purpose {
        Purpose::Feature(feature) => use_feature(feature, host),
        Purpose::Container => use_container(),
    }
}

/// Starts a process of this spec.
fn start(spec: &Spec, purpose: Purpose) -> Result<Probe> {
    let plan = compose::plan(spec, &compose::gather(spec), purpose, Ending::Demonstration, false);
    let agent = Agent::start(&plan, &mut Unwatched)?;
    Ok(Probe { agent, purpose, own: plan.namespaces })
}

/// A whole container: its root is a mount of its own.
fn use_container() -> Result<(bool, Proof)> {
    const TABLE: &str = "/proc/self/mountinfo";
    let table = start(&whole()?, Purpose::Container)?.read(TABLE)?;
    let root = mountinfo::mounts(table.as_bytes()).find(|mount| mount.is_on("/"));
    let kind = root.map_or("-".into(), |mount| mount.filesystem.to_string_lossy().into_owned());
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
            let number = probe.link("/proc/self")?;
            Ok((number == "1", shown("/proc/self", number)))
        }
        Feature::Mnt => {
            let target = ["/tmp", "/mnt", "/dev"].into_iter().find(|path| std::fs::metadata(path).is_ok());
            let target = target.unwrap_or("/").to_owned();
            probe.call(MountCall::Filesystem { kind: "tmpfs".into(), target, data: None })
        }
        // The plan has brought it up already; that the kernel takes it again shows the call.
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
            let (outside, word) = (host.uid.to_string(), "/proc/self/status Uid:");
            Ok((id == "0", shown(word, text_with("doctor.outside", &[("value", id), ("outside", &outside)]))))
        }
        Feature::Cgroup => {
            const LINK: &str = "/proc/self/ns/cgroup";
            let outside = file::read_link(LINK).unwrap_or_default();
            let inside = probe.link(LINK)?;
            Ok((inside != outside, shown(LINK, format!("{inside} != {outside}"))))
        }
        Feature::Time => {
            const UPTIME: &str = "/proc/uptime";
            let first = |words: &str| words.split(' ').next().unwrap_or_default().to_owned();
            let outside = first(&file::read_text(UPTIME).unwrap_or_default());
            let inside = first(&probe.read(UPTIME)?);
            let is_later = hundredths(&inside) - hundredths(&outside) >= DAY * 100;
            let value = text_with("doctor.outside", &[("value", &inside), ("outside", &outside)]);
            Ok((is_later, shown(UPTIME, value)))
        }
        Feature::Devices => {
            // Not one of the usual devices, and no root may open it then.
            const REFUSED: &str = "/dev/kmsg";
            let call = LoadCall::Open { path: REFUSED.into() };
            let answer = probe.agent.perform(call.clone())?;
            Ok((answer == Err(Errno::EPERM), shown(call, answer_text(answer))))
        }
        Feature::Memory | Feature::Cpu | Feature::Blkio | Feature::Pids => {
            let controller = spec.controllers()[0];
            let inside = ProcessCgroup::of(&format!("/proc/{}", probe.agent.pid()), controller);
            let (v1, v2) = match feature {
                Feature::Memory => ("memory.limit_in_bytes", "memory.max"),
                Feature::Cpu => ("cpu.shares", "cpu.weight"),
                Feature::Blkio => ("blkio.throttle.io_serviced", "io.max"),
                _ => ("pids.max", "pids.max"),
            };
            let Some(inside) = inside else { return Err(Error::failed(text("doctor.nogroup"))) };
            let words = inside.read(v1, v2);
            let value = words.as_deref().map_or("-", |words| words.lines().next().unwrap_or("(empty)"));
            let file = inside.directory().join(inside.name(v1, v2));
            Ok((words.is_some(), shown(file.display(), value)))
        }
        Feature::Capabilities | Feature::Seccomp | Feature::Rlimits => {
            let sight = |process: &str| views::observe(feature, process).into_iter();
            let inside = sight(&format!("/proc/{}", probe.agent.pid()));
            let mut differing =
                inside.zip(sight("/proc/self")).filter(|(one, other)| one.value != other.value);
            let (seen, _) = differing.next().ok_or_else(|| Error::failed(feature.name()))?;
            Ok((true, shown(seen.path, seen.value)))
        }
    }
}

/// A whole container: the first one that comes with sandbox, without its limits, each of which is tried alone.
fn whole() -> Result<Spec> {
    let first = shipped::ALL.iter().find(|spec| spec.purpose == "first");
    let spec = first.and_then(|first| yaml::read(first.text, first.purpose).ok());
    let spec = spec.ok_or_else(|| Error::failed(Purpose::Container.name()))?;
    Ok(Spec { name: None, memory: None, pids: None, ..spec })
}

/// A process in the feature, whose failures get their cause.
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
            // A call that is no part of a plan is made at this step.
            _ => GateCall::Serve.into(),
        };
        let failed = Failed { purpose: self.purpose, call: &call, errno, own: &self.own };
        Err(diagnose::explain(error, &Facts::read(), &failed))
    }

    fn read(&self, path: &str) -> Result<String> {
        let words = self.agent.read(path)?;
        words.map(|words| words.trim_end().to_owned()).map_err(|errno| self.unreadable(path, errno))
    }

    fn link(&self, path: &str) -> Result<String> {
        self.agent.link(path)?.map_err(|errno| self.unreadable(path, errno))
    }

    fn unreadable(&self, path: &str, errno: Errno) -> Error {
        let error = Error::failed(path).call(format!("openat(AT_FDCWD, \"{path}\")"), errno);
        diagnose::without_proc(error, &Facts::read(), self.purpose)
    }
}

/// An uptime, which has two decimals, as a whole number. Of fractions that are read in the same hundredth the difference may be a
/// little less than a day: of one in eight, once the machine is up for twelve hours and a half.
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
    fn a_day_is_a_day_at_any_hundredth() {
        for outside in 4_460_000..4_560_000_i64 {
            let words = |hundredths: i64| format!("{}.{:02}", hundredths / 100, hundredths % 100);
            let inside = outside + DAY * 100;
            assert_eq!(hundredths(&words(inside)) - hundredths(&words(outside)), DAY * 100);
        }
    }
}
