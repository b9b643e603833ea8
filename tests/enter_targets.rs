//! `sandbox enter` takes over the user and the privileges that its target has now, not those that the spec says.
//!
//! Of this kind: a target that has dropped capabilities, or keeps some by the ambient set; that gave up no_new_privs; that
//! has another user than the spec (setpriv inside, a set-user-ID program, an effective user for a while); that dropped
//! privileges without execve(2).

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use support::running::{Running, privileges};
use support::{alone, binary, child_named, install, is_root, run, sandbox, skip, text};

/// A perl script that sets its permitted and effective capabilities to these bits, and becomes a process named sleep.
fn capset(permitted: u32, effective: u32) -> String {
    // SYS_capset, _LINUX_CAPABILITY_VERSION_3.
    let number = if cfg!(target_arch = "x86_64") { 126 } else { 91 };
    format!(
        "exec perl -e '$0 = \"sleep\"; $h = pack(\"Ll\", 0x20080522, 0); \
         $d = pack(\"L6\", {effective}, {permitted}, 0, 0, 0, 0); \
         syscall({number}, $h, $d) == 0 or die $!; sleep 60'"
    )
}

/// The user ID and the group ID that a process acts with.
fn effective(status: &str) -> Vec<String> {
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.split_whitespace().nth(1).unwrap_or_default().to_owned()
    };
    vec![of("Uid:"), of("Gid:")]
}

fn set(of: &BTreeMap<String, String>, name: &str) -> u64 {
    u64::from_str_radix(&of[name], 16).unwrap()
}

#[test]
fn the_command_has_what_the_target_has_now() {
    let _alone = alone();
    let directory = tempfile::tempdir_in("/var/tmp").unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let raised = directory.path().join("sleep");
    install("755", std::path::Path::new("/bin/sleep"), &raised);
    fs::set_permissions(&raised, fs::Permissions::from_mode(0o4755)).unwrap();
    let set_user_id = format!("exec {} 60", raised.display());
    let (few, none) = (capset(0b10_0001, 0b1), capset(0, 0));
    let plain = "uts:\n";
    // The spec, the script, and whether every set is the same. Otherwise the command has at most what the target has: execve
    // takes away what a process without root's ID has in no ambient set, and a target that has not called execve has more.
    let mut targets: Vec<(&str, &str, bool)> = vec![
        (plain, "exec setpriv --bounding-set -all,+kill,+chown sleep 60", true),
        (plain, "exec setpriv --bounding-set -all sleep 60", true),
        (plain, "exec setpriv --no-new-privs sleep 60", true),
        (plain, "exec setpriv --inh-caps +kill --bounding-set -chown sleep 60", true),
        ("pid: { init: true }\n", "exec setpriv --bounding-set -all,+kill sleep 60", true),
        (plain, &few, false),
        (plain, &none, false),
    ];
    if is_root() {
        let other = "setpriv --reuid 1234 --regid 4321 --clear-groups";
        let more = [
            format!("exec {other} sleep 60"),
            format!("exec {other} --inh-caps +kill --ambient-caps +kill sleep 60"),
            format!("exec {other} --inh-caps +kill --bounding-set -chown sleep 60"),
            set_user_id.clone(),
        ];
        for script in &more {
            targets.push((plain, script.clone().leak(), true));
        }
        // A user whose program has root's ID, and root that acts as a user for a while.
        targets.push(("uts:\nrun_as: '1234:4321'\n", &set_user_id, true));
        targets.push((plain, "exec perl -e '$0 = \"sleep\"; $> = 1234; sleep 60'", false));
    }
    for (spec, script, is_equal) in targets {
        let container = Running::of(spec, script);
        let status = fs::read_to_string(format!("/proc/{}/status", container.pid)).unwrap();
        let shown = container.enter(&[], &["cat", "/proc/self/status"]);
        let (wanted, given) = (privileges(&status), privileges(&shown));
        assert_eq!(given.len(), 6, "{spec}{script}: {shown}");
        if is_root() {
            assert_eq!(effective(&shown), effective(&status), "{spec}{script}");
        }
        if is_equal {
            assert_eq!(given, wanted, "{spec}{script}");
        }
        for name in ["CapInh", "CapPrm", "CapEff", "CapAmb", "CapBnd"] {
            let within = if name == "CapEff" { set(&wanted, "CapPrm") } else { set(&wanted, name) };
            assert_eq!(set(&given, name) & !within, 0, "{name} {spec}{script}: {given:?}, {wanted:?}");
        }
        assert!(given["NoNewPrivs"] >= wanted["NoNewPrivs"], "{spec}{script}");
    }
}

/// su(1) stays root and has a child of the other user. `enter` takes over the user of the process that it is given.
#[test]
fn a_container_that_runs_su_is_entered_as_root_or_as_the_user() {
    let _alone = alone();
    if !is_root() {
        return skip("a_container_that_runs_su", "machine: su takes root; root's run holds it");
    }
    let words = ["uts", "-q", "--", "su", "nobody", "-s", "/bin/sh", "-c", "exec sleep 60"];
    let mut sandbox = sandbox(&words).spawn().unwrap();
    let su = child_named(sandbox.id(), "su");
    let child = child_named(su, "sleep");
    let id = |pid: u32| {
        let words =
            ["enter", "-q", &pid.to_string(), "--", "sh", "-c", "id -un; grep CapEff /proc/self/status"];
        text(&run(&words).stdout)
    };
    let nobody = id(child);
    assert_eq!(nobody, "nobody\nCapEff:\t0000000000000000\n");
    let root = id(su);
    assert!(root.starts_with("root\nCapEff:\t") && !root.contains("0000000000000000"), "{root}");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(su.cast_signed()), nix::sys::signal::SIGTERM).unwrap();
    sandbox.wait().unwrap();
}

/// The programs that change the user, of those that are installed.
fn changers() -> impl Iterator<Item = &'static [&'static str]> {
    let su: &[&str] = &["su", "nobody", "-s", "/bin/sh", "-c", "id -u"];
    let sudo: &[&str] = &["sudo", "-n", "-u", "nobody", "id", "-u"];
    [su, sudo].into_iter().filter(|words| std::path::Path::new("/usr/bin").join(words[0]).exists())
}

/// su(1) and sudo(8) do in the command of `enter` what they do in the container, and what they do after nsenter(1).
#[test]
fn su_and_sudo_do_what_they_do_in_the_container() {
    let _alone = alone();
    if changers().count() < 2 {
        skip(
            "su_and_sudo_do_what_they_do_in_the_container",
            "su or sudo is not installed: its part is left out",
        );
    }
    let ending = |words: &[&str]| {
        let output = Command::new("timeout").arg("20").args(words).stdin(Stdio::null()).output().unwrap();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let of = |container: &Running, words: &[&str]| {
        let (program, pid) = (binary(), container.pid.to_string());
        ending(&[&[program.to_str().unwrap(), "enter", "-q", &pid, "--"], words].concat())
    };
    // With one mapped ID, there is no group to change to, and no user nobody.
    let mapped = if is_root() { "user: { map: root }\n" } else { "" };
    let container = Running::of(&format!("{mapped}rootfs: host\npid:\n"), "");
    for words in changers() {
        let (status, out, error) = of(&container, words);
        assert!(status == Some(1) && out.is_empty() && !error.contains("sandbox"), "{words:?} {error}");
        if is_root() {
            let pid = container.pid.to_string();
            let by_nsenter = ending(&[&["nsenter", "--target", &pid, "--all", "--"], words].concat());
            assert_eq!((status, out, error), by_nsenter, "{words:?}");
        }
    }
    drop(container);
    if !is_root() {
        return;
    }
    // With all IDs, root inside may change to every user. nsenter(1) becomes root, as the container's process is.
    for more in ["", "capabilities: default\n", "no_new_privileges: true\n"] {
        let container = Running::of(&format!("rootfs: host\npid:\n{more}"), "");
        for words in changers() {
            let (status, out, error) = of(&container, words);
            assert_eq!((status, &*out), (Some(0), "65534\n"), "{more}{words:?} {error}");
            let pid = container.pid.to_string();
            let by_nsenter = ending(&[&["nsenter", "--target", &pid, "--all", "--"], words].concat());
            assert_eq!((status, out), (by_nsenter.0, by_nsenter.1), "{more}{words:?}");
        }
    }
    // An ordinary user inside: sudo obeys its rules in the container, and no_new_privs takes the set-user-ID bit from it.
    let rule = "printf 'nobody ALL=(ALL) NOPASSWD: ALL\\n' > /etc/sudoers.d/nobody";
    for (more, is_root_again) in [("", true), ("no_new_privileges: true\n", false)] {
        let container = Running::of(&format!("rootfs: host\npid:\nrun_as: '65534:65534'\n{more}"), "");
        assert_eq!(of(&container, &["id", "-u"]).1, "65534\n");
        let (status, out, _) = of(&container, &["su", "-c", "id -u"]);
        assert!(status != Some(0) && out.is_empty(), "su without a password: {out}");
        if changers().any(|words| words[0] == "sudo") {
            container.enter(&["--privileged"], &["sh", "-c", rule]);
            let (status, out, error) = of(&container, &["sudo", "-n", "id", "-u"]);
            assert_eq!(status == Some(0) && out == "0\n", is_root_again, "{more}{error}");
            assert!(is_root_again || error.contains("no new privileges"), "{error}");
        }
    }
}
