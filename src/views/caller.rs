//! The process that started `sandbox`: usually a shell, but also a script, an editor or a test.

use nix::unistd::getppid;

use crate::observe::{Value, file, proc};

/// The process that started `sandbox`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Its name, from /proc/PID/comm.
    pub name: String,
    /// Its PID. It is 0 if that process is in another PID namespace.
    pub pid: i32,
    /// Whether it is a shell.
    pub is_shell: bool,
}

impl Caller {
    /// Finds the process.
    pub fn gather() -> Caller {
        let pid = getppid().as_raw();
        let name = match proc::file(&format!("/proc/{pid}/comm")).value {
            Value::Is(name) => name,
            _ => "parent".to_owned(),
        };
        Caller { is_shell: is_shell(&name), name, pid }
    }
}

/// The shells that are known without /etc/shells, which many systems do not have or do not complete.
const SHELLS: [&str; 18] = [
    "sh", "ash", "bash", "csh", "dash", "elvish", "fish", "hush", "ksh", "ksh93", "mksh", "nu", "oksh",
    "pwsh", "rbash", "tcsh", "xonsh", "zsh",
];

/// Whether a process of this name is a shell: the name is well known, or /etc/shells lists a program of this name.
pub fn is_shell(name: &str) -> bool {
    let listed = || file::read_text("/etc/shells").unwrap_or_default();
    let is_listed = |shells: String| {
        let paths = shells.lines().map(str::trim).filter(|line| line.starts_with('/'));
        // screen and tmux are in /etc/shells of some systems, but they only start a shell.
        paths.filter_map(|path| path.rsplit('/').next()).any(|shell| shell == name)
            && !["screen", "tmux"].contains(&name)
    };
    SHELLS.contains(&name) || is_listed(listed())
}

#[cfg(test)]
mod tests {
    use super::is_shell;

    #[test]
    fn only_a_shell_is_a_shell() {
        assert!(["sh", "bash", "zsh", "fish", "mksh"].into_iter().all(is_shell));
        assert!(
            !["python3", "node", "make", "sandbox", "cargo", "tmux", "bashful", ""].into_iter().any(is_shell)
        );
    }
}
