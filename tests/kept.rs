//! Containers that stay: create, start, stop, restart, kill, wait, rm, rename, ps, inspect, port, top, attach.
//!
//! Judged by what the kernel shows of their processes, by the files in HOME and RUN, and by Docker's words.
//!
//! Other inputs of the same kind as the ones here:
//! - every command on a container in every state, by name, by ID and by the beginning of an ID; several containers at once.
//! - commands that end by themselves, by each signal, that ignore signals; with an init, without a PID namespace, in a terminal.
//! - HOME that does not exist, that is a file, that others may write to; names that are taken, too short, too long.

mod support;

use std::fs;
use std::io::Write;
use std::process::Stdio;

use support::kept::{KeptHome, in_run, lives};
use support::terminal::Terminal;
use support::{binary, is_root, sample, state, text, wait_until};

#[test]
fn a_container_goes_from_created_to_running_to_exited_and_again() {
    let home = KeptHome::new();
    let spec = home.spec("name: box", "trap 'exit 7' TERM; echo up; while :; do sleep 0.1; done");
    let id = home.out(&["create", &spec]);
    assert!(id.len() == 64 && id.bytes().all(|digit| digit.is_ascii_hexdigit()), "{id}");
    assert_eq!(home.status("box"), "created");
    assert!(home.state("box")["command"].is_null() && !in_run(&id).exists());
    assert_eq!(home.out(&["ps"]).lines().count(), 1, "only running ones");
    for times in 1..=2 {
        assert_eq!(home.out(&["start", "box"]), "box");
        let (supervisor, command) = (home.pid("box", "supervisor"), home.pid("box", "command"));
        let parent = fs::read_to_string(format!("/proc/{command}/stat")).unwrap();
        let parent = parent.rsplit(") ").next().unwrap().split(' ').nth(1).unwrap().to_owned();
        assert_eq!(parent, supervisor.to_string());
        assert_eq!((home.status("box"), in_run(&id).join("lock").exists()), ("running".into(), true));
        assert!(home.out(&["ps"]).contains("Up "));
        wait_until("it has its handler", || home.out(&["logs", "box"]).matches("up").count() == times);
        // Started twice, it goes on.
        assert_eq!(home.out(&["start", "box"]), "box");
        assert_eq!(home.pid("box", "command"), command);
        // The name is printed as it was given, as docker does.
        assert_eq!(home.out(&["stop", &id[..5]]), id[..5]);
        assert!(!lives(supervisor) && !lives(command) && !in_run(&id).exists());
        let inspected = home.inspected("box");
        assert_eq!((&inspected["Status"], &inspected["ExitCode"]), (&"exited".into(), &7.into()));
        assert!(inspected["FinishedAt"].as_str() > inspected["StartedAt"].as_str());
        assert!(home.out(&["ps", "-a"]).contains("Exited (7) "));
        assert_eq!(home.out(&["wait", "box"]), "7");
        assert_eq!(home.out(&["stop", "box"]), "box", "it is stopped already");
    }
    assert_eq!(home.out(&["rm", "box"]), "box");
    home.is_empty();
}

/// No run of another test has this name: `exec` would find it.
const WEB: &str = "kept-web";

/// For each state, what each command answers: its status, and a part of its message.
#[test]
fn each_command_knows_each_state() {
    let home = KeptHome::new();
    let spec = home.spec("", "exec sleep 600");
    let not_running = "is not running";
    type Answers = [(i32, &'static str); 3];
    let table: [(&[&str], Answers); 10] = [
        (&["kill", "X"], [(1, not_running), (0, ""), (1, not_running)]),
        (&["stop", "-t", "0", "X"], [(0, ""), (0, ""), (0, "")]),
        (&["attach", "X"], [(1, "start it first"), (-1, ""), (1, "start it first")]),
        (&["top", "X"], [(1, not_running), (0, ""), (1, not_running)]),
        (&["logs", "X"], [(0, ""), (0, ""), (0, "")]),
        (&["port", "X"], [(0, ""), (0, ""), (0, "")]),
        (&["inspect", "X"], [(0, ""), (0, ""), (0, "")]),
        (&["wait", "X"], [(0, ""), (-1, ""), (0, "")]),
        (&["exec", "-q", "X", "true"], [(1, not_running), (0, ""), (1, not_running)]),
        (&["rm", "X"], [(0, ""), (1, "container is running: stop the container before removing"), (0, "")]),
    ];
    for (command, answers) in sample(3, table) {
        for (state, (status, part)) in ["created", "running", "exited"].into_iter().zip(answers) {
            if status < 0 {
                continue;
            }
            home.out(&["create", "--name", WEB, &spec]);
            if state != "created" {
                home.out(&["start", WEB]);
            }
            if state == "exited" {
                home.out(&["kill", WEB]);
                wait_until("it has ended", || home.status(WEB) == "exited");
            }
            let words: Vec<&str> = command.iter().map(|word| if *word == "X" { WEB } else { word }).collect();
            let message = home.refused(&words, status);
            assert!(message.contains(part), "{command:?} {state}: {message}");
            home.run(&["rm", "-f", WEB]);
            assert_eq!(home.status(WEB), "absent");
        }
    }
    for command in [
        &["start"][..],
        &["stop"],
        &["kill"],
        &["wait"],
        &["rm"],
        &["logs"],
        &["port"],
        &["top"],
        &["attach"],
    ] {
        let message = home.refused(&[command, &["none"]].concat(), 1);
        assert!(message.contains("No such container: none"), "{command:?}: {message}");
    }
    home.is_empty();
}

/// Relative paths begin in the directory of the command that makes the container. Its supervisor has another one.
#[test]
fn a_relative_path_of_a_spec_is_one_of_the_caller() {
    let home = KeptHome::new();
    let around = home.around();
    for directory in ["data", "base/usr", "changes"] {
        fs::create_dir_all(around.join(directory)).unwrap();
    }
    for name in ["bin", "lib", "lib64"] {
        std::os::unix::fs::symlink(format!("usr/{name}"), around.join("base").join(name)).unwrap();
    }
    fs::write(
        around.join("box.yaml"),
        "rootfs: {layers: [./base], upper: ./changes}\npid:\nuser: {map: root}\n\
         mnt: {bind: [{source: /usr, target: /usr}, {source: data, target: /data}], mounts: \
         [{type: bind, source: ./data, target: /again}]}\n\
         command: [sh, -c, 'echo x >> /data/lines; cat /again/lines; echo y >> /kept; cat /kept']\n",
    )
    .unwrap();
    let here = |arguments: &[&str]| home.command(arguments).current_dir(around).output().unwrap();
    let output = here(&["create", "--name", "paths", "box.yaml"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    // Another working directory, as a learner has it the next day.
    assert_eq!(home.out(&["start", "-a", "paths"]), "x\ny");
    assert_eq!(home.out(&["start", "-a", "paths"]), "x\nx\ny\ny");
    assert_eq!(fs::read_to_string(around.join("data/lines")).unwrap(), "x\nx\n");
    assert_eq!(fs::read_to_string(around.join("changes/kept")).unwrap(), "y\ny\n");
    home.out(&["rm", "paths"]);
    let program = around.join("here.sh");
    fs::write(&program, "#!/bin/sh\necho here\n").unwrap();
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    fs::write(around.join("files.yaml"), "pid:\n").unwrap();
    let output = here(&["create", "--name", "program", "files.yaml", "--", "./here.sh"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(home.out(&["start", "-a", "program"]), "here");
    home.out(&["rm", "program"]);
    home.is_empty();
    // An overlay leaves a directory with the mode 0.
    std::process::Command::new("chmod").args(["-R", "u+rwx"]).arg(around).status().unwrap();
}

#[test]
fn a_name_is_unique_and_can_change() {
    let home = KeptHome::new();
    let spec = home.spec("", "true");
    let id = home.out(&["create", "--name", "web", &spec]);
    let message = home.refused(&["create", "--name", "/web", &spec], 1);
    assert!(
        message.contains(&format!(
            "Conflict. The container name \"/web\" is already in use by container \"{id}\""
        ))
    );
    assert!(home.refused(&["run", "-d", "--name", "web", &spec], 125).contains("already in use"));
    for bad in ["a", "-ab", "a b", "a/b", "../x"] {
        let output = home.run(&["create", &format!("--name={bad}"), &spec]);
        assert_eq!(output.status.code(), Some(1), "{bad}");
    }
    let other = home.out(&["create", &spec]);
    assert!(home.refused(&["rename", &other, "web"], 1).contains("already in use"));
    assert!(home.refused(&["rename", "web", "-x"], 125).contains("unexpected argument"));
    home.out(&["rename", "web", "front"]);
    assert!(home.refused(&["inspect", "web"], 1).contains("No such object: web"));
    assert_eq!(home.out(&["ps", "-aq", "--no-trunc", "--filter", "name=front"]), id);
    home.out(&["rename", &other[..6], "web"]);
    // All names together; each that cannot be removed is reported.
    let output = home.run(&["rm", "web", "none", "front"]);
    assert_eq!((output.status.code(), &*text(&output.stdout)), (Some(1), "web\nfront\n"));
    assert!(text(&output.stderr).contains("No such container: none"));
    // Without a name, two words.
    home.out(&["create", &spec]);
    let rows = home.out(&["ps", "-a", "--format", "json"]);
    let row: serde_json::Value = serde_json::from_str(&rows).unwrap();
    assert!(row["Names"].as_str().unwrap().split('_').count() == 2, "{rows}");
    assert_eq!(row["Command"], "\"sh -c true\"");
    home.out(&["container", "prune", "-f"]);
    home.is_empty();
}

#[test]
fn run_keep_has_the_status_and_the_streams_of_the_command() {
    let home = KeptHome::new();
    let spec = home.spec("", "echo out; echo err >&2; cat; exit 5");
    let output = home.run(&["run", "--keep", "--name", "web", &spec]);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!((output.status.code(), &*out, &*err), (Some(5), "out\n", "err\n"));
    assert_eq!(home.status("web"), "exited");
    let started = home.run(&["start", "-a", "web"]);
    assert_eq!((started.status.code(), &*text(&started.stdout)), (Some(5), "out\n"));
    // With -i it reads, and reads the end.
    let mut child = home
        .command(&["run", "--keep", "-i", "--rm", &spec])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let content = "line\n".repeat(100_000);
    let sent = content.clone();
    let writer = std::thread::spawn(move || input.write_all(sent.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(text(&output.stdout) == format!("out\n{content}") && output.status.code() == Some(5));
    for (script, status) in [("kill -KILL $$", 137), ("exit 0", 0)] {
        let spec = home.spec("init: true", script);
        assert_eq!(home.run(&["run", "--keep", "--rm", &spec]).status.code(), Some(status), "{script}");
    }
    // A container that cannot be started stays, as with Docker, and says why.
    let missing = home.run(&["run", "-d", "--name", "missing", &spec, "--", "no-such-command"]);
    assert_eq!((missing.status.code(), missing.stdout), (Some(127), vec![]));
    assert_eq!(
        (home.status("missing"), &home.inspected("missing")["ExitCode"]),
        ("created".into(), &127.into())
    );
    home.refused(&["start", "missing"], 1);
    home.out(&["rm", "missing"]);
    home.out(&["create", "--name", "missing", &spec, "--", "/etc"]);
    home.refused(&["start", "-a", "missing"], 126);
    home.out(&["rm", "missing"]);
    home.refused(&["run", "-d", "--rm", &spec, "--", "no-such-command"], 127);
    // Nothing is left of one that is removed at its end.
    home.out(&["run", "-d", "--rm", &spec]);
    wait_until("it is removed", || home.out(&["ps", "-aq"]).lines().count() == 1);
    // Its file of the ID is new.
    let file = home.around().join("cid");
    let file = file.to_str().unwrap();
    let id = home.out(&["create", "--cidfile", file, &spec]);
    assert_eq!(fs::read_to_string(file).unwrap(), id);
    assert!(home.refused(&["create", "--cidfile", file, &spec], 125).contains("container ID file found"));
    assert_eq!(home.out(&["ps", "-aq"]).lines().count(), 2);
}

/// The supervisor has nothing of the process that has started it.
#[test]
fn a_container_outlives_its_shell() {
    let home = KeptHome::new();
    let spec = home.spec("", "exec sleep 600");
    let program = binary();
    let script = format!(
        "trap '' HUP INT TERM; umask 077; cd /tmp; exec 9</etc/passwd; {} run -d --name web {spec} 8<&0; kill -9 0",
        program.display()
    );
    let mut shell = std::process::Command::new("setsid");
    let shell = shell.args(["sh", "-c", &script]).env("SANDBOX_HOME", home.path()).env("SECRET", "hush");
    shell.stdin(Stdio::null()).output().unwrap();
    assert_eq!(home.status("web"), "running");
    let (supervisor, command) = (home.pid("web", "supervisor"), home.pid("web", "command"));
    let link =
        |file: &str| fs::read_link(format!("/proc/{supervisor}/{file}")).unwrap().display().to_string();
    assert_eq!(link("cwd"), "/");
    let stat = fs::read_to_string(format!("/proc/{supervisor}/stat")).unwrap();
    let session = stat.rsplit(") ").next().unwrap().split(' ').nth(3).unwrap().to_owned();
    assert_eq!(session, supervisor.to_string());
    let descriptors = fs::read_dir(format!("/proc/{supervisor}/fd")).unwrap();
    for descriptor in descriptors.map(|entry| entry.unwrap().path()) {
        let target = fs::read_link(&descriptor).unwrap_or_default().display().to_string();
        assert!(!target.contains("passwd") && !target.contains("/dev/pts"), "{descriptor:?} {target}");
    }
    let status = fs::read_to_string(format!("/proc/{supervisor}/status")).unwrap();
    let line = |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert!(line("Umask").ends_with("0022"));
    // SIGPIPE is ignored, as in any program of Rust, and SIGXFSZ, so that write(2) reports EFBIG; SIGHUP and the others are read from a
    // signalfd.
    assert_eq!(line("SigIgn").split_whitespace().nth(1), Some("0000000001001000"));
    let environment = fs::read(format!("/proc/{supervisor}/environ")).unwrap();
    assert!(!text(&environment).contains("SECRET"));
    // It is in a process group of its own, and in no terminal.
    let stat = fs::read_to_string(format!("/proc/{command}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    assert_eq!((fields[2], fields[4]), (&*command.to_string(), "0"));
    home.out(&["rm", "-f", "web"]);
}

/// A signal that process 1 has no handler for is discarded by the kernel, and SIGKILL follows.
#[test]
fn stop_kills_after_its_timeout_and_kill_sends_any_signal() {
    let home = KeptHome::new();
    home.sleeper("web");
    let started = std::time::Instant::now();
    home.out(&["stop", "-t", "1", "web"]);
    assert!(started.elapsed().as_millis() >= 1000);
    assert_eq!(home.inspected("web")["ExitCode"], 137);
    let spec =
        home.spec("", "trap 'echo usr1' USR1; trap 'exit 3' QUIT; echo up; while :; do sleep 0.05; done");
    home.out(&["create", "--name", "traps", "--stop-signal", "QUIT", &spec]);
    home.out(&["restart", "traps"]);
    let logs = || home.out(&["logs", "traps"]);
    wait_until("it has its handlers", || logs().contains("up"));
    home.out(&["kill", "-s", "SIGUSR1", "traps"]);
    wait_until("it has got the signal", || logs().contains("usr1"));
    assert!(home.refused(&["kill", "-s", "NONE", "traps"], 1).contains("Invalid signal: NONE"));
    let first = home.pid("traps", "command");
    home.out(&["restart", "traps"]);
    assert_eq!((lives(first), home.status("traps")), (false, "running".into()));
    wait_until("it has its handlers again", || logs().matches("up").count() == 2);
    home.out(&["stop", "traps"]);
    assert_eq!(home.inspected("traps")["ExitCode"], 3);
}

/// The cgroup of a container of root is not below that of the session, which ends with it.
#[test]
fn the_cgroup_of_a_container_has_its_id() {
    if !is_root() || !support::limits::may("the_cgroup_of_a_container_has_its_id", "pids") {
        return;
    }
    let home = KeptHome::new();
    let spec = home.spec("pids: { max: 50 }", "exec sleep 600");
    let id = home.out(&["run", "-d", "--name", "web", &spec]);
    let cgroups = |pid| fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let of_command = cgroups(home.pid("web", "command"));
    assert!(of_command.lines().any(|line| line.ends_with(&format!("/sandbox/{id}"))), "{of_command}");
    let of_supervisor = cgroups(home.pid("web", "supervisor"));
    assert!(!of_supervisor.contains(&id), "{of_supervisor}");
    home.out(&["restart", "-t", "0", "web"]);
    assert!(cgroups(home.pid("web", "command")).contains(&id));
    home.out(&["rm", "-f", "web"]);
    assert!(support::limits::left().iter().all(|shared| !shared.join(&id).exists()));
}

/// The lines of the lesson: start, stop, rm, port.
#[test]
fn the_lines_of_dockers_course_work() {
    let home = KeptHome::new();
    let ports = if is_root() { [30102, 30100, 30101] } else { [30202, 30200, 30201] };
    let [a, b, c] = ports;
    let net = format!("net: {{ publish: ['{a}:3306', '{b}:8999', '{c}:9000'] }}");
    let spec = home.spec(&net, "exec sleep 600");
    let id = home.out(&["create", "--name", "determined_swanson", &spec]);
    assert_eq!(home.out(&["start", "determined_swanson"]), "determined_swanson");
    let port = format!("3306/tcp -> 0.0.0.0:{a}\n8999/tcp -> 0.0.0.0:{b}\n9000/tcp -> 0.0.0.0:{c}");
    assert_eq!(home.out(&["port", &id[..12]]), port);
    assert_eq!(home.out(&["port", &id, "8999"]), format!("0.0.0.0:{b}"));
    assert!(home.refused(&["port", &id, "80/udp"], 1).contains("No public port '80/udp' published for"));
    assert!(home.out(&["ps"]).contains(&format!("0.0.0.0:{a}->3306/tcp")));
    let refused = home.refused(&["rm", "determined_swanson"], 1);
    assert!(refused.contains("cannot remove container \"/determined_swanson\": container is running: stop the container before removing or force remove"));
    assert_eq!(home.out(&["stop", "-t", "0", "determined_swanson"]), "determined_swanson");
    assert_eq!(home.out(&["port", &id]), "");
    assert_eq!(home.out(&["rm", "determined_swanson"]), "determined_swanson");
    home.is_empty();
}

#[test]
fn what_is_inside_is_shown_and_entered() {
    let home = KeptHome::new();
    let id = home.sleeper("web");
    let top = home.out(&["top", "web"]);
    assert!(top.lines().next().unwrap().contains("PID") && top.contains("sleep 600"), "{top}");
    assert_eq!(top.lines().count(), 2, "{top}");
    let own = home.out(&["top", "web", "-e", "-o", "pid,comm"]);
    assert!(own.lines().nth(1).unwrap().trim().starts_with(&home.pid("web", "command").to_string()), "{own}");
    // By name and by ID.
    for name in ["web", &id[..10]] {
        assert_eq!(home.out(&["exec", "-q", name, "sh", "-c", "cat /proc/1/comm"]), "sleep");
        assert_eq!(home.out(&["enter", "-q", name, "--", "cat", "/proc/1/comm"]), "sleep");
        home.out(&["verify", name]);
    }
    home.out(&["rename", "web", "front"]);
    assert_eq!(home.out(&["exec", "-q", "front", "cat", "/proc/1/comm"]), "sleep");
    assert!(home.out(&["__names"]).lines().any(|name| name == "front"));
}

#[test]
fn a_terminal_is_shown_and_left_by_its_keys() {
    let home = KeptHome::new();
    let spec = home
        .spec("tty: true", "echo ready; read line; echo got $line; while :; do stty size; sleep 0.1; done");
    let id = home.out(&["create", "-i", "--name", "web", &spec]);
    let home_path = home.path();
    let flags = ["--home", home_path.to_str().unwrap(), "start", "-a", "-i", "web"];
    let mut terminal = Terminal::start(&flags);
    terminal.wait_for("ready");
    terminal.resize(30, 90);
    terminal.press("hello\r");
    terminal.wait_for("got hello");
    terminal.wait_for("30 90");
    terminal.press("\x10\x11");
    let (status, shown) = terminal.ended();
    assert!(status.success() && shown.contains("read escape sequence"), "{shown}");
    assert_eq!(home.status("web"), "running");
    let shown = home.out(&["events", "--since", "1h", "--until", "0s", "--filter", "event=resize"]);
    assert!(shown.lines().any(|line| line.contains("height=30") && line.contains("width=90")), "{shown}");
    // Other keys, and the signals of the terminal.
    let flags = ["--home", home_path.to_str().unwrap(), "attach", "--detach-keys", "a,b", &id[..8]];
    let mut terminal = Terminal::start(&flags);
    terminal.press("ab");
    let (status, shown) = terminal.ended();
    assert!(status.code() == Some(1) && shown.contains("read escape sequence"), "{shown}");
    assert!(
        home.refused(&["attach", "--no-stdin", "--detach-keys", "ctrl-", "web"], 1)
            .contains("Invalid escape keys (ctrl-) provided")
    );
    assert!(home.out(&["logs", "web"]).contains("got hello"));
    wait_until("it goes on", || state(home.pid("web", "command")) == 'S');
    let events = ["events", "--since", "1h", "--until", "0s", "--format", "{{.Action}}"];
    let expected = ["create", "attach", "start", "resize", "resize", "detach", "attach", "resize", "detach"];
    // The supervisor notes the detachment when the client has ended.
    wait_until("all events are there", || home.out(&events).lines().eq(expected));
    home.out(&["rm", "-f", "web"]);
}

#[test]
fn each_step_is_explained() {
    let home = KeptHome::new();
    let spec = home.spec("", "exec sleep 600");
    let explained = |arguments: &[&str]| text(&home.run(arguments).stderr);
    let all = [
        (
            explained(&["create", "--explain", "--name", "web", &spec]),
            &["mkdir(", "symlink(", "rename(\".new-"][..],
        ),
        (explained(&["start", "--explain", "web"]), &["__supervise", "connect(", "\"start\""]),
        (explained(&["ps", "--explain"]), &["getdents64(", "state.json", "/stat>)"]),
        (explained(&["inspect", "--explain", "web"]), &["readlinkat(<names>, \"web\")"]),
        (explained(&["logs", "--explain", "web"]), &["/log>)"]),
        (explained(&["port", "--explain", "web"]), &["\"ports\""]),
        (explained(&["top", "--explain", "web"]), &["execve(\"ps\", [\"ps\", \"-ef\"])"]),
        (explained(&["kill", "--explain", "-s", "HUP", "web"]), &["pidfd_send_signal(<container>, SIGHUP)"]),
        (
            explained(&["stop", "--explain", "-t", "0", "web"]),
            &["\"stop\"", "SIGTERM", "SIGKILL)  [after 0 s, if it still runs]"],
        ),
        (explained(&["rename", "--explain", "web", "front"]), &["renameat2("]),
        (explained(&["rm", "--explain", "front"]), &["flock(", "renameat("]),
    ];
    for (explained, calls) in &all {
        for call in *calls {
            assert!(explained.contains(call), "{call}: {explained}");
        }
        support::fits(explained, 80, 40);
    }
}
