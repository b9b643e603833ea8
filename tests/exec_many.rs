//! Many processes of `exec` in one container: one after another, at once, and while the container ends. Nothing is left.
//!
//! Other inputs of the same kind as the ones here:
//! - containers with and without a PID namespace, an init, limits; a container that ends by itself, is killed, or whose
//!   `sandbox` is killed.
//! - commands that end at once, that run in the background, that leave processes of their own.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use support::background::{Background, mark, with_argument};
use support::running::{Running, exec_in, shown};
use support::{alone, binary, is_root, limits, sample, sandbox, skip, state, text, wait_until};

/// What an exec could leave: runs whose `sandbox` has ended, cgroups without processes, mounts, and processes in the
/// container.
fn left(container: &Running) -> BTreeSet<String> {
    let below = |directory: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
    };
    let has_ended = |run: &PathBuf| {
        let name = run.file_name().unwrap().to_string_lossy().into_owned();
        !Path::new("/proc").join(name.split('-').next().unwrap_or_default()).exists()
    };
    let is_empty =
        |group: &PathBuf| fs::read_to_string(group.join("cgroup.procs")).is_ok_and(|pids| pids.is_empty());
    let mut all: Vec<PathBuf> =
        below(&sandbox::host::run_directory::path()).into_iter().filter(has_ended).collect();
    let is_own = |group: &PathBuf| {
        fs::metadata(group).is_ok_and(|group| group.uid() == nix::unistd::geteuid().as_raw())
    };
    let groups = limits::left();
    all.extend(
        groups.iter().flat_map(|shared| below(shared)).filter(|group| is_own(group) && is_empty(group)),
    );
    let own = fs::read_link(format!("/proc/{}/ns/pid", container.pid)).unwrap();
    let entries = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path().join("ns/pid"));
    all.extend(entries.filter(|link| fs::read_link(link).is_ok_and(|link| link == own)));
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let paths = all.into_iter().map(|path| path.display().to_string());
    paths.chain(mounts.lines().map(str::to_owned)).collect()
}

/// Waits until nothing more is left than before.
#[track_caller]
fn nothing_is_left(container: &Running, before: &BTreeSet<String>) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let left: Vec<String> = left(container).difference(before).cloned().collect();
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "{}", left.join("\n"));
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The open descriptors of a process, and its private memory in KiB.
fn held(pid: u32) -> (usize, u64) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let memory = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    let memory = memory.trim().trim_end_matches(" kB").parse().unwrap();
    (fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count(), memory)
}

#[test]
fn a_thousand_one_after_another_leave_nothing() {
    let _alone = alone();
    let limits = if limits::is_possible("pids") { "pids: { max: 200 }\n" } else { "" };
    let spec =
        format!("rootfs: host\npid: {{ init: true }}\nseccomp: default\ncapabilities: default\n{limits}");
    let container = Running::of(&spec, "");
    assert_eq!(shown(&container, &[], &["true"]), "");
    let (before, (descriptors, memory)) = (left(&container), held(container.supervisor()));
    for number in sample(20, 0..1000) {
        // Each way to end, each kind of streams.
        let (flags, command, status): (&[&str], &str, i32) = match number % 10 {
            0 => (&[], "exec no-such-command 2> /dev/null", 127),
            1 => (&["-d"], "exit 7", 0),
            2 => (&["-i"], "cat; exit 9", 9),
            3 => (&["-t"], "test -t 0", 0),
            4 => (&[], "kill -KILL $$", 137),
            // An orphan: process 1 of the container waits for it.
            5 => (&[], "sleep 600 > /dev/null 2>&1 & kill -KILL $!; exit 5", 5),
            _ => (&[], "exit $0", number % 120),
        };
        let output = exec_in(&container, flags, &["sh", "-c", command, &(number % 120).to_string()]);
        assert_eq!(
            output.status.code(),
            Some(status),
            "{number} {flags:?} {command}: {}",
            text(&output.stderr)
        );
    }
    let (now, most) = (held(container.supervisor()), memory + 64);
    assert!(now.0 == descriptors && now.1 <= most, "{now:?}, before {descriptors} {memory}");
    nothing_is_left(&container, &before);
}

#[test]
fn it_ends_with_the_container() {
    let _alone = alone();
    for spec in ["rootfs: host\npid:\n", "rootfs: host\nuts:\n"] {
        let container = Running::of(spec, "");
        let marks = [1, 2, 3].map(mark);
        let script = format!("sleep {} & sleep {}", marks[0], marks[1]);
        let front = Background::piped(&mut sandbox(&["exec", "-q", &container.name, "sh", "-c", &script]));
        wait_until("both run", || marks[..2].iter().all(|mark| !with_argument(mark).is_empty()));
        // In the background: nothing is printed, and it goes on when sandbox has returned.
        let script = format!("echo $$ > /tmp/pid; exec sleep {}", marks[2]);
        let output = sandbox(&["exec", "-d", &container.name, "sh", "-c", &script]).output().unwrap();
        assert!(
            output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(),
            "{}",
            text(&output.stderr)
        );
        wait_until("it runs", || !with_argument(&marks[2]).is_empty());
        let script = "for fd in 0 1 2; do readlink /proc/$(cat /tmp/pid)/fd/$fd; done; tr '\\0' ' ' < /proc/$(cat /tmp/pid)/cmdline";
        assert_eq!(
            shown(&container, &[], &["sh", "-c", script]),
            format!("/dev/null\n/dev/null\n/dev/null\nsleep {} ", marks[2])
        );
        assert_eq!(exec_in(&container, &["-d"], &["no-such-command"]).status.code(), Some(127));
        let (pid, name) = (container.pid, container.name.clone());
        let missing = || sandbox(&["exec", &name, "true"]).output().unwrap().status.code() == Some(1);
        drop(container);
        let ended = front.output();
        assert_eq!(ended.status.code(), Some(137), "{spec}");
        assert!(text(&ended.stderr).contains("the container has ended"), "{}", text(&ended.stderr));
        wait_until("the container is gone", || "?Z".contains(state(pid)) && missing());
        wait_until("nothing is left", || marks.iter().all(|mark| with_argument(mark).is_empty()));
    }
}

#[test]
fn many_at_once_leave_nothing() {
    let _alone = alone();
    let limits = if is_root() { "pids: { max: 200 }\n" } else { "" };
    let container = Running::of(&format!("rootfs: host\npid:\nseccomp: default\n{limits}"), "");
    let before = left(&container);
    let start = |number: usize| {
        let script = format!("cat; exit {number}");
        let words = ["exec", "-qi", &container.name, "sh", "-c", &script];
        Background::with_pipes(&mut sandbox(&words))
    };
    let mut all: Vec<Background> = (0..20).map(start).collect();
    for (number, child) in all.iter_mut().enumerate() {
        writeln!(child.stdin.take().unwrap(), "{number}").unwrap();
    }
    for (number, child) in all.into_iter().enumerate() {
        let output = child.output();
        assert_eq!(
            (output.status.code(), text(&output.stdout)),
            (Some(number as i32), format!("{number}\n"))
        );
    }
    // Only the container is left.
    assert_eq!(shown(&container, &[], &["sh", "-c", "set -- /proc/[0-9]*; echo $#"]), "2\n");
    nothing_is_left(&container, &before);
}

/// The container ends while many run in it, and while many start.
#[test]
fn many_end_with_the_container() {
    let _alone = alone();
    for spec in
        sample(2, ["rootfs: host\npid:\n", "rootfs: host\npid: { init: true }\n", "rootfs: host\nuts:\n"])
    {
        let container = Running::of(spec, "");
        let (running, starting) = (mark(11), mark(12));
        let start =
            |mark: &str| Background::piped(&mut sandbox(&["exec", "-q", &container.name, "sleep", mark]));
        let first: Vec<Background> = (0..10).map(|_| start(&running)).collect();
        // `sandbox` has the mark among its arguments too.
        let is_sleep =
            |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "sleep\n");
        wait_until("all run", || with_argument(&running).iter().filter(|pid| is_sleep(pid)).count() == 10);
        let second: Vec<Background> = (0..10).map(|_| start(&starting)).collect();
        wait_until("one has begun", || !with_argument(&starting).is_empty());
        drop(container);
        for one in first {
            let ended = one.output();
            assert_eq!(ended.status.code(), Some(137), "{spec} {}", text(&ended.stderr));
            assert!(text(&ended.stderr).contains("the container has ended"), "{}", text(&ended.stderr));
        }
        for one in second {
            let ended = one.output();
            let shown = text(&ended.stderr);
            let is_told = match ended.status.code() {
                Some(137) => shown.contains("the container has ended"),
                Some(1) => shown.contains("has ended") || shown.contains("No such container"),
                _ => false,
            };
            assert!(is_told, "{spec} {:?} {shown}", ended.status);
        }
        wait_until("nothing is left", || {
            with_argument(&running).is_empty() && with_argument(&starting).is_empty()
        });
    }
}

/// The pages of `sandbox` itself are not charged to the container, which would be killed by its own limit.
#[test]
fn a_small_memory_limit_bears_many() {
    if !limits::is_possible("memory") {
        return skip("a_small_memory_limit_bears_many", "machine: no cgroup with a memory limit can be made");
    }
    let _alone = alone();
    let container = Running::of("rootfs: host\npid: { init: true }\nmemory: { limit: 16MiB, swap: 0 }\n", "");
    let program = binary();
    for words in
        [&["exec", "-q", &container.name, "true"][..], &["enter", "-q", &container.name, "--", "true"]]
    {
        let start = |_| Background::piped(std::process::Command::new(&program).args(words));
        for (number, one) in (0..20).map(start).collect::<Vec<_>>().into_iter().enumerate() {
            let output = one.output();
            assert_eq!(output.status.code(), Some(0), "{words:?} {number}: {}", text(&output.stderr));
        }
    }
    assert_eq!(state(container.pid), 'S', "the container runs");
}
