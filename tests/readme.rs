//! The README shows the real output of `sandbox`. The map in ARCHITECTURE.md names files that really exist.

mod support;

use std::fs;

use support::console::{comparable, printed};
use support::limits::is_possible;
use support::{is_root, repository, skip};

#[test]
fn the_readme_shows_real_output() {
    let readme = fs::read_to_string(repository().join("README.md")).unwrap();
    let blocks: Vec<&str> = readme.split("```").filter_map(|block| block.strip_prefix("console\n")).collect();
    assert!(blocks.iter().map(|block| block.matches("$ ").count()).sum::<usize>() >= 10);
    // Root and ordinary users run different blocks. Root's output is shorter, because root needs no user namespace.
    for block in blocks.into_iter().filter(|block| block.contains("$ sudo ") == is_root()) {
        if block.contains("sandbox memory") && !is_possible("memory") {
            skip("the_readme_shows_real_output", "machine: no memory cgroup can be created");
            continue;
        }
        assert_eq!(comparable(&printed(block, &repository())), comparable(block));
    }
}

#[test]
fn the_readme_has_the_numbers_of_the_course() {
    let lessons = fs::read_dir(repository().join("lessons/en")).unwrap();
    let lessons: Vec<String> =
        lessons.map(|lesson| fs::read_to_string(lesson.unwrap().path()).unwrap()).collect();
    let exercises: usize = lessons.iter().map(|lesson| lesson.matches("\n<!-- exercise ").count()).sum();
    let readme = fs::read_to_string(repository().join("README.md")).unwrap();
    let numbers = format!("{} lessons with {exercises} exercises", lessons.len());
    assert!(readme.contains(&numbers), "{numbers}");
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
