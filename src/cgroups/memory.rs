//! The memory controller: how much memory the processes of a cgroup may use together.
//!
//! # What it does
//!
//! Memory is charged to the cgroup of the process that touches it first. This includes the page cache of the files that
//! the processes read and write. At the limit, the kernel first reclaims memory, mostly old page cache. If that is not
//! enough, the OOM killer kills a process of the cgroup.
//!
//! Swap has a limit of its own. If it is not limited, anonymous memory is swapped out at the limit. cgroup v1 limits
//! the sum of memory and swap (memsw), cgroup v2 limits swap alone.
//!
//! # Why one wants it
//!
//! A program that needs too much memory would otherwise take it from all others, until the OOM killer of the machine
//! chooses a victim.
//!
//! # What you see here
//!
//! The limit and the usage are in the files of the cgroup, which also count the kills. A killed command has exit status
//! 137. /proc/meminfo still shows the memory of the machine.
//!
//! Documentation/admin-guide/cgroup-v1/memory.rst, cgroup-v2.rst (Memory)

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::intent;
use crate::error::Error;
use crate::feature::Feature;
use crate::observe::hierarchy::{Controller, Version};
use crate::observe::{Observation, cgroup, proc};
use crate::plan::{Context, Draft, Setting};
use crate::text::{text, text_with};
use crate::value::parse;
use crate::value::units::Size;

/// Options of the memory controller.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args, Serialize, Deserialize, JsonSchema)]
#[group(skip)]
#[serde(deny_unknown_fields, default)]
pub struct Memory {
    /// Maximum memory; 64m, 64MB and 64MiB all mean 64·1024² bytes
    #[arg(long, short = 'm', visible_alias = "memory", value_name = "SIZE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"64MiB")]
    pub limit: Option<Size>,
    /// Maximum swap, without memory (docker's --memory-swap is the sum of both)
    #[arg(long, value_name = "SIZE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = 0)]
    pub swap: Option<Size>,
    /// Memory that the kernel tries to leave to this cgroup when the machine runs short of memory
    #[arg(long, visible_alias = "memory-reservation", value_name = "SIZE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"32MiB")]
    pub reservation: Option<Size>,
    /// How readily anonymous memory is swapped out, 0 to 100; only cgroup v1 has it
    #[arg(long, visible_alias = "memory-swappiness", value_name = "N", value_parser = clap::value_parser!(u64).range(..=100))]
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "parse::within::<0, 100, _, _>")]
    #[schemars(range(min = 0, max = 100), example = 10)]
    pub swappiness: Option<u64>,
}

impl Memory {
    /// The controllers that these options need.
    pub fn controllers(&self) -> Vec<Controller> {
        vec![Controller::Memory]
    }

    /// The limits, as intents: the files and values of cgroup v1 and of cgroup v2.
    pub fn plan(&self, context: &Context<'_>, draft: &mut Draft) {
        let host = context.host;
        let of = |why, wish, docker| intent(host, Controller::Memory, why, wish, docker);
        if let Some(limit) = self.limit {
            let mut intent =
                of("memory.limit.why", format!("limit {limit}"), format!("--memory {}", limit.docker()));
            intent.v1 = vec![bytes("memory.limit_in_bytes", limit.0)];
            intent.v2 = vec![bytes("memory.max", limit.0)];
            draft.intent(intent);
        }
        if let Some(swap) = self.swap {
            let sum = self.limit.map(|limit| Size(limit.0.saturating_add(swap.0)));
            let docker = sum.map_or(String::new(), |sum| format!("--memory-swap {}", sum.docker()));
            let mut intent = of("memory.swap.why", format!("swap {swap}"), docker);
            // In v1, the kernel refuses a sum below the limit of memory, so that limit is set first.
            intent.v1 = sum.iter().map(|sum| bytes("memory.memsw.limit_in_bytes", sum.0)).collect();
            intent.v2 = vec![bytes("memory.swap.max", swap.0)];
            if intent.here == Some(Version::V1) && sum.is_none() {
                let error = Error::failed(draft.option_with(Feature::Memory, "swap", swap));
                let limit = draft.option(Feature::Memory, "limit");
                let todo = text_with("memory.sum.todo", &[("limit", &limit)]);
                draft.problem_of(Feature::Memory, "swap", error.why(text("memory.sum.why")).todo(todo));
            }
            draft.intent(intent);
        }
        if let Some(reservation) = self.reservation {
            let docker = format!("--memory-reservation {}", reservation.docker());
            if let Some(limit) = self.limit.filter(|limit| *limit < reservation) {
                let values = [("reservation", &*reservation.to_string()), ("limit", &*limit.to_string())];
                let error = Error::failed(draft.option_with(Feature::Memory, "reservation", reservation));
                let error = error.why(text_with("memory.reservation.above", &values));
                let error = error.todo(text("memory.reservation.remedy"));
                draft.problem_of(Feature::Memory, "reservation", error);
            }
            let mut intent = of("memory.reservation.why", format!("reservation {reservation}"), docker);
            intent.v1 = vec![bytes("memory.soft_limit_in_bytes", reservation.0)];
            intent.v2 = vec![bytes("memory.low", reservation.0)];
            draft.intent(intent);
        }
        if let Some(swappiness) = self.swappiness {
            let docker = format!("--memory-swappiness {swappiness}");
            let mut intent = of("memory.swappiness.why", format!("swappiness {swappiness}"), docker);
            intent.v1 = vec![Setting::new("memory.swappiness", swappiness)];
            match intent.here {
                // As with Docker, the container is made without it.
                Some(Version::V2) => draft.kept_note(text("memory.swappiness.none")),
                _ => draft.intent(intent),
            }
        }
    }
}

/// A setting in bytes. The kernel counts in pages and rounds down, so the file may show a smaller value.
fn bytes(file: &str, bytes: u64) -> Setting {
    // sysconf(3) uses the value that the kernel gave at the start of the program. rustix would panic if it cannot find
    // it.
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten();
    let shown = bytes - bytes % page.map_or(4096, |page| page as u64);
    Setting::shown_as(file, bytes, Some(shown.to_string()))
}

/// What to observe. A process on each side reads these files.
pub fn observe(process: &str) -> Vec<Observation> {
    let file = |v1, v2| cgroup::file(process, Controller::Memory, v1, v2);
    let count = |v1, v2| cgroup::field(process, Controller::Memory, v1, v2);
    vec![
        cgroup::membership(process, Controller::Memory),
        file("memory.limit_in_bytes", "memory.max"),
        file("memory.memsw.limit_in_bytes", "memory.swap.max"),
        count(("memory.oom_control", "oom_kill"), ("memory.events", "oom_kill")),
        proc::total_memory(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Host;

    #[test]
    fn swap_is_part_of_a_sum_in_v1_and_alone_in_v2() {
        let memory = Memory { limit: Some(Size(64 << 20)), swap: Some(Size(16 << 20)), ..Memory::default() };
        let mut draft = Draft::new(Feature::Memory, vec![]);
        memory.plan(&Context::alone(&Host::gather()), &mut draft);
        let lines = |settings: &[Setting]| settings.iter().map(ToString::to_string).collect::<Vec<_>>();
        let [limit, swap] = draft.intents() else { panic!("two intents") };
        assert_eq!(lines(&limit.v1), ["memory.limit_in_bytes = 67108864"]);
        assert_eq!(lines(&limit.v2), ["memory.max = 67108864"]);
        assert_eq!(lines(&swap.v1), ["memory.memsw.limit_in_bytes = 83886080"]);
        assert_eq!(lines(&swap.v2), ["memory.swap.max = 16777216"]);
        assert_eq!(swap.docker, "--memory-swap 80m");
    }
}
