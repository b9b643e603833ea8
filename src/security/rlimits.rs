//! Resource limits: how much of a resource one process may use.
//!
//! # What they are
//!
//! Resource limits are older than cgroups, and each process has its own: for its open files, its stack, the size of the
//! files that it writes. Only `nproc` counts all processes of the user. A child starts with a copy of its parent's
//! limits.
//!
//! The *soft* limit is enforced. A process may raise it up to the *hard* limit. A process can lower its hard limit, but
//! raise it only with CAP_SYS_RESOURCE in the initial user namespace.
//!
//! # Why one wants it
//!
//! They limit resources for which there is no cgroup controller, such as open files and core dumps.
//!
//! # What you see
//!
//! `/proc/PID/limits`, and EMFILE, EAGAIN, EFBIG or a signal when a process reaches a limit. getrlimit(2)

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::feature::Feature;
use crate::observe::{Observation, proc};
use crate::plan::call::restrict::{Resource, RestrictCall};
use crate::plan::order::Phase;
use crate::plan::{Actor, Context, Draft};
use crate::text::text;
use crate::value::parse::Scalar;
use crate::value::parse::parsed;

/// `rlimits: { nofile: 1024, nproc: "64:128", core: 0 }`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(with = "BTreeMap<String, Scalar>", inline, example = BTreeMap::from([("nofile", 1024)]))]
pub struct Rlimits(pub BTreeMap<Resource, Limit>);

/// A limit: one number for both, or `SOFT:HARD`. `unlimited` is allowed as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// The limit that is enforced.
    pub soft: u64,
    /// The value up to which the process may raise the soft limit.
    pub hard: u64,
}

impl Rlimits {
    /// The steps.
    pub fn plan(&self, _context: &Context<'_>, draft: &mut Draft) {
        for (&resource, &Limit { soft, hard }) in &self.0 {
            let mut step = |phase, soft, why| {
                let call = RestrictCall::Limit { resource, soft, hard };
                draft.step(phase, Actor::Command, Feature::Rlimits, call, why);
            };
            let least = least_for_a_start(resource);
            if soft >= least {
                step(Phase::Rlimits, soft, "rlimits.set.why");
                continue;
            }
            // To raise a hard limit takes a capability that the process gives up later.
            if hard >= least {
                step(Phase::Rlimits, hard, "rlimits.hard.why");
            }
            step(Phase::LowLimits, soft, "rlimits.low.why");
        }
    }
}

/// A lower limit would stop `sandbox` itself, which until execve(2) opens files, allocates memory and forks an init.
/// Such a limit is therefore set last, so it works as prlimit(1) would set it.
fn least_for_a_start(resource: Resource) -> u64 {
    match resource {
        Resource::Nofile => 64,
        Resource::Nproc => 1 << 16,
        Resource::As | Resource::Data => 1 << 30,
        Resource::Stack => 8 << 20,
        Resource::Fsize => 1 << 20,
        Resource::Cpu => 60,
        _ => 0,
    }
}

/// What to observe. A process on each side reads these lines.
pub fn observe(process: &str) -> Vec<Observation> {
    let file = format!("{process}/limits");
    Resource::ALL.map(|resource| proc::limit(&file, resource.line())).to_vec()
}

const UNLIMITED: &str = "unlimited";

impl FromStr for Limit {
    type Err = String;

    fn from_str(limit: &str) -> Result<Self, String> {
        let number = |part: &str| match part {
            // Docker writes -1.
            UNLIMITED | "-1" => Ok(libc::RLIM_INFINITY),
            digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().map_err(|_| text("rlimits.form"))
            }
            _ => Err(text("rlimits.form")),
        };
        let (soft, hard) = limit.split_once(':').unwrap_or((limit, limit));
        let limit = Limit { soft: number(soft)?, hard: number(hard)? };
        if limit.soft > limit.hard { Err(text("rlimits.above")) } else { Ok(limit) }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let string = |number| match number {
            libc::RLIM_INFINITY => UNLIMITED.to_owned(),
            number => number.to_string(),
        };
        let (soft, hard) = (string(self.soft), string(self.hard));
        if soft == hard { f.write_str(&soft) } else { write!(f, "{soft}:{hard}") }
    }
}

impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Limit { soft, hard } if soft == hard && *soft != libc::RLIM_INFINITY => {
                serializer.serialize_u64(*soft)
            }
            other => serializer.collect_str(other),
        }
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(yaml: &str) -> Result<Rlimits, String> {
        serde_yaml::from_str(yaml).map_err(|error| error.to_string())
    }

    #[test]
    fn a_limit_is_one_number_two_numbers_or_unlimited() {
        let limits = "nofile: 1024\nnproc: 64:128\ncore: 0\nstack: unlimited\nmemlock: '0:-1'\n";
        let Rlimits(read) = read(limits).unwrap();
        let of = |resource| (read[&resource].soft, read[&resource].hard);
        assert_eq!(of(Resource::Nofile), (1024, 1024));
        assert_eq!(of(Resource::Nproc), (64, 128));
        assert_eq!(of(Resource::Core), (0, 0));
        assert_eq!(of(Resource::Stack), (u64::MAX, u64::MAX));
        assert_eq!(of(Resource::Memlock), (0, u64::MAX));
    }

    #[test]
    fn a_wrong_limit_is_refused() {
        for wrong in
            ["''", "'1:'", "':1'", "1k", "'1:2:3'", "-2", "1.5", "'+1'", "'64 '", "18446744073709551616"]
        {
            assert!(read(&format!("nofile: {wrong}")).is_err(), "{wrong}");
        }
        assert!(read("nofile: '2:1'").unwrap_err().contains("soft"));
        assert!(read("files: 1").unwrap_err().contains("unknown variant `files`"));
    }

    #[test]
    fn limits_are_written_as_they_are_read() {
        let limits = "nofile: 1024\nnproc: 64:128\nstack: unlimited\n";
        assert_eq!(serde_yaml::to_string(&read(limits).unwrap()).unwrap(), limits);
    }
}
