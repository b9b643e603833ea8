//! Each process of `sandbox` is reaped by `sandbox` itself: none is left to process 1, which may be a program that reaps
//! nothing.
//!
//! Of this kind: the helpers of `compare`, `verify` and `enter`; with a pid, time and user namespace; the relay; init; the
//! agents of demonstrations, `doctor`, and mistakes; a start that fails; a command that is killed.

mod support;

use std::process::Stdio;

use support::running::Running;
use support::{alone, binary, sandbox, text, wait_until};

/// The children of this process, also those that have ended and are not reaped. This process takes the orphans, as
/// process 1 of a container does.
fn children() -> Vec<u32> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let lists =
        tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("children")).unwrap_or_default());
    lists
        .flat_map(|list| list.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<u32>>())
        .collect()
}

#[test]
fn no_process_is_left_to_process_1() {
    let _alone = alone();
    nix::sys::prctl::set_child_subreaper(true).unwrap();
    let directory = tempfile::Builder::new().tempdir_in("/var/tmp").unwrap();
    std::fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let file = directory.path().join("reaping.yaml");
    std::fs::write(
        &file,
        "name: reaping\nuser: { map: root }\npid:\ntime: { boottime: 1h }\nuts:\nipc:\nnet:\ncommand: [sleep, 60]\n",
    )
    .unwrap();
    let file = file.to_str().unwrap();
    let mut container = sandbox(&["run", "-q", file]).stderr(Stdio::inherit()).spawn().unwrap();
    let command = support::child_named(container.id(), "sleep").to_string();
    let missing = directory.path().join("missing").to_str().unwrap().to_owned();
    let program = binary().to_str().unwrap().to_owned();
    for arguments in [
        vec!["compare", &command],
        vec!["compare", "reaping"],
        vec!["compare", &command, &command],
        vec!["enter", "-q", "reaping", "--", "true"],
        vec!["enter", "-q", "reaping", "--", "sh", "-c", "kill -9 $$"],
        vec!["verify", "reaping", file],
        vec!["time", "--boottime", "1h", "-q", "--", "true"],
        vec!["pid", "--init", "-q", "--", "true"],
        vec!["pid", "-q", "--", &program, "uts", "-q", "--", "true"],
        vec!["net", "-q", "--publish", "127.0.0.1::80", "--", "true"],
        vec!["user", "--map", "auto", "-q", "--", "true"],
        vec!["pid", "-q", "--", &missing],
        vec!["mnt", "-q", "--bind", "/etc/passwd:/etc", "--", "true"],
        vec!["uts", "--show-proc", "--", "true"],
        vec!["pid", "--demo"],
        vec!["net", "--break", "all"],
        vec!["doctor"],
    ] {
        let output = sandbox(&arguments).output().unwrap();
        let left: Vec<u32> = children().into_iter().filter(|child| *child != container.id()).collect();
        let names: Vec<String> = left.iter().map(|pid| status(*pid)).collect();
        assert!(left.is_empty(), "{arguments:?}: {}\n{names:?}", text(&output.stderr));
    }
    container.kill().unwrap();
    container.wait().unwrap();
}

/// Process 1 of a container ends after all others of its PID namespace are reaped. One of them is an orphan here, and this
/// process takes its time. No command says anything but `gc`.
#[test]
fn only_gc_tells_of_a_container_that_is_still_ending() {
    let _alone = alone();
    nix::sys::prctl::set_child_subreaper(true).unwrap();
    let spec = "user: { map: root }\npid:\nuts:\n";
    let first = Running::with("reaping-first", &[], spec, "");
    let joins = format!("user: {{ join: 'container:{0}' }}\npid: {{ join: 'container:{0}' }}\n", first.name);
    let second = Running::with("reaping-second", &[], &joins, "");
    let (orphan, ending) = (second.pid, first.pid);
    drop(second);
    drop(first);
    wait_until("the orphan has ended", || status(orphan).contains("Z (zombie)"));
    let run = |arguments: &[&str]| {
        let output = sandbox(arguments).output().unwrap();
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    };
    assert_eq!(run(&["uts", "-q", "--", "echo", "works"]), (Some(0), "works\n".into()));
    let (code, said) = run(&["gc"]);
    assert!(!status(ending).is_empty());
    assert_eq!(code, Some(125), "{said}");
    assert!(said.contains("has not ended yet") && said.contains("wait(2)"), "{said}");
    assert!(!said.contains("cannot be read") && !said.contains("rm -r"), "{said}");
    while !children().is_empty() {
        nix::sys::wait::waitpid(None, None).unwrap();
    }
    assert_eq!(run(&["gc"]).0, Some(0));
}

fn status(pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default()
}
