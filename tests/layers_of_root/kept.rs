//! Upper directories that are kept: who may use one at a time, and what is beside it.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::support::{alone, is_root, sample, sandbox, wait_until};
use super::{Place, has_usr_alone, refused, said, spec, table, tree, variants};

/// A run in the background. It is killed at the end of the test, whatever happens.
struct Background(Child);

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A run of the spec in this file.
fn in_background(file: &Path, script: &str) -> Background {
    let mut run = sandbox(&["run", "-q", file.to_str().unwrap(), "--", "sh", "-c", script]);
    Background(run.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

#[test]
fn one_container_at_a_time_has_an_upper_directory_and_a_killed_one_leaves_it_usable() {
    if !has_usr_alone("one_container_at_a_time_has_an_upper_directory_and_a_killed_one_leaves_it_usable") {
        return;
    }
    let _alone = alone();
    let place = Place::new();
    let upper = place.directory("box/upper");
    let spec = spec(&[place.base("base")], Some(&upper), "");
    let file = place.path("box.yaml");
    fs::write(&file, &spec).unwrap();
    let before = table();
    let mut first = in_background(&file, "echo > /begun; exec sleep 60");
    wait_until("the first container writes", || upper.join("begun").exists());
    let error = refused(&spec);
    assert!(error.contains("Another container writes to this upper directory now"), "{error}");
    assert!(error.contains("EAGAIN"), "{error}");
    assert_eq!(tree(&upper), ["begun"]);
    first.0.kill().unwrap();
    first.0.wait().unwrap();
    assert_eq!(said(&spec, "ls /begun; echo > /after"), "/begun\n");
    assert_eq!(tree(&upper), ["after", "begun"]);
    assert_eq!(table(), before);
}

#[test]
fn upper_directories_in_one_directory_have_nothing_in_common() {
    if !has_usr_alone("upper_directories_in_one_directory_have_nothing_in_common") {
        return;
    }
    let _alone = alone();
    let place = Place::new();
    let base = place.base("base");
    place.file("base/old/file", "");
    let (a, b) = (place.directory("box/a"), place.directory("box/b,:\\"));
    let of = |upper: &Path, variant: &str| spec(std::slice::from_ref(&base), Some(upper), variant);
    // Each of the kinds of overlay, and between them another kind with the other upper directory.
    for variant in variants() {
        said(&of(&b, variant), "rm -rf /old; mkdir /old");
        for other in variants() {
            said(&of(&a, other), "true");
            assert_eq!(said(&of(&b, other), "ls /old"), "", "{variant}, then {other}");
        }
    }
    let mut beside: Vec<_> =
        fs::read_dir(place.path("box")).unwrap().map(|one| one.unwrap().file_name()).collect();
    beside.sort();
    assert_eq!(beside, ["a", "a.work", "b,:\\", "b,:\\.work"]);
    assert_eq!(tree(&a), Vec::<String>::new());
    // Both at the same time; but no one of them twice, by whatever path.
    let file = place.path("a.yaml");
    fs::write(&file, of(&a, "")).unwrap();
    let _first = in_background(&file, "echo > /begun; exec sleep 60");
    wait_until("the first container writes", || a.join("begun").exists());
    assert_eq!(said(&of(&b, ""), "ls /old"), "");
    let link = place.path("link");
    symlink(&a, &link).unwrap();
    assert!(refused(&of(&link, "")).contains("Another container writes"), "{}", link.display());
}

#[test]
fn nobody_else_can_lock_an_upper_directory() {
    if !has_usr_alone("nobody_else_can_lock_an_upper_directory") {
        return;
    }
    let _alone = alone();
    let place = Place::new();
    let (upper, work) = (place.directory("box/upper"), place.path("box/upper.work"));
    let spec = spec(&[place.base("base")], Some(&upper), "");
    fs::DirBuilder::new().mode(0o700).create(&work).unwrap();
    for mode in sample(3, [0o755, 0o710, 0o704, 0o701, 0o777]) {
        fs::set_permissions(&work, fs::Permissions::from_mode(mode)).unwrap();
        let error = refused(&spec);
        assert!(error.contains("Other users may open that one"), "{mode:o}: {error}");
        let advice = error.rsplit("make it private: ").next().unwrap();
        assert!(Command::new("sh").args(["-c", advice]).status().unwrap().success(), "{error}");
        said(&spec, "true");
    }
    if is_root() {
        chown(&work, Some(1000), Some(1000)).unwrap();
        let error = refused(&spec);
        assert!(error.contains("belongs to another user"), "{error}");
        // The owner of the upper directory can change everything in it anyway.
        chown(&upper, Some(1000), Some(1000)).unwrap();
        said(&spec, "true");
    }
}

#[test]
fn deep_directories_of_an_upper_directory_are_no_obstacle() {
    let test = "deep_directories_of_an_upper_directory_are_no_obstacle";
    // Only root changes from one kind of overlay to the other.
    if !is_root() || !has_usr_alone(test) {
        return;
    }
    let _alone = alone();
    let place = Place::new();
    let base = place.base("base");
    place.file("base/old/file", "");
    let upper = place.directory("box/upper");
    let of = |variant: &str| spec(std::slice::from_ref(&base), Some(&upper), variant);
    let nest = |script: &str| {
        assert!(Command::new("perl").args(["-e", script]).current_dir(&upper).status().unwrap().success());
    };
    said(&of(""), "rm -r /old; mkdir /old");
    // Its path is longer than PATH_MAX.
    nest("for (1..40) { $d = 'd' x 200; mkdir $d; chdir $d or die }");
    assert_eq!(said(&of("user: { map: auto }"), "ls /old"), "");
    nest("for (1..300) { mkdir 'e'; chdir 'e' or die }");
    let error = refused(&of(""));
    assert!(error.contains("more than 256 levels deep"), "{error}");
    assert_eq!(said(&of("user: { map: auto }"), "ls /old"), "");
}
