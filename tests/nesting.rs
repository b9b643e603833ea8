//! A limit of the caller is never lifted: `sandbox` in a cgroup with limits makes its own cgroup below, or takes the
//! limits over.
//!
//! Inputs of this kind: each controller · `sandbox` in `sandbox`, as the only process and beside others · three levels ·
//! a limit of another controller than the one that is asked for · a limit of a grandparent · a quota with another period
//! · CPUs that are not there · throttles, which v1 does not apply to child cgroups · device rules · a caller in the root
//! cgroup, in a leaf with processes, in a cgroup namespace · hybrid machines, where each hierarchy has another path ·
//! no room for further cgroups, a frozen or a read-only hierarchy · a container that stays, whose supervisor leaves the
//! caller's cgroup: with and without a limit of its own, each controller, device rules.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};

use support::kept::KeptHome;
use support::limits::{group, is_v2, left, may};
use support::{alone, binary, is_root, run, sandbox, skip, text, wait_until};

/// The arguments of `sandbox` in `sandbox`. `beside` puts a shell between the two, so that the inner one is not alone in
/// its cgroup.
fn nested(outer: &[&str], inner: &[&str], beside: bool) -> Command {
    let binary = binary();
    let mut command = sandbox(outer);
    command.args(["-q", "--"]);
    if beside {
        command.args(["sh", "-c", "\"$@\"; exit $?", "sh"]);
    }
    command.arg(binary).args(inner);
    command
}

fn output(mut command: Command) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code(), text(&stdout) + &text(&stderr))
}

/// The descendant of a process that executes `name`.
fn descendant(parent: u32, name: &str) -> u32 {
    let children = |pid: u32| {
        let listed = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        listed.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<u32>>()
    };
    for _ in 0..2000 {
        let mut open = vec![parent];
        while let Some(pid) = open.pop() {
            if fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|found| found.trim() == name) {
                return pid;
            }
            open.extend(children(pid));
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("no process {name} below {parent}");
}

/// A nested `sandbox` is killed with the cgroup of the outer one. The next command removes what it has left.
fn nothing_is_left() {
    assert!(run(&["uts", "--dry-run"]).status.success());
    assert_eq!(left(), Vec::<PathBuf>::new());
}

fn end(mut child: Child) {
    // SIGTERM is forwarded, so each `sandbox` removes its own cgroup.
    Command::new("kill").arg(child.id().to_string()).status().unwrap();
    child.wait().unwrap();
}

/// The contents of a file in a cgroup and all its ancestors, as far as they have it.
fn contents(group: &Path, v1: &str, v2: &str) -> Vec<String> {
    let file = if is_v2(group) { v2 } else { v1 };
    let levels = group.ancestors();
    levels
        .filter_map(|level| fs::read_to_string(level.join(file)).ok())
        .map(|text| text.trim().to_owned())
        .collect()
}

/// The smallest number in these files: what the kernel enforces.
fn smallest(group: &Path, v1: &str, v2: &str) -> u64 {
    contents(group, v1, v2).iter().filter_map(|content| content.parse().ok()).min().unwrap_or(u64::MAX)
}

/// How many CPUs the quotas of a cgroup and its ancestors allow.
fn cpus(group: &Path) -> f64 {
    let quotas = contents(group, "cpu.cfs_quota_us", "cpu.max");
    let periods = contents(group, "cpu.cfs_period_us", "cpu.max");
    let number = |text: &str, nth: usize| text.split(' ').nth(nth)?.parse::<f64>().ok();
    let parts = quotas.iter().zip(&periods).filter_map(|(quota, period)| {
        let period = number(period, 1).or_else(|| number(period, 0))?;
        number(quota, 0).filter(|quota| *quota > 0.0).map(|quota| quota / period)
    });
    parts.fold(f64::INFINITY, f64::min)
}

/// Starts a nested `sleep`, and gives the directory of its cgroup to `check`.
fn with_sleep(mut command: Command, controller: &str, check: impl Fn(&Path)) {
    let child = command.args(["sleep", "60"]).spawn().unwrap();
    let sleep = descendant(child.id(), "sleep");
    check(&group(sleep, controller));
    end(child);
}

#[test]
fn a_memory_limit_stays() {
    let _alone = alone();
    if !may("a_memory_limit_stays", "memory") {
        return;
    }
    let outer = ["memory", "--limit", "32m", "--swap", "0"];
    for beside in [false, true] {
        let inner = ["memory", "--limit", "1g", "--swap", "0", "-q", "--", "tail", "/dev/zero"];
        let (status, shown) = output(nested(&outer, &inner, beside));
        assert_eq!(status, Some(137), "{shown}");
        assert!(shown.contains("killed by the memory limit of 32MiB"), "{shown}");
        // Another controller than the one with the limit.
        with_sleep(nested(&outer, &["pids", "--max", "9", "-q", "--"], beside), "memory", |group| {
            assert_eq!(
                smallest(group, "memory.limit_in_bytes", "memory.max"),
                32 << 20,
                "{}",
                group.display()
            );
        });
    }
    // A lower value of ours is kept.
    with_sleep(nested(&outer, &["memory", "--limit", "16m", "-q", "--"], true), "memory", |group| {
        assert_eq!(smallest(group, "memory.limit_in_bytes", "memory.max"), 16 << 20);
    });
    // Three levels.
    let program = binary();
    let program = program.to_str().unwrap();
    let inner = ["memory", "-q", "--limit", "1g", "--", program, "memory", "-q", "--limit", "2g", "--"];
    with_sleep(nested(&outer, &inner, true), "memory", |group| {
        assert_eq!(smallest(group, "memory.limit_in_bytes", "memory.max"), 32 << 20);
    });
    nothing_is_left();
}

#[test]
fn a_maximum_of_processes_stays() {
    let _alone = alone();
    if !may("a_maximum_of_processes_stays", "pids") {
        return;
    }
    let outer = ["pids", "--max", "9"];
    for beside in [false, true] {
        let bomb = "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 60 & done; wait";
        let inner = ["pids", "--max", "1000", "-q", "--", "sh", "-c", bomb];
        let (_, shown) = output(nested(&outer, &inner, beside));
        assert!(shown.contains("fork"), "{shown}");
        with_sleep(nested(&outer, &["pids", "--max", "1000", "-q", "--"], beside), "pids", |group| {
            assert_eq!(smallest(group, "pids.max", "pids.max"), 9, "{}", group.display());
        });
    }
    nothing_is_left();
}

#[test]
fn a_quota_stays_and_our_value_is_lowered_aloud() {
    let _alone = alone();
    if !may("a_quota_stays_and_our_value_is_lowered_aloud", "cpu") {
        return;
    }
    for beside in [false, true] {
        let outer = ["cpu", "--cpus", "0.25"];
        with_sleep(nested(&outer, &["cpu", "--cpus", "1", "-q", "--"], beside), "cpu", |group| {
            assert_eq!(cpus(group), 0.25, "{}", group.display());
        });
        with_sleep(nested(&outer, &["cpu", "--cpus", "0.1", "-q", "--"], beside), "cpu", |group| {
            assert_eq!(cpus(group), 0.1, "{}", group.display());
        });
    }
    let inner = ["cpu", "--cpus", "1", "--", "true"];
    let (status, shown) = output(nested(&["cpu", "--cpus", "0.25"], &inner, true));
    assert_eq!(status, Some(0), "{shown}");
    assert!(shown.contains("cpus 1 becomes 0.25"), "{shown}");
    nothing_is_left();
}

#[test]
fn a_choice_of_cpus_stays() {
    let _alone = alone();
    let two = fs::read_to_string("/sys/devices/system/cpu/online").unwrap().trim() == "0-1";
    if !is_root() || !two || !may("a_choice_of_cpus_stays", "cpu") {
        return skip("a_choice_of_cpus_stays", "machine: it needs root, cpuset and exactly two CPUs");
    }
    let outer = ["cpu", "--cpuset", "0"];
    for beside in [false, true] {
        let list = |inner: &[&str]| {
            let show = ["grep", "Cpus_allowed_list", "/proc/self/status"];
            output(nested(&outer, &[inner, &show].concat(), beside))
        };
        let (status, shown) = list(&["cpu", "--cpuset", "0-1", "--"]);
        assert!(status == Some(0) && shown.contains("list:\t0\n"), "{shown}");
        assert!(shown.contains("cpuset 0-1 becomes 0"), "{shown}");
        let (status, shown) = list(&["cpu", "--cpuset", "1", "--"]);
        assert!(status == Some(125) && shown.contains("Your own cgroup has none of these CPUs"), "{shown}");
        let (_, shown) = list(&["pids", "-q", "--max", "9", "--"]);
        assert!(shown.contains("list:\t0\n"), "{shown}");
    }
    nothing_is_left();
}

#[test]
fn a_throttle_stays_also_on_v1_where_children_do_not_inherit_it() {
    let _alone = alone();
    let here = sandbox(&["blkio", "--write-bps", "/var/tmp=1MiB", "-q", "--", "true"]).output().unwrap();
    if !may("a_throttle_stays", "blkio") || !here.status.success() {
        return skip("a_throttle_stays", "machine: /var/tmp is not on a disk that can be limited");
    }
    let outer = ["blkio", "--write-bps", "/var/tmp=1MiB"];
    let inner: [&[&str]; 3] = [
        &["blkio", "-q", "--write-bps", "/var/tmp=8MiB", "--read-iops", "/var/tmp=20", "--"],
        &["blkio", "-q", "--weight", "100", "--"],
        &["pids", "-q", "--max", "9", "--"],
    ];
    for (inner, beside) in inner.iter().flat_map(|inner| [(inner, false), (inner, true)]) {
        with_sleep(nested(&outer, inner, beside), "blkio", |group| {
            let all = contents(group, "blkio.throttle.write_bps_device", "io.max");
            // v1 applies only the file of the cgroup itself. v2 applies those of all levels, so a higher value is no harm.
            let holds = match is_v2(group) {
                true => all.iter().any(|level| level.contains("wbps=1048576")),
                false => all[0].contains("1048576") && !all[0].contains("8388608"),
            };
            assert!(holds, "{inner:?}: {all:?}");
        });
    }
    nothing_is_left();
}

#[test]
fn device_rules_stay() {
    let _alone = alone();
    if !may("device_rules_stay", "devices") {
        return;
    }
    let outer = ["devices", "--deny", "/dev/zero rw"];
    for beside in [false, true] {
        for inner in [&["devices", "--allow", "/dev/zero rw"][..], &["devices", "--allow", "a"], &["devices"]]
        {
            let command = [inner, &["-q", "--", "head", "-c", "1", "/dev/zero"]].concat();
            let (status, shown) = output(nested(&outer, &command, beside));
            assert!(status == Some(1) && shown.contains("Operation not permitted"), "{inner:?}: {shown}");
        }
        // What both allow works.
        let (status, shown) =
            output(nested(&outer, &["devices", "-q", "--", "head", "-c", "1", "/dev/null"], beside));
        assert_eq!(status, Some(0), "{shown}");
    }
    // The caller's list may be empty: then none of the devices that were asked for is left.
    for inner in [&["devices"][..], &["devices", "--allow", "/dev/zero rw"], &["devices", "--allow", "a"]] {
        let command = [inner, &["--", "head", "-c", "1", "/dev/zero"]].concat();
        let (status, shown) = output(nested(&["devices", "--deny", "a"], &command, false));
        // v1 refuses what the parent does not allow, when the rules are written. v2 asks the programs of all levels at each open.
        let is_noted = is_v2(&group(std::process::id(), "devices")) || shown.contains("Not allowed in full");
        assert!(status == Some(1) && is_noted, "{inner:?}: {shown}");
        assert!(shown.contains("cannot open '/dev/zero' for reading: Operation not permitted"), "{shown}");
    }
    nothing_is_left();
}

#[test]
fn in_a_cgroup_namespace_the_cgroup_is_below_the_callers_too() {
    let _alone = alone();
    if !is_root() || !may("in_a_cgroup_namespace_the_cgroup_is_below_the_callers_too", "memory") {
        return skip(
            "in_a_cgroup_namespace_the_cgroup_is_below_the_callers_too",
            "machine: unshare takes root",
        );
    }
    let inner = ["memory", "--limit", "1g", "--swap", "0", "-q", "--", "tail", "/dev/zero"];
    let mut command = sandbox(&["memory", "--limit", "32m", "--swap", "0", "-q", "--"]);
    command.args(["unshare", "--cgroup"]).arg(binary()).args(inner);
    let (status, shown) = output(command);
    assert_eq!(status, Some(137), "{shown}");
    assert!(shown.contains("killed by the memory limit of 32MiB"), "{shown}");
    nothing_is_left();
}

/// A cgroup that this test makes by hand.
struct Own(PathBuf);

impl Own {
    /// A cgroup with the controller in the caller's own hierarchy.
    fn new(controller: &str) -> Own {
        let base = group(std::process::id(), controller);
        let path = match is_v2(&base) {
            true => PathBuf::from(format!("/sys/fs/cgroup/sandbox-nesting-{}", std::process::id())),
            false => base.join(format!("sandbox/nesting-{}", std::process::id())),
        };
        fs::create_dir_all(&path).unwrap();
        Own(path)
    }

    fn set(&self, v1: &str, v2: &str, value: &str) {
        let file = self.0.join(if is_v2(&self.0) { v2 } else { v1 });
        fs::write(&file, value).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }

    /// Runs a command of `sandbox` in the cgroup, beside a shell.
    fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        output(self.command(arguments))
    }

    fn run_with(&self, home: &KeptHome, arguments: &[&str]) -> (Option<i32>, String) {
        let mut command = self.command(arguments);
        command.env("SANDBOX_HOME", home.path());
        output(command)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo $$ > \"$0/cgroup.procs\" && \"$@\"; exit $?"]);
        shell.arg(&self.0).arg(binary()).args(arguments);
        shell
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // The limit may have killed the `sandbox` in it: the next command removes the cgroup that it has left below.
        for _ in 0..100 {
            if fs::remove_dir(&self.0).is_ok() || !self.0.exists() {
                break;
            }
            let _ = run(&["uts", "--dry-run"]);
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        if self.0.parent().is_some_and(|parent| parent.ends_with("sandbox")) {
            let _ = fs::remove_dir(self.0.parent().unwrap());
        }
    }
}

#[test]
fn limits_that_another_program_has_set_stay() {
    let _alone = alone();
    if !is_root() || !may("limits_that_another_program_has_set_stay", "memory") {
        return skip("limits_that_another_program_has_set_stay", "machine: only root makes cgroups by hand");
    }
    // On v2, the controllers are enabled at the root while another run has the directory.
    let mut keeper = sandbox(&["memory", "-q", "--", "sleep", "60"]).spawn().unwrap();
    descendant(keeper.id(), "sleep");
    let own = Own::new("memory");
    own.set("memory.limit_in_bytes", "memory.max", "33554432");
    let (status, shown) = own.run(&["memory", "--limit", "1g", "-q", "--", "tail", "/dev/zero"]);
    assert!(status == Some(137) || shown.contains("memory limit of 32MiB"), "{status:?} {shown}");
    drop(own);
    let _ = keeper.kill();
    keeper.wait().unwrap();
    nothing_is_left();
}

#[test]
fn a_quota_with_another_period_is_compared_as_a_ratio() {
    let _alone = alone();
    if !is_root() || !may("a_quota_with_another_period_is_compared_as_a_ratio", "cpu") {
        return skip(
            "a_quota_with_another_period_is_compared_as_a_ratio",
            "machine: only root makes cgroups",
        );
    }
    let mut keeper = sandbox(&["cpu", "-q", "--", "sleep", "60"]).spawn().unwrap();
    descendant(keeper.id(), "sleep");
    let own = Own::new("cpu");
    // 0.4 CPUs. A quota of 100000 in a period of 100000 is more, although its number is smaller.
    if !is_v2(&own.0) {
        own.set("cpu.cfs_period_us", "", "500000");
    }
    own.set("cpu.cfs_quota_us", "cpu.max", if is_v2(&own.0) { "200000 500000" } else { "200000" });
    let (status, shown) = own.run(&["cpu", "--cpus", "1", "--", "true"]);
    assert!(status == Some(0) && shown.contains("cpus 1 becomes 0.4"), "{shown}");
    let (status, shown) = own.run(&["cpu", "--cpus", "0.3", "--", "true"]);
    assert!(status == Some(0) && !shown.contains("becomes"), "{shown}");
    drop(own);
    let _ = keeper.kill();
    keeper.wait().unwrap();
    nothing_is_left();
}

#[test]
fn a_container_that_stays_has_the_limits_too() {
    let _alone = alone();
    if !is_root() || !may("a_container_that_stays_has_the_limits_too", "memory") {
        return skip("a_container_that_stays_has_the_limits_too", "machine: only root makes cgroups by hand");
    }
    let memory = |group: &Path| smallest(group, "memory.limit_in_bytes", "memory.max") as f64;
    let pids = |group: &Path| smallest(group, "pids.max", "pids.max") as f64;
    let quota = [("cpu.cfs_period_us", "50000"), ("cpu.cfs_quota_us", "12500")];
    stays(
        "memory",
        &[("memory.limit_in_bytes", "67108864")],
        ("memory.max", "67108864"),
        "memory: { limit: 1g }",
        |group| {
            assert_eq!(memory(group), 67_108_864.0, "{}", group.display());
        },
    );
    stays("pids", &[("pids.max", "30")], ("pids.max", "30"), "pids: { max: 1000 }", |group| {
        assert_eq!(pids(group), 30.0, "{}", group.display());
    });
    stays("cpu", &quota, ("cpu.max", "12500 50000"), "cpu: { cpus: 1 }", |group| {
        assert_eq!(cpus(group), 0.25, "{}", group.display());
    });
    nothing_is_left();
}

/// A container that stays, with a higher limit of its own by `keys` and without, is started from a cgroup in which `v1` or `v2`
/// is set: `check` gets its cgroup. After a start by another caller, its own limit alone applies.
fn stays(feature: &str, v1: &[(&str, &str)], v2: (&str, &str), keys: &str, check: impl Fn(&Path)) {
    let mut keeper = sandbox(&[feature, "-q", "--", "sleep", "60"]).spawn().unwrap();
    descendant(keeper.id(), "sleep");
    let own = Own::new(feature);
    let files = if is_v2(&own.0) { &[v2][..] } else { v1 };
    files.iter().for_each(|(file, value)| own.set(file, file, value));
    let limits = |home: &KeptHome| {
        let group = group(home.pid("web", "command"), feature);
        files.iter().map(|(file, _)| fs::read_to_string(group.join(file)).unwrap()).collect::<Vec<_>>()
    };
    for keys in ["", keys] {
        let home = KeptHome::new();
        let spec = home.spec(keys, "exec sleep 600");
        let (status, shown) = own.run_with(&home, &["run", "-d", "--name", "web", &spec]);
        assert_eq!(status, Some(0), "{feature} {keys}: {shown}");
        check(&group(home.pid("web", "command"), feature));
        // A maximum of processes is reported only if it lowers one that was asked for: each session of systemd has one.
        let is_reported = feature != "pids" || !keys.is_empty();
        assert_eq!(shown.contains("becomes") || shown.contains("are set in it too"), is_reported, "{shown}");
        let before = limits(&home);
        home.out(&["restart", "-t", "0", "web"]);
        assert_ne!(limits(&home), before, "{keys}");
    }
    drop(own);
    let _ = keeper.kill();
    keeper.wait().unwrap();
}

#[test]
fn a_container_that_stays_has_the_device_rules_too() {
    let _alone = alone();
    if !is_root() || !may("a_container_that_stays_has_the_device_rules_too", "devices") {
        return skip(
            "a_container_that_stays_has_the_device_rules_too",
            "machine: only root sets device rules",
        );
    }
    let home = KeptHome::new();
    let spec = home.spec("", "head -c 1 /dev/zero; exec sleep 600");
    let mut outer = sandbox(&["devices", "--deny", "/dev/zero rw", "-q", "--"]);
    outer.env("SANDBOX_HOME", home.path()).env("S", binary()).env("SPEC", &spec);
    outer.args(["sh", "-c", "\"$S\" run --keep --name web \"$SPEC\" & sleep 600"]);
    let outer = outer.spawn().unwrap();
    let is_refused = || text(&home.run(&["logs", "web"]).stderr).contains("Operation not permitted");
    wait_until("the container that stays may not read /dev/zero", is_refused);
    home.out(&["rm", "-f", "web"]);
    end(outer);
    nothing_is_left();
}

#[test]
fn a_read_only_hierarchy_is_named() {
    let _alone = alone();
    if !is_root() {
        return skip("a_read_only_hierarchy_is_named", "machine: mount(2) takes root; its run holds it");
    }
    // In a new mount namespace.
    let script = "mount --make-rprivate / && grep -E ' - cgroup2? ' /proc/self/mountinfo | cut -d ' ' -f 5 |
        while read -r at; do mount -o remount,bind,ro \"$at\"; done; exec \"$S\" memory -- true";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script]).env("S", binary());
    let (status, shown) = output(command);
    assert!(status == Some(125) && shown.contains("mounted read-only"), "{shown}");
    assert!(shown.contains("mount -o remount,rw,bind /sys/fs/cgroup") && !shown.contains("sudo"), "{shown}");
}
