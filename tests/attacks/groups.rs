//! R11 and R14: cgroup files that affect the host, and loads that would exhaust the machine.

use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::terminal::Terminal;
use crate::support::{binary, feed, is_root, limits, skip, text};
use crate::{directory, said};

/// When a cgroup becomes empty, cgroup v1 runs the program that `release_agent` names, on the host and as root. The
/// test does not write to that file. It fails if the file could be written.
#[test]
fn no_hierarchy_of_groups_can_be_mounted_or_written_inside() {
    let test = "no_hierarchy_of_groups_can_be_mounted_or_written_inside";
    if !is_root() {
        return skip(test, "machine: a hierarchy is root's");
    }
    let v1 = fs::read_to_string("/proc/self/mountinfo").unwrap().contains(" - cgroup ");
    let mount = if v1 { "mount -t cgroup -o devices none /mnt" } else { "mount -t cgroup2 none /mnt" };
    let script = format!(
        "mkdir -p /mnt; {mount} && echo mounted && cd /mnt && for file in release_agent devices.allow cgroup.procs; do \
         test -e $file && (: >> $file) && echo open $file; done; \
         find /sys/fs/cgroup -name devices.allow -o -name release_agent -o -name cgroup.procs 2>/dev/null | head -n 3 | \
         while read -r file; do (: >> $file) && echo open $file; done; mkdir /sys/fs/cgroup/made && echo made"
    );
    let shown = said("rootfs: host\npid:\n", &script);
    assert!(shown.contains("mounted\n") && shown.contains("open "), "all of root's power: {shown}");
    let agent = "rootfs: host\npid:\n";
    for wall in [
        "capabilities: default\n",
        "seccomp: default\n",
        "user: { map: root }\n",
        "capabilities: default\nseccomp: default\ncgroup:\n",
        "capabilities: default\ncgroup:\nnet:\n",
    ] {
        let shown = said(&format!("{agent}{wall}"), &script);
        let is_own = wall.contains("user") && !v1;
        assert!(is_own || !shown.contains("mounted"), "{wall}: {shown}");
        assert!(!shown.contains("open ") && !shown.contains("made\n"), "{wall}: {shown}");
    }
}

/// The peak resident memory of a process, in KiB.
fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// A command may print faster than its output is read. Then its writes must block.
#[test]
fn output_that_nobody_reads_fills_no_memory_of_ours() {
    let directory = directory();
    let spec = directory.path().join("spec.yaml");
    fs::write(&spec, "pid:\ntty: true\n").unwrap();
    let command = ["run", spec.to_str().unwrap(), "-q", "--", "cat", "/dev/zero"];
    let terminal = Terminal::start(&command);
    std::thread::sleep(Duration::from_secs(1));
    let inner = peak(terminal.pid());
    drop(terminal);
    assert!(inner < 64 << 10, "{inner} KiB");
    // The command is fast, and a line without an end has no special limit. If the output is read, many times that
    // amount arrives.
    let mut run =
        Command::new(binary()).args(command).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = run.stdout.take().unwrap();
    let line = std::io::copy(&mut output.by_ref().take(1 << 28), &mut std::io::sink()).unwrap();
    let inner = peak(run.id());
    run.kill().unwrap();
    run.wait().unwrap();
    assert_eq!(line, 1 << 28);
    assert!(inner < 64 << 10, "{inner} KiB");
}

/// A fork bomb with a pids limit, and the same number of processes without a limit.
#[test]
fn a_fork_bomb_stays_within_its_limit() {
    if !limits::may("a_fork_bomb_stays_within_its_limit", "pids") {
        return;
    }
    let bomb = "my $made = 0; for (1 .. 60) { my $child = fork; last unless defined $child; if (!$child) { sleep 60; exit } \
        $made++; push @all, $child } print \"$made\\n\"; kill 9, @all";
    let count = |spec: &str| {
        let words = ["run", "-", "-q", "--", "perl", "-e", bomb];
        let output = feed(Command::new(binary()).args(words).current_dir("/"), spec);
        text(&output.stdout).trim().parse::<u32>().unwrap_or_else(|_| panic!("{}", text(&output.stderr)))
    };
    assert_eq!(count("pid:\n"), 60);
    assert_eq!(count("pid:\npids: { max: 16 }\n"), 15);
}

/// A process that allocates far more than its limit: the OOM killer kills it, and `sandbox` reports that.
#[test]
fn memory_without_end_ends_within_its_limit() {
    if !limits::may("memory_without_end_ends_within_its_limit", "memory") {
        return;
    }
    let hunger = "my @all; for (1 .. 10240) { push @all, 'x' x 1048576; last if @all >= ($ARGV[0] // 99999) } print scalar @all";
    let eat = |spec: &str, most: &str| {
        let words = ["run", "-", "-q", "--", "perl", "-e", hunger, most];
        feed(Command::new(binary()).args(words).current_dir("/"), spec)
    };
    let limited = eat("pid:\nmemory: { limit: 32MiB, swap: 0 }\n", "10240");
    assert_eq!(limited.status.code(), Some(137), "{}", text(&limited.stderr));
    // Every machine has 64 MiB. Without a limit the allocation succeeds.
    assert_eq!(text(&eat("pid:\n", "64").stdout), "64");
}
