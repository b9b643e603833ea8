//! The process that makes the container of a `RUN`: `sandbox __build-step`. The builder starts it, sends it the config, and waits
//! for its report.
//!
//!     build ──config──> sandbox __build-step ──clone3──> child ──execve──> COMMAND
//!           <──report──
//!
//! The builder has threads and open files; a process that makes a container has neither. If the builder is killed, the kernel kills
//! this process, and with it the container. The next command removes what is left, from the journal.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use super::container;
use crate::config::container::Config;
use crate::container::message::SentError;
use crate::error::{Error, ExitKind, Result};
use crate::exec::signals::Signals;
use crate::exec::{self, Ended, Watch, sweep};
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

/// Where the output of a command goes.
#[derive(Debug)]
pub enum RunOutput<'o> {
    /// To the caller's own.
    Shown,
    /// To this file.
    To(&'o File),
}

/// Executes a command. `signals` are those of the builder: one that ends it kills the command.
///
/// # Errors
/// The container cannot be made; the builder was ended by a signal.
pub fn run(config: &Config, output: &RunOutput<'_>, signals: &Signals) -> Result<RunEnd> {
    let cannot = |call: &str, error: io::Error| Error::failed(text("build.process")).call(call, error);
    let (own, theirs) = UnixStream::pair().map_err(|error| cannot("socketpair(AF_UNIX)", error))?;
    let mut command = Command::new("/proc/self/exe");
    command.arg0("sandbox").arg(SUBCOMMAND).stdin(OwnedFd::from(theirs)).process_group(0);
    if let RunOutput::To(file) = output {
        let copy = || file.try_clone().map(Stdio::from).map_err(|error| cannot("dup(2)", error));
        command.stdout(copy()?).stderr(copy()?);
    }
    signal::restore_before(&mut command);
    let mut child = command.spawn().map_err(|error| cannot("execve(\"/proc/self/exe\")", error))?;
    // The copy of the socket that belongs to the process.
    drop(command);
    let sent = (&own).write_all(config.to_json().as_bytes()).and_then(|()| own.shutdown(Shutdown::Write));
    let report = match sent {
        Ok(()) => await_report(&own, signals),
        Err(error) => Err(cannot("write(<socket>)", error)),
    };
    if report.is_err() {
        end(&mut child);
    }
    let _ = child.wait();
    match report? {
        StepReport::Ended(end) => Ok(end),
        StepReport::Refused(error) => Err(error.into()),
    }
}

/// Kills the process. The container is killed with it, and what was made for it is removed from its journal.
fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
    sweep::sweep();
}

fn await_report(socket: &UnixStream, signals: &Signals) -> Result<StepReport> {
    let ended = || Error::failed(text("build.process.ended"));
    let mut report = Vec::new();
    loop {
        if let Some(arrived) = signals.next_end() {
            let kind = ExitKind::Interrupted(arrived.number);
            return Err(Error::new(kind, text("build.interrupted")));
        }
        let mut ready =
            [PollFd::new(socket.as_fd(), PollFlags::POLLIN), PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
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

/// Becomes the process. Its standard input is the socket of the builder.
///
/// # Errors
/// It was not started by a builder.
pub fn become_process() -> Result<u8> {
    let stranger = || Error::usage(text("build.process.alone"));
    let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3).map_err(|_| stranger())?;
    let mut socket = UnixStream::from(socket);
    if let Ok(null) = File::open("/dev/null") {
        let _ = rustix::stdio::dup2_stdin(&null);
    }
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).map_err(|_| stranger())?;
    let config: Config = serde_json::from_slice(&bytes).map_err(|_| stranger())?;
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
        plan.config = Some(config.to_json());
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
