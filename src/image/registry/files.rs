//! Where the files of the user are.

use std::path::PathBuf;

/// `$XDG_CONFIG_HOME`, or `~/.config`.
pub(super) fn config_directory() -> Option<PathBuf> {
    let chosen = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    chosen.or_else(|| Some(home_directory()?.join(".config")))
}

/// `$HOME`.
pub(super) fn home_directory() -> Option<PathBuf> {
    std::env::var_os("HOME").map(PathBuf::from).filter(|path| path.is_absolute())
}
