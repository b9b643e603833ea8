//! The mnt namespace: what the kernel shows.

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use support::{fits, run, sandbox, snapshot, snapshot_cards, stdout, text};

/// The test's mount table. It must be the same before and after.
fn table() -> String {
    fs::read_to_string("/proc/self/mountinfo").unwrap()
}

/// A directory with the mount points that a root needs for bind mounts of the host's programs.
fn root() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for directory in ["usr", "proc", "tmp", "etc", "lib64", "lib", "bin"] {
        fs::create_dir(root.path().join(directory)).unwrap();
    }
    root
}

/// The flags for these bind mounts.
const FILL: [&str; 10] = [
    "--bind",
    "/usr:/usr",
    "--bind",
    "/bin:/bin",
    "--bind",
    "/lib:/lib",
    "--bind",
    "/lib64:/lib64",
    "--bind",
    "/proc:/proc",
];

/// `sandbox mnt --root ROOT` with these bind mounts and the rest of the arguments.
fn in_root(root: &Path, rest: &[&str]) -> std::process::Output {
    let mut arguments = vec!["mnt", "--quiet", "--root", root.to_str().unwrap()];
    // A machine without /lib64 has nothing to bind there.
    for flag in FILL.chunks(2).filter(|flag| Path::new(flag[1].split(':').next().unwrap()).exists()) {
        arguments.extend(flag);
    }
    arguments.extend(rest);
    run(&arguments)
}

#[test]
fn every_card_holds() {
    let before = table();
    let cards = stdout(&["mnt"]);
    assert!(!cards.contains("NOT SO"), "{cards}");
    cards.split("\n\n").for_each(|card| fits(card.split("Next:").next().unwrap(), 80, 22));
    snapshot_cards("demo-mnt", &cards);
    assert_eq!(table(), before);
}

/// Each claim of the course's notes on Docker about this namespace, and the card that shows it.
#[test]
fn every_claim_of_the_notes_is_shown() {
    let claims = [
        ("like chroot, a process gets its own directory tree", "pivot"),
        ("processes of different namespaces see different file structures", "files"),
        ("unlike chroot, /proc/mounts in each namespace holds only its own mount points", "mount"),
        ("unlike chroot: a chroot is no namespace", "chroot"),
    ];
    for (claim, card) in claims {
        let shown = stdout(&["mnt", "--format", "json", "--demo", card]);
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(shown[0]["outcome"], "holds", "{claim}: {shown}");
    }
}

#[test]
fn every_mistake_shows() {
    let before = table();
    for name in ["shared", "chroot", "pivot-shared"] {
        let shown = stdout(&["mnt", "--break", name]);
        fits(&shown, 80, 24);
        snapshot(&format!("break-mnt-{name}"), &shown);
    }
    assert_eq!(table(), before);
}

#[test]
fn a_tmpfs_is_mounted_inside_only() {
    let before = table();
    let inside = stdout(&["mnt", "--tmpfs", "/tmp", "--", "cat", "/proc/self/mountinfo"]);
    assert!(inside.lines().any(|line| line.split(' ').nth(4) == Some("/tmp") && line.contains(" - tmpfs ")));
    assert_eq!(table(), before);
    let own = fs::read_link("/proc/self/ns/mnt").unwrap();
    let link = stdout(&["mnt", "--", "readlink", "/proc/self/ns/mnt"]);
    assert_ne!(link.trim(), own.to_str().unwrap());
}

#[test]
fn the_propagation_is_the_one_that_was_asked_for() {
    for (mode, is_shared) in [("private", false), ("slave", false), ("shared", true)] {
        let inside = stdout(&["mnt", "--propagation", mode, "--", "cat", "/proc/self/mountinfo"]);
        let root = inside.lines().find(|line| line.split(' ').nth(4) == Some("/")).unwrap();
        assert_eq!(root.contains(" shared:"), is_shared, "{mode}: {root}");
        assert!(mode != "private" || !root.contains(" master:"), "{root}");
    }
    stdout(&["mnt", "--propagation", "unchanged", "--", "true"]);
}

#[test]
fn a_bind_takes_a_relative_source_and_a_file() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("site")).unwrap();
    fs::write(directory.path().join("site/page"), "hello\n").unwrap();
    fs::write(directory.path().join("covered"), "covered\n").unwrap();
    fs::create_dir(directory.path().join("place")).unwrap();
    let show = |source: &str, target: &str, file: &str| {
        let target = directory.path().join(target);
        let bind = format!("{source}:{}", target.display());
        let output = sandbox(&["mnt", "--quiet", "--bind", &bind, "--", "cat", file])
            .current_dir(directory.path())
            .output()
            .unwrap();
        text(&output.stdout) + &text(&output.stderr)
    };
    assert_eq!(show("site", "place", "place/page"), "hello\n");
    assert_eq!(show("site/page", "covered", "covered"), "hello\n");
    assert!(!directory.path().join("place/page").exists());
}

#[test]
fn the_working_directory_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path().canonicalize().unwrap();
    fs::write(here.join("file"), "").unwrap();
    let listed = |arguments: &[&str]| {
        let arguments = [&["mnt", "--quiet"], arguments, &["--", "sh", "-c", "pwd; ls"]].concat();
        text(&sandbox(&arguments).current_dir(&here).output().unwrap().stdout)
    };
    assert_eq!(listed(&[]), format!("{}\nfile\n", here.display()));
    // A process sees a mount on its working directory.
    assert_eq!(listed(&["--tmpfs", here.to_str().unwrap()]), format!("{}\n", here.display()));
}

#[test]
fn the_old_root_is_gone() {
    let root = root();
    fs::write(root.path().join("canary"), "").unwrap();
    let output = in_root(root.path(), &["--", "sh", "-c", "pwd; ls /; cat /proc/self/mounts"]);
    let (inside, error) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{error}");
    assert!(inside.starts_with("/\n"), "{inside}");
    assert!(inside.contains("\ncanary\n") && !inside.contains("\nhome\n"), "{inside}");
    for line in inside.lines().filter(|line| line.split(' ').count() == 6) {
        let point = line.split(' ').nth(1).unwrap();
        let own = ["/usr", "/bin", "/lib", "/proc"];
        assert!(point == "/" || own.iter().any(|own| point.starts_with(own)), "{line}");
    }
}

#[test]
fn a_root_may_be_relative_and_its_links_are_followed_in_it() {
    let root = root();
    fs::remove_dir(root.path().join("bin")).unwrap();
    symlink("/usr/bin", root.path().join("bin")).unwrap();
    fs::create_dir_all(root.path().join("usr")).unwrap();
    let mut arguments = vec!["mnt", "--quiet", "--root", "."];
    for flag in FILL.chunks(2) {
        let path = flag[1].split(':').next().unwrap();
        if path != "/bin" && Path::new(path).exists() {
            arguments.extend(flag);
        }
    }
    arguments.extend(["--tmpfs", "/tmp", "--", "/bin/true"]);
    let output = sandbox(&arguments).current_dir(root.path()).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn what_can_not_be_mounted_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let file = file.to_str().unwrap();
    let cases: &[(&[&str], i32, &str)] = &[
        (&["--root", file], 125, "must be a directory"),
        (&["--root", "/no-such-root"], 125, "must be a directory"),
        (&["--root", "/"], 125, "already"),
        (&["--root", path], 127, "not found"),
        (&["--tmpfs", file], 125, "mount point is a file"),
        (&["--tmpfs", "/no-such-place"], 125, "does not exist"),
        (&["--tmpfs", "/"], 125, "has no effect"),
        (&["--bind", "/no-such-source:/tmp"], 125, "does not exist"),
        (&["--bind", "/etc:/no-such-place"], 125, "does not exist"),
        (&["--bind", "/etc/passwd:/tmp"], 125, "mount point is a directory"),
        (&["--bind", "/etc:/tmp:ro"], 2, "after a second colon"),
        (&["--bind", "/etc"], 2, "SRC:DST"),
        (&["--propagation", "sometimes"], 2, "private"),
    ];
    let before = table();
    for (flags, status, words) in cases {
        let output = run(&[&["mnt"], *flags, &["--", "true"]].concat());
        let error = text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(output.status.code(), Some(*status), "{flags:?}: {error}");
        assert!(error.contains(words), "{flags:?}: {error}");
    }
    let output = in_root(root().path(), &["--", "/no/such/command"]);
    assert_eq!(output.status.code(), Some(127), "{}", text(&output.stderr));
    assert_eq!(table(), before);
}
