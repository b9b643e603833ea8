//! The promises of each spec that comes with sandbox, as its comments make them: tried, as root and as a user.
//!
//! A limit that needs a cgroup is tried only by root. For a user, a spec that lists it as optional starts without it, and
//! any other is refused.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Output, Stdio};

use support::{alone, is_root, repository, sandbox, skip, text};

fn path(purpose: &str) -> String {
    repository().join(format!("lessons/specs/{purpose}.yaml")).to_str().unwrap().to_owned()
}

/// Runs a spec, with the command of the spec or another one.
fn run(purpose: &str, command: &[&str]) -> Output {
    let path = path(purpose);
    let mut arguments = vec!["run", "-q", &path];
    if !command.is_empty() {
        arguments.push("--");
        arguments.extend(command);
    }
    sandbox(&arguments).output().unwrap()
}

/// The output of a spec that must work.
fn works(purpose: &str, command: &[&str]) -> String {
    let output = run(purpose, command);
    assert!(
        output.status.success(),
        "{purpose}: {:?}\n{}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// Whether this spec, which needs a cgroup, can be tried. An ordinary user must get the reason.
fn has_cgroups(purpose: &str) -> bool {
    let output = run(purpose, &["true"]);
    if !output.status.success() {
        assert!(!is_root() && output.status.code() == Some(125), "{}", text(&output.stderr));
        let error = text(&output.stderr);
        assert!(error.contains("cgroup") && error.contains("sudo"), "{error}");
        skip(purpose, "machine: limits take root or a delegated cgroup; root's run holds it");
    }
    output.status.success()
}

/// The namespaces in which a spec's command is, by name.
fn namespaces(purpose: &str) -> Vec<String> {
    let script =
        "cd /proc/self/ns && for name in pid mnt net uts ipc user cgroup time; do readlink $name; done";
    works(purpose, &["sh", "-c", script]).lines().map(str::to_owned).collect()
}

/// How many of these kinds differ from the caller's.
fn differ(purpose: &str, kinds: &[&str]) {
    let inside = namespaces(purpose);
    for kind in kinds {
        let own = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        assert!(!inside.contains(&own.to_string_lossy().into_owned()), "{purpose}: {kind}");
    }
}

fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap()
}

#[test]
fn first_says_what_it_does_and_changes_nothing() {
    let _alone = alone();
    let before = (std::fs::read("/etc/hostname").ok(), hostname());
    let out = works("first", &[]);
    for line in [
        "I am process 1 and user 0, on a machine called box.",
        "and only this network device: lo.",
        "I own /etc/hostname: it says mine. The host's file is unchanged.",
        "I am root, but I cannot create a device file.",
    ] {
        assert!(out.contains(line), "{line}\n{out}");
    }
    assert_eq!((std::fs::read("/etc/hostname").ok(), hostname()), before);
    differ("first", &["pid", "mnt", "net", "uts", "ipc", "user", "cgroup"]);
}

#[test]
fn rootless_has_all_namespaces_and_maps_only_the_caller() {
    let _alone = alone();
    let out = works("rootless", &[]);
    let uid = nix::unistd::geteuid();
    let lines: Vec<String> =
        out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert!(lines[0].starts_with("uid=0"), "{out}");
    assert_eq!(lines[1..], ["rootless".to_owned(), format!("0 {uid} 1")]);
    differ("rootless", &["pid", "mnt", "net", "uts", "ipc", "user", "cgroup", "time"]);
}

#[test]
fn shell_sees_no_processes_hostname_or_queues_of_this_machine() {
    let _alone = alone();
    let out = works(
        "shell",
        &[
            "sh",
            "-c",
            "ls -d /proc/[0-9]* | wc -l; hostname; tail -n +2 /proc/sysvipc/msg; stat -f -c %T /mnt",
        ],
    );
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines[0].trim().parse::<u32>().unwrap() <= 5, "{out}");
    assert_eq!(lines[1..], ["box", "tmpfs"]);
}

#[test]
fn hostname_changes_only_inside() {
    let _alone = alone();
    let before = hostname();
    let output = run("hostname", &[]);
    assert_eq!(text(&output.stdout), "lab\nchanged\n", "{}", text(&output.stderr));
    assert_eq!(hostname(), before);
}

#[test]
fn clock_shifts_uptime_and_not_the_date() {
    let _alone = alone();
    if std::fs::metadata("/proc/self/ns/time").is_err() {
        return skip("clock_shifts_uptime_and_not_the_date", "machine: the kernel has no time namespaces");
    }
    let uptime = |text: &str| text.split(['.', ' ']).next().unwrap().parse::<u64>().unwrap();
    let own = uptime(&std::fs::read_to_string("/proc/uptime").unwrap());
    let out = works("clock", &["sh", "-c", "cat /proc/uptime; date +%s"]);
    let lines: Vec<&str> = out.lines().collect();
    let ahead = uptime(lines[0]) - own;
    assert!((864_000..864_600).contains(&ahead), "{ahead}");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!(now - lines[1].parse::<u64>().unwrap() < 600);
}

#[test]
fn homework_has_no_network_and_cannot_change_files_or_become_root() {
    let _alone = alone();
    let canary = tempfile::Builder::new().tempfile_in("/var/tmp").unwrap();
    std::fs::write(canary.path(), "mine").unwrap();
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("thesis"), "mine").unwrap();
    let before = std::fs::read("/etc/passwd").unwrap();
    let attack = format!(
        "id -u; ls /sys/class/net; hostname; cat /proc/self/uid_map | head -n 1; rm -rf {} {} /home/* 2>/dev/null; \
         for file in /etc/passwd {}; do echo overwritten 2>/dev/null > $file; done; ls -A /home; \
         echo more > /mnt/file && cat /mnt/file; test $(ls -d /proc/[0-9]* | wc -l) -lt 8 && echo few",
        canary.path().display(),
        home.path().display(),
        canary.path().display(),
    );
    let out = works("homework", &["sh", "-c", &attack]);
    let lines: Vec<String> =
        out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(lines[..3], ["0", "lo", "homework"], "{out}");
    assert!(
        lines[3].starts_with("0 ") && !lines[3].starts_with("0 0 "),
        "root inside is root outside: {out}"
    );
    assert_eq!(lines[4..], ["more", "few"], "{out}");
    assert_eq!(std::fs::read_to_string(canary.path()).unwrap(), "mine");
    assert_eq!(std::fs::read_to_string(home.path().join("thesis")).unwrap(), "mine");
    assert_eq!(std::fs::read("/etc/passwd").unwrap(), before);
    differ("homework", &["pid", "mnt", "net", "uts", "ipc", "user", "cgroup"]);
    // No set-user-ID program gives a right, and no mount can be made.
    let out = works(
        "homework",
        &[
            "sh",
            "-c",
            "grep -E 'NoNewPrivs|Seccomp:' /proc/self/status; mount -t tmpfs t /mnt 2>&1 || echo refused",
        ],
    );
    assert!(
        out.contains("NoNewPrivs:\t1") && out.contains("Seccomp:\t2") && out.contains("refused"),
        "{out}"
    );
    // Password hashes and private keys of the host are hidden, also if root runs it.
    let secrets = "cat /etc/shadow /etc/gshadow /etc/shadow- /etc/gshadow- /etc/ssh/*_key /etc/ssl/private/* 2>/dev/null; echo";
    assert_eq!(works("homework", &["sh", "-c", secrets]), "\n");
    if is_root() {
        // Few processes: fork(2) fails at the 64th.
        let script = "i=0; while [ $i -lt 100 ]; do sleep 3 & i=$((i + 1)); done";
        let output = run("homework", &["sh", "-c", script]);
        assert!(text(&output.stderr).contains("fork"), "{}", text(&output.stderr));
    }
}

#[test]
fn build_has_no_network_and_its_own_name() {
    let _alone = alone();
    let script = "tail -n +3 /proc/net/dev | cut -d: -f1; hostname; ls -d /proc/[0-9]* | wc -l";
    let out = works("build", &["sh", "-c", script]);
    let lines: Vec<&str> = out.lines().map(str::trim).collect();
    assert_eq!(lines[..2], ["lo", "build"]);
    assert!(lines[2].parse::<u32>().unwrap() <= 6, "{out}");
}

#[test]
fn devices_cannot_open_the_denied_one() {
    let _alone = alone();
    if !has_cgroups("devices") {
        return;
    }
    let output = run("devices", &[]);
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("/dev/zero"), "{}", text(&output.stderr));
    // The comment: a file can still be made, and not be opened.
    let script =
        "d=$(mktemp -d); mknod $d/zero c 1 5 && echo made; head -c 1 $d/zero || echo denied; rm -r $d";
    assert_eq!(works("devices", &["sh", "-c", script]), "made\ndenied\n");
}

#[test]
fn a_fork_bomb_ends_at_its_limit() {
    let _alone = alone();
    if !has_cgroups("fork-bomb") {
        return;
    }
    let output = run("fork-bomb", &[]);
    assert!(text(&output.stderr).to_lowercase().contains("fork"), "{}", text(&output.stderr));
}

#[test]
fn too_little_memory_ends_with_137() {
    let _alone = alone();
    if !has_cgroups("memory-starved") {
        return;
    }
    assert_eq!(run("memory-starved", &[]).status.code(), Some(137));
}

#[test]
fn batch_has_its_limits() {
    let _alone = alone();
    if !is_root() {
        return skip(
            "batch_has_its_limits",
            "machine: limits take root or a delegated cgroup; root's run holds it",
        );
    }
    let output = run("batch", &["true"]);
    if text(&output.stderr).contains("disk") {
        return skip("batch_has_its_limits", "machine: /var/tmp is on no disk");
    }
    assert!(output.status.success(), "{}", text(&output.stderr));
    let file = path("batch");
    let mut child = sandbox(&["run", "-q", &file, "--", "sleep", "60"]).spawn().unwrap();
    let init = support::child_named(child.id(), "sandbox");
    support::child_named(init, "sleep");
    let verified = sandbox(&["verify", "batch", &file]).output().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(verified.status.success(), "{}{}", text(&verified.stdout), text(&verified.stderr));
    sandbox(&["gc"]).output().unwrap();
}

#[test]
fn web_is_reached_by_one_port_from_this_machine_only() {
    let _alone = alone();
    let test = "web_is_reached_by_one_port_from_this_machine_only";
    if !["/usr/bin/python3", "/bin/python3"].iter().any(|path| std::path::Path::new(path).exists()) {
        return skip(test, "machine: python3 is not installed in /usr/bin");
    }
    // Where lo is down, as in the namespaces that `scripts/test` creates, the test runs in a new one with lo up.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    if std::net::TcpStream::connect(listener.local_addr().unwrap()).is_err() {
        let own = std::env::current_exe().unwrap();
        let arguments = ["net", "-q", "--", own.to_str().unwrap(), "--exact", test, "--nocapture"];
        let output = sandbox(&arguments).output().unwrap();
        assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
        return;
    }
    let mut child =
        sandbox(&["run", "-q", &path("web")]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let address = lines.find_map(|line| {
        let start = line.find("127.0.0.1:")?;
        let address: String =
            line[start..].chars().take_while(|c| c.is_ascii_digit() || ".:".contains(*c)).collect();
        Some(address)
    });
    let address = address.expect("the port is printed");
    let answer = (0..400).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        let mut client = std::net::TcpStream::connect(&address).ok()?;
        client.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        client.read_to_string(&mut answer).ok()?;
        answer.contains("200 OK").then_some(answer)
    });
    let _ = Command::new("kill").arg(child.id().to_string()).status();
    child.wait().unwrap();
    assert!(answer.is_some(), "no answer at {address}");
}
