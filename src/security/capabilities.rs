//! Capabilities: the power of root in 41 parts.
//!
//! # What they are
//!
//! For a privileged operation, the kernel does not ask whether the process is root. It asks for one capability. A
//! process has five sets of capabilities:
//!
//! - *effective*: those that the kernel checks.
//! - *permitted*: those that the process may add to its effective set.
//! - *inheritable* and *ambient*: those that can be kept in execve(2).
//! - *bounding*: the limit of what execve(2) can give.
//!
//! # Why one wants it
//!
//! Root in a container must not load kernel modules, change the clock or mount filesystems. A program that root
//! executes gets all capabilities of the bounding set. So the bounding set is what restricts root in a container: if
//! only the other sets were cleared, the next execve(2) would restore them. A process that changes from root to another
//! user loses its permitted and effective capabilities.
//!
//! # What you see
//!
//! The five `Cap` lines of `/proc/PID/status`, and EPERM where root is refused. capabilities(7)

use std::fmt;
use std::str::FromStr;

use caps::Capability;
use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::status;
use crate::feature::Feature;
use crate::observe::Observation;
use crate::plan::call::restrict::RestrictCall;
use crate::plan::order::Phase;
use crate::plan::{Actor, Context, Draft};
use crate::text::{text, text_with, word};
use crate::value::parse::parsed;

/// `capabilities: default`, or `capabilities: { keep: [net_bind_service] }`.
#[derive(Debug, Clone, Default, PartialEq, Eq, JsonSchema)]
#[schemars(with = "Option<serde_json::Value>", inline, example = &"default")]
pub enum Capabilities {
    /// The same as docker's default.
    #[default]
    Default,
    /// Only these.
    Keep(Vec<Capability>),
}

/// The capabilities that docker lets root keep in a container. They are enough to install software and to run servers,
/// but not to change the machine.
pub const DEFAULT: [Capability; 14] = [
    Capability::CAP_CHOWN,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_FOWNER,
    Capability::CAP_FSETID,
    Capability::CAP_KILL,
    Capability::CAP_SETGID,
    Capability::CAP_SETUID,
    Capability::CAP_SETPCAP,
    Capability::CAP_NET_BIND_SERVICE,
    Capability::CAP_NET_RAW,
    Capability::CAP_SYS_CHROOT,
    Capability::CAP_MKNOD,
    Capability::CAP_AUDIT_WRITE,
    Capability::CAP_SETFCAP,
];

/// The newest capability that the crate knows, of Linux 5.9. It is used if the kernel's last capability cannot be read.
/// A kernel refuses to drop a capability that it does not know.
const NEWEST: u8 = Capability::CAP_CHECKPOINT_RESTORE as u8;

impl Capabilities {
    /// The capabilities that the command keeps.
    pub fn keep(&self) -> &[Capability] {
        match self {
            Capabilities::Default => &DEFAULT,
            Capabilities::Keep(keep) => keep,
        }
    }
}

/// The five capability sets of a process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // Each is the set of that name.
pub struct CapabilitySets {
    #[serde(with = "names")]
    #[schemars(with = "Vec<String>")]
    pub bounding: Vec<Capability>,
    #[serde(with = "names")]
    #[schemars(with = "Vec<String>")]
    pub effective: Vec<Capability>,
    #[serde(with = "names")]
    #[schemars(with = "Vec<String>")]
    pub permitted: Vec<Capability>,
    #[serde(with = "names")]
    #[schemars(with = "Vec<String>")]
    pub inheritable: Vec<Capability>,
    #[serde(with = "names")]
    #[schemars(with = "Vec<String>")]
    pub ambient: Vec<Capability>,
}

impl CapabilitySets {
    /// The sets of a command that keeps these capabilities. A user other than root has them only in the bounding set.
    pub fn of(keep: &[Capability], is_root: bool) -> CapabilitySets {
        let held = if is_root { keep.to_vec() } else { Vec::new() };
        CapabilitySets {
            bounding: keep.to_vec(),
            effective: held.clone(),
            permitted: held,
            ..CapabilitySets::default()
        }
    }

    /// The steps. The bounding set is reduced while the child has CAP_SETPCAP, the other sets after the last change of
    /// IDs.
    pub fn plan(&self, context: &Context<'_>, draft: &mut Draft) {
        let mut step = |phase, call, why| draft.step(phase, Actor::Command, Feature::Capabilities, call, why);
        let bounding = self.bounding.clone();
        let last = context.host.last_capability.unwrap_or(NEWEST);
        step(Phase::Bounding, RestrictCall::Bound { keep: bounding, last }, "capabilities.bound.why");
        step(Phase::Capabilities, RestrictCall::ClearAmbient, "capabilities.ambient.why");
        let why = if context.is_root { "capabilities.set.why" } else { "capabilities.none.why" };
        self.reduce(why, context, draft);
        if !self.ambient.is_empty() {
            let raise = RestrictCall::RaiseAmbient { raise: self.ambient.clone() };
            let (phase, actor) = (Phase::Capabilities, Actor::Command);
            draft.step(phase, actor, Feature::Capabilities, raise, "enter.ambient.why");
        }
    }

    /// Reduces the permitted, the effective and the inheritable set. CAP_SYS_ADMIN may have to stay until execve(2), which
    /// takes it away. execve gives root what is in the bounding set, and there it is not. It gives another user only what is
    /// inheritable or ambient, and this is neither, although it can be in the bounding set. capabilities(7)
    pub fn reduce(&self, why: &'static str, context: &Context<'_>, draft: &mut Draft) {
        let has_init = draft.has(Phase::Init);
        let mut step = |phase, actor, call, why| draft.step(phase, actor, Feature::Capabilities, call, why);
        if !context.keeps_admin || self.effective.contains(&Capability::CAP_SYS_ADMIN) {
            return step(Phase::Capabilities, Actor::Command, self.call(Vec::new()), why);
        }
        let call = self.call(vec![Capability::CAP_SYS_ADMIN]);
        step(Phase::Capabilities, Actor::Command, call, "capabilities.until.why");
        if has_init {
            step(Phase::InitCapabilities, Actor::Child, self.call(Vec::new()), "capabilities.init.why");
        }
    }

    /// capset(2) of these sets, with more capabilities until execve(2).
    fn call(&self, until_exec: Vec<Capability>) -> RestrictCall {
        let CapabilitySets { effective, permitted, inheritable, .. } = self.clone();
        match effective == permitted && inheritable.is_empty() {
            true => RestrictCall::Capabilities { keep: permitted, until_exec },
            false => RestrictCall::CapabilitySets { effective, permitted, inheritable, until_exec },
        }
    }
}

/// Capabilities by their names in capabilities(7), `CAP_KILL`.
mod names {
    use super::{Capability, CapabilityName, Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(all: &[Capability], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(all.iter().map(Capability::to_string))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Capability>, D::Error> {
        let all = Vec::<CapabilityName>::deserialize(deserializer)?;
        Ok(all.into_iter().map(|CapabilityName(one)| one).collect())
    }
}

/// What to observe. A process on each side reads these lines.
pub fn observe(process: &str) -> Vec<Observation> {
    status(process, ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Groups"])
}

/// A capability as it is written: with `CAP_` or without, in upper or lower case.
struct CapabilityName(Capability);

impl FromStr for CapabilityName {
    type Err = String;

    fn from_str(name: &str) -> Result<CapabilityName, String> {
        let full = name.to_ascii_uppercase();
        let full = if full.starts_with("CAP_") { full } else { format!("CAP_{full}") };
        full.parse()
            .map(CapabilityName)
            .map_err(|_| text_with("capabilities.unknown", &[("name", &word(name))]))
    }
}

impl Serialize for CapabilityName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&short_name(&self.0))
    }
}

impl<'de> Deserialize<'de> for CapabilityName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed(deserializer)
    }
}

/// The name as a spec has it: in lower case without `CAP_`.
pub fn short_name(capability: &Capability) -> String {
    capability.to_string().trim_start_matches("CAP_").to_lowercase()
}

/// The names of the capabilities in a mask of /proc/PID/status: all, those that are set, or those that are not. `last` is
/// the number of the kernel's last capability.
pub fn names_in(mask: u64, last: u8) -> String {
    let is_set = |number: u8| mask.checked_shr(number.into()).unwrap_or(0) & 1 == 1;
    let all: Vec<Capability> = caps::all().into_iter().filter(|of| of.index() <= last).collect();
    let set: Vec<String> = all.iter().filter(|of| is_set(of.index())).map(short_name).collect();
    match (set.len(), (0..=last).all(is_set)) {
        (_, true) => text_with("user.capabilities.all", &[("count", &(u32::from(last) + 1).to_string())]),
        (0, _) => text("user.capabilities.none"),
        (few, _) if few <= all.len() / 2 => set.join(", "),
        _ => {
            let lacking: Vec<String> = all.iter().filter(|of| !is_set(of.index())).map(short_name).collect();
            text_with("user.capabilities.but", &[("names", &lacking.join(", "))])
        }
    }
}

/// The value of the key, if it is a map.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keep {
    keep: Vec<CapabilityName>,
}

impl Serialize for Capabilities {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Capabilities::Default => serializer.serialize_str("default"),
            Capabilities::Keep(keep) => {
                Keep { keep: keep.iter().copied().map(CapabilityName).collect() }.serialize(serializer)
            }
        }
    }
}

impl<'de> Deserialize<'de> for Capabilities {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct StringOrMap;

        impl<'de> Visitor<'de> for StringOrMap {
            type Value = Capabilities;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`default` or `{ keep: [NAME, ...] }`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Capabilities, E> {
                match text {
                    "default" => Ok(Capabilities::Default),
                    other => Err(E::invalid_value(serde::de::Unexpected::Str(other), &self)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Capabilities, A::Error> {
                let Keep { keep } = Keep::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Capabilities::Keep(
                    keep.into_iter().map(|CapabilityName(capability)| capability).collect(),
                ))
            }
        }

        deserializer.deserialize_any(StringOrMap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(yaml: &str) -> Result<Capabilities, String> {
        serde_yaml::from_str(yaml).map_err(|error| error.to_string())
    }

    #[test]
    fn a_name_is_read_in_upper_and_lower_case_with_and_without_its_prefix() {
        let keep = vec![Capability::CAP_NET_BIND_SERVICE, Capability::CAP_KILL, Capability::CAP_SYS_ADMIN];
        let spec = "keep: [net_bind_service, CAP_KILL, Cap_Sys_Admin]";
        assert_eq!(read(spec), Ok(Capabilities::Keep(keep)));
        assert_eq!(read("keep: []"), Ok(Capabilities::Keep(vec![])));
        assert_eq!(read("default"), Ok(Capabilities::Default));
    }

    #[test]
    fn an_unknown_capability_is_refused_with_its_name() {
        for wrong in ["keep: [net_bind]", "keep: [CAP_]", "keep: [CAP_CAP_KILL]", "keep: ['']"] {
            assert!(read(wrong).unwrap_err().contains("no capability"), "{wrong}");
        }
        assert!(read("all").unwrap_err().contains("`default` or"));
        assert!(read("drop: [kill]").unwrap_err().contains("unknown field `drop`"));
    }

    #[test]
    fn a_value_is_written_as_it_is_read() {
        let keep = Capabilities::Keep(vec![Capability::CAP_KILL]);
        assert_eq!(serde_yaml::to_string(&keep).unwrap(), "keep:\n- kill\n");
        assert_eq!(serde_yaml::to_string(&Capabilities::Default).unwrap(), "default\n");
    }
}
