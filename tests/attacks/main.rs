//! The famous holes of container tools, tried on this one. Each attack has a control in which it works: with the wall left
//! out of the spec or, where `sandbox` can't be told to leave it out, in a process that isn't behind it. So a test that
//! passes isn't one whose attack would have failed anyway.
//!
//! | | hole | where it is tried | what waits |
//! |---|---|---|---|
//! | R1 | own program overwritten by /proc/self/exe | `own_program` | `exec` |
//! | R2 | leaked descriptor, working directory /proc/self/fd/N, a start looked into | `descriptors`, `run --break leaked-descriptor` | `exec -w` |
//! | R3 | /dev, /dev/null, /dev/pts, /proc, /sys as links, also exchanged meanwhile | `roots`, tests/rootfs.rs | images |
//! | R4 | mounts over /proc and below it | `roots`, tests/rootfs.rs | volumes of images |
//! | R5 | a mount's place exchanged for a link | `roots`, `run --break symlink-mount` | |
//! | R6 | inheritable and ambient capabilities | `identity`, tests/security.rs | `exec` |
//! | R7 | setgroups, the caller's other groups | `identity`, tests/security.rs, tests/user.rs | |
//! | R8 | numbers taken for names | `identity`, tests/security.rs | USER of images |
//! | R9 | TIOCSTI, TIOCLINUX | `calls`, tests/security.rs, `run --break tiocsti` | |
//! | R10 | calls of three ABIs | `calls`, snapshots/seccomp-x86_64.snap | |
//! | R11 | release_agent, devices.allow | `groups`, `run --break release-agent` | |
//! | R12 | the tool's sockets and processes within reach | `own_program` | the daemon |
//! | R13 | copying into and out of containers | | `cp`, `build` |
//! | R14 | fork bomb, memory, output that nobody reads | `groups`, `run --break fork-bomb`, tests/limits.rs, tests/pids.rs | logs |
//! | R15 | frozen groups | tests/limits.rs (v2, killed while frozen) | `pause` |

#[path = "../support/mod.rs"]
mod support;

mod calls;
mod descriptors;
mod groups;
mod identity;
mod lessons;
mod own_program;
mod roots;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use support::{binary, feed, skip, text};

/// Runs a command in a container of this spec.
fn run(spec: &str, command: &[&str]) -> Output {
    run_by(&binary(), spec, command)
}

/// The same, by another `sandbox`.
fn run_by(program: &Path, spec: &str, command: &[&str]) -> Output {
    let words = [&["run", "-", "-q", "--"], command].concat();
    feed(Command::new(program).args(words).current_dir("/").env("LC_ALL", "C"), spec)
}

/// What a script says in there, its errors too, whatever its status is.
fn said(spec: &str, script: &str) -> String {
    let output = run(spec, &["sh", "-c", script]);
    text(&output.stdout) + &text(&output.stderr)
}

/// What a script of perl(1) says in there: it makes calls that no other program makes.
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

/// A directory that is a root as soon as this machine's /usr is bound in it.
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

/// Makes a program, by a process of its own: a file that this one has open for writing, any child that another test starts
/// at that moment has open too, and what is being written can't be executed (ETXTBSY).
fn install(mode: &str, from: &Path, to: &Path) -> PathBuf {
    assert!(Command::new("install").args(["-m", mode]).args([from, to]).status().unwrap().success());
    to.to_owned()
}
