//! HOME: the directory with what stays, the caller's kept containers.
//!
//!     root      /var/lib/sandbox
//!     a user    $XDG_DATA_HOME/sandbox, or ~/.local/share/sandbox
//!
//! `SANDBOX_HOME` and `--home` choose another one. Locks and sockets are in RUN, which depends on none of these.
//!
//! On a network filesystem, FUSE or overlayfs it is in /var/tmp instead: there, two machines would share it, or the root
//! filesystem of a container cannot be in it.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use nix::sys::statfs::{
    FUSE_SUPER_MAGIC, FsType, NFS_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC, SMB_SUPER_MAGIC, statfs,
};
use nix::unistd::geteuid;
use rustix::fs::CWD;
use rustix::io::Errno;

use super::accounts::Accounts;
use super::private_directory::{self, Instead, PrivateDirectory, Unusable};
use super::untrusted::UntrustedRoot;
use crate::error::Result;
use crate::text::{printed, text, text_with};

/// The filesystems on which nothing is kept.
const REFUSED: [(FsType, &str); 4] = [
    (OVERLAYFS_SUPER_MAGIC, "overlayfs"),
    (NFS_SUPER_MAGIC, "NFS"),
    (FUSE_SUPER_MAGIC, "FUSE"),
    (SMB_SUPER_MAGIC, "SMB"),
];

/// The variable that chooses HOME.
pub const VARIABLE: &str = "SANDBOX_HOME";

/// The directory that `--home` has chosen.
static CHOSEN: OnceLock<PathBuf> = OnceLock::new();

/// Chooses HOME for this process. A relative path begins at the working directory.
pub fn choose(directory: &Path) {
    let _ = CHOSEN.set(std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned()));
}

/// Where HOME is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HomePlace {
    /// Its path.
    pub path: PathBuf,
    /// The directory that was asked for, and the filesystem on which that is: nothing is kept there.
    pub instead_of: Option<(PathBuf, &'static str)>,
}

impl HomePlace {
    /// Finds it. It may not exist.
    pub fn find() -> HomePlace {
        HomePlace::of(asked_for(), |path| {
            let nearest = path.ancestors().find(|ancestor| ancestor.exists());
            nearest.and_then(|nearest| statfs(nearest).ok()).map(|about| about.filesystem_type())
        })
    }

    fn of(path: PathBuf, filesystem: impl Fn(&Path) -> Option<FsType>) -> HomePlace {
        let name_of = |kind| REFUSED.iter().find(|(refused, _)| *refused == kind).map(|(_, name)| *name);
        let other = PathBuf::from(format!("/var/tmp/sandbox-{}", geteuid()));
        // Where /var/tmp is no better, as in a container, the one that was asked for is used.
        let is_refused = |path: &Path| filesystem(path).and_then(name_of);
        match is_refused(&path) {
            Some(name) if is_refused(&other).is_none() => {
                HomePlace { instead_of: Some((path, name)), path: other }
            }
            _ => HomePlace { path, instead_of: None },
        }
    }

    /// The sentence that says why it is not where it was asked for.
    pub fn note(&self) -> Option<String> {
        let (asked, filesystem) = self.instead_of.as_ref()?;
        let values =
            [("asked", &*printed(asked)), ("filesystem", filesystem), ("path", &printed(&self.path))];
        Some(text_with("home.instead", &values))
    }

    /// A short text that differs for each path, for names of locks in RUN: a hash, FNV-1a.
    pub fn hash(&self) -> String {
        use std::os::unix::ffi::OsStrExt;
        let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        format!("{:016x}", self.path.as_os_str().as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, step))
    }

    /// Opens it. None: it does not exist.
    ///
    /// # Errors
    /// It is not a directory, it belongs to another user, or others can write to it.
    pub fn open(&self) -> Result<Option<PrivateDirectory>> {
        PrivateDirectory::open(&self.path).map_err(|unusable| self.explained(unusable))
    }

    /// Opens it, and makes it if it does not exist. Also says whether it was made.
    ///
    /// # Errors
    /// As [`HomePlace::open`]; it cannot be made.
    pub fn make(&self) -> Result<(PrivateDirectory, bool)> {
        if let Some(found) = self.open()? {
            return Ok((found, false));
        }
        let parent = self.path.parent().filter(|parent| !parent.exists());
        if let Some(Err(error)) = parent.map(std::fs::create_dir_all) {
            let errno = Errno::from_io_error(&error).unwrap_or(Errno::NOENT);
            let missing = self.path.ancestors().take_while(|path| path.symlink_metadata().is_err()).last();
            return Err(self.explained_at(Unusable::NotMade(errno), missing.unwrap_or(&self.path)));
        }
        match private_directory::make_private(CWD, self.path.as_os_str(), MODE) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(self.explained(Unusable::NotMade(errno))),
        }
        match self.open()? {
            Some(made) => Ok((made, true)),
            None => Err(self.explained(Unusable::Removed)),
        }
    }

    fn explained(&self, unusable: Unusable) -> crate::error::Error {
        self.explained_at(unusable, &self.path)
    }

    /// The error about HOME, or about a directory above it.
    fn explained_at(&self, unusable: Unusable, path: &Path) -> crate::error::Error {
        let is_flag = CHOSEN.get().is_some();
        let is_ours = self.path == usual() || self.instead_of.is_some();
        let advice = match is_flag {
            true => text("home.other.flag"),
            false => format!("{}\n   export {VARIABLE}=\"$(mktemp -d)\"", text("home.other")),
        };
        let has_errno = !matches!(unusable, Unusable::Suspicious { .. });
        let instead = Instead { advice, is_ours };
        let mode = if path == self.path { MODE } else { 0o777 };
        let error = unusable.explained(path, mode, &text("home.purpose"), Some(&instead));
        match has_errno {
            true if is_ours && !is_flag && is_without_home() => {
                error.why(text("home.unset")).todo(text("home.other.flag"))
            }
            _ => error,
        }
    }
}

/// Whether the usual HOME is in `/`, because nothing says where the user's files are.
fn is_without_home() -> bool {
    let is_unset = |name: &str| std::env::var_os(name).is_none_or(|value| value.is_empty());
    !geteuid().is_root() && is_unset("XDG_DATA_HOME") && is_unset("HOME")
}

/// The mode of HOME.
const MODE: u32 = 0o700;

/// The directory that the user asked for, or the default.
fn asked_for() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(chosen) = CHOSEN.get().cloned().or_else(|| variable(VARIABLE)) {
        return std::path::absolute(&chosen).unwrap_or(chosen);
    }
    usual()
}

/// Whether HOME is the usual one, which is used if none is chosen.
pub fn is_usual() -> bool {
    asked_for() == usual()
}

fn usual() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if geteuid().is_root() {
        return "/var/lib/sandbox".into();
    }
    // The specification of these directories ignores a relative path.
    let data = variable("XDG_DATA_HOME").filter(|path| path.is_absolute());
    data.unwrap_or_else(|| {
        let account = || Accounts::of(UntrustedRoot::open("/").ok()?).user_of(geteuid().as_raw())?.home;
        let home = variable("HOME").or_else(account).unwrap_or_else(|| "/".into());
        home.join(".local/share")
    })
    .join("sandbox")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_network_filesystem_has_is_kept_elsewhere() {
        let local = |_: &Path| Some(nix::sys::statfs::EXT4_SUPER_MAGIC);
        let asked = || PathBuf::from("/home/me/.local/share/sandbox");
        assert_eq!(HomePlace::of(asked(), local), HomePlace { path: asked(), instead_of: None });
        for (kind, name) in REFUSED {
            let on = |path: &Path| if path.starts_with("/home") { Some(kind) } else { local(path) };
            let place = HomePlace::of(asked(), on);
            assert_eq!(place.path, PathBuf::from(format!("/var/tmp/sandbox-{}", geteuid())));
            let note = place.note().unwrap();
            assert!(note.contains(name) && note.contains("/home/me") && note.contains("/var/tmp"), "{note}");
            // Nothing is better there.
            assert_eq!(HomePlace::of(asked(), |_| Some(kind)).path, asked());
        }
    }

    #[test]
    fn each_path_has_its_hash() {
        let hash = |path: &str| HomePlace { path: path.into(), instead_of: None }.hash();
        assert!(hash("/a") != hash("/b") && hash("/a") == hash("/a") && hash("/a").len() == 16);
    }
}
