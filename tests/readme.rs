//! The README shows the real output of `sandbox`. The map in ARCHITECTURE.md names files that really exist.

mod support;

use std::fs;
use std::process::{Command, Stdio};

use sandbox::render::stable::stable;
use sandbox::value::shell::quote;
use support::limits::is_possible;
use support::{binary, is_root, repository, skip, text};

/// A bash script that prints a block of the README again: each command after its prompt, then its output. Background
/// commands are killed at the end of the block.
fn script_of(block: &str) -> String {
    let mut script = String::from("exec 2>&1\n");
    for command in block.lines().filter_map(|line| line.strip_prefix("$ ")) {
        script.push_str(&format!("printf '%s\\n' {}\n", quote(format!("$ {command}"))));
        script.push_str(&format!("{}\n", command.replace("sudo ", "")));
    }
    script.push_str("exec >/dev/null 2>&1\nkill -KILL $(jobs -p)\nwait\n");
    script
}

/// Replaces what changes from run to run. The number of verified values depends on the kernel.
fn comparable(printed: &str) -> String {
    let values = regex_lite::Regex::new(r"\b\d+ values\b").expect("a pattern");
    stable(&values.replace_all(printed.trim_end(), "N values"))
}

#[test]
fn the_readme_shows_real_output() {
    let readme = fs::read_to_string(repository().join("README.md")).unwrap();
    let blocks: Vec<&str> = readme.split("```").filter_map(|block| block.strip_prefix("console\n")).collect();
    assert!(blocks.iter().map(|block| block.matches("$ ").count()).sum::<usize>() >= 10);
    // The README runs `sandbox`. The link makes that the binary under test.
    let directory = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(binary(), directory.path().join("sandbox")).unwrap();
    let path = format!("{}:{}", directory.path().display(), std::env::var("PATH").unwrap_or_default());
    // Root and ordinary users run different blocks. Root's output is shorter, because root needs no user namespace.
    for block in blocks.into_iter().filter(|block| block.contains("$ sudo ") == is_root()) {
        if block.contains("sandbox memory") && !is_possible("memory") {
            skip("the_readme_shows_real_output", "machine: no memory cgroup can be created");
            continue;
        }
        let output = Command::new("bash")
            .args(["-c", &script_of(block)])
            .current_dir(repository())
            .envs([("PATH", path.as_str()), ("COLUMNS", "80"), ("NO_COLOR", "1"), ("LANG", "C.UTF-8")])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert_eq!(comparable(&text(&output.stdout)), comparable(block));
    }
}

#[test]
fn the_map_has_the_phases_in_their_order() {
    let code = fs::read_to_string(repository().join("src/plan/order.rs")).unwrap();
    let phases: Vec<&str> = code
        .lines()
        .filter_map(|line| line.strip_prefix("    ")?.strip_suffix(','))
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_alphabetic()))
        .collect();
    assert!(phases.len() > 10);
    let map = fs::read_to_string(repository().join("ARCHITECTURE.md")).unwrap();
    let map = map.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(map.contains(&format!("{}.", phases.join(", "))), "{}", phases.join(", "));
}

#[test]
fn the_map_names_every_directory_of_the_source() {
    let map = fs::read_to_string(repository().join("ARCHITECTURE.md")).unwrap();
    for entry in fs::read_dir(repository().join("src")).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() {
            assert!(map.contains(&format!("`src/{name}/`")), "src/{name}/ isn't on the map");
        }
    }
}
