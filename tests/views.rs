//! The views, the plans and the specs: what is printed, and that it fits the terminal.

mod support;

use std::fs;

use support::terminal::Terminal;
use support::{fits, is_plain_world, run, sandbox, skip, snapshot, stdout, text};

const FEATURES: [&str; 8] = ["pid", "mnt", "net", "uts", "ipc", "user", "cgroup", "time"];

#[test]
fn every_view_fits_a_terminal_of_80_by_24() {
    for feature in FEATURES {
        let view = stdout(&[feature, "--show-proc"]);
        fits(&view, 80, 24);
        // The cgroup paths depend on the machine, so tests/cgroup.rs checks that view. tests/net.rs checks the
        // devices in a new network namespace.
        let is_its_own = matches!(feature, "cgroup" | "net") || feature == "mnt" && !is_plain_world();
        if !is_its_own {
            snapshot(&format!("view-{feature}"), &view);
        } else if feature == "mnt" {
            skip(
                &format!("view of {feature}"),
                "mounts and devices are this machine's own: run scripts/test as root",
            );
        }
    }
}

#[test]
fn a_narrow_terminal_gets_the_view_stacked() {
    let output = sandbox(&["uts", "--show-proc"]).env("COLUMNS", "40").output().unwrap();
    let view = text(&output.stdout);
    assert!(view.contains("      OUTSIDE uts:["), "{view}");
    snapshot("view-uts-narrow", &view);
}

#[test]
fn a_view_as_data_is_the_same_view() {
    for feature in FEATURES {
        let view: serde_json::Value =
            serde_json::from_str(&stdout(&[feature, "--show-proc", "--format", "json"])).unwrap();
        assert_eq!(view["feature"], feature);
        let own = format!("/proc/self/ns/{feature}");
        let row = view["paths"].as_array().unwrap().iter().find(|row| row["path"] == own).unwrap();
        assert_eq!(row["equal"], false, "{feature}");
        assert_ne!(row["outside"], row["inside"]);
    }
}

#[test]
fn the_view_of_a_whole_container_has_what_differs_and_counts_the_rest() {
    let spec = support::repository().join("lessons/specs/first.yaml");
    let spec = spec.to_str().unwrap();
    let output = run(&["run", spec, "--show-proc", "--", "true"]);
    let all = text(&output.stderr);
    assert!(output.status.success(), "{all}");
    fits(&all, 80, 40);
    // Warnings about this machine precede the view. A hint about further commands follows it.
    let view = all.split_inclusive('\n').skip_while(|line| !line.starts_with("new ")).collect::<String>();
    let view = view.split("sandbox: pid").next().unwrap().to_owned();
    fits(&view, 80, 24);
    assert_eq!(all.matches("new pid, net").count(), 1, "announced once: {all}");
    assert!(view.contains(" equal\n") && !view.contains("(no hierarchy)"), "{view}");
    let output = run(&["run", spec, "--show-proc", "--format", "json", "-q", "--", "true"]);
    let words = text(&output.stderr);
    let view: serde_json::Value = serde_json::from_str(&words[words.find('{').unwrap()..]).unwrap();
    let rows = view["paths"].as_array().unwrap();
    let of = |path: &str| rows.iter().find(|row| row["path"] == path).unwrap_or_else(|| panic!("{path}"));
    assert_eq!(of("/proc/self/ns/pid")["equal"], false);
    assert_eq!(of("/proc/self/ns/time")["equal"], true);
    if support::limits::is_possible("pids") {
        assert_eq!(of("<pids>/pids.max")["inside"]["is"], "64");
    }
}

#[test]
fn the_view_of_a_command_is_taken_just_before_it() {
    let output = run(&["pid", "--show-proc", "--", "sh", "-c", "echo $$"]);
    assert_eq!(text(&output.stdout), "1\n");
    assert!(text(&output.stderr).contains("INSIDE (sh 1)"), "{}", text(&output.stderr));
}

#[test]
fn plans_are_printed_without_privilege_or_effect() {
    for feature in FEATURES {
        let plan = stdout(&[feature, "--dry-run", "--", "/bin/sh"]);
        fits(&plan, 80, 60);
        snapshot(&format!("plan-{feature}"), &plan);
    }
}

#[test]
fn a_run_is_narrated_step_by_step() {
    let output = run(&["uts", "--hostname", "box", "--explain", "--", "true"]);
    let told = text(&output.stderr);
    fits(&told, 80, 40);
    snapshot("explain-uts", &told);
}

#[test]
fn a_step_waits_for_a_key_and_without_a_terminal_says_so() {
    // setsid(1) removes the controlling terminal, so the result is the same in every environment.
    let mut command = std::process::Command::new("setsid");
    let output = command
        .arg(support::binary())
        .args(["uts", "--step", "--", "true"])
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    snapshot("error-step-noterminal", &text(&output.stderr));
}

#[test]
fn steps_wait_for_keys_one_by_one_or_all_at_once() {
    for keys in [&["n", " ", "\n", "c"][..], &["nnc"]] {
        let mut terminal = Terminal::start(&["uts", "--hostname", "aquarium", "--step", "--", "hostname"]);
        for key in keys {
            terminal.wait_for("q undo and quit\n");
            terminal.press(key);
        }
        terminal.wait_for("aquarium\n");
        assert_eq!(terminal.end().0.code(), Some(0));
    }
    let mut terminal = Terminal::start(&["uts", "--step", "--", "true"]);
    terminal.wait_for("q undo and quit\n");
    terminal.press("n");
    terminal.wait_for("q undo and quit\n");
    let own = format!("/proc/{0}/task/{0}/children", terminal.pid());
    assert_eq!(fs::read_to_string(own).unwrap(), "", "the clone hasn't been made yet");
    terminal.press("q");
    let (status, seen) = terminal.end();
    assert_eq!(status.code(), Some(125), "{seen}");
}
