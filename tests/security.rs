//! What hardens a container: what the kernel shows, and attacks that succeed without the protection.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use support::terminal::Terminal;
use support::{binary, child_named, feed, is_root, sandbox, skip, text};

/// Docker's fourteen default capabilities, in the format of /proc/PID/status.
const DOCKERS: &str = "00000000a80425fb";
const NONE: &str = "0000000000000000";

/// Runs a command from a spec. `before` precedes `sandbox`: for example setpriv(1), to run it as another user.
fn run_after(before: &[&str], spec: &str, command: &[&str]) -> Output {
    let program = binary();
    let words = [before, &[program.to_str().unwrap(), "run", "-", "-q", "--"], command].concat();
    feed(Command::new(words[0]).args(&words[1..]).current_dir("/").env("LC_ALL", "C"), spec)
}

fn run(spec: &str, command: &[&str]) -> Output {
    run_after(&[], spec, command)
}

/// What a shell in the container prints, with its errors.
fn shell(spec: &str, script: &str) -> String {
    let output = run(spec, &["sh", "-c", &format!("exec 2>&1; {script}; exit 0")]);
    assert_eq!(output.status.code(), Some(0), "{spec}: {}", text(&output.stderr));
    text(&output.stdout).trim_end().to_owned()
}

/// A field of the status file that a command in the container prints. Runs of blanks become one blank.
fn field(output: &Output, name: &str) -> String {
    let shown = text(&output.stdout);
    let words = shown.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let words = words.unwrap_or_else(|| panic!("no {name}: {shown}{}", text(&output.stderr)));
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

const STATUS: [&str; 2] = ["cat", "/proc/self/status"];

#[test]
fn the_sets_are_those_that_are_kept() {
    for (keep, set) in
        [("default", DOCKERS), ("{ keep: [] }", NONE), ("{ keep: [KILL] }", "0000000000000020")]
    {
        let output = run(&format!("capabilities: {keep}\n"), &STATUS);
        for (name, wanted) in
            [("CapInh", NONE), ("CapPrm", set), ("CapEff", set), ("CapBnd", set), ("CapAmb", NONE)]
        {
            assert_eq!(field(&output, name), wanted, "{keep} {name}");
        }
    }
    // Without the key, the command has all capabilities, or all of its user namespace.
    let output = run("user: { map: root }\n", &STATUS);
    assert!(field(&output, "CapEff").as_str() > DOCKERS, "{}", text(&output.stdout));
}

#[test]
fn what_the_caller_could_pass_on_is_emptied() {
    let test = "what_the_caller_could_pass_on_is_emptied";
    if !is_root() {
        return skip(test, "machine: only root has capabilities to pass on");
    }
    let heir = ["setpriv", "--inh-caps", "+net_raw", "--ambient-caps", "+net_raw"];
    let (with, without) = ("0000000000002000", NONE);
    for (spec, inheritable) in [("uts:\n", with), ("uts:\ncapabilities: default\n", without)] {
        let output = run_after(&heir, spec, &STATUS);
        assert_eq!(field(&output, "CapInh"), inheritable, "{spec}");
        assert_eq!(field(&output, "CapAmb"), inheritable, "{spec}");
    }
}

#[test]
fn the_caller_s_other_groups_are_given_up_or_that_is_said() {
    let test = "the_caller_s_other_groups_are_given_up_or_that_is_said";
    if !is_root() {
        return skip(test, "machine: only root takes groups; the run as root holds it");
    }
    let member = ["setpriv", "--groups", "27,44"];
    let groups = |spec: &str| field(&run_after(&member, spec, &STATUS), "Groups");
    assert_eq!(groups("uts:\n"), "27 44");
    for spec in ["capabilities: default\n", "run_as: 1000\n", "user: { map: auto }\ncapabilities: default\n"]
    {
        assert_eq!(groups(spec), "", "{spec}");
    }
    // A user who maps only their own ID cannot drop supplementary groups. The groups have no ID in the namespace,
    // they remain, and the user gets a message.
    let single = "user: { map: root }\ncapabilities: default\n";
    assert_eq!(groups(single), "65534 65534");
    let program = binary();
    let words = [&member[..], &[program.to_str().unwrap(), "run", "-", "--", "true"]].concat();
    let told = text(&feed(Command::new(words[0]).args(&words[1..]), single).stderr);
    assert!(told.contains("your supplementary groups stay"), "{told}");
    let told = text(&feed(Command::new(&program).args(["run", "-", "--", "true"]), single).stderr);
    assert!(!told.contains("groups"), "{told}");
}

#[test]
fn root_without_the_capability_is_refused() {
    let chroot = "chroot / echo done";
    assert_eq!(shell("capabilities: default\n", chroot), "done");
    assert!(shell("capabilities: { keep: [chown] }\n", chroot).contains("Operation not permitted"));
    // After execve(2), a program has no capability outside the bounding set. It cannot get one back.
    let again = "setpriv --bounding-set +all --inh-caps +all true || chroot / echo done";
    assert!(!shell("capabilities: { keep: [chown, setpcap] }\n", again).contains("done"));
    if is_root() {
        let directory = tempfile::tempdir().unwrap();
        let node = directory.path().join("node");
        let mknod = format!("mknod {} c 1 3 && echo done", node.display());
        assert!(
            shell("capabilities: { keep: [dac_override] }\n", &mknod).contains("Operation not permitted")
        );
        assert_eq!(shell("capabilities: { keep: [dac_override, mknod] }\n", &mknod), "done");
    }
}

#[test]
fn what_cannot_be_kept_fails_the_run() {
    let words = fs::read_to_string("/proc/self/status").unwrap();
    let permitted = words.lines().find_map(|line| line.strip_prefix("CapPrm:")).unwrap();
    let permitted = u64::from_str_radix(permitted.trim(), 16).unwrap();
    let Some(lacking) = caps::all().into_iter().find(|one| is_root() && permitted & one.bitmask() == 0)
    else {
        let test = "what_cannot_be_kept_fails_the_run";
        return skip(test, "machine: its caller has every capability, here or in a user namespace");
    };
    let output = run(&format!("capabilities: {{ keep: [{lacking}] }}\n"), &["true"]);
    assert_eq!(output.status.code(), Some(125));
    let error = text(&output.stderr);
    assert!(error.contains("capset(") && error.contains(&format!("{lacking} is missing")), "{error}");
}

/// Another process writes the program. If this process had the file open for writing, a child that another test
/// starts at that moment would inherit the descriptor. A file that is open for writing cannot be executed (ETXTBSY).
fn install(mode: &str, from: &Path, to: &Path) {
    let status = Command::new("install").args(["-m", mode]).args([from, to]).status();
    assert!(status.unwrap().success());
}

#[test]
fn a_set_user_id_program_gains_nothing() {
    if !is_root() {
        return skip("a_set_user_id_program_gains_nothing", "machine: only root makes a program of root's");
    }
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = directory.path().join("id");
    install("4755", Path::new("/usr/bin/id"), &program);
    let id = format!("{} -u", program.display());
    assert_eq!(shell("run_as: 1000\n", &id), "0");
    assert_eq!(shell("run_as: 1000\nno_new_privileges: true\n", &id), "1000");
    // The seccomp filter alone does not change set-user-ID programs.
    assert_eq!(shell("run_as: 1000\nseccomp: default\ncapabilities: default\n", &id), "0");
}

/// The errno that perl(1) gets from a system call, 0 if it succeeds. After a clone, only the parent prints it.
fn errno(spec: &str, call: &str) -> i32 {
    let clone = libc::SYS_clone;
    let script = format!(
        "my ($number, @arguments) = ({call}); my $result = syscall($number, @arguments); \
         exit if $result == 0 && $number == {clone}; print $result < 0 ? $! + 0 : 0"
    );
    let output = run(spec, &["perl", "-e", &script]);
    let shown = text(&output.stdout);
    shown.parse().unwrap_or_else(|_| panic!("{spec} {call}: {shown:?} {}", text(&output.stderr)))
}

#[test]
fn what_the_filter_refuses_works_without_it() {
    let new_user = libc::CLONE_NEWUSER;
    let new_user_child = new_user | libc::SIGCHLD;
    let attacks = [
        (format!("{}, {new_user}", libc::SYS_unshare), libc::EPERM, 0),
        (format!("{}, {new_user_child}, 0, 0, 0, 0", libc::SYS_clone), libc::EPERM, 0),
        (format!("{}, q(none), q(/mnt), q(tmpfs), 0, 0", libc::SYS_mount), libc::EPERM, 0),
        (format!("{}, 0x40000", libc::SYS_personality), libc::EPERM, 0),
        // KEYCTL_GET_KEYRING_ID of the session keyring; UFFD_USER_MODE_ONLY.
        (format!("{}, 0, -3, 1", libc::SYS_keyctl), libc::EPERM, 0),
        (format!("{}, 1", libc::SYS_userfaultfd), libc::EPERM, 0),
        // Without its struct, clone3 returns EINVAL. An unknown system call is ENOSYS with and without the filter.
        (format!("{}, 0, 0", libc::SYS_clone3), libc::ENOSYS, libc::EINVAL),
        ("4000".into(), libc::ENOSYS, libc::ENOSYS),
    ];
    let base = "mnt:\nuser: { map: root }\n";
    for (call, refused, otherwise) in attacks {
        assert_eq!(errno(&format!("{base}seccomp: none\n"), &call), otherwise, "{call}");
        for more in ["", "no_new_privileges: true\n", "capabilities: default\n"] {
            assert_eq!(errno(&format!("{base}seccomp: default\n{more}"), &call), refused, "{call} {more}");
        }
    }
    let output = run("seccomp: default\nno_new_privileges: true\n", &STATUS);
    assert_eq!((field(&output, "Seccomp"), field(&output, "NoNewPrivs")), ("2".into(), "1".into()));
}

#[test]
#[cfg(target_arch = "x86_64")]
fn calls_of_x32_do_not_exist() {
    // x32: getpid and ptrace.
    for number in [39, 521] {
        assert_eq!(errno("seccomp: default\n", &(0x4000_0000_u64 | number).to_string()), libc::ENOSYS);
    }
}

#[test]
fn nobody_types_into_the_shell_outside() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("spec.yaml");
    // A successful TIOCSTI would put an `x` in the terminal's input queue. The test also sets a high bit, which the
    // kernel ignores.
    let script = format!(
        "my $key = q(x); for my $high (0, 1 << 32) {{ print 'typed ', (syscall({}, 0, {} + $high, $key) < 0 ? $! + 0 : 0), qq(\\n) }}",
        libc::SYS_ioctl,
        libc::TIOCSTI
    );
    let attack = |spec: &str| {
        fs::write(&file, spec).unwrap();
        let command = ["run", file.to_str().unwrap(), "-q", "--", "perl", "-e", &script];
        let (_, seen) = Terminal::start(&command).end();
        let typed = seen.lines().filter_map(|line| line.rsplit_once("typed ")?.1.trim().parse().ok());
        typed.collect::<Vec<i32>>()
    };
    if attack("uts:\n") != [0, 0] {
        return skip("nobody_types_into_the_shell_outside", "machine: dev.tty.legacy_tiocsti is 0");
    }
    assert_eq!(attack("uts:\nseccomp: default\n"), [libc::EPERM, libc::EPERM]);
}

#[test]
fn limits_are_set_and_met() {
    let spec = "rlimits: { nofile: '16:32', core: 0 }\n";
    let limits = shell(spec, "cat /proc/self/limits");
    let line = |name: &str| {
        let line = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("Max open files"), "16 32");
    assert_eq!(line("Max core file size"), "0 0");
    let open = "perl -e 'while (open my $file, q(<), q(/dev/null)) { push @files, $file } print $!'";
    assert_eq!(shell(spec, open), "Too many open files");
    // A process may raise its soft limit up to the hard limit. Root in a new user namespace may not raise the hard
    // limit.
    assert_eq!(shell(spec, "ulimit -Sn 32; ulimit -Sn"), "32");
    let beyond = shell("user: { map: root }\nrlimits: { nofile: '16:32' }\n", "ulimit -Hn 64; ulimit -Hn");
    assert!(!beyond.lines().any(|line| line == "64"), "{beyond}");
}

#[test]
fn the_command_is_who_it_is_said_to_be() {
    let test = "the_command_is_who_it_is_said_to_be";
    if !is_root() {
        return skip(test, "machine: only root becomes others without a map");
    }
    let member = ["setpriv", "--groups", "4,24"];
    assert_eq!(field(&run_after(&member, "uts:\n", &STATUS), "Groups"), "4 24");
    for more in
        ["", "capabilities: default\nseccomp: default\n", "pid: { init: true }\nuser: { map: auto }\n"]
    {
        let output = run_after(&member, &format!("{more}run_as: 1000:100\n"), &STATUS);
        assert_eq!(field(&output, "Groups"), "", "{more}");
        assert_eq!(field(&output, "Uid"), "1000 1000 1000 1000", "{more}");
        assert_eq!(field(&output, "Gid"), "100 100 100 100", "{more}");
        for set in ["CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(field(&output, set), NONE, "{more} {set}");
        }
    }
    // An ordinary user cannot read root's files.
    assert_eq!(shell("uts:\n", "cat /etc/shadow >/dev/null && echo read"), "read");
    assert!(shell("run_as: 1000\n", "cat /etc/shadow").contains("Permission denied"));
}

#[test]
fn an_id_that_the_namespace_lacks_is_refused_before_anything_is_done() {
    let output = run("user: { map: root }\nrun_as: 1000\n", &["true"]);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(125));
    assert!(error.contains("run_as: user 1000") && error.contains("only these IDs: 0"), "{error}");
    for evil in ["01", "-1", "4294967295", "4294967296", "root", "'1 '", "'0x0'", "99999999999999"] {
        let output = run(&format!("run_as: {evil}\n"), &["id", "-u"]);
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(125), String::new()), "{evil}");
    }
    // If only one's own ID is mapped, groups cannot be dropped. The plan has no setgroups call.
    let dry = &mut sandbox(&["run", "-", "--dry-run", "--", "true"]);
    let plan = text(&feed(dry, "user: { map: root }\nrun_as: 0\n").stdout);
    assert!(plan.contains("setresgid(0") && !plan.contains("setgroups(0"), "{plan}");
    assert!(run("user: { map: root }\nrun_as: 0\n", &["true"]).status.success());
}

#[test]
fn the_leash_holds_whoever_the_command_is() {
    let whoever = if is_root() { "run_as: 1000\n" } else { "run_as: 0\n" };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("spec.yaml");
    fs::write(&file, whoever.to_owned() + "capabilities: default\nseccomp: default\n").unwrap();
    let mut host = Command::new(binary())
        .args(["run", file.to_str().unwrap(), "-q", "--", "sleep", "60"])
        .spawn()
        .unwrap();
    let sleep = format!("/proc/{}", child_named(host.id(), "sleep"));
    host.kill().unwrap();
    host.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while is_alive(Path::new(&sleep)) {
        assert!(Instant::now() < deadline, "{sleep} lives on");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A process that has ended stays in /proc as a zombie until its parent waits for it. Here there may be no such
/// parent.
fn is_alive(process: &Path) -> bool {
    let status = fs::read_to_string(process.join("status")).unwrap_or_default();
    status.contains("State:") && !status.contains("State:\tZ")
}
