//! Demonstrations of the devices controller: it decides which devices the processes of a cgroup may open.
//!
//! File permissions protect a device file, but a process with CAP_MKNOD can make another file for the same device.
//! The devices controller denies access to the device itself, whatever file it is opened by.

use std::path::PathBuf;

use nix::errno::Errno;

use super::limits::cgroup_of;
use super::{Card, CardEntry, Stage, answer_text, one_line};
use crate::cgroups::devices::attached;
use crate::config::spec::Spec;
use crate::error::Result;
use crate::feature::Feature::Devices;
use crate::observe::cgroup::ProcessCgroup;
use crate::observe::hierarchy::{Controller, Version};
use crate::plan::undo::Undo;
use crate::teach::agent::{Agent, Answer};
use crate::teach::call::LoadCall;
use crate::text::{printed, text};

pub(super) const CARDS: &[CardEntry] =
    &[("deny", deny), ("usual", usual), ("mknod", mknod), ("rules", rules)];

/// The major and minor number of /dev/zero: Documentation/admin-guide/devices.txt
const ZERO: (u64, u64) = (1, 5);

/// Two device files have the same mode, but only one of them can be opened.
fn deny(stage: &mut Stage<'_>) -> Result<Card> {
    let inside = stage.start(&without_zero(), Devices)?;
    let mode = |path| {
        let metadata = std::fs::metadata(path);
        metadata.map(|metadata| {
            format!("{:o}", std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777)
        })
    };
    let modes = ["/dev/null", "/dev/zero"].map(|path| mode(path).unwrap_or_default()).join(", ");
    let (null, zero) = (open("/dev/null"), open("/dev/zero"));
    let answers = (inside.perform(null.clone())?, inside.perform(zero.clone())?);
    Ok(Card::new(Devices, "deny")
        .in_cgroup(&cgroup_of(&inside, Controller::Devices)?)
        .outside("stat(\"/dev/null\"), stat(\"/dev/zero\"): mode", modes)
        .call("INSIDE", null, answers.0)
        .call("INSIDE", zero, answers.1)
        .holds(answers.0.is_ok() && answers.1 == Err(Errno::EPERM)))
}

/// The devices that Docker's containers may open.
fn usual(stage: &mut Stage<'_>) -> Result<Card> {
    let inside = stage.start(&Spec::of(Devices), Devices)?;
    let outside = stage.outside(Devices)?;
    let (random, log) = (open("/dev/urandom"), open("/dev/kmsg"));
    let answers = (inside.perform(random.clone())?, inside.perform(log.clone())?);
    let outer = outside.perform(log.clone())?;
    let holds = answers.0.is_ok() && answers.1 == Err(Errno::EPERM) && outer != Err(Errno::EPERM);
    Ok(Card::new(Devices, "usual")
        .in_cgroup(&cgroup_of(&inside, Controller::Devices)?)
        .call("INSIDE", random, answers.0)
        .call("OUTSIDE", log.clone(), outer)
        .call("INSIDE", log, answers.1)
        .holds(holds))
}

/// A new device file for a denied device cannot be opened either.
fn mknod(stage: &mut Stage<'_>) -> Result<Card> {
    let card = Card::new(Devices, "mknod");
    let inside = stage.start(&without_zero(), Devices)?;
    let Some((make, made, used)) = node(stage, &inside)? else { return Ok(card.skip("devices.skip.mknod")) };
    let cgroup = cgroup_of(&inside, Controller::Devices)?;
    Ok(card
        .in_cgroup(&cgroup)
        .with("node", node_directory().unwrap_or_default().join("node").display())
        .inside(make, answer_text(made))
        .inside("open(<that node>)", answer_text(used))
        .holds(made.is_ok() && used == Err(Errno::EPERM)))
}

/// cgroup v1 lists the rules in a file. cgroup v2 has no file for them; they are in a BPF program.
fn rules(stage: &mut Stage<'_>) -> Result<Card> {
    let mut spec = Spec::default();
    let devices = spec.devices.get_or_insert_default();
    devices.allow = vec![crate::cgroups::devices::Rule::All];
    devices.deny = zero_rule();
    let inside = stage.start(&spec, Devices)?;
    let cgroup = cgroup_of(&inside, Controller::Devices)?;
    let mut card = Card::new(Devices, "rules").in_cgroup(&cgroup);
    let refused = inside.perform(open("/dev/zero"))?;
    let is_hidden = match cgroup.version() {
        Version::V1 => {
            let list = one_line(Ok(cgroup.read("devices.list", "").unwrap_or_default()));
            card = card.outside("<devices>/devices.list", &list);
            list == "a *:* rwm"
        }
        Version::V2 => {
            card.verdict = text("devices.card.rules.v2");
            let programs = programs(&cgroup);
            let files = std::fs::read_dir(cgroup.directory()).into_iter().flatten().flatten();
            let files = files.filter(|file| printed(file.file_name()).starts_with("devices.")).count();
            card = card.outside("<group>/devices.*", format!("{files} files"));
            card = card.outside("bpf(BPF_PROG_QUERY)", format!("{programs} program"));
            files == 0 && programs == 1
        }
    };
    Ok(card.call("INSIDE", open("/dev/zero"), refused).holds(is_hidden && refused == Err(Errno::EPERM)))
}

fn programs(cgroup: &ProcessCgroup) -> usize {
    let directory = std::fs::File::open(cgroup.directory());
    directory.ok().and_then(|directory| attached(&directory).ok()).map_or(0, |ids| ids.len())
}

fn open(path: impl Into<PathBuf>) -> LoadCall {
    LoadCall::Open { path: path.into() }
}

/// The default devices without /dev/zero.
pub(crate) fn without_zero() -> Spec {
    let mut spec = Spec::default();
    spec.devices.get_or_insert_default().deny = zero_rule();
    spec
}

fn zero_rule() -> Vec<crate::cgroups::devices::Rule> {
    let (major, minor) = ZERO;
    // The text is constant, so parsing cannot fail.
    format!("c {major}:{minor} rw").parse().into_iter().collect()
}

/// A directory in which device files can be used.
fn node_directory() -> Option<PathBuf> {
    ["/var/tmp", "/dev", "/tmp", "/root"].into_iter().map(PathBuf::from).find(|directory| {
        let flags = nix::sys::statvfs::statvfs(directory).map(|filesystem| filesystem.flags());
        flags.is_ok_and(|flags| {
            !flags.intersects(nix::sys::statvfs::FsFlags::ST_NODEV | nix::sys::statvfs::FsFlags::ST_RDONLY)
        })
    })
}

/// Makes another device file for /dev/zero and opens it. Returns the call and both results. None if the caller may
/// not make device files, or if no directory allows them (mounts with nodev).
pub(crate) fn node(stage: &mut Stage<'_>, inside: &Agent) -> Result<Option<(String, Answer, Answer)>> {
    let Some(directory) = node_directory() else { return Ok(None) };
    let path = directory.join(stage.unique("node"));
    let (major, minor) = ZERO;
    let make = LoadCall::MakeNode { path: path.clone(), major, minor };
    let made = stage.make_inside(inside, make.clone(), Undo::RemoveFile { path: path.clone() })?;
    if made.is_err() && !crate::host::Host::gather().privileged {
        return Ok(None);
    }
    let used = inside.perform(open(path))?;
    Ok(Some((make.to_string(), made, used)))
}
