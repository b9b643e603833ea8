//! Clients of containers that stay: what they send and get while something else happens.
//!
//! Other inputs of the same kind as the ones here:
//! - more standard input than a socket holds; a command that does not read; a reader that does not read.
//! - a signal while the client waits for any of these, from the process group or from another process.
//! - a signal that the kernel drops: from the keyboard, from another process; for a command with a handler.
//! - commands that meet an end, a removal, another client, or a supervisor that does not answer.

mod support;

use std::fs::File;
use std::io::Write;
use std::process::{Child, ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::kept::{KeptHome, in_run, lives};
use support::terminal::Terminal;
use support::{text, wait_until};

fn send(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid as i32), signal).unwrap();
}

fn ended(child: &mut Child) -> ExitStatus {
    wait_until("the command has ended", || child.try_wait().unwrap().is_some());
    child.try_wait().unwrap().unwrap()
}

#[test]
fn standard_input_of_any_length_arrives() {
    let home = KeptHome::new();
    for script in ["exec wc -c", "sleep 0.3; exec wc -c"] {
        let spec = home.spec("", script);
        let run = ["run", "--keep", "-i", "--rm", &spec];
        let mut child = home.command(&run).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let writer = std::thread::spawn(move || stdin.write_all(&vec![0; 5_000_000]));
        assert!(ended(&mut child).success(), "{script}");
        writer.join().unwrap().unwrap();
        let mut shown = String::new();
        std::io::Read::read_to_string(&mut child.stdout.take().unwrap(), &mut shown).unwrap();
        assert_eq!(shown.trim(), "5000000", "{script}");
    }
}

/// The command has a handler. The client is busy with output that nobody reads, or with input that the command does not read.
#[test]
fn a_signal_reaches_the_command_whatever_the_client_waits_for() {
    let home = KeptHome::new();
    for (name, script) in [
        ("quiet", "trap 'exit 3' TERM; echo up; while :; do sleep 0.05; done"),
        ("loud", "trap 'exit 3' TERM; echo up; yes & wait"),
    ] {
        let spec = home.spec("", script);
        let run = ["run", "--keep", "-i", "--name", name, &spec];
        let mut child = home.command(&run).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // It ends with an error when the container has ended.
        let writer = std::thread::spawn(move || while stdin.write_all(&[b'x'; 10_000]).is_ok() {});
        wait_until("it is up", || text(&home.run(&["logs", name]).stdout).starts_with("up"));
        send(child.id(), Signal::SIGTERM);
        wait_until("the command has ended", || home.status(name) == "exited");
        assert_eq!(home.inspected(name)["ExitCode"], 3, "{name}");
        drop(child.stdout.take());
        ended(&mut child);
        writer.join().unwrap();
    }
}

#[test]
fn a_signal_that_the_kernel_drops_is_explained_and_the_second_one_kills() {
    let home = KeptHome::new();
    let hint = "send it again to kill the command";
    let at_home = |words: &[&str]| [&["--home", home.path().to_str().unwrap()], words].concat().join("\n");
    let typed = home.spec("tty: true", "echo ready; exec sleep 600");
    for (key, name) in [("\u{3}", "SIGINT"), ("\u{1c}", "SIGQUIT")] {
        let words = at_home(&["run", "--keep", "--rm", "-it", "--name", "web", &typed]);
        let mut terminal = Terminal::start(&words.split('\n').collect::<Vec<_>>());
        terminal.wait_for("ready");
        wait_until("it sleeps", || {
            home.status("web") == "running" && comm(home.pid("web", "command")) == "sleep"
        });
        terminal.press(key);
        let seen = terminal.wait_for(hint);
        assert!(seen.contains(name) && seen.contains("SigCgt"), "{seen}");
        terminal.press(key);
        let (status, seen) = terminal.ended();
        assert_eq!(status.code(), Some(137), "{seen}");
    }
    // Without a terminal, the signal is forwarded.
    let plain = home.spec("", "exec sleep 600");
    let mut child = home.command(&["run", "--keep", "--rm", "--name", "web", &plain]);
    let mut child = child.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("it sleeps", || {
        home.status("web") == "running" && comm(home.pid("web", "command")) == "sleep"
    });
    send(child.id(), Signal::SIGINT);
    let mut stderr = child.stderr.take().unwrap();
    let mut said = Vec::new();
    while !text(&said).contains(hint) {
        let mut byte = [0];
        assert_eq!(std::io::Read::read(&mut stderr, &mut byte).unwrap(), 1, "{}", text(&said));
        said.extend(byte);
    }
    send(child.id(), Signal::SIGINT);
    assert_eq!(ended(&mut child).code(), Some(137));
    // Another signal is not typed: sent again, it would be dropped again.
    for signal in [Signal::SIGTERM, Signal::SIGHUP] {
        let mut child = home.command(&["run", "--keep", "--rm", "--name", "web", &plain]);
        let child = child.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        wait_until("it sleeps", || {
            home.status("web") == "running" && comm(home.pid("web", "command")) == "sleep"
        });
        send(child.id(), signal);
        std::thread::sleep(std::time::Duration::from_millis(200));
        home.out(&["kill", "web"]);
        let output = child.wait_with_output().unwrap();
        let message = text(&output.stderr);
        assert!(message.contains(signal.as_str()) && message.contains("sandbox kill"), "{message}");
        assert!(output.status.code() == Some(137) && !message.contains(hint), "{message}");
    }
    // No hint: the command has a handler.
    let trap =
        home.spec("tty: true", "trap 'echo caught; exit 5' INT; echo ready; while :; do sleep 0.05; done");
    let words = at_home(&["run", "--keep", "--rm", "-it", &trap]);
    let mut terminal = Terminal::start(&words.split('\n').collect::<Vec<_>>());
    terminal.wait_for("ready");
    terminal.press("\u{3}");
    let (status, seen) = terminal.ended();
    assert!(status.code() == Some(5) && seen.contains("caught") && !seen.contains("SigCgt"), "{seen}");
    home.is_empty();
}

/// The user's terminal is closed, or the client gets a signal. No signal and no end of input reaches the container.
#[test]
fn a_container_with_a_terminal_outlives_its_client() {
    let home = KeptHome::new();
    let spec = home.spec("tty: true", "trap 'echo hup' HUP TERM; echo ready; cat; echo over; sleep 600");
    let home_path = home.path();
    let at_home = ["--home", home_path.to_str().unwrap()];
    let binary = support::binary();
    let ignoring = ["-c", "trap '' HUP; exec \"$@\"", "sh", binary.to_str().unwrap()];
    for (number, words) in [
        &["run", "--keep", "-it", "--rm", "--name", "web", &spec][..],
        &["run", "--keep", "-it", "--name", "web", &spec],
        &["start", "-ai", "web"],
        &["attach", "web"],
    ]
    .into_iter()
    .enumerate()
    {
        for ignores in [false, true] {
            home.run(&["rm", "-f", "web"]);
            match words[0] {
                "start" => drop(home.out(&["create", "-i", "--name", "web", &spec])),
                "attach" => drop(home.out(&["run", "-dit", "--name", "web", &spec])),
                _ => {}
            }
            let words = [&at_home[..], words].concat();
            let mut terminal = match ignores {
                false => Terminal::start(&words),
                true => Terminal::of("/bin/sh".as_ref(), &[&ignoring[..], &words].concat()),
            };
            if number < 3 {
                terminal.wait_for("ready");
            }
            wait_until("it runs", || text(&home.run(&["logs", "web"]).stdout).contains("ready"));
            // The terminal shows it, and then cat.
            terminal.press("x\r");
            terminal.wait_for("x\nx");
            assert_eq!(terminal.close().code(), Some(129), "{words:?} {ignores}");
            std::thread::sleep(std::time::Duration::from_millis(100));
            assert_eq!(home.status("web"), "running", "{words:?} {ignores}");
            let logged = home.out(&["logs", "web"]);
            assert!(!logged.contains("over") && !logged.contains("hup"), "{words:?} {ignores}: {logged}");
        }
    }
    let mut terminal = Terminal::start(&[&at_home[..], &["attach", "web"]].concat());
    terminal.press("y\r");
    terminal.wait_for("y\ny");
    send(terminal.pid(), Signal::SIGTERM);
    assert_eq!(terminal.end().0.code(), Some(143));
    assert_eq!(home.status("web"), "running");
}

#[test]
fn attach_gives_the_container_the_terminals_size_and_needs_a_terminal() {
    let home = KeptHome::new();
    let spec = home.spec("tty: true", "while :; do stty size; sleep 0.1; done");
    home.out(&["run", "-dit", "--name", "web", &spec]);
    let home_path = home.path();
    let words = ["--home", home_path.to_str().unwrap(), "attach", "--detach-keys", "", "web"];
    let mut terminal = Terminal::start(&words);
    terminal.wait_for("40 80");
    terminal.press("\u{10}\u{11}");
    assert!(terminal.end().1.contains("read escape sequence"));
    let refused = || home.command(&["attach", "web"]).stdin(Stdio::null()).output().unwrap();
    let output = refused();
    let message = text(&output.stderr);
    assert!(
        output.status.code() == Some(1) && message.contains("the input device is not a TTY"),
        "{message}"
    );
    let mut child = home.command(&["attach", "--no-stdin", "web"]);
    let mut child = child.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut byte = [0];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut byte).unwrap();
    send(child.id(), Signal::SIGTERM);
    assert_eq!(ended(&mut child).code(), Some(143));
    assert_eq!(home.status("web"), "running");
}

/// The commands that name several containers act on them at once, and print them in the order in which they were given.
#[test]
fn several_containers_are_stopped_at_once() {
    let home = KeptHome::new();
    let spec = home.spec("", "trap '' TERM; exec sleep 600");
    let names: Vec<String> = (0..12).map(|number| format!("c{number}")).collect();
    for name in &names {
        home.out(&["create", "--name", name, &spec]);
    }
    let mut all: Vec<&str> = names.iter().map(String::as_str).collect();
    all.insert(3, "none");
    let printed = names.join("\n") + "\n";
    for command in [&["start"][..], &["restart", "-t", "1"], &["stop", "-t", "1"], &["rm"]] {
        let began = std::time::Instant::now();
        let output = home.run(&[command, &all].concat());
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{command:?}: {message}");
        assert_eq!(text(&output.stdout), printed, "{command:?}: {message}");
        assert_eq!(message.matches("No such container: none").count(), 1, "{command:?}: {message}");
        // One after the other, the signals alone would take 12 seconds.
        assert!(began.elapsed().as_secs() < 9, "{command:?} {:?}", began.elapsed());
    }
    home.is_empty();
}

fn comm(pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}

#[test]
fn a_whole_id_is_found_before_a_name() {
    let home = KeptHome::new();
    let spec = home.spec("", "exec sleep 600");
    let first = home.out(&["create", "--name", "first", &spec]);
    let second = home.out(&["create", "--name", &first, &spec]);
    home.out(&["start", "first"]);
    assert_eq!(home.out(&["inspect", "-f", "{{.Id}}", &first]), first);
    assert_eq!(home.out(&["ps", "-q", "--no-trunc"]), first);
    home.out(&["rm", "-f", &first]);
    assert_eq!(home.out(&["ps", "-aq", "--no-trunc"]), second);
    home.out(&["rm", &second]);
    home.is_empty();
}

#[test]
fn a_container_that_removes_itself_is_restarted_and_ends_once() {
    let home = KeptHome::new();
    let spec = home.spec("", "exec sleep 600");
    home.out(&["run", "-d", "--rm", "--name", "web", &spec]);
    let before = home.pid("web", "command");
    assert_eq!(home.out(&["restart", "-t", "0", "web"]), "web");
    assert!(home.pid("web", "command") != before && home.status("web") == "running");
    // A killed supervisor does not remove it: the next command does.
    let supervisor = home.pid("web", "supervisor");
    send(supervisor, Signal::SIGKILL);
    wait_until("the supervisor has ended", || !lives(supervisor));
    wait_until("it is removed", || home.status("web") == "absent");
    home.is_empty();
}

#[test]
fn many_clients_lock_nobody_out() {
    let home = KeptHome::new();
    let spec = home.spec("", "trap 'exit 7' TERM; echo up; while :; do sleep 0.05; done");
    home.out(&["run", "-d", "--name", "web", &spec]);
    wait_until("it is up", || home.out(&["logs", "web"]).starts_with("up"));
    let id = home.out(&["inspect", "-f", "{{.Id}}", "web"]);
    let waiting: Vec<_> = (0..70).map(|_| connected(&in_run(&id).join("control"))).collect();
    assert_eq!(home.out(&["stop", "web"]), "web");
    assert_eq!(home.inspected("web")["ExitCode"], 7);
    drop(waiting);
    home.out(&["rm", "web"]);
}

fn connected(path: &std::path::Path) -> std::os::fd::OwnedFd {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
    use std::os::fd::AsRawFd;
    let socket = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).unwrap();
    let directory = File::open(path.parent().unwrap()).unwrap();
    let short = format!("/proc/self/fd/{}/control", directory.as_raw_fd());
    connect(socket.as_raw_fd(), &UnixAddr::new(&*short).unwrap()).unwrap();
    socket
}

/// A supervisor that was stopped, and whose queue is full: each command still ends, and `rm -f` removes the container.
#[test]
fn a_full_queue_makes_no_command_hang() {
    let home = KeptHome::new();
    let id = home.sleeper("web");
    let supervisor = home.pid("web", "supervisor");
    send(supervisor, Signal::SIGSTOP);
    let mut waiting = Vec::new();
    use std::os::fd::AsRawFd;
    let directory = File::open(in_run(&id)).unwrap();
    let short = format!("/proc/self/fd/{}/control", directory.as_raw_fd());
    loop {
        use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None).unwrap();
        match connect(socket.as_raw_fd(), &UnixAddr::new(&*short).unwrap()) {
            Ok(()) => waiting.push(socket),
            Err(_) => break,
        }
    }
    assert_eq!(home.out(&["rm", "-f", "web"]), "web");
    wait_until("it has ended", || !lives(supervisor));
    home.is_empty();
}

#[test]
fn what_cannot_be_reached_is_told_by_its_state() {
    let home = KeptHome::new();
    let id = home.sleeper("web");
    // Whoever waits gets the status, also without the control socket.
    std::fs::remove_file(in_run(&id).join("control")).unwrap();
    let mut wait = home.command(&["wait", "web"]).stdout(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert!(wait.try_wait().unwrap().is_none());
    assert!(home.refused(&["attach", "web"], 125).contains("lost"));
    send(home.pid("web", "command"), Signal::SIGKILL);
    let output = wait.wait_with_output().unwrap();
    assert_eq!(text(&output.stdout).trim(), "137");
    home.out(&["rm", "-f", "web"]);
}

#[test]
fn names_are_printed_as_they_were_given() {
    let home = KeptHome::new();
    let id = home.sleeper("web");
    let spec = home.spec("", "true");
    let short = &id[..12];
    for command in [&["stop", "-t", "0"][..], &["start"], &["restart", "-t", "0"], &["kill"]] {
        assert_eq!(home.out(&[command, &[short]].concat()), short, "{command:?}");
    }
    assert_eq!(home.out(&["stop", "-t", "9223372036854775807", &id]), id);
    for (filter, count) in [("name=^web$", 1), ("name=^/web$", 1), ("name=we", 1), ("name=^eb", 0)] {
        assert_eq!(home.out(&["ps", "-aq", "-f", filter]).lines().count(), count, "{filter}");
    }
    for filter in ["status=nonsense", "exited=abc", "name=("] {
        assert!(home.refused(&["ps", "-a", "-f", filter], 1).contains("invalid filter"), "{filter}");
    }
    assert!(home.refused(&["create", "--log-opt", "max-file=4000000000", &spec], 125).contains("max-file"));
    assert!(home.out(&["container", "ls", "-aq"]).contains(short));
    home.out(&["container", "rm", "-f", "web"]);
    home.is_empty();
}

/// A client that leaves ends the standard input of a command that it has started, but not of one in the background.
#[test]
fn standard_input_ends_with_its_client_or_stays() {
    let home = KeptHome::new();
    let spec = home.spec("", "cat; echo end");
    home.out(&["run", "-d", "-i", "--name", "stays", &spec]);
    for word in ["one", "two"] {
        let mut attach =
            home.command(&["attach", "stays"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        writeln!(attach.stdin.take().unwrap(), "{word}").unwrap();
        wait_until("it is printed", || home.out(&["logs", "stays"]).contains(word));
        attach.kill().unwrap();
        attach.wait().unwrap();
        assert_eq!(home.status("stays"), "running");
    }
    let mut front = home
        .command(&["run", "--keep", "-i", "--name", "once", &spec])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = front.stdin.take().unwrap();
    stdin.write_all(b"hello\n").unwrap();
    wait_until("it is printed", || {
        home.status("once") == "running" && home.out(&["logs", "once"]).contains("hello")
    });
    front.kill().unwrap();
    front.wait().unwrap();
    wait_until("it has ended", || home.status("once") == "exited");
    assert!(home.out(&["logs", "once"]).contains("end"));
}
