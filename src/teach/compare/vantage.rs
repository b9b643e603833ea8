//! A reader in the place of another process: a helper that has joined that process's namespaces. /proc/sys, /proc/net,
//! /proc/sysvipc, the clocks and plain paths answer for whoever asks, so only a process in there can ask.

use nix::errno::Errno;
use serde::Serialize;

use super::Subject;
use crate::config::compose::{self, Ending, Machine};
use crate::config::spec::Spec;
use crate::error::Result;
use crate::exec::Unwatched;
use crate::feature::Feature;
use crate::observe::{Observation, Value, proc};
use crate::plan::call::process::{Namespaces, ProcessCall};
use crate::teach::agent::Agent;
use crate::teach::call::PathCall;

/// A helper in the namespaces of a process.
pub(super) struct Vantage {
    /// The one that reads, and the one that joined. A pid namespace is for children only: setns(2).
    agents: Vec<Agent>,
    refused: Vec<Refusal>,
}

/// A namespace that the helper wasn't let into.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// Whose.
    pub pid: i32,
    /// Which.
    pub feature: Feature,
    /// The errno of setns(2), of the clone that a pid namespace takes, or of chroot(2) to a root below.
    pub errno: String,
}

/// One at a time: the user namespace first, since it gives the right to those that it owns; the mounts last, since the
/// paths change with them.
const ORDER: [Feature; 8] = [
    Feature::User,
    Feature::Uts,
    Feature::Ipc,
    Feature::Net,
    Feature::Cgroup,
    Feature::Time,
    Feature::Pid,
    Feature::Mnt,
];

impl Vantage {
    /// Sends a helper to where `subject` is.
    ///
    /// # Errors
    /// When there can be no helper at all. What it may not join is noted.
    pub(super) fn at(subject: &Subject, machine: &Machine) -> Result<Vantage> {
        let plan = compose::plan(&Spec::default(), machine, Feature::User, Ending::Demonstration, false);
        let agent = Agent::start(&plan, &mut Unwatched)?;
        let mut vantage = Vantage { agents: vec![agent], refused: Vec::new() };
        // setns(2) refuses the user namespace that one is in already, so only what differs is joined.
        let elsewhere: Vec<Feature> =
            ORDER.into_iter().filter(|feature| is_elsewhere(subject, *feature)).collect();
        let root = proc::link(&format!("{}/root", subject.directory())).value;
        if elsewhere.is_empty() && root == proc::link("/proc/self/root").value {
            return Ok(vantage);
        }
        // A failure leaves the helper as it is: all the same to what it reads.
        let _ = vantage.reader().perform(ProcessCall::Undumpable)?;
        // All in one call, because then each right is weighed before any is given up; one by one where that is refused.
        if vantage.join(subject, &elsewhere)?.is_err() {
            for feature in &elsewhere {
                if let Err(errno) = vantage.join(subject, &[*feature])? {
                    vantage.refuse(subject, *feature, errno);
                }
            }
        }
        if let Value::Is(root) = root
            && root != "/"
            && !vantage.is_refused(Feature::Mnt)
            // setns(2) lands at the root of the mount namespace; this one has a root of its own below it.
            && let Err(errno) = vantage.reader().perform(PathCall::Chroot { root })?
        {
            vantage.refuse(subject, Feature::Mnt, errno);
        }
        if elsewhere.contains(&Feature::Pid) && !vantage.is_refused(Feature::Pid) {
            match vantage.reader().spawn(&[])? {
                Ok((child, _)) => vantage.agents.insert(0, child),
                Err(errno) => vantage.refuse(subject, Feature::Pid, errno),
            }
        }
        Ok(vantage)
    }

    /// The feature's files that answer for the reader.
    ///
    /// # Errors
    /// When the helper has ended.
    pub(super) fn look(&self, feature: Feature) -> Result<Vec<Observation>> {
        let mut seen = self.reader().look(feature)?.observations;
        seen.retain(|seen| !seen.path.starts_with("/proc/self"));
        for seen in &mut seen {
            // A path is looked up among the mounts; what the kernel itself answers depends on the feature's namespace too.
            let is_plain =
                ["/etc/", "/dev/", "/sys/"].iter().any(|directory| seen.path.starts_with(directory));
            let needs = |refusal: &&Refusal| {
                refusal.feature == Feature::Mnt || (refusal.feature == feature && !is_plain)
            };
            if let Some(Refusal { feature, errno, .. }) = self.refused.iter().find(needs) {
                seen.value = Value::Not(format!("{feature}: {errno}"));
            }
        }
        Ok(seen)
    }

    /// The cgroups of `subject` as it sees them itself: a cgroup namespace only changes where the paths begin. None where
    /// the helper can't know which directory of /proc is the subject's.
    ///
    /// # Errors
    /// When the helper has ended.
    pub(super) fn cgroups(&self, subject: &Subject) -> Result<Option<Vec<Observation>>> {
        if [Feature::Pid, Feature::Mnt, Feature::Cgroup].into_iter().any(|feature| self.is_refused(feature)) {
            return Ok(None);
        }
        // A /proc of another pid namespace has someone else under that number, and the helper under another than its own.
        let own = self.reader().look(Feature::Cgroup)?.pid.to_string();
        if self.reader().link("/proc/self")? != Ok(own) {
            return Ok(None);
        }
        let content = self.reader().read(&format!("/proc/{}/cgroup", subject.own_pid))?;
        Ok(content.ok().map(|content| proc::cgroups_in("/proc/PID/cgroup", content.as_bytes())))
    }

    /// What the helper wasn't let into.
    pub(super) fn refused(&self) -> &[Refusal] {
        &self.refused
    }

    fn reader(&self) -> &Agent {
        &self.agents[0]
    }

    fn join(&self, subject: &Subject, features: &[Feature]) -> Result<std::result::Result<i64, Errno>> {
        self.reader()
            .perform(ProcessCall::Join { pid: Some(subject.pid), namespaces: Namespaces::of(features) })
    }

    fn refuse(&mut self, subject: &Subject, feature: Feature, errno: Errno) {
        self.refused.push(Refusal { pid: subject.pid, feature, errno: format!("{errno:?}") });
    }

    fn is_refused(&self, feature: Feature) -> bool {
        self.refused.iter().any(|refusal| refusal.feature == feature)
    }
}

fn is_elsewhere(subject: &Subject, feature: Feature) -> bool {
    // A kind that this kernel doesn't have can't be joined; its link can't be read on either side.
    proc::namespace(&subject.directory(), feature) != proc::namespace("/proc/self", feature)
}
