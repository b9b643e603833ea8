//! The daemon, with the settings that clients other than Docker's command line send: profiles in the body, descriptions of other
//! containers, keys in other case, archives that are compressed.
//!
//! Judged by what the kernel shows in the container, by its files, and by the answers.
//!
//! Other inputs of the same kind as the ones here:
//! - lists, numbers and texts in the place of each other, in each setting of a body.
//! - settings that contradict each other, in pairs.
#![cfg(feature = "daemon")]

mod support;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::daemon::{RunningDaemon, create, frames, read_head, script};
use support::text;

fn daemon() -> RunningDaemon {
    let daemon = RunningDaemon::start();
    daemon.image("app:1");
    daemon
}

/// What a container with this body prints.
fn printed(daemon: &RunningDaemon, body: &Value) -> String {
    let id = create(daemon, "", body);
    daemon.post(&format!("/containers/{id}/start"));
    daemon.post(&format!("/containers/{id}/wait"));
    let (_, _, log) = daemon.ask_bytes("GET", &format!("/containers/{id}/logs?stdout=1&stderr=1"), &[], b"");
    let log: String = frames(&log).into_iter().map(|frame| frame.1).collect();
    log.trim_end().to_owned()
}

#[test]
fn the_profile_in_a_body_is_the_filter() {
    let daemon = daemon();
    let profile = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}"#;
    let mut body = script("mkdir /tmp/new || echo refused; cat /proc/self/status");
    let option = format!("seccomp={profile}");
    // Longer than a word of a command line may be.
    let long = format!("seccomp={{{}{}", " ".repeat(200 << 10), &profile[1..]);
    for written in [&option, &long] {
        body["HostConfig"]["SecurityOpt"] = json!([written]);
        let shown = printed(&daemon, &body);
        assert!(shown.contains("refused") && shown.contains("Seccomp:\t2"), "{shown}");
    }
    body["HostConfig"]["SecurityOpt"] = json!([option]);
    let id = create(&daemon, "", &body);
    let inspected = daemon.get(&format!("/containers/{id}/json"));
    assert_eq!(inspected["HostConfig"]["SecurityOpt"], json!([option]));
    // The same word on a command line, as the trace prints it.
    let option = format!("--security-opt=seccomp={profile}");
    let line = ["run", "--rm", "--network=none", &option, "app:1", "mkdir", "/tmp/new"];
    assert!(!daemon.home.command(&line).output().unwrap().status.success());
    for wrong in ["seccomp={", "seccomp={\"defaultAction\": \"SCMP_ACT_NONE\"}"] {
        body["HostConfig"]["SecurityOpt"] = json!([wrong]);
        let (status, answer) = daemon.ask("POST", "/containers/create", &body);
        let message = answer["message"].to_string();
        assert!(
            status == 400 && message.contains("seccomp.json") && !message.contains("daemon-auth"),
            "{message}"
        );
    }
}

#[test]
fn a_container_is_made_again_from_its_description() {
    let daemon = daemon();
    for more in [
        json!({}),
        json!({ "HostConfig": { "NetworkMode": "host" } }),
        json!({ "HostConfig": { "NetworkMode": "default", "PortBindings": { "80/tcp": [{ "HostPort": "" }] } } }),
        json!({ "HostConfig": { "NetworkMode": "none", "Privileged": true } }),
        json!({ "Volumes": { "/anon": {} }, "HostConfig": { "NetworkMode": "none", "Binds": ["/tmp:/host:ro", "data:/data"],
            "Tmpfs": { "/memory": "" }, "Mounts": [{ "Type": "tmpfs", "Target": "/other" }] } }),
        json!({ "Tty": true, "OpenStdin": true, "HostConfig": { "NetworkMode": "none", "Init": true,
            "SecurityOpt": ["no-new-privileges"], "MaskedPaths": null, "ReadonlyPaths": null } }),
    ] {
        let mut body = script("sleep 60");
        for (key, value) in more.as_object().unwrap() {
            body[key] = value.clone();
        }
        let id = create(&daemon, "", &body);
        let old = daemon.get(&format!("/containers/{id}/json"));
        let mut again = old["Config"].clone();
        again["HostConfig"] = old["HostConfig"].clone();
        again["NetworkingConfig"] = json!({ "EndpointsConfig": old["NetworkSettings"]["Networks"] });
        let made = create(&daemon, "", &again);
        let new = daemon.get(&format!("/containers/{made}/json"));
        assert_eq!(new["HostConfig"], old["HostConfig"], "{more}");
        assert_eq!(new["Config"], old["Config"], "{more}");
    }
    // The list of Docker 28, and one of somebody else.
    let mut body = script("cat /proc/keys; echo read");
    let dockers = json!([
        "/proc/asound",
        "/proc/acpi",
        "/proc/interrupts",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/timer_list",
        "/proc/timer_stats",
        "/proc/sched_debug",
        "/proc/scsi",
        "/sys/firmware",
        "/sys/devices/virtual/powercap",
        "/sys/devices/system/cpu/cpu0/thermal_throttle",
    ]);
    body["HostConfig"]["MaskedPaths"] = dockers;
    assert_eq!(printed(&daemon, &body), "read");
    for list in [json!(["/proc/keys"]), json!(["/etc"])] {
        body["HostConfig"]["MaskedPaths"] = list;
        assert_eq!(daemon.ask("POST", "/containers/create", &body).0, 400);
    }
}

#[test]
fn bodies_that_docker_refuses_are_refused() {
    let daemon = daemon();
    for (key, value) in [
        ("Env", json!("A=b")),
        ("Env", json!(["=x"])),
        ("Env", json!([""])),
        ("Cmd", json!(["x".repeat(200 << 10)])),
    ] {
        let mut body = script("exit 0");
        body[key] = value.clone();
        let (status, answer) = daemon.ask("POST", "/containers/create", &body);
        assert_eq!(status, 400, "{key} {answer}");
    }
    for (key, value, words) in [
        ("Binds", json!("/tmp:/x"), "Binds"),
        ("Binds", json!(["./x:/x"]), "If you intended to pass a host directory, use absolute path"),
        ("Binds", json!(["a/b:/x"]), "invalid characters for a local volume name"),
        ("Binds", json!(["/tmp:/"]), "destination can't be '/'"),
        ("Binds", json!(["/tmp:/x:cached,delegated"]), "invalid mode"),
        ("Dns", json!("1.2.3.4"), "Dns"),
        ("CpusetCpus", json!("99999"), "no such CPU"),
        ("LogConfig", json!({ "Type": "json-file", "Config": { "foo": "1" } }), "unknown log opt 'foo'"),
        ("Mounts", json!([{ "Type": "bind", "Source": "/tmp" }]), "field Target must not be empty"),
        ("Mounts", json!([{ "Type": "bind", "Target": "/x" }]), "field Source must not be empty"),
        ("Mounts", json!([{ "Type": "bind", "Source": "x", "Target": "/x" }]), "mount path must be absolute"),
        (
            "Mounts",
            json!([{ "Type": "tmpfs", "Source": "x", "Target": "/x" }]),
            "field Source must not be specified",
        ),
    ] {
        let mut body = script("exit 0");
        body["HostConfig"][key] = value.clone();
        let (status, answer) = daemon.ask("POST", "/containers/create", &body);
        let message = answer["message"].as_str().unwrap_or_default();
        assert!(status == 400 && message.contains(words), "{key} {value} {status} {answer}");
    }
    let id = create(&daemon, "", &script("exit 0"));
    for (method, path) in [
        ("POST", format!("/commit?container={id}&changes=FOO")),
        ("POST", "/images/prune?filters={\"until\":[\"bogus\"]}".to_owned()),
        ("POST", "/build/prune?filters={\"until\":[\"bogus\"]}".to_owned()),
        ("POST", "/images/prune?filters={\"dangling\":[\"maybe\"]}".to_owned()),
        ("POST", "/volumes/prune?filters={\"all\":[\"true\",\"false\"]}".to_owned()),
        ("GET", "/images/json?filters={\"dangling\":[\"maybe\"]}".to_owned()),
        ("GET", "/volumes?filters={\"dangling\":[\"maybe\"]}".to_owned()),
        ("GET", "/networks?filters={\"dangling\":[\"maybe\"]}".to_owned()),
    ] {
        let (status, answer) = daemon.ask(method, &path, &Value::Null);
        assert_eq!(status, 400, "{path} {answer}");
    }
    let (status, answer) = daemon.ask("POST", "/build/prune?filters={\"label\":[\"x\"]}", &Value::Null);
    assert!(status == 200 && answer["SpaceReclaimed"] == 0, "{answer}");
}

#[test]
fn what_other_clients_write_is_understood() {
    let daemon = daemon();
    let made = daemon.home.around().join("made/here");
    let body = json!({
        "image": "app:1", "CMD": ["sh", "-c", "cat /etc/hosts; ls /here"], "hostname": "foo", "domainName": "bar.com",
        "Labels": { "Image": "a", "image": "b" },
        "hostConfig": {
            "networkmode": "none", "binds": ["/tmp:/c:ro,cached", "/tmp:/d:delegated"],
            "mounts": [{ "type": "bind", "source": made, "target": "/here", "bindoptions": { "createmountpoint": true } }],
        },
    });
    let shown = printed(&daemon, &body);
    assert!(shown.ends_with("\tfoo.bar.com foo"), "{shown}");
    assert!(made.is_dir());
    let id = create(&daemon, "", &body);
    let inspected = daemon.get(&format!("/containers/{id}/json"));
    let labels = &inspected["Config"]["Labels"];
    assert!(labels["Image"] == "a" && labels["image"] == "b", "{labels}");
    assert!(inspected["HostConfig"].get("binds").is_none() && inspected["HostConfig"]["Binds"].is_array());
}

#[test]
fn an_archive_may_be_compressed() {
    let daemon = daemon();
    let id = create(&daemon, "", &script("sleep 60"));
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(3);
    header.set_mode(0o4755);
    archive.append_data(&mut header, "file", &b"abc"[..]).unwrap();
    let plain = archive.into_inner().unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&plain).unwrap();
    for (name, bytes) in [("plain", plain), ("gzip", gzip.finish().unwrap())] {
        let path = format!("/containers/{id}/archive?path=/srv");
        let (status, head, answer) =
            daemon.ask_bytes("PUT", &path, &["Content-Type: application/x-tar"], &bytes);
        assert_eq!(status, 200, "{name} {}", text(&answer));
        // Other bytes of the request must not be taken for the next one.
        assert!(head.to_ascii_lowercase().contains("connection: close"), "{head}");
        let (_, head, _) =
            daemon.ask_bytes("HEAD", &format!("/containers/{id}/archive?path=/srv/file"), &[], b"");
        let stat = head.lines().find_map(|line| line.strip_prefix("x-docker-container-path-stat: ")).unwrap();
        let stat = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, stat.trim()).unwrap();
        let stat: Value = serde_json::from_slice(&stat).unwrap();
        assert_eq!((&stat["size"], &stat["mode"]), (&json!(3), &json!(0o755 | 1 << 23)), "{name}");
    }
}

/// Attaches to a container, and takes the connection over.
fn attached(daemon: &RunningDaemon, id: &str, query: &str) -> std::os::unix::net::UnixStream {
    let mut stream = daemon.connect();
    let head = "Host: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0";
    write!(stream, "POST /containers/{id}/attach?stream=1&{query} HTTP/1.1\r\n{head}\r\n\r\n").unwrap();
    assert_eq!(read_head(&mut stream).0, 101);
    stream
}

#[test]
fn the_end_of_input_ends_an_attach_unless_it_is_that_of_the_container() {
    let daemon = daemon();
    for (terminal, once) in [(false, false), (true, false), (false, true)] {
        let mut body =
            script("while read line; do echo $line > /tmp/read; echo $line; done; sleep 0.2; echo end");
        (body["OpenStdin"], body["Tty"]) = (json!(true), json!(terminal));
        (body["StdinOnce"], body["AttachStdin"]) = (json!(once), json!(once));
        let id = create(&daemon, "", &body);
        daemon.post(&format!("/containers/{id}/start"));
        let mut stream = attached(&daemon, &id, "stdin=1&stdout=1");
        stream.write_all(b"typed\n").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut out = Vec::new();
        stream.read_to_end(&mut out).unwrap();
        let state = daemon.get(&format!("/containers/{id}/json"))["State"]["Status"].clone();
        if once {
            let out: String = frames(&out).into_iter().map(|frame| frame.1).collect();
            assert_eq!(out, "typed\nend\n");
        } else {
            assert_eq!(state, "running", "{terminal}");
            support::wait_until("the input is read", || {
                daemon.ask("HEAD", &format!("/containers/{id}/archive?path=/tmp/read"), &Value::Null).0 == 200
            });
        }
    }
}

#[test]
fn a_client_that_does_not_read_delays_a_stop_by_two_seconds() {
    let daemon = daemon();
    for is_front in [true, false] {
        let id = create(
            &daemon,
            "",
            &script("while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done"),
        );
        let start = || daemon.post(&format!("/containers/{id}/start"));
        let stream = if is_front {
            let stream = attached(&daemon, &id, "stdout=1");
            start();
            stream
        } else {
            start();
            attached(&daemon, &id, "stdout=1")
        };
        std::thread::sleep(Duration::from_secs(1));
        let began = Instant::now();
        daemon.post(&format!("/containers/{id}/stop?t=0"));
        assert!(began.elapsed() < Duration::from_secs(5), "{is_front} {:?}", began.elapsed());
        drop(stream);
    }
}

#[test]
fn the_end_of_the_last_run_is_known_during_the_next() {
    let daemon = daemon();
    let id = create(&daemon, "", &script("sleep 1"));
    let state = || daemon.get(&format!("/containers/{id}/json"))["State"].clone();
    daemon.post(&format!("/containers/{id}/start"));
    assert_eq!(state()["FinishedAt"], "0001-01-01T00:00:00Z");
    daemon.post(&format!("/containers/{id}/wait"));
    let ended = state()["FinishedAt"].clone();
    daemon.post(&format!("/containers/{id}/start"));
    let now = state();
    assert!(now["FinishedAt"] == ended && now["Running"] == true, "{now}");
}

#[test]
fn a_further_command_has_the_size_of_the_clients_terminal_from_the_start() {
    let daemon = daemon();
    let id = create(&daemon, "", &script("sleep 60"));
    daemon.post(&format!("/containers/{id}/start"));
    for (version, at_create, at_start, size) in [
        ("", json!([31, 101]), Value::Null, "31 101"),
        ("", Value::Null, json!([5, 6]), "5 6"),
        ("", json!([31, 101]), json!([5, 6]), "5 6"),
        ("", Value::Null, Value::Null, "24 80"),
        // The key is newer than this version.
        ("/v1.41", json!([31, 101]), json!([5, 6]), "24 80"),
    ] {
        let body = json!({ "Cmd": ["stty", "size"], "Tty": true, "AttachStdin": true, "AttachStdout": true, "ConsoleSize": at_create });
        let (_, made) = daemon.ask("POST", &format!("{version}/containers/{id}/exec"), &body);
        let path = format!("{version}/exec/{}/start", made["Id"].as_str().unwrap());
        let (_, out) = daemon.ask("POST", &path, &json!({ "Tty": true, "ConsoleSize": at_start }));
        assert_eq!(out.as_str().unwrap_or_default().trim_end(), size);
    }
}

#[test]
fn a_prune_has_an_event() {
    let daemon = daemon();
    create(&daemon, "", &script("exit 0"));
    for kind in ["containers", "volumes", "images", "networks"] {
        daemon.post(&format!("/{kind}/prune"));
    }
    let (_, _, events) =
        daemon.ask_bytes("GET", "/events?since=1&until=1&filters={\"event\":[\"prune\"]}", &[], b"");
    assert!(events.is_empty());
    let until = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + 1;
    let path = format!("/events?since=1&until={until}&filters={{\"event\":[\"prune\"]}}");
    let (_, _, events) = daemon.ask_bytes("GET", &path, &[], b"");
    let events = text(&events);
    let events: Vec<Value> = events.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let kinds: Vec<_> = events.iter().map(|event| event["Type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["container", "volume", "image", "network"]);
    assert!(events.iter().all(|event| event["Actor"]["Attributes"]["reclaimed"].is_string()), "{events:?}");
}
