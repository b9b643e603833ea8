//! Processes in the background that end with the test, also when an assertion fails.

use std::fs::File;
use std::ops::{Deref, DerefMut};
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A process that is ended when this is dropped. It does not have the test's own standard streams: a process that is left
/// would keep the output of the tests open.
pub struct Background(Option<Child>);

impl Background {
    /// Starts it without input and output.
    pub fn quiet(command: &mut Command) -> Background {
        Background::start(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()))
    }

    /// Starts it without input and output. Errors go to this file.
    pub fn with_errors(command: &mut Command, errors: File) -> Background {
        Background::start(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors))
    }

    /// Starts it with the output in pipes, and without input.
    pub fn piped(command: &mut Command) -> Background {
        Background::start(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()))
    }

    /// Starts it with all three standard streams in pipes.
    pub fn with_pipes(command: &mut Command) -> Background {
        Background::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()))
    }

    fn start(command: &mut Command) -> Background {
        Background(Some(command.spawn().expect("the command can be executed")))
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.id().cast_signed()), signal).expect("a child that has not been waited for");
    }

    /// Waits for its end, and returns its status and its output.
    pub fn output(mut self) -> Output {
        self.0.take().expect("it runs").wait_with_output().expect("its output can be read")
    }
}

impl Deref for Background {
    type Target = Child;

    fn deref(&self) -> &Child {
        self.0.as_ref().expect("it runs")
    }
}

impl DerefMut for Background {
    fn deref_mut(&mut self) -> &mut Child {
        self.0.as_mut().expect("it runs")
    }
}

impl Drop for Background {
    /// `sandbox` gets the time to end what belongs to it: a PID namespace ends only when all its processes are reaped.
    fn drop(&mut self) {
        let Some(child) = &mut self.0 else { return };
        let _ = kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM);
        for _ in 0..500 {
            if !matches!(child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// An argument of `sleep` that no other process has: an hour, and a fraction that is this test's. With it, a process is
/// found again on a machine on which other tests run too.
pub fn mark(number: u32) -> String {
    format!("3600.{:08}{number:03}", std::process::id())
}

/// The processes that have this argument.
pub fn with_argument(mark: &str) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").expect("/proc is mounted").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_string_lossy().parse::<u32>().ok());
    let has = |pid: &u32| {
        let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        arguments.split(|byte| *byte == 0).any(|argument| argument == mark.as_bytes())
    };
    pids.filter(has).collect()
}
