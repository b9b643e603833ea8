//! A helper process that has joined the namespaces of another process, and reads files there. What /proc/sys,
//! /proc/net, /proc/sysvipc, the clocks and ordinary paths show depends on the namespaces of the reader. Only a process
//! in the same namespaces reads the same values.

use std::fs;
use std::path::Path;

use nix::errno::Errno;
use serde::Serialize;

use super::Subject;
use crate::config::compose::{self, Ending};
use crate::config::container::Config;
use crate::config::facts::Machine;
use crate::error::Result;
use crate::exec::Unwatched;
use crate::feature::Feature;
use crate::observe::cgroup::ProcessCgroup;
use crate::observe::hierarchy::Controller;
use crate::observe::{Observation, Value, proc};
use crate::plan::Draft;
use crate::plan::call::mount::MountCall;
use crate::plan::call::process::{Namespaces, ProcessCall};
use crate::teach::agent::Agent;
use crate::teach::call::LoadCall;

/// A helper in the namespaces of a process.
pub(super) struct Vantage {
    /// The process that reads, then the process that joined. setns(2) to a PID namespace affects only children, so the
    /// reader is a child of the process that joined.
    agents: Vec<Agent>,
    /// The PID of the reader, if it is a child of the process that joined.
    reader: Option<i32>,
    refused: Vec<Refusal>,
}

impl Drop for Vantage {
    /// Ends the reader first, and has its parent reap it. Otherwise it would be left to process 1, which may be a
    /// program that reaps nothing. It may be in a call that does not return: a read from a filesystem of the container.
    fn drop(&mut self) {
        if let Some(pid) = self.reader
            && self.agents.len() > 1
        {
            self.agents.remove(0).kill();
            let _ = self.agents[0].reap(pid);
        }
    }
}

/// A namespace that the helper could not join.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// The process whose namespace it is.
    pub pid: i32,
    /// The kind of namespace.
    pub feature: Feature,
    /// The errno of setns(2), of the clone for a PID namespace, or of the chroot(2) to the process's root.
    pub errno: String,
}

/// The order in which namespaces are joined one by one. The user namespace is first: it gives the capabilities to join
/// those that it owns. The mount namespace is last: the paths of /proc change with it.
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
    /// Starts a helper and joins the namespaces of `subject`. Namespaces that it cannot join are listed in `refused`.
    ///
    /// # Errors
    /// The helper cannot be started.
    pub(super) fn at(subject: &Subject, machine: &Machine) -> Result<Vantage> {
        Vantage::join_all(subject, helper(machine)?)
    }

    /// As [`Vantage::at`], with a helper that is in the subject's cgroup of the devices controller too, if the caller
    /// may move it there: that cgroup decides which devices a process can open.
    ///
    /// # Errors
    /// As [`Vantage::at`].
    pub(super) fn with_devices_of(subject: &Subject, machine: &Machine) -> Result<Vantage> {
        let agent = helper(machine)?;
        if let Some(cgroup) = ProcessCgroup::of(&subject.directory(), Controller::Devices) {
            // Without the permission, the helper opens what the caller can open.
            let _ = fs::write(cgroup.directory().join("cgroup.procs"), agent.pid().to_string());
        }
        Vantage::join_all(subject, agent)
    }

    fn join_all(subject: &Subject, agent: Agent) -> Result<Vantage> {
        let mut vantage = Vantage { agents: vec![agent], reader: None, refused: Vec::new() };
        // setns(2) fails for the caller's current user namespace. Therefore only different namespaces are joined.
        let elsewhere: Vec<Feature> =
            ORDER.into_iter().filter(|feature| is_elsewhere(subject, *feature)).collect();
        let root = fs::read_link(format!("{}/root", subject.directory())).ok();
        if elsewhere.is_empty() && root == fs::read_link("/proc/self/root").ok() {
            return Ok(vantage);
        }
        // If this fails, the helper reads the same values: the result does not matter.
        let _ = vantage.reader().perform(ProcessCall::Undumpable)?;
        // One call for all: the kernel then checks every permission before the helper loses the capabilities that it
        // has in the current user namespace. If the call fails, the namespaces are joined one by one.
        if vantage.join(subject, &elsewhere)?.is_err() {
            for feature in &elsewhere {
                if let Err(errno) = vantage.join(subject, &[*feature])? {
                    vantage.refuse(subject, *feature, errno);
                }
            }
        }
        if let Some(root) = root
            && root != Path::new("/")
            && !vantage.is_refused(Feature::Mnt)
            // setns(2) sets the root directory to the root of the mount namespace. This process has another root.
            && let Err(errno) = vantage.reader().perform(MountCall::Chroot { root })?
        {
            vantage.refuse(subject, Feature::Mnt, errno);
        }
        if elsewhere.contains(&Feature::Pid) && !vantage.is_refused(Feature::Pid) {
            match vantage.reader().spawn(&[])? {
                Ok((child, pid)) => {
                    vantage.agents.insert(0, child);
                    vantage.reader = Some(pid);
                }
                Err(errno) => vantage.refuse(subject, Feature::Pid, errno),
            }
        }
        Ok(vantage)
    }

    /// Reads the feature's files whose content depends on the namespaces of the reader.
    ///
    /// # Errors
    /// The helper has ended.
    pub(super) fn look(&self, feature: Feature) -> Result<Vec<Observation>> {
        let mut seen = self.reader().look(feature)?.observations;
        seen.retain(|seen| !seen.path.starts_with("/proc/self"));
        for seen in &mut seen {
            // An ordinary path depends only on the mount namespace. The files of /proc also depend on the namespace of
            // the feature.
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

    /// The cgroups of `subject` as it sees them itself: their paths are relative to the root of its cgroup namespace.
    /// None if the helper cannot know which directory of /proc belongs to the subject.
    ///
    /// # Errors
    /// The helper has ended.
    pub(super) fn cgroups(&self, subject: &Subject) -> Result<Option<Vec<Observation>>> {
        if [Feature::Pid, Feature::Mnt, Feature::Cgroup].into_iter().any(|feature| self.is_refused(feature)) {
            return Ok(None);
        }
        // If this /proc belongs to another PID namespace, the PID means another process in it. The link /proc/self then
        // differs from the helper's own PID.
        let own = self.reader().look(Feature::Cgroup)?.pid.to_string();
        if self.reader().link("/proc/self")? != Ok(own) {
            return Ok(None);
        }
        let content = self.reader().read(format!("/proc/{}/cgroup", subject.own_pid))?;
        Ok(content.ok().map(|content| proc::cgroups_in("/proc/PID/cgroup", content.as_bytes())))
    }

    /// The content of a file, as the helper reads it.
    ///
    /// # Errors
    /// The helper has ended.
    pub(super) fn read(&self, path: &str) -> Result<std::result::Result<String, Errno>> {
        self.reader().read(path)
    }

    /// The kind of a network device in the network namespace of the helper.
    ///
    /// # Errors
    /// The helper has ended.
    pub(super) fn device(&self, name: &str) -> Result<std::result::Result<String, Errno>> {
        self.reader().device(name)
    }

    /// The result of open(2) for reading.
    ///
    /// # Errors
    /// The helper has ended.
    pub(super) fn open(&self, path: &str) -> Result<std::result::Result<i64, Errno>> {
        self.reader().perform(LoadCall::Open { path: path.into() })
    }

    /// The namespaces that the helper could not join.
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

/// A process that has joined nothing yet.
fn helper(machine: &Machine) -> Result<Agent> {
    let draft = Draft::new(Feature::User, Vec::new());
    let plan = compose::plan(&Config::default(), machine, draft, Ending::Demonstration, false);
    Agent::start(&plan, &mut Unwatched)
}

fn is_elsewhere(subject: &Subject, feature: Feature) -> bool {
    // If this kernel does not have this kind, neither link can be read, and the two values are equal.
    proc::namespace(&subject.directory(), feature) != proc::namespace("/proc/self", feature)
}
