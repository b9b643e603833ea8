//! The UTS namespace: the hostname and the domain name.
//!
//! # What it is
//!
//! The kernel keeps two names for uname(2): the hostname and the NIS domain name. A UTS namespace is one pair of these
//! names. Every process is in one UTS namespace, and sees and sets the names of that one. The namespace is called after
//! `struct utsname`, in which uname(2) returns them.
//!
//! # Why one wants it
//!
//! A container gets a hostname that tells it from other containers, in its prompt and its log files. Root in the
//! container can change it, and the host keeps its own.
//!
//! # The calls
//!
//! - clone3(2) or unshare(2) with CLONE_NEWUTS makes the namespace. It starts with a copy of the caller's names.
//! - sethostname(2) and setdomainname(2) change the names in the caller's namespace alone.
//! - setns(2) enters an existing one.
//!
//! All of them need CAP_SYS_ADMIN. An ordinary user has it in a new user namespace.
//!
//! # What changes in /proc
//!
//! - `/proc/PID/ns/uts` links to another namespace.
//! - `/proc/sys/kernel/hostname` and `domainname` show the names of the process that reads them.
//!
//! /etc/hostname and /etc/hosts are files, which no UTS namespace changes. A program that looks up the new hostname reads
//! /etc/hosts and asks DNS, and may find no address. uts_namespaces(7)

use std::ffi::{OsStr, OsString};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::error::Error;
use crate::feature::Feature;
use crate::observe::{Observation, proc};
use crate::plan::call::uts::UtsCall;
use crate::plan::order::Phase;
use crate::plan::{Actor, Context, Draft};
use crate::text::{printed, text};
use crate::value::join::JoinTarget;
use crate::value::{bytes, parse};

/// Options of the UTS namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args, Serialize, Deserialize, JsonSchema)]
#[group(skip)]
#[serde(deny_unknown_fields, default)]
pub struct Uts {
    /// An existing namespace to join: host (your own), container:NAME, or a path such as /proc/123/ns/uts
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"container:web")]
    pub join: Option<JoinTarget>,
    /// The hostname inside, at most 64 bytes
    #[arg(long, visible_alias = "host-name", value_name = "NAME")]
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "bytes::option::serialize",
        deserialize_with = "read_name"
    )]
    #[schemars(with = "Option<String>", length(max = 64), example = &"box")]
    pub hostname: Option<OsString>,
    /// The NIS domain name inside, at most 64 bytes
    #[arg(long, value_name = "NAME")]
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "bytes::option::serialize",
        deserialize_with = "read_name"
    )]
    #[schemars(with = "Option<String>", length(max = 64), example = &"lab")]
    pub domainname: Option<OsString>,
}

/// The maximum length of a name in bytes: `__NEW_UTS_LEN` of the kernel.
const MAX_LENGTH: usize = 64;

/// Reads a name from a spec. A name that is too long is reported with its line and column.
fn read_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<OsString>, D::Error> {
    let name = parse::checked(deserializer, |name: &String| match mistake(name.as_ref()) {
        Some(why) => Err(text(why)),
        None => Ok(()),
    });
    name.map(|name| name.map(OsString::from))
}

/// Why a name is refused: the key of a message. The kernel would return EINVAL for a name that is too long. It accepts
/// control characters, but then a name could add lines to /etc/hosts, or move the cursor of a terminal. Bytes that are
/// not UTF-8 are accepted.
fn mistake(name: &OsStr) -> Option<&'static str> {
    match name.len() {
        0 => Some("uts.empty.because"),
        length if length > MAX_LENGTH => Some("uts.toolong.because"),
        _ if name.to_string_lossy().chars().any(char::is_control) => Some("uts.control.because"),
        _ => None,
    }
}

impl Uts {
    /// The steps: make the namespace, then set its names.
    pub fn plan(&self, context: &Context<'_>, draft: &mut Draft) {
        if context.joins(Feature::Uts) {
            return;
        }
        draft.isolate(Feature::Uts);
        if let Some(name) = &self.hostname {
            check(name, "hostname", draft);
            let call = UtsCall::SetHostname(name.clone());
            draft.step(Phase::Names, Actor::Child, Feature::Uts, call, "uts.hostname.why");
        }
        if let Some(name) = &self.domainname {
            check(name, "domainname", draft);
            let call = UtsCall::SetDomainname(name.clone());
            draft.step(Phase::Names, Actor::Child, Feature::Uts, call, "uts.domainname.why");
        }
    }

    /// Refuses options that would change a namespace that is not this container's alone.
    pub fn check_join(&self, draft: &mut Draft) {
        let Some(join) = &self.join else { return };
        for (key, name) in [("hostname", &self.hostname), ("domainname", &self.domainname)] {
            if let Some(name) = name {
                draft.refuse_joined(Feature::Uts, key, printed(name), join, "uts.joined.reason");
            }
        }
    }
}

/// Checks a name, the value of an option.
fn check(name: &OsStr, key: &str, draft: &mut Draft) {
    if let Some(why) = mistake(name) {
        let option = draft.option(Feature::Uts, key);
        let error = Error::failed(format!("{option}: {name:?} has {} bytes", name.len()));
        draft.problem_of(Feature::Uts, key, error.why(text(why)).todo(text("uts.name.todo")));
    }
}

/// What to observe. A process on each side reads these files. The last two are files: they differ only where
/// the container has a root filesystem of its own.
pub fn observe(_process: &str) -> Vec<Observation> {
    vec![
        proc::file("/proc/sys/kernel/hostname"),
        proc::file("/proc/sys/kernel/domainname"),
        proc::file("/etc/hostname"),
        proc::lines("/etc/hosts"),
    ]
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;
    use crate::host::Host;

    fn plan(uts: &Uts) -> crate::plan::Plan {
        let mut draft = Draft::new(Feature::Uts, vec![]);
        uts.plan(&Context::alone(&Host::gather()), &mut draft);
        draft.finish()
    }

    #[test]
    fn the_names_are_set_in_a_new_namespace() {
        let uts = Uts { hostname: Some("box".into()), domainname: Some("lab".into()), join: None };
        let plan = plan(&uts);
        let calls: Vec<String> = plan.steps.iter().map(|step| step.call.to_string()).collect();
        let place = |call: &str| calls.iter().position(|one| one.contains(call)).unwrap();
        assert_eq!(plan.namespaces, [Feature::Uts]);
        assert!(place("CLONE_NEWUTS") < place(r#"sethostname("box", 3)"#), "{calls:?}");
        assert!(place("CLONE_NEWUTS") < place(r#"setdomainname("lab", 3)"#), "{calls:?}");
    }

    #[test]
    fn without_options_no_name_is_set() {
        let plan = plan(&Uts::default());
        assert!(!plan.steps.iter().any(|step| step.call.to_string().contains("name(")));
    }

    #[test]
    fn a_name_has_at_most_64_bytes() {
        let with = |length| Uts { hostname: Some("x".repeat(length).into()), ..Uts::default() };
        assert!(plan(&with(64)).problems.is_empty());
        assert_eq!(plan(&with(65)).problems.len(), 1);
        let spec = |length| serde_yaml::from_str::<Uts>(&format!("hostname: {}", "x".repeat(length)));
        assert_eq!(spec(64).unwrap(), with(64));
        assert!(spec(65).is_err());
    }

    #[test]
    fn a_name_is_not_empty_and_has_no_control_characters() {
        for name in ["", "a\nb", "a\0b", "\u{1b}[2J", "a\u{85}b", "\t"] {
            assert_eq!(plan(&Uts { hostname: Some(name.into()), ..Uts::default() }).problems.len(), 1);
            assert_eq!(plan(&Uts { domainname: Some(name.into()), ..Uts::default() }).problems.len(), 1);
            assert!(serde_json::from_value::<Uts>(serde_json::json!({ "hostname": name })).is_err());
        }
        for name in ["a/b", "é", "a b", "a;touch PWN", "-x"] {
            assert!(plan(&Uts { hostname: Some(name.into()), ..Uts::default() }).problems.is_empty());
        }
    }

    #[test]
    fn a_name_is_bytes() {
        for name in [&b"\xff"[..], b"box-\xe9t\xe9", b"\xc3"] {
            let name = OsStr::from_bytes(name).to_owned();
            let plan =
                plan(&Uts { hostname: Some(name.clone()), domainname: Some(name.clone()), join: None });
            assert!(plan.problems.is_empty());
            let json = serde_json::to_string(&UtsCall::SetHostname(name.clone())).unwrap();
            assert_eq!(serde_json::from_str::<UtsCall>(&json).unwrap(), UtsCall::SetHostname(name));
        }
        let long = OsStr::from_bytes(&[0xff; 65]).to_owned();
        assert_eq!(plan(&Uts { hostname: Some(long), ..Uts::default() }).problems.len(), 1);
    }
}
