//! Mount points that do not exist. Where one would stay on the host, the run is refused before anything is made, and the
//! error has the command that makes it.
//!
//! Of this kind: a tmpfs, a bind of a directory, a bind of a file · one level below the bind, or several · a bind that is
//! read-write or read-only · by a symbolic link in the bind, or dangling · below a bind of a bind · a root directory
//! without an overlay · no root at all · two containers at once · below a file · in a directory that is read-only for an
//! ordinary user · and where it is made and is gone afterwards: in an overlay, in a tmpfs.

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::Command;

use support::{alone, feed, sandbox, text};

/// The names below a directory, sorted.
fn tree(directory: &Path) -> Vec<String> {
    let output = Command::new("find").arg(directory).args(["-printf", "%P %y %m\n"]).output().unwrap();
    let mut lines: Vec<String> = text(&output.stdout).lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

fn spec(rootfs: &str, mounts: &[String]) -> String {
    format!("{rootfs}\npid:\nmnt:\n  mounts:\n{}command: [ls, /srv]\n", mounts.concat())
}

fn bind(source: &Path, target: &str) -> String {
    format!("  - {{ type: bind, source: {}, target: {target} }}\n", source.display())
}

fn tmpfs(target: &str) -> String {
    format!("  - {{ type: tmpfs, target: {target} }}\n")
}

/// The error of a run that must be refused before anything is made.
fn refused(spec: &str) -> String {
    let output = feed(&mut sandbox(&["run", "-", "-q"]), spec);
    assert_eq!(output.status.code(), Some(125), "{spec}\n{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stderr).replace(" \\\n", " ").split_whitespace().collect::<Vec<_>>().join(" ")
}

fn works(spec: &str) -> String {
    let output = feed(&mut sandbox(&["run", "-", "-q"]), spec);
    assert_eq!(output.status.code(), Some(0), "{spec}\n{}", text(&output.stderr));
    text(&output.stdout)
}

/// The command in an error, which is on lines of its own.
fn advice(error: &str) -> &str {
    error.rsplit("create it first: ").next().unwrap()
}

const HOST: &str = "rootfs: host";

#[test]
fn a_mount_point_below_a_bind_is_refused_and_the_advice_makes_it() {
    let _alone = alone();
    let data = tempfile::Builder::new().prefix("it's a ").tempdir().unwrap();
    let quoted = format!("\"{}\"", data.path().display());
    let base = format!("  - {{ type: bind, source: {quoted}, target: /srv/box }}\n");
    let read_only = base.replace(" }", ", readonly: true }");
    let before = tree(data.path());
    for base in [&base, &read_only] {
        for (mount, kind) in [
            (tmpfs("/srv/box/t"), "mkdir -p"),
            (tmpfs("/srv/box/x/y/z"), "mkdir -p"),
            (bind(Path::new("/usr"), "/srv/box/x/usr"), "mkdir -p"),
            (bind(Path::new("/etc/passwd"), "/srv/box/x/passwd"), "touch"),
        ] {
            let spec = spec(HOST, &[base.clone(), mount]);
            let error = refused(&spec);
            assert!(error.contains("does not exist") && error.contains(kind), "{error}");
            assert_eq!(tree(data.path()), before, "{spec}");
            // What is advised makes the run possible, and the run leaves what was made as it is.
            let made = Command::new("sh").args(["-c", advice(&error)]).status().unwrap();
            assert!(made.success(), "{error}");
            let with = tree(data.path());
            works(&spec);
            assert_eq!(tree(data.path()), with);
            for entry in fs::read_dir(data.path()).unwrap().flatten() {
                fs::remove_dir_all(entry.path()).unwrap();
            }
        }
    }
}

#[test]
fn links_and_binds_of_binds_are_followed() {
    let _alone = alone();
    let data = tempfile::tempdir().unwrap();
    let (outer, inner) = (data.path().join("outer"), data.path().join("inner"));
    fs::create_dir_all(outer.join("below")).unwrap();
    fs::create_dir(&inner).unwrap();
    symlink("/srv/box/missing", outer.join("dangling")).unwrap();
    symlink("below", outer.join("link")).unwrap();
    let before = tree(data.path());
    let base = bind(&outer, "/srv/box");
    for more in [
        vec![tmpfs("/srv/box/dangling")],
        vec![tmpfs("/srv/box/link/t")],
        vec![bind(&inner, "/srv/box/below"), tmpfs("/srv/box/below/t")],
        // The mount point was made in the overlay, and then the bind covers it.
        vec![tmpfs("/srv/over/t"), bind(&outer, "/srv/over"), tmpfs("/srv/over/t")],
    ] {
        let error = refused(&spec(HOST, &[vec![base.clone()], more].concat()));
        assert!(error.contains("bind mount"), "{error}");
        assert_eq!(tree(data.path()), before);
    }
}

#[test]
fn in_an_overlay_or_a_tmpfs_a_mount_point_is_made_and_is_gone_afterwards() {
    let _alone = alone();
    let data = tempfile::tempdir().unwrap();
    fs::create_dir(data.path().join("t")).unwrap();
    let before = (tree(data.path()), tree(Path::new("/srv")));
    let mounts = [
        bind(data.path(), "/srv/box"),
        // It exists below the bind.
        tmpfs("/srv/box/t"),
        // In the tmpfs, in the overlay, and in a tmpfs that covers an older mount point.
        tmpfs("/srv/box/t/a/b"),
        tmpfs("/srv/other/a"),
        tmpfs("/srv/other"),
        tmpfs("/srv/other/a"),
        bind(Path::new("/etc/passwd"), "/srv/files/passwd"),
    ];
    let listed = works(&spec(HOST, &mounts));
    for name in ["box", "files", "other"] {
        assert!(listed.lines().any(|line| line == name), "{listed}");
    }
    assert_eq!((tree(data.path()), tree(Path::new("/srv"))), before);
}

#[test]
fn two_containers_at_once_on_one_missing_mount_point_leave_nothing() {
    let _alone = alone();
    let data = tempfile::tempdir().unwrap();
    let spec = spec(HOST, &[bind(data.path(), "/srv/box"), tmpfs("/srv/box/t")]);
    let file = data.path().with_extension("yaml");
    fs::write(&file, &spec).unwrap();
    let runs: Vec<_> = (0..2)
        .map(|_| sandbox(&["run", "-q", file.to_str().unwrap()]).stderr(std::process::Stdio::null()).spawn())
        .collect();
    for run in runs {
        assert_eq!(run.unwrap().wait().unwrap().code(), Some(125));
    }
    fs::remove_file(file).unwrap();
    assert_eq!(tree(data.path()).len(), 1);
}

/// With `mountpoints: true` in the bind they are made, and stay.
#[test]
fn in_a_bind_that_allows_it_a_mount_point_is_made_and_stays() {
    let _alone = alone();
    let data = tempfile::tempdir().unwrap();
    let open = bind(data.path(), "/srv/box").replace(" }", ", mountpoints: true }");
    let mounts = [open.clone(), tmpfs("/srv/box/x/t"), bind(Path::new("/etc/passwd"), "/srv/box/passwd")];
    for _ in 0..2 {
        works(&spec(HOST, &mounts));
        let made = tree(data.path());
        assert_eq!(made[1..], ["passwd f 644", "x d 755", "x/t d 755"]);
    }
    // A bind that does not allow it is in between, or it is read-only.
    let inner = tempfile::tempdir().unwrap();
    let closed = [open.clone(), bind(inner.path(), "/srv/box/inner"), tmpfs("/srv/box/inner/t")];
    let fixed = [open.replace(" }", ", readonly: true }"), tmpfs("/srv/box/new")];
    for mounts in [&closed[..], &fixed] {
        assert!(refused(&spec(HOST, mounts)).contains("mountpoints: true"));
    }
    assert_eq!((tree(inner.path()).len(), data.path().join("new").exists()), (1, false));
}

/// The container's own files of /etc are in what is mounted there.
#[test]
fn a_mount_on_etc_does_not_hide_the_names() {
    let _alone = alone();
    let data = tempfile::tempdir().unwrap();
    for name in ["hosts", "note"] {
        fs::write(data.path().join(name), "from the host\n").unwrap();
    }
    let script = "while read -r line; do echo $line; done < /etc/hosts; echo /etc/*";
    let command = format!("command: [sh, -c, {script:?}]");
    let before = tree(data.path());
    for (mount, names) in [
        (tmpfs("/etc"), "/etc/hostname /etc/hosts /etc/resolv.conf"),
        // New files would stay in the directory.
        (bind(data.path(), "/etc"), "/etc/hosts /etc/note"),
    ] {
        let seen = works(&spec(HOST, &[mount]).replace("command: [ls, /srv]", &command));
        assert!(seen.contains("127.0.0.1 localhost\n") && seen.ends_with(&format!("{names}\n")), "{seen}");
        assert!(!seen.contains("from the host"), "{seen}");
    }
    assert_eq!(tree(data.path()), before);
}

#[test]
fn a_root_directory_and_no_root_at_all_are_left_unchanged_too() {
    let _alone = alone();
    let data = tempfile::tempdir().unwrap();
    let root = data.path().join("root");
    for name in ["usr", "proc", "sys", "dev", "srv"] {
        fs::create_dir_all(root.join(name)).unwrap();
    }
    let before = tree(data.path());
    for rootfs in [format!("rootfs: {}", root.display()), String::new()] {
        for mount in [
            tmpfs("/srv/missing/t"),
            bind(Path::new("/usr"), "/srv/missing"),
            bind(Path::new("/etc/passwd"), "/srv/missing"),
        ] {
            let error = refused(&spec(&rootfs, &[mount]));
            assert!(error.contains("does not exist"), "{error}");
            assert!(!Path::new("/srv/missing").exists());
            assert_eq!(tree(data.path()), before);
        }
    }
    // Without `proc` in it, and with a mount on a file.
    fs::remove_dir(root.join("proc")).unwrap();
    let error = refused(&spec(&format!("rootfs: {}", root.display()), &[tmpfs("/srv")]));
    assert!(error.contains("/proc does not exist"), "{error}");
    let error = refused(&spec(HOST, &[tmpfs("/etc/passwd/below")]));
    assert!(error.contains("/etc/passwd is not a directory"), "{error}");
}

/// The new root is mounted on `/` before the binds are attached. A bind of `/` must not have it on top.
#[test]
fn a_bind_of_the_whole_host_shows_the_host() {
    let _alone = alone();
    let root = Path::new("/");
    let mounts = [bind(root, "/srv/one"), bind(root, "/srv/two").replace(" }", ", readonly: true }")];
    let count = "grep -c ' /srv/one ' /proc/self/mountinfo; grep -c ' /srv/two ' /proc/self/mountinfo";
    let command = format!("command: [sh, -c, \"{count}; stat -c %d:%i /srv/one /srv/two\"]");
    let spec = spec(HOST, &mounts).replace("command: [ls, /srv]", &command);
    let host = fs::metadata(root).map(|root| format!("{}:{}", root.dev(), root.ino())).unwrap();
    assert_eq!(works(&spec), format!("1\n1\n{host}\n{host}\n"));
}
