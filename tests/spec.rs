//! Specs: each mistake has its place, no input keeps the reader busy, flags and YAML give the same result.

mod support;

use std::process::Output;
use std::time::{Duration, Instant};

use sandbox::config::spec::{Spec, schema, shipped, yaml};
use sandbox::error::Mistake;
use sandbox::feature::Feature;
use serde_json::Value;
use support::{feed, run, sandbox, snapshot_as_it_is, stdout, text};

/// The result of `check -` for these bytes.
fn check(bytes: &[u8]) -> Output {
    feed(&mut sandbox(&["spec", "check", "-"]), bytes)
}

fn mistakes(words: &str) -> Vec<Mistake> {
    yaml::read(words, "spec.yaml").expect_err(words)
}

/// The only mistake: its line, its column, the message.
fn mistake(words: &str) -> (usize, usize, String) {
    match mistakes(words).as_slice() {
        [one] => (one.line, one.column, one.what.clone()),
        other => panic!("{words}: {other:#?}"),
    }
}

#[test]
fn every_mistake_is_told_at_once_with_its_place() {
    let words = r#"name: Web Server
comand: [sh]
tty: yes
env:
  PORT: 8080
  PORT: 9090
  "A=B": x
timeout: soon
memory: { limit: lots, swpa: 0 }
pids: { max: 0 }
net: { lo: sideways, veth: 1 }
user:
  map:
    - { inside: 0, outside: 1000 }
    - { inside: 0, outside: -1, count: 1, cuont: 2 }
cpu: fast
ipc: { shm: 1 }
devices: { allow: ["c 1:3 rw", "c 1:3 q", [a]] }
"#;
    let output = check(words.as_bytes());
    assert_eq!(output.status.code(), Some(125));
    assert!(output.stdout.is_empty());
    let told = text(&output.stderr);
    support::fits(&told, 80, 100);
    snapshot_as_it_is("spec-mistakes", &told);
}

/// The mark is at the value, and not at the list that it is in.
#[test]
fn a_path_that_no_shell_expands_is_marked_itself() {
    for (words, column) in [
        ("mnt: { mounts: [{ type: bind, source: ~/x, target: /y }] }", 39),
        ("mnt: { mounts: [{ type: tmpfs, target: ~/y }] }", 40),
        ("mnt: { mounts: [{ type: tmpfs, target: '' }] }", 40),
    ] {
        assert_eq!(mistake(words).1, column, "{words}");
    }
}

/// As flags, they are refused too.
#[test]
fn two_keys_that_say_one_thing_are_refused_at_the_second() {
    for (words, line, column) in [
        ("cpu: { shares: 512, weight: 50 }\n", 1, 21),
        ("cpu:\n  weight: 50\n  cpus: 0.5\n  shares: 512\n", 4, 3),
        ("user:\n  map: auto\n  map_user: 0\n", 3, 3),
        ("user: { map_group: 5, map: root, map_user: }\n", 1, 23),
    ] {
        let (told_line, told_column, what) = mistake(words);
        assert_eq!((told_line, told_column), (line, column), "{words}: {what}");
        assert!(what.contains("contradicts"), "{what}");
    }
    // A key without a value sets nothing.
    assert!(yaml::read("cpu: { shares: , weight: 50 }\n", "spec.yaml").is_ok());
    assert_eq!(run(&["cpu", "--shares", "512", "--weight", "50", "--", "true"]).status.code(), Some(2));
}

#[test]
fn no_key_may_stand_twice_in_any_map() {
    for (words, line, column) in [
        ("uts:\nuts:\n", 2, 1),
        ("env:\n  A: 1\n  B: 2\n  'A': 3\n", 4, 3),
        ("net: { lo: up, lo: down }\n", 1, 16),
        ("blkio: { write_bps: { /dev/vda: 1, /dev/vda: 2 } }\n", 1, 36),
    ] {
        let (told_line, told_column, what) = mistake(words);
        assert_eq!((told_line, told_column), (line, column), "{words}: {what}");
        assert!(what.contains("duplicate key"), "{what}");
    }
}

#[test]
fn a_port_that_is_none_is_told_with_its_place() {
    for (words, line, column, said) in [
        ("net:\n  publish: [\"8080:80\", \"8O\"]\n", 2, 24, "8O"),
        ("net: { publish: [\"53:53/sctp\"] }\n", 1, 18, "SCTP"),
        ("net: { publish: [70000:80] }\n", 1, 18, "70000"),
        ("net: { mode: nat }\n", 1, 14, "bridge"),
    ] {
        let (told_line, told_column, what) = mistake(words);
        assert_eq!((told_line, told_column), (line, column), "{words}: {what}");
        assert!(what.contains(said), "{what}");
    }
}

/// The parser stops in a later line than the one with the mistake, or in an earlier one.
#[test]
fn a_mistake_is_told_in_its_own_line() {
    for (words, line, column, said) in [
        ("pid\ncommand: [true]\n", 1, 1, "write `pid:`"),
        ("name: x\npid\nnet\ncommand: [true]\n", 2, 1, "write `pid:`"),
        ("uts:\n  hostname box\n  domainname: x\n", 2, 3, "write `hostname: box`"),
        ("workdir: /tmp\n\tpid:\n", 2, 1, "found a tab"),
    ] {
        let (told_line, told_column, what) = mistake(words);
        assert_eq!((told_line, told_column), (line, column), "{words:?}: {what}");
        assert!(what.contains(said), "{words:?}: {what}");
    }
}

#[test]
fn a_document_is_one_map_in_utf_8() {
    for (words, said) in [
        ("", "the spec is empty"),
        ("# only a comment\n", "the spec is empty"),
        ("[uts]\n", "keys with values"),
        ("uts\n", "keys with values"),
        ("uts:\n---\nipc:\n", "second document"),
        ("? [a]\n: b\n", "must be a string"),
        ("name: !secret x\n", "tags"),
        ("net:\n\tlo: up\n", "a tab"),
        ("net: { lo: up\nuts:\n", "`{` is not closed"),
        ("uts: &a\n  hostname: *b\n", "not YAML"),
    ] {
        let told = mistakes(words);
        assert!(told[0].what.contains(said), "{words:?}: {told:?}");
    }
    let output = check(b"name: x\nenv: { A: \"b\xff\" }\n");
    assert_eq!(output.status.code(), Some(125));
    assert!(
        text(&output.stderr).contains("standard input:2:13: invalid byte: a spec must be UTF-8 text"),
        "{output:?}"
    );
}

#[test]
fn what_would_keep_the_reader_busy_is_refused_fast() {
    let bomb = (1..30).fold("a0: &a0 [x, x]\n".to_owned(), |bomb, level| {
        let below = format!("*a{0}, *a{0}, *a{0}, *a{0}, *a{0}, *a{0}, *a{0}, *a{0}, *a{0}", level - 1);
        format!("{bomb}a{level}: &a{level} [{below}]\n")
    });
    let deep = format!("command: {}{}\n", "[".repeat(200), "]".repeat(200));
    let blocks = (0..200).fold(String::new(), |all, level| format!("{all}{}a:\n", " ".repeat(level)));
    // The text is not nested deeply, but the expanded aliases are.
    let stacked = (1..40).fold("a0: &a0 [[x]]\n".to_owned(), |all, level| {
        format!("{all}a{level}: &a{level} [[*a{}]]\n", level - 1)
    });
    let keys: String = (0..25_000).map(|key| format!("a{key}:\n")).collect();
    let twice = "a:\n".repeat(80_000);
    let long = format!("# {}\nuts:\n", "x".repeat(256 * 1024));
    for (words, said) in [
        (bomb, "aliases"),
        ("uts: &a\n  hostname: *a\n".to_owned(), "itself"),
        (deep, "deep"),
        (blocks, "deep"),
        (stacked, "deep"),
        (keys, "unknown key"),
        (twice, "duplicate key"),
        (long, "256 KiB"),
    ] {
        let start = Instant::now();
        let told = mistakes(&words);
        assert!(told.iter().any(|one| one.what.contains(said)), "{said}: {:?}", told[0]);
        assert!(told.len() <= 50, "{said}: {} mistakes", told.len());
        assert!(start.elapsed() < Duration::from_secs(2), "{said}: {:?}", start.elapsed());
    }
    // An input without an end.
    let start = Instant::now();
    let mut endless = sandbox(&["spec", "check", "/dev/zero"]);
    assert_eq!(endless.output().unwrap().status.code(), Some(125));
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn aliases_are_for_those_who_write_something_twice() {
    let spec =
        yaml::read("uts: { hostname: &name box }\nenv: { NAME: *name, N: 8080, B: true }\n", "x").unwrap();
    let env: Vec<(&str, &std::ffi::OsStr)> =
        spec.env.iter().map(|(name, words)| (&**name, &**words)).collect();
    assert_eq!(env, [("B", "true".as_ref()), ("N", "8080".as_ref()), ("NAME", "box".as_ref())]);
    let told = mistakes("env: &a { HOME: [x] }\nmemory: *a\n");
    // A mistake in an aliased value is reported where the value is written.
    assert_eq!((told[0].line, told[0].column), (1, 11), "{told:?}");
}

#[test]
fn truth_is_true_or_false() {
    for (word, meant) in [("yes", "true"), ("on", "true"), ("No", "false"), ("'true'", "true")] {
        let told = mistakes(&format!("tty: {word}\n"));
        assert_eq!(told[0].near.as_deref(), Some(meant), "{told:?}");
    }
    assert!(yaml::read("tty: true\n", "x").unwrap().tty);
}

#[test]
fn values_at_their_ends() {
    for good in [
        "pids: { max: 4194304 }",
        "blkio: { weight: 10 }",
        "cpu: { shares: 2, cpus: 0.01, cpuset: 0-3 }",
        "timeout: 90",
        "time: { boottime: -30 }",
        "user: { map: '0:100000:65536' }",
        "user: { map: { inside: 0, outside: 1, count: 1 } }",
        "command: [sleep, 10]",
        "name: a.b-c_d",
        "workdir: /srv",
    ] {
        yaml::read(good, "x").unwrap_or_else(|told| panic!("{good}: {told:?}"));
    }
    for wrong in [
        "pids: { max: 4194305 }",
        "pids: { max: 1.5 }",
        "blkio: { weight: 9 }",
        "cpu: { shares: 1 }",
        "cpu: { weight: 10001 }",
        "cpu: { cpus: 0 }",
        "cpu: { cpuset: 3-1 }",
        "timeout: 0",
        "timeout: -1h",
        "time: { boottime: 1w }",
        "memory: { limit: 1.5m }",
        "name: -a",
        "workdir: srv",
        "optional: [disk]",
        "env: { '': x }",
        "env: { A: \"\\0\" }",
        "mnt: { propagation: public }",
        "mnt: { bind: [/a:/b] }",
        "uts: { hostname: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx }",
    ] {
        let (line, column, what) = mistake(wrong);
        assert!(line == 1 && column > 1 && !what.is_empty(), "{wrong}: {what}");
    }
}

#[test]
fn nothing_of_a_file_reaches_the_terminal_raw() {
    let output = check(b"\"a\\e[31mb\": 1\nuts: { hostnam\xc2\x9be: \x1b[1m }\n");
    let told = text(&output.stderr);
    assert!(!told.contains(|sign: char| sign.is_control() && sign != '\n'), "{told:?}");
}

#[test]
fn exit_statuses() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("good.yaml"), "uts:\ncommand: [\"true\"]\n").unwrap();
    std::fs::write(path("bad.yaml"), "utz:\n").unwrap();
    let status = |files: &[&str]| {
        let output = run(&[&["spec", "check"], files].concat());
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    };
    let (good, bad, none) = (path("good.yaml"), path("bad.yaml"), path("none.yaml"));
    assert_eq!(status(&[&good]), (0, format!("{good}: good\n"), String::new()));
    let (code, out, err) = status(&[&bad, &good, &none]);
    assert_eq!((code, out), (125, format!("{good}: good\n")));
    assert!(err.contains("bad.yaml:1:1:") && err.contains("did you mean uts?"), "{err}");
    assert!(err.contains("cannot read") && err.contains("No such file"), "{err}");
    assert_eq!(status(&[]).0, 2);
    assert_eq!(status(&[directory.path().to_str().unwrap()]).0, 125);
    assert_eq!(run(&["spec"]).status.code(), Some(2));
    // A command can be given after `--`, so a spec without one is no mistake.
    for none in ["uts:\n", "name: x\nrootfs: host\n", "command: []\n"] {
        let output = check(none.as_bytes());
        let said = "-: good; it has no command: give one after --\n";
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), said.to_owned()), "{none}");
    }
    // A profile that denies a call which the start needs.
    let profile = path("profile.json");
    let rule = r#"{ "names": ["execve"], "action": "SCMP_ACT_ERRNO" }"#;
    let denies = format!(r#"{{ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{rule}] }}"#);
    std::fs::write(&profile, denies).unwrap();
    let denied = check(format!("seccomp: {profile}\npid:\ncommand: ['true']\n").as_bytes());
    assert_eq!(denied.status.code(), Some(125));
    assert!(text(&denied.stderr).contains("execve"), "{}", text(&denied.stderr));
    let unknown = run(&["spec", "init", "--for", "wbe"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(text(&unknown.stderr).contains("sandbox spec init --for web"), "{unknown:?}");
}

#[test]
fn what_is_printed_is_read_as_it_is() {
    let template = stdout(&["spec", "init"]);
    assert_eq!(template, schema::template());
    support::fits(&template, 100, 300);
    let plain = yaml::read(&template, "template").unwrap();
    // The template also enables the protections.
    assert_eq!(plain.features(), Feature::ALL);
    assert!(plain.no_new_privileges);
    // Each example is valid too. Of two examples that exclude each other, one is removed.
    let example = regex_lite::Regex::new(r"(?m)^( *)#([a-z_]+:)").unwrap();
    let full = [r"(?m)^  (map|shares|cpus):.*\n", r"(?m)^  (map_user|map_group|weight|quota|period):.*\n"]
        .map(|others| {
            let all = example.replace_all(&template, "$1$2").into_owned();
            let all = regex_lite::Regex::new(others).unwrap().replace_all(&all, "").into_owned();
            yaml::read(&all, "template").unwrap()
        });
    assert!(!full.contains(&plain));
    let [one, other] = full;
    for spec in [plain, one, other, yaml::read(shipped::ALL[0].text, "x").unwrap()] {
        assert_eq!(yaml::read(&yaml::print(&spec), "printed").unwrap(), spec);
    }
    // The template contains every key.
    for key in keys(&schema::schema()) {
        assert!(
            template
                .lines()
                .any(|line| line.trim_start_matches([' ', '#']).starts_with(&format!("{}:", key.1)))
        );
    }
    let list = stdout(&["spec", "init", "--for", "list"]);
    assert_eq!(list.lines().count(), shipped::ALL.len());
    for spec in shipped::ALL {
        assert!(list.contains(spec.about()), "{}", spec.purpose);
        assert_eq!(stdout(&["spec", "init", "--for", spec.purpose]), spec.text);
    }
}

#[test]
fn every_shipped_spec_is_good() {
    let mut files: Vec<String> = std::fs::read_dir(support::repository().join("lessons/specs"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().trim_end_matches(".yaml").to_owned())
        .collect();
    files.sort_unstable();
    let shipped: Vec<&str> = shipped::ALL.iter().map(|spec| spec.purpose).collect();
    assert_eq!(files, shipped);
    for spec in shipped::ALL {
        let read = yaml::read(spec.text, spec.purpose).unwrap_or_else(|told| panic!("{told:#?}"));
        assert!(!read.command.is_empty() && !read.features().is_empty(), "{}", spec.purpose);
        assert!(spec.text.starts_with("# "), "{}", spec.purpose);
    }
}

/// Every key of the schema: its parent keys and its name.
fn keys(schema: &Value) -> Vec<(Vec<String>, String)> {
    let names = |value: &Value| -> Vec<String> {
        let all = value["properties"].as_object();
        all.into_iter().flat_map(|all| all.keys().cloned()).collect()
    };
    let mut all: Vec<(Vec<String>, String)> =
        names(schema).into_iter().map(|key| (Vec::new(), key)).collect();
    for key in names(schema) {
        let kind = schema["properties"][&key].to_string();
        let below = schema["$defs"].as_object().unwrap().iter();
        for (_, definition) in below.filter(|(name, _)| kind.contains(&format!("#/$defs/{name}\""))) {
            all.extend(names(definition).into_iter().map(|inner| (vec![key.clone()], inner)));
        }
    }
    all
}

#[test]
fn every_key_with_one_wrong_letter_is_known_again() {
    let schema = schema::schema();
    let all = keys(&schema);
    assert!(all.len() > 35, "{}", all.len());
    let known = |path: &[String], word: &str| all.iter().any(|(above, key)| above == path && key == word);
    for (path, key) in &all {
        let letters: Vec<char> = key.chars().collect();
        for at in 0..letters.len() {
            let mut wrong = vec![letters.clone(), letters.clone(), letters.clone()];
            wrong[0][at] = 'q';
            wrong[1].remove(at);
            wrong[2].insert(at, 'q');
            for word in wrong.into_iter().map(String::from_iter) {
                // `pids` without its `s` is the key `pid`.
                if known(path, &word) || word.len() < 2 {
                    continue;
                }
                let words = match path.first() {
                    Some(above) => format!("{above}:\n  {word}:\n"),
                    None => format!("{word}:\n"),
                };
                let told = mistakes(&words);
                let near = told[0].near.as_deref().unwrap_or_else(|| panic!("{words}: {told:?}"));
                // If several keys are equally near, any of them is accepted.
                let is_as_near = near == key || (near.len().abs_diff(word.len()) <= 1 && known(path, near));
                assert!(is_as_near, "{words}: {near}");
                assert_eq!(told[0].column, if path.is_empty() { 1 } else { 3 });
            }
        }
    }
}

#[test]
fn flags_and_yaml_are_one() {
    let all: [(Feature, &[&str], &str); 13] = [
        (Feature::Pid, &["--init", "--no-mount-proc"], "pid: { init: true, mount_proc: false }"),
        (
            Feature::Mnt,
            &["--propagation", "slave", "--tmpfs", "/mnt", "-v", "/a:/b", "--root", "/srv"],
            "mnt: { propagation: slave, tmpfs: [/mnt], bind: [{ source: /a, target: /b }], root: /srv }",
        ),
        (
            Feature::Net,
            &["--lo", "down", "--veth", "--mode", "bridge", "-p", "80:80", "--publish", "[::1]:1:2/tcp"],
            "net: { lo: down, veth: true, mode: bridge, publish: [\"80:80\", \"[::1]:1:2\"] }",
        ),
        (
            Feature::Uts,
            &["--hostname", "box", "--domainname", "lab"],
            "uts: { hostname: box, domainname: lab }",
        ),
        (Feature::Ipc, &[], "ipc:"),
        (Feature::User, &["--map", "0:1000:1"], "user: { map: [{ inside: 0, outside: 1000, count: 1 }] }"),
        (Feature::Cgroup, &[], "cgroup:"),
        (Feature::Time, &["--boottime", "-1h", "--monotonic", "7"], "time: { boottime: -1h, monotonic: 7 }"),
        (Feature::Memory, &["-m", "64m", "--swap", "0"], "memory: { limit: 64MiB, swap: 0 }"),
        (
            Feature::Cpu,
            &["--cpus", "0.5", "--shares", "512", "--cpuset", "0"],
            "cpu: { cpus: 0.5, shares: 512, cpuset: '0' }",
        ),
        (
            Feature::Blkio,
            &["--weight", "500", "--write-bps", "/var/tmp=1m"],
            "blkio: { weight: 500, write_bps: { /var/tmp: 1MB } }",
        ),
        (
            Feature::Devices,
            &["--allow", "/dev/fuse", "--deny", "a"],
            "devices: { allow: [/dev/fuse rwm], deny: [a] }",
        ),
        (Feature::Pids, &["--max", "64"], "pids: { max: 64 }"),
    ];
    assert_eq!(all.map(|(feature, ..)| feature), Feature::WITH_SUBCOMMAND);
    for (feature, flags, words) in all {
        let line = [&[feature.name()], flags, &["--print-spec", "--", "sh", "-c", "true"]].concat();
        let printed = stdout(&line);
        let flags = yaml::read(&printed, "flags").unwrap_or_else(|told| panic!("{printed}: {told:?}"));
        let written: Spec = yaml::read(&format!("{words}\ncommand: [sh, -c, 'true']\n"), "yaml").unwrap();
        assert_eq!(flags, written, "{printed}");
        assert_eq!(yaml::print(&written), printed);
        assert_eq!(flags.features(), [feature]);
    }
}
