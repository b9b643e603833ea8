//! What every integration test needs: the binary, the current user, snapshots with numbers replaced by names, counted
//! skips.
#![allow(dead_code, unreachable_pub)] // Each test binary uses its part.

pub mod background;
#[cfg(feature = "images")]
pub mod build;
pub mod console;
#[cfg(all(feature = "daemon", feature = "images"))]
pub mod daemon;
pub mod held;
pub mod html;
#[cfg(feature = "images")]
pub mod image;
pub mod kept;
pub mod lab;
pub mod ledger;
pub mod limits;
#[cfg(feature = "images")]
pub mod registry;
pub mod running;
pub mod screen;
pub mod terminal;
pub mod trace;

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use unicode_width::UnicodeWidthStr;

/// The `sandbox` under test: the one that cargo built, or the one that SANDBOX_BIN names.
pub fn binary() -> PathBuf {
    std::env::var_os("SANDBOX_BIN")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_sandbox")), PathBuf::from)
}

/// The repository. SANDBOX_REPO names it at run time, because the tests may run from a copy that another user can
/// read.
pub fn repository() -> PathBuf {
    std::env::var_os("SANDBOX_REPO").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from)
}

/// A script for perl(1), which executes its arguments as on a kernel without PR_SET_MM_MAP: a seccomp filter makes prctl(PR_SET_MM) fail with EINVAL.
pub const WITHOUT_MM_MAP: &str = r#"
    my $filter = join "", map { pack "SCCL", @$_ } (
        [0x20, 0, 0, 0],                # the number of the call
        [0x15, 0, 3, 157],              # prctl
        [0x20, 0, 0, 16],               # its first argument
        [0x15, 0, 1, 35],               # PR_SET_MM
        [0x06, 0, 0, 0x00050000 | 22],  # EINVAL
        [0x06, 0, 0, 0x7fff0000],       # allowed
    );
    syscall(157, 38, 1, 0, 0, 0) if $>; # PR_SET_NO_NEW_PRIVS
    syscall(157, 22, 2, pack("Sx6P", 6, $filter), 0, 0) == 0 or die "seccomp: $!";
    exec @ARGV or die;
"#;

/// `sandbox` with these arguments, 80 columns, no colour, no standard input.
pub fn sandbox(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command
        .args(arguments)
        // `sandbox` prints its working directory. The result must not depend on the repository's location.
        .current_dir("/")
        .env("COLUMNS", "80")
        .env("NO_COLOR", "1")
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null());
    command
}

/// Runs it and waits for its end.
pub fn run(arguments: &[&str]) -> Output {
    sandbox(arguments).output().expect("sandbox can be executed")
}

/// Runs a command with this standard input. The command need not read all of it.
pub fn feed(command: &mut Command, input: impl AsRef<[u8]>) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command can be executed");
    let _ = child.stdin.take().expect("a pipe").write_all(input.as_ref());
    child.wait_with_output().expect("its output can be read")
}

/// Installs a program by a separate process. If the test itself had the file open for writing, a child that another
/// test starts at that moment would inherit the descriptor. A file that is open for writing cannot be executed
/// (ETXTBSY).
pub fn install(mode: &str, from: &Path, to: &Path) -> PathBuf {
    assert!(Command::new("install").args(["-m", mode]).args([from, to]).status().unwrap().success());
    to.to_owned()
}

/// Writes a program, by a separate process for the same reason. Its directory is created too.
pub fn write_program(path: &Path, content: impl AsRef<[u8]>) {
    let output = feed(Command::new("install").args(["-D", "-m", "755", "/dev/stdin"]).arg(path), content);
    assert!(output.status.success(), "{}", text(&output.stderr));
}

/// Runs one test of the file at a time. Each `sandbox` removes what killed runs left, and two loads must not run
/// together.
pub fn alone() -> std::sync::MutexGuard<'static, ()> {
    static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The cases to try now: all, or one of each `of` if SANDBOX_SAMPLE is set. Its text, which `scripts/test` sets, decides
/// which: other commits try other cases.
pub fn sample<T>(of: usize, cases: impl IntoIterator<Item = T>) -> Vec<T> {
    let cases: Vec<T> = cases.into_iter().collect();
    let Some(seed) = std::env::var_os("SANDBOX_SAMPLE") else { return cases };
    let of = of.clamp(1, cases.len().max(1));
    let sum =
        seed.as_encoded_bytes().iter().fold(0, |sum: usize, byte| sum * 31 % 65_521 + usize::from(*byte));
    cases.into_iter().skip(sum % of).step_by(of).collect()
}

/// How many rounds of a random test are made: `usually`, or as many as SANDBOX_ROUNDS says (`scripts/soak`).
pub fn rounds(usually: u64) -> u64 {
    let asked = std::env::var("SANDBOX_ROUNDS").ok();
    asked.map_or(usually, |asked| asked.parse().expect("SANDBOX_ROUNDS is a number"))
}

/// Random numbers, the same ones for the same seed: SANDBOX_SEED, or 7.
pub fn random() -> impl FnMut(u64) -> u64 {
    let mut seed: u64 = std::env::var("SANDBOX_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7);
    move |below| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    }
}

/// Standard output of a run that must succeed.
pub fn stdout(arguments: &[&str]) -> String {
    let output = run(arguments);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "sandbox {arguments:?}: {:?}\n{out}\n{err}", output.status);
    out
}

/// Bytes as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// True if the tests run as root. Root and ordinary users have separate snapshots.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Reports that a test cannot run here. `scripts/test` counts these lines. If no set-up can remove the reason, it
/// starts with `machine:`.
pub fn skip(test: &str, reason: &str) {
    let line = format!("SKIP {test}: {reason}\n");
    eprint!("{line}");
    if let Some(path) = std::env::var_os("SANDBOX_SKIPS") {
        let mut file =
            OpenOptions::new().append(true).create(true).open(path).expect("SANDBOX_SKIPS can be written");
        file.write_all(line.as_bytes()).expect("SANDBOX_SKIPS can be written");
    }
}

/// True if the mount table and the list of devices show only what every machine has: `/` is private, and `lo` is the
/// only device. `scripts/test` creates such namespaces when it runs as root.
pub fn is_plain_world() -> bool {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    // /sys/class/net shows the network namespace of the process that mounted /sys, so it is not used here.
    let devices = std::fs::read_to_string("/proc/self/net/dev").unwrap_or_default();
    !table.contains(" shared:") && devices.lines().skip(2).count() <= 1
}

/// Compares with the snapshot `NAME@root` or `NAME@user`. Equal numbers are replaced by equal names.
pub fn snapshot(name: &str, text: &str) {
    let who = if is_root() { "root" } else { "user" };
    snapshot_for_all(&format!("{name}@{who}"), text);
}

/// The same for a demonstration. Numbers are replaced card by card. The namespaces of one card are gone before the
/// next card, so the kernel may reuse their inode numbers.
pub fn snapshot_cards(name: &str, cards: &str) {
    let cards: Vec<String> = cards.split("\n\n").map(sandbox::render::stable::stable).collect();
    snapshot(name, &cards.join("\n\n"));
}

/// Compares with a snapshot that is the same for root and for an ordinary user.
pub fn snapshot_for_all(name: &str, text: &str) {
    let own = std::fs::read_to_string("/proc/self/comm").unwrap_or_default();
    let hostname = nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned();
    let text = text.replace(own.trim(), "<shell>");
    let text = sandbox::render::stable::stable(&text);
    let hostname = regex_lite::Regex::new(&format!(r"\b{hostname}\b")).expect("a hostname is no pattern");
    let text = hostname.replace_all(&text, "<hostname>");
    let length = regex_lite::Regex::new(r#""<hostname>", \d+"#).expect("a pattern");
    snapshot_as_it_is(name, &length.replace_all(&text, r#""<hostname>", <length>"#));
}

/// Compares with a snapshot as it is: no number is replaced, and each blank counts.
pub fn snapshot_as_it_is(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(repository().join("snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// The PID of a process's child, after the child has executed the program of this name.
pub fn child_named(parent: u32, name: &str) -> u32 {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while std::time::Instant::now() < deadline {
        let children =
            std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
        let found = children.split_whitespace().find(|pid| {
            std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == name)
        });
        if let Some(pid) = found {
            return pid.parse().expect("a number");
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("no child of {parent} became {name}");
}

/// Waits until this process has executed the program of this name.
pub fn becomes(pid: u32, name: &str) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let comm = || std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    while comm().trim() != name {
        assert!(std::time::Instant::now() < deadline, "{pid} is {}", comm());
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// Waits until something holds, at most 20 seconds.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !holds() {
        assert!(std::time::Instant::now() < deadline, "not so: {what}");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// `S`, `T` for stopped, `Z` for ended; `?` if there is no such process.
pub fn state(pid: u32) -> char {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().and_then(|rest| rest.chars().next()).unwrap_or('?')
}

/// No line may be wider than this, whatever the values are. Only a path to paste that is longer itself is not broken.
pub fn fits(text: &str, columns: usize, lines: usize) {
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        let mut words = line.split_whitespace();
        let is_long_path = words.any(|word| indent + word.len() > columns && word.contains('/'));
        let width = line.width();
        assert!(width <= columns || is_long_path, "{width} columns: {line}");
    }
    assert!(text.lines().count() <= lines, "{} lines:\n{text}", text.lines().count());
}
