//! What one process may use, and what a command may be: a value that the kernel accepts works as prlimit(1), env(1) and
//! hostname(1) would set it. For any other, the error names it.
//!
//! Of this kind: `nofile` 0, 1, 3, 4, 5, with another hard limit · `nproc`, `as`, `stack`, `data`, `fsize`, `cpu`, `memlock`
//! of 0 or little · with an init, a filter, a root · a limit above the hard one, for a user · the caller's own `ulimit -n`
//! · an argument or a variable of 200 KB, many of them · `null` and `~` as a variable or an argument; numbers, booleans
//! · hostnames that are empty, too long, with a line break, NUL, ESC, `/`, blanks, or not ASCII.

mod support;

use std::process::{Command, Output};

use support::{alone, binary, feed, is_root, sandbox, text};

fn run(spec: &str, command: &[&str]) -> Output {
    feed(&mut sandbox(&[&["run", "-", "-q", "--"], command].concat()), spec)
}

/// Status, standard output and standard error.
fn result(output: &Output) -> (Option<i32>, String, String) {
    let words = text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    (output.status.code(), text(&output.stdout), words)
}

/// What prlimit(1) and the same command give.
fn prlimit(limits: &[&str], command: &[&str]) -> (Option<i32>, String) {
    use std::os::unix::process::ExitStatusExt;
    let output = Command::new("prlimit").args(limits).args(command).output().unwrap();
    let status = output.status.code().or(output.status.signal().map(|signal| 128 + signal));
    (status, text(&output.stdout))
}

const WHOLE: &str =
    "rootfs: host\npid: { init: true }\ncapabilities: default\nseccomp: default\nno_new_privileges: true\n";

#[test]
fn a_low_limit_works_as_prlimit_sets_it() {
    let _alone = alone();
    for (limit, option) in [
        ("nofile: 0", "--nofile=0"),
        ("nofile: 1", "--nofile=1"),
        ("nofile: 3", "--nofile=3"),
        ("nofile: 4", "--nofile=4"),
        ("nofile: 5", "--nofile=5"),
        ("nofile: '4:10'", "--nofile=4:10"),
        ("nofile: '4:100'", "--nofile=4:100"),
        ("fsize: 0", "--fsize=0"),
        ("memlock: 0", "--memlock=0"),
        ("core: 0", "--core=0"),
        ("stack: 1000000", "--stack=1000000"),
        ("as: 1000000000", "--as=1000000000"),
        ("as: 1000", "--as=1000"),
        ("cpu: 1", "--cpu=1"),
        ("data: 0", "--data=0"),
        ("stack: 0", "--stack=0"),
        ("as: 0", "--as=0"),
        ("sigpending: 0", "--sigpending=0"),
        ("msgqueue: 0", "--msgqueue=0"),
    ] {
        let command =
            ["sh", "-c", "ulimit -Sn; ulimit -Hn; ulimit -f; ulimit -l; ulimit -s; ulimit -v; ulimit -t"];
        let (status, shown) = prlimit(&[option], &command);
        for frame in ["uts:\n", WHOLE] {
            let output = run(&format!("{frame}rlimits: {{ {limit} }}\n"), &command);
            let (own, out, error) = result(&output);
            assert_eq!((own, &out), (status, &shown), "{frame}{limit}\n{error}");
        }
    }
}

#[test]
fn a_limit_on_processes_does_not_stop_the_start() {
    let _alone = alone();
    for limit in ["nproc: 0", "nproc: 1", "nproc: '1:100'"] {
        for frame in ["uts:\n", WHOLE] {
            let (status, out, error) =
                result(&run(&format!("{frame}rlimits: {{ {limit} }}\n"), &["sh", "-c", "echo hi"]));
            assert_eq!((status, out.as_str()), (Some(0), "hi\n"), "{frame}{limit}\n{error}");
        }
    }
    if !is_root() {
        // The limit counts: the shell cannot fork. For root it does not count. getrlimit(2)
        let (status, _, error) = result(&run("uts:\nrlimits: { nproc: 1 }\n", &["sh", "-c", "ls; true"]));
        assert!(status != Some(0) && error.contains("ork"), "{status:?} {error}");
        let (status, _, error) = result(&run("uts:\nrlimits: { nofile: unlimited }\n", &["true"]));
        assert!(status == Some(125) && error.contains("CAP_SYS_RESOURCE"), "{error}");
    }
}

#[test]
fn a_number_of_operations_that_the_kernel_would_cut_off_is_refused() {
    let _alone = alone();
    for flag in ["--read-iops", "--write-iops"] {
        for number in ["4294967296", "5000000000", "18446744073709551615"] {
            let limit = format!("/={number}");
            let output = sandbox(&["blkio", "-q", flag, &limit, "--", "true"]).output().unwrap();
            let (status, _, error) = result(&output);
            assert_eq!(status, Some(125), "{limit}: {error}");
            assert!(error.contains("32 bits") || !is_root() || error.contains("no disk"), "{limit}: {error}");
        }
    }
}

#[test]
fn a_running_container_is_verified_with_its_low_limit() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("low.yaml");
    std::fs::write(&file, "name: low\nuts:\nrlimits: { nofile: 5 }\ncommand: [sleep, 60]\n").unwrap();
    let file = file.to_str().unwrap();
    let mut child = sandbox(&["run", "-q", file]).spawn().unwrap();
    support::child_named(child.id(), "sleep");
    let verified = sandbox(&["verify", "low", file]).output().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(verified.status.success(), "{}{}", text(&verified.stdout), text(&verified.stderr));
}

#[test]
fn the_callers_own_limit_is_named_if_it_is_too_low() {
    let _alone = alone();
    let mut refused = 0;
    for limit in [7, 9, 11, 14, 17, 20, 24] {
        let script = format!("ulimit -n {limit}; exec {} run - -q -- echo hi", binary().to_str().unwrap());
        let output = feed(Command::new("sh").args(["-c", &script]), WHOLE);
        let (status, out, error) = result(&output);
        if status == Some(0) {
            assert_eq!(out, "hi\n");
        } else {
            refused += 1;
            assert_eq!(status, Some(125), "{limit}: {error}");
            assert!(
                error.contains("Too many open files") || error.contains("os error 24"),
                "{limit}: {error}"
            );
        }
    }
    assert!(refused > 0);
    // The cause and the way out.
    let script = format!("ulimit -n 9; exec {} run - -q -- echo hi", binary().to_str().unwrap());
    let (_, _, error) = result(&feed(Command::new("sh").args(["-c", &script]), WHOLE));
    assert!(error.contains("ulimit -n 1024") || error.contains("os error 24"), "{error}");
}

#[test]
fn a_string_that_is_too_long_for_execve_is_named() {
    let _alone = alone();
    let long = "a".repeat(200_000);
    let cases = [
        (format!("uts:\ncommand: [echo, x, {long}]\n"), "Argument 2 has 200000 bytes"),
        (format!("uts:\nenv: {{ BIG: {long} }}\ncommand: [true]\n"), "The variable BIG has 200004 bytes"),
        (
            format!("rootfs: host\nenv: {{ BIG: {long} }}\ncommand: [true]\n"),
            "The variable BIG has 200004 bytes",
        ),
    ];
    for (spec, expected) in cases {
        let output = feed(&mut sandbox(&["run", "-", "-q"]), &spec);
        let (status, _, error) = result(&output);
        assert_eq!(status, Some(126), "{error}");
        assert!(error.contains(expected) && error.contains("E2BIG"), "{error}");
        assert!(error.len() < 2000, "{} bytes", error.len());
    }
    // All together are too long where the stack is small.
    let many = vec!["a".repeat(60_000); 4].join(", ");
    let spec = format!("uts:\nrlimits: {{ stack: 524288 }}\ncommand: [echo, {many}]\n");
    let (status, _, error) = result(&feed(&mut sandbox(&["run", "-", "-q"]), &spec));
    assert_eq!(status, Some(126), "{error}");
    assert!(error.contains("together"), "{error}");
}

#[test]
fn nothing_is_no_string() {
    let _alone = alone();
    for spec in [
        "uts:\nenv: { B: null }\n",
        "uts:\nenv: { B: ~ }\n",
        "uts:\nenv: { B: }\n",
        "uts:\nenv: { B: Null }\n",
        "uts:\ncommand: [echo, null]\n",
        "uts:\ncommand: [~]\n",
    ] {
        let (status, _, error) = result(&run(spec, &["env"]));
        assert_eq!(status, Some(125), "{spec}{error}");
        assert!(error.contains("found nothing"), "{spec}{error}");
    }
    for (value, shown) in [
        ("''", ""),
        ("'null'", "null"),
        ("'~'", "~"),
        ("1", "1"),
        ("1.50", "1.50"),
        ("true", "true"),
        ("010", "010"),
        ("0x10", "0x10"),
        ("2024-01-01", "2024-01-01"),
    ] {
        let (status, out, error) =
            result(&run(&format!("uts:\nenv: {{ B: {value} }}\n"), &["sh", "-c", "echo \"$B\""]));
        assert_eq!((status, out), (Some(0), format!("{shown}\n")), "{value}: {error}");
    }
    for wrong in ["{ '': x }", "{ 'A=B': x }", "{ A: [1] }", "[A=1]", "{ \"A\\0\": x }", "{ A: \"x\\0\" }"] {
        let (status, _, error) = result(&run(&format!("uts:\nenv: {wrong}\n"), &["true"]));
        assert_eq!(status, Some(125), "{wrong}: {error}");
    }
}

#[test]
fn a_hostname_is_set_as_it_is_or_refused() {
    let _alone = alone();
    let long = "x".repeat(65);
    for (name, cause) in [
        ("a\nb", "control characters"),
        ("\u{1b}[2J", "control characters"),
        ("tab\t", "control characters"),
        ("", "must not be empty"),
        (&long, "64 bytes"),
    ] {
        for flag in ["--hostname", "--domainname"] {
            let output = sandbox(&["uts", "-q", flag, name, "--", "true"]).output().unwrap();
            let (status, _, error) = result(&output);
            assert_eq!(status, Some(125), "{name:?}: {error}");
            assert!(error.contains(cause), "{name:?}: {error}");
        }
        let quoted = serde_json::to_string(name).unwrap();
        let (status, _, error) = result(&run(&format!("uts: {{ hostname: {quoted} }}\n"), &["true"]));
        assert_eq!(status, Some(125), "{name:?}: {error}");
        assert!(error.contains(cause), "{name:?}: {error}");
    }
    let (status, _, error) = result(&run("uts: { hostname: \"a\\0b\" }\n", &["true"]));
    assert!(status == Some(125) && error.contains("control characters"), "{error}");
    for name in ["a/b", "é", "a b", "a;touch PWN", "UPPER", "5", &"y".repeat(64)] {
        let output = sandbox(&["uts", "-q", "--hostname", name, "--", "cat", "/proc/sys/kernel/hostname"]);
        let (status, out, error) = result(&{ output }.output().unwrap());
        assert_eq!((status, out), (Some(0), format!("{name}\n")), "{error}");
    }
}

#[test]
fn a_command_that_cannot_be_executed_is_refused_with_the_reason() {
    let _alone = alone();
    for (command, status) in
        [("", 127), ("/tmp", 126), ("/etc/passwd", 126), ("/no/such", 127), ("no-such-command", 127)]
    {
        let (own, _, error) = result(&run("uts:\n", &[command]));
        assert_eq!(own, Some(status), "{command:?}: {error}");
        assert!(error.contains("why"), "{command:?}: {error}");
    }
}

/// A shell with a low limit that executes `sandbox`: its status, and all that it prints.
#[cfg(feature = "images")]
fn limited(home: &support::kept::KeptHome, limit: &str, words: &[&str]) -> (Option<i32>, String) {
    let script = format!("ulimit {limit}; exec {} \"$@\"", binary().to_str().unwrap());
    let words = [&["-c", &script, "sh"], words].concat();
    let mut command = Command::new("sh");
    command.args(words).current_dir("/").env("SANDBOX_HOME", home.path()).env("NO_COLOR", "1");
    let (status, out, error) = result(&command.stdin(std::process::Stdio::null()).output().unwrap());
    (status, out + &error)
}

/// The kernel ends a process that writes beyond RLIMIT_FSIZE, unless it ignores SIGXFSZ. The command does not ignore it.
#[cfg(feature = "images")]
#[test]
fn a_limit_on_the_size_of_files_is_named() {
    let _alone = alone();
    let home = support::kept::KeptHome::new();
    home.out(&["image", "from-host", "tool", "sh", "sleep", "grep", "true"]);
    let archive = home.around().join("image.tar");
    for words in [
        &["pid", "-q", "--", "true"][..],
        &["run", "--rm", "--network", "none", "tool", "true"],
        &["run", "-d", "--network", "none", "tool", "sleep", "60"],
        &["create", "--network", "none", "tool", "true"],
        &["tag", "tool", "other"],
        &["volume", "create", "data"],
        &["save", "-o", archive.to_str().unwrap(), "tool"],
        &["image", "from-host", "more", "true"],
        &["ledger", "start"],
    ] {
        let (status, told) = limited(&home, "-f 0", words);
        // One feature alone needs no file: there is only a warning.
        let of_feature = (words[0] == "pid").then_some(0);
        assert!([Some(1), Some(125), of_feature].contains(&status), "{words:?} {status:?} {told}");
        assert!(told.contains("EFBIG") || told.contains("RLIMIT_FSIZE"), "{words:?} {told}");
    }
    assert_eq!(home.out(&["ps", "-aq"]), "");
    let ignored =
        home.out(&["run", "--rm", "--network", "none", "tool", "grep", "SigIgn", "/proc/self/status"]);
    assert_eq!(ignored, "SigIgn:\t0000000000000000");
}

/// With few descriptors, what cannot be read is not called missing, empty or damaged.
#[cfg(feature = "images")]
#[test]
fn too_few_descriptors_are_the_cause_that_is_named() {
    let _alone = alone();
    let home = support::kept::KeptHome::new();
    home.out(&["image", "from-host", "tool", "true"]);
    home.out(&["create", "--network", "none", "--name", "made", "tool", "true"]);
    let mut refused = 0;
    for limit in 5..22 {
        for words in [
            &["run", "--rm", "--network", "none", "tool", "true"][..],
            &["ps", "-a"],
            &["start", "-a", "made"],
            &["images"],
        ] {
            let (status, told) = limited(&home, &format!("-n {limit}"), words);
            for wrong in ["Unable to find", "no layers", "rm -f", "rm -r", "No such"] {
                assert!(!told.contains(wrong), "{limit} {words:?} {status:?} {told}");
            }
            if status != Some(0) {
                refused += 1;
                let names = ["EMFILE", "os error 24", "open too few files", "Too many open files"];
                assert!(names.iter().any(|name| told.contains(name)), "{limit} {words:?} {status:?} {told}");
            }
        }
    }
    assert!(refused > 10, "{refused}");
    home.out(&["start", "-a", "made"]);
    assert_eq!(home.status("made"), "exited");
}
