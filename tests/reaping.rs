//! Each process of `sandbox` is reaped by `sandbox` itself: none is left to process 1, which may be a program that reaps
//! nothing.
//!
//! Of this kind: the helpers of `compare`, `verify` and `enter`; with a pid, time and user namespace; the relay; init; the
//! agents of demonstrations, `doctor`, and mistakes; a start that fails; a command that is killed.

mod support;

use std::process::Stdio;

use support::{alone, binary, sandbox, text};

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
        let names: Vec<String> = left
            .iter()
            .map(|pid| std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default())
            .collect();
        assert!(left.is_empty(), "{arguments:?}: {}\n{names:?}", text(&output.stderr));
    }
    container.kill().unwrap();
    container.wait().unwrap();
}
