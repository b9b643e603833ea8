//! Kernel parameters of the new namespaces: files below /proc/sys.
//!
//! # What they are
//!
//! Most kernel parameters belong to the whole machine. Those of the network stack belong to a network namespace, and those of
//! System V IPC and of POSIX message queues to an IPC namespace. A new namespace has the kernel's own defaults, or a copy of
//! the caller's values.
//!
//! # Why one wants it
//!
//! A program may need another value, such as a longer queue of connections. It is set before the program starts, because
//! /proc/sys is read-only in a container with a root of its own.
//!
//! # What you see
//!
//! `/proc/sys` shows each process the values of its own namespaces. sysctl(8), proc_sys(5)

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::Error;
use crate::feature::Feature;
use crate::plan::call::file::FileCall;
use crate::plan::order::Phase;
use crate::plan::{Actor, Draft};
use crate::text::{text, text_with};
use crate::value::parse::{Scalar, parsed};

/// `sysctls: { net.core.somaxconn: 1024 }`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(with = "BTreeMap<String, Scalar>", inline, example = BTreeMap::from([("net.core.somaxconn", 1024)]))]
pub struct Sysctls(pub BTreeMap<SysctlName, SysctlValue>);

/// The name of a kernel parameter that a namespace has of its own: `net.ipv4.ip_forward`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SysctlName(String);

/// The value of a kernel parameter, with one blank between two words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SysctlValue(String);

/// The parameters of System V IPC. Those of message queues are in fs/mqueue.
const IPC: [&str; 11] = [
    "msg_next_id",
    "msgmax",
    "msgmnb",
    "msgmni",
    "sem",
    "sem_next_id",
    "shm_next_id",
    "shm_rmid_forced",
    "shmall",
    "shmmax",
    "shmmni",
];

/// The maximum length of a value in bytes. Lists of ports are the longest ones.
const MAX_VALUE: usize = 1024;

impl Sysctls {
    /// The steps. `is_new` is whether the container has a new namespace of a kind.
    pub fn plan(&self, is_new: impl Fn(Feature) -> bool, draft: &mut Draft) {
        for (name, SysctlValue(value)) in &self.0 {
            let kind = name.kind();
            if is_new(kind) {
                let call = FileCall::Write { path: name.path(), content: value.clone() };
                draft.step(Phase::Sysctls, Actor::Child, kind, call, "sysctls.write.why");
            } else {
                let values = [("name", &*name.0), ("kind", kind.name())];
                let error = Error::failed(text_with("sysctls.host", &values)).why(text("sysctls.host.why"));
                draft.problem_at(kind, "sysctls", error.todo(text_with("sysctls.host.todo", &values)));
            }
        }
    }
}

impl SysctlName {
    /// The kind of namespace that has it.
    pub fn kind(&self) -> Feature {
        if self.0.starts_with("net") { Feature::Net } else { Feature::Ipc }
    }

    /// Its file. A dot of the name is a slash, and a slash is a dot: `net.ipv4.conf.eth0/1.rp_filter`. sysctl(8)
    pub fn path(&self) -> PathBuf {
        let swapped = self.0.chars().map(|one| match one {
            '.' => '/',
            '/' => '.',
            other => other,
        });
        PathBuf::from("/proc/sys").join(swapped.collect::<String>())
    }
}

impl FromStr for SysctlName {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        // With a slash first, sysctl(8) takes slashes as slashes.
        let is_path = name.find(['.', '/']).is_some_and(|place| name[place..].starts_with('/'));
        let swap = |one| match one {
            '.' => '/',
            '/' => '.',
            other => other,
        };
        let name: String = if is_path { name.chars().map(swap).collect() } else { name.to_owned() };
        let parts: Vec<&str> = name.split('.').collect();
        // A part `/` or `//` would be the directory `.` or `..`.
        let is_part = |part: &&str| {
            !part.is_empty() && !part.bytes().all(|byte| byte == b'/') && !part.contains(char::is_control)
        };
        let is_namespaced = match &parts[..] {
            ["net", _, ..] => true,
            ["kernel", name] => IPC.contains(name),
            ["fs", "mqueue", _] => true,
            _ => false,
        };
        match is_namespaced && parts.iter().all(is_part) {
            true => Ok(SysctlName(name)),
            false => Err(text("sysctls.name")),
        }
    }
}

impl FromStr for SysctlValue {
    type Err = String;

    fn from_str(value: &str) -> Result<Self, String> {
        let words: Vec<&str> = value.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
        let is_one_line = !value.contains(|one: char| one.is_control() && one != '\t');
        match is_one_line && !words.is_empty() && value.len() <= MAX_VALUE {
            true => Ok(SysctlValue(words.join(" "))),
            false => Err(text_with("sysctls.value", &[("most", &MAX_VALUE.to_string())])),
        }
    }
}

impl fmt::Display for SysctlName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for SysctlValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for SysctlName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SysctlName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed(deserializer)
    }
}

impl Serialize for SysctlValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SysctlValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_a_namespace_and_a_file() {
        for (name, kind, path) in [
            ("net.core.somaxconn", Feature::Net, "/proc/sys/net/core/somaxconn"),
            ("net/ipv4/ip_forward", Feature::Net, "/proc/sys/net/ipv4/ip_forward"),
            ("net.ipv4.conf.eth0/1.rp_filter", Feature::Net, "/proc/sys/net/ipv4/conf/eth0.1/rp_filter"),
            ("net/ipv4/conf/eth0.1/rp_filter", Feature::Net, "/proc/sys/net/ipv4/conf/eth0.1/rp_filter"),
            ("kernel.sem", Feature::Ipc, "/proc/sys/kernel/sem"),
            ("kernel.shm_rmid_forced", Feature::Ipc, "/proc/sys/kernel/shm_rmid_forced"),
            ("fs.mqueue.msg_max", Feature::Ipc, "/proc/sys/fs/mqueue/msg_max"),
        ] {
            let name: SysctlName = name.parse().unwrap();
            assert_eq!((name.kind(), name.path()), (kind, path.into()));
            assert_eq!(name.0.parse(), Ok(name));
        }
        for name in [
            "",
            "net",
            "net.",
            "net..core",
            ".net.core",
            "kernel.hostname",
            "kernel.core_pattern",
            "kernel.shm",
            "vm.swappiness",
            "fs.mqueue",
            "fs.mqueue.a.b",
            "fs.file-max",
            "network.core",
            "net.//.kernel.core_pattern",
            "net/../kernel/core_pattern",
            "/proc/sys/net/core",
            "net.a\nb",
            "net/./x",
            "kernel.sem.x",
        ] {
            assert!(name.parse::<SysctlName>().is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_value_is_one_line() {
        let sysctls: Sysctls =
            serde_yaml::from_str("net.core.somaxconn: 7\nkernel.sem: \"250\\t32000  32 128\"").unwrap();
        let json = serde_json::to_string(&sysctls).unwrap();
        assert_eq!(json, r#"{"kernel.sem":"250 32000 32 128","net.core.somaxconn":"7"}"#);
        assert_eq!(serde_json::from_str::<Sysctls>(&json).unwrap(), sysctls);
        for value in ["", " ", "1\n2", "a\0b", &"9".repeat(1025)] {
            assert!(value.parse::<SysctlValue>().is_err(), "{value:?}");
        }
    }
}
