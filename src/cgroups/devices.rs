//! The devices controller: which devices the processes of a cgroup may open, and for which they may make device files.
//!
//! # What it does
//!
//! A device file names a device by its type (character or block) and two numbers. A process that may call mknod(2) can
//! make a device file for any disk. So the permissions of the file are not enough, and the kernel also asks the cgroup:
//! each time a device is opened (read `r`, write `w`), and each time a device file is made (`m`).
//!
//! # Why one wants it
//!
//! Root in a container must not read or write the disks of the host.
//!
//! # cgroup v1: two files
//!
//! A cgroup has a default and a list of exceptions. The line `a` in `devices.allow` or `devices.deny` sets the default
//! and empties the list. Each further line, written by a write(2) of its own, changes the exceptions:
//!
//! - If the default is to deny, an access is allowed if a single exception contains all of it.
//! - If the default is to allow, an access is denied if an exception contains any of it.
//! - A line removes an exception only if it has exactly the same device numbers. `c 1:5 m` in `devices.deny` does not
//!   change `c *:* m`, and the kernel reports no error.
//!
//! `devices.list` shows what is allowed, but shows `a *:* rwm` without its exceptions.
//!
//! # cgroup v2: a BPF program
//!
//! There is no file. A BPF program of the type BPF_PROG_TYPE_CGROUP_DEVICE is attached to the cgroup. It gets struct
//! bpf_cgroup_dev_ctx (access and type in one word, major, minor) and returns 1 or 0. The kernel also runs the programs
//! of the cgroups above. If one of them returns 0, the access fails with EPERM.
//!
//! # What you see here
//!
//! `cat /dev/zero` works or fails with "Operation not permitted", whatever the mode of the file is.
//!
//! Documentation/admin-guide/cgroup-v1/devices.rst, cgroup-v2.rst, bpf(2)

mod program;
mod rule;

use std::fmt;
use std::os::fd::AsFd;

use clap::builder::{OsStringValueParser, TypedValueParser};
use nix::errno::Errno;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use program::DeviceInstruction;
pub use rule::{Access, Device, DeviceKind, Rule};

use super::intent;
use crate::error::Error;
use crate::feature::Feature;
use crate::observe::cgroup::ProcessCgroup;
use crate::observe::hierarchy::{Controller, Version};
use crate::observe::{Listing, Observation, Value, cgroup, file};
use crate::plan::{Context, Draft, Intent, Setting};
use crate::text::{text, text_of_options, text_with};
use crate::value::shell::quote;

/// Options of the devices controller. A rule is `c 1:3 rwm`, `b 8:* r`, `/dev/null rw`, or `a` for all devices.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args, Serialize, Deserialize, JsonSchema)]
#[group(skip)]
#[serde(deny_unknown_fields, default)]
pub struct Devices {
    /// Allow a device in addition to docker's default ones: `c 1:3 rwm`, `b 8:* r`, `/dev/fuse rw`; `a` for all (may be repeated)
    #[arg(long, value_name = "RULE", value_parser = OsStringValueParser::new().try_map(Rule::read))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(example = ["/dev/fuse rw"])]
    pub allow: Vec<Rule>,
    /// Deny a device, even an allowed one; `a` denies all except what --allow names (may be repeated)
    #[arg(long, value_name = "RULE", value_parser = OsStringValueParser::new().try_map(Rule::read))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(example = ["/dev/zero rw"])]
    pub deny: Vec<Rule>,
}

/// The devices that docker allows in every container.
pub const USUAL: [Device; 11] = [
    // Any device file may be made, because archives contain them. It gives no access without the right to open it.
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
    // /dev/tty: the controlling terminal of the process that opens it.
    Device::new(DeviceKind::Character, Some(5), Some(0), Access::ALL),
    // /dev/console
    Device::new(DeviceKind::Character, Some(5), Some(1), Access::ALL),
    // /dev/ptmx: open(2) makes a new pseudoterminal.
    Device::new(DeviceKind::Character, Some(5), Some(2), Access::ALL),
    // /dev/pts/*: the pseudoterminals.
    Device::new(DeviceKind::Character, Some(136), None, Access::ALL),
];

/// Which devices the processes of a container may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceRules {
    /// The devices that are allowed before the rules apply.
    #[schemars(with = "Vec<Rule>")]
    pub usual: Vec<Device>,
    /// The rules.
    pub rules: Devices,
}

impl From<Devices> for DeviceRules {
    fn from(rules: Devices) -> DeviceRules {
        DeviceRules { usual: USUAL.to_vec(), rules }
    }
}

impl DeviceRules {
    /// The controllers that the rules need.
    pub fn controllers(&self) -> Vec<Controller> {
        vec![Controller::Devices]
    }

    /// The rules, as one intent: each rule can change the meaning of the others.
    pub fn plan(&self, context: &Context<'_>, draft: &mut Draft) {
        let host = context.host;
        let mut intent =
            intent(host, Controller::Devices, "devices.rules.why", self.rules.wish(), self.rules.docker());
        match self.policy() {
            Ok(policy) => {
                let parent = host.cgroups.as_ref().and_then(|cgroups| cgroups.parent(Controller::Devices));
                let above = parent.and_then(|parent| parent.devices.as_ref());
                let above: Option<Vec<Device>> =
                    above.map(|lines| lines.iter().filter_map(|line| line.parse().ok()).collect());
                let policy = match above {
                    Some(above) => within(policy, &above, draft),
                    None => policy,
                };
                set_policy(&policy, &mut intent, draft);
            }
            Err(why) => {
                let todo = text_of_options(draft.are_flags(Feature::Devices), "devices.words.todo");
                let error = Error::failed(self.rules.wish()).why(why).todo(todo);
                let list = if resolve(&self.rules.allow).is_err() { "allow" } else { "deny" };
                draft.problem_of(Feature::Devices, list, error);
            }
        }
        draft.intent(intent);
    }

    /// The policy that follows from the rules. It starts from the usual devices, from all devices with `--allow a`, or
    /// from none with `--deny a`. Each --allow adds devices, then each --deny removes devices.
    ///
    /// # Errors
    /// A sentence, if a path is no device.
    pub fn policy(&self) -> Result<Policy, String> {
        let (all, added) = resolve(&self.rules.allow)?;
        let (none, deny) = resolve(&self.rules.deny)?;
        if all && !none {
            return Ok(Policy { deny, allow: Vec::new(), otherwise: Verdict::Allow });
        }
        let mut allow = if none { Vec::new() } else { self.usual.clone() };
        added.into_iter().for_each(|device| add(&mut allow, device));
        let policy = Policy { deny, allow: Vec::new(), otherwise: Verdict::Deny };
        let allow = policy.without_denied(allow);
        let deny = policy.deny.into_iter().filter(|deny| allow.iter().any(|rule| deny.meets(rule))).collect();
        Ok(Policy { deny, allow, otherwise: Verdict::Deny })
    }
}

impl Devices {
    fn wish(&self) -> String {
        let list = |flag: &str, rules: &[Rule]| rules.iter().map(|rule| format!("{flag} {rule}")).collect();
        let all: [Vec<String>; 2] = [list("allow", &self.allow), list("deny", &self.deny)];
        if all.iter().all(Vec::is_empty) { text("devices.usual") } else { all.concat().join(", ") }
    }

    fn docker(&self) -> String {
        let added = self.allow.iter().map(|rule| match rule {
            Rule::Path(path, access) => {
                let mut device = path.clone().into_os_string();
                device.push(":");
                device.push(path);
                device.push(format!(":{access}"));
                format!("--device {}", quote(device))
            }
            rule => format!("--device-cgroup-rule '{rule}'"),
        });
        added.collect::<Vec<_>>().join(" ")
    }
}

/// The part of a policy that the caller's own cgroup allows, by the list of cgroup v1. The kernel refuses a line that allows more than the parent's with EPERM.
fn within(policy: Policy, above: &[Device], draft: &mut Draft) -> Policy {
    let allow = match policy.otherwise {
        Verdict::Allow => above.to_vec(),
        Verdict::Deny => {
            let pairs = policy.allow.iter().flat_map(|ours| above.iter().map(|theirs| ours.common(theirs)));
            let mut allow = Vec::new();
            pairs.flatten().for_each(|device| add(&mut allow, device));
            allow
        }
    };
    let allow: Vec<Device> = policy.without_denied(allow);
    let lost = policy.allow.iter().filter(|ours| !allow.contains(ours));
    let lost: Vec<String> = match policy.otherwise {
        Verdict::Allow => vec!["a".to_owned()],
        Verdict::Deny => lost.map(ToString::to_string).collect(),
    };
    if !lost.is_empty() {
        draft.kept_note(text_with("devices.lowered", &[("devices", &lost.join(", "))]));
    }
    let deny = policy.deny.into_iter().filter(|deny| allow.iter().any(|rule| deny.meets(rule))).collect();
    Policy { deny, allow, otherwise: Verdict::Deny }
}

/// Sets both interfaces of the intent: the lines of cgroup v1, and the program of cgroup v2.
fn set_policy(policy: &Policy, intent: &mut Intent, draft: &mut Draft) {
    match policy.rules_v1() {
        Ok(lines) => {
            intent.v1 = lines.iter().map(|(file, line)| Setting::shown_as(file, line, None)).collect()
        }
        Err(hole) if intent.here == Some(Version::V1) => {
            let error = Error::failed(&intent.wish).why(hole.why()).todo(hole.todo());
            draft.problem_at(Feature::Devices, Feature::Devices.name(), error);
        }
        // This machine uses cgroup v2, which can deny it. The note tells that the spec does not work with cgroup v1.
        Err(hole) => intent.note = Some(hole.why()),
    }
    let program = policy.program();
    let length = text_with("devices.program", &[("count", &program.len().to_string())]);
    intent.v2 = vec![Setting::shown_as("bpf(BPF_CGROUP_DEVICE)", length, None)];
    intent.program = Some(program.iter().map(DeviceInstruction::word).collect());
    intent.details = policy.pseudo_code();
}

/// What to observe. A process on each side opens two devices, and reads the rules of v1 or the IDs of the programs of v2.
pub fn observe(process: &str) -> Vec<Observation> {
    let open = |path: &str| {
        let value = match file::open(path) {
            Ok(_) => Value::Is(text("devices.opens")),
            Err(error) => crate::observe::proc::refusal(&error),
        };
        Observation { path: format!("open({path})"), field: None, value }
    };
    let mut all =
        vec![cgroup::membership(process, Controller::Devices), open("/dev/null"), open("/dev/zero")];
    match ProcessCgroup::of(process, Controller::Devices) {
        Some(cgroup) if cgroup.version() == Version::V2 => {
            let ids = std::fs::File::open(cgroup.directory()).map(|directory| attached(&directory));
            let value = match ids {
                Ok(Ok(ids)) => Value::List(Listing::new("programs", ids.iter().map(ToString::to_string))),
                Ok(Err(errno)) => Value::Not(format!("{errno:?}")),
                Err(error) => crate::observe::proc::refusal(&error),
            };
            all.push(Observation { path: "bpf(BPF_PROG_QUERY)".into(), field: None, value });
        }
        _ => all.push(cgroup::lines(process, Controller::Devices, "devices.list")),
    }
    all
}

/// Whether the rules contain `a`, and the devices of the other rules.
fn resolve(rules: &[Rule]) -> Result<(bool, Vec<Device>), String> {
    let found: Vec<Option<Device>> = rules.iter().map(Rule::resolve).collect::<Result<_, _>>()?;
    let mut devices = Vec::new();
    found.iter().flatten().for_each(|device| add(&mut devices, *device));
    Ok((found.contains(&None), devices))
}

/// Adds a device. Rules with the same device numbers become one, as in the kernel's list: `r` and `w` together are
/// `rw`.
fn add(devices: &mut Vec<Device>, device: Device) {
    match devices.iter_mut().find(|known| known.with(Access::ALL) == device.with(Access::ALL)) {
        Some(known) => known.access = known.access.and(device.access),
        None => devices.push(device),
    }
}

/// What a rule does with an access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The access is allowed.
    Allow,
    /// The access fails with EPERM.
    Deny,
}

/// What the rules mean, for cgroup v1 and v2. The fields are applied in this order, and the first match decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// An access is denied if it contains any letter of a rule. Where the rest is denied, these are only exceptions of
    /// `allow`.
    pub deny: Vec<Device>,
    /// An access is allowed if one rule contains all its letters.
    pub allow: Vec<Device>,
    /// What happens with every other access.
    pub otherwise: Verdict,
}

impl Policy {
    /// The files and lines of cgroup v1. Each line is written by a write(2) of its own. The kernel refuses `a` with
    /// EINVAL if the cgroup has children.
    ///
    /// # Errors
    /// A [`Hole`], which the kernel's list cannot express.
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

    /// The allowed devices without those that are denied as a whole.
    fn without_denied(&self, mut allow: Vec<Device>) -> Vec<Device> {
        for rule in &mut allow {
            let denied = self.deny.iter().filter(|deny| deny.covers(rule)).map(|deny| deny.access);
            rule.access = denied.fold(rule.access, Access::without);
        }
        allow.retain(|rule| !rule.access.is_empty());
        allow
    }

    /// A denied rule within a wider allowed one. If there are several, one by which the device could be opened.
    fn hole(&self) -> Option<Hole> {
        let pairs = self.deny.iter().flat_map(|deny| self.allow.iter().map(|allow| (*deny, *allow)));
        let holes = pairs.filter(|(deny, allow)| deny.meets(allow)).map(|(deny, allow)| Hole { deny, allow });
        holes.max_by_key(Hole::is_opened)
    }

    /// Whether a device file with these numbers can be made.
    pub fn allows_mknod(&self, kind: DeviceKind, major: u32, minor: u32) -> bool {
        let made = Device::new(kind, Some(major), Some(minor), Access::MKNOD);
        let rule = self.rules().find(|(_, rule)| rule.meets(&made));
        rule.map_or(self.otherwise, |(verdict, _)| verdict) == Verdict::Allow
    }

    /// The rules in the order in which they are applied, each with its verdict.
    fn rules(&self) -> impl Iterator<Item = (Verdict, &Device)> {
        let deny = self.deny.iter().map(|device| (Verdict::Deny, device));
        deny.chain(self.allow.iter().map(|device| (Verdict::Allow, device)))
    }
}

/// What cgroup v1 cannot express: a denied device within a wider rule that allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hole {
    /// The device to deny.
    pub deny: Device,
    /// The wider rule that allows it.
    pub allow: Device,
}

impl Hole {
    /// Why it is impossible: a sentence that names both rules.
    pub fn why(&self) -> String {
        text_with("devices.hole", &[("deny", &self.deny.to_string()), ("allow", &self.allow.to_string())])
    }

    /// What to do instead.
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

    /// Whether the wider rule lets the device be opened. Otherwise only its device file can be made.
    fn is_opened(&self) -> bool {
        self.deny.access.meets(self.allow.access.without(Access::MKNOD))
    }
}

impl fmt::Display for Hole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.why(), self.todo())
    }
}

/// The IDs of the device programs that are attached to a cgroup of cgroup v2 itself.
///
/// # Errors
/// EPERM: the caller is not privileged in the initial user namespace. EBADF: it is no cgroup of cgroup v2.
pub fn attached(cgroup: &impl AsFd) -> Result<Vec<u32>, Errno> {
    crate::sys::bpf::query(cgroup)
}

#[cfg(test)]
mod tests;
