//! A daemon for a HOME of its own, and a client that needs no program.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};

use super::image::{Image, Layer, programs};
use super::kept::KeptHome;
use super::{feed, text, wait_until};

/// A daemon in the foreground. It ends with the test.
pub struct RunningDaemon {
    // The daemon ends first: then no request makes a container while HOME is removed.
    child: Child,
    pub home: KeptHome,
}

impl RunningDaemon {
    pub fn start() -> RunningDaemon {
        RunningDaemon::with(KeptHome::new(), &[])
    }

    /// Starts one with further flags.
    pub fn with(home: KeptHome, more: &[&str]) -> RunningDaemon {
        let child = spawn(&home, more);
        let daemon = RunningDaemon { child, home };
        daemon.await_ready();
        daemon
    }

    /// Starts one with this limit of open files.
    pub fn limited(files: &str) -> RunningDaemon {
        let home = KeptHome::new();
        let run = command(&home, &[]);
        let mut limited = Command::new("sh");
        limited
            .args(["-c", "ulimit -n \"$0\"; exec \"$@\"", files])
            .arg(run.get_program())
            .args(run.get_args());
        for (name, value) in run.get_envs() {
            match value {
                Some(value) => limited.env(name, value),
                None => limited.env_remove(name),
            };
        }
        let child = start(&home, &mut limited);
        let daemon = RunningDaemon { child, home };
        daemon.await_ready();
        daemon
    }

    fn await_ready(&self) {
        // A child that a killed daemon was just making may have its socket still, and answers nothing.
        wait_until("the daemon answers", || {
            let Ok(mut stream) = UnixStream::connect(self.socket()) else { return false };
            let mut start = [0; 12];
            stream.write_all(b"GET /_ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").is_ok()
                && stream.read_exact(&mut start).is_ok()
                && start == *b"HTTP/1.1 200"
        });
    }

    pub fn socket(&self) -> PathBuf {
        socket(&self.home)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it, and starts another one for the same HOME.
    pub fn replace(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = spawn(&self.home, &[]);
        self.await_ready();
    }

    /// Loads an image with a shell.
    pub fn image(&self, name: &str) {
        let layer = programs(&["sh", "echo", "cat", "sleep", "stat", "ls", "mkdir", "tty", "stty"]);
        let layer = layer.file("etc/hello", "hello\n").directory("tmp").directory("srv");
        let layer: Layer = layer.symlink("srv/link", "../etc/hello");
        let config = json!({ "Env": ["PATH=/bin"], "Cmd": ["sh"], "Labels": { "maker": "test" } });
        let image = Image { config: json!({ "config": config }), ..Image::of(&[layer]) };
        let output = feed(&mut self.home.command(&["load", "-q"]), image.docker(&[name]));
        assert!(output.status.success(), "{}", text(&output.stderr));
    }

    /// A connection to it.
    pub fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
        stream
    }

    /// Sends a request, and returns the status and the body.
    pub fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let (status, _, body) = self.ask_bytes(method, path, &[], &body);
        (status, serde_json::from_slice(&body).unwrap_or_else(|_| Value::String(text(&body))))
    }

    pub fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask("GET", path, &Value::Null);
        assert_eq!(status, 200, "{path} {body}");
        body
    }

    /// Sends a request with an empty body, which must succeed.
    pub fn post(&self, path: &str) -> Value {
        let (status, body) = self.ask("POST", path, &Value::Null);
        assert!(status < 300, "{path} {status} {body}");
        body
    }

    /// Sends a request. Returns the status, the head, and the body.
    pub fn ask_bytes(
        &self,
        method: &str,
        path: &str,
        headers: &[&str],
        body: &[u8],
    ) -> (u16, String, Vec<u8>) {
        let mut stream = self.connect();
        exchange(&mut stream, method, path, headers, body)
    }

    /// Docker's client with this command line.
    pub fn docker(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.args(arguments).env("DOCKER_HOST", format!("unix://{}", self.socket().display()));
        command.env("DOCKER_CONFIG", self.home.around()).env_remove("DOCKER_CONTEXT").stdin(Stdio::null());
        command.env("DOCKER_CLI_HINTS", "false");
        command
    }

    /// The output of a command line of docker. It must succeed.
    pub fn out(&self, arguments: &[&str]) -> String {
        let output = self.docker(arguments).output().unwrap();
        assert!(output.status.success(), "docker {arguments:?} {} {}", output.status, text(&output.stderr));
        text(&output.stdout).trim_end_matches('\n').to_owned()
    }

    /// A command line of docker that fails with this status. Returns its message.
    pub fn refused(&self, arguments: &[&str], status: i32) -> String {
        let output: Output = self.docker(arguments).output().unwrap();
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "docker {arguments:?} {message}");
        message
    }
}

impl Drop for RunningDaemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn socket(home: &KeptHome) -> PathBuf {
    home.around().join("d.sock")
}

fn spawn(home: &KeptHome, more: &[&str]) -> Child {
    start(home, &mut command(home, more))
}

fn command(home: &KeptHome, more: &[&str]) -> Command {
    let host = format!("--host=unix://{}", socket(home).display());
    let mut command = home.command(&[&["daemon", "run", &host], more].concat());
    // The program that is released has one heap. glibc has one for each thread, which keeps what was freed.
    command.env("MALLOC_ARENA_MAX", "1");
    command
}

fn start(home: &KeptHome, command: &mut Command) -> Child {
    let log = std::fs::File::create(home.around().join("daemon.out")).unwrap();
    command.stdin(Stdio::null()).stdout(log).spawn().unwrap()
}

/// The body for a container that runs a script.
pub fn script(script: &str) -> Value {
    json!({ "Image": "app:1", "Cmd": ["sh", "-c", script], "HostConfig": { "NetworkMode": "none" } })
}

/// Makes a container. Returns its ID.
pub fn create(daemon: &RunningDaemon, query: &str, body: &Value) -> String {
    let (status, made) = daemon.ask("POST", &format!("/containers/create{query}"), body);
    assert_eq!(status, 201, "{made}");
    made["Id"].as_str().unwrap().to_owned()
}

/// Sends a request over a connection, and reads the answer to the end of the connection.
pub fn exchange(
    stream: &mut (impl Read + Write),
    method: &str,
    path: &str,
    headers: &[&str],
    body: &[u8],
) -> (u16, String, Vec<u8>) {
    let more: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let host = if more.contains("Host:") { "" } else { "Host: localhost\r\n" };
    let close = if more.contains("Connection:") { "" } else { "Connection: close\r\n" };
    let length = body.len();
    let is_json = !body.is_empty() && !more.contains("Content-Type:");
    let kind = if is_json { "Content-Type: application/json\r\n" } else { "" };
    let head =
        format!("{method} {path} HTTP/1.1\r\n{host}{close}{kind}{more}Content-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    // The server may answer and close before it has read all.
    let _ = stream.write_all(body);
    let (status, head) = read_head(stream);
    let mut rest = Vec::new();
    if method != "HEAD" {
        let _ = stream.read_to_end(&mut rest);
    }
    let body =
        if head.to_ascii_lowercase().contains("transfer-encoding: chunked") { joined(&rest) } else { rest };
    (status, head, body)
}

/// Reads the head of an answer.
pub fn read_head(stream: &mut impl Read) -> (u16, String) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        assert_eq!(stream.read(&mut byte).unwrap_or(0), 1, "no answer: {}", text(&head));
        head.push(byte[0]);
    }
    let head = text(&head);
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("{head}")), head)
}

/// The parts of a chunked body.
fn joined(chunked: &[u8]) -> Vec<u8> {
    let (mut rest, mut body) = (chunked, Vec::new());
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        let length = usize::from_str_radix(text(&rest[..end]).trim(), 16).unwrap_or(0);
        if length == 0 || rest.len() < end + 2 + length {
            break;
        }
        body.extend_from_slice(&rest[end + 2..end + 2 + length]);
        rest = rest.get(end + 4 + length..).unwrap_or_default();
    }
    body
}

/// The frames of a stream, as (number of the stream, bytes) with neighbours of the same stream joined.
pub fn frames(stream: &[u8]) -> Vec<(u8, String)> {
    let (mut rest, mut all) = (stream, Vec::<(u8, String)>::new());
    while rest.len() >= 8 {
        let length = u32::from_be_bytes([rest[4], rest[5], rest[6], rest[7]]) as usize;
        let content = text(&rest[8..8 + length]);
        match all.last_mut() {
            Some((number, last)) if *number == rest[0] => last.push_str(&content),
            _ => all.push((rest[0], content)),
        }
        rest = &rest[8 + length..];
    }
    assert!(rest.is_empty(), "{rest:?}");
    all
}
