//! `sandbox compare`, checked against what /proc shows to the test itself.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{fits, is_root, run, sandbox, skip, snapshot, stdout, text};

const FEATURES: [&str; 8] = ["pid", "mnt", "net", "uts", "ipc", "user", "cgroup", "time"];

/// A process that is killed when the test ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    /// Starts it in `/`, so that the result does not depend on the repository's location.
    fn start(command: &mut Command) -> Running {
        let command = command.current_dir("/").stdout(Stdio::null()).stderr(Stdio::null());
        Running(command.spawn().expect("it can be executed"))
    }

    fn pid(&self) -> i32 {
        self.0.id() as i32
    }

    /// The PID of `sleep`: the process itself, its child or its grandchild.
    fn sleeper(&self) -> i32 {
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            let mut pid = self.pid();
            loop {
                if fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == "sleep\n") {
                    return pid;
                }
                match child_of(pid) {
                    Some(child) => pid = child,
                    None => break,
                }
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("no sleep below {}", self.pid());
    }
}

fn child_of(pid: i32) -> Option<i32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

/// A `sleep` that `sandbox` isolates with these arguments.
fn isolated(arguments: &[&str]) -> (Running, i32) {
    let running = Running::start(&mut sandbox(&[arguments, &["-q", "--", "sleep", "60"]].concat()));
    let sleeper = running.sleeper();
    (running, sleeper)
}

/// A `sleep` in the test's namespaces.
fn beside() -> (Running, i32) {
    let running = Running::start(Command::new("sleep").arg("60"));
    let sleeper = running.sleeper();
    (running, sleeper)
}

fn link(pid: i32, feature: &str) -> String {
    fs::read_link(format!("/proc/{pid}/ns/{feature}")).expect("a namespace").to_string_lossy().into_owned()
}

/// The comparison as JSON.
fn data(pids: &[i32]) -> Value {
    let pids: Vec<String> = pids.iter().map(ToString::to_string).collect();
    let arguments: Vec<&str> =
        ["compare", "--format", "json"].into_iter().chain(pids.iter().map(String::as_str)).collect();
    serde_json::from_str(&stdout(&arguments)).expect("a comparison is JSON")
}

/// The row of one list with this path and field.
fn row<'a>(data: &'a Value, list: &str, path: &str, field: Option<&str>) -> &'a Value {
    let rows = data[list].as_array().expect("a list");
    let found = rows.iter().find(|row| row["path"] == path && row["field"].as_str() == field);
    found.unwrap_or_else(|| panic!("no {path} in {rows:#?}"))
}

fn node<'a>(data: &'a Value, name: &str) -> &'a Value {
    let nodes = data["tree"].as_array().expect("a list");
    nodes.iter().find(|node| node["name"] == name).unwrap_or_else(|| panic!("no {name} in {nodes:#?}"))
}

#[test]
fn the_links_are_those_of_both_processes_and_the_parent_is_the_left_one() {
    let own = std::process::id() as i32;
    for feature in FEATURES {
        let (_running, pid) = isolated(&[feature]);
        let data = data(&[pid]);
        assert_eq!((&data["left"]["pid"], &data["right"]["pid"]), (&own.into(), &pid.into()));
        // The test started it, and is no shell.
        assert_eq!((&data["left"]["is_caller"], &data["right"]["is_caller"]), (&true.into(), &false.into()));
        assert_eq!(data["left"]["is_shell"], false);
        for kind in FEATURES {
            let pair = row(&data, "namespaces", &format!("/proc/PID/ns/{kind}"), None);
            let (left, right) = (link(own, kind), link(pid, kind));
            assert_eq!(
                (&pair["left"]["is"], &pair["right"]["is"]),
                (&left.clone().into(), &right.clone().into())
            );
            assert_eq!(pair["equal"], left == right, "{feature}: {kind}");
            assert_eq!(node(&data, &right)["feature"], kind);
        }
        assert_eq!(row(&data, "namespaces", &format!("/proc/PID/ns/{feature}"), None)["equal"], false);
        assert_eq!(data["refused"], Value::Array(vec![]), "{feature}");
    }
}

#[test]
fn two_processes_stand_in_the_order_in_which_they_were_named() {
    let ((_one, first), (_two, second)) = (beside(), isolated(&["ipc"]));
    let data = data(&[second, first]);
    assert_eq!((&data["left"]["pid"], &data["right"]["pid"]), (&second.into(), &first.into()));
}

#[test]
fn a_process_equals_itself() {
    let own = std::process::id() as i32;
    let data = data(&[own, own]);
    for list in ["namespaces", "processes", "paths"] {
        for pair in data[list].as_array().unwrap() {
            assert_eq!(pair["equal"], true, "{pair}");
        }
    }
}

#[test]
fn the_tree_says_who_owns_what_and_whose_child_it_is() {
    let binary = support::binary();
    // A nested PID namespace. Each PID namespace is owned by a new user namespace.
    let inner = ["user", "-q", "--", binary.to_str().unwrap(), "pid", "-q", "--", "sleep", "60"];
    let arguments = [&["pid", "-q", "--", binary.to_str().unwrap()], &inner[..]].concat();
    let running = Running::start(&mut sandbox(&arguments));
    let pid = running.sleeper();
    let own = std::process::id() as i32;
    let data = data(&[pid]);

    let innermost = node(&data, &link(pid, "pid"));
    assert_eq!(innermost["owner"], link(pid, "user"));
    let middle = node(&data, innermost["parent"].as_str().expect("a parent"));
    assert_eq!(middle["pids"], Value::Array(vec![]), "neither is in it");
    assert_eq!(middle["parent"], link(own, "pid"));
    assert_eq!(node(&data, &link(own, "pid"))["pids"], serde_json::json!([own]));

    // Follows the owners upwards through all user namespaces. The last one must be the test's.
    let user = node(&data, &link(pid, "user"));
    assert_eq!(user["made_by_uid"], nix::unistd::geteuid().as_raw());
    assert_eq!(user["parent"], user["owner"]);
    let mut above = user;
    while above["name"] != link(own, "user") {
        above = node(&data, above["owner"].as_str().expect("ours stands above"));
    }

    let words = stdout(&["compare", &pid.to_string()]);
    assert!(words.contains("neither: shown only as an owner"), "{words}");
    assert!(words.contains(&format!("child of {}", middle["name"].as_str().unwrap())), "{words}");
}

#[test]
fn what_the_kernel_tells_to_a_process_is_read_in_its_place() {
    let hostname = fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_owned();
    let (_running, pid) = isolated(&["uts", "--hostname", "box"]);
    let of_uts = data(&[pid]);
    let pair = row(&of_uts, "paths", "/proc/sys/kernel/hostname", None);
    assert_eq!((&pair["left"]["is"], &pair["right"]["is"]), (&hostname.into(), &"box".into()));
    assert_eq!(pair["equal"], false);

    let (_running, pid) = isolated(&["time", "--boottime", "+1d"]);
    let of_time = data(&[pid]);
    let pair = row(&of_time, "paths", "clock_gettime(CLOCK_BOOTTIME)", None);
    let seconds =
        |side: &str| -> u64 { pair[side]["is"].as_str().unwrap().trim_end_matches(" s").parse().unwrap() };
    assert!((86_390..86_410).contains(&(seconds("right") - seconds("left"))), "{pair}");
    assert_eq!(row(&of_time, "paths", "clock_gettime(CLOCK_REALTIME)", None)["equal"], true);

    // The command, and the helper that reads /proc.
    let (_running, pid) = isolated(&["pid"]);
    let of_pid = data(&[pid]);
    let pair = row(&of_pid, "paths", "/proc/[0-9]*", None);
    assert_eq!(pair["right"]["count"], serde_json::json!([2, "processes"]));
}

#[test]
fn a_cgroup_namespace_begins_the_paths_anew_for_those_in_it_only() {
    let (_running, pid) = isolated(&["cgroup"]);
    let data = data(&[pid]);
    for line in fs::read_to_string("/proc/self/cgroup").unwrap().lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (name, path) = (parts.next().unwrap(), parts.next().unwrap());
        let field = Some(if name.is_empty() { "v2" } else { name });
        // Read from the test's cgroup namespace, both processes have the same path. In its own cgroup namespace, the
        // other process is in `/`.
        let from_here = row(&data, "processes", "/proc/PID/cgroup", field);
        assert_eq!((&from_here["left"]["is"], &from_here["right"]["is"]), (&path.into(), &path.into()));
        let in_place = row(&data, "paths", "/proc/PID/cgroup", field);
        assert_eq!((&in_place["left"]["is"], &in_place["right"]["is"]), (&path.into(), &"/".into()));
    }
}

#[test]
fn what_the_kernel_tells_of_a_process_is_read_below_its_number() {
    let (_running, pid) = isolated(&["user"]);
    let data = data(&[pid]);
    let own = std::process::id();
    for (path, file) in [("/proc/PID/uid_map", "uid_map"), ("/proc/PID/gid_map", "gid_map")] {
        let read = |pid: String| {
            let words = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
            words
                .lines()
                .map(|l| l.split_whitespace().collect::<Vec<_>>().join(" "))
                .collect::<Vec<_>>()
                .join(" | ")
        };
        let pair = row(&data, "processes", path, None);
        assert_eq!(pair["left"]["is"], read(own.to_string()));
        assert_eq!(pair["right"]["is"], read(pid.to_string()));
    }
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let numbers =
        status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap().trim().replace('\t', " ");
    assert_eq!(row(&data, "processes", "/proc/PID/status", Some("NSpid:"))["right"]["is"], numbers);
}

#[test]
fn the_helper_reads_below_the_root_that_a_process_has() {
    if !is_root() {
        return skip(
            "the_helper_reads_below_the_root_that_a_process_has",
            "machine: mount(8) and chroot(2) take root",
        );
    }
    let jail = tempfile::tempdir().unwrap();
    let script = "mount --bind / $0 && mount -t tmpfs none $0/dev && mkdir $0/dev/shm && touch $0/dev/shm/a \
                  $0/dev/shm/b $0/dev/shm/c && exec chroot $0 sleep 60";
    let jail = jail.path().to_str().unwrap();
    let running = Running::start(&mut sandbox(&["mnt", "-q", "--", "sh", "-c", script, jail]));
    let data = data(&[running.sleeper()]);
    assert_eq!(row(&data, "processes", "/proc/PID/root", None)["right"]["is"], jail);
    assert_eq!(row(&data, "paths", "/dev/shm", None)["right"]["count"], serde_json::json!([3, "files"]));
}

/// The text of both links is `/`.
#[test]
fn two_roots_with_one_path_are_told_apart() {
    let spec = tempfile::NamedTempFile::new().unwrap();
    fs::write(spec.path(), "rootfs: host\ncommand: [sleep, '60']\n").unwrap();
    let running = Running::start(&mut sandbox(&["run", "-q", spec.path().to_str().unwrap()]));
    let data = data(&[running.sleeper()]);
    let root = row(&data, "processes", "/proc/PID/root", None);
    assert_eq!(root["equal"], false, "{root}");
    for side in ["left", "right"] {
        assert!(root[side]["is"].as_str().unwrap().starts_with("/ (device "), "{root}");
    }
    // A process with the same root.
    let running = Running::start(&mut sandbox(&["uts", "-q", "--", "sleep", "60"]));
    let data = self::data(&[running.sleeper()]);
    assert_eq!(row(&data, "processes", "/proc/PID/root", None)["right"]["is"], "/");
}

/// The number of values depends on the machine: there is one cgroup line for each hierarchy.
fn without_counts(words: &str) -> String {
    let count = regex_lite::Regex::new(r"\d+ values").unwrap();
    count.replace_all(words, "<some> values").into_owned()
}

#[test]
fn a_comparison_looks_so() {
    let ((_one, left), (_two, right)) = (beside(), isolated(&["uts", "--hostname", "box"]));
    let words = stdout(&["compare", &left.to_string(), &right.to_string()]);
    fits(&words, 80, 40);
    snapshot("compare-uts", &without_counts(&words));

    let ((_one, left), (_two, right)) = (beside(), beside());
    let words = stdout(&["compare", &left.to_string(), &right.to_string()]);
    snapshot("compare-equal", &without_counts(&words));
}

#[test]
fn a_narrow_terminal_and_all_values_lose_nothing() {
    let (_running, pid) = isolated(&["pid"]);
    let data = data(&[pid]);
    let all = stdout(&["compare", "--all", &pid.to_string()]);
    for list in ["namespaces", "processes", "paths"] {
        for pair in data[list].as_array().unwrap() {
            assert!(all.contains(pair["path"].as_str().unwrap()), "{pair} isn't in\n{all}");
        }
    }
    fits(&all, 80, 160);
    let narrow = sandbox(&["compare", &pid.to_string()]).env("COLUMNS", "40").output().unwrap();
    let narrow = text(&narrow.stdout);
    assert!(narrow.contains(&format!("      pid {pid}")), "{narrow}");
}

#[test]
fn a_name_does_not_speak_to_the_terminal() {
    let mut child = Command::new("sh");
    child.args(["-c", r"printf '\033[31mred' > /proc/$$/comm; read line"]).stdin(Stdio::piped());
    let running = Running::start(&mut child);
    let named = |pid| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.contains("red"));
    let deadline = Instant::now() + Duration::from_secs(5);
    while !named(running.pid()) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    let words = stdout(&["compare", &running.pid().to_string()]);
    assert!(words.contains("red (pid") && !words.contains('\x1b'), "{words}");
}

/// The error message of a run that must end with this status.
fn refusal(arguments: &[&str], status: i32) -> String {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(status), "{}", text(&output.stdout));
    assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
    text(&output.stderr)
}

#[test]
fn a_process_that_is_not_there_has_ended_or_is_a_thread_gets_a_sentence() {
    let gone = {
        let (_running, pid) = beside();
        pid
    };
    let words = refusal(&["compare", &gone.to_string()], 125);
    assert!(words.contains("there is no process") && words.contains("ESRCH"), "{words}");

    let zombie = Running(Command::new("true").spawn().unwrap());
    let status = format!("/proc/{}/status", zombie.pid());
    while !fs::read_to_string(&status).unwrap().contains("Z (zombie)") {
        std::thread::sleep(Duration::from_millis(5));
    }
    let words = refusal(&["compare", &zombie.pid().to_string()], 125);
    assert!(words.contains("it is a zombie"), "{words}");

    // The test does not run in the main thread.
    let thread = nix::unistd::gettid().to_string();
    let words = refusal(&["compare", &thread], 125);
    assert!(words.contains("is a thread"), "{words}");

    for wrong in [&["compare"][..], &["compare", "0"], &["compare", "-1"], &["compare", "1", "2", "3"]] {
        refusal(wrong, 2);
    }
}

/// Case 1: `sandbox` runs as UID 1000 and `sleep` as root. Case 2: both run as UID 1000, but root owns the uts
/// namespace.
#[test]
fn what_belongs_to_others_is_refused_plainly() {
    if !is_root() {
        let words = refusal(&["compare", "1"], 125);
        assert!(words.contains("belongs to user 0") && words.contains("EACCES"), "{words}");
        return;
    }
    let directory = tempfile::tempdir_in("/tmp").unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let binary = directory.path().join("sandbox");
    support::install("755", &support::binary(), &binary);
    let as_user = |pid: i32| {
        let mut command = Command::new(&binary);
        command.args(["compare", &pid.to_string()]).env("COLUMNS", "80").current_dir("/");
        // The parent is this test, which runs as root. The command therefore gets the PID twice, so it does not read
        // its parent.
        command.arg(pid.to_string()).uid(1000).gid(1000).output().unwrap()
    };
    let (_running, of_root) = beside();
    let refused = as_user(of_root);
    assert_eq!(refused.status.code(), Some(125));
    assert!(text(&refused.stderr).contains("belongs to user 0"), "{}", text(&refused.stderr));

    // The user may read this process in /proc, but may not enter its namespace.
    let script = "exec setpriv --reuid=1000 --regid=1000 --clear-groups sleep 60";
    let (_running, pid) = {
        let running =
            Running::start(&mut sandbox(&["uts", "-q", "--hostname", "box", "--", "sh", "-c", script]));
        let pid = running.sleeper();
        (running, pid)
    };
    let output = as_user(pid);
    let words = text(&output.stdout);
    assert!(words.contains("?? (uts: EPERM)"), "{words}");
    assert!(words.contains("The helper could not enter: uts"), "{words}");
}

#[test]
fn no_helper_stays_behind() {
    let (_running, pid) = isolated(&["pid"]);
    let inside = || {
        // Every process in the PID namespace of `pid`, with its PID in the test's namespace.
        let all = fs::read_dir("/proc").unwrap().flatten();
        let numbers = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let link_of = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        numbers.filter(|other| link_of(*other) == link_of(pid)).collect::<Vec<_>>()
    };
    assert_eq!(inside(), [pid]);
    stdout(&["compare", &pid.to_string()]);
    let deadline = Instant::now() + Duration::from_secs(5);
    while inside() != [pid] && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(inside(), [pid]);
}

#[test]
fn a_closed_pipe_is_no_error() {
    let (_running, pid) = beside();
    let mut child = sandbox(&["compare", &pid.to_string()]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
