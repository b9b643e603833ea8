//! Credential helpers: programs `docker-credential-NAME` that keep passwords, in a keyring or a cloud. Docker and podman use the
//! same ones. A file with credentials names them.
//!
//!     docker-credential-NAME get     < SERVER   > {"Username": "me", "Secret": "..."}
//!     docker-credential-NAME store   < {"ServerURL": "SERVER", "Username": "me", "Secret": "..."}
//!     docker-credential-NAME erase   < SERVER
//!     docker-credential-NAME list               > {"SERVER": "me"}

use std::collections::BTreeMap;
use std::fmt;
use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use serde_json::{Value, json};

use super::credentials::Login;
use crate::error::{Error, ExitKind, Result, io_text};
use crate::text::{printed, text, text_with};

/// What a helper prints that has no password for a server.
const NOT_FOUND: &str = "credentials not found";

/// The maximum size of what a helper prints, in bytes.
const MAX_OUTPUT: u64 = 1 << 20;

/// How long a helper may take before a note names it.
const PATIENCE: Duration = Duration::from_secs(5);

/// A program that keeps passwords.
pub(super) struct CredentialHelper {
    program: String,
    /// Prints a note.
    note: fn(&str),
}

impl fmt::Display for CredentialHelper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printed(&self.program))
    }
}

impl CredentialHelper {
    /// The helper that a file calls so.
    ///
    /// # Errors
    /// This is no name of a program.
    pub(super) fn named(name: &str, note: fn(&str)) -> Result<CredentialHelper> {
        let helper = CredentialHelper { program: format!("docker-credential-{name}"), note };
        match name.is_empty() || name.contains('/') {
            true => Err(helper.failed(text_with("registry.helper.name", &[]))),
            false => Ok(helper),
        }
    }

    /// The user and the password for a server. None: it has none.
    ///
    /// # Errors
    /// The helper cannot be executed, or fails.
    pub(super) fn get(&self, server: &str) -> Result<Option<(String, String)>> {
        let (is_done, said) = self.run("get", &format!("{server}\n"))?;
        if !is_done {
            return if said.contains(NOT_FOUND) {
                Ok(None)
            } else {
                Err(self.failed(printed(said.trim_end())))
            };
        }
        // Docker is written in Go, which reads keys in any case.
        let told: BTreeMap<String, Value> = serde_json::from_str(&said).map_err(|_| self.no_json())?;
        let member = |wanted: &str| {
            let found = told.iter().find(|(key, _)| key.eq_ignore_ascii_case(wanted));
            found.and_then(|(_, value)| value.as_str()).map(str::to_owned)
        };
        member("Username").zip(member("Secret")).map(Some).ok_or_else(|| self.no_json())
    }

    /// Keeps a password.
    ///
    /// # Errors
    /// As [`CredentialHelper::get`].
    pub(super) fn store(&self, server: &str, login: &Login) -> Result<()> {
        let kept = json!({ "ServerURL": server, "Username": login.user, "Secret": login.password });
        match self.run("store", &kept.to_string())? {
            (true, _) => Ok(()),
            (false, said) => Err(self.failed(printed(said.trim_end()))),
        }
    }

    /// Removes the password of a server.
    ///
    /// # Errors
    /// As [`CredentialHelper::get`].
    pub(super) fn erase(&self, server: &str) -> Result<()> {
        match self.run("erase", &format!("{server}\n"))? {
            (false, said) if !said.contains(NOT_FOUND) => Err(self.failed(printed(said.trim_end()))),
            _ => Ok(()),
        }
    }

    /// The servers of which it has a password.
    ///
    /// # Errors
    /// As [`CredentialHelper::get`].
    pub(super) fn list(&self) -> Result<Vec<String>> {
        match self.run("list", "")? {
            (true, said) => {
                let known: BTreeMap<String, String> =
                    serde_json::from_str(&said).map_err(|_| self.no_json())?;
                Ok(known.into_keys().collect())
            }
            (false, said) => Err(self.failed(printed(said.trim_end()))),
        }
    }

    /// Executes it. Returns whether it has succeeded, and what it has printed.
    fn run(&self, action: &str, input: &str) -> Result<(bool, String)> {
        let child = Command::new(&self.program)
            .arg(action)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn();
        let child = child.map_err(|error| self.failed(io_text(&error)))?;
        let (done, is_done) = channel::<()>();
        let talked = std::thread::scope(|scope| {
            scope.spawn(move || {
                if is_done.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                    let values = [("program", &*printed(&self.program))];
                    (self.note)(&text_with("registry.helper.waits", &values));
                }
            });
            let talked = converse(child, input);
            drop(done);
            talked
        });
        let (status, said) = talked.map_err(|error| self.failed(io_text(&error)))?;
        if said.len() as u64 > MAX_OUTPUT {
            return Err(self.failed(text("registry.helper.large")));
        }
        Ok((status.success(), String::from_utf8_lossy(&said).into_owned()))
    }

    fn no_json(&self) -> Error {
        self.failed(text_with("registry.helper.json", &[]))
    }

    fn failed(&self, why: String) -> Error {
        let what = text_with("registry.helper", &[("program", &printed(&self.program))]);
        Error::new(ExitKind::Refused, what).why(why)
    }
}

/// Writes to a helper and reads what it prints, until it ends. One that prints too much is killed.
fn converse(mut child: Child, input: &str) -> std::io::Result<(ExitStatus, Vec<u8>)> {
    if let Some(mut to) = child.stdin.take() {
        // A helper that reads nothing prints why.
        let _ = to.write_all(input.as_bytes());
    }
    let mut said = Vec::new();
    let read = child.stdout.take().map(|from| from.take(MAX_OUTPUT + 1).read_to_end(&mut said));
    if said.len() as u64 > MAX_OUTPUT {
        let _ = child.kill();
    }
    let status = child.wait()?;
    read.transpose()?;
    Ok((status, said))
}
