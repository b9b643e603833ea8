//! The file of a ledger: private, written by a temporary file and rename(2). It is opened as something that another user
//! may have made: no symbolic link is followed.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{FORMAT, Ledger};
use crate::error::{Error, Result, io_text};
use crate::host::run_directory::{self, LEDGER};
use crate::host::storage;
use crate::teach::replace::replace;
use crate::text::{printed, text, text_with};
use crate::value::paste::command_line;
use crate::value::shell::quote;

/// The maximum size of the file, in bytes. A machine with 100,000 cgroups needs a tenth of it.
const MAX_SIZE: u64 = 64 << 20;

/// Where a ledger is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LedgerPlace {
    /// In RUN, the directory of the caller's running containers.
    Run,
    /// In this file.
    File(PathBuf),
}

/// The part of the file that every version has. A file without it is not a ledger.
#[derive(Deserialize)]
struct Head {
    format: u32,
    #[serde(rename = "boot")]
    _boot: String,
    #[serde(rename = "within")]
    _within: BTreeMap<String, String>,
}

impl LedgerPlace {
    /// The place that a command line names.
    pub fn of(file: Option<&Path>) -> LedgerPlace {
        file.map_or(LedgerPlace::Run, |file| LedgerPlace::File(file.to_owned()))
    }

    /// Its path.
    pub fn path(&self) -> PathBuf {
        match self {
            LedgerPlace::Run => run_directory::path().join(LEDGER),
            LedgerPlace::File(path) => path.clone(),
        }
    }

    /// The command line of an action with this place: `sandbox ledger start FILE`.
    pub fn command(&self, action: &str) -> String {
        let words = ["sandbox", "ledger", action].map(OsStr::new);
        match self {
            LedgerPlace::Run => command_line(words),
            LedgerPlace::File(path) => command_line(words.into_iter().chain([path.as_os_str()])),
        }
    }

    fn unusable(&self, key: &str) -> Error {
        Error::failed(text_with(key, &[("path", &printed(self.path()))]))
    }

    /// Reads the ledger that was started. It must be of this user, this boot and these namespaces, or there is nothing to
    /// compare with `now`.
    ///
    /// # Errors
    /// There is none, it cannot be read, or it is of something else.
    pub fn read(&self, now: &Ledger) -> Result<Ledger> {
        let Some(content) = self.content()? else {
            let error = self.unusable("ledger.none");
            return Err(error.why(text("ledger.none.reason")).paste(self.command("start")));
        };
        let damaged = |why: String| {
            self.unusable("ledger.damaged").why(why).why(text("ledger.again")).paste(self.again())
        };
        let head: Head = serde_json::from_slice(&content).map_err(|error| damaged(error.to_string()))?;
        if head.format != FORMAT {
            let values = [("found", &*head.format.to_string()), ("known", &FORMAT.to_string())];
            let error = self.unusable("ledger.damaged").why(text_with("ledger.format", &values));
            return Err(error.why(text("ledger.again")).paste(self.command("start")));
        }
        let ledger: Ledger = serde_json::from_slice(&content).map_err(|error| damaged(error.to_string()))?;
        let mut elsewhere = Vec::new();
        if ledger.boot != now.boot {
            elsewhere.push(text("ledger.boot"));
        } else if ledger.uid != now.uid {
            let values = [("then", &*ledger.uid.to_string()), ("now", &now.uid.to_string())];
            elsewhere.push(text_with("ledger.user", &values));
        } else {
            for (kind, then) in &ledger.within {
                let here = now.within.get(kind).map_or("?", String::as_str);
                if here != then {
                    let values = [("kind", kind.as_str()), ("then", then), ("now", here)];
                    elsewhere.push(text_with("ledger.elsewhere", &values));
                }
            }
        }
        if elsewhere.is_empty() {
            return Ok(ledger);
        }
        let mut error = self.unusable("ledger.other");
        error.why = elsewhere;
        Err(error.paste(self.command("start")))
    }

    /// What to type to start again. A file that is not a ledger is not replaced, so it is removed first.
    fn again(&self) -> String {
        match self {
            LedgerPlace::Run => self.command("start"),
            LedgerPlace::File(path) => format!("rm {} && {}", quote(path), self.command("start")),
        }
    }

    /// The bytes of the file. None: there is none.
    fn content(&self) -> Result<Option<Vec<u8>>> {
        let file = match self {
            LedgerPlace::Run => match run_directory::find()? {
                Some(run) => run.file(LEDGER).map_err(|unusable| {
                    self.unusable("ledger.unread")
                        .why(unusable.reason())
                        .paste(format!("rm {}", quote(self.path())))
                })?,
                None => None,
            },
            LedgerPlace::File(path) => open(path).map_err(|error| self.unread(&error))?,
        };
        let Some(file) = file else { return Ok(None) };
        let mut content = Vec::new();
        file.take(MAX_SIZE + 1).read_to_end(&mut content).map_err(|error| self.unread(&error))?;
        match content.len() as u64 > MAX_SIZE {
            true => Err(self.unusable("ledger.unread").why(text("ledger.size"))),
            false => Ok(Some(content)),
        }
    }

    fn unread(&self, error: &io::Error) -> Error {
        self.unusable("ledger.unread").why(io_text(error))
    }

    /// Writes a ledger. It replaces a former one, and no other file. Returns whether there was one.
    ///
    /// # Errors
    /// Something else is in its place, or those of open(2), write(2) and rename(2).
    pub fn write(&self, ledger: &Ledger) -> Result<bool> {
        let json = serde_json::to_string(ledger).unwrap_or_default() + "\n";
        let unwritten =
            |error: io::Error| storage::explain_io(self.unusable("ledger.unwritten"), &error, &self.path());
        match self {
            LedgerPlace::Run => {
                let run = run_directory::make()?;
                let is_there = run.file(LEDGER).is_ok_and(|file| file.is_some());
                run.replace_beside_others(LEDGER, json.as_bytes(), false).map_err(unwritten)?;
                Ok(is_there)
            }
            LedgerPlace::File(path) => {
                let former = self.content()?;
                let is_ledger = |content: &Vec<u8>| serde_json::from_slice::<Head>(content).is_ok();
                if former.as_ref().is_some_and(|content| !is_ledger(content)) {
                    let error = self.unusable("ledger.foreign").why(text("ledger.foreign.reason"));
                    return Err(error.paste("sandbox ledger start"));
                }
                // Only its owner can read it.
                replace(path, json.as_bytes(), 0o600).map_err(unwritten)?;
                Ok(former.is_some())
            }
        }
    }
}

/// Opens a regular file for reading. It follows no symbolic link and waits for nothing. None: there is none.
fn open(path: &Path) -> io::Result<Option<File>> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
            return Err(io::Error::other(text("ledger.symlink")));
        }
        opened => opened?,
    };
    match file.metadata()?.is_file() {
        true => Ok(Some(file)),
        false => Err(io::Error::other(text("ledger.notfile"))),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::Survey;
    use super::*;

    #[test]
    fn a_ledger_is_private_and_replaces_only_a_ledger() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger");
        let place = LedgerPlace::of(Some(&path));
        let ledger = Survey::take().ledger;
        assert!(place.read(&ledger).unwrap_err().why[0].contains("start"));
        assert!(!place.write(&ledger).unwrap());
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(place.read(&ledger).unwrap(), ledger);
        assert!(place.write(&ledger).unwrap());
        let progress = r#"{"format":1,"seed":"x","lessons":{}}"#;
        for content in ["", "my thesis", "[]", "{}", r#"{"format":1}"#, progress] {
            std::fs::write(&path, content).unwrap();
            assert!(place.write(&ledger).is_err() && place.read(&ledger).is_err(), "{content}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
        }
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/null", &path).unwrap();
        assert!(place.write(&ledger).is_err() && place.read(&ledger).is_err());
        assert_eq!(std::fs::read_link(&path).unwrap(), Path::new("/dev/null"));
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_ledger_of_another_version_boot_user_or_namespace_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let place = LedgerPlace::File(directory.path().join("ledger"));
        let now = Survey::take().ledger;
        type Change = (&'static str, fn(&mut Ledger));
        let changes: [Change; 4] = [
            ("format 3", |ledger| ledger.format = 3),
            ("started again", |ledger| ledger.boot = "x".into()),
            ("user", |ledger| ledger.uid += 1),
            ("net namespace", |ledger| drop(ledger.within.insert("net".into(), "net:[1]".into()))),
        ];
        for (expected, change) in changes {
            let mut other = now.clone();
            change(&mut other);
            place.write(&other).unwrap();
            let error = place.read(&now).unwrap_err();
            assert!(error.why.iter().any(|why| why.contains(expected)), "{error:?}");
        }
    }
}
