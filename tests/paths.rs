//! Paths that cannot be used are told before anything is made, with what to do.
//!
//! Of this kind: a working directory that is missing, a file, below a file, behind a symbolic link, relative, empty, not
//! searchable for the command's user; below a mount point that is made; in an empty filesystem · with `rootfs: host`, a
//! directory, none · `~` in each path of a spec and of a flag, which no shell has expanded: `~`, `~/x`, `~user/x`.

mod support;

use std::process::Output;

use support::{alone, feed, is_root, sandbox, text};

/// Status, standard output, and the words of standard error.
fn result(output: &Output) -> (Option<i32>, String, String) {
    let words = text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    (output.status.code(), text(&output.stdout), words)
}

fn run(spec: &str) -> (Option<i32>, String, String) {
    result(&feed(&mut sandbox(&["run", "-q", "-"]), spec))
}

#[test]
fn a_working_directory_that_cannot_be_used_is_named() {
    let _alone = alone();
    for frame in ["uts:\n", "rootfs: host\n", "rootfs: host\npid: { init: true }\nseccomp: default\n"] {
        for (directory, why) in [
            ("/no/such", "There is no such directory"),
            ("/etc/no-such", "There is no such directory"),
            ("/etc/passwd", "It is not a directory"),
            ("/etc/passwd/x", "There is no such directory"),
        ] {
            let (status, out, error) = run(&format!("{frame}workdir: {directory}\ncommand: [pwd]\n"));
            assert_eq!((status, out.as_str()), (Some(125), ""), "{frame}{directory}: {error}");
            for part in [&format!("workdir {directory}"), why, "do ", "workdir: /"] {
                assert!(error.contains(part), "{part}: {frame}{directory}: {error}");
            }
            assert!(!error.contains("(step "), "nothing was made: {error}");
        }
        for relative in ["etc", "./etc", "''", "../etc"] {
            let (status, _, error) = run(&format!("{frame}workdir: {relative}\ncommand: [pwd]\n"));
            assert!(
                status == Some(125) && error.contains(":2:") | error.contains("begins with /"),
                "{relative}: {error}"
            );
        }
        for directory in ["/", "/etc", "/usr/bin/../lib"] {
            let (status, out, error) = run(&format!("{frame}workdir: {directory}\ncommand: [pwd, -P]\n"));
            assert_eq!(status, Some(0), "{error}");
            assert!(out.starts_with('/'), "{out}");
        }
    }
    // What the kernel alone can know: the step says it.
    let (status, _, error) =
        run("rootfs: host\nmnt: { tmpfs: [/no/such] }\nworkdir: /no/such/below\ncommand: [pwd]\n");
    assert!(status == Some(125) && error.contains("no such directory in the container"), "{error}");
    assert!(error.contains("workdir: /"), "{error}");
}

#[test]
fn a_mount_point_that_is_made_is_a_working_directory() {
    let _alone = alone();
    for (targets, directory) in [
        ("/no/such", "/no/such"),
        ("/no/such/x", "/no/such"),
        ("/no/such/x/y", "/no"),
        ("/dev/shm", "/dev/shm"),
    ] {
        let spec =
            format!("rootfs: host\nmnt: {{ tmpfs: [{targets}] }}\nworkdir: {directory}\ncommand: [pwd]\n");
        let (status, out, error) = run(&spec);
        assert_eq!((status, out.trim()), (Some(0), directory), "{error}");
    }
}

#[test]
fn a_directory_that_the_user_may_not_search_is_named() {
    let _alone = alone();
    let spec = match is_root() {
        true => "uts:\nworkdir: /root\nrun_as: '1000:1000'\ncommand: [pwd]\n",
        false => "uts:\nworkdir: /root\ncommand: [pwd]\n",
    };
    if is_root() || std::fs::read_dir("/root").is_err() {
        let (status, _, error) = run(spec);
        assert_eq!(status, Some(125), "{error}");
        assert!(error.contains("EACCES") && error.contains("may not search"), "{error}");
        assert!(error.contains("workdir: /"), "{error}");
    }
}

#[test]
fn spec_check_tells_it_too() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("box.yaml");
    for (content, expected) in [
        ("uts:\nworkdir: /no/such\ncommand: [pwd]\n", "workdir /no/such"),
        ("uts:\nworkdir: ~/x\ncommand: [pwd]\n", "~ is not expanded"),
        ("mnt: { tmpfs: [~/x] }\ncommand: [pwd]\n", "~ is not expanded"),
    ] {
        std::fs::write(&file, content).unwrap();
        let (status, _, error) =
            result(&sandbox(&["spec", "check", file.to_str().unwrap()]).output().unwrap());
        assert!(status == Some(125) && error.contains(expected), "{content}: {error}");
    }
}

/// All that is missing is named at once. A command is not called missing if it could be in what is missing.
#[test]
fn all_that_is_missing_is_named_at_once() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("box.yaml");
    let mounts = "mnt: { mounts: [{ type: bind, source: /no/a, target: /mnt }, { type: bind, source: /no/b, target: /opt/b }] }";
    let bind = "mnt: { bind: [{ source: /no/a, target: /mnt }] }";
    for (content, named, unnamed) in [
        (format!("rootfs: host\n{mounts}\ncommand: [no-cmd]\n"), vec!["/no/a", "/no/b", "no-cmd"], ""),
        (format!("rootfs: host\n{mounts}\ncommand: [/usr/no-cmd]\n"), vec!["/no/a", "/no/b", "no-cmd"], ""),
        (format!("{bind}\ncommand: [no-cmd]\n"), vec!["/no/a", "no-cmd"], ""),
        (format!("{bind}\nworkdir: /no/w\ncommand: [no-cmd]\n"), vec!["/no/a", "/no/w", "no-cmd"], ""),
        (format!("rootfs: host\n{mounts}\ncommand: [true]\n"), vec!["/no/a", "/no/b"], "command not found"),
        (
            format!("rootfs: host\n{mounts}\ncommand: [/opt/b/tool]\n"),
            vec!["/no/a", "/no/b"],
            "tool: command",
        ),
        (
            format!("rootfs: ./none\n{mounts}\ncommand: [no-cmd]\n"),
            vec!["./none", "/no/a", "/no/b"],
            "no-cmd: command",
        ),
    ] {
        std::fs::write(&file, &content).unwrap();
        for words in [&["spec", "check"][..], &["run"]] {
            let words = [words, &[file.to_str().unwrap()]].concat();
            let (status, _, error) = result(&sandbox(&words).output().unwrap());
            assert!(matches!(status, Some(125 | 127)), "{content}: {error}");
            for part in &named {
                assert!(error.contains(part), "{words:?} {part}: {content}: {error}");
            }
            assert!(unnamed.is_empty() || !error.contains(unnamed), "{words:?} {content}: {error}");
            if named.contains(&"no-cmd") {
                assert!(error.contains("no-cmd: command not found"), "{words:?} {content}: {error}");
            }
        }
    }
}

#[test]
fn a_tilde_is_never_a_directory_of_that_name() {
    let _alone = alone();
    for path in ["~/x", "~", "~root/x"] {
        for (spec, line) in [
            (format!("command: ['{path}']\n"), 1),
            (format!("uts:\ncommand: ['{path}', -l]\n"), 2),
            (format!("command: [true]\nblkio: {{ write_bps: {{ '{path}': 1M }} }}\n"), 2),
            (format!("command: [true]\nblkio: {{ read_iops: {{ '{path}': 10 }} }}\n"), 2),
            (format!("command: [true]\ndevices: {{ allow: ['{path} rw'] }}\n"), 2),
            (format!("command: [true]\ndevices: {{ deny: ['{path}'] }}\n"), 2),
        ] {
            let (status, _, error) = run(&spec);
            assert_eq!(status, Some(125), "{spec}: {error}");
            assert!(error.contains("~ is not expanded here; write the whole path"), "{spec}: {error}");
            assert!(error.contains(&format!(":{line}:")), "{spec}: {error}");
        }
        for spec in [
            format!("uts:\nworkdir: {path}x\ncommand: [pwd]\n"),
            format!("rootfs: {path}x\ncommand: [pwd]\n"),
            format!("mnt: {{ root: {path}x }}\ncommand: [pwd]\n"),
            format!("mnt: {{ tmpfs: ['{path}'] }}\ncommand: [pwd]\n"),
            format!("mnt: {{ bind: [{{ source: '{path}', target: /mnt }}] }}\ncommand: [pwd]\n"),
            format!("mnt: {{ bind: [{{ source: /tmp, target: '{path}' }}] }}\ncommand: [pwd]\n"),
            format!(
                "rootfs: host\nmnt: {{ mounts: [{{ type: bind, source: '{path}', target: /mnt }}] }}\ncommand: [pwd]\n"
            ),
            format!(
                "rootfs: host\nmnt: {{ mounts: [{{ type: tmpfs, target: '{path}' }}] }}\ncommand: [pwd]\n"
            ),
            format!("blkio: {{ read_bps: [{{ device: '{path}', rate: 1m }}] }}\ncommand: [pwd]\n"),
        ] {
            let (status, _, error) = run(&spec);
            assert_eq!(status, Some(125), "{spec}: {error}");
            let is_named = error.contains("~ is not expanded") || error.contains("begins with /");
            assert!(
                is_named || spec.starts_with("blkio") && error.contains("one mistake"),
                "{spec}: {error}"
            );
        }
        for flags in [
            vec!["mnt".to_owned(), format!("--tmpfs={path}")],
            vec!["mnt".to_owned(), format!("--bind={path}:/mnt")],
            vec!["mnt".to_owned(), format!("--bind=/tmp:{path}")],
            vec!["mnt".to_owned(), format!("--root={path}")],
            vec!["blkio".to_owned(), format!("--read-bps={path}=1m")],
            vec!["devices".to_owned(), format!("--allow={path} rw")],
        ] {
            let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
            let (status, _, error) =
                result(&sandbox(&[&flags[..], &["-q", "--", "true"]].concat()).output().unwrap());
            assert!(matches!(status, Some(125 | 2)), "{flags:?}: {error}");
            let is_named = ["~ is not expanded", "absolute path"].iter().any(|part| error.contains(part));
            assert!(is_named, "{flags:?}: {error}");
        }
    }
    // A program may be named so, and an argument may begin with it.
    let (status, stdout, error) = run("command: [echo, '~/x', '~']\n");
    assert_eq!((status, &*stdout), (Some(0), "~/x ~\n"), "{error}");
    let (status, _, error) = run("command: ['~backup']\n");
    assert!(status == Some(127) && error.contains("~backup: command not found"), "{error}");
    let (status, _, error) = result(&sandbox(&["run", "~/box.yaml"]).output().unwrap());
    assert!(status == Some(125) && error.contains("~ is not expanded"), "{error}");
}
