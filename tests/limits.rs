//! What holds for every controller: the views, the plan, the contract, and what is refused.

mod support;

use std::fs;
use std::process::Command;

use regex_lite::Regex;
use support::limits::{FEATURES, is_known_world, is_possible, left, may, possible};
use support::{alone, binary, fits, run, sample, skip, snapshot_for_all, stdout, text, trace};

#[test]
fn views_fit_and_say_both_spellings() {
    let _alone = alone();
    for feature in sample(2, FEATURES) {
        let plan = stdout(&[feature, "--dry-run"]);
        // Lines that are meant to be pasted are not wrapped.
        fits(plan.split("\nThe same by hand").next().unwrap(), 80, 120);
        assert!(plan.contains("v1  ") && plan.contains("v2  "), "{plan}");
        if !is_possible(feature) {
            continue;
        }
        let view = stdout(&[feature, "--show-proc"]);
        fits(&view, 80, 24);
        assert_eq!(
            view.matches("<- this machine").count(),
            if feature == "memory" { 2 } else { 1 },
            "{view}"
        );
        if is_known_world() {
            let who = if support::is_root() { "root" } else { "user" };
            let own = Regex::new(
                r"(nr_throttled) +[!=]= 0 +\d+|(pids.current +!= )\d+|(MemTotal: +== )\d+ kB +\d+ kB|(io.stat +!= )\d+",
            )
            .unwrap();
            let view = own.replace_all(&view, "$1$2$3$4<n>");
            snapshot_for_all(&format!("view-{feature}@v2-{who}"), &view);
            snapshot_for_all(
                &format!("plan-{feature}@v2-{who}"),
                &stdout(&[feature, "--dry-run", "--", "/bin/true"]),
            );
        }
    }
}

#[test]
fn nothing_else_is_isolated_and_the_status_is_the_commands() {
    let _alone = alone();
    let own = fs::read_to_string("/proc/self/cgroup").unwrap();
    for feature in sample(2, possible("nothing_else_is_isolated_and_the_status_is_the_commands")) {
        for kind in ["pid", "mnt", "net", "uts", "ipc", "user", "cgroup"] {
            let path = format!("/proc/self/ns/{kind}");
            let link = stdout(&[feature, "-q", "--", "readlink", &path]);
            assert_eq!(link.trim(), fs::read_link(&path).unwrap().to_str().unwrap(), "{feature}");
        }
        // Only the feature's own hierarchy may differ.
        let inside = stdout(&[feature, "-q", "--", "cat", "/proc/self/cgroup"]);
        let differing = inside.lines().filter(|line| !own.lines().any(|other| other == *line));
        let allowed: &[&str] = match feature {
            "memory" => &[":memory:"],
            "cpu" => &[":cpu", ":cpuacct:"],
            "blkio" => &[":blkio:"],
            "devices" => &[":devices:"],
            _ => &[":pids:"],
        };
        for line in differing {
            assert!(
                line.starts_with("0::") || allowed.iter().any(|name| line.contains(name)),
                "{feature}: {line}"
            );
        }
        let status = |command: &[&str]| run(&[&[feature, "-q", "--"], command].concat()).status.code();
        assert_eq!(status(&["true"]), Some(0), "{feature}");
        assert_eq!(status(&["sh", "-c", "exit 7"]), Some(7), "{feature}");
        assert_eq!(status(&["no-such-command"]), Some(127), "{feature}");
        assert_eq!(status(&["/etc/passwd"]), Some(126), "{feature}");
        assert_eq!(status(&["sh", "-c", "kill -TERM $$"]), Some(143), "{feature}");
    }
    assert_eq!(left(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn the_same_by_hand_sets_the_same_limit() {
    let _alone = alone();
    if !may("the_same_by_hand_sets_the_same_limit", "pids") {
        return;
    }
    let plan = stdout(&["pids", "--max", "7", "--dry-run", "--", "true"]);
    let block = plan.split("The same by hand:\n").nth(1).unwrap().split("With docker:").next().unwrap();
    let script: String = block
        .lines()
        .map(|line| format!("{}\n", line.trim().replace("exec true", "exec cat $g/pids.max")))
        .collect();
    let directory = Regex::new(r"g=([^;\s]+)").unwrap().captures(&script).unwrap()[1].to_owned();
    let output =
        Command::new("sh").args(["-ec", &format!("export g={directory}\n{script}")]).output().unwrap();
    fs::remove_dir(&directory).unwrap();
    let _ = fs::remove_dir(std::path::Path::new(&directory).parent().unwrap());
    assert_eq!(text(&output.stdout), "7\n", "{script}{}", text(&output.stderr));
}

#[test]
fn a_controller_that_is_not_mounted_is_named() {
    let _alone = alone();
    if !support::is_root() {
        return skip(
            "a_controller_that_is_not_mounted_is_named",
            "machine: umount(2) takes root; its run holds it",
        );
    }
    // In a new mount namespace.
    let script = "mount --make-rprivate / && umount -R -l /sys/fs/cgroup && exec \"$S\" memory -- true";
    let output =
        Command::new("unshare").args(["--mount", "sh", "-c", script]).env("S", binary()).output().unwrap();
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{error}");
    assert!(error.contains("has the controller memory"), "{error}");
}

#[test]
fn bad_values_are_told_and_leave_nothing() {
    let _alone = alone();
    let told = |arguments: &[&str], status: i32, words: &str| {
        let output = run(arguments);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {error}");
        assert!(error.contains(words), "{arguments:?}: {error}");
    };
    told(&["memory", "--limit", "lots", "--", "true"], 2, "64MiB");
    told(&["devices", "--deny", "null", "--", "true"], 2, "rule");
    told(&["blkio", "--write-bps", "/dev/null", "--", "true"], 2, "DEV=RATE");
    told(&["cpu", "--cpus", "0", "--", "true"], 2, "0.01");
    told(&["cpu", "--shares", "1", "--", "true"], 125, "2 to 262144");
    told(&["cpu", "--cpuset", "x", "--", "true"], 125, "0-3");
    told(&["pids", "--max", "0", "--", "true"], 125, "4194304");
    told(&["blkio", "--write-bps", "/dev/no-such-disk=1", "--", "true"], 125, "No such file");
    told(&["blkio", "--weight", "5", "--", "true"], 125, "10 to 1000");
    told(&["blkio", "--write-bps", "/proc/version=1m", "--", "true"], 125, "not on a disk");
    if is_possible("cpu") && support::is_root() {
        told(&["cpu", "--cpuset", "4000", "--", "true"], 125, "no such CPU");
    }
    assert_eq!(left(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn the_plan_is_what_the_kernel_sees() {
    let _alone = alone();
    if !std::path::Path::new("/usr/bin/strace").exists() {
        return skip("the_plan_is_what_the_kernel_sees", "strace(1) isn't installed");
    }
    if !may("the_plan_is_what_the_kernel_sees", "memory") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("trace");
    let flags = ["memory", "-q", "--limit", "64m", "--swap", "0"];
    let status = Command::new("strace")
        .args(["-f", "-y", "-s", "999", "-e", "trace=mkdir,write,clone3,flock", "-o"])
        .arg(&file)
        .arg(binary())
        .args(flags)
        .args(["--", "true"])
        .status()
        .unwrap();
    assert!(status.success());
    let plan = stdout(&[&flags[..], &["--dry-run", "--format", "json", "--", "true"]].concat());
    let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
    // The cgroup's name differs on each run.
    let name = Regex::new(r"/sandbox/[0-9a-f]{8}").unwrap();
    let seen = fs::read_to_string(&file).unwrap();
    let descriptor = Regex::new(r"(write|flock)\(\d+").unwrap();
    let seen = name.replace_all(&seen, "/sandbox/X").into_owned();
    let seen: Vec<String> = trace::calls(&seen)
        .iter()
        .map(|traced| traced.call.as_str())
        .filter(|call| {
            let is_of_plan = call.contains("/sys/fs/cgroup") && !call.contains("/journal");
            let is_lock = call.contains("/cgroup-") && call.contains("LOCK_SH");
            (is_of_plan || is_lock) && !call.contains(", \"-") && !call.starts_with("clone3")
        })
        .map(|call| descriptor.replace(call, "$1(").into_owned())
        .collect();
    let planned: Vec<String> = plan["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| name.replace_all(step["call"]["text"].as_str().unwrap(), "/sandbox/X").into_owned())
        // What follows is a comment on the call.
        .map(|call| call.split("  [").next().unwrap_or_default().to_owned())
        .filter(|call| ["mkdir(", "write(", "flock("].iter().any(|name| call.starts_with(name)))
        .collect();
    assert_eq!(seen, planned);
}
