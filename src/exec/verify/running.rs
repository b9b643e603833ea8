//! Verifies what only a running process shows: its seccomp filter, and its capabilities after execve(2).

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{Expectations, ProcessFiles, Shown};
use crate::observe::proc::{pid_of, status_of};
use crate::plan::expect::{Expected, StatusField};
use crate::plan::gate::Difference;
use crate::text::text_with;

/// How long a process may be missing in a /proc that is mounted with hidepid. Such a /proc hides undumpable processes from an
/// ordinary user, and execve(2) makes the process dumpable only after it has closed the gate.
const HIDDEN: Duration = Duration::from_secs(1);

impl Expectations {
    /// The differences in a process that has just called execve(2): its filter, and capabilities outside of its bounding
    /// set. If it has ended, there is nothing to read. All else was read before. A program that is set-user-ID or has file
    /// capabilities changes IDs and capabilities, but gets none outside of the bounding set.
    pub(in crate::exec) fn differences_running(&self, command: &OwnedFd) -> Vec<Difference> {
        let deadline = Instant::now() + HIDDEN;
        // It is reaped if it has no PID any more.
        while let Some(pid) = pid_of(command) {
            let process = format!("/proc/{pid}");
            // The kernel opens this file only when execve(2) is complete. Before, the process has the capabilities that
            // execve takes away.
            drop(File::open(format!("{process}/environ")));
            let mut files = ProcessFiles::of(&process);
            let is_missing = matches!(files.file("status"), Err(Shown::Absent));
            let found = self.differences_after_exec(&mut files);
            let wait = PollTimeout::from(if is_missing { 10_u8 } else { 0 });
            let has_ended = poll(&mut [PollFd::new(command.as_fd(), PollFlags::POLLIN)], wait);
            if found.is_empty() || has_ended.is_ok_and(|count| count > 0) {
                break;
            }
            if !is_missing || Instant::now() > deadline {
                return found;
            }
        }
        Vec::new()
    }

    fn differences_after_exec(&self, files: &mut ProcessFiles) -> Vec<Difference> {
        // SECCOMP_MODE_DEAD of the kernel: the filter has killed the process.
        if files.file("status").is_ok_and(|status| status_of(status, "Seccomp") == Some("3")) {
            return Vec::new();
        }
        let is_filter =
            |expected: &Expected| matches!(expected, Expected::Status { field: StatusField::Seccomp, .. });
        let mut found = self.differences(files, None, is_filter);
        found.extend(self.outside_of_bounding_set(files));
        found
    }

    /// The capability sets that have more than the bounding set may have.
    fn outside_of_bounding_set(&self, files: &mut ProcessFiles) -> Vec<Difference> {
        let mask = |set: &str| u64::from_str_radix(set, 16).ok();
        let bounding = self.expected.iter().find_map(|expected| match expected {
            Expected::Status { field: StatusField::CapBnd, value, .. } => Some(value),
            _ => None,
        });
        let process = files.process.clone();
        // An unreadable file is a difference already.
        let (Some(bounding), Ok(status)) = (bounding, files.file("status")) else { return Vec::new() };
        let difference = |field: &StatusField| {
            let shown = status_of(status, field.name()).unwrap_or_default();
            let is_within = mask(shown).zip(mask(bounding)).is_some_and(|(set, most)| set & !most == 0);
            let source = format!("{process}/status {}", field.name());
            let wanted = text_with("verify.within", &[("set", bounding)]);
            (!is_within).then(|| Difference { source, wanted, shown: shown.into() })
        };
        [StatusField::CapPrm, StatusField::CapEff].iter().filter_map(difference).collect()
    }
}
