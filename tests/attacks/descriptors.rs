//! R2: descriptors of directories on the host that are open when the command starts.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{binary, child_named, feed, sandbox, text};
use crate::{directory, has_usr_alone, of, root};

/// A shell that opens 200 descriptors of directories without close-on-exec, and then executes a command.
fn with_many_open(command: &[&str]) -> Command {
    let mut bash = Command::new("bash");
    bash.args(["-c", "for n in {10..209}; do eval \"exec $n< /\"; done; exec \"$@\"", "bash"]).args(command);
    bash.current_dir("/").env("LC_ALL", "C");
    bash
}

#[test]
fn two_hundred_open_directories_are_none_inside() {
    let count = |command: &[&str], spec: &str| {
        let output = feed(&mut with_many_open(command), spec);
        text(&output.stdout).lines().filter(|line| line.parse::<u32>().is_ok()).count()
    };
    let list = ["ls", "-1", "/proc/self/fd"];
    let program = binary();
    let program = program.to_str().unwrap();
    // Descriptors 0 to 2, and the directory that ls reads. A shell may keep one more.
    assert!(count(&list, "") >= 204, "the shell hands them on");
    for spec in ["uts:\n", "rootfs: host\npid: { init: true }\n", "rootfs: host\nseccomp: default\n"] {
        assert_eq!(count(&[&[program, "run", "-", "-q", "--"][..], &list].concat(), spec), 4, "{spec}");
    }
}

/// An image or a spec may name any working directory. A descriptor of a host directory is closed in the container,
/// whatever its number was.
#[test]
fn no_working_directory_leads_out() {
    if !has_usr_alone("no_working_directory_leads_out") {
        return;
    }
    let (canary, root) = (directory(), root());
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
    // The shell's working directory is one of these descriptors. If it leads out of a root, `cat` finds the canary.
    let script = format!("cd /proc/self/fd/12 && {look}");
    assert!(text(&with_many_open(&["sh", "-c", &script]).output().unwrap().stdout).contains("out"));
    // A leaked descriptor also leads past a root that was changed by pivot_root.
    let contrast = sandbox(&["run", "--break", "leaked-descriptor"]).output().unwrap();
    let shown = text(&contrast.stdout);
    assert!(shown.split_once("\nRIGHT ").unwrap().0.contains("the outer tree"), "{shown}");
}

/// Reads the links in /proc of every process that is named sandbox, until SIGUSR1. It prints how many links it found,
/// and those that it could read. A process that has executed its command meanwhile does not count.
const LOOK: &str = r#"
    $| = 1; my (%read, $met, $end); $SIG{USR1} = sub { $end = 1 }; print "ready\n";
    until ($end) {
        for my $process (glob "/proc/[0-9]*") {
            my $is_sandbox = sub { open(my $name, "<", "$process/comm") or return; (<$name> // "") eq "sandbox\n" };
            next unless $is_sandbox->();
            $met++;
            my @links = map { readlink(m{^/} ? $_ : "$process/$_") // () } ("exe", "cwd", "root", glob "$process/fd/*");
            $read{$_} = 1 for $is_sandbox->() ? @links : ();
        }
    }
    print "met $met\n", map { "read $_\n" } sort keys %read;
"#;

/// Without a new PID namespace, other processes can see the container while it is set up. At that time it still has
/// open descriptors, some of the host's mount tree.
#[test]
fn nobody_who_shares_the_pids_can_look_into_a_start() {
    let directory = directory();
    let spec = directory.path().join("spec.yaml");
    fs::write(&spec, "rootfs: host\ncapabilities: default\n").unwrap();
    let mut inside = sandbox(&["run", spec.to_str().unwrap(), "-q", "--", "perl", "-e", LOOK]);
    let mut outside = Command::new("perl");
    outside.args(["-e", LOOK]);
    for (looker, can_read) in [(&mut inside, false), (&mut outside, true)] {
        let mut looker = looker.stdout(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(looker.stdout.take().unwrap());
        let mut shown = String::new();
        said.read_line(&mut shown).unwrap();
        assert_eq!(shown, "ready\n");
        let perl = if can_read { looker.id() } else { child_named(looker.id(), "perl") };
        for _ in 0..10 {
            let mut start = sandbox(&["run", "-", "-q", "--", "sleep", "0.02"]);
            assert!(feed(&mut start, "rootfs: host\npid:\n").status.success());
        }
        kill(Pid::from_raw(perl as i32), Signal::SIGUSR1).unwrap();
        said.read_to_string(&mut shown).unwrap();
        looker.wait().unwrap();
        let met = shown.lines().find_map(|line| line.strip_prefix("met ")?.parse::<u32>().ok());
        assert!(met.is_some_and(|met| met > 20), "{shown}");
        assert_eq!(shown.contains("read /"), can_read, "{shown}");
    }
}
