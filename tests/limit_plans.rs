//! The plan of a limit and the advice about it, also for a user who may not create cgroups; and values that the kernel
//! cannot keep.
//!
//! Inputs of this kind: each limit feature, `run SPEC` with limits · a user on v1, a user without delegation, root ·
//! values with blanks and quotes on the command line · values at the ends of the kernel's ranges and beyond · two values
//! that contradict each other.

mod support;

use support::limits::{FEATURES, is_possible, left};
use support::{alone, is_root, run, sandbox, stdout, text};

/// The error of a command that must fail with this status.
fn refused(arguments: &[&str], status: i32) -> String {
    let output = run(arguments);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {error}");
    error
}

#[test]
fn a_dry_run_shows_the_calls_of_a_limit_to_everyone() {
    let _alone = alone();
    for feature in FEATURES {
        let plan = stdout(&[feature, "--dry-run"]);
        assert!(plan.contains("mkdir(") && plan.contains("/sandbox"), "{plan}");
        let json: serde_json::Value =
            serde_json::from_str(&stdout(&[feature, "--dry-run", "--format", "json"])).unwrap();
        let calls: Vec<&str> = json["steps"]
            .as_array()
            .unwrap()
            .iter()
            .map(|step| step["call"]["text"].as_str().unwrap())
            .collect();
        assert!(calls.iter().filter(|call| call.starts_with("mkdir(")).count() >= 2, "{calls:?}");
        // A plan that is not the caller's own is marked as such.
        let is_roots = !is_root() && !is_possible(feature);
        assert_eq!(json["as_root"].as_bool().unwrap_or(false), is_roots, "{feature}");
        assert_eq!(plan.starts_with("The plan as root would run it."), is_roots, "{plan}");
        assert_eq!(json["problems"].as_array().unwrap().is_empty(), !is_roots, "{feature}");
    }
    let directory = tempfile::tempdir().unwrap();
    let spec = directory.path().join("box.yaml");
    std::fs::write(&spec, "memory: {limit: 64MiB}\npids: {max: 9}\ncommand: [\"true\"]\n").unwrap();
    let plan = stdout(&["run", spec.to_str().unwrap(), "--dry-run"]);
    assert!(plan.contains("67108864") && plan.contains("pids.max"), "{plan}");
    assert_eq!(left(), Vec::<std::path::PathBuf>::new());
}

/// What only root can do, as an ordinary user: the plan of root, marked as such. Of this kind: a bridge, a veth pair, a
/// port below 1024, an ID map with more than the own ID; by flags and in a spec.
#[test]
fn a_dry_run_shows_what_only_root_can_do() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let spec = directory.path().join("box.yaml");
    std::fs::write(&spec, "net: { mode: bridge, publish: ['80:80'] }\ncommand: [\"true\"]\n").unwrap();
    let first = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or_default();
    let is_low = first.trim().parse().unwrap_or(1024) > 80;
    let all: [(&[&str], &str, bool); 7] = [
        (&["net", "--mode", "bridge"], "RTM_NEWLINK bridge sandbox0", true),
        (&["net", "--veth"], "RTM_NEWLINK veth", true),
        (&["net", "--publish", "80:80"], "bind(", is_low),
        (&["user", "--map", "0:0:10"], "0 0 10", true),
        (&["run", spec.to_str().unwrap()], "RTM_NEWLINK bridge sandbox0", true),
        (&["net"], "CLONE_NEWNET", false),
        (&["uts"], "CLONE_NEWUTS", false),
    ];
    for (arguments, call, needs_root) in all {
        let plan = stdout(&[arguments, &["--dry-run"]].concat());
        let words = plan.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains(call), "{arguments:?}: {plan}");
        let is_roots = needs_root && !is_root();
        assert_eq!(plan.starts_with("The plan as root would run it."), is_roots, "{arguments:?}: {plan}");
        assert_eq!(plan.contains("\n!! "), is_roots, "{arguments:?}: {plan}");
        let json = stdout(&[arguments, &["--dry-run", "--format", "json"]].concat());
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["as_root"].as_bool().unwrap_or(false), is_roots, "{arguments:?}");
    }
    assert_eq!(left(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn advice_repeats_the_command_that_was_typed() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let spec = directory.path().join("my box.yaml");
    std::fs::write(&spec, "memory: {limit: 64MiB}\npids: {max: 9}\ncommand: [\"true\"]\n").unwrap();
    let spec = spec.to_str().unwrap();
    let inputs: [(&str, &[&str], String); 4] = [
        ("memory", &["run", spec], format!(" run '{spec}'")),
        (
            "memory",
            &["memory", "--limit", "64MB", "--", "echo", "a b"],
            " memory --limit 64MB -- echo 'a b'".into(),
        ),
        (
            "pids",
            &["pids", "--max", "9", "--", "sh", "-c", "exit 3;"],
            " pids --max 9 -- sh -c 'exit 3;'".into(),
        ),
        ("blkio", &["blkio", "--weight", "100", "--", "true"], " blkio --weight 100 -- true".into()),
    ];
    for (feature, arguments, typed) in inputs {
        if is_possible(feature) {
            continue;
        }
        // A long command goes on in the next line, after a backslash.
        let error = refused(arguments, 125);
        let error: String = error.split(" \\\n").map(|part| format!("{} ", part.trim_start())).collect();
        let line =
            |start: &str| error.lines().find(|line| line.trim_start().starts_with(start)).map(str::trim_end);
        if is_root() {
            assert!(!error.contains("sudo"), "{error}");
        } else {
            assert!(line("sudo ").is_some_and(|line| line.ends_with(&typed)), "{typed}: {error}");
        }
        assert!(!error.contains("..."), "{error}");
        assert_eq!(error.contains("optional: [memory, pids]"), arguments[0] == "run", "{error}");
        // The plan is printed by the last line, as it is.
        let last = error.trim_end().lines().last().unwrap().trim().to_owned();
        let pasted = std::process::Command::new("sh").args(["-c", &last]).output().unwrap();
        assert!(pasted.status.success() && text(&pasted.stdout).contains("mkdir("), "{last}");
    }
}

#[test]
fn values_that_the_kernel_cannot_keep_are_refused_with_the_reason() {
    let _alone = alone();
    let error = refused(&["memory", "--limit", "32m", "--reservation", "64m", "--", "true"], 125);
    assert!(error.contains("The reservation, 64MiB, is larger than the limit, 32MiB"), "{error}");
    let equal = sandbox(&["memory", "--limit", "64m", "--reservation", "64m", "--dry-run"]).output().unwrap();
    assert!(!text(&equal.stdout).contains("is larger"), "a reservation may be equal");
    let error = refused(&["cpu", "--cpuset", "0,4095", "--", "true"], 125);
    assert!(error.contains("no such CPU, or it is offline: 4095"), "{error}");
    for (arguments, reason) in [
        (["pids", "--max", "0"], "1 to 4194304"),
        (["cpu", "--weight", "10001"], "1 to 10000"),
        (["cpu", "--shares", "1"], "2 to 262144"),
        (["blkio", "--weight", "1001"], "10 to 1000"),
        (["blkio", "--read-bps", "/dev/null=1m"], "not on a disk"),
        (["blkio", "--write-iops", "4095:4095=9"], "not on a disk"),
    ] {
        let error = refused(&[&arguments[..], &["--", "true"]].concat(), 125);
        assert!(error.contains(reason), "{arguments:?}: {error}");
    }
    for (arguments, reason) in [
        (["cpu", "--cpus", "0.001"], "0.01"),
        (["cpu", "--cpus", "9000"], "0.01"),
        (["memory", "--limit", "lots"], "64MiB"),
        (["blkio", "--read-iops", "/=0"], "at least 1"),
    ] {
        let error = refused(&[&arguments[..], &["--", "true"]].concat(), 2);
        // Long lines are wrapped.
        let error = error.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(error.contains(reason), "{arguments:?}: {error}");
    }
    assert_eq!(left(), Vec::<std::path::PathBuf>::new());
}
