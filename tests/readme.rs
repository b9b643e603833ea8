//! What the README shows is what `sandbox` prints, and what the map says is so.

mod support;

use std::fs;
use std::process::{Command, Stdio};

use sandbox::render::stable::stable;
use support::{binary, is_root, repository, skip, text};

#[test]
fn the_readme_shows_real_output() {
    if !is_root() {
        return skip(
            "the_readme_shows_real_output",
            "machine: the README shows runs as root; the run as root holds it",
        );
    }
    let readme = fs::read_to_string(repository().join("README.md")).unwrap();
    let blocks: Vec<&str> =
        readme.split("```").filter_map(|block| block.strip_prefix("\n$ sandbox ")).collect();
    assert!(!blocks.is_empty());
    for block in blocks {
        let (arguments, shown) = block.split_once('\n').unwrap();
        let output = Command::new(binary())
            .args(arguments.split(' '))
            .envs([("COLUMNS", "80"), ("NO_COLOR", "1")])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let printed = text(&output.stdout) + &text(&output.stderr);
        assert_eq!(stable(printed.trim_end()), stable(shown.trim_end()), "sandbox {arguments}");
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
