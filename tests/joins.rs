//! Namespaces that a container joins: `host`, `container:NAME` or a path, by keys of the spec and by flags of `run`.
//!
//! Other inputs of the same kind as the ones here:
//! - kinds: each namespace; several at once; with a user namespace that owns them, and without one.
//! - targets: a container with an init; one that joined itself; one that shares the network of the host; two of one name;
//!   a PID; a bind mount of a namespace, as `ip netns add` makes it; a file that is none.
//! - options beside the join: each one that would change the namespace for others.

mod support;

use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use support::background::{Background, mark, with_argument};
use support::kept::KeptHome;
use support::lab::ran_with_loopback;
use support::running::Running;
use support::{alone, binary, is_root, skip, text, wait_until};

/// The kinds, each with the flag of `run`.
const KINDS: [(&str, Option<&str>); 7] = [
    ("pid", Some("--pid")),
    ("net", Some("--network")),
    ("ipc", Some("--ipc")),
    ("uts", Some("--uts")),
    ("user", Some("--userns")),
    ("cgroup", Some("--cgroupns")),
    ("time", None),
];

const ALL: &str = "pid:\nnet:\nipc:\nuts: { hostname: aquarium }\nuser: { map: root }\ncgroup:\ntime:\n";

fn link(process: impl std::fmt::Display, kind: &str) -> String {
    fs::read_link(format!("/proc/{process}/ns/{kind}")).unwrap().display().to_string()
}

/// Runs a spec with flags. It ends by itself, or after 20 seconds with status 124.
fn run_spec(directory: &Path, flags: &[&str], spec: &str) -> Output {
    let file = directory.join("spec.yaml");
    fs::write(&file, spec).unwrap();
    let program = binary();
    let words = [&["20", program.to_str().unwrap(), "run", "-q"], flags, &[file.to_str().unwrap()]].concat();
    Command::new("timeout").args(words).output().unwrap()
}

/// Its standard output and standard error.
fn both(output: &Output) -> String {
    text(&output.stdout) + &text(&output.stderr)
}

fn has_time_namespaces() -> bool {
    Path::new("/proc/self/ns/time").exists()
}

#[test]
fn each_kind_is_the_one_that_is_named() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let other = Running::with("joins-all", &[], ALL, "");
    let (container, path_of) =
        (format!("container:{}", other.name), |kind: &str| format!("/proc/{}/ns/{kind}", other.pid));
    for (kind, flag) in KINDS.into_iter().filter(|(kind, _)| *kind != "time" || has_time_namespaces()) {
        let (own, theirs) = (link("self", kind), link(other.pid, kind));
        assert_ne!(own, theirs);
        for (target, wanted) in [("host", &own), (&*container, &theirs), (&*path_of(kind), &theirs)] {
            // The other namespaces belong to that user namespace, so an ordinary user joins it too. Root joins them
            // without it.
            let user = match kind != "user" && !is_root() && target != "host" {
                true => format!(
                    "user: {{ join: '{}' }}\n",
                    if target.starts_with('/') { path_of("user") } else { container.clone() }
                ),
                false => String::new(),
            };
            let command = format!("command: [readlink, /proc/self/ns/{kind}]\n");
            let key = format!("{kind}: {{ join: '{target}' }}\n{user}{command}");
            let shown = run_spec(directory.path(), &[], &key);
            assert_eq!(both(&shown).trim(), *wanted, "{key}");
            let Some(flag) = flag else { continue };
            // The flag replaces what the spec has.
            let spec = format!("{kind}:\n{user}{command}");
            let shown = run_spec(directory.path(), &[flag, target], &spec);
            assert_eq!(both(&shown).trim(), *wanted, "{flag} {target}: {spec}");
        }
    }
}

/// /proc/PID/status shows other IDs outside than inside.
/// A container is named as `exec` and `verify` take it: by its name, the PID of its command, or its ID. Of this kind: two of
/// one name · a container that stays, by its name, its whole ID, 12 digits of it · by a flag and in a spec.
#[test]
fn a_container_is_joined_by_its_name_its_pid_or_its_id() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let (first, second) = (Running::of("uts:\n", ""), Running::of("uts:\n", ""));
    let home = KeptHome::new();
    let id = home.out(&["run", "-d", "--name", "kept", &home.spec("uts:\n", "exec sleep 600")]);
    let kept = home.pid("kept", "command");
    for (target, pid) in [
        (first.pid.to_string(), first.pid),
        (second.pid.to_string(), second.pid),
        ("kept".into(), kept),
        (id.clone(), kept),
        (id[..12].into(), kept),
    ] {
        // An ordinary user joins the user namespace too, which owns the other one.
        let user = format!("user: {{ join: 'container:{target}' }}\n");
        let user = if is_root() { "" } else { &user };
        for (flags, key) in [
            (&[&*format!("--uts=container:{target}")][..], String::new()),
            (&[], format!("uts: {{ join: 'container:{target}' }}\n")),
        ] {
            let spec = format!("{user}{key}command: [readlink, /proc/self/ns/uts]\n");
            let output = run_spec(directory.path(), flags, &spec);
            assert_eq!(text(&output.stdout).trim(), link(pid, "uts"), "{flags:?} {spec} {}", both(&output));
        }
    }
    home.out(&["rm", "-f", "kept"]);
}

#[test]
fn the_ids_of_another_user_namespace_are_verified_from_outside() {
    if !is_root() {
        return skip(
            "the_ids_of_another_user_namespace_are_verified_from_outside",
            "machine: only root can map IDs of others",
        );
    }
    let _alone = alone();
    let user = "user: { map: '0:100000:1000' }\nrun_as: '5:6'\n";
    let first = Running::with("ids-first", &[], &format!("rootfs: host\npid:\n{user}"), "");
    let joins = format!("user: {{ join: 'container:{}' }}\nrun_as: '7:8'\n", first.name);
    let second = Running::with("ids-second", &[], &joins, "");
    for (container, owner) in [(first, "100005"), (second, "100007")] {
        let status = std::fs::read_to_string(format!("/proc/{}/status", container.pid)).unwrap();
        assert!(status.contains(&format!("\nUid:\t{owner}\t")), "{status}");
        let output = Command::new(binary()).args(["verify", &container.name]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", both(&output));
    }
}

/// All kinds at once, with a new mount namespace, in which /proc and /sys show what was joined.
#[test]
fn a_container_in_all_namespaces_of_another_one_is_verified() {
    let _alone = alone();
    let first = Running::with("joins-first", &[], ALL, "hostname aquarium2; exec 2>/dev/null");
    let target = format!("container:{}", first.name);
    let keys: Vec<String> = KINDS
        .iter()
        .filter(|(kind, _)| *kind != "time" || has_time_namespaces())
        .map(|(kind, _)| format!("{kind}: {{ join: '{target}' }}\n"))
        .collect();
    let spec = keys.concat();
    let second = Running::with("joins-second", &[], &spec, "");
    for (kind, _) in KINDS.into_iter().filter(|(kind, _)| *kind != "time" || has_time_namespaces()) {
        assert_eq!(link(second.pid, kind), link(first.pid, kind), "{kind}");
    }
    assert_ne!(link(second.pid, "mnt"), link(first.pid, "mnt"));
    let file = second.directory.path().join("spec.yaml");
    let verify = |flags: &[&str]| {
        let words = [&["verify"], flags, &[&*second.name, file.to_str().unwrap()]].concat();
        let output = Command::new(binary()).args(words).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", both(&output));
        text(&output.stdout)
    };
    let shown = verify(&[]);
    assert!(shown.contains(&format!("container {}", first.name)) && shown.contains("shared"), "{shown}");
    let json: serde_json::Value = serde_json::from_str(&verify(&["--format", "json"])).unwrap();
    let joined = json["joined"].as_array().unwrap();
    assert_eq!(joined.len(), keys.len());
    assert!(joined.iter().any(|one| one["feature"] == "net" && one["namespace"] == *link(first.pid, "net")));
    // One that joined is a container like any other: a third one can join it.
    let directory = tempfile::tempdir().unwrap();
    let spec = format!(
        "user: {{ join: 'container:{0}' }}\npid: {{ join: 'container:{0}' }}\ncommand: [sh, -c, 'hostname; ls -d /proc/[0-9]*']\nuts: {{ join: '/proc/{1}/ns/uts' }}\n",
        second.name, second.pid
    );
    let shown = both(&run_spec(directory.path(), &[], &spec));
    // The first, the second and the third: process 1, a shell's sleep, and ls with its shell.
    assert!(shown.starts_with("aquarium2\n") && shown.contains("/proc/1\n"), "{shown}");
    assert!((3..=6).contains(&shown.matches("/proc/").count()), "{shown}");
}

/// Two containers of a pod: the second one has the network, the published port and the shared memory of the first.
#[test]
fn two_containers_share_a_network_and_shared_memory() {
    if ran_with_loopback("two_containers_share_a_network_and_shared_memory") {
        return;
    }
    let _alone = alone();
    if !Path::new("/usr/bin/perl").exists() {
        return skip("two_containers_share_a_network_and_shared_memory", "perl is not installed");
    }
    let user = if is_root() { "" } else { "user: { map: root }\n" };
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let memory = "perl -e '$i = shmget(7777, 64, 01600); shmwrite($i, \"from the first\", 0, 14)'";
    let spec =
        format!("{user}net: {{ publish: ['127.0.0.1:{port}:7000'] }}\nipc:\nuts: {{ hostname: pod }}\n");
    let first = Running::with("joins-pod", &[], &spec, memory);
    let target = format!("container:{}", first.name);
    let userns = if is_root() { vec![] } else { vec!["--userns", &*target] };
    let flags = [&["--network", &*target, "--ipc", &*target], &*userns].concat();
    let server = "perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(LocalAddr => \"127.0.0.1\", LocalPort => 7000, Listen => 5) or die; \
                  while ($c = $s->accept) { print $c \"from the second\"; close $c }' & echo $! > /dev/null";
    let second = Running::with("joins-server", &flags, "uts: { hostname: server }\n", server);
    assert_eq!(link(first.pid, "net"), link(second.pid, "net"));
    assert_ne!(link(first.pid, "uts"), link(second.pid, "uts"));
    // A third one sees the server on the loopback device of the pod, and the memory of the first.
    let directory = tempfile::tempdir().unwrap();
    let client = "command: [perl, -MIO::Socket::INET, -e, '$i = shmget(7777, 64, 0); shmread($i, $m, 0, 14); \
                  for (1..100) { $s = IO::Socket::INET->new(\"127.0.0.1:7000\") and last; select undef, undef, undef, 0.02 } \
                  print \"$m|\", <$s>']\n";
    let shown = both(&run_spec(directory.path(), &flags, client));
    assert_eq!(shown, "from the first|from the second");
    // The port that the first one has published leads to the server of the second one.
    let published = || {
        let mut content = String::new();
        let stream = TcpStream::connect(("127.0.0.1", port));
        stream.and_then(|mut stream| stream.read_to_string(&mut content)).map(|_| content).unwrap_or_default()
    };
    wait_until("the published port is served", || published() == "from the second");
    drop(second);
    // What the second one had joined is still there for the first one.
    assert!(fs::read_link(format!("/proc/{}/ns/net", first.pid)).is_ok());
    let shown = both(&run_spec(directory.path(), &flags, "command: [cat, /proc/sysvipc/shm]\n"));
    assert!(shown.contains(" 7777 "), "{shown}");
}

/// The namespace stays when its container ends.
#[test]
fn a_namespace_outlives_the_container_that_made_it() {
    let _alone = alone();
    let user = if is_root() { "" } else { "user: { map: root }\n" };
    let first = Running::with("joins-short", &[], &format!("{user}net:\nuts: {{ hostname: stays }}\n"), "");
    let target = format!("container:{}", first.name);
    let join = format!("uts: {{ join: '{target}' }}\nnet: {{ join: '{target}' }}\n");
    let join = if is_root() { join } else { format!("user: {{ join: '{target}' }}\n{join}") };
    let second = Running::with("joins-longer", &[], &join, "");
    let net = link(first.pid, "net");
    let path = PathBuf::from(format!("/proc/{}", first.pid));
    drop(first);
    wait_until("the first container has ended", || !path.exists());
    assert_eq!(link(second.pid, "net"), net);
    let directory = tempfile::tempdir().unwrap();
    let shown = both(&run_spec(directory.path(), &[], &format!("{join}command: [hostname]\n")));
    assert!(shown.contains("no running container of yours is named"), "{shown}");
    let join = join.replace(&target, &format!("container:{}", second.name));
    let shown = both(&run_spec(directory.path(), &[], &format!("{join}command: [hostname]\n")));
    assert_eq!(shown, "stays\n");
}

#[test]
fn the_files_of_a_shared_network_are_shared() {
    let _alone = alone();
    let spec = "rootfs: host\nuser: { map: root }\nnet:\nuts: { hostname: harbour }\n";
    let first = Running::with(
        "joins-files",
        &[],
        spec,
        "echo 10.9.8.7 db >> /etc/hosts; echo nameserver 10.9.8.6 > /etc/resolv.conf",
    );
    let target = format!("container:{}", first.name);
    let directory = tempfile::tempdir().unwrap();
    let spec = "rootfs: host\nuts:\ncommand: [sh, -c, 'hostname; echo $HOSTNAME; cat /etc/hostname /etc/hosts /etc/resolv.conf; cat /proc/net/dev | wc -l; ls /sys/class/net']\n";
    let shown = both(&run_spec(directory.path(), &["--network", &target, "--userns", &target], spec));
    assert!(shown.starts_with("harbour\nharbour\nharbour\n"), "{shown}");
    assert!(shown.contains("10.9.8.7 db\nnameserver 10.9.8.6\n3\nlo\n"), "{shown}");
    // A hostname of its own is possible: it belongs to another namespace.
    let spec = spec.replace("uts:", "uts: { hostname: crane }");
    let shown = both(&run_spec(directory.path(), &["--network", &target, "--userns", &target], &spec));
    assert!(shown.starts_with("crane\ncrane\ncrane\n"), "{shown}");
}

#[test]
fn what_cannot_be_joined_is_refused_with_advice() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let first = Running::with("joins-refused", &[], ALL, "");
    let fifo = directory.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let (fifo, pid) = (fifo.display(), first.pid);
    let target = format!("container:{}", first.name);
    let user = format!("user: {{ join: '{target}' }}\n");
    let mut cases = vec![
        // Files that are no namespace of the kind. None of them is waited for.
        (format!("net: {{ join: {fifo} }}\n"), vec!["is no net namespace", "FIFO"]),
        ("net: { join: /etc/passwd }\n".into(), vec!["is no net namespace", "regular file"]),
        ("net: { join: /dev/null }\n".into(), vec!["is no net namespace", "device"]),
        ("net: { join: / }\n".into(), vec!["is no net namespace", "directory"]),
        (format!("net: {{ join: /proc/{pid}/ns/uts }}\n"), vec!["is no net namespace", "a uts namespace"]),
        ("net: { join: /no/such }\n".into(), vec!["/no/such cannot be joined", "ENOENT", "does not exist"]),
        (
            "net: { join: 'container:no-such' }\n".into(),
            vec!["no running container of yours is named no-such"],
        ),
        // A value of another form, with its place.
        ("net: { join: web }\n".into(), vec!["spec.yaml:1:14", "container:NAME"]),
        ("pid: { join: ./ns }\n".into(), vec!["spec.yaml:1:14", "container:NAME"]),
        ("net: 'container:web'\n".into(), vec!["net: { join: \"container:web\" }"]),
        // Options that would change the namespace for others, each with its place.
        (
            format!("{user}net: {{ join: '{target}', publish: ['8080:80'] }}\n"),
            vec!["spec.yaml:2:", "publish", "ports of that network"],
        ),
        (format!("{user}net: {{ join: '{target}', mode: bridge }}\n"), vec!["spec.yaml:2:", "mode: bridge"]),
        (format!("{user}net: {{ join: '{target}', lo: down }}\n"), vec!["spec.yaml:2:", "lo: down"]),
        (
            format!("{user}uts: {{ join: '{target}', hostname: box }}\n"),
            vec!["spec.yaml:2:", "hostname: box", "for them too"],
        ),
        (format!("{user}pid: {{ join: '{target}', init: true }}\n"), vec!["spec.yaml:2:", "process 1"]),
        (format!("{user}init: true\npid: {{ join: '{target}' }}\n"), vec!["spec.yaml:2:", "process 1"]),
        ("init: true\npid: { join: host }\n".into(), vec!["process 1"]),
        ("uts: { join: host, hostname: box }\n".into(), vec!["hostname: box"]),
        (
            format!("user: {{ join: '{target}', map: auto }}\n"),
            vec!["spec.yaml:1:", "map: auto", "written once"],
        ),
        (format!("mnt: {{ join: '{target}' }}\n"), vec!["sandbox enter"]),
    ];
    if has_time_namespaces() {
        cases.push((
            format!("{user}time: {{ join: '{target}', boottime: 1h }}\n"),
            vec!["spec.yaml:2:", "boottime", "first process"],
        ));
    }
    if !is_root() {
        cases.extend([
            (format!("net: {{ join: '{target}' }}\n"), vec!["CAP_SYS_ADMIN", "--userns=container:"]),
            (format!("ipc: {{ join: /proc/{pid}/ns/ipc }}\n"), vec!["CAP_SYS_ADMIN", "--userns=/proc/"]),
            (
                "net: { join: /proc/1/ns/net }\n".into(),
                vec!["/proc/1/ns/net cannot be joined", "EACCES", "sudo"],
            ),
            ("uts:\nuser: { join: host }\n".into(), vec!["CAP_SYS_ADMIN", "--userns"]),
        ]);
    } else {
        cases.push((
            format!("user: {{ map: auto }}\npid: {{ join: '{target}' }}\n"),
            vec!["/proc of the joined namespace cannot be mounted"],
        ));
    }
    for (spec, words) in cases {
        let output = run_spec(directory.path(), &[], &format!("{spec}command: ['true']\n"));
        let shown = both(&output).split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(output.status.code(), Some(125), "{spec}{shown}");
        assert!(words.iter().all(|word| shown.contains(word)), "{spec}{words:?}: {shown}");
    }
    let output = run_spec(directory.path(), &["--pid", "shareable"], "command: ['true']\n");
    assert_eq!(output.status.code(), Some(2), "{}", both(&output));
}

/// In a joined PID namespace, orphans get process 1 of that namespace as their parent. They are killed all the same, also those
/// that have left a namespace. The processes of the other container are not, nor is one that was put in from outside.
#[test]
fn nothing_is_left_in_a_joined_pid_namespace() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let [theirs, ours, left, outside] = [1, 2, 3, 4].map(mark);
    let first = Running::with("joins-orphans", &[], ALL, &format!("sleep {theirs} & true"));
    let target = format!("container:{}", first.name);
    // An ordinary user has no cgroup here, and a process that has left all new namespaces is not found. Root's is.
    let leaves = if is_root() { "unshare -m -u" } else { "unshare -m" };
    let path = |name: &str| directory.path().join(name).display().to_string();
    let orphan = |mark: &str| format!("sh -c 'echo >> {}; exec sleep {mark}'", path("begun"));
    let script = format!(
        "{0} & setsid {0} & {leaves} {1} & until [ -e {2} ]; do sleep 0.01; done; exit 7",
        orphan(&ours),
        orphan(&left),
        path("go")
    );
    let spec = format!("uts:\ncommand: [sh, -c, {}]\n", serde_json::to_string(&script).unwrap());
    fs::write(path("begun"), "").unwrap();
    let (output, entered) = std::thread::scope(|scope| {
        let enters = scope.spawn(|| {
            wait_until("the orphans run", || fs::read_to_string(path("begun")).unwrap().lines().count() == 3);
            wait_until("they sleep", || with_argument(&ours).len() == 2);
            // A process of an administrator, in all namespaces of the second container.
            let pid = with_argument(&ours)[0].to_string();
            let user: &[&str] = if is_root() { &[] } else { &["-U", "--preserve-credentials"] };
            let words = [&["-t", &*pid, "-m", "-u", "-p"], user, &["sleep", &*outside]].concat();
            let entered = Background::quiet(Command::new("nsenter").args(words));
            wait_until("it is entered", || with_argument(&outside).len() == 2);
            fs::write(path("go"), "").unwrap();
            entered
        });
        let output = run_spec(directory.path(), &["--pid", &target, "--userns", &target], &spec);
        (output, enters.join().unwrap())
    });
    let outsiders = with_argument(&outside).len();
    for pid in with_argument(&outside) {
        let pid = nix::unistd::Pid::from_raw(pid.cast_signed());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
    }
    drop(entered);
    assert_eq!(output.status.code(), Some(7), "{}", both(&output));
    assert_eq!((with_argument(&ours), with_argument(&left)), (vec![], vec![]), "{}", both(&output));
    assert_eq!(outsiders, 2, "nsenter and its process are not ours");
    assert_eq!(with_argument(&theirs).len(), 1);
    assert!(
        both(&run_spec(
            directory.path(),
            &["--pid", &target, "--userns", &target],
            "command: [sh, -c, 'echo $PPID']\n"
        )) == "0\n"
    );
}

/// What the advice says is possible. And the plan has its reasons, without running anything.
#[test]
fn a_plan_explains_its_joins() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let first = Running::with("joins-plan", &[], ALL, "");
    let target = format!("container:{}", first.name);
    let spec = "command: ['true']\n";
    let flags = ["--network", &*target, "--pid", &target, "--userns", &target];
    let output = run_spec(directory.path(), &[&flags[..], &["--dry-run", "--format", "json"]].concat(), spec);
    let plan: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let calls: Vec<&str> =
        plan["steps"].as_array().unwrap().iter().map(|step| step["call"]["text"].as_str().unwrap()).collect();
    let place = |part: &str| {
        calls.iter().position(|call| call.contains(part)).unwrap_or_else(|| panic!("{part}: {calls:?}"))
    };
    assert!(place(&format!("openat(AT_FDCWD, \"/proc/{}/ns/user\"", first.pid)) < place("socketpair"));
    assert!(place("setns(<user>, CLONE_NEWUSER)") < place("setns(<net>, CLONE_NEWNET)"));
    assert!(place("setns(<pid>, CLONE_NEWPID)") < place("CLONE_PARENT"));
    assert_eq!(plan["joined"].as_array().unwrap().len(), 3);
    let output = run_spec(directory.path(), &[&flags[..], &["--explain"]].concat(), spec);
    let shown = both(&output).split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(output.status.code(), Some(0), "{shown}");
    for part in [
        "joins user, pid, net: container",
        "it owns the others",
        "for its next child",
        "opened before anything is made",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let shown = both(&run_spec(directory.path(), &[&flags[..], &["--show-proc"]].concat(), spec));
    assert!(shown.contains(&format!("container {}", first.name)), "{shown}");
}

/// The kernel's answer decides which namespaces may be joined. If it cannot be read, that is the error.
#[test]
fn an_answer_about_a_namespace_that_cannot_be_read_is_an_error() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let other = Running::with("joins-unread", &[], ALL, "");
    let join = |kind: &str| format!("{kind}: {{ join: /proc/{}/ns/{kind} }}\n", other.pid);
    let file = directory.path().join("spec.yaml");
    fs::write(&file, ["user", "pid", "net", "uts"].map(join).concat() + "command: [\"true\"]\n").unwrap();
    let mut named = Vec::new();
    for (call, count) in [("ioctl", 9), ("newfstatat", 3), ("fstat", 6), ("read", 9)] {
        for nth in 1..=count {
            let inject = format!("inject={call}:error=EIO:when={nth}");
            let mut strace = Command::new("strace");
            // Without -f: only calls of `sandbox` itself fail.
            strace.args(["-qq", "-o", "/dev/null", "-e", &inject]).arg(binary()).args(["run", "-q"]);
            let shown = both(&strace.arg(&file).output().unwrap());
            let shown = shown.split_whitespace().collect::<Vec<_>>().join(" ");
            let is_joined = !shown.contains("cannot be joined");
            assert!(is_joined || shown.contains("= -1 EIO ("), "{call}#{nth}: {shown}");
            let answers = ["NS_GET_PARENT", "NS_GET_USERNS"];
            named.extend(answers.into_iter().filter(|answer| !is_joined && shown.contains(answer)));
        }
    }
    assert!(["NS_GET_PARENT", "NS_GET_USERNS"].iter().all(|one| named.contains(one)), "{named:?}");
}

/// The other container may have been started again meanwhile, and have another name.
#[test]
fn a_container_that_stays_joins_again_at_each_start() {
    let home = KeptHome::new();
    let first = home.spec("uts: { hostname: first }\n", "exec sleep 600");
    home.out(&["run", "-d", "--name", "first", &first]);
    let second = home.spec("", "exec sleep 600");
    let flags: &[&str] = match is_root() {
        true => &["--uts=container:first"],
        false => &["--uts=container:first", "--userns=container:first"],
    };
    home.out(&[&["run", "-d", "--name", "second"], flags, &[&second]].concat());
    let are_together = || {
        let [one, other] = ["first", "second"].map(|name| {
            let name = if home.status(name) == "absent" { "renamed" } else { name };
            link(home.pid(name, "command"), "uts")
        });
        one == other
    };
    assert!(are_together());
    home.out(&["restart", "-t", "0", "first"]);
    assert!(!are_together());
    let verified = home.out(&["verify", "second"]);
    assert!(verified.contains("when this container was started"), "{verified}");
    home.out(&["restart", "-t", "0", "second"]);
    assert!(are_together());
    let verified = home.out(&["verify", "second"]);
    assert!(!verified.contains("when this container was started"), "{verified}");
    home.out(&["rename", "first", "renamed"]);
    home.out(&["restart", "-t", "0", "second"]);
    assert!(are_together());
    home.out(&["stop", "-t", "0", "renamed", "second"]);
    assert!(home.refused(&["start", "second"], 1).contains("no running container"));
}
