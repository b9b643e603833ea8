//! `sandbox run`, `enter` and `gc`: a complete container from a spec, checked against what the kernel shows.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use support::limits::{is_possible, left};
use support::{alone, feed, run, sandbox, skip, text, wait_until};

const KINDS: [&str; 8] = ["pid", "mnt", "net", "uts", "ipc", "user", "cgroup", "time"];
const LINKS: &str = "for kind in pid mnt net uts ipc user cgroup time; do readlink /proc/self/ns/$kind; done";

/// Runs a spec given as text. Returns the status, standard output and standard error.
fn run_spec(spec: &str, flags: &[&str]) -> (Option<i32>, String, String) {
    let output = feed(&mut sandbox(&[&["run", "-"], flags].concat()), spec);
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// A spec with every namespace that this user may create.
const ALL: &str =
    "pid:\nmnt:\nnet:\nuts: { hostname: web }\nipc:\nuser: { map: root }\ncgroup:\ntime: { boottime: 1h }\n";

fn differing(spec: &str, flags: &[&str]) -> BTreeSet<String> {
    let (status, out, error) = run_spec(spec, &[flags, &["-q", "--", "sh", "-c", LINKS]].concat());
    assert_eq!(status, Some(0), "{error}");
    assert_eq!(out.lines().count(), 8, "{out}");
    let own =
        |kind: &str| fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().to_string_lossy().into_owned();
    let pairs = KINDS.iter().zip(out.lines()).filter(|(kind, link)| own(kind) != **link);
    pairs.map(|(kind, _)| (*kind).to_owned()).collect()
}

#[test]
fn a_key_that_stands_is_on_and_one_that_is_removed_flips_one_row() {
    let _alone = alone();
    let all: BTreeSet<String> = KINDS.iter().map(|kind| (*kind).to_owned()).collect();
    assert_eq!(differing(ALL, &[]), all);
    for kind in KINDS {
        // A new /proc for the PID namespace needs a mount namespace. An ordinary user needs a user namespace. Both
        // are announced.
        let is_forced = kind == "mnt" || kind == "user" && !support::is_root();
        let mut wanted = all.clone();
        if !is_forced {
            wanted.remove(kind);
        }
        assert_eq!(differing(ALL, &["--without", kind]), wanted, "{kind}");
    }
}

/// Like Docker, `sandbox` needs a terminal as standard input for `tty`. A pipe is refused.
#[test]
fn it_takes_a_terminal_to_type_at() {
    let _alone = alone();
    let (status, _, error) = run_spec("uts:\n", &["-it", "-q", "--", "true"]);
    assert_eq!(status, Some(125));
    assert!(error.contains("standard input is not a terminal") && error.contains("-i alone"), "{error}");
    for one in ["-i", "-t"] {
        assert_eq!(run_spec("uts:\n", &[one, "-q", "--", "true"]).0, Some(0), "{one}");
    }
    assert_eq!(run_spec("uts:\n", &["-it", "--dry-run", "--", "true"]).0, Some(0));
}

#[test]
fn what_comes_back_without_a_key_is_told_before_the_command() {
    let _alone = alone();
    let spec = format!("{ALL}no_new_privileges: true\nrlimits: {{ nofile: 64 }}\n");
    let told = |key: &str| {
        let (status, out, error) = run_spec(&spec, &["--without", key, "--", "sh", "-c", "echo out; exit 3"]);
        assert_eq!((status, out.as_str()), (Some(3), "out\n"), "{error}");
        let words = error.lines().skip_while(|line| !line.starts_with("WITHOUT ")).skip(2);
        words.take_while(|line| line.starts_with("   ")).map(str::to_owned).collect::<Vec<_>>()
    };
    for kind in KINDS.into_iter().filter(|kind| *kind != "mnt" && (*kind != "user" || support::is_root())) {
        let own = fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        let rows = told(kind);
        let link = rows.iter().find(|row| row.contains(&format!("/proc/self/ns/{kind} "))).expect(kind);
        assert!(link.contains("new") && link.ends_with(own.to_str().unwrap()), "{link}");
        // No other namespace link differs.
        assert_eq!(rows.iter().filter(|row| row.contains("/ns/")).count(), 1, "{rows:?}");
    }
    for (key, source) in [("no_new_privileges", "NoNewPrivs: != 1"), ("rlimits", "Max open files != 64:64")] {
        let rows = told(key);
        let [row] = &*rows else { panic!("{rows:?}") };
        assert!(row.split_whitespace().collect::<Vec<_>>().join(" ").contains(source), "{row}");
    }
    // /proc of the PID namespace needs the mount namespace, so it is created anyway.
    let (_, _, error) = run_spec(&spec, &["--without", "mnt", "--", "true"]);
    assert!(error.contains("another key, or the kernel, gives the"), "{error}");
    assert!(!run_spec(&spec, &["--without", "ipc", "-q", "--", "true"]).2.contains("WITHOUT"));
}

#[test]
fn the_spec_says_what_runs_and_a_command_line_takes_its_place() {
    let _alone = alone();
    let spec = "uts: { hostname: aquarium }\ncommand: [sh, -c, 'hostname; exit 7']\n";
    let (status, out, _) = run_spec(spec, &["-q"]);
    assert_eq!((status, out.as_str()), (Some(7), "aquarium\n"));
    let (status, out, _) = run_spec(spec, &["-q", "--", "echo", "other"]);
    assert_eq!((status, out.as_str()), (Some(0), "other\n"));
    let (status, _, error) = run_spec("uts:\n", &["-q"]);
    assert_eq!(status, Some(125));
    assert!(error.contains("nothing to run"), "{error}");
    assert_eq!(run_spec(spec, &["--without", "net"]).0, Some(2));
    assert_eq!(run(&["run", "/no/such/spec.yaml"]).status.code(), Some(125));
    assert_eq!(run_spec("uts: { hostnam: a }\ncommand: ['true']\n", &[]).0, Some(125));
}

#[test]
fn limits_and_namespaces_hold_together_and_nothing_is_left() {
    let _alone = alone();
    if !is_possible("pids") {
        return skip(
            "limits_and_namespaces_hold_together_and_nothing_is_left",
            "machine: v1 isn't delegated to this user: the other runs hold it",
        );
    }
    let spec = format!("{ALL}memory: {{ limit: 64MiB, swap: 0 }}\npids: {{ max: 32 }}\n");
    let (status, out, error) = run_spec(&spec, &["-q", "--", "cat", "/proc/self/cgroup"]);
    assert_eq!(status, Some(0), "{error}");
    // The limit is not a multiple of the page size. The kernel rounds it down, and verification accepts that.
    let odd = "uts:\nmemory: { limit: 10000001 }\n";
    assert_eq!(run_spec(odd, &["-q", "--", "true"]).0, Some(0));
    // The process joins its cgroup before it creates the cgroup namespace. This cgroup is therefore the root.
    let of = |name: &str| out.lines().find(|line| line.contains(name)).map(|line| line.ends_with(":/"));
    assert!(of(":memory:").or(of("0::")).unwrap(), "{out}");
    let mut runs: Vec<_> = (0..6)
        .map(|_| {
            let mut child = sandbox(&["run", "-", "-q", "--", "true"]).stdin(Stdio::piped()).spawn().unwrap();
            child.stdin.take().unwrap().write_all(spec.as_bytes()).unwrap();
            child
        })
        .collect();
    runs.iter_mut().for_each(|run| assert!(run.wait().unwrap().success()));
    assert_eq!(left(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_dry_run_says_what_will_be_checked() {
    let _alone = alone();
    let (status, out, error) = run_spec(ALL, &["--dry-run", "--", "/bin/true"]);
    assert_eq!(status, Some(0), "{error}");
    assert!(out.contains("[reads /proc and compares it with the plan]"), "{out}");
}

#[test]
fn enter_joins_what_another_process_has() {
    let _alone = alone();
    let mut child = sandbox(&["uts", "-q", "--hostname", "aquarium", "--", "sleep", "60"]).spawn().unwrap();
    let pid = support::child_named(child.id(), "sleep").to_string();
    let inside = run(&["enter", &pid, "-q", "--", "hostname"]);
    assert_eq!(text(&inside.stdout), "aquarium\n", "{}", text(&inside.stderr));
    let status = run(&["enter", &pid, "-q", "--", "sh", "-c", "exit 9"]).status.code();
    assert_eq!(status, Some(9));
    child.kill().unwrap();
    child.wait().unwrap();
    let own = std::process::id().to_string();
    let same = run(&["enter", &own, "--", "true"]);
    assert_eq!(same.status.code(), Some(125));
    assert!(text(&same.stderr).contains("same eight namespaces"), "{}", text(&same.stderr));
}

#[test]
fn enter_is_born_in_a_pid_namespace() {
    let _alone = alone();
    let mut child = sandbox(&["pid", "-q", "--", "sleep", "60"]).spawn().unwrap();
    let pid = support::child_named(child.id(), "sleep").to_string();
    let inside = run(&[
        "enter",
        &pid,
        "-q",
        "--",
        "sh",
        "-c",
        "readlink /proc/self/ns/pid; ls -d /proc/[0-9]* | head -1",
    ]);
    let link = fs::read_link(format!("/proc/{pid}/ns/pid")).unwrap();
    let wanted = format!("{}\n/proc/1\n", link.display());
    assert_eq!(text(&inside.stdout), wanted, "{}", text(&inside.stderr));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn gc_says_what_it_did() {
    let _alone = alone();
    // What another test has killed is removed first.
    wait_until("nothing is left", || text(&run(&["gc"]).stdout) == "no run has left anything behind\n");
    if !is_possible("pids") {
        return;
    }
    let mut child = sandbox(&["pids", "-q", "--max", "9", "--", "sleep", "60"]).spawn().unwrap();
    support::child_named(child.id(), "sleep");
    child.kill().unwrap();
    child.wait().unwrap();
    let told = text(&run(&["gc"]).stdout);
    assert!(told.contains("rmdir ") && told.contains("/sandbox/"), "{told}");
    assert_eq!(left(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_container_that_runs_is_held_against_its_spec() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, spec: &str| {
        let path = directory.path().join(name);
        fs::write(&path, spec).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let spec =
        "uts: { hostname: web }\nuser: { map: root }\nno_new_privileges: true\ncommand: [sleep, '60']\n";
    let (good, other) = (file("good.yaml", spec), file("other.yaml", &spec.replace("web", "wob")));
    let less = file("less.yaml", &spec.replace("user:", "ipc:\nuser:"));
    let mut child = sandbox(&["run", &good, "-q"]).spawn().unwrap();
    let pid = support::child_named(child.id(), "sleep").to_string();
    for spec in [&[good.as_str()][..], &[]] {
        let verified = run(&[&["verify", &pid], spec].concat());
        assert!(verified.status.success(), "{spec:?}: {}", text(&verified.stderr));
    }
    let unknown = run(&["verify", &std::process::id().to_string()]);
    assert_eq!(unknown.status.code(), Some(125));
    assert!(text(&unknown.stderr).contains("has no config"), "{}", text(&unknown.stderr));
    for (file, source) in [(other, "/proc/sys/kernel/hostname"), (less, "/ns/ipc")] {
        let refused = run(&["verify", &pid, &file]);
        assert_eq!(refused.status.code(), Some(125));
        assert!(text(&refused.stderr).contains(source), "{}", text(&refused.stderr));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

/// A running container, started from a spec, and its command's PID on the host.
fn running(spec: &str) -> (std::process::Child, String) {
    let mut child = sandbox(&["run", spec, "-q"]).stderr(Stdio::null()).spawn().unwrap();
    let pid = support::child_named(child.id(), "sleep").to_string();
    assert!(child.try_wait().unwrap().is_none());
    (child, pid)
}

fn end((mut child, _): (std::process::Child, String)) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn mounts_rlimits_and_limits_of_a_container_are_held_against_its_spec() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, spec: &str| {
        let path = directory.path().join(name);
        fs::write(&path, spec).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let mut spec = "rootfs: host\npid:\nmnt:\n  mounts:\n    - { type: tmpfs, target: '/tmp/a b' }\n    \
         - { type: bind, source: /usr, target: /tmp/usr }\n\
         rlimits: { nofile: 64, nproc: '900:901' }\ncommand: [sleep, '60']\n"
        .to_owned();
    let mut changes = vec![
        ("nofile: 64", "nofile: 65", "/limits Max open files"),
        ("'900:901'", "'900:902'", "/limits Max processes"),
        ("'/tmp/a b'", "'/tmp/a c'", "/mountinfo /tmp/a c"),
        ("/tmp/usr }", "/tmp/usr, readonly: true }", "/mountinfo /tmp/usr"),
        ("mnt:\n", "mnt:\n  readonly: true\n", "/mountinfo /\n"),
    ];
    if is_possible("pids") && is_possible("cpu") {
        spec += "pids: { max: 60 }\ncpu: { cpus: 0.5 }\n";
        changes.push(("max: 60", "max: 61", "/pids.max"));
        changes.push(("cpus: 0.5", "cpus: 0.6", "/cpu."));
    }
    let container = running(&file("good.yaml", &spec));
    let verified = run(&["verify", &container.1, &file("good.yaml", &spec)]);
    assert!(verified.status.success(), "{}", text(&verified.stderr));
    // Without the spec, by the config that it was started with: as many values.
    assert_eq!(text(&run(&["verify", &container.1]).stdout), text(&verified.stdout));
    for (is, other, source) in changes {
        let less = spec.replace(is, other);
        assert_ne!(less, spec);
        let refused = run(&["verify", &container.1, &file("other.yaml", &less)]);
        let error = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(125), "{other}");
        // Our own files in /etc are read-only mounts then, too.
        let wanted = if source == "/mountinfo /\n" { 4 } else { 1 };
        assert!(error.contains(source) && error.matches("wanted").count() == wanted, "{other}: {error}");
    }
    // What changes afterwards is found without a spec too.
    let lower = Command::new("prlimit").args(["--pid", &container.1, "--nofile=63:63"]).status();
    assert!(lower.unwrap().success());
    let refused = text(&run(&["verify", &container.1]).stderr);
    assert!(refused.contains("/limits Max open files") && refused.contains("63"), "{refused}");
    end(container);
}

#[test]
fn a_container_is_known_by_its_name_while_it_runs() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("named.yaml");
    fs::write(&path, "name: aquarium\nuts: { hostname: aquarium }\ncommand: [sleep, '60']\n").unwrap();
    let spec = path.to_str().unwrap();
    let unknown = run(&["verify", "aquarium", spec]);
    assert_eq!(unknown.status.code(), Some(125));
    assert!(text(&unknown.stderr).contains("no running container of yours is named aquarium"));
    let first = running(spec);
    let verified = run(&["verify", "aquarium", spec]);
    assert!(
        text(&verified.stdout).starts_with(&format!("{} matches", first.1)),
        "{}",
        text(&verified.stderr)
    );
    assert_eq!(text(&run(&["enter", "aquarium", "-q", "--", "hostname"]).stdout), "aquarium\n");
    assert_eq!(text(&run(&["verify", "aquarium"]).stdout), text(&verified.stdout));
    let second = running(spec);
    let error = text(&run(&["verify", "aquarium", spec]).stderr);
    assert!(error.contains(&first.1) && error.contains(&second.1), "{error}");
    end(first);
    // A container whose `sandbox` was killed is no longer listed.
    let verified = run(&["verify", "aquarium", spec]);
    assert!(text(&verified.stdout).starts_with(&second.1), "{}", text(&verified.stderr));
    end(second);
    assert_eq!(run(&["verify", "aquarium", spec]).status.code(), Some(125));
    assert_eq!(run(&["verify", "-5", spec]).status.code(), Some(2));
}

#[test]
fn the_command_is_found_by_the_container_s_own_path() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("tool");
    let status =
        std::process::Command::new("install").args(["-m", "755", "/bin/true"]).arg(&program).status();
    assert!(status.unwrap().success());
    let (own, directory) = (std::env::var("PATH").unwrap(), directory.path().display().to_string());
    let status = |spec: &str| {
        let mut command = sandbox(&["run", "-", "-q", "--", "tool"]);
        feed(command.env("PATH", format!("{directory}:{own}")), spec).status.code()
    };
    assert_eq!(status("uts:\n"), Some(127), "the caller's PATH isn't the container's");
    assert_eq!(status(&format!("uts:\nenv: {{ PATH: '/nowhere:{directory}' }}\n")), Some(0));
}

#[test]
fn a_container_begins_with_an_environment_and_a_directory_of_its_own() {
    let _alone = alone();
    let spec = "uts: { hostname: web }\nworkdir: /usr\nenv: { GREETING: hello }\n";
    let (status, out, error) =
        run_spec(spec, &["-q", "--", "sh", "-c", "env | cut -d= -f1 | sort; pwd; echo $HOSTNAME"]);
    assert_eq!(status, Some(0), "{error}");
    assert_eq!(out, "GREETING\nHOME\nHOSTNAME\nPATH\nPWD\nTERM\n/usr\nweb\n");
    // The same with a new root, and through a link.
    for directory in ["/usr", "/bin"] {
        let shown = fs::canonicalize(directory).unwrap();
        let (status, out, error) =
            run_spec(&format!("rootfs: host\nworkdir: {directory}\n"), &["-q", "--", "pwd", "-P"]);
        assert_eq!(status, Some(0), "{directory}: {error}");
        assert_eq!(out.trim(), shown.to_str().unwrap());
    }
    let (status, _, error) = run_spec("uts:\nworkdir: /no/such/directory\n", &["-q", "--", "true"]);
    assert_eq!(status, Some(125));
    assert!(error.contains("workdir /no/such/directory") && error.contains("no such directory"), "{error}");
}

#[test]
fn a_timeout_asks_and_then_kills() {
    let _alone = alone();
    let (status, _, error) = run_spec("uts:\ntimeout: 1s\n", &["-q", "--", "sleep", "30"]);
    assert_eq!(status, Some(143), "{error}");
    assert!(error.contains("timeout after 1 s"), "{error}");
    // The kernel does not deliver SIGTERM to process 1 without a handler.
    let (status, _, error) = run_spec("pid:\ntimeout: 1s\n", &["-q", "--", "sleep", "30"]);
    assert_eq!(status, Some(137));
    assert!(error.contains("timeout after 1 s: killed"), "{error}");
}

#[test]
fn what_is_optional_is_left_out_aloud_and_what_is_not_stops_the_run() {
    let _alone = alone();
    if is_possible("memory") {
        return skip(
            "what_is_optional_is_left_out_aloud_and_what_is_not_stops_the_run",
            "machine: this user may have all limits; an ordinary user's run holds it",
        );
    }
    let spec = "uts:\nmemory: { limit: 64MiB }\n";
    assert_eq!(run_spec(spec, &["-q", "--", "true"]).0, Some(125));
    let (status, _, error) = run_spec(&format!("{spec}optional: [memory]\n"), &["-q", "--", "true"]);
    assert_eq!(status, Some(0), "{error}");
    assert!(error.contains("without memory (optional)"), "{error}");
}

#[test]
fn a_container_runs_in_a_user_namespace_too() {
    let _alone = alone();
    let binary = support::binary();
    let binary = binary.to_str().unwrap();
    let nested = "rootfs: host\npid:\nipc:\nnet:\ncapabilities: default\nno_new_privileges: true\n";
    for map in ["", "user: { map: root }\n"] {
        let inner =
            sandbox(&["user", "-q", "--", binary, "run", "-", "-q", "--", "sh", "-c", "echo $$; id -u"]);
        let output = feed(&mut { inner }, format!("{nested}{map}"));
        assert_eq!(text(&output.stdout), "1\n0\n", "{map}{}", text(&output.stderr));
    }
}

#[test]
fn every_shipped_spec_runs() {
    let _alone = alone();
    for entry in fs::read_dir(support::repository().join("lessons/specs")).unwrap().flatten() {
        let path = entry.path();
        let output = run(&["run", path.to_str().unwrap(), "-q", "--", "true"]);
        let error = text(&output.stderr);
        let is_refused = output.status.code() == Some(125) && error.contains("no cgroup can be created");
        assert!(output.status.success() || is_refused && !is_possible("pids"), "{}: {error}", path.display());
    }
    assert_eq!(left(), Vec::<std::path::PathBuf>::new());
}
