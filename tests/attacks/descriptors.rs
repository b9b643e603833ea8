//! R2: descriptors of folders outside that are open when the command begins.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use crate::support::{binary, feed, sandbox, text};
use crate::{folder, has_usr_alone, of, root};

/// A shell that opens 200 descriptors of folders, none to be closed by execve, and becomes a command.
fn with_many_open(command: &[&str]) -> Command {
    let mut bash = Command::new("bash");
    bash.args(["-c", "for n in {10..209}; do eval \"exec $n< /\"; done; exec \"$@\"", "bash"]).args(command);
    bash.current_dir("/").env("LC_ALL", "C");
    bash
}

#[test]
fn two_hundred_open_folders_are_none_inside() {
    let count = |command: &[&str], spec: &str| {
        let output = feed(&mut with_many_open(command), spec);
        text(&output.stdout).lines().filter(|line| line.parse::<u32>().is_ok()).count()
    };
    let list = ["ls", "-1", "/proc/self/fd"];
    let program = binary();
    let program = program.to_str().unwrap();
    // 0 to 2, and the folder that ls reads; a shell may keep one more.
    assert!(count(&list, "") >= 204, "the shell hands them on");
    for spec in ["uts:\n", "rootfs: host\npid: { init: true }\n", "rootfs: host\nseccomp: default\n"] {
        assert_eq!(count(&[&[program, "run", "-", "-q", "--"][..], &list].concat(), spec), 4, "{spec}");
    }
}

/// Image and spec may say any working folder; whichever number a folder outside had, it's not there any more.
#[test]
fn no_working_folder_leads_out() {
    if !has_usr_alone("no_working_folder_leads_out") {
        return;
    }
    let (canary, root) = (folder(), root());
    let file = canary.path().join("canary");
    fs::write(&file, "out\n").unwrap();
    let look = format!("for up in . ./../.. ./../../../../..; do cat $up/{}; done", file.display());
    let program = binary();
    let run = [program.to_str().unwrap(), "run", "-", "-q", "--", "sh", "-c", &look];
    let mut refused = 0;
    for number in 0..64 {
        let path = format!("/proc/self/fd/{number}");
        let link = root.path().join("link");
        let _ = fs::remove_file(&link);
        symlink(&path, &link).unwrap();
        let workdir = if number % 2 == 0 { &path } else { "/link" };
        let spec = of(root.path(), "", &format!("pid:\nworkdir: {workdir}"));
        let output = feed(&mut with_many_open(&run), spec);
        assert!(!text(&output.stdout).contains("out"), "{workdir} {number}: {}", text(&output.stdout));
        refused += usize::from(output.status.code() == Some(125));
    }
    assert!(refused >= 61, "{refused}");
    // The shell's own folder is one of those, and where it leads out of a root `cat` finds the canary.
    let script = format!("cd /proc/self/fd/12 && {look}");
    assert!(text(&with_many_open(&["sh", "-c", &script]).output().unwrap().stdout).contains("out"));
    // Past a root that was exchanged too, where one has leaked.
    let contrast = sandbox(&["run", "--break", "leaked-descriptor"]).output().unwrap();
    let shown = text(&contrast.stdout);
    assert!(shown.split_once("WRONG").unwrap().1.contains("the outer tree"), "{shown}");
}
