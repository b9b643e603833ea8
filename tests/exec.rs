//! `sandbox exec`: a further process in a running container. tests/exec_fields.rs compares it with the container's own.
//!
//! Other inputs of the same kind as the ones here:
//! - descriptors 0 to 2: each a terminal, a pipe, a file that is appended to, /dev/null, closed; much data both ways.
//! - the container: ends before, while and after the command starts; has no PID namespace; is unknown, one of two.

mod support;

use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::process::Command;

use nix::sys::signal::Signal;
use support::background::Background;
use support::running::{Running, exec_in, shown};
use support::{alone, child_named, is_root, sandbox, state, text, wait_until};

/// A command that runs as long as this is not dropped.
struct Further(Background, u32);

impl Further {
    fn of(container: &Running, flags: &[&str]) -> Further {
        let words = [&["exec", "-q"], flags, &[&*container.name, "sleep", "60"]].concat();
        let sandbox = Background::quiet(&mut sandbox(&words));
        let pid = child_named(sandbox.id(), "sleep");
        Further(sandbox, pid)
    }
}

/// Without `rlimits` in the spec. The caller of `exec` has others than the one of `run` had, and another umask.
#[test]
fn it_has_the_limits_and_the_umask_of_the_container_s_process() {
    let _alone = alone();
    let container = Running::of("rootfs: host\npid:\n", "");
    let own = |line: &str| {
        let limits = fs::read_to_string(format!("/proc/{}/limits", container.pid)).unwrap();
        let line = limits.lines().find_map(|shown| shown.strip_prefix(line)).unwrap();
        line.split_whitespace().take(2).map(str::to_owned).collect::<Vec<_>>()
    };
    let files = own("Max open files");
    let program = support::binary();
    let script = format!(
        "umask 077; prlimit --nofile=99: {} exec -q {} sh -c 'ulimit -Sn; ulimit -Hn; umask'",
        program.display(),
        container.name
    );
    let output = Command::new("timeout").args(["20", "sh", "-c", &script]).output().unwrap();
    let shown = text(&output.stdout);
    let shown: Vec<&str> = shown.split_whitespace().collect();
    let umask = Command::new("sh").args(["-c", "umask"]).output().unwrap();
    assert_eq!(shown, [&*files[0], &*files[1], text(&umask.stdout).trim()], "{}", text(&output.stderr));
    // A hard limit that the caller may not raise again is the lower one, and the command starts.
    let script = format!(
        "prlimit --nofile=99:120 {} exec -q {} sh -c 'ulimit -Hn'",
        program.display(),
        container.name
    );
    let output = Command::new("timeout").args(["20", "sh", "-c", &script]).output().unwrap();
    let shown = text(&output.stdout);
    assert!([&*files[1], "120"].contains(&shown.trim()), "{shown} {}", text(&output.stderr));
}

#[test]
fn the_command_line_changes_what_it_names() {
    let _alone = alone();
    let users = "printf 'root:x:0:0::/root:/bin/sh\\nbob:x:1:2::/home/bob:/bin/sh\\n' > /etc/passwd; printf 'staff:x:3:\\ngames:x:60:bob\\nbig:x:5000:bob\\naudio:x:29:x,bob\\n' > /etc/group; ln -s /usr/lib /tmp/link";
    // An ordinary user's map of one ID gives nobody the right to these files.
    let setup = if is_root() { users } else { "ln -s /usr/lib /tmp/link" };
    let map = if is_root() { "user: { map: '0:100000:1000' }\n" } else { "" };
    let spec = format!(
        "rootfs: host\n{map}pid:\ncapabilities: default\nseccomp: default\nno_new_privileges: true\nenv: {{ KEPT: k, A: old }}\n"
    );
    let container = Running::of(&spec, setup);
    let file = container.directory.path().join("variables");
    fs::write(&file, "\u{feff}# a comment\n\n  B=2 = two\nSECRET\nNONE_SUCH\nA=file\r\n").unwrap();
    let file = file.to_str().unwrap();
    let mut command =
        sandbox(&["exec", "-q", "--env-file", file, "-e", "A=a=b", "--env=CALLER", &container.name, "env"]);
    let output = command.env("SECRET", "hush").env("CALLER", "c").env("OTHER", "o").output().unwrap();
    let printed = text(&output.stdout);
    for line in ["KEPT=k", "A=a=b", "B=2 = two", "SECRET=hush", "CALLER=c", "HOME=/root"] {
        assert!(printed.lines().any(|shown| shown == line), "{line} {printed}");
    }
    assert!(!printed.contains("OTHER") && !printed.contains("NONE"), "{printed}");
    // The directory, also by a link; every word after NAME belongs to the command.
    assert_eq!(shown(&container, &["-w", "/usr/lib"], &["pwd"]), "/usr/lib\n");
    assert_eq!(shown(&container, &["--workdir", "/tmp/link/.."], &["pwd"]), "/usr\n");
    assert_eq!(
        shown(&container, &[], &["printf", "%s|", "--help", "--", "-i", "-u", ""]),
        "--help|--|-i|-u||"
    );
    let bytes = std::ffi::OsString::from_vec(b"\xff\n$x".to_vec());
    let output = sandbox(&["exec", "-q", &container.name, "printf", "%s"]).arg(bytes).output().unwrap();
    assert_eq!(output.stdout, b"\xff\n$x");
    // Users by name and by number. A user of one ID has no others.
    let ids = "id -u; id -g; grep -E 'CapEff|Groups' /proc/self/status; echo $HOME";
    let words = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let user = |user: &str| words(shown(&container, &["-u", user], &["sh", "-c", ids]));
    assert!(
        user("root").starts_with("0 0 ") && user("0").contains("CapEff: 00000000a80425fb"),
        "{}",
        user("0")
    );
    if is_root() {
        // Of an account, by its name or its ID, also the groups that list the user, if they exist in the user namespace.
        for (name, uid, gid, groups, home) in [
            ("bob", 1, 2, " 29 60", "/home/bob"),
            ("bob:staff", 1, 3, "", "/home/bob"),
            ("1", 1, 2, " 29 60", "/home/bob"),
            ("7", 7, 0, "", "/"),
            ("7:staff", 7, 3, "", "/"),
            // A number with zeros before it is the same number.
            ("01", 1, 2, " 29 60", "/home/bob"),
            ("007:0003", 7, 3, "", "/"),
        ] {
            let wanted = format!("{uid} {gid} Groups:{groups} CapEff: 0000000000000000 {home}");
            assert_eq!(user(name), wanted, "{name}");
        }
        let privileged = shown(&container, &["--privileged"], &["grep", "CapEff", "/proc/self/status"]);
        assert!(privileged.contains("1ffffffffff"), "{privileged}");
    }
    for (flags, words) in [
        (&["-u", "alice"][..], "no matching entries in passwd file"),
        (&["-u", "0x1"], "expected an ID"),
        (&["-u", "-1"], "expected an ID"),
        (&["-u", "4294967295"], "expected an ID"),
        (&["-u", "0:no-such"], "no matching entries in group file"),
        (&["-u", "70000"], "70000"),
        (&["-w", "/no/such"], "/no/such"),
        (&["--env-file", "/no/such"], "cannot read"),
    ] {
        let output = exec_in(&container, flags, &["true"]);
        assert_eq!(output.status.code(), Some(125), "{flags:?}");
        assert!(text(&output.stderr).contains(words), "{flags:?} {}", text(&output.stderr));
    }
    for flags in [&["-e", "=x"][..], &["--print-spec"], &["--no-such"]] {
        assert_eq!(exec_in(&container, flags, &["true"]).status.code(), Some(125), "{flags:?}");
    }
}

#[test]
fn statuses_and_streams() {
    let _alone = alone();
    let container = Running::of(
        "rootfs: host\npid:\nseccomp: default\n",
        "echo text > /tmp/text; printf '\\177ELF' > /tmp/bad; chmod 755 /tmp/bad",
    );
    let status = |command: &[&str]| exec_in(&container, &[], command).status.code();
    assert_eq!(status(&["sh", "-c", "exit 7"]), Some(7));
    assert_eq!(status(&["sh", "-c", "kill -TERM $$"]), Some(143));
    assert_eq!(status(&["no-such-command"]), Some(127));
    assert_eq!(status(&["/tmp/text"]), Some(126));
    assert_eq!(status(&["/tmp/bad"]), Some(126));
    assert_eq!(status(&[""]), Some(127));
    let none = sandbox(&["exec", "no-such-container", "true"]).output().unwrap();
    assert_eq!(none.status.code(), Some(1));
    assert!(text(&none.stderr).contains("No such container: no-such-container"), "{}", text(&none.stderr));
    // A process that is no container of ours.
    let own = std::process::id().to_string();
    let other = sandbox(&["exec", &own, "true"]).output().unwrap();
    assert!(
        other.status.code() == Some(125) && text(&other.stderr).contains("enter"),
        "{}",
        text(&other.stderr)
    );
    // What `--explain` prints as the same has the same directory, and says what no command can do.
    let explained = exec_in(&container, &["--explain", "-w", "/usr/bin"], &["pwd"]);
    let explained = text(&explained.stdout) + &text(&explained.stderr);
    for part in ["--wdns=/usr/bin", "# without the seccomp filter", "docker exec", "--workdir /usr/bin"] {
        assert!(explained.contains(part), "{part}: {explained}");
    }
    // The line that is the same by hand does the same.
    let lines = explained.lines().skip_while(|line| !line.contains("nsenter --target"));
    let lines: Vec<&str> = lines.take_while(|line| line.starts_with("  ")).collect();
    let pasted = Command::new("sh").args(["-c", &lines.join("\n")]).output().unwrap();
    assert_eq!(text(&pasted.stdout), "/usr/bin\n", "{lines:?} {}", text(&pasted.stderr));
    assert!(explained.contains("# programs of the container"), "{explained}");
    // Output that cannot be written is named.
    let full =
        format!("{} exec -q {} cat /dev/zero > /dev/full", support::binary().display(), container.name);
    let output = Command::new("timeout").args(["20", "sh", "-c", &full]).output().unwrap();
    assert!(text(&output.stderr).contains("ENOSPC"), "{output:?}");
    assert_eq!(shown(&container, &[], &["cat"]), "");
    let by_pid = container.pid.to_string();
    assert_eq!(sandbox(&["exec", "-q", &by_pid, "true"]).status().unwrap().code(), Some(0));
    // Much data both ways; standard error apart; a file that is appended to.
    let program = support::binary();
    let much = format!(
        "head -c 3000000 /dev/zero | {} exec -qi {} sh -c 'cat; echo wrong >&2' | wc -c",
        program.display(),
        container.name
    );
    let output = Command::new("timeout").args(["20", "sh", "-c", &much]).output().unwrap();
    assert_eq!((text(&output.stdout), text(&output.stderr)), ("3000000\n".into(), "wrong\n".into()));
    let path = container.directory.path().join("log");
    fs::write(&path, "before\n").unwrap();
    let input = fs::File::open("/etc/passwd").unwrap();
    let log = fs::File::options().append(true).open(&path).unwrap();
    let mut command = sandbox(&["exec", "-qi", &container.name, "wc", "-l"]);
    assert!(command.stdin(input).stdout(log).status().unwrap().success());
    let lines = fs::read_to_string("/etc/passwd").unwrap().lines().count();
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("before\n{lines}\n"));
    // Nobody reads: the command gets SIGPIPE.
    let script = format!("{} exec -q {} yes | head -n 1", support::binary().display(), container.name);
    let output = Command::new("timeout").args(["20", "sh", "-c", &script]).output().unwrap();
    assert_eq!(text(&output.stdout), "y\n");
    // A signal to sandbox is one to the command.
    let further = Further::of(&container, &[]);
    further.0.signal(Signal::SIGTERM);
    wait_until("it has ended", || state(further.1) == '?');
    // The plan, the steps, the view.
    let plan = text(&sandbox(&["exec", "--dry-run", &container.name, "true"]).output().unwrap().stdout);
    for part in ["pidfd_open(", "setns(<pidfd", "openat(AT_FDCWD, \"/proc\", O_PATH", "seccomp(", "execve("] {
        assert!(plan.contains(part), "{part} {plan}");
    }
    let json = sandbox(&["exec", "--dry-run", "--format", "json", &container.name, "true"]).output().unwrap();
    assert!(
        serde_json::from_slice::<serde_json::Value>(&json.stdout).is_ok_and(|plan| plan["steps"].is_array())
    );
    let explained =
        sandbox(&["exec", "--explain", "--show-proc", &container.name, "echo", "ran"]).output().unwrap();
    let (out, steps) = (text(&explained.stdout), text(&explained.stderr));
    assert!(out == "ran\n" && steps.contains("setns(") && steps.contains("PROCESSES"), "{out}{steps}");
}
