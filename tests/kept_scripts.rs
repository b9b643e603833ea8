//! What scripts that were written for Docker rely on: exit statuses, fields of templates, filters, forms of times.
//!
//! Judged by Docker's words and statuses, and by what the kernel shows of the containers.
//!
//! Other inputs of the same kind as the ones here:
//! - `kill` with each way to name SIGKILL, of several containers, of one that is paused or whose output nobody reads.
//! - every field of `docker inspect`, for containers with and without a root filesystem, a network, volumes.
//! - every filter of `docker ps`, alone and together, with several values.

mod support;

use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use support::kept::{KeptHome, lives};
use support::{state, text, wait_until};

fn send(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid.cast_signed()), signal).unwrap();
}

#[test]
fn a_killed_container_can_be_removed_at_once() {
    let home = KeptHome::new();
    for name in ["one", "two", "three"] {
        home.sleeper(name);
    }
    let commands = ["one", "two", "three"].map(|name| home.pid(name, "command"));
    home.out(&["kill", "one", "two", "three"]);
    assert_eq!(home.out(&["rm", "one", "two", "/three"]), "one\ntwo\n/three");
    assert!(!commands.into_iter().any(lives));
    // With -f, a container that does not exist has its message, and is no failure.
    assert!(home.refused(&["rm", "-f", "none"], 0).contains("No such container: none"));
    home.refused(&["rm", "none"], 1);
    // Docker sends SIGKILL, and has no event `stop` for it.
    home.sleeper("four");
    home.out(&["rm", "-f", "four"]);
    let events =
        ["events", "--since", "1h", "--until", "0s", "-f", "container=four", "--format", "{{.Action}}"];
    assert_eq!(home.out(&events).lines().collect::<Vec<_>>(), ["create", "start", "kill", "die", "destroy"]);
    home.is_empty();
}

#[test]
fn a_name_can_be_written_with_a_slash() {
    let home = KeptHome::new();
    let spec = home.spec("", "true");
    let id = home.out(&["create", "--name", "/web", &spec]);
    assert_eq!(home.out(&["inspect", "-f", "{{.Id}} {{.ID}} {{.Name}}", "/web"]), format!("{id} {id} /web"));
    home.out(&["rename", "/web", "/front"]);
    assert_eq!(home.out(&["ps", "-a", "--format", "{{.Names}}"]), "front");
    assert_eq!(home.out(&["rm", "/front"]), "/front");
    home.refused(&["rm", "//front"], 1);
    home.is_empty();
}

/// Runs of all HOMEs of a user are in the same directory.
#[test]
fn a_name_is_that_of_a_container_of_this_home() {
    let (home, other) = (KeptHome::new(), KeptHome::new());
    other.sleeper("web");
    home.out(&["create", "--name", "web", &home.spec("", "true")]);
    assert!(home.refused(&["exec", "web", "true"], 1).contains("is not running"));
    other.out(&["exec", "web", "true"]);
    other.out(&["rm", "-f", "web"]);
}

#[test]
fn a_refusal_has_dockers_exit_status() {
    let home = KeptHome::new();
    let spec = home.spec("", "true");
    home.out(&["create", "--name", "web", &spec]);
    for (words, status, part) in [
        (&["exec", "none", "true"][..], 1, "No such container: none"),
        (&["exec", "web", "true"], 1, "is not running"),
        (&["kill", "-s", "FOO", "web"], 1, "Invalid signal: FOO"),
        (&["kill", "-s", "0", "web"], 1, "Invalid signal: 0"),
        (&["kill", "--signal=99", "web"], 1, "Invalid signal: 99"),
        (&["stop", "-s", "FOO", "web"], 1, "Invalid signal: FOO"),
        (&["update", "--cpus", "0.001", "web"], 1, "--cpus"),
        (&["update", "--cpu-shares", "1", "web"], 1, "--cpu-shares"),
        (&["create", "--restart", "foo", &spec], 1, "invalid restart policy 'foo'"),
        (&["create", "--stop-signal", "FOO", &spec], 1, "Invalid signal: FOO"),
        (&["run", "-d", "--restart", "foo", &spec], 125, "invalid restart policy 'foo'"),
        (&["run", "-d", "--stop-signal", "FOO", &spec], 125, "Invalid signal: FOO"),
        (&["run", "-d", "--name", "web", &spec], 125, "already in use"),
        (&["run", "-d", "--name", "a/b", &spec], 125, "Invalid container name (a/b)"),
        (&["kill", "--no-such", "web"], 125, "unexpected argument"),
        (&["logs", "--since", "foo", "web"], 1, "expected a time"),
        (&["events", "--until", "foo"], 1, "expected a time"),
        (
            &["events", "--since", "10", "--until", "5"],
            1,
            "`since` time (10) cannot be after `until` time (5)",
        ),
        (&["inspect", "--type", "foo", "web"], 1, "foo"),
        (&["logs", "none"], 1, "No such container: none"),
        (&["port", "none"], 1, "No such container: none"),
        (&["top", "none"], 1, "No such container: none"),
        (&["attach", "none"], 1, "No such container: none"),
        (&["rename", "none", "x1"], 1, "No such container: none"),
        (&["rename", "web", ""], 1, "Neither old nor new names may be empty"),
        (&["run", "-d", "--restart", "always", "--rm", &spec], 125, "cannot specify both"),
        (&["create", "--log-opt", "compress=true", &spec], 125, "--log-opt compress is not supported"),
        (&["create", "--log-opt", "max-size=0", &spec], 125, "max-size must be a positive number"),
        (&["create", "--log-opt", "foo=1", &spec], 125, "unknown log opt 'foo'"),
        (&["create", "no-such.yaml"], 125, "> no-such.yaml; sandbox create"),
        (&["ps", "--format", "{{.Names"], 1, "template parsing error: template: unclosed action"),
        (&["inspect", "-f", "{{.Name", "web"], 1, "template parsing error: template: unclosed action"),
        (&["rm", "--link", "web"], 2, "--link"),
        (&["ps", "-f", "publish=80/dccp"], 1, "invalid filter"),
    ] {
        let message = home.refused(words, status);
        assert!(message.contains(part), "{words:?}: {message}");
    }
    // Docker's sentence is in one line, where a script looks for it.
    home.sleeper("other");
    let shown = text(&home.run(&["rm", "other"]).stderr);
    assert!(
        shown.contains("container is running: stop the container before removing or force remove\n"),
        "{shown}"
    );
    let shown = home.refused(&["start", "none", "other", "absent"], 1);
    assert!(shown.ends_with("Error: failed to start containers: none, absent"), "{shown}");
    let top = home.out(&["top", "other", "-e", "-o", "pid,comm"]);
    assert_eq!(top, format!("{:20}COMMAND\n{:<20}sleep", "PID", home.pid("other", "command")));
    home.out(&["stop", "-t", "0", "other"]);
    let format = "{{.Container}} {{.CPUPerc}} {{.MemUsage}} {{.PIDs}}";
    assert_eq!(home.out(&["stats", "--no-stream", "--format", format, "other"]), "other 0.00% 0B / 0B 0");
    home.out(&["create", "--name", "labelled", "--stop-timeout", "-1", "--label", "team=red", &spec]);
    assert_eq!(
        home.out(&["inspect", "--type", "container", "-f", "{{.Config.StopTimeout}}", "labelled"]),
        "-1"
    );
    let prune = |filter: &str| home.out(&["container", "prune", "-f", "--filter", filter]);
    prune("until=24h");
    prune("label=team=blue");
    assert_eq!(home.out(&["ps", "-aq"]).lines().count(), 3);
    prune("label!=team");
    assert_eq!(home.out(&["ps", "-a", "--format", "{{.Names}}"]), "labelled");
    prune("label=team=red");
    home.is_empty();
}

/// A template that asks for a key that is not there fails, so each key of Docker's is there.
#[test]
fn inspect_has_dockers_fields() {
    let home = KeptHome::new();
    let spec = home.spec("ipc:\nuts:\nnet:", "exec sleep 600");
    home.out(&["run", "-d", "-v", "data:/mnt:ro", "--label", "team=red", "--name", "web", &spec]);
    let of = |template: &str| home.out(&["inspect", "-f", template, "web"]);
    for (template, expected) in [
        ("{{.NetworkSettings.IPAddress}}|{{.HostConfig.NetworkMode}}", "|none"),
        (
            "{{range $name, $network := .NetworkSettings.Networks}}{{$name}}={{$network.IPAddress}}{{end}}",
            "none=",
        ),
        ("{{.HostConfig.Binds}} {{.HostConfig.PortBindings}}", "[data:/mnt:ro] map[]"),
        (
            "{{.HostConfig.Privileged}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.Init}}",
            "false false <nil>",
        ),
        ("{{.HostConfig.IpcMode}} {{.HostConfig.PidMode}}|{{len .HostConfig.CapAdd}}", "private |0"),
        (
            "{{.Config.Domainname}}{{.Config.ExposedPorts}} {{.Config.AttachStdout}} {{.Config.StdinOnce}}",
            "map[] false false",
        ),
        ("{{json .Config.Entrypoint}} {{.Driver}} {{.Platform}}", "null overlay2 linux"),
        (
            "{{.HostnamePath}}{{range .Mounts}}{{.Type}} {{.Name}} {{.Mode}}{{.RW}}{{end}}",
            "volume data rofalse",
        ),
    ] {
        assert_eq!(of(template), expected, "{template}");
    }
    assert!(home.out(&["inspect", "web"]).starts_with("[\n    {\n        \""), "as Docker's");
    for json in ["json", "{{json .}}"] {
        let line = home.out(&["inspect", "-f", json, "web", "web"]);
        let ids = line.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["Name"].clone());
        assert_eq!(ids.collect::<Vec<_>>(), ["/web", "/web"], "{json}");
    }
    let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
    assert_eq!(of("{{.Config.Hostname}}"), hostname);
    assert_eq!(home.out(&["inspect", "-s", "-f", "{{.SizeRw}}", "web"]), "0");
    home.out(&["rm", "-f", "web"]);
    home.out(&["volume", "rm", "data"]);
}

/// What a container is made with is read from its config, and not from the words of the command line.
#[test]
fn inspect_has_the_values_of_host_config() {
    let home = KeptHome::new();
    let spec = home.spec("rootfs: host\nipc:\nuts:\nnet:\ncgroup:", "true");
    let flags = "--ulimit nofile=64:128 --tmpfs /mnt:size=1m,noexec --sysctl net.ipv4.ip_forward=1 --dns 192.0.2.1 \
        --add-host db:192.0.2.2 --security-opt no-new-privileges --cap-add net_admin --cap-drop chown --shm-size 1m --init \
        --domainname lab --hostname box --read-only --restart on-failure:2 \
        --log-opt max-size=1k";
    let mut line = vec!["create", "--name", "web"];
    line.extend(flags.split_whitespace());
    // Rules for devices are for a cgroup, which not everybody may make.
    let has_devices =
        support::is_root() && support::limits::may("inspect_has_the_values_of_host_config", "devices");
    if has_devices {
        line.extend(["--device", "/dev/null:rw", "--device-cgroup-rule", "a"]);
    }
    home.out(&[&line[..], &[&spec]].concat());
    let found: Value =
        serde_json::from_str(&home.out(&["inspect", "-f", "{{json .HostConfig}}", "web"])).unwrap();
    for (key, expected) in [
        ("/Ulimits", json!([{ "Name": "nofile", "Soft": 64, "Hard": 128 }])),
        ("/Tmpfs/~1mnt", json!("nosuid,nodev,size=1048576,noexec")),
        ("/Sysctls", json!({ "net.ipv4.ip_forward": "1" })),
        ("/Dns", json!(["192.0.2.1"])),
        ("/ExtraHosts", json!(["db:192.0.2.2"])),
        ("/SecurityOpt/0", json!("no-new-privileges")),
        ("/CapAdd", json!(["CAP_NET_ADMIN"])),
        ("/CapDrop", json!(["CAP_CHOWN"])),
        ("/ShmSize", json!(1 << 20)),
        ("/Init", json!(true)),
        ("/ReadonlyRootfs", json!(true)),
        ("/RestartPolicy", json!({ "Name": "on-failure", "MaximumRetryCount": 2 })),
        ("/LogConfig", json!({ "Type": "json-file", "Config": { "max-size": "1k" } })),
        ("/NetworkMode", json!("none")),
        ("/IpcMode", json!("private")),
        ("/CgroupnsMode", json!("private")),
        ("/MaskedPaths/0", json!("/proc/acpi")),
        ("/BlkioDeviceReadBps", json!([])),
    ] {
        assert_eq!(found.pointer(key), Some(&expected), "{key}: {found}");
    }
    if has_devices {
        let device =
            json!({ "PathOnHost": "/dev/null", "PathInContainer": "/dev/null", "CgroupPermissions": "rw" });
        assert_eq!((&found["Devices"], &found["DeviceCgroupRules"]), (&json!([device]), &json!(["a"])));
    }
    assert_eq!(home.out(&["inspect", "-f", "{{.Config.Hostname}}.{{.Config.Domainname}}", "web"]), "box.lab");
    home.out(&["rm", "web"]);
}

/// `inspect` finds each kind of thing by its name, a container before an image before a volume.
#[test]
fn inspect_finds_images_and_volumes() {
    let home = KeptHome::new();
    home.out(&["image", "from-host", "tool", "true"]);
    home.out(&["volume", "create", "tool"]);
    home.out(&["volume", "create", "data"]);
    let of = |words: &[&str]| home.out(&[&["inspect", "-f", "{{json .}}"], words].concat());
    let kind = |line: String| {
        let found: Value = serde_json::from_str(&line).unwrap();
        ["RepoTags", "Mountpoint", "HostConfig"].into_iter().find(|key| found.get(key).is_some()).unwrap()
    };
    for (words, expected) in [
        (&["tool"][..], "RepoTags"),
        (&["tool:latest"], "RepoTags"),
        (&["data"], "Mountpoint"),
        (&["--type", "volume", "tool"], "Mountpoint"),
        (&["--type", "image", "tool"], "RepoTags"),
    ] {
        assert_eq!(kind(of(words)), expected, "{words:?}");
    }
    assert_eq!(
        home.out(&["image", "inspect", "-f", "{{json .Config.Entrypoint}} {{.RepoTags}}", "tool"]),
        "null [tool:latest]"
    );
    home.out(&["create", "--name", "tool", "--network", "none", "--entrypoint", "true", "tool", "-x"]);
    assert_eq!(kind(of(&["tool"])), "HostConfig");
    let command = "{{json .Config.Entrypoint}} {{json .Config.Cmd}}";
    assert_eq!(home.out(&["inspect", "-f", command, "tool"]), r#"["true"] ["-x"]"#);
    let output = home.run(&["inspect", "-s", "data"]);
    assert!(output.status.success() && text(&output.stderr).contains("--size is ignored for a volume"));
    for (kind, message) in [
        (&["absent"][..], "No such object: absent"),
        (&["--type", "container", "absent"], "No such container: absent"),
        (&["--type", "image", "absent"], "No such image: absent:latest"),
        (&["--type", "volume", "absent"], "no such volume"),
    ] {
        let output = home.run(&[&["inspect"], kind].concat());
        assert!(text(&output.stderr).contains(message), "{kind:?}: {output:?}");
        assert_eq!((output.status.code(), text(&output.stdout).trim()), (Some(1), "[]"), "{kind:?}");
    }
    home.out(&["rm", "tool"]);
    home.out(&["volume", "rm", "tool", "data"]);
}

#[test]
fn ps_has_dockers_filters() {
    let home = KeptHome::new();
    let spec = home.spec("net:", "exec sleep 600");
    let around = home.around().to_str().unwrap().to_owned();
    let bind =
        home.spec(&format!("rootfs: host\nmnt: {{bind: [{{source: {around}, target: /mnt}}]}}"), "true");
    for (name, spec) in [("first", &spec), ("second", &bind), ("third", &spec)] {
        home.out(&["create", "--name", name, "--label", &format!("com.example.name={name}"), spec]);
    }
    let names = |filters: &[&str]| {
        let mut words = vec!["ps", "-a", "--format", "{{.Names}}"];
        filters.iter().for_each(|filter| words.extend(["-f", filter]));
        home.out(&words).lines().map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    for (filters, expected) in [
        (&["before=second"][..], "first"),
        (&["since=/second"], "third"),
        (&["since=first", "before=third"], "second"),
        (&["network=none"], "third first"),
        (&["network=host"], "second"),
        (&["health=none", "is-task=false", "volume=/mnt"], "second"),
        (&[&format!("volume={around}")], "second"),
        (&["health=healthy"], ""),
        (&["ancestor=host:latest"], "third second first"),
        (&["isolation=default"], "third second first"),
        (&["publish=18000-18010/udp"], ""),
        (&["label=com.example.name=third"], "third"),
    ] {
        assert_eq!(names(filters), expected, "{filters:?}");
    }
    home.refused(&["ps", "-f", "publish=x"], 1);
    home.refused(&["ps", "-f", "before=none"], 1);
    let row = |format: &str| home.out(&["ps", "-a", "-f", "name=third", "--format", format]);
    assert_eq!(row("{{.Label \"com.example.name\"}} {{.Networks}}"), "third none");
    assert_eq!(row("table {{.Names}}\\t{{.Label \"com.example.name\"}}"), "NAMES     name\nthird     third");
    let created = row("{{.CreatedAt}}");
    assert!(created.len() == 29 && created.ends_with(" +0000 UTC"), "{created}");
    assert_eq!(home.out(&["ps", "-a", "-q", "-n", "-1"]).lines().count(), 3);
    home.out(&["rm", "first", "second", "third"]);
    home.is_empty();
}

#[test]
fn times_have_gos_forms() {
    let home = KeptHome::new();
    let spec = home.spec("", "echo up");
    home.out(&["create", "--name", "web", "--label", "team=red", &spec]);
    home.out(&["start", "-a", "web"]);
    let is_whole = |time: &str| time.len() == 30 && time.ends_with('Z');
    let log = home.out(&["logs", "-t", "--since", "1h30m", "web"]);
    assert!(log.split_once(' ').is_some_and(|(time, line)| is_whole(time) && line == "up"), "{log}");
    let events = home.out(&[
        "events",
        "--since",
        "1.5h",
        "--until",
        "0s",
        "-f",
        "label=team=red",
        "-f",
        "event=start",
    ]);
    assert!(is_whole(events.split(' ').next().unwrap()) && events.contains("team=red"), "{events}");
    let format = "{{.Time}} {{.TimeNano}} {{.Status}} {{.ID}} {{.From}} {{.Scope}}";
    let events =
        home.out(&["events", "--since", "1h", "--until", "0s", "-f", "event=start", "--format", format]);
    let id = home.out(&["inspect", "-f", "{{.Id}}", "web"]);
    assert!(events.ends_with(&format!("start {id} host local")), "{events}");
    home.out(&["rm", "web"]);
}

/// The supervisor is stopped by a signal: the client does not wait for ever, and it can be ended.
#[test]
fn attach_ends_when_nobody_answers() {
    let home = KeptHome::new();
    home.sleeper("web");
    let supervisor = home.pid("web", "supervisor");
    send(supervisor, Signal::SIGSTOP);
    wait_until("it is stopped", || state(supervisor) == 'T');
    let attach =
        || home.command(&["attach", "web"]).stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut ended, waiting) = (attach(), attach());
    // From then on, only what the client does itself can end it.
    let blocks = |pid: u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:\t"));
        mask.is_some_and(|mask| u64::from_str_radix(mask, 16).is_ok_and(|mask| mask & (1 << 14) != 0))
    };
    wait_until("it reads its signals", || blocks(ended.id()));
    wait_until("the signal has ended it", || {
        send(ended.id(), Signal::SIGTERM);
        ended.try_wait().unwrap().is_some()
    });
    let waited = waiting.wait_with_output().unwrap();
    let message = text(&waited.stderr);
    assert!(waited.status.code() == Some(125) && message.contains("does not answer"), "{message}");
    send(supervisor, Signal::SIGCONT);
    home.out(&["rm", "-f", "web"]);
}

/// Missing and surplus arguments, unknown subcommands, wrong flags and values: the statuses and the words of docker 28.
#[test]
fn a_wrong_line_ends_as_in_docker() {
    let home = KeptHome::new();
    for (line, status, words) in [
        ("stop", 1, "'sandbox stop' requires at least 1 argument"),
        ("start", 1, "'sandbox start' requires at least 1 argument"),
        ("container stop", 1, "'sandbox container stop' requires at least 1 argument"),
        ("rename a", 1, "'sandbox rename' requires 2 arguments"),
        ("ps a", 1, "'sandbox ps' accepts no arguments"),
        ("container list a", 1, "'sandbox container ls' accepts no arguments"),
        ("logs a b", 1, "'sandbox logs' requires 1 argument"),
        ("port a b c", 1, "'sandbox port' requires at least 1 and at most 2 arguments"),
        ("container foo", 1, "unknown command: sandbox container foo"),
        ("container", 0, "container ls"),
        ("volume", 0, "prune"),
        ("stop --foo a", 125, "--foo"),
        ("stop -t x a", 125, "--timeout"),
        ("stop -t", 125, "--timeout"),
        // The value of a flag is not the name of the command.
        ("ps -f update -n x", 125, "--last"),
        ("rm --force=x a", 125, "--force"),
        ("logs --since -5 a", 1, "'-5'"),
        ("kill -s -1 a", 1, "Invalid signal: -1"),
        ("update --cpus -1 a", 1, "'-1'"),
        // These are not Docker's.
        ("verify", 2, "required"),
        ("pid --foo", 2, "--foo"),
    ] {
        let message = home.refused(&line.split(' ').collect::<Vec<_>>(), status);
        assert!(message.contains(words), "{line}: {message}");
    }
}
