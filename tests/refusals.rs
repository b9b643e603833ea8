//! What is refused is refused before anything is made, with its true reason and advice that helps and destroys nothing.
//!
//! Of this kind: a directory of the store that cannot be one · a word that clap refused, with an equal word before it · a flag of the
//! demonstration where none runs · a working directory of each process · ID maps that the kernel takes no part of · a mount below one
//! that a flag has asked for · device rules that deny our own mknod(2).

mod support;

use std::fs;

use support::{alone, feed, is_root, sandbox, skip, text};

/// What is printed on standard error, and the exit status.
fn refused(arguments: &[&str]) -> (String, i32) {
    let output = sandbox(arguments).output().unwrap();
    (text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" "), output.status.code().unwrap())
}

/// clap wraps its help, but not its errors.
#[test]
fn an_error_of_the_command_line_fits_a_terminal() {
    let long = "x".repeat(30);
    for arguments in [
        &["compare", "0"][..],
        &["compare", "0", "1", "2", "3"],
        &["uts", &format!("--{long}"), "--", "true"],
        &["doctor", &long, &long, "--format", "nothing"],
        &["pid", "--demo", "--format", &long],
        &["spec", "schema", &long, &long],
        &["memory", "--limit", &long, "--", "true"],
        &["cpu", "--cpus", &long, "--", "true"],
    ] {
        let output = sandbox(arguments).output().unwrap();
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(error.lines().all(|line| line.chars().count() <= 80), "{arguments:?}: {error}");
        assert!(error.ends_with('\n') && !error.ends_with("\n\n"), "{error:?}");
    }
}

#[test]
fn what_the_user_has_named_is_never_removed_or_changed() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "of the user").unwrap();
    for place in [file.to_str().unwrap(), "/etc/passwd", "/tmp", "/dev/null"] {
        let (by_flag, status) = refused(&["ps", "--home", place]);
        assert_ne!(status, 0, "{by_flag}");
        assert!(by_flag.contains("name another directory with --home"), "{by_flag}");
        let output = sandbox(&["ps"]).env("SANDBOX_HOME", place).output().unwrap();
        let by_variable = text(&output.stderr);
        assert!(by_variable.contains("export SANDBOX_HOME="), "{by_variable}");
        for shown in [&by_flag, &by_variable.to_string()] {
            assert!(!shown.contains(" rm ") && !shown.contains("chmod"), "{shown}");
            assert!(!shown.lines().any(|line| line.ends_with("1.")), "{shown}");
        }
    }
}

#[test]
fn the_dashes_are_put_where_the_command_begins() {
    for (words, line) in [
        (&["pid", "pid"][..], "sandbox pid -- pid"),
        (&["run", "-q", "in2.yaml", "in2.yaml"], "sandbox run -q in2.yaml -- in2.yaml"),
        (&["memory", "--limit", "64m", "64m"], "sandbox memory --limit 64m -- 64m"),
        (&["run", "--without", "pid", "b.yaml", "pid"], "sandbox run --without pid b.yaml -- pid"),
        (
            &["run", "--name", "sh", "./in2.yaml", "sh", "-c", "echo x"],
            "sandbox run --name sh ./in2.yaml -- sh -c 'echo x'",
        ),
        (&["run", "-e", "ls", "in2.yaml", "ls"], "sandbox run -e ls in2.yaml -- ls"),
        (&["mnt", "--tmpfs", "/mnt", "/mnt"], "sandbox mnt --tmpfs /mnt -- /mnt"),
        (&["uts", "--hostname", "echo", "echo", "hi"], "sandbox uts --hostname echo -- echo hi"),
    ] {
        let (shown, status) = refused(words);
        assert!(shown.ends_with(line) && status == 2, "{words:?}: {shown}");
    }
}

#[test]
fn a_flag_that_would_have_no_effect_is_refused() {
    for (words, named) in [
        (&["cpu", "--svg", "x.svg", "--", "true"][..], "--svg"),
        (&["cpu", "--svg", "x.svg", "--dry-run"], "--svg"),
        (&["memory", "--plain", "--", "true"], "--plain"),
        (&["pid", "--no-pause", "--", "true"], "--no-pause"),
        (&["pid", "--demo", "orphan", "--", "echo", "ran"], "--demo"),
        (&["pid", "--break", "list", "--", "echo", "ran"], "--break"),
        (&["run", "--break", "proc-sys", "b.yaml"], "--break"),
    ] {
        let output = sandbox(words).output().unwrap();
        let shown = text(&output.stderr);
        assert!(shown.contains(named) && output.status.code() == Some(2), "{words:?}: {shown}");
        assert!(output.stdout.is_empty(), "{words:?}");
    }
    let (shown, _) = refused(&["cpu", "--svg", "/nope/x.svg"]);
    assert!(shown.contains("cannot write /nope/x.svg") && shown.contains("ENOENT"), "{shown}");
    assert!(sandbox(&["cpu", "--svg", "/nope/x.svg"]).output().unwrap().stdout.is_empty());
}

#[test]
fn a_directory_of_each_process_is_no_working_directory() {
    for directory in ["/proc/self", "/proc/self/cwd", "/proc/thread-self", "/dev/fd", "/proc/self/fd/3"] {
        let spec = format!("rootfs: host\npid:\nworkdir: {directory}\ncommand: [pwd]\n");
        let output = feed(&mut sandbox(&["run", "-q", "-"]), &spec);
        let shown = text(&output.stderr);
        assert!(shown.contains(&format!("workdir {directory}")), "{shown}");
        assert!(shown.contains("another directory for each process"), "{shown}");
    }
}

#[test]
fn an_id_map_that_the_kernel_refuses_has_its_reason() {
    let many: Vec<String> = (0..341).map(|at| format!("\"{}:{}:1\"", at * 2, at * 2 + 1000)).collect();
    for (map, reason) in [
        (many.join(", "), "at most 340"),
        ("{inside: 0, outside: 1000, count: 0}".to_owned(), "count is 0"),
        ("\"0:1000:1\", {inside: 5, outside: 5, count: 0}".to_owned(), "count is 0"),
    ] {
        let spec = format!("user: {{map: [{map}]}}\ncommand: ['true']\n");
        let output = feed(&mut sandbox(&["run", "-q", "-"]), &spec);
        let shown = text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(shown.contains(reason), "{reason}: {shown}");
    }
}

#[test]
fn a_missing_capability_to_map_root_is_named() {
    let test = "a_missing_capability_to_map_root_is_named";
    if !is_root() {
        return skip(test, "machine: only root maps the ID 0 of its own user namespace");
    }
    let program = support::binary();
    let output = std::process::Command::new("setpriv")
        .args(["--bounding-set=-setfcap", "--inh-caps=-setfcap"])
        .arg(program)
        .args(["user", "-q", "--", "true"])
        .output()
        .unwrap();
    assert!(text(&output.stderr).contains("CAP_SETFCAP"), "{}", text(&output.stderr));
}

#[test]
fn flags_leave_no_mount_point_on_the_host() {
    let directory = tempfile::tempdir().unwrap();
    let bound = directory.path().to_str().unwrap();
    let volume = format!("{bound}:/srv/b");
    for more in [
        &["-v", "/etc/hostname:/srv/b/hn"][..],
        &["--tmpfs", "/srv/b/tt/uu"],
        &["--mount", "type=tmpfs,target=/srv/b/x"],
        &["-w", "/srv/b/made"],
    ] {
        let words = [&["run", "-q", "-v", &volume], more, &["-", "--", "true"]].concat();
        let output = feed(&mut sandbox(&words), "rootfs: host\npid:\n");
        assert!(!output.status.success(), "{more:?}");
        let left: Vec<_> = fs::read_dir(directory.path()).unwrap().collect();
        assert!(left.is_empty(), "{more:?}: {left:?} {}", text(&output.stderr));
    }
    // One that exists is used.
    fs::create_dir(directory.path().join("t")).unwrap();
    let words = ["run", "-q", "-v", &volume, "--tmpfs", "/srv/b/t", "-", "--", "true"];
    let output = feed(&mut sandbox(&words), "rootfs: host\npid:\n");
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn rules_that_deny_our_own_mknod_do_not_stop_the_start() {
    let _alone = alone();
    for rule in ["a", "c *:* rwm", "c *:* m"] {
        let spec = format!("rootfs: host\npid:\noptional: [devices]\ndevices: {{ deny: [{rule:?}] }}\n");
        let output = feed(&mut sandbox(&["run", "-q", "-", "--", "test", "-c", "/dev/null"]), &spec);
        assert!(output.status.success(), "{rule}: {}", text(&output.stderr));
    }
}

#[test]
fn a_wrong_value_of_a_spec_has_its_reason() {
    for (spec, reason) in [
        ("pids: {max: \"64\"}\n", "found the string \"64\""),
        ("pids: {max: 0100}\n", "begins with 0"),
        ("memory: &m {limit: 64m}\npids:\n  <<: *m\n", "merge keys are not read"),
        ("pids: {max: 1_000}\n", "digits only"),
        ("rootfs: host\nmnt: {mounts: [{type: tmpfs, target: \"/mnt/a\\0b\"}]}\n", "NUL byte"),
        ("{\"version\": 1, \"environment\": {}, \"process\": {}}\n", "this is a config"),
        ("command: [\"\\q\"]\n", "unknown escape `\\q`"),
    ] {
        let output = feed(&mut sandbox(&["spec", "check", "-"]), spec);
        let shown = text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(shown.contains(reason) && shown.contains("one mistake"), "{spec}: {shown}");
    }
    for words in [&["run", "--break", ""][..], &["pid", "--demo", ""], &["pid", "--break", ""]] {
        let (shown, _) = refused(words);
        assert!(shown.contains("\"\""), "{words:?}: {shown}");
    }
}
