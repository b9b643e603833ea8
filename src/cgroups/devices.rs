//! The devices controller: which devices the processes of a cgroup may open, or make nodes of.
//!
//! A device node is a name for a type (character or block) and two numbers, and whoever may call mknod(2) can make one
//! for any disk. So the kernel asks the cgroup, too: each time that one is opened (read `r`, write `w`) or made (`m`).
//!
//! In version 1 a cgroup has a default and a list of exceptions to it. `a` written to `devices.allow` or `devices.deny`
//! makes the default one or the other and empties the list; further lines, one a write(2), are exceptions. Where the
//! default is to deny, one exception must hold all the access that is asked for; where it is to allow, an exception with
//! any of it denies. What was allowed is taken away under its very numbers only: `c 1:5 m` in `devices.deny` takes
//! nothing from `c *:* m`, and no error tells. `devices.list` shows what is allowed, yet no exception to `a *:* rwm`.
//! Documentation/admin-guide/cgroup-v1/devices.rst
//!
//! Version 2 has no file for it. A BPF program of the type BPF_PROG_TYPE_CGROUP_DEVICE is attached to the cgroup, is given
//! struct bpf_cgroup_dev_ctx (access and type in one word, major, minor), and answers 1 or 0. Those attached to the
//! cgroups above are asked as well, and one 0 is enough: EPERM. Documentation/admin-guide/cgroup-v2.rst, bpf(2)
//!
//! What you'll see: `cat /dev/zero` works or is "Operation not permitted", whatever the mode of the file says.

mod program;
mod rule;

use std::fmt;
use std::os::fd::AsFd;

use nix::errno::Errno;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use program::Instruction;
pub use rule::{Access, Device, DeviceKind, Rule};

use super::intent;
use crate::error::Error;
use crate::feature::Feature;
use crate::observe::cgroup::ProcessCgroup;
use crate::observe::hierarchy::{Controller, Version};
use crate::observe::{Observation, Value, cgroup};
use crate::plan::{Context, Draft, Intent, Setting};
use crate::text::{text, text_with};

/// Options of the devices controller. A rule is `c 1:3 rwm`, `b 8:* r`, `/dev/null rw`, or `a` for all devices.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args, Serialize, Deserialize, JsonSchema)]
#[group(skip)]
#[serde(deny_unknown_fields, default)]
pub struct Devices {
    /// Allow a device in addition to docker's default ones: `c 1:3 rwm`, `b 8:* r`, `/dev/fuse rw`; `a` for all (may be repeated)
    #[arg(long, value_name = "RULE")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(example = ["/dev/fuse rw"])]
    pub allow: Vec<Rule>,
    /// Deny a device, even an allowed one; `a` denies all except what --allow names (may be repeated)
    #[arg(long, value_name = "RULE")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(example = ["/dev/zero rw"])]
    pub deny: Vec<Rule>,
}

/// What docker allows in every container.
pub const USUAL: [Device; 11] = [
    // Any node may be made: without the right to open it, it gives nothing. Archives hold them.
    Device::new(DeviceKind::Character, None, None, Access::MKNOD),
    Device::new(DeviceKind::Block, None, None, Access::MKNOD),
    // /dev/null
    Device::new(DeviceKind::Character, Some(1), Some(3), Access::ALL),
    // /dev/zero
    Device::new(DeviceKind::Character, Some(1), Some(5), Access::ALL),
    // /dev/full
    Device::new(DeviceKind::Character, Some(1), Some(7), Access::ALL),
    // /dev/random
    Device::new(DeviceKind::Character, Some(1), Some(8), Access::ALL),
    // /dev/urandom
    Device::new(DeviceKind::Character, Some(1), Some(9), Access::ALL),
    // /dev/tty: whatever is the controlling terminal of who opens it.
    Device::new(DeviceKind::Character, Some(5), Some(0), Access::ALL),
    // /dev/console
    Device::new(DeviceKind::Character, Some(5), Some(1), Access::ALL),
    // /dev/ptmx: opening it makes a new terminal,
    Device::new(DeviceKind::Character, Some(5), Some(2), Access::ALL),
    // and /dev/pts/* are those.
    Device::new(DeviceKind::Character, Some(136), None, Access::ALL),
];

impl Devices {
    /// The controllers that it needs.
    pub fn controllers(&self) -> Vec<Controller> {
        vec![Controller::Devices]
    }

    /// The intent: one for all rules, since only together they mean something.
    pub fn plan(&self, context: &Context<'_>, draft: &mut Draft) {
        let host = context.host;
        let mut intent = intent(host, Controller::Devices, "devices.rules.why", self.wish(), self.docker());
        match self.policy() {
            Ok(policy) => state(&policy, &mut intent, draft),
            Err(why) => {
                let error = Error::failed(self.wish()).why(why).todo(text("devices.words.todo"));
                draft.problem(Feature::Devices, error);
            }
        }
        draft.intent(intent);
    }

    fn wish(&self) -> String {
        let words = |flag: &str, rules: &[Rule]| rules.iter().map(|rule| format!("{flag} {rule}")).collect();
        let all: [Vec<String>; 2] = [words("allow", &self.allow), words("deny", &self.deny)];
        if all.iter().all(Vec::is_empty) { text("devices.usual") } else { all.concat().join(", ") }
    }

    fn docker(&self) -> String {
        let added = self.allow.iter().map(|rule| match rule {
            Rule::Path(path, access) => format!("--device {}:{0}:{access}", path.display()),
            rule => format!("--device-cgroup-rule '{rule}'"),
        });
        added.collect::<Vec<_>>().join(" ")
    }

    /// What the rules come to. `a` says where to begin: with everything or with nothing, else with the usual devices.
    /// Each --allow adds to that; then each --deny takes away.
    ///
    /// # Errors
    /// A path that is no device, as a sentence.
    pub fn policy(&self) -> Result<Policy, String> {
        let (all, added) = resolve(&self.allow)?;
        let (none, deny) = resolve(&self.deny)?;
        if all && !none {
            return Ok(Policy { deny, allow: Vec::new(), otherwise: Verdict::Allow });
        }
        let mut allow = if none { Vec::new() } else { USUAL.to_vec() };
        added.into_iter().for_each(|device| add(&mut allow, device));
        for rule in &mut allow {
            let taken = deny.iter().filter(|deny| deny.covers(rule)).map(|deny| deny.access);
            rule.access = taken.fold(rule.access, Access::without);
        }
        allow.retain(|rule| !rule.access.is_empty());
        let deny = deny.into_iter().filter(|deny| allow.iter().any(|rule| deny.meets(rule))).collect();
        Ok(Policy { deny, allow, otherwise: Verdict::Deny })
    }
}

/// Both spellings of a policy: v1's lines, and v2's program.
fn state(policy: &Policy, intent: &mut Intent, draft: &mut Draft) {
    match policy.rules_v1() {
        Ok(lines) => {
            intent.v1 = lines.iter().map(|(file, line)| Setting::shown_as(file, line, None)).collect()
        }
        Err(hole) if intent.here == Some(Version::V1) => {
            let error = Error::failed(&intent.wish).why(hole.why()).todo(hole.todo());
            draft.problem(Feature::Devices, error);
        }
        // Said, though here it's v2's business: a spec should mean the same everywhere.
        Err(hole) => intent.note = Some(hole.why()),
    }
    let program = policy.program();
    let length = text_with("devices.program", &[("count", &program.len().to_string())]);
    intent.v2 = vec![Setting::shown_as("bpf(BPF_CGROUP_DEVICE)", length, None)];
    intent.program = Some(program.iter().map(Instruction::word).collect());
    intent.details = policy.pseudo_code();
}

/// What shows it: what opening gives, on each side, and what v1's file says of it.
pub fn observe(process: &str) -> Vec<Observation> {
    let open = |path: &str| {
        let value = match std::fs::File::open(path) {
            Ok(_) => Value::Is(text("devices.opens")),
            Err(error) => crate::observe::proc::refusal(&error),
        };
        Observation { path: format!("open({path})"), field: None, value }
    };
    let mut all =
        vec![cgroup::membership(process, Controller::Devices), open("/dev/null"), open("/dev/zero")];
    match ProcessCgroup::of(process, Controller::Devices) {
        Some(group) if group.version() == Version::V2 => {
            let ids = std::fs::File::open(group.directory()).map(|directory| attached(&directory));
            let value = match ids {
                Ok(Ok(ids)) => Value::Count(ids.len(), "programs".into()),
                Ok(Err(errno)) => Value::Not(format!("{errno:?}")),
                Err(error) => crate::observe::proc::refusal(&error),
            };
            all.push(Observation { path: "bpf(BPF_PROG_QUERY)".into(), field: None, value });
        }
        _ => all.push(cgroup::lines(process, Controller::Devices, "devices.list")),
    }
    all
}

/// Whether there is an `a`, and the devices of the other rules.
fn resolve(rules: &[Rule]) -> Result<(bool, Vec<Device>), String> {
    let found: Vec<Option<Device>> = rules.iter().map(Rule::resolve).collect::<Result<_, _>>()?;
    let mut devices = Vec::new();
    found.iter().flatten().for_each(|device| add(&mut devices, *device));
    Ok((found.contains(&None), devices))
}

/// Rules for the same numbers become one, as they do in the kernel's list: `r` and `w` together allow `rw`.
fn add(devices: &mut Vec<Device>, device: Device) {
    match devices.iter_mut().find(|known| known.with(Access::ALL) == device.with(Access::ALL)) {
        Some(known) => known.access = known.access.and(device.access),
        None => devices.push(device),
    }
}

/// Yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It may be done.
    Allow,
    /// EPERM.
    Deny,
}

/// What the rules come to, for both versions: asked in the order of the fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Access that has any of a rule's letters is denied. Beside `allow`: only holes in what that allows.
    pub deny: Vec<Device>,
    /// Access all of whose letters are in one rule is allowed.
    pub allow: Vec<Device>,
    /// What holds for the rest.
    pub otherwise: Verdict,
}

impl Policy {
    /// What is written in version 1: names of files and lines, each line by a write(2) of its own. `a` is refused with
    /// EINVAL once the cgroup has children.
    ///
    /// # Errors
    /// A hole in what is allowed, of which the kernel's list would know nothing.
    pub fn rules_v1(&self) -> Result<Vec<(&'static str, String)>, Hole> {
        let (start, file, exceptions) = match self.otherwise {
            Verdict::Allow => ("devices.allow", "devices.deny", &self.deny),
            Verdict::Deny => ("devices.deny", "devices.allow", &self.allow),
        };
        if self.otherwise == Verdict::Deny
            && let Some(hole) = self.hole()
        {
            return Err(hole);
        }
        let exceptions = exceptions.iter().map(|device| (file, device.to_string()));
        Ok(std::iter::once((start, "a".to_owned())).chain(exceptions).collect())
    }

    /// A denied rule and the wider allowed one that it lies in; rather one that lets devices be opened than made.
    fn hole(&self) -> Option<Hole> {
        let pairs = self.deny.iter().flat_map(|deny| self.allow.iter().map(|allow| (*deny, *allow)));
        let holes = pairs.filter(|(deny, allow)| deny.meets(allow)).map(|(deny, allow)| Hole { deny, allow });
        holes.max_by_key(Hole::is_opened)
    }

    /// The rules in the order in which they are asked, with what each one answers.
    fn rules(&self) -> impl Iterator<Item = (Verdict, &Device)> {
        let deny = self.deny.iter().map(|device| (Verdict::Deny, device));
        deny.chain(self.allow.iter().map(|device| (Verdict::Allow, device)))
    }
}

/// What version 1 can't express: a denied device within a wider rule that allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hole {
    /// What is to be denied.
    pub deny: Device,
    /// The wider rule that allows it.
    pub allow: Device,
}

impl Hole {
    /// Why it can't be: a sentence that names both rules.
    pub fn why(&self) -> String {
        text_with("devices.hole", &[("deny", &self.deny.to_string()), ("allow", &self.allow.to_string())])
    }

    /// What does instead.
    pub fn todo(&self) -> String {
        let opening = match self.deny.access.without(Access::MKNOD) {
            only_made if only_made.is_empty() => Access::ALL.without(Access::MKNOD),
            opened => opened,
        };
        let key = if self.is_opened() { "devices.hole.narrow" } else { "devices.hole.mknod" };
        text_with(
            key,
            &[("allow", &self.allow.to_string()), ("opening", &self.deny.with(opening).to_string())],
        )
    }

    /// Whether the device could be opened through it, not only made.
    fn is_opened(&self) -> bool {
        self.deny.access.meets(self.allow.access.without(Access::MKNOD))
    }
}

impl fmt::Display for Hole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.why(), self.todo())
    }
}

/// The ids of the device programs that are attached to a cgroup of version 2 itself.
///
/// # Errors
/// EPERM: the caller isn't privileged in the first user namespace. EBADF: it's no cgroup of version 2.
pub fn attached(cgroup: &impl AsFd) -> Result<Vec<u32>, Errno> {
    crate::sys::bpf::query(cgroup)
}

#[cfg(test)]
mod tests;
