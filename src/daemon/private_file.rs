//! A file in RUN for one command: what must not be on a command line, which every user can read.

use std::ffi::OsString;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::answer::{Answered, ApiError};
use crate::error::io_text;
use crate::host::run_directory::{self, DAEMON_PASSWORDS};
use crate::host::token::token;
use crate::text::text;

/// Removes the files of daemons that were killed, and of one that had the PID of this one. This daemon has made none yet.
pub(super) fn remove_left() {
    let Ok(Some(run)) = run_directory::find() else { return };
    let (names, _) = run.names().unwrap_or_default();
    for name in names {
        let rest = name.to_str().and_then(|name| name.strip_prefix(DAEMON_PASSWORDS));
        let pid = rest.and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        let is_left = |pid| pid == std::process::id() || !run_directory::may_be_of_daemon(pid);
        if pid.is_some_and(is_left) {
            let _ = run.remove_file(name);
        }
    }
}

/// A file of mode 0600. It is removed when the command has ended. If the daemon is killed before, the next command removes it.
pub(super) struct PrivateFile {
    path: PathBuf,
}

impl PrivateFile {
    /// A name for a file that a command makes.
    pub(super) fn absent() -> Answered<PrivateFile> {
        let run = run_directory::make()?;
        Ok(PrivateFile {
            path: run.path().join(format!("{DAEMON_PASSWORDS}{}-{:08x}", std::process::id(), token())),
        })
    }

    /// Writes a file.
    pub(super) fn of(content: &[u8]) -> Answered<PrivateFile> {
        let file = PrivateFile::absent()?;
        let failed = |error: std::io::Error| {
            ApiError::failed(format!("{}: {}", text("daemon.auth.file"), io_text(&error)))
        };
        let mut options = std::fs::OpenOptions::new();
        let mut opened = options.write(true).create_new(true).mode(0o600).open(&file.path).map_err(failed)?;
        std::io::Write::write_all(&mut opened, content).map_err(failed)?;
        Ok(file)
    }

    /// Variables, as `--env-file` reads them. None: there are none.
    pub(super) fn of_variables(variables: &[String]) -> Answered<Option<PrivateFile>> {
        if variables.is_empty() {
            return Ok(None);
        }
        PrivateFile::of_records("Env", variables).map(Some)
    }

    /// The values of a setting, with a zero byte after each, as in /proc/PID/environ: a value may have several lines.
    pub(super) fn of_records(setting: &str, values: &[String]) -> Answered<PrivateFile> {
        if values.iter().any(|one| one.contains('\0')) {
            return Err(ApiError::bad(crate::text::text_with("daemon.setting", &[("name", setting)])));
        }
        let content: Vec<u8> = values.iter().flat_map(|one| one.bytes().chain([0])).collect();
        PrivateFile::of(&content)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// `--name=PATH`.
    pub(super) fn flag(&self, name: &str) -> OsString {
        let mut flag = OsString::from(format!("--{name}="));
        flag.push(&self.path);
        flag
    }
}

impl Drop for PrivateFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
