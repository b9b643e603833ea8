//! Slots: the few things that are known only while a plan runs. One step writes a slot, later ones read it.

use std::os::fd::OwnedFd;

use nix::fcntl::Flock;
use nix::unistd::Pid;

use super::gate::Channel;
use crate::feature::Feature;

/// The filled slots of one process's side of a run.
#[derive(Debug, Default)]
pub struct Slots {
    /// `<child>`: the child's number outside.
    pub child: Option<Pid>,
    /// The child's pidfd.
    pub pidfd: Option<OwnedFd>,
    /// `<helper>`: the number of the process between, outside.
    pub helper: Option<Pid>,
    /// This side's end of `<gate>`.
    pub gate: Option<Channel>,
    /// The other side's end, until the clone has given it away.
    pub other_gate: Option<Channel>,
    /// `<cgroup>`: the group that the child is born in.
    pub cgroup: Option<OwnedFd>,
    /// The caller's own namespaces, as its links name them: what the child's are held against.
    pub outside: Vec<(Feature, String)>,
    /// `<terminal>`: the master of the command's terminal. The host's, wherever it was made.
    pub terminal: Option<OwnedFd>,
    /// `<pts>`: the slave. The command's: a copy elsewhere would hide from the master that all have gone.
    pub pts: Option<OwnedFd>,
    /// What keeps the folders that are shared with other runs. Held by the host for as long as it uses them.
    pub shares: Vec<Flock<OwnedFd>>,
}

impl Slots {
    /// Replaces `<child>` in a path or an argument.
    pub fn fill(&self, words: &str) -> String {
        let number = self.child.or(self.helper).map_or_else(|| "<child>".to_owned(), |pid| pid.to_string());
        words.replace("<child>", &number)
    }
}
