//! The process that makes the container of a `RUN`: `sandbox __build-step`. The builder starts it, sends it the config, and waits
//! for its report.
//!
//!     build ──config──> sandbox __build-step ──clone3──> child ──execve──> COMMAND
//!           <──report──
//!
//! The builder has threads and open files; a process that makes a container has neither. If the builder is killed, the kernel kills
//! this process, and with it the container. The next command removes what is left, from the journal.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, PipeReader, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, umask};
use serde::{Deserialize, Serialize};

use super::container;
use super::stop::StopFlag;
use crate::config::container::Config;
use crate::container::message::SentError;
use crate::error::{Error, Result};
use crate::exec::{self, Ended, Watch, sweep};
use crate::host::home::{self, HomePlace};
use crate::sys::signal;
use crate::text::text;

/// The name of the subcommand.
pub const SUBCOMMAND: &str = "__build-step";

/// How a command of `RUN` has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunEnd {
    /// Its exit status, or 128+N for signal N.
    pub status: u8,
    /// Whether the OOM killer has killed processes of it.
    pub out_of_memory: bool,
}

/// What the process reports.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StepReport {
    Ended(RunEnd),
    Refused(SentError),
}

/// What the builder sends.
#[derive(Debug, Serialize, Deserialize)]
struct StepRequest {
    config: Config,
    /// Variables that only the command gets: no file about the container has them.
    secrets: BTreeMap<String, String>,
}

/// What gets the output of a command, with whether it is that of standard error.
pub type RunOutput<'o> = &'o (dyn Fn(bool, &[u8]) + Sync);

/// Executes a command. `secrets` are further variables of its environment.
///
/// The command never has the builder's own output: then a closed pipe or a full disk behind that could change what it writes to its
/// files, and the cache would keep it. Its output is read to the end, whatever happens to it here.
///
/// # Errors
/// The container cannot be made; the build has to end.
pub fn run(
    config: Config,
    secrets: &BTreeMap<String, String>,
    output: RunOutput<'_>,
    stops: &StopFlag,
) -> Result<RunEnd> {
    let cannot = |call: &str, error: io::Error| Error::failed(text("build.process")).call(call, error);
    let (own, theirs) = UnixStream::pair().map_err(|error| cannot("socketpair(AF_UNIX)", error))?;
    let mut command = Command::new("/proc/self/exe");
    command.arg0("sandbox").arg(SUBCOMMAND).stdin(OwnedFd::from(theirs)).process_group(0);
    let pipe = || io::pipe().map_err(|error| cannot("pipe2()", error));
    let ((output_pipe, own_output), (error_pipe, own_error)) = (pipe()?, pipe()?);
    command.stdout(own_output).stderr(own_error);
    // The process has no flag --home, so it finds HOME by the variable.
    command.env(home::VARIABLE, HomePlace::find().path);
    signal::restore_before(&mut command);
    let mut child = command.spawn().map_err(|error| cannot("execve(\"/proc/self/exe\")", error))?;
    // The copies of the socket and the pipes that belong to the process.
    drop(command);
    let report = std::thread::scope(|threads| {
        threads.spawn(|| read_output(&output_pipe, &error_pipe, output));
        let request = StepRequest { config, secrets: secrets.clone() };
        let request = serde_json::to_vec(&request).unwrap_or_default();
        let sent = (&own).write_all(&request).and_then(|()| own.shutdown(Shutdown::Write));
        let report = match sent {
            Ok(()) => await_report(&own, stops),
            Err(error) => Err(cannot("write(<socket>)", error)),
        };
        if report.is_err() {
            end(&mut child);
        }
        let _ = child.wait();
        report
    });
    match report? {
        StepReport::Ended(end) => Ok(end),
        StepReport::Refused(error) => Err(error.into()),
    }
}

/// Reads both pipes to the end, which is when all processes of the container have ended. One thread reads both. With two threads, lines
/// of the two would change their order more often.
fn read_output(output: &PipeReader, error: &PipeReader, take: RunOutput<'_>) {
    let mut open = vec![(false, output), (true, error)];
    let mut buffer = [0; 8 << 10];
    while !open.is_empty() {
        let mut ready: Vec<_> =
            open.iter().map(|(_, pipe)| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)).collect();
        if poll(&mut ready, PollTimeout::NONE).is_err() {
            continue;
        }
        let ready: Vec<bool> = ready.iter().map(|pipe| pipe.any().unwrap_or(true)).collect();
        let mut ready = ready.into_iter();
        open.retain(|&(is_error, mut pipe)| {
            !ready.next().unwrap_or(false)
                || match pipe.read(&mut buffer) {
                    Ok(0) => false,
                    Ok(count) => {
                        take(is_error, &buffer[..count]);
                        true
                    }
                    Err(error) => error.kind() == io::ErrorKind::Interrupted,
                }
        });
    }
}

/// Kills the process. The container is killed with it, and what was made for it is removed from its journal.
fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
    sweep::sweep();
}

fn await_report(socket: &UnixStream, stops: &StopFlag) -> Result<StepReport> {
    let ended = || Error::failed(text("build.process.ended"));
    let mut report = Vec::new();
    loop {
        stops.check()?;
        let [arrivals, failure] = stops.descriptors();
        let mut ready = [socket.as_fd(), arrivals, failure].map(|file| PollFd::new(file, PollFlags::POLLIN));
        if poll(&mut ready, PollTimeout::NONE).is_err() || !ready[0].any().unwrap_or(true) {
            continue;
        }
        let mut buffer = [0; 4096];
        match (&mut &*socket).read(&mut buffer) {
            Ok(0) => return serde_json::from_slice(&report).map_err(|_| ended()),
            Ok(count) => report.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Err(ended()),
        }
    }
}

/// Notes what has happened to the command.
#[derive(Default)]
struct StepWatch {
    out_of_memory: bool,
}

impl Watch for StepWatch {
    fn out_of_memory(&mut self, _kills: u64, _limit: Option<u64>, _ended: Ended) {
        self.out_of_memory = true;
    }
}

/// Adds variables to the environment of the command. Of two with the same name, a program may find either.
fn add_secrets(config: &mut Config, secrets: BTreeMap<String, String>) {
    for (name, value) in secrets {
        let env = config.process.env.get_or_insert_default();
        env.retain(|own| !own.as_bytes().starts_with(format!("{name}=").as_bytes()));
        env.push(format!("{name}={value}").into());
    }
}

/// Becomes the process. Its standard input is the socket of the builder.
///
/// # Errors
/// It was not started by a builder.
pub fn become_process() -> Result<u8> {
    let stranger = || Error::usage(text("build.process.alone"));
    let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
    // As with Docker: the mode of a new file in the image does not depend on who builds it. The key of the cache has no umask.
    umask(Mode::from_bits_truncate(0o022));
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3).map_err(|_| stranger())?;
    let mut socket = UnixStream::from(socket);
    if let Ok(null) = File::open("/dev/null") {
        let _ = rustix::stdio::dup2_stdin(&null);
    }
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).map_err(|_| stranger())?;
    let StepRequest { mut config, secrets } = serde_json::from_slice(&bytes).map_err(|_| stranger())?;
    let stored = config.to_json();
    add_secrets(&mut config, secrets);
    // A builder that had ended before the parent-death signal was set waits for no report.
    let mut builder = [PollFd::new(socket.as_fd(), PollFlags::empty())];
    if poll(&mut builder, PollTimeout::ZERO).is_ok_and(|ready| ready > 0) {
        return Err(stranger());
    }
    let mut watch = StepWatch::default();
    let ended = (|| {
        let mut plan = container::plan(&config);
        exec::accept(&plan)?;
        container::program(&config)?;
        plan.config = Some(stored);
        exec::start(&plan, &mut watch)?.wait(&mut watch)
    })();
    let report = match ended {
        Ok(ended) => StepReport::Ended(RunEnd { status: ended.status(), out_of_memory: watch.out_of_memory }),
        Err(error) => StepReport::Refused(error.into()),
    };
    // Without a builder, nobody reads it.
    let _ = socket.write_all(&serde_json::to_vec(&report).unwrap_or_default());
    Ok(0)
}
