//! The `sandbox` commands that the daemon executes. It never makes a container or an image itself: a command does, in a
//! process of its own, so an error or the end of the daemon cannot damage one.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;

use hyper::body::{Bytes, Incoming};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::sync::mpsc;

use super::Daemon;
use super::answer::{Answered, ApiError};
use super::request::ApiRequest;
use crate::error::ExitKind;
use crate::host::run_directory::DAEMON_PASSWORDS;
use crate::sys::signal::restore_before;
use crate::text::{text, text_with};
use crate::value::shell::quote;

/// The size of a part of a stream.
const PART: usize = 64 << 10;

/// The maximum size of what a command may print where it is no stream.
const MAX_PRINTED: u64 = 32 << 20;

/// The words of a command.
pub(super) type Words = Vec<OsString>;

/// The words of a command, from strings.
pub(super) fn words<S: Into<OsString> + Clone>(words: &[S]) -> Words {
    words.iter().cloned().map(Into::into).collect()
}

/// A command line as a user would type it: without the file of a password, which is gone when the command has ended.
pub(super) fn typed(words: &Words) -> String {
    let words = words.iter().filter(|word| !is_password_file(word));
    let quoted = words.map(|word| quote(word).to_string());
    std::iter::once("sandbox".to_owned()).chain(quoted).collect::<Vec<_>>().join(" ")
}

/// Whether a word is the flag with a file of passwords that the daemon has written. The command of a container may have a flag of this
/// name too.
fn is_password_file(word: &OsStr) -> bool {
    let word = word.to_string_lossy();
    word.starts_with("--authfile=") && word.contains(DAEMON_PASSWORDS)
}

/// A `sandbox` command for the same HOME.
pub(super) fn sandbox(daemon: &Daemon, words: &Words) -> Command {
    sandbox_of(&daemon.home, words)
}

/// A `sandbox` command for this HOME.
pub(super) fn sandbox_of(home: &Path, words: &Words) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("sandbox").args(["--lang", "en", "--color", "never", "--home"]).arg(home).args(words);
    // Messages are not wrapped at the width of a terminal that the daemon does not have.
    // A container with a terminal gets TERM from the command that makes it. In Docker it is always this one.
    command
        .env_remove("COLUMNS")
        .env("TERM", "xterm")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // The daemon has SIGTERM, SIGINT and SIGHUP blocked. A command of a container must not inherit that.
    restore_before(&mut command);
    command
}

/// Does blocking work, so that other requests are answered meanwhile.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Answered<T> + Send + 'static,
) -> Answered<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(ApiError::failed(format!("{}: {error}", text("daemon.panic")))),
    }
}

/// How many commands may run at the same time. More requests than that wait for the end of one.
const MAX_COMMANDS: usize = 128;

/// The right to run one of them.
static COMMANDS: tokio::sync::Semaphore = tokio::sync::Semaphore::const_new(MAX_COMMANDS);

/// Does work that may take long in a thread of its own. So the threads of [`blocking`] stay free for what is short.
pub(super) async fn long<T: Send + 'static>(
    work: impl FnOnce() -> Answered<T> + Send + 'static,
) -> Answered<T> {
    let lost = || ApiError::failed(text("daemon.panic"));
    let permit = COMMANDS.acquire().await.map_err(|_| lost())?;
    let (give, take) = tokio::sync::oneshot::channel();
    let thread = thread::Builder::new().stack_size(2 << 20).spawn(move || {
        let done = work();
        drop(permit);
        let _ = give.send(done);
    });
    thread.map_err(unstarted)?;
    take.await.map_err(|_| lost())?
}

/// Executes a command. Returns what it has printed.
pub(super) async fn run(daemon: &Daemon, number: u64, words: Words) -> Answered<Vec<u8>> {
    run_with(daemon, number, words, None).await
}

/// Executes a command with this as its standard input.
pub(super) async fn run_with(
    daemon: &Daemon,
    number: u64,
    words: Words,
    input: Option<Vec<u8>>,
) -> Answered<Vec<u8>> {
    daemon.trace.command(number, &typed(&words));
    run_quietly(daemon, words, input).await
}

/// The same for a command line that is not the one of the trace.
pub(super) async fn run_quietly(daemon: &Daemon, words: Words, input: Option<Vec<u8>>) -> Answered<Vec<u8>> {
    run_noted(daemon, words, input).await.map(|(printed, _)| printed)
}

/// The same. Returns also what the command has noted on standard error.
pub(super) async fn run_noted(
    daemon: &Daemon,
    words: Words,
    input: Option<Vec<u8>>,
) -> Answered<(Vec<u8>, Vec<String>)> {
    let mut command = sandbox(daemon, &words);
    long(move || {
        if input.is_some() {
            command.stdin(Stdio::piped());
        }
        let mut child = command.spawn().map_err(|error| unstarted_of(error, &words))?;
        let stdin = child.stdin.take();
        let writer =
            input.zip(stdin).map(|(input, mut stdin)| thread::spawn(move || stdin.write_all(&input)));
        let (mut printed, mut stdout) = (Vec::new(), child.stdout.take());
        let complaint = complaint_of(&mut child);
        if let Some(stdout) = &mut stdout {
            stdout.take(MAX_PRINTED).read_to_end(&mut printed).map_err(unread)?;
        }
        drop(stdout);
        writer.map(thread::JoinHandle::join);
        let complaint = ended(child, complaint)?;
        Ok((printed, notes_of(&complaint)))
    })
    .await
}

/// A command whose output is a stream. Returned when it has printed its first part, or has failed.
pub(super) struct Streaming {
    /// Its output.
    pub(super) parts: mpsc::Receiver<Answered<Bytes>>,
    /// The first part. None: it has printed nothing.
    pub(super) first: Option<Bytes>,
    /// The task that reads the body of the request.
    fed: Option<tokio::task::JoinHandle<()>>,
}

impl Streaming {
    /// Starts a command. Its standard input is the body of the request, if one is given.
    pub(super) async fn start(
        daemon: &Daemon,
        number: u64,
        words: Words,
        input: Option<Incoming>,
    ) -> Answered<Streaming> {
        let mut streaming = Streaming::begin(daemon, number, words, input)?;
        match streaming.parts.recv().await {
            Some(Ok(first)) => streaming.first = Some(first),
            Some(Err(error)) => {
                streaming.drained().await;
                return Err(error);
            }
            None => {}
        }
        Ok(streaming)
    }

    /// Starts a command, and does not wait for its first output.
    pub(super) fn begin(
        daemon: &Daemon,
        number: u64,
        words: Words,
        input: Option<Incoming>,
    ) -> Answered<Streaming> {
        daemon.trace.command(number, &typed(&words));
        let mut command = sandbox(daemon, &words);
        if input.is_some() {
            command.stdin(Stdio::piped());
        }
        let mut child = command.spawn().map_err(|error| unstarted_of(error, &words))?;
        let (sender, parts) = mpsc::channel(1);
        let process = pidfd_open(Pid::from_child(&child), PidfdFlags::empty());
        let process = process.map_err(|errno| unstarted(errno.into()))?;
        let fed = input.zip(child.stdin.take()).map(|(input, stdin)| feed(input, stdin, process));
        let stdout = child.stdout.take();
        let pumped = thread::Builder::new().stack_size(256 << 10).spawn(move || pump(child, stdout, &sender));
        pumped.map_err(unstarted)?;
        Ok(Streaming { parts, first: None, fed })
    }

    /// Waits until the body of the request is read. An answer before that would be lost: the kernel reports an error to a
    /// client that still sends.
    pub(super) async fn drained(&mut self) {
        if let Some(fed) = self.fed.take() {
            let _ = fed.await;
        }
    }

    /// The next part.
    pub(super) async fn next(&mut self) -> Option<Answered<Bytes>> {
        match self.first.take() {
            Some(first) => Some(Ok(first)),
            None => self.parts.recv().await,
        }
    }
}

/// Gives the body of a request to a command. If the client leaves in the middle, the command is killed: for it, half of an
/// archive would look like a whole one.
fn feed(
    mut input: Incoming,
    mut stdin: std::process::ChildStdin,
    process: OwnedFd,
) -> tokio::task::JoinHandle<()> {
    let (sender, mut parts) = mpsc::channel::<Bytes>(4);
    let fed = tokio::spawn(async move {
        loop {
            let part = match ApiRequest::part(&mut input).await {
                Ok(Some(part)) => part,
                Ok(None) => return,
                Err(_) => {
                    let _ = pidfd_send_signal(&process, Signal::KILL);
                    return;
                }
            };
            if sender.send(part).await.is_err() {
                // The command reads no more. The client still gets the answer after it has sent all.
                ApiRequest::drain(input).await;
                return;
            }
        }
    });
    let _ = thread::Builder::new().stack_size(256 << 10).spawn(move || {
        while let Some(part) = parts.blocking_recv() {
            if stdin.write_all(&part).is_err() {
                return;
            }
        }
    });
    fed
}

fn pump(mut child: Child, stdout: Option<ChildStdout>, sender: &mpsc::Sender<Answered<Bytes>>) {
    let complaint = complaint_of(&mut child);
    if let Some(mut stdout) = stdout {
        let mut buffer = vec![0; PART];
        loop {
            match stdout.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => {
                    if sender.blocking_send(Ok(Bytes::copy_from_slice(&buffer[..length]))).is_err() {
                        // The client has left.
                        let _ = child.kill();
                        break;
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
    }
    if let Err(error) = ended(child, complaint) {
        let _ = sender.blocking_send(Err(error));
    }
}

/// Reads standard error, which a command must not wait for.
fn complaint_of(child: &mut Child) -> Option<thread::JoinHandle<String>> {
    let stderr = child.stderr.take()?;
    let read = move || {
        let mut complaint = Vec::new();
        let mut stderr = stderr;
        let _ = (&mut stderr).take(64 << 10).read_to_end(&mut complaint);
        let _ = std::io::copy(&mut stderr, &mut std::io::sink());
        String::from_utf8_lossy(&complaint).into_owned()
    };
    thread::Builder::new().stack_size(256 << 10).spawn(read).ok()
}

/// Waits for the end of a command. Returns what it has written to standard error.
fn ended(mut child: Child, complaint: Option<thread::JoinHandle<String>>) -> Answered<String> {
    let status = child.wait().map_err(unread)?;
    let complaint = complaint.and_then(|reader| reader.join().ok()).unwrap_or_default();
    if status.success() {
        return Ok(complaint);
    }
    let message = match message_of(&complaint) {
        message if message.is_empty() => format!("{}: {status}", text("daemon.command.ended")),
        message => message,
    };
    let kinds = [ExitKind::Usage, ExitKind::NotFound, ExitKind::NotExecutable, ExitKind::Refused];
    let kind = kinds.into_iter().find(|kind| status.code() == Some(kind.status().into()));
    // A wrong value of some flags has the exit status of any other error. The message of the parser of the command line begins so.
    let kind = if complaint.starts_with("error: ") { Some(ExitKind::Usage) } else { kind };
    Err(ApiError::of(kind.unwrap_or(ExitKind::Failed), message))
}

/// What a command that has succeeded notes on standard error: each note in one line.
fn notes_of(complaint: &str) -> Vec<String> {
    let mut notes: Vec<String> = Vec::new();
    for line in complaint.lines() {
        let begun = ["sandbox: ", "WARNING: "].iter().find_map(|start| line.strip_prefix(start));
        match (begun, notes.last_mut()) {
            (Some(begun), _) => notes.push(begun.to_owned()),
            (None, Some(last)) if line.starts_with(' ') => {
                last.push(' ');
                last.push_str(line.trim());
            }
            (None, _) => notes.push(line.trim().to_owned()),
        }
    }
    notes.retain(|note| !note.is_empty());
    notes
}

/// What a command says on standard error, in one line: what failed, the call, and why. What to do is left out: it is about
/// the command line.
pub(super) fn message_of(complaint: &str) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut is_advice = false;
    // Where the last message began. One that another follows is a note, and no part of the error.
    let mut begin = None;
    let mut is_usage = false;
    for line in without_excerpts(complaint) {
        let is_warning = parts.is_empty() && line.starts_with("WARNING: ");
        // A mistake of a command line has help for people.
        let is_help = is_usage && line.starts_with("For more information, try");
        if is_warning || is_help || line.is_empty() {
            continue;
        }
        let (label, rest) = match line.strip_prefix("  ") {
            Some(part) if part.is_char_boundary(6.min(part.len())) => part.split_at(6.min(part.len())),
            _ => ("", line),
        };
        let usage = line.strip_prefix("error: ");
        if let Some(what) = line.strip_prefix("sandbox: ").or_else(|| usage.filter(|_| parts.is_empty())) {
            is_usage = line.starts_with("error: ");
            is_advice = false;
            parts.truncate(begin.unwrap_or(parts.len()));
            begin = Some(parts.len());
            parts.push(what.to_owned());
        } else {
            match label.trim() {
                "do" => is_advice = true,
                "call" | "why" => {
                    is_advice = false;
                    parts.push(rest.trim().to_owned());
                }
                _ if is_advice => {}
                _ => match parts.last_mut() {
                    Some(last) => {
                        last.push(' ');
                        last.push_str(line.trim());
                    }
                    None => parts.push(line.trim().to_owned()),
                },
            }
        }
    }
    parts.retain(|part| !part.is_empty());
    parts.join(": ")
}

/// The lines of a complaint without the excerpts of files: `  2 | LINE`, and below it the marks. They need several lines, and a message of
/// the API is one.
fn without_excerpts(complaint: &str) -> Vec<&str> {
    let lines: Vec<&str> = complaint.lines().collect();
    let is_excerpt = |at: usize| {
        let bar = |line: &str| line.strip_prefix("  ").and_then(|rest| rest.find(" |"));
        let (Some(line), Some(below)) = (lines.get(at), lines.get(at + 1)) else { return false };
        let Some(width) = bar(line) else { return false };
        bar(below) == Some(width)
            && line[2..2 + width].bytes().all(|byte| byte.is_ascii_digit())
            && below[2..2 + width].bytes().all(|byte| byte == b' ')
            && below.contains('^')
    };
    let is_kept = |at: &usize| !is_excerpt(*at) && !at.checked_sub(1).is_some_and(is_excerpt);
    (0..lines.len()).filter(is_kept).map(|at| lines[at]).collect()
}

/// The error of a command that cannot be executed. If its command line is too long, the error names the setting with the longest word.
fn unstarted_of(error: std::io::Error, words: &Words) -> ApiError {
    if error.raw_os_error() != Some(libc::E2BIG) {
        return unstarted(error);
    }
    let longest = words.iter().max_by_key(|word| word.len());
    let longest = longest.map(|word| word.to_string_lossy()).unwrap_or_default();
    let flag = longest.strip_prefix("--").and_then(|flag| flag.split_once('='));
    let name = flag.map_or("Cmd", |(name, _)| name);
    ApiError::bad(text_with("daemon.setting.long", &[("name", name)]))
}

fn unstarted(error: std::io::Error) -> ApiError {
    // The value of a setting has a zero byte.
    let is_of_request = error.kind() == std::io::ErrorKind::InvalidInput;
    let new = if is_of_request { ApiError::bad } else { ApiError::failed };
    new(format!("{}: {}", text("daemon.command.unstarted"), crate::error::io_text(&error)))
}

fn unread(error: std::io::Error) -> ApiError {
    ApiError::failed(format!("{}: {}", text("daemon.command.unread"), crate::error::io_text(&error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_of_passwords_of_the_daemon_is_not_shown() {
        let own = words(&["pull", "--authfile=/run/sandbox/daemon-auth-5-0123", "--", "app"]);
        assert_eq!(typed(&own), "sandbox pull -- app");
        let of_container = words(&["create", "app", "push", "--authfile=/a"]);
        assert_eq!(typed(&of_container), "sandbox create app push --authfile=/a");
    }

    #[test]
    fn the_message_of_a_command_is_one_line() {
        let complaint = "sandbox: cannot pull x\n         from y\n  call  connect(3)\n  why   It is away.\n        Twice.\n  do    sandbox doctor\n        more\n";
        assert_eq!(message_of(complaint), "cannot pull x from y: connect(3): It is away. Twice.");
        assert_eq!(message_of("sandbox: No such image: x\n  do    sandbox images\n"), "No such image: x");
        assert_eq!(message_of(""), "");
        let mistake =
            "sandbox: D: one mistake\nD:2:1: grep failed: x\n  2 | RUN grep 3 | x\n    | ^^^ did you mean\n";
        assert_eq!(message_of(mistake), "D: one mistake D:2:1: grep failed: x");
        let bars = "sandbox: it printed\n  3 | grep ^x\n  5 | y\n";
        assert_eq!(message_of(bars), "it printed 3 | grep ^x 5 | y");
        let noted =
            "WARNING: not so\nsandbox: a note\n         of two lines\nsandbox: cannot\n  why   It is away.\n";
        assert_eq!(message_of(noted), "cannot: It is away.");
        assert_eq!(
            notes_of("sandbox: a note\n         of two lines\nWARNING: more\n"),
            ["a note of two lines", "more"]
        );
        let usage = "error: invalid value 'x' for '--memory <SIZE>': no size\n\nFor more information, try '--help'.\n";
        assert_eq!(message_of(usage), "invalid value 'x' for '--memory <SIZE>': no size");
    }
}
