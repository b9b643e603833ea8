//! The uts namespace: two names of the machine.
//!
//! The kernel keeps, per uts namespace, the two strings that uname(2) gives: the hostname and the (NIS) domain name.
//! A new namespace starts with a copy; from then on sethostname(2) changes the one of the caller's namespace only.
//! Nothing else follows: the resolver asks /etc/hosts and DNS, which no uts namespace touches. uts_namespaces(7)
//!
//! What you'll see: another link in `/proc/self/ns/uts`, another `/proc/sys/kernel/hostname`, and outside no change.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::error::Error;
use crate::feature::Feature;
use crate::observe::{Observation, proc};
use crate::plan::call::uts::UtsCall as Call;
use crate::plan::order::Phase;
use crate::plan::{Actor, Context, Draft};
use crate::text::text;
use crate::value::parse;

/// Options of the UTS namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args, Serialize, Deserialize, JsonSchema)]
#[group(skip)]
#[serde(deny_unknown_fields, default)]
pub struct Uts {
    /// The hostname inside, at most 64 bytes
    #[arg(long, visible_alias = "host-name", value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "name")]
    #[schemars(length(max = 64), example = &"box")]
    pub hostname: Option<String>,
    /// The NIS domain name inside, at most 64 bytes
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "name")]
    #[schemars(length(max = 64), example = &"lab")]
    pub domainname: Option<String>,
}

/// `__NEW_UTS_LEN` of the kernel: what fits into struct utsname beside its NUL.
const LONGEST: usize = 64;

impl Uts {
    /// The steps: a new namespace, then its names.
    pub fn plan(&self, _context: &Context<'_>, draft: &mut Draft) {
        draft.isolate(Feature::Uts);
        for name in [&self.hostname, &self.domainname].into_iter().flatten() {
            if name.len() > LONGEST {
                let what = format!("{:?} has {} bytes", name, name.len());
                let error = Error::failed(what).why(text("uts.toolong.why")).todo(text("uts.toolong.todo"));
                draft.problem(Feature::Uts, error);
            }
        }
        if let Some(name) = &self.hostname {
            let call = Call::SetHostname(name.clone());
            draft.step(Phase::Names, Actor::Child, Feature::Uts, call, "uts.hostname.why");
        }
        if let Some(name) = &self.domainname {
            let call = Call::SetDomainname(name.clone());
            draft.step(Phase::Names, Actor::Child, Feature::Uts, call, "uts.domainname.why");
        }
    }
}

/// In a spec, a name that is too long is told with its place.
fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    parse::checked(deserializer, |name: &String| {
        (name.len() <= LONGEST).then_some(()).ok_or_else(|| text("uts.toolong.why"))
    })
}

/// The files that show it; read by a process on each side.
pub fn observe(_process: &str) -> Vec<Observation> {
    vec![
        proc::file("/proc/sys/kernel/hostname"),
        proc::file("/proc/sys/kernel/domainname"),
        proc::file("/etc/hostname"),
        proc::lines("/etc/hosts"),
    ]
}
