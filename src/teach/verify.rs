//! `sandbox verify`: compares a running process with a plan, from outside.

use std::io;

use crate::error::Result;
use crate::exec::verify::{Expectations, ProcessFiles, Shown};
use crate::feature::Feature;
use crate::observe::hierarchy::{Hierarchy, find, hierarchies};
use crate::observe::proc::{id_outside, namespace_link};
use crate::plan::Plan;
use crate::plan::expect::{Expected, StatusField};
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
    let is_of_other_user =
        namespace_link(&process, Feature::User).ok() != namespace_link("/proc/self", Feature::User).ok();
    let mut files = ProcessFiles::of(&process);
    let (mut count, mut differences) = (0, Vec::new());
    // Only the run that claimed an address knows which one it is.
    let lasting = expectations.iter().filter(|expected| expected.is_lasting());
    for expected in lasting.filter(|expected| **expected != Expected::ClaimedAddress) {
        let mut expected = in_own_cgroup(expected, &cgroups);
        if is_of_other_user {
            expected = with_ids_outside(expected, &process);
        }
        let expected = &expected;
        let place = files.place(expected, None);
        let shown = match (expected, inside) {
            (Expected::Hostname(_) | Expected::Domainname(_) | Expected::Sysctl { .. }, Some(inside)) => {
                Shown::of_file(inside.read(&place)?.map_err(io::Error::from))
            }
            _ => files.look(expected, None),
        };
        // A weight that this kernel has no file for is not compared with anything.
        if shown == Shown::Absent && matches!(expected, Expected::CgroupFile { may_be_missing: true, .. }) {
            continue;
        }
        count += 1;
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

/// The expectation with the user and group IDs as the kernel shows them here. The IDs of the plan are those that the user
/// namespace of the process has inside.
fn with_ids_outside(mut expected: Expected, process: &str) -> Expected {
    if let Expected::Status { field, value, .. } = &mut expected {
        let map = match field {
            StatusField::Uid => "uid_map",
            StatusField::Gid | StatusField::Groups => "gid_map",
            _ => return expected,
        };
        let map = format!("{process}/{map}");
        let outside = |id: &str| match id.parse().ok().and_then(|id| id_outside(&map, id)) {
            Some(outside) => outside.to_string(),
            None => id.to_owned(),
        };
        *value = value.split(' ').map(outside).collect::<Vec<_>>().join(" ");
    }
    expected
}
