//! Keys and words that people know from other tools, or get wrong: the answer has the form that works.
//!
//! Of this kind: keys of Compose at the top of a spec; a scalar or a list where a feature has keys; `~` in a path; a spec,
//! root filesystem, source of a bind mount or command that is missing; names of cards, mistakes and keys with a typing
//! error; errors of Rust's library, which must not be read by a user.

mod support;

use std::fs;

use support::{feed, is_root, run, sandbox, skip, text};

fn check(spec: &str) -> (String, Option<i32>) {
    let output = feed(&mut sandbox(&["spec", "check", "-"]), spec);
    (text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" "), output.status.code())
}

/// The form after `write`, which must itself be a spec without mistakes.
fn form_works(words: &str, given: &str) {
    let (_, form) = words.split_once("write ").unwrap_or_else(|| panic!("{given}: {words}"));
    // The excerpt of the spec follows, with the number of its line.
    let form = form.split(" 1 | ").next().unwrap();
    for form in form.split(" or ").flat_map(|form| form.split(" and ")) {
        let form = form
            .replace("./DIRECTORY", "host")
            // Whether this machine has the image does not matter here.
            .replace("rootfs: alpine", "rootfs: host")
            .replace("source: ./data, target: /data", "source: /etc, target: /mnt");
        let (words, status) = check(&form);
        assert_eq!(status, Some(0), "{given}: advised {form:?}\n{words}");
    }
}

#[test]
fn a_key_of_compose_gets_the_form_that_works() {
    let keys = [
        ("hostname: box", "uts: { hostname:"),
        ("image: alpine", "rootfs: alpine"),
        ("ports: ['80:80']", "net: { mode: bridge, publish:"),
        ("volumes: ['./a:/b']", "mnt: { mounts:"),
        ("environment: { A: b }", "env: { NAME: value }"),
        ("entrypoint: sh", "command: ["),
        ("mem_limit: 64m", "memory: { limit:"),
        ("cpus: 0.5", "cpu: { cpus:"),
        ("cap_add: [NET_ADMIN]", "capabilities: { keep: [NET_ADMIN] }"),
        ("cap_drop: [ALL]", "capabilities: { keep: [] }"),
        ("networks: [a]", "net: { mode: bridge }"),
        ("network_mode: host", "net: { mode: host }"),
        ("network: none", "net: { mode: none }"),
        ("working_dir: /srv", "workdir: /srv"),
        ("tmpfs: /tmp", "mnt: { mounts: [{ type: tmpfs,"),
        ("read_only: true", "mnt: { readonly: true }"),
        ("container_name: web", "name: box"),
        ("ulimits: { nofile: 1 }", "rlimits: { nofile: 1024 }"),
        ("security_opt: [no-new-privileges]", "no_new_privileges: true"),
        ("pids_limit: 64", "pids: { max: 64 }"),
        ("cpu_shares: 512", "cpu: { shares: 512 }"),
        ("cpuset: '0'", "cpu: { cpuset:"),
        ("mounts: []", "mnt: { mounts:"),
        ("Hostname: box", "uts: { hostname:"),
        ("mem-limit: 64m", "memory: { limit:"),
    ];
    for (given, form) in keys {
        let (words, status) = check(given);
        assert_eq!(status, Some(125), "{given}");
        assert!(
            words.contains("standard input:1:1: unknown key") && words.contains(form),
            "{given}: {words}"
        );
        assert!(!words.contains("the known keys are"), "{given}: {words}");
        form_works(&words, given);
    }
    for key in ["privileged: true", "restart: always", "services: {}", "version: '3'", "labels: {}"] {
        let (words, status) = check(key);
        assert_eq!(status, Some(125), "{key}");
        assert!(!words.contains("the known keys are") && words.contains("unknown key"), "{key}: {words}");
    }
    let (words, _) = check("privileged: true");
    assert!(words.contains("it is a flag: sandbox run --privileged SPEC"), "{words}");
    // To write the key would mean the opposite.
    for (key, ours) in
        [("userns_mode", "user"), ("pid_mode", "pid"), ("ipc_mode", "ipc"), ("uts_mode", "uts")]
    {
        let (words, status) = check(&format!("{key}: host"));
        let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
        let told = format!("unknown key {key}: with the key {ours}: the container has a new");
        assert!(status == Some(125) && words.contains(&told), "{key}: {words}");
    }
}

#[test]
fn a_value_without_its_key_gets_the_form_that_works() {
    let values = [
        ("pid: true", "write pid:"),
        ("ipc: true", "write ipc:"),
        ("memory: 64MiB", "write memory: { limit: 64MiB }"),
        ("cpu: 0.5", "write cpu: { cpus: 0.5 }"),
        ("pids: 64", "write pids: { max: 64 }"),
        ("uts: box", "write uts: { hostname: box }"),
        ("net: bridge", "write net: { mode: bridge }"),
        ("net: ['80:80']", "write net: { mode: bridge,"),
        ("user: 1000:1000", "write run_as: \"1000:1000\""),
        ("devices: [/dev/fuse]", "write devices: { allow: [\"/dev/fuse rw\"] }"),
        ("mnt: ['/a:/b']", "write mnt: { mounts:"),
    ];
    for (given, form) in values {
        let (words, status) = check(given);
        assert_eq!(status, Some(125), "{given}");
        assert!(words.contains(form), "{given}: {words}");
        form_works(&words, given);
    }
    let (words, _) = check("pid: false");
    assert!(words.contains("leave out the key pid"), "{words}");
}

/// One value where a list is expected, a list where keys are expected, a short form of Docker: what to write is shown.
#[test]
fn a_list_or_map_in_the_form_of_another_tool_gets_ours() {
    let all = [
        ("command: sleep 10", "command: [sleep, \"10\"]"),
        ("command: echo a | cat", "command: [sh, -c, \"echo a | cat\"]"),
        ("command: [true]\noptional: memory, pids", "command: [true]\noptional: [memory, pids]"),
        ("env: [AB=1, CD=x y]", "env: { AB: \"1\", CD: \"x y\" }"),
        ("env: AB=1", "env: { AB: \"1\" }"),
        ("rlimits: [nofile=10]", "rlimits: { nofile: \"10\" }"),
        ("net:\n  publish: 8080:80", "net:\n  publish: [\"8080:80\"]"),
        ("net:\n  publish: { 8080: 80 }", "net:\n  publish: [\"8080:80\"]"),
        ("devices:\n  allow: /dev/fuse rw", "devices:\n  allow: [\"/dev/fuse rw\"]"),
        ("devices:\n  allow: c 1:3 rw", "devices:\n  allow: [\"c 1:3 rw\"]"),
        ("capabilities:\n  keep: NET_ADMIN", "capabilities:\n  keep: [NET_ADMIN]"),
        (
            "rootfs: host\nmnt:\n  mounts: ['/etc:/srv:ro']",
            "rootfs: host\nmnt:\n  mounts: [{ type: bind, source: /etc, target: /srv, readonly: true }]",
        ),
        (
            "rootfs: host\nmnt:\n  mounts: /etc:/srv",
            "rootfs: host\nmnt:\n  mounts: [{ type: bind, source: /etc, target: /srv }]",
        ),
        ("time: 10d", "time: { boottime: 10d }"),
    ];
    for (given, ours) in all {
        let (words, status) = check(given);
        assert_eq!(status, Some(125), "{given}");
        let value = ours.lines().last().unwrap().split_once(": ").unwrap().1;
        let value = value.trim_start_matches('[').trim_end_matches(']');
        assert!(words.contains(value) && words.contains("write "), "{given}: {words}");
        assert_eq!(check(ours).1, Some(0), "{ours}: {}", check(ours).0);
    }
    for given in ["pid: host", "ipc: host", "uts: host", "pid: false"] {
        let key = given.split(':').next().unwrap();
        assert!(check(given).0.contains(&format!("leave out the key {key}")), "{given}");
    }
}

/// Names of other tools below the top, and other capital letters.
#[test]
fn a_name_of_another_tool_gets_ours() {
    for (given, near) in [
        ("PID:", "pid"),
        ("net: { ports: ['80'] }", "publish"),
        ("memory: { max: 64m }", "limit"),
        ("pids: { limit: 3 }", "max"),
        ("mnt: { mounts: [{ type: bind, src: /etc, target: /mnt }] }", "source"),
        ("mnt: { mounts: [{ type: bind, source: /etc, dst: /mnt }] }", "target"),
        ("mnt: { mounts: [{ type: bind, source: /etc, target: /mnt, ro: true }] }", "readonly"),
        ("user: { uid_map: auto }", "map"),
        ("capabilities: { add: [NET_ADMIN] }", "keep"),
        ("seccomp: unconfined", "none"),
        ("rlimits: { NOFILE: 3 }", "nofile"),
        ("rlimits: { RLIMIT_NPROC: 3 }", "nproc"),
    ] {
        let (words, status) = check(given);
        assert_eq!(status, Some(125), "{given}");
        assert!(words.contains(&format!("did you mean {near}?")), "{given}: {words}");
    }
    // A name that is only spelled alike does not contradict the advice.
    assert!(!check("services: {}").0.contains("did you mean"));
    assert!(check("net: { mode: }").0.contains("found nothing"));
}

/// Values that no machine, or not this one, can have. What only the caller may not do is no mistake of the spec.
#[test]
fn values_that_contradict_each_other_are_named_by_check_too() {
    for (given, said) in [
        ("memory: { limit: 64m, reservation: 1g }", "The reservation, 1GiB, is larger than the limit"),
        ("cpu: { cpuset: 4000-4001 }", "no such CPU"),
        ("blkio: { read_bps: { /dev/no-such-disk: 1m } }", "/dev/no-such-disk"),
        ("net: { publish: ['8080:80', '8080:81'] }", "need the same port"),
        ("net: { publish: ['8080-8081:80', '8080:81', '8081:82'] }", "need each port of 8080-8081"),
        ("mnt: { mounts: [{ type: tmpfs, target: '' }] }", "a path must not be empty"),
    ] {
        let (words, status) = check(given);
        assert!(status == Some(125) && words.contains(said), "{given}: {words}");
    }
    for good in ["net: { publish: ['80:80'] }", "memory: { limit: 64m, reservation: 1g }\noptional: [memory]"]
    {
        let output = feed(&mut sandbox(&["spec", "check", "-"]), good);
        assert!(text(&output.stdout).starts_with("-: good; it has no command"), "{good}");
    }
}

#[test]
fn the_known_keys_are_listed_once() {
    let (words, _) = check("foooo: 1\nbaaar: 2\nquuux: 3\npid: { zzzzzz: 1, yyyyyy: 2 }\n");
    assert_eq!(words.matches("the known keys are name,").count(), 1, "{words}");
    assert_eq!(words.matches("the known keys are join, mount_proc").count(), 1, "{words}");
    assert_eq!(words.matches("unknown key").count(), 5, "{words}");
}

#[test]
fn what_is_missing_is_named_by_check_too() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let specs = [
        ("rootfs: ./nope\ncommand: [sh]\n", "nope"),
        ("rootfs: host\nmnt: { mounts: [{ type: bind, source: ./nope, target: /srv }] }\n", "/nope"),
        ("rootfs: host\ncommand: [no-such-program]\n", "no-such-program: command not found"),
        ("rootfs: host\ncommand: [/no/such/program]\n", "There is no file /no/such/program"),
        ("rootfs: ~/root\n", "~ is not expanded"),
        (
            "rootfs: host\nmnt: { mounts: [{ type: bind, source: ~/data, target: /srv }] }\n",
            "~ is not expanded",
        ),
    ];
    for (spec, said) in specs {
        fs::write(at("spec.yaml"), spec).unwrap();
        for command in [&["spec", "check"][..], &["run", "-q"]] {
            let output = run(&[command, &[&at("spec.yaml")]].concat());
            let words = text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
            // A spec without a command is complete: `run SPEC -- COMMAND`.
            if command[0] == "run" && words.contains("nothing to run") {
                continue;
            }
            assert!(words.contains(said), "{command:?} {spec}: {words}");
            assert!(![Some(0), Some(2)].contains(&output.status.code()), "{spec}: {words}");
        }
    }
}

#[test]
fn a_missing_spec_gets_a_line_that_makes_it() {
    let directory = tempfile::tempdir().unwrap();
    for (name, line) in [
        ("nofile.yaml", "sandbox spec init --for shell > nofile.yaml; sandbox run nofile.yaml"),
        (
            "./homework.yaml",
            "sandbox spec init --for homework > ./homework.yaml; sandbox run ./homework.yaml",
        ),
        ("a b.yaml", "sandbox spec init --for shell > 'a b.yaml'; sandbox run 'a b.yaml'"),
    ] {
        let output = sandbox(&["run", name]).current_dir(directory.path()).output().unwrap();
        let words = text(&output.stderr);
        assert!(
            words.contains("ENOENT (No such file or directory)") && !words.contains("os error"),
            "{words}"
        );
        let all = words.replace(" \\\n", "").split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(all.contains(line), "{words}");
    }
}

#[test]
fn a_typing_error_gets_the_name_that_was_meant() {
    let spec = "pid:\nrootfs: host\ncommand: ['true']\n";
    let output = feed(&mut sandbox(&["run", "--without", "pidd", "-"]), spec);
    assert!(text(&output.stderr).contains("did you mean pid?"), "{}", text(&output.stderr));
    for (arguments, near) in [
        (["pid", "--demo", "numbrs"], "did you mean numbers?"),
        (["pid", "--break", "nofork"], "did you mean no-fork?"),
        (["uts", "--demo", "nope"], "choose one of its cards:"),
        (["memory", "--demo", "kil"], "did you mean kill?"),
        (["seccomp", "--break", "x"], ""),
    ] {
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(2));
        let words = text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains(near), "{words}");
    }
}

#[test]
fn no_error_of_rusts_library_is_read_by_a_user() {
    let all: [&[&str]; 8] = [
        &["pids", "--max", "many"],
        &["pids", "--max", "99999999999999999999"],
        &["pids", "--max", ""],
        &["cpu", "--shares", "x"],
        &["user", "--map-user", "root"],
        &["run", "/no/such/file.yaml"],
        &["uts", "--svg", "/no/such/dir/x.svg"],
        &["man", "--dir", "/proc/no/such"],
    ];
    for arguments in all {
        let output = run(arguments);
        let words = text(&output.stderr);
        assert_ne!(output.status.code(), Some(0), "{arguments:?}");
        for raw in ["os error", "invalid digit", "in string", "target type", "float literal", "empty string"]
        {
            assert!(!words.contains(raw), "{arguments:?}: {words}");
        }
    }
}

#[test]
fn every_feature_has_a_mistake_that_shows_right_and_wrong() {
    let _alone = support::alone();
    for feature in ["uts", "cgroup", "time", "pids"] {
        let names = support::stdout(&[feature, "--break"]);
        let name = names.split_whitespace().next().unwrap();
        let output = run(&[feature, "--break", name, "--format", "json"]);
        let made: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(if made["skipped"].is_string() { 77 } else { 0 }), "{made}");
        if let Some(reason) = made["skipped"].as_str() {
            assert!(!is_root() || !["uts", "time", "pids"].contains(&feature), "{reason}");
            let reason = format!("machine: {feature}: {reason}");
            skip("every_feature_has_a_mistake_that_shows_right_and_wrong", &reason);
            continue;
        }
        assert_ne!(made["right"], made["wrong"], "{made}");
        let last =
            |way: &str| made[way].as_array().unwrap().last().unwrap()["value"].as_str().unwrap().to_owned();
        let (right, wrong) = match feature {
            "uts" => ("host".to_owned(), "aquarium".to_owned()),
            "cgroup" => ("/".to_owned(), last("wrong")),
            "time" => ("monotonic 0 0, boottime 60 0".into(), "monotonic 0 0, boottime 0 0".into()),
            _ => ("-1 EAGAIN (Try again)".into(), "8".into()),
        };
        let squeezed = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!((squeezed(last("right")), squeezed(last("wrong"))), (right, wrong), "{made}");
    }
}
