//! What `sandbox` prints to be pasted is pasted into sh(1), with programs of our own first in PATH. They write their
//! arguments to a file. Nothing else may be executed, and the arguments must arrive as they were typed.
//!
//! Of this kind: the commands by hand and for docker of each feature that takes a word (command, host name, path, device),
//! of each program that runs the command (sh, unshare, setpriv, prlimit), the lines that are typed outside at the same time, the files
//! of limits, and the lines of advice, also where they are
//! too long for one line. The words: each special character of a shell, at the beginning too; blanks; a line break; the
//! empty word.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use support::{is_root, sandbox, text, write_program};

/// `touch` must never run.
const VALUES: [&str; 34] = [
    "a;touch PWN",
    "$(touch PWN)",
    "`touch PWN`",
    "a\ntouch PWN\n",
    "&touch PWN",
    "|touch PWN",
    "&&touch PWN",
    ">PWN",
    "<PWN",
    "a'b",
    "a';touch PWN;'",
    "\"",
    "\";touch PWN;\"",
    "*",
    "?",
    "[a-z]*",
    "-x",
    "--",
    "~",
    "~root",
    "#x",
    "!x",
    "!!",
    "",
    " ",
    "a b",
    "  a",
    "{a,b}",
    "\\",
    "a\\nb",
    "%s",
    "$HOME",
    "=ls",
    "A=b",
];

/// Programs that stand in for those that the lines call. The ones that run a command do so.
const PROGRAMS: [&str; 24] = [
    "probe",
    "docker",
    "hostname",
    "domainname",
    "mount",
    "umount",
    "pivot_root",
    "mkdir",
    "mknod",
    "ln",
    "ip",
    "nft",
    "socat",
    "bridge",
    "nsenter",
    "bpftool",
    "findmnt",
    "sudo",
    "sandbox",
    "newuidmap",
    "newgidmap",
    "chmod",
    "fuser",
    "namei",
];
const RUNNERS: [&str; 3] = ["unshare", "setpriv", "prlimit"];

/// A directory with the programs and the working directory, open to every user.
struct World(tempfile::TempDir);

impl World {
    fn new() -> World {
        let world = World(tempfile::tempdir().unwrap());
        for name in ["", "bin", "cwd"] {
            fs::create_dir_all(world.path(name)).unwrap();
            fs::set_permissions(world.path(name), fs::Permissions::from_mode(0o777)).unwrap();
        }
        for name in PROGRAMS {
            world.put(name, "");
        }
        for name in RUNNERS {
            // The command comes after the options, which are single words except for numbers.
            let run = "while [ $# -gt 0 ]; do case $1 in --) shift; break;; -*) case $1 in --propagation|--regid|--reuid|\
                       --bounding-set|--inh-caps|--monotonic|--boottime) shift;; esac; shift;; *) break;; esac; done\n\
                       exec \"$@\"";
            world.put(name, run);
        }
        world
    }

    fn put(&self, name: &str, then: &str) {
        let script = format!(
            "#!/bin/sh\n{{ printf '%s\\0' {name} \"$@\"; printf '\\001\\0'; }} >> {}\n{then}\n",
            self.path("log")
        );
        write_program(self.path(&format!("bin/{name}")).as_ref(), script);
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// Pastes lines. Returns each program that was called, with its arguments. The lines run as an ordinary user, so
    /// that a write to a file of the machine cannot succeed.
    fn paste(&self, lines: &str) -> Vec<Vec<String>> {
        let log = self.path("log");
        fs::write(&log, "").unwrap();
        fs::set_permissions(&log, fs::Permissions::from_mode(0o666)).unwrap();
        let mut command = Command::new(if is_root() { "/usr/bin/setpriv" } else { "/usr/bin/env" });
        if is_root() {
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        }
        let path = format!("{}:/usr/bin:/bin", self.path("bin"));
        let output = command
            .args(["sh", "-c", lines])
            .current_dir(self.path("cwd"))
            .env("PATH", path)
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        assert!(!text(&output.stderr).contains("yntax error"), "{lines}\n{}", text(&output.stderr));
        let made: Vec<_> =
            fs::read_dir(self.path("cwd")).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(made.is_empty(), "{lines}\nmade {made:?}");
        let log = fs::read_to_string(&log).unwrap();
        let calls = log.split("\x01\0").map(|call| call.split_terminator('\0').map(str::to_owned).collect());
        calls.filter(|call: &Vec<String>| !call.is_empty()).collect()
    }
}

/// The lines below the headings `The same by hand:` and `With docker:` of a plan.
fn by_hand(arguments: &[&str]) -> Option<(String, String)> {
    let output = sandbox(arguments).output().unwrap();
    let plan = text(&output.stdout);
    if !output.status.success() {
        // A value that the feature refuses is not printed.
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stderr));
        return None;
    }
    let (_, lines) = plan.split_once("The same by hand:\n").unwrap();
    let (hand, docker) = lines.split_once("With docker:\n").unwrap();
    let hand = hand.split_once("and at the same time").map_or(hand, |(hand, _)| hand);
    let docker: Vec<&str> = docker.split("\n  ").collect();
    let docker = docker.into_iter().map(|line| line.strip_prefix("  ").unwrap_or(line));
    let docker: Vec<&str> = docker.filter(|line| line.starts_with("docker ")).collect();
    Some((hand.to_owned(), docker.join("\n")))
}

/// One of the calls has this argument after this one.
fn has(calls: &[Vec<String>], program: &str, words: &[&str]) -> bool {
    calls
        .iter()
        .any(|call| call[0] == program && call[1..].windows(words.len().max(1)).any(|part| part == words))
}

#[test]
fn the_command_arrives_through_every_program_that_runs_it() {
    let world = World::new();
    let spec =
        "run_as: '1000:1000'\nrlimits: { nofile: 64 }\nno_new_privileges: true\ncapabilities: default\n";
    fs::write(world.path("spec.yaml"), spec).unwrap();
    let spec = world.path("spec.yaml");
    for value in VALUES {
        let all: [&[&str]; 5] = [
            &["uts", "--dry-run", "--", "probe", value, value],
            &["uts", "--hostname", "box", "--dry-run", "--", "probe", value, value],
            &["pid", "--dry-run", "--", "probe", value, value],
            &["mnt", "--tmpfs", "/mnt", "--dry-run", "--", "probe", value, value],
            &["run", &spec, "--dry-run", "--", "probe", value, value],
        ];
        for arguments in all {
            let arguments: Vec<&str> =
                arguments.iter().map(|word| if *word == "probe" { "true" } else { word }).collect();
            let (hand, _) = by_hand(&arguments).unwrap();
            // `sandbox` looks for the command before it prints the plan.
            let calls = world.paste(&hand.replace("true", "probe"));
            assert!(has(&calls, "probe", &[value, value]), "{arguments:?}\n{hand}\n{calls:?}");
        }
    }
}

#[test]
fn a_host_name_arrives() {
    let world = World::new();
    for value in VALUES {
        let arguments = [&format!("--hostname={value}"), &format!("--domainname={value}")];
        let Some((hand, docker)) = by_hand(&["uts", arguments[0], arguments[1], "--dry-run", "--", "true"])
        else {
            continue;
        };
        let calls = world.paste(&hand);
        assert!(
            has(&calls, "hostname", &[value]) && has(&calls, "domainname", &[value]),
            "{hand}\n{calls:?}"
        );
        let calls = world.paste(&docker);
        assert!(has(&calls, "docker", &["--hostname", value]), "{docker}\n{calls:?}");
        assert!(has(&calls, "docker", &["--domainname", value]), "{docker}\n{calls:?}");
    }
}

#[test]
fn paths_arrive() {
    let world = World::new();
    for value in VALUES.iter().filter(|value| !value.trim().is_empty() && !value.contains('/')) {
        let target = world.path(&format!("cwd/{value}"));
        // A path cannot end in a blank or contain `:` here; the rest is a name as every other.
        if fs::create_dir(&target).is_err() {
            continue;
        }
        let bound = format!("{target}:{target}");
        let arguments = ["mnt", "--tmpfs", &target, "--bind", &bound, "--dry-run", "--", "true"];
        let planned = by_hand(&arguments);
        let rooted = by_hand(&["mnt", "--root", &target, "--dry-run"]);
        fs::remove_dir(&target).unwrap();
        let Some((hand, docker)) = planned else { continue };
        let calls = world.paste(&hand);
        assert!(has(&calls, "mount", &[&target]), "{hand}\n{calls:?}");
        let calls = world.paste(&docker);
        assert!(has(&calls, "docker", &["--tmpfs", &target]), "{docker}\n{calls:?}");
        let Some((hand, _)) = rooted else { continue };
        let calls = world.paste(&hand);
        assert!(has(&calls, "mount", &[&target]), "{hand}\n{calls:?}");
    }
}

/// The mounts of a root filesystem are made below /mnt, from paths of the spec.
#[test]
fn the_mounts_of_a_root_arrive() {
    let world = World::new();
    for value in VALUES.iter().filter(|value| !value.trim().is_empty() && !value.contains('\n')) {
        let source = world.path(&format!("src/{value}"));
        fs::create_dir_all(&source).unwrap();
        let json = |text: &str| serde_json::to_string(text).unwrap();
        let spec = format!(
            "rootfs: {}\nuser:\nmnt: {{ mounts: [{{ type: bind, source: {}, target: {} }}] }}\ncommand: ['true']\n",
            json(&source),
            json(&source),
            json(&format!("/{value}")),
        );
        fs::create_dir_all(Path::new(&source).join(value)).unwrap();
        let file = world.path("spec.yaml");
        fs::write(&file, &spec).unwrap();
        let Some((hand, _)) = by_hand(&["run", &file, "--dry-run"]) else { continue };
        // Without the directory of the new root, the first mount would end the script.
        let calls = world.paste(&hand.replace("set -e;", "set +e; cd() { :; };"));
        if hand.contains("rbind") {
            assert!(
                calls.iter().any(|call| call[0] == "mount" && call.contains(&source)),
                "{spec}{hand}\n{calls:?}"
            );
            let target = format!("/mnt/root/{value}");
            assert!(
                calls.iter().any(|call| call[0] == "mount" && call.contains(&target)),
                "{spec}{hand}\n{calls:?}"
            );
        }
    }
}

/// The line of an error after `do`, with the lines that continue it.
fn advice(arguments: &[&str]) -> String {
    let words = text(&sandbox(arguments).output().unwrap().stderr);
    let (_, advice) = words.split_once("\n  do    ").unwrap_or_else(|| panic!("{arguments:?}\n{words}"));
    advice.to_owned()
}

#[test]
fn advice_is_pasted_as_it_is() {
    let world = World::new();
    let long = "a-word-of-some-length ".repeat(12);
    // A `--` among the words is taken for the one that was missing before the command.
    for value in VALUES.into_iter().filter(|value| *value != "--").chain([long.as_str()]) {
        let command = ["sh", "-c", value, value, "--some-long-option", "--another-long-option", value];
        let line = advice(&[&["pid"], &command[..]].concat());
        let calls = world.paste(&line);
        let wanted: Vec<&str> = [&["pid", "--"], &command[..]].concat();
        assert_eq!(calls.len(), 1, "{line}");
        assert!(calls[0][0] == "sandbox" && calls[0][1..] == wanted, "{line}\n{calls:?}");
        for line in line.lines().filter(|line| !line.contains("a-word-of")) {
            assert!(line.chars().count() <= 80, "{line}");
        }
        let line = advice(&[&["--"], &command[..]].concat());
        let calls = world.paste(&line);
        assert!(calls.len() == 1 && calls[0][1..] == wanted, "{line}\n{calls:?}");
    }
}

/// The commands of an error with several things to do, without their numbers.
fn commands(words: &str) -> String {
    let (_, advice) = words.split_once("\n  do    ").unwrap_or_else(|| panic!("{words}"));
    let lines = advice.lines().filter(|line| line.trim().trim_end_matches('.').parse::<u8>().is_err());
    lines.map(|line| line.to_owned() + "\n").collect()
}

/// HOME is a directory that others can write to. It was named, so nothing is done to it: its path is only looked at.
#[test]
fn the_path_of_a_directory_arrives() {
    let world = World::new();
    ["ls", "mktemp"].into_iter().for_each(|name| world.put(name, ""));
    for value in VALUES.iter().filter(|value| !value.trim().is_empty() && !value.contains(['/', '\n'])) {
        let path = world.path(&format!("src/{value}"));
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        let output = sandbox(&["ps"]).env("SANDBOX_HOME", &path).output().unwrap();
        let words = text(&output.stderr);
        let calls = world.paste(&commands(&words));
        let looks = vec!["ls".to_owned(), "-ld".into(), path.clone()];
        assert_eq!(calls, [looks, vec!["mktemp".into(), "-d".into()]], "{words}");
        fs::remove_dir(&path).unwrap();
    }
}

/// Root outside may need what it has.
#[test]
fn a_directory_of_a_user_without_an_id_here_is_not_to_be_removed() {
    let directory = tempfile::tempdir().unwrap();
    let home = match is_root() {
        true => directory.path(),
        false => Path::new("/usr"),
    };
    if is_root() {
        std::os::unix::fs::chown(home, Some(7), None).unwrap();
    }
    let variable = format!("SANDBOX_HOME={}", home.display());
    let program = support::binary();
    let inside = ["user", "-q", "--", "env", &variable, program.to_str().unwrap(), "ps"];
    for words in [&inside[..], &inside[3..]] {
        let output = match words[0] {
            "user" => sandbox(words).output().unwrap(),
            _ => Command::new(words[0]).args(&words[1..]).output().unwrap(),
        };
        let told = text(&output.stderr);
        assert!(told.contains("SANDBOX_HOME") && !told.contains("rm -r"), "{words:?} {told}");
        assert_eq!(told.contains("user namespace"), words[0] == "user", "{words:?} {told}");
    }
}

/// The name of a secret is one of the Dockerfile.
#[cfg(feature = "images")]
#[test]
fn the_name_of_a_secret_arrives() {
    let world = World::new();
    let home = support::kept::KeptHome::new();
    home.out(&["image", "from-host", "tool", "true"]);
    for value in ["$(touch)", "a;b", "`b`", "&b"] {
        let file = format!("FROM tool\nRUN --mount=type=secret,id={value},required=true [\"true\"]\n");
        let path = home.around().join("Dockerfile");
        fs::write(&path, file).unwrap();
        let output = home.run(&["build", "-q", home.around().to_str().unwrap()]);
        let words = text(&output.stderr);
        let line = words.lines().find(|line| line.contains("src=FILE")).unwrap_or_else(|| panic!("{words}"));
        let calls = world.paste(&format!("probe {line}"));
        assert_eq!(
            calls,
            [vec!["probe".to_owned(), "--secret".into(), format!("id={value},src=FILE")]],
            "{words}"
        );
    }
}

/// An archive is not printed on a terminal.
#[cfg(feature = "images")]
#[test]
fn the_name_of_an_image_arrives() {
    let world = World::new();
    for value in ["a;touch PWN", "$(touch PWN)", "a b", "a'b"] {
        let (_, shown) = support::terminal::Terminal::start(&["save", value]).end();
        let line = shown.lines().find(|line| line.contains("image.tar")).unwrap_or_else(|| panic!("{shown}"));
        let line = line.trim().trim_start_matches("do").trim();
        let calls = world.paste(line);
        assert_eq!(
            calls,
            [["sandbox", "save", "-o", "image.tar", value].map(str::to_owned).to_vec()],
            "{shown}"
        );
    }
}

#[test]
fn the_path_of_a_program_arrives() {
    let world = World::new();
    for value in VALUES.iter().filter(|value| !value.trim().is_empty() && !value.contains('/')) {
        let path = world.path(&format!("src/{value}"));
        fs::create_dir_all(world.path("src")).unwrap();
        fs::write(&path, "").unwrap();
        let words = text(&sandbox(&["uts", "--", &path]).output().unwrap().stderr);
        let (_, line) = words.split_once("\n           ").unwrap_or_else(|| panic!("{words}"));
        let calls = world.paste(line);
        assert_eq!(calls, [vec!["chmod".to_owned(), "+x".into(), path.clone()]], "{words}");
        fs::remove_file(&path).unwrap();
    }
}

/// The lines that are typed outside, while the command runs: veth pairs, bridge, rules, published ports. Their variables
/// are set by the person.
#[test]
fn the_lines_from_outside_arrive() {
    let world = World::new();
    for flags in [
        &["--veth"][..],
        &["--mode", "bridge"],
        &["--mode", "bridge", "-p", "127.0.0.1:18080:80", "-p", "[::1]:18081:81", "-p", "18053:53/udp"],
        &["-p", "18080:80", "-p", "18053:53/udp"],
    ] {
        let plan = support::stdout(&[&["net"], flags, &["--dry-run", "--", "true"]].concat());
        let Some((_, lines)) = plan.split_once("and at the same time, from outside") else {
            // Devices outside are root's.
            assert!(!is_root() && flags[0] != "-p", "{plan}");
            continue;
        };
        let (_, lines) = lines.split_once(":\n").unwrap();
        let (lines, _) = lines.split_once("With docker:").unwrap();
        let set = "child=4711 address=192.0.2.9 hardware=02:00:00:00:00:09\n";
        let calls = world.paste(&format!("{set}{lines}"));
        // One call for each line. A line that writes a file of the machine calls no program, and fails here.
        let wanted: Vec<&str> = lines.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let wanted: Vec<&str> =
            wanted.iter().filter_map(|line| line.split(' ').next()).filter(|name| *name != "echo").collect();
        let called: Vec<&str> = calls.iter().map(|call| call[0].as_str()).collect();
        assert_eq!(called, wanted, "{lines}");
        for call in &calls {
            match call[0].as_str() {
                "nft" => assert!(call.len() == 2 && call[1].starts_with("add "), "{call:?}"),
                "socat" => {
                    assert_eq!(call.len(), 3, "{call:?}");
                    assert!(call[2].contains("4711") && !call[2].contains('$'), "{call:?}");
                }
                "ip" | "bridge" | "nsenter" => {
                    assert!(call.iter().all(|word| !word.contains(' ')), "{call:?}")
                }
                other => panic!("{other}: {call:?}"),
            }
        }
        let has_peer = |call: &Vec<String>| call.iter().any(|word| word == "4711");
        assert!(flags.contains(&"-p") || calls.iter().any(has_peer), "{calls:?}");
    }
}

/// The lines of limits write each value to its file. They are pasted with another directory in place of the hierarchy.
#[test]
fn the_files_of_limits_get_their_values() {
    for flags in [
        &["memory", "--limit", "64m", "--reservation", "32m"][..],
        &["cpu", "--cpus", "0.5", "--shares", "512", "--cpuset", "0"],
        &["pids", "--max", "64"],
        &["blkio", "--weight", "100"],
        &["devices", "--allow", "/dev/fuse rw", "--deny", "c 5:1 rw"],
    ] {
        let world = World::new();
        for (program, then) in [("mkdir", "exec /bin/mkdir \"$@\""), ("bpftool", "")] {
            world.put(program, then);
        }
        let Some((hand, _)) = by_hand(&[flags, &["--dry-run", "--", "true", "a b", "$(touch PWN)"]].concat())
        else {
            // The device file does not exist here.
            continue;
        };
        let tree = world.path("tree");
        fs::create_dir(&tree).unwrap();
        fs::set_permissions(&tree, fs::Permissions::from_mode(0o777)).unwrap();
        let lines = hand.replace("/sys/fs/cgroup", &tree).replace("exec true", "exec probe");
        let calls = world.paste(&lines);
        assert!(has(&calls, "probe", &["a b", "$(touch PWN)"]), "{lines}\n{calls:?}");
        let mut directory = String::new();
        let mut last = std::collections::BTreeMap::new();
        for line in lines.lines().map(str::trim) {
            if let Some(rest) = line.strip_prefix("g=") {
                directory = rest.split(';').next().unwrap().to_owned();
            }
            if let Some((value, file)) =
                line.strip_prefix("echo '").and_then(|rest| rest.split_once("' > $g/"))
            {
                last.insert(format!("{directory}/{file}"), value.to_owned());
            }
        }
        assert!(!last.is_empty() || lines.contains("bpftool"), "{lines}");
        for (file, value) in last {
            let written =
                fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}\n{lines}"));
            assert_eq!(written, format!("{value}\n"), "{file}");
        }
    }
}
