//! The same as `enter` by nsenter(1).

use std::path::Path;

use crate::feature::Feature;
use crate::value::shell::quote;

/// nsenter(1), which joins the namespaces of a process. With IDs, it also drops the
/// supplementary groups.
pub(super) fn nsenter(
    pid: i32,
    namespaces: &[Feature],
    root: bool,
    directory: Option<&Path>,
    ids: [Option<u32>; 2],
) -> String {
    let mut line = format!("nsenter --target {pid}");
    for namespace in namespaces {
        line.push_str(match namespace {
            Feature::Mnt => " --mount",
            _ => " --",
        });
        if *namespace != Feature::Mnt {
            line.push_str(namespace.name());
        }
    }
    if root {
        line.push_str(" --root");
    }
    if let Some(directory) = directory {
        // The argument of this option is optional, so it has to be in the same word. nsenter(1)
        line.push_str(&format!(" --wdns={}", quote(directory)));
    }
    match ids {
        [Some(group), Some(user)] => line.push_str(&format!(" --setgid {group} --setuid {user}")),
        _ if namespaces.contains(&Feature::User) => line.push_str(" --preserve-credentials"),
        _ => {}
    }
    line
}

/// setpriv(1), by which root becomes the user of a process. ps(1) prints the effective IDs.
pub(super) fn as_owner(pid: i32) -> String {
    format!("setpriv --reuid $(ps -o uid= -p {pid}) --regid $(ps -o gid= -p {pid}) --clear-groups")
}
