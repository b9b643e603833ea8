//! Runs strace(1), and reads what it prints.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::{binary, text};

/// A system call that has returned.
pub(crate) struct Traced {
    pub(crate) pid: String,
    /// The call as strace prints it, without the result.
    pub(crate) call: String,
    /// What follows ` = `.
    pub(crate) result: String,
    /// The bytes that the call has sent. strace cannot decode a netlink message of another network namespace.
    pub(crate) sent: Vec<u8>,
}

/// A run of `sandbox`.
pub(crate) struct Trace {
    /// All calls, in the order in which they returned.
    pub(crate) calls: Vec<Traced>,
    /// The processes, in the order in which they appear.
    pub(crate) processes: Vec<String>,
    /// The process that created each process, except for the first one.
    pub(crate) parents: HashMap<String, String>,
}

/// Why nothing can be traced here.
pub(crate) fn missing() -> Option<&'static str> {
    (!Path::new("/usr/bin/strace").exists()).then_some("strace(1) isn't installed")
}

/// Runs `sandbox` with these arguments under strace, which the launcher executes. The run must succeed.
pub(crate) fn trace(launcher: Command, arguments: &[&str]) -> Trace {
    trace_program(launcher, &binary(), arguments, Threads::LeftOut)
}

/// What the calls of threads are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Threads {
    /// Nothing: a thread of `sandbox` looks into files of a container, and changes nothing.
    LeftOut,
    /// Calls of their process: a test runs in a thread.
    OfProcess,
}

/// The same with any program.
pub(crate) fn trace_program(
    mut launcher: Command,
    program: &Path,
    arguments: &[&str],
    threads: Threads,
) -> Trace {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("trace");
    let output = launcher
        .args(["-f", "-s", "4096", "-e", "write=all", "-o"])
        .arg(&file)
        .arg(program)
        .args(arguments)
        .current_dir("/")
        .stdin(std::process::Stdio::null())
        .output()
        .expect("strace can be executed");
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    read(&fs::read_to_string(file).unwrap(), threads)
}

fn read(trace: &str, kind: Threads) -> Trace {
    let mut unfinished: HashMap<&str, &str> = HashMap::new();
    // The calls that create a process of which nothing has been seen yet: who calls, and whether it creates a thread.
    let mut creating: Vec<(&str, bool)> = Vec::new();
    // Each thread, and its process.
    let mut threads: HashMap<&str, &str> = HashMap::new();
    let mut all = Trace { calls: Vec::new(), processes: Vec::new(), parents: HashMap::new() };
    for line in trace.lines() {
        if let Some(dump) =
            line.split_once(" | ").filter(|(pid, _)| pid.trim().parse::<u32>().is_ok() || pid.is_empty())
        {
            if let Some(last) = all.calls.last_mut() {
                last.sent.extend(bytes(dump.1));
            }
            continue;
        }
        let (pid, rest) = line.split_once(' ').expect("a PID before each call");
        let rest = rest.trim_start();
        if threads.contains_key(pid) && kind == Threads::LeftOut {
            continue;
        }
        let thread = pid;
        let pid = threads.get(thread).copied().unwrap_or(thread);
        if all.processes.iter().all(|known| known != pid) {
            let created = (!creating.is_empty()).then(|| creating.remove(0));
            if let Some((process, true)) = created {
                threads.insert(pid, process);
                // The first call of a thread is a set_robust_list(2) or the like.
                continue;
            }
            all.processes.push(pid.to_owned());
            all.parents.extend(created.map(|(parent, _)| (pid.to_owned(), parent.to_owned())));
        }
        if rest.starts_with("clone") || rest.starts_with("fork(") || rest.starts_with("vfork(") {
            creating.push((pid, rest.contains("CLONE_THREAD")));
        }
        let whole = if let Some(begun) = rest.strip_suffix(" <unfinished ...>") {
            unfinished.insert(thread, begun);
            continue;
        } else if rest.starts_with("<... ") {
            let end = rest.split_once(" resumed>").map_or("", |(_, end)| end);
            unfinished.remove(thread).unwrap_or_default().to_owned() + end
        } else {
            rest.to_owned()
        };
        if let Some((call, result)) = whole.rsplit_once(" = ").filter(|_| !whole.contains("CLONE_THREAD")) {
            let (call, result) = (call.trim_end().to_owned(), result.to_owned());
            all.calls.push(Traced { pid: pid.to_owned(), call, result, sent: Vec::new() });
        }
    }
    all
}

/// The bytes of a line `00000  14 00 …  ASCII`.
fn bytes(dump: &str) -> Vec<u8> {
    let hex = dump.get(7..56).unwrap_or_default();
    hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).expect("a byte in hexadecimal")).collect()
}
