//! The same attacks as lessons: `sandbox run --break NAME` tries the attack with the protection and without it.

use serde_json::Value;

use crate::support::{fits, is_root, run, skip, stdout, text};

/// The last result that the lesson shows: with the protection, and without it.
const ANSWERS: [(&str, &str, &str); 11] = [
    ("capabilities", "-1 EPERM", "0"),
    ("suid", "", "0"),
    ("userns", "0000000000000000", "ffffffff"),
    ("tiocsti", "0", "7"),
    ("own-program", "(EACCES)", "leads to"),
    ("leaked-descriptor", "(ENOENT)", "the outer tree"),
    ("symlink-mount", "(no mount)", "tmpfs"),
    ("proc-sys", "-1 EROFS", "0"),
    ("masked", "nothing", "the machine's"),
    ("release-agent", "-1 ENOENT", "0"),
    ("fork-bomb", "-1 EAGAIN", "48"),
];

#[test]
fn each_attack_works_without_its_wall_and_not_behind_it() {
    let listed = stdout(&["run", "--break"]);
    let names: Vec<&str> = listed.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, ANSWERS.map(|(name, ..)| name));
    fits(&listed, 80, 24);
    for (name, right, wrong) in ANSWERS {
        let output = run(&["run", "--break", name, "--format", "json"]);
        let contrast: Value = serde_json::from_slice(&output.stdout).unwrap();
        let is_skipped = contrast["skipped"].is_string();
        assert_eq!(output.status.code(), Some(if is_skipped { 77 } else { 0 }), "{contrast}");
        if let Some(reason) = contrast["skipped"].as_str() {
            // The lesson needs root on the host, or this machine does not support it.
            assert!(name != "proc-sys" || !is_root(), "{reason}");
            skip(&format!("run --break {name}"), &format!("machine: {reason}"));
            continue;
        }
        let last = |way: &str| {
            contrast[way].as_array().unwrap().last().unwrap()["value"].as_str().unwrap().to_owned()
        };
        assert!(last("right").starts_with(right), "{name}: {contrast}");
        assert!(last("wrong").contains(wrong), "{name}: {contrast}");
        assert_ne!(last("right"), last("wrong"), "{name}: {contrast}");
        let shown = stdout(&["run", "--break", name]);
        fits(&shown, 80, 24);
        for (mark, way) in [("WRONG", "wrong_command"), ("RIGHT", "right_command")] {
            let lines = contrast[way].as_str().unwrap().replace('\n', "\n          ");
            let line = format!("\n{mark}     {lines}\n");
            assert!(shown.contains(&line), "{line}{shown}");
        }
        // Capabilities have their names beside the mask.
        if let Some((_, set)) = shown.split_once("CapEff  ") {
            assert!(set.lines().next().unwrap().contains(" ("), "{shown}");
        }
    }
}

#[test]
fn a_lesson_is_known_by_its_name_and_leaves_nothing() {
    let output = run(&["run", "--break", "no-such-attack"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("choose one of: capabilities"), "{}", text(&output.stderr));
    let world = || {
        let read = |path| std::fs::read_to_string(path).unwrap();
        (
            read("/proc/self/mountinfo"),
            read("/proc/sys/kernel/hostname"),
            read("/proc/sys/kernel/core_pattern"),
        )
    };
    let before = world();
    for (name, ..) in ANSWERS {
        run(&["run", "--break", name]);
    }
    assert_eq!(world(), before);
}
