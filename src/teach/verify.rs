//! `sandbox verify`: compares a running process with a plan, from outside.

use std::io;

use crate::error::Result;
use crate::exec::verify::{Expectations, ProcessFiles, Shown};
use crate::observe::hierarchy::{Hierarchy, find, hierarchies};
use crate::plan::Plan;
use crate::plan::expect::Expected;
use crate::plan::gate::Difference;
use crate::teach::agent::Agent;

/// Compares a process with a plan. Returns the number of values that were compared, and those that differ. `inside` is
/// a process that has joined the namespaces: it reads the files that can only be read there.
///
/// # Errors
/// The process cannot be read.
pub fn process(plan: &Plan, pid: i32, inside: Option<&Agent>) -> Result<(usize, Vec<Difference>)> {
    let process = format!("/proc/{pid}");
    let (expectations, cgroups) = (Expectations::of(plan)?, hierarchies(&process));
    let mut files = ProcessFiles::of(&process);
    let (mut count, mut differences) = (0, Vec::new());
    // Only the run that claimed an address knows which one it is.
    for expected in expectations.iter().filter(|expected| **expected != Expected::ClaimedAddress) {
        count += 1;
        let expected = &in_own_cgroup(expected, &cgroups);
        let place = files.place(expected, None);
        let shown = match (expected, inside) {
            (Expected::Hostname(_) | Expected::Domainname(_), Some(inside)) => {
                Shown::of_file(inside.read(&place)?.map_err(io::Error::from))
            }
            _ => files.look(expected, None),
        };
        if !expectations.is_met(expected, &shown) {
            differences.push(expectations.difference(expected, place, &shown));
        }
    }
    Ok((count, differences))
}

/// The expectation with the cgroup that the process is in. Its run chose another name for that cgroup than this plan.
fn in_own_cgroup(expected: &Expected, cgroups: &[Hierarchy]) -> Expected {
    let mut own = expected.clone();
    if let Expected::CgroupFile { directory, controller, .. } = &mut own
        && let Some(cgroup) = find(cgroups, *controller).and_then(Hierarchy::own)
    {
        *directory = cgroup;
    }
    own
}
