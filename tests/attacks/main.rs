//! Well-known vulnerabilities of container tools, tried on `sandbox`. Each attack has a control in which it succeeds.
//! The control leaves the protection out of the spec. If `sandbox` has no option for that, the control is a process
//! without the protection. So a test cannot pass only because its attack would have failed anyway.
//!
//! | | vulnerability | where it is tested | commands that will need it |
//! |---|---|---|---|
//! | R1 | `sandbox` overwritten through /proc/self/exe | `own_program`, `exec` | |
//! | R2 | leaked descriptor, working directory /proc/self/fd/N, a start looked into | `descriptors`, `run --break leaked-descriptor`, `exec` | |
//! | R3 | /dev, /dev/null, /dev/pts, /proc, /sys as links, also swapped meanwhile | `roots`, tests/rootfs.rs | images |
//! | R4 | mounts on /proc and below it | `roots`, tests/rootfs.rs | volumes of images |
//! | R5 | a mount point replaced by a link | `roots`, `run --break symlink-mount` | |
//! | R6 | inheritable and ambient capabilities | `identity`, `exec`, tests/security.rs | |
//! | R7 | setgroups, the caller's supplementary groups | `identity`, `joined`, `exec`, tests/security.rs, tests/user.rs | |
//! | R8 | numeric IDs taken for user names; files that never answer | `identity`, `exec`, `silent`, tests/security.rs | USER of images |
//! | R9 | TIOCSTI, TIOCLINUX | `calls`, `exec`, tests/security.rs, `run --break tiocsti` | |
//! | R10 | system calls of three ABIs | `calls`, snapshots/seccomp-x86_64.snap | |
//! | R11 | release_agent, devices.allow | `groups`, `run --break release-agent` | |
//! | R12 | sockets and processes of `sandbox` that a container can reach | `own_program`, `exec_start` | the daemon |
//! | R13 | copying into and out of containers | | `cp`, `build` |
//! | R14 | fork bomb, memory, output that nobody reads | `groups`, `run --break fork-bomb`, tests/limits.rs, tests/pids.rs | logs |
//! | R15 | frozen cgroups | tests/limits.rs (v2, killed while frozen) | `pause` |

#[path = "../support/mod.rs"]
mod support;

mod calls;
mod descriptors;
mod exec;
mod exec_start;
mod groups;
mod identity;
mod joined;
mod lessons;
mod own_program;
mod roots;
mod silent;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};

use support::{binary, feed, skip, text};

/// Runs a command in a container of this spec.
fn run(spec: &str, command: &[&str]) -> Output {
    run_by(&binary(), spec, command)
}

/// The same, with another `sandbox` binary.
fn run_by(program: &Path, spec: &str, command: &[&str]) -> Output {
    let words = [&["run", "-", "-q", "--"], command].concat();
    feed(Command::new(program).args(words).current_dir("/").env("LC_ALL", "C"), spec)
}

/// What a script in the container prints, with its standard error, whatever its exit status is.
fn said(spec: &str, script: &str) -> String {
    let output = run(spec, &["sh", "-c", script]);
    text(&output.stdout) + &text(&output.stderr)
}

/// What a perl(1) script in the container prints. Perl can make system calls that no other program makes.
fn perl(spec: &str, script: &str) -> String {
    let output = run(spec, &["perl", "-e", script]);
    text(&output.stdout) + &text(&output.stderr)
}

/// A directory that everyone may read.
fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

/// A directory that becomes a usable root once this machine's /usr is bind-mounted in it.
fn root() -> tempfile::TempDir {
    let root = directory();
    for name in ["usr", "proc", "sys", "dev", "etc", "tmp", "srv"] {
        std::fs::create_dir(root.path().join(name)).unwrap();
    }
    for name in ["bin", "lib", "lib64"] {
        symlink(format!("usr/{name}"), root.path().join(name)).unwrap();
    }
    root
}

/// The spec of that root.
fn of(root: &Path, mounts: &str, more: &str) -> String {
    let usr = "{ type: bind, source: /usr, target: /usr, readonly: true }";
    format!("rootfs: {}\nmnt:\n  mounts:\n  - {usr}\n{mounts}{more}\n", root.display())
}

/// Machines whose /bin isn't a link to /usr/bin can't run their programs from /usr alone.
fn has_usr_alone(test: &str) -> bool {
    let has = Path::new("/bin").is_symlink();
    if !has {
        skip(test, "machine: /bin isn't a link to /usr/bin");
    }
    has
}
