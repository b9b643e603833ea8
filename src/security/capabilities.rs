//! Capabilities: root's power in 41 pieces.
//!
//! The kernel never asks whether a process is root, but whether it has the capability that the act takes. Each process has
//! five sets: *effective* is what counts now, *permitted* what it may make effective, *inheritable* and *ambient* what may
//! pass through execve(2), and *bounding* what execve can give at all. A program that root executes gets the whole bounding
//! set: so a container's root is held by that set, and clearing the others alone would last until the next program.
//! A process that becomes another user than root loses permitted and effective by itself. capabilities(7)
//!
//! What you'll see: the five `Cap` lines of `/proc/PID/status`, and EPERM where root is refused.

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
use crate::text::text_with;
use crate::value::parse::parsed;

/// `capabilities: default`, or `capabilities: { keep: [net_bind_service] }`.
#[derive(Debug, Clone, Default, PartialEq, Eq, JsonSchema)]
#[schemars(with = "Option<serde_json::Value>", inline, example = &"default")]
pub enum Capabilities {
    /// Docker's set.
    #[default]
    Default,
    /// These and no others.
    Keep(Vec<Capability>),
}

/// What docker leaves to root in a container: enough to install software and to serve, too little to change the machine.
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

/// The newest that is named here, of Linux 5.9. A kernel that is asked to drop one that it doesn't know fails the run.
const NEWEST: u8 = Capability::CAP_CHECKPOINT_RESTORE as u8;

impl Capabilities {
    /// What stays.
    pub fn keep(&self) -> &[Capability] {
        match self {
            Capabilities::Default => &DEFAULT,
            Capabilities::Keep(these) => these,
        }
    }

    /// The steps: the bounding set while CAP_SETPCAP is there, the others when the ids are final.
    pub fn plan(&self, context: &Context<'_>, draft: &mut Draft) {
        let mut step = |phase, call, why| draft.step(phase, Actor::Command, Feature::Capabilities, call, why);
        let keep = self.keep().to_vec();
        let last = context.host.last_capability.unwrap_or(NEWEST);
        let bound = RestrictCall::Bound { keep: keep.clone(), last };
        step(Phase::Bounding, bound, "capabilities.bound.why");
        step(Phase::Capabilities, RestrictCall::ClearAmbient, "capabilities.ambient.why");
        if context.is_root {
            step(Phase::Capabilities, RestrictCall::Capabilities { keep }, "capabilities.set.why");
        } else {
            let none = RestrictCall::Capabilities { keep: Vec::new() };
            step(Phase::Capabilities, none, "capabilities.none.why");
        }
    }
}

/// The lines that show it; read by a process on each side.
pub fn observe(process: &str) -> Vec<Observation> {
    status(process, ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Groups"])
}

/// A capability by its name, `CAP_` or not, in any case.
struct Named(Capability);

impl FromStr for Named {
    type Err = String;

    fn from_str(name: &str) -> Result<Named, String> {
        let whole = name.to_ascii_uppercase();
        let whole = if whole.starts_with("CAP_") { whole } else { format!("CAP_{whole}") };
        whole.parse().map(Named).map_err(|_| text_with("capabilities.unknown", &[("name", name)]))
    }
}

impl Serialize for Named {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&short_name(&self.0))
    }
}

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed(deserializer)
    }
}

/// As it is written in a spec: docker's way, without `CAP_` and small.
pub fn short_name(capability: &Capability) -> String {
    capability.to_string().trim_start_matches("CAP_").to_lowercase()
}

/// The value of the key where it's a map.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keep {
    keep: Vec<Named>,
}

impl Serialize for Capabilities {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Capabilities::Default => serializer.serialize_str("default"),
            Capabilities::Keep(these) => {
                Keep { keep: these.iter().copied().map(Named).collect() }.serialize(serializer)
            }
        }
    }
}

impl<'de> Deserialize<'de> for Capabilities {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WordOrMap;

        impl<'de> Visitor<'de> for WordOrMap {
            type Value = Capabilities;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`default` or `{ keep: [NAME, ...] }`")
            }

            fn visit_str<E: Error>(self, word: &str) -> Result<Capabilities, E> {
                match word {
                    "default" => Ok(Capabilities::Default),
                    other => Err(E::invalid_value(serde::de::Unexpected::Str(other), &self)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Capabilities, A::Error> {
                let Keep { keep } = Keep::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Capabilities::Keep(keep.into_iter().map(|Named(capability)| capability).collect()))
            }
        }

        deserializer.deserialize_any(WordOrMap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(yaml: &str) -> Result<Capabilities, String> {
        serde_yaml::from_str(yaml).map_err(|error| error.to_string())
    }

    #[test]
    fn names_are_taken_in_each_of_their_spellings() {
        let these = vec![Capability::CAP_NET_BIND_SERVICE, Capability::CAP_KILL, Capability::CAP_SYS_ADMIN];
        let spec = "keep: [net_bind_service, CAP_KILL, Cap_Sys_Admin]";
        assert_eq!(read(spec), Ok(Capabilities::Keep(these)));
        assert_eq!(read("keep: []"), Ok(Capabilities::Keep(vec![])));
        assert_eq!(read("default"), Ok(Capabilities::Default));
    }

    #[test]
    fn what_is_no_capability_is_refused_by_its_name() {
        for wrong in ["keep: [net_bind]", "keep: [CAP_]", "keep: [CAP_CAP_KILL]", "keep: ['']"] {
            assert!(read(wrong).unwrap_err().contains("no capability"), "{wrong}");
        }
        assert!(read("all").unwrap_err().contains("`default` or"));
        assert!(read("drop: [kill]").unwrap_err().contains("unknown field `drop`"));
    }

    #[test]
    fn it_is_written_as_it_is_read() {
        let keep = Capabilities::Keep(vec![Capability::CAP_KILL]);
        assert_eq!(serde_yaml::to_string(&keep).unwrap(), "keep:\n- kill\n");
        assert_eq!(serde_yaml::to_string(&Capabilities::Default).unwrap(), "default\n");
    }
}
