//! The true cause is named where the machine lacks what a container needs.
//!
//! Of this kind: /proc that is not mounted, or shows only processes (subset=pid), or hides those of others (hidepid) · /sys
//! that is not mounted · no device files: /dev/null, /dev/ptmx · a limit of namespaces of each kind · a RUN that cannot be
//! made or written: /run, /tmp or / is full (bytes or inodes), read-only, or has a quota · low limits of the caller:
//! `ulimit -f -s -d -v -l -c`.
//!
//! Each test changes a mount table of its own, and mounts new instances: the options of an existing mount belong to
//! the whole machine.

mod support;

use std::process::{Command, Output};

use support::{alone, binary, is_root, skip, text};

/// Runs `sandbox` with these arguments after `change`, a shell script, in a mount namespace of its own. With `as_user`
/// it runs as an ordinary user.
fn after(change: &str, as_user: bool, arguments: &str) -> Output {
    let user = if as_user { "setpriv --reuid=1000 --regid=1000 --clear-groups" } else { "" };
    // The program may be in a directory that `change` covers.
    let program = format!(
        "mount -t tmpfs t /mnt; touch /mnt/sandbox; mount --bind {} /mnt/sandbox",
        binary().display()
    );
    let script = format!(
        "{program}\n{change}\nexec env HOME=/tmp NO_COLOR=1 COLUMNS=80 {user} /mnt/sandbox {arguments}"
    );
    Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-ec", &script])
        .current_dir("/")
        .output()
        .unwrap()
}

fn words(output: &Output) -> String {
    // A long line to paste is continued by a backslash.
    let stderr = text(&output.stderr);
    stderr.split_whitespace().filter(|word| *word != "\\").collect::<Vec<_>>().join(" ")
}

/// Mounts a new /proc with these options, in place of the old one.
fn new_proc(options: &str) -> String {
    format!(
        "d=$(mktemp -d)\nmount -t proc -o {options} proc $d\numount -l /proc\nmount --move $d /proc\nrmdir $d"
    )
}

fn needs_root(test: &str) -> bool {
    if !is_root() {
        skip(test, "machine: a mount table is changed by root alone; root's run holds it");
    }
    is_root()
}

#[test]
fn a_hidden_cgroup_filesystem_is_named() {
    if !needs_root("a_hidden_cgroup_filesystem_is_named") {
        return;
    }
    for limit in ["pids --max 9", "memory --limit 64m", "cpu --cpus 1"] {
        let output = after("mount -t tmpfs t /sys/fs/cgroup", false, &format!("{limit} -q -- true"));
        assert_eq!(output.status.code(), Some(125));
        assert!(words(&output).contains("or another mount hides it"), "{}", words(&output));
    }
}

#[test]
fn a_missing_proc_or_sys_is_named() {
    let _alone = alone();
    if !needs_root("a_missing_proc_or_sys_is_named") {
        return;
    }
    for as_user in [false, true] {
        let output = after("umount -l /proc", as_user, "user -q -- true");
        assert_eq!(output.status.code(), Some(125));
        assert!(words(&output).contains("/proc is not mounted"), "{}", words(&output));
        let output = after("umount -l /sys", as_user, "user -q -- true");
        assert_eq!(output.status.code(), Some(0), "{}", words(&output));
    }
    for (as_user, arguments) in [
        (false, "user --map root -q -- true"),
        (true, "uts -q -- true"),
        (false, "time --boottime 1d -q -- true"),
    ] {
        let output = after("mount -o remount,ro,bind /proc /proc", as_user, arguments);
        assert_eq!(output.status.code(), Some(125));
        assert!(words(&output).contains("mounted on /proc is read-only"), "{}", words(&output));
    }
    let file = tempfile::Builder::new().suffix(".yaml").tempfile_in("/var/tmp").unwrap();
    std::fs::write(file.path(), "rootfs: host\npid:\nnet:\nuser: { map: root }\ncommand: [true]\n").unwrap();
    std::fs::set_permissions(file.path(), std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let run = format!("run -q {}", file.path().display());
    for as_user in [false, true] {
        let output = after("umount -l /sys", as_user, &run);
        assert_eq!(output.status.code(), Some(125));
        assert!(words(&output).contains("/sys is not mounted"), "{}", words(&output));
        assert!(!words(&output).contains("No rule"), "{}", words(&output));
    }
}

#[test]
fn a_proc_that_hides_processes_is_named() {
    let _alone = alone();
    if !needs_root("a_proc_that_hides_processes_is_named") {
        return;
    }
    for options in ["hidepid=2", "hidepid=1", "hidepid=4"] {
        // What needs no other process works.
        for arguments in ["pid -q -- true", "uts -q -- true", "pid --init -q -- true"] {
            let output = after(&new_proc(options), true, arguments);
            assert_eq!(output.status.code(), Some(0), "{options} {arguments}: {}", words(&output));
        }
        // Process 1 of the machine exists, and is hidden from a user.
        for arguments in ["compare 1", "enter -q 1 -- true"] {
            let output = after(&new_proc(options), true, arguments);
            assert_eq!(output.status.code(), Some(125), "{options} {arguments}");
            assert!(words(&output).contains("hidepid"), "{options} {arguments}: {}", words(&output));
        }
    }
}

/// An ordinary user finds the command of a container, although /proc hides the undumpable init in front of it. Of this
/// kind: with and without an init · with and without a name (the PID of the command) · `verify`, `enter`, a signal that
/// is forwarded.
#[test]
fn a_container_is_found_although_proc_hides_its_init() {
    let _alone = alone();
    if !needs_root("a_container_is_found_although_proc_hides_its_init") {
        return;
    }
    for (options, init) in
        [("hidepid=2", true), ("hidepid=2", false), ("hidepid=1", true), ("hidepid=4", true)]
    {
        let spec = spec(&format!(
            "name: hidden\nrootfs: host\npid: {{ init: {init} }}\nuser: {{ map: root }}\n\
             command: [sh, -c, 'trap \"echo got TERM; exit 7\" TERM; while :; do sleep 0.1; done']\n"
        ));
        let user = r#"
            /mnt/sandbox run -q "$1" & run=$!
            i=0; until /mnt/sandbox verify hidden "$1" 2> /tmp/why.$$; do
                i=$((i + 1)); [ $i -lt 100 ] || { cat /tmp/why.$$ >&2; break; }; sleep 0.1
            done
            rm /tmp/why.$$
            /mnt/sandbox enter hidden -- sh -c "echo entered as \$(id -u); sleep 0.3" 2>&1
            kill $run; wait $run; echo status $?"#;
        let as_user = "setpriv --reuid=1000 --regid=1000 --clear-groups env HOME=/tmp NO_COLOR=1 COLUMNS=80";
        let path = spec.path().display();
        let output = after(&format!("{}\n{as_user} sh -c '{user}' sh {path}", new_proc(options)), true, "gc");
        let out = text(&output.stdout);
        let expected = ["values, read from the kernel", "entered as 0", "got TERM", "status 7"];
        let is_there = expected.iter().all(|part| out.contains(part));
        assert!(is_there && !out.contains("warning"), "{options} {init}: {out} {}", words(&output));
    }
}

/// Asserts that it is refused with these words, and that every line of advice that begins with a mount works.
fn assert_refused(change: &str, as_user: bool, arguments: &str, expected: &[&str]) {
    let output = after(change, as_user, arguments);
    let words = words(&output);
    let what = format!("{change} {arguments} {as_user}: {words}");
    assert_eq!(output.status.code(), Some(125), "{what}");
    for part in expected {
        assert!(words.contains(part), "{part}: {what}");
    }
    assert!(!words.contains("No rule") && words.contains("do "), "{what}");
}

/// A spec in a file that every user can read.
fn spec(content: &str) -> tempfile::NamedTempFile {
    let file = tempfile::Builder::new().suffix(".yaml").tempfile_in("/var/tmp").unwrap();
    std::fs::write(file.path(), content).unwrap();
    std::fs::set_permissions(file.path(), std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    file
}

const NAMED: &str = "name: causes\nuts:\ncommand: [echo, works]\n";
const WHOLE: &str = "rootfs: host\npid:\nnet:\nuser: { map: root }\ncommand: [echo, works]\n";

/// What can be told without /proc, and what not.
#[test]
fn without_proc_nothing_is_claimed() {
    let _alone = alone();
    if !needs_root("without_proc_nothing_is_claimed") {
        return;
    }
    let file = spec(NAMED);
    let file = file.path().display();
    for as_user in [false, true] {
        for arguments in
            ["memory --limit 64m -q -- true", &format!("verify causes {file}"), "enter causes", "compare 1"]
        {
            assert_refused("umount -l /proc", as_user, arguments, &["/proc is not mounted"]);
        }
    }
    // The command runs for a moment: one that has ended needs no warning.
    let output = after("umount -l /proc", false, "uts -q -- sleep 2");
    assert_eq!(output.status.code(), Some(0));
    assert!(words(&output).contains("warning") && words(&output).contains("/proc is not mounted"));
}

#[test]
fn a_proc_with_processes_only_is_named() {
    let _alone = alone();
    if !needs_root("a_proc_with_processes_only_is_named") {
        return;
    }
    let part = new_proc("subset=pid");
    let file = spec(WHOLE);
    for as_user in [false, true] {
        for arguments in ["uts -q -- true", "pid -q -- true", &format!("run -q {}", file.path().display())] {
            let output = after(&part, as_user, arguments);
            assert_eq!(output.status.code(), Some(0), "{arguments}: {}", words(&output));
        }
        let output = after(&part, as_user, "doctor");
        let out = text(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(out.contains("part-of-proc: uts time") && out.contains("subset=pid"), "{out}");
    }
    assert_refused(&part, false, "net --mode bridge -q -- true", &["subset=pid", "mount -t proc proc /proc"]);
    let mended = format!("{part}\nmount -t proc proc /proc");
    assert_eq!(after(&mended, false, "net --mode bridge -q -- true").status.code(), Some(0));
    assert!(!std::path::Path::new("/sys/class/net/sandbox0").exists());
}

#[test]
fn missing_device_files_are_named() {
    let _alone = alone();
    if !needs_root("missing_device_files_are_named") {
        return;
    }
    let file = spec(WHOLE);
    let run = format!("run -q {}", file.path().display());
    let empty = "mount -t tmpfs tmpfs /dev";
    let node = format!("{empty}\nmknod -m 666 /dev/null c 1 3");
    for as_user in [false, true] {
        assert_refused(
            empty,
            as_user,
            &run,
            &["\"/dev/null\"", "does not exist", "mount -t devtmpfs devtmpfs /dev"],
        );
        assert_refused(&node, as_user, &run, &["\"/dev/zero\"", "does not exist"]);
        let output = after(&format!("{empty}\nmount -t devtmpfs devtmpfs /dev"), as_user, &run);
        assert_eq!(text(&output.stdout), "works\n", "{}", words(&output));
        assert_eq!(after(empty, as_user, "uts -q -- true").status.code(), Some(0));
    }
    let file = spec(NAMED);
    let run = format!("run -q -t {}", file.path().display());
    let advice =
        "mkdir -p /dev/pts && mount -t devpts -o ptmxmode=666 devpts /dev/pts && ln -sf pts/ptmx /dev/ptmx";
    for as_user in [false, true] {
        assert_refused(&node, as_user, &run, &["There is no /dev/ptmx here", advice]);
        let output = after(&format!("{node}\n{advice}"), as_user, &run);
        assert_eq!(text(&output.stdout).trim(), "works", "{}", words(&output));
    }
}

/// For each: what makes RUN unusable for root, and for a user, and what the error says.
#[test]
fn a_disk_that_cannot_be_written_is_named() {
    let _alone = alone();
    if !needs_root("a_disk_that_cannot_be_written_is_named") {
        return;
    }
    let file = spec(NAMED);
    let run = format!("run -q {}", file.path().display());
    // A user has no directory of the login manager, so RUN is in /tmp.
    let none = "mount -t tmpfs -o mode=755 tmpfs /run";
    let own = "setpriv --reuid=1000 --regid=1000 --clear-groups mkdir -m 700 /tmp/sandbox-1000";
    let cases = [
        (false, "mount -t tmpfs -o size=4k,mode=755 t /run; mkdir -m 711 /run/sandbox; head -c 4096 /dev/zero > /run/a".to_owned(), ["ENOSPC", "mounted on /run is full", "df -h /run; df -i /run"]),
        (false, "mount -t tmpfs -o nr_inodes=2,mode=755 t /run".to_owned(), ["ENOSPC", "no free inodes", "df -i /run"]),
        (true, format!("{none}; mount -t tmpfs -o size=4k,mode=1777 t /tmp; {own}; head -c 4096 /dev/zero > /tmp/a"), ["ENOSPC", "mounted on /tmp is full", "df -h /tmp"]),
        (true, format!("{none}; mount -t tmpfs -o nr_inodes=2,mode=1777 t /tmp; touch /tmp/a"), ["ENOSPC", "no free inodes", "df -i /tmp"]),
        (true, format!("{none}; mount -t tmpfs -o ro t /tmp"), ["EROFS", "mounted on /tmp is read-only", "mount -o remount,rw /tmp"]),
        (false, "mount -o remount,bind,ro /; for d in /run /tmp; do mountpoint -q $d && mount -o remount,bind,ro $d; done; true".to_owned(), ["EROFS", "is read-only", "mount -o remount,rw /"]),
        (true, "mount -o remount,bind,ro /; for d in /run /tmp; do mountpoint -q $d && mount -o remount,bind,ro $d; done; true".to_owned(), ["EROFS", "is read-only", "mount -o remount,rw /"]),
    ];
    for (as_user, change, expected) in &cases {
        assert_refused(change, *as_user, &run, expected);
        // Without a name, the journal is only for the end of the container. It runs, and the warning has the reason.
        let output = after(change, *as_user, "uts -q -- echo works");
        let words = words(&output);
        assert_eq!(text(&output.stdout), "works\n", "{change}: {words}");
        for part in ["warning", "can end it"].iter().chain(expected) {
            assert!(words.contains(part), "{part}: {change}: {words}");
        }
        // Nothing is left there.
        if change.contains("size=4k") || change.contains("nr_inodes") {
            let run_directory = if *as_user { "/tmp/sandbox-1000" } else { "/run/sandbox" };
            let user = if *as_user { "setpriv --reuid=1000 --regid=1000 --clear-groups" } else { "" };
            let left = format!(
                "{change}\n{user} /mnt/sandbox {run} 2>/dev/null || true\nls -A {run_directory} 2>/dev/null || true\nexit 0\n"
            );
            assert_eq!(text(&after(&left, false, "").stdout), "", "{change}");
        }
    }
    // The advice for a read-only filesystem works.
    let (_, change, _) = &cases[4];
    let output = after(&format!("{change}; mount -o remount,rw /tmp; chmod 1777 /tmp"), true, &run);
    assert_eq!(text(&output.stdout), "works\n", "{}", words(&output));
}

#[test]
fn a_low_limit_of_the_caller_is_named() {
    let _alone = alone();
    if !needs_root("a_low_limit_of_the_caller_is_named") {
        return;
    }
    let (named, whole) = (spec(NAMED), spec(WHOLE));
    let named = format!("run -q {}", named.path().display());
    let whole = format!("run -q {}", whole.path().display());
    let size = ["EFBIG", "RLIMIT_FSIZE", "ulimit -f unlimited"];
    for as_user in [false, true] {
        for arguments in [&named, &whole, &format!("{whole} -t")] {
            assert_refused("ulimit -f 0", as_user, arguments, &size);
        }
        for stack in [64, 300, 400] {
            let limit = format!("ulimit -s {stack}");
            assert_refused(&limit, as_user, &whole, &["RLIMIT_STACK", "ulimit -s 8192"]);
        }
        // The command itself may have any limit.
        for limit in ["-f 0", "-l 0", "-c 0", "-s 600"] {
            let output = after(&format!("ulimit {limit}"), as_user, "uts -q -- true");
            assert_eq!(output.status.code(), Some(0), "{limit}: {}", words(&output));
        }
        for limit in ["-l 0", "-c 0", "-s 600", "-v 4000000"] {
            let output = after(&format!("ulimit {limit}"), as_user, &whole);
            assert_eq!(text(&output.stdout), "works\n", "{limit}: {}", words(&output));
        }
    }
    for arguments in
        ["memory --limit 64m -q -- true", "net --mode bridge -q -- true", "pids --max 9 -q -- true"]
    {
        assert_refused("ulimit -f 0", false, arguments, &size);
    }
    // The smallest limit with which the program is loaded at all, in KiB.
    let loads = |limit: &u32| after(&format!("ulimit -d {limit}"), false, "--version").status.success();
    let limit = (600..9000).step_by(100).find(loads).expect("a limit with which it is loaded");
    let data = ["ENOMEM", "RLIMIT_DATA", "ulimit -d unlimited"];
    assert_refused(&format!("ulimit -d {limit}"), false, &whole, &data);
}

#[test]
fn a_limit_of_namespaces_is_named() {
    let _alone = alone();
    // The limits of a user namespace of the test, so those of the machine stay as they are.
    for (kind, command) in
        ["net", "pid", "mnt", "ipc", "uts", "user", "cgroup", "time"].map(|kind| (kind, kind))
    {
        let script = format!(
            "echo 0 > /proc/sys/user/max_{kind}_namespaces || exit 77; exec {} {command} -q -- true",
            binary().display()
        );
        let output = Command::new("unshare")
            .args(["--user", "--map-root-user", "sh", "-c", &script])
            .env("COLUMNS", "80")
            .output()
            .unwrap();
        if output.status.code() == Some(77) {
            return skip(
                "a_limit_of_namespaces_is_named",
                "machine: the limits of a user namespace cannot be set",
            );
        }
        assert_eq!(output.status.code(), Some(125), "{kind}: {}", words(&output));
        let expected = format!("No {kind} namespace can be created here: the limit is set to 0");
        assert!(words(&output).contains(&expected), "{kind}: {}", words(&output));
    }
}

/// What a container has filled is named, with its size and what to do: "No space left on device" inside does not say that
/// the disks have room. Of this kind: the root (one overlay, or those of a user), /tmp, /dev/shm, a tmpfs of the spec;
/// with an init; not what has room, and not what was emptied again.
#[test]
fn what_a_container_has_filled_is_named() {
    let _alone = alone();
    let fill = |path: &str| format!("cat /dev/zero > {path} 2>/dev/null");
    let place = if is_root() { "/tmp" } else { "/" };
    for (init, command, expected) in [
        (false, fill("/var/x"), "/ in the container is full why A tmpfs of 64MiB"),
        (true, fill("/tmp/x"), &*format!("{place} in the container is full why A tmpfs of 64MiB")),
        (false, fill("/dev/shm/x"), "/dev/shm in the container is full"),
        (true, fill("/srv/x"), "/srv in the container is full why A tmpfs of 1MiB"),
        (false, format!("{}; rm /srv/x", fill("/srv/x")), ""),
        (false, "echo x > /srv/x".to_owned(), ""),
    ] {
        let spec = spec(&format!(
            "rootfs: host\npid: {{ init: {init} }}\nmnt: {{ mounts: [{{ type: tmpfs, target: /srv, size: 1MiB }}] }}\n\
             command: [sh, -c, '{command}; exit 5']\n"
        ));
        let output = support::run(&["run", "-q", spec.path().to_str().unwrap()]);
        let words = words(&output);
        assert_eq!(output.status.code(), Some(5), "{command}: {words}");
        assert_eq!(words.contains("is full"), !expected.is_empty(), "{command}: {words}");
        assert!(words.contains(expected), "{command}: {words}");
        if !expected.is_empty() {
            assert!(words.contains("mounts: [{ type: tmpfs, target: /"), "{words}");
        }
    }
}

/// A quota: strace(1) makes the calls fail with EDQUOT, because not each kernel has quotas. Of this kind: the directory and
/// the journal in RUN; as root, with the lock of a cgroup directory there.
#[test]
fn a_quota_is_named() {
    let _alone = alone();
    let spec = spec(NAMED);
    let words_with = |inject: &str| {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-o", "/dev/null", "-e", &format!("inject={inject}")]).arg(binary());
        strace.args(["run", "-q", spec.path().to_str().unwrap()]).env("COLUMNS", "80").env("NO_COLOR", "1");
        words(&strace.output().expect("strace can be executed"))
    };
    for (error, expected, line) in [
        ("EDQUOT", "Your disk quota on the filesystem that is mounted on", "df -h /"),
        ("ENOSPC", "is full: it has no free space, or no free inodes", "df -i /"),
    ] {
        let directory = words_with(&format!("mkdirat:error={error}"));
        assert!(directory.contains(expected) && directory.contains(line), "{directory}");
        // The first writes of a user are those of the ID maps.
        let mut found = (1..=5).map(|at| words_with(&format!("write:error={error}:when={at}")));
        let journal = found.rfind(|words| words.contains("cannot write the journal")).unwrap();
        assert!(journal.contains(expected) && journal.contains(line), "{journal}");
    }
    assert_eq!(text(&support::run(&["gc"]).stderr), "");
}
