//! `sandbox verify`: compares a process that runs with a plan, from outside.

use std::io;

use crate::error::Result;
use crate::exec::verify::{Expectations, ProcessFiles, Shown, table};
use crate::observe::hierarchy::{Hierarchy, find, hierarchies};
use crate::plan::Plan;
use crate::plan::expect::Expected;
use crate::teach::agent::Agent;
use crate::text::text_with;

/// Compares a process with a plan, and returns how many values are as they must be. `inside` is a process that joined its
/// namespaces: it reads what can only be read there.
///
/// # Errors
/// What differs, as a table; that the process can't be looked at.
pub fn process(plan: &Plan, pid: i32, inside: Option<&Agent>) -> Result<usize> {
    let process = format!("/proc/{pid}");
    let (expectations, cgroups) = (Expectations::of(plan)?, hierarchies(&process));
    let mut files = ProcessFiles::of(&process);
    let (mut count, mut differences) = (0, Vec::new());
    // Which address was claimed is known only to the run that claimed it.
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
    if differences.is_empty() {
        Ok(count)
    } else {
        Err(table(&text_with("verify.differs", &[("pid", &pid.to_string())]), &differences))
    }
}

/// The file of the process's own cgroup: its run chose another name for it than this plan.
fn in_own_cgroup(expected: &Expected, cgroups: &[Hierarchy]) -> Expected {
    let mut own = expected.clone();
    if let Expected::CgroupFile { directory, controller, .. } = &mut own
        && let Some(cgroup) = find(cgroups, *controller).and_then(Hierarchy::own)
    {
        *directory = cgroup.to_string_lossy().into_owned();
    }
    own
}
