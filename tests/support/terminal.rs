//! `sandbox` in a new terminal: what is typed, and what appears.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{Winsize, openpty};
use nix::sys::termios::{Termios, tcgetattr};

/// A program with a controlling terminal.
pub struct Terminal {
    child: Child,
    master: File,
    /// The terminal's modes before the program started.
    pub before: Termios,
    /// Everything that has appeared so far.
    pub seen: String,
}

/// The timeout for each wait.
const PATIENCE: Duration = Duration::from_secs(10);

impl Terminal {
    /// Starts `sandbox` with these arguments in a terminal of 80 columns and 40 rows.
    pub fn start(arguments: &[&str]) -> Terminal {
        Terminal::of(&super::binary(), arguments)
    }

    /// Starts a program with these arguments. setsid(1) makes the terminal the controlling one.
    pub fn of(program: &Path, arguments: &[&str]) -> Terminal {
        let size = Winsize { ws_row: 40, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(Some(&size), None).expect("a terminal");
        // A process that another test starts would keep the terminal open.
        for end in [&pty.master, &pty.slave] {
            rustix::io::fcntl_setfd(end, rustix::io::FdFlags::CLOEXEC).expect("a descriptor has flags");
        }
        let end = || Stdio::from(pty.slave.try_clone().expect("a descriptor"));
        let child = Command::new("setsid")
            .arg("--ctty")
            .arg(program)
            .args(arguments)
            .env("NO_COLOR", "1")
            .env("PS1", "prompt> ")
            .env_remove("COLUMNS")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .expect("setsid can be executed");
        let before = tcgetattr(&pty.slave).expect("a terminal has modes");
        Terminal { child, master: File::from(pty.master), before, seen: String::new() }
    }

    /// The terminal's current modes.
    pub fn modes(&self) -> Termios {
        tcgetattr(&self.master).expect("a terminal has modes")
    }

    /// Sets the window size. The kernel reports the change by SIGWINCH.
    pub fn resize(&self, rows: u16, columns: u16) {
        let size = rustix::termios::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&self.master, size).expect("a terminal has a size");
    }

    /// The PID of `sandbox`.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Types these keys.
    pub fn press(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    /// Waits until this text appears after the text of the last wait. Returns the output up to and including it.
    pub fn wait_for(&mut self, words: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.seen.find(words) {
                let rest = self.seen.split_off(at + words.len());
                return std::mem::replace(&mut self.seen, rest);
            }
            assert!(Instant::now() < deadline && self.read(), "{words:?} never came:\n{}", self.seen);
        }
    }

    /// The same, or nothing if the program ends before.
    pub fn wait_for_or_end(&mut self, words: &str) -> Option<String> {
        let deadline = Instant::now() + PATIENCE;
        while !self.seen.contains(words) {
            if self.child.try_wait().expect("a child of ours").is_some() {
                while self.read() {}
                break;
            }
            assert!(Instant::now() < deadline, "{words:?} never came:\n{}", self.seen);
            self.read();
        }
        self.seen.contains(words).then(|| self.wait_for(words))
    }

    /// Closes the terminal, as when a window is closed or a connection breaks. Waits for the program's end.
    pub fn close(mut self) -> ExitStatus {
        self.master = File::open("/dev/null").expect("a device");
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                return status;
            }
            assert!(Instant::now() < deadline, "it doesn't end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for the program's end. Returns its status and its output.
    pub fn end(mut self) -> (ExitStatus, String) {
        self.ended()
    }

    /// The same, but the terminal can still be examined.
    pub fn ended(&mut self) -> (ExitStatus, String) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.read();
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                while self.read() {}
                return (status, std::mem::take(&mut self.seen));
            }
            assert!(Instant::now() < deadline, "it doesn't end:\n{}", self.seen);
        }
    }

    /// Reads the available output after a short wait. Returns false if nothing came or nothing more can come.
    fn read(&mut self) -> bool {
        let mut ready = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
        if poll(&mut ready, PollTimeout::from(200_u16)) == Ok(0) {
            return !self.child.try_wait().is_ok_and(|ended| ended.is_some());
        }
        let mut bytes = [0; 4096];
        match self.master.read(&mut bytes) {
            Ok(count) if count > 0 => {
                self.seen.push_str(&String::from_utf8_lossy(&bytes[..count]).replace('\r', ""));
                true
            }
            // EIO: the last process at the other end has exited.
            _ => false,
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
