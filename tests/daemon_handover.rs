//! The connections that clients take over: the daemon hands them to the process that has the streams, so its end cuts none off.
//!
//! Judged by what goes through the connections before and after the daemon is killed, and by what the kernel lists as open files.
//!
//! Other inputs of the same kind as the ones here:
//! - clients of TCP, of TLS, without an upgrade; input before the answer, before the start, in one packet with the request.
//! - a client that ends its input, that leaves, that does not read; a container that ends or restarts meanwhile.
#![cfg(feature = "daemon")]

mod support;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};
use support::daemon::{RunningDaemon, frames, read_head};
use support::{text, wait_until};

/// Answers each line of input, and knows the size of its terminal.
const ANSWERS: &str = "while read -r line; do case $line in size) stty size;; end) exit 3;; *) echo \"got $line\";; esac; done; echo over";

fn create(daemon: &RunningDaemon, name: &str, script: &str, terminal: bool) -> String {
    let body = json!({
        "Image": "app:1", "Cmd": ["sh", "-c", script], "Tty": terminal, "OpenStdin": true, "StdinOnce": true,
        "HostConfig": { "NetworkMode": "none" },
    });
    let (status, made) = daemon.ask("POST", &format!("/containers/create?name={name}"), &body);
    assert_eq!(status, 201, "{made}");
    made["Id"].as_str().unwrap().to_owned()
}

/// Takes a connection over. `typed` is sent together with the request.
fn take_over(daemon: &RunningDaemon, path: &str, body: &str, typed: &str) -> UnixStream {
    let mut stream = daemon.connect();
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}{typed}"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let (status, head) = read_head(&mut stream);
    assert_eq!(status, 101, "{head}");
    stream
}

/// Reads until this has come.
fn expect(stream: &mut UnixStream, wanted: &str) {
    let mut got = Vec::new();
    let mut byte = [0];
    while !got.ends_with(wanted.as_bytes()) {
        let read = stream.read(&mut byte).unwrap_or(0);
        assert_eq!(
            read,
            1,
            "{wanted:?} has not come, only {:?}",
            text(&got[got.len().saturating_sub(300)..])
        );
        got.push(byte[0]);
    }
}

fn exec(daemon: &RunningDaemon, name: &str, script: &str, terminal: bool) -> String {
    let body = json!({
        "Cmd": ["sh", "-c", script], "Tty": terminal,
        "AttachStdin": true, "AttachStdout": true, "AttachStderr": true,
    });
    let (status, made) = daemon.ask("POST", &format!("/containers/{name}/exec"), &body);
    assert_eq!(status, 201, "{made}");
    made["Id"].as_str().unwrap().to_owned()
}

fn await_end(daemon: &RunningDaemon) {
    wait_until("the container has ended", || daemon.home.status("web") == "exited");
}

/// The sockets that a process has open.
fn sockets(pid: u32) -> usize {
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    open.filter_map(|one| std::fs::read_link(one.path()).ok())
        .filter(|target| target.to_string_lossy().starts_with("socket:"))
        .count()
}

#[test]
fn a_terminal_outlives_the_daemon() {
    let mut daemon = RunningDaemon::start();
    daemon.image("app:1");
    let id = create(&daemon, "web", ANSWERS, true);
    let before = sockets(daemon.pid());
    let path = format!("/v1.44/containers/{id}/attach?stream=1&stdin=1&stdout=1&stderr=1");
    let mut attached = take_over(&daemon, &path, "", "");
    daemon.post("/containers/web/start");
    attached.write_all(b"one\n").unwrap();
    expect(&mut attached, "got one\r\n");
    // The daemon has no descriptor of it any more.
    wait_until("the daemon has given the connection away", || sockets(daemon.pid()) <= before);
    for round in 0..3 {
        daemon.replace();
        attached.write_all(format!("round {round}\n").as_bytes()).unwrap();
        expect(&mut attached, &format!("got round {round}\r\n"));
        daemon.post(&format!("/containers/web/resize?h={}&w=101", 40 + round));
        wait_until("the terminal has the new size", || {
            attached.write_all(b"size\n").unwrap();
            let mut lines = String::new();
            while lines.matches('\n').count() < 2 {
                let mut byte = [0];
                attached.read_exact(&mut byte).unwrap();
                lines.push(byte[0].into());
            }
            lines.contains(&format!("{} 101\r\n", 40 + round))
        });
    }
    // The keys that detach are found by the supervisor.
    attached.write_all(b"\x10\x11").unwrap();
    let mut rest = Vec::new();
    attached.read_to_end(&mut rest).unwrap();
    assert_eq!(daemon.home.status("web"), "running");
    // Another client, whose input comes in one packet with the request.
    let mut again = take_over(&daemon, &path, "", "early\n");
    expect(&mut again, "got early\r\n");
    again.write_all(b"end\n").unwrap();
    again.read_to_end(&mut rest).unwrap();
    assert_eq!(daemon.post("/containers/web/wait")["StatusCode"], 3);
}

#[test]
fn pipes_outlive_the_daemon() {
    let mut daemon = RunningDaemon::start();
    daemon.image("app:1");
    let script = "echo first; echo wrong >&2; cat; echo last";
    let id = create(&daemon, "web", script, false);
    let path = format!("/v1.44/containers/{id}/attach?stream=1&stdin=1&stdout=1&stderr=1");
    let mut attached = take_over(&daemon, &path, "", "typed before the start, ");
    let mut only_errors = take_over(&daemon, &format!("/containers/{id}/attach?stream=1&stderr=1"), "", "");
    daemon.post("/containers/web/start");
    daemon.replace();
    attached.write_all(b"and after the end of the daemon\n").unwrap();
    // Only the input ends.
    attached.shutdown(Shutdown::Write).unwrap();
    let mut output = Vec::new();
    attached.read_to_end(&mut output).unwrap();
    let frames_of = |number: u8, output: &[u8]| {
        let own = frames(output).into_iter().filter(|(stream, _)| *stream == number);
        own.map(|(_, content)| content).collect::<String>()
    };
    assert_eq!(
        frames_of(1, &output),
        "first\ntyped before the start, and after the end of the daemon\nlast\n"
    );
    assert_eq!(frames_of(2, &output), "wrong\n");
    let mut output = Vec::new();
    only_errors.read_to_end(&mut output).unwrap();
    assert_eq!(frames(&output), [(2, "wrong\n".to_owned())]);
    await_end(&daemon);
}

#[test]
fn a_further_command_outlives_the_daemon() {
    let mut daemon = RunningDaemon::start();
    daemon.image("app:1");
    create(&daemon, "web", "exec sleep 600", false);
    daemon.post("/containers/web/start");
    // A command that is noted is known to the next daemon.
    let (terminal, pipes) = (exec(&daemon, "web", ANSWERS, true), exec(&daemon, "web", ANSWERS, false));
    daemon.replace();
    let start = |daemon: &RunningDaemon, id: &str, body: &str, typed: &str| {
        take_over(daemon, &format!("/exec/{id}/start"), body, typed)
    };
    let mut of_terminal = start(&daemon, &terminal, "{\"Tty\":true}", "");
    let mut of_pipes = start(&daemon, &pipes, "{}", "in one packet\n");
    of_terminal.write_all(b"one\n").unwrap();
    expect(&mut of_terminal, "got one\r\n");
    expect(&mut of_pipes, "got in one packet\n");
    daemon.replace();
    of_terminal.write_all(b"two\n").unwrap();
    expect(&mut of_terminal, "got two\r\n");
    let about = |daemon: &RunningDaemon, id: &str| daemon.get(&format!("/exec/{id}/json"));
    assert_eq!(
        (&about(&daemon, &terminal)["Running"], &about(&daemon, &terminal)["ExitCode"]),
        (&json!(true), &Value::Null)
    );
    assert_eq!(daemon.ask("POST", &format!("/exec/{terminal}/start"), &json!({})).0, 409);
    daemon.post(&format!("/exec/{terminal}/resize?h=41&w=102"));
    wait_until("the terminal has the new size", || {
        of_terminal.write_all(b"size\n").unwrap();
        let mut lines = String::new();
        while lines.matches('\n').count() < 2 {
            let mut byte = [0];
            of_terminal.read_exact(&mut byte).unwrap();
            lines.push(byte[0].into());
        }
        lines.contains("41 102\r\n")
    });
    of_terminal.write_all(b"end\n").unwrap();
    let mut rest = Vec::new();
    of_terminal.read_to_end(&mut rest).unwrap();
    // The exit status is there when the stream ends.
    assert_eq!(
        (&about(&daemon, &terminal)["Running"], &about(&daemon, &terminal)["ExitCode"]),
        (&json!(false), &json!(3))
    );
    of_pipes.shutdown(Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    of_pipes.read_to_end(&mut rest).unwrap();
    assert_eq!(
        (frames(&rest), &about(&daemon, &pipes)["ExitCode"]),
        (vec![(1, "over\n".to_owned())], &json!(0))
    );
    // The end of the container is the end of its commands, and their files go with it.
    let last = exec(&daemon, "web", "echo here; exec sleep 600", false);
    let mut of_last = start(&daemon, &last, "{}", "");
    expect(&mut of_last, "here\n");
    daemon.post("/containers/web/kill");
    of_last.read_to_end(&mut Vec::new()).unwrap();
    wait_until("the command has ended", || about(&daemon, &last)["ExitCode"] == 137);
    await_end(&daemon);
}

#[test]
fn a_client_that_leaves_or_does_not_read_makes_nobody_wait() {
    let daemon = RunningDaemon::start();
    daemon.image("app:1");
    let line = "x".repeat(1000);
    let script = format!(
        "while read -r number; do i=0; while test $i -lt $number; do echo {line}; i=$((i+1)); done; echo end; done"
    );
    let id = create(&daemon, "web", &script, false);
    let path = format!("/containers/{id}/attach?stream=1&stdin=1&stdout=1");
    let mut front = take_over(&daemon, &path, "", "");
    daemon.post("/containers/web/start");
    let lazy = take_over(&daemon, &format!("/containers/{id}/attach?stream=1&stdout=1"), "", "");
    drop(take_over(&daemon, &format!("/containers/{id}/attach?stream=1&stdout=1"), "", ""));
    // More than the supervisor keeps for a client that does not read.
    front.write_all(b"3000\n").unwrap();
    expect(&mut front, "end\n");
    // It gets a message, and is disconnected. The container and the others go on.
    let mut got = Vec::new();
    (&lazy).read_to_end(&mut got).unwrap();
    assert!(
        text(&got).contains("you did not read the output for too long"),
        "{}",
        text(&got[got.len().saturating_sub(300)..])
    );
    assert!(got.len() < 3_000_000, "{}", got.len());
    front.write_all(b"1\n").unwrap();
    expect(&mut front, "end\n");
    // A client that leaves altogether ends its input: it was the only one.
    drop(front);
    await_end(&daemon);
}

/// Reads the answer of a request to its end.
fn answer(mut stream: UnixStream) -> Value {
    let mut body = Vec::new();
    stream.read_to_end(&mut body).unwrap();
    serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{error}: {}", text(&body)))
}

#[test]
fn a_wait_outlives_the_daemon() {
    let mut daemon = RunningDaemon::start();
    daemon.image("app:1");
    let body = json!({
        "Image": "app:1", "Cmd": ["sh", "-c", "while ! test -e /tmp/go; do sleep 0.05; done; exit 7"],
        "HostConfig": { "NetworkMode": "none", "AutoRemove": true },
    });
    create(&daemon, "web", "read -r line; exit 3", false);
    let (status, made) = daemon.ask("POST", "/containers/create?name=gone", &body);
    assert_eq!(status, 201, "{made}");
    // The head of each answer is there before the container is started.
    let before = sockets(daemon.pid());
    let wait = |daemon: &RunningDaemon, name: &str, condition: &str| {
        let mut stream = daemon.connect();
        let path = format!("/containers/{name}/wait?condition={condition}");
        stream.write_all(format!("POST {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
        let (status, head) = read_head(&mut stream);
        assert!(status == 200 && head.contains("api-version: 1.44"), "{head}");
        stream
    };
    let next = wait(&daemon, "web", "next-exit");
    let removed = wait(&daemon, "gone", "removed");
    let left = wait(&daemon, "gone", "next-exit");
    wait_until("the daemon has given the connections away", || sockets(daemon.pid()) <= before);
    daemon.post("/containers/web/start");
    daemon.post("/containers/gone/start");
    let again = wait(&daemon, "web", "not-running");
    // A client that leaves is no reason for the others.
    drop(left);
    daemon.replace();
    // The container may end before this command.
    daemon.home.run(&["exec", "gone", "sh", "-c", "true > /tmp/go"]);
    assert_eq!(answer(removed), json!({ "StatusCode": 7, "Error": null }));
    assert_eq!(daemon.ask("GET", "/containers/gone/json", &Value::Null).0, 404);
    daemon.replace();
    daemon.post("/containers/web/kill?signal=KILL");
    for stream in [next, again] {
        assert_eq!(answer(stream), json!({ "StatusCode": 137, "Error": null }));
    }
    // Of a container that has ended, the answer comes at once; without `--rm`, its removal is waited for by the daemon.
    assert_eq!(daemon.post("/containers/web/wait")["StatusCode"], 137);
    let removed = wait(&daemon, "web", "removed");
    assert_eq!(daemon.ask("DELETE", "/containers/web", &Value::Null).0, 204);
    let mut body = Vec::new();
    let mut removed = removed;
    while !body.ends_with(b"\r\n0\r\n\r\n") {
        let mut part = [0; 256];
        let length = removed.read(&mut part).unwrap();
        assert!(length > 0, "{}", text(&body));
        body.extend_from_slice(&part[..length]);
    }
    assert!(text(&body).contains("\"StatusCode\":137"), "{}", text(&body));
}
