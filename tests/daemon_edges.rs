//! The daemon, at the edges of what clients send: forms of a request that Docker takes, values that Docker refuses, and moments in
//! which something just ends.
//!
//! Judged by the answers, and by what the kernel shows of the containers and the files.
//!
//! Other inputs of the same kind as the ones here:
//! - numbers with a fraction, an exponent, or outside of 64 bits, in each setting that is a number.
//! - containers that end before, during and after the request that waits for them.
#![cfg(feature = "daemon")]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use support::daemon::{RunningDaemon, create, exchange, frames, read_head, script};
use support::kept::{KeptHome, in_run, lives};
use support::lab::ran_with_loopback;
use support::{is_root, rounds, text, wait_until};

/// What a container with this body prints.
fn printed(daemon: &RunningDaemon, query: &str, body: &Value) -> String {
    let id = create(daemon, query, body);
    daemon.post(&format!("/containers/{id}/start"));
    daemon.post(&format!("/containers/{id}/wait"));
    let (_, _, log) = daemon.ask_bytes("GET", &format!("/containers/{id}/logs?stdout=1"), &[], b"");
    let log = if body["Tty"] == true {
        text(&log)
    } else {
        frames(&log).into_iter().map(|frame| frame.1).collect()
    };
    daemon.ask("DELETE", &format!("/containers/{id}"), &Value::Null);
    log.trim_end().to_owned()
}

#[test]
fn a_context_may_end_right_after_its_last_byte() {
    let daemon = RunningDaemon::start();
    daemon.image("app:1");
    // As docker sends a Dockerfile from outside: the last file has no padding, and nothing follows.
    let content = b"FROM app:1\nRUN echo built\n";
    let mut header = tar::Header::new_ustar();
    header.set_path("Dockerfile").unwrap();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    let whole = [header.as_bytes(), &content[..]].concat();
    for length in [whole.len(), whole.len() - 1, 100] {
        let build = |context: &[u8]| daemon.ask_bytes("POST", "/build?networkmode=none", &[], context).2;
        let answer = text(&build(&whole[..length]));
        assert_eq!(answer.contains("built"), length == whole.len(), "{length} {answer}");
    }
}

#[test]
fn a_client_that_waits_for_a_container_that_ends_at_once_gets_its_exit_status() {
    let daemon = RunningDaemon::start();
    daemon.image("app:1");
    let mut body = script("exit 7");
    body["HostConfig"]["AutoRemove"] = json!(true);
    for condition in ["", "?condition=next-exit", "?condition=removed"] {
        for pause in [0, 0, 1, 5, 10, 20, 30] {
            let id = create(&daemon, "", &body);
            daemon.post(&format!("/containers/{id}/start"));
            std::thread::sleep(Duration::from_millis(pause));
            let (status, answer) =
                daemon.ask("POST", &format!("/containers/{id}/wait{condition}"), &Value::Null);
            // It may be removed already.
            assert!(status == 404 || answer["StatusCode"] == 7, "{condition} {pause} {status} {answer}");
        }
    }
}

#[test]
fn a_container_is_never_lost_for_those_who_look_while_it_ends() {
    let daemon = RunningDaemon::start();
    daemon.image("app:1");
    let looks = |path: &str| daemon.ask("GET", path, &Value::Null);
    let kept = create(&daemon, "", &script("exit 7"));
    let until_ended = |id: &str| {
        loop {
            let (status, shown) = looks(&format!("/containers/{id}/json"));
            // One that is removed at its end is there, or it is not.
            if status == 404 && id != kept {
                return;
            }
            let (now, code) = (&shown["State"]["Status"], &shown["State"]["ExitCode"]);
            let is_right = now == "running" && code == 0 || now == "exited" && code == 7;
            assert!(status == 200 && is_right, "{status} {shown}");
            if now == "exited" && id == kept {
                return;
            }
            let (status, all) = looks("/containers/json?all=1");
            let is_whole = |row: &Value| row["Names"] != json!([]) && row["Command"] != "";
            assert!(status == 200 && all.as_array().unwrap().iter().all(is_whole), "{status} {all}");
        }
    };
    for _ in 0..rounds(5) {
        let mut body = script("exit 7");
        body["HostConfig"]["AutoRemove"] = json!(true);
        let removed = create(&daemon, "", &body);
        for id in [&kept, &removed] {
            daemon.post(&format!("/containers/{id}/start"));
            std::thread::scope(|scope| {
                (0..4).for_each(|_| drop(scope.spawn(|| until_ended(id))));
            });
        }
    }
}

#[test]
fn a_path_may_have_quotes_and_each_refusal_has_a_message() {
    let daemon = RunningDaemon::start();
    daemon.image("app:1");
    let mut body = script("exit 0");
    body["Labels"] = json!({ "é": "<\">" });
    create(&daemon, "?name=web", &body);
    let filters = "{\"label\":[\"é=<\\\">\"]}";
    let path = format!("/containers/json?all=1&filters={filters}");
    let asked = |stream: &mut std::os::unix::net::UnixStream, head: &str, body: &str| {
        let length = body.len();
        write!(stream, "{head} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
        let (status, head) = read_head(stream);
        let length = head.to_ascii_lowercase();
        let length = length.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let mut answer = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut answer).unwrap();
        (status, text(&answer))
    };
    // Several on one connection, with a body between them that looks like a request.
    let mut stream = daemon.connect();
    for _ in 0..3 {
        let (status, rows) = asked(&mut stream, &format!("GET {path}"), "");
        assert!(status == 200 && rows.contains("/web"), "{status} {rows}");
        let body = "{\"Name\":\"data\",\"Labels\":{\"GET /<\\\"> HTTP/1.1\":\"<\\\"é>\"}}";
        let (status, made) = asked(&mut stream, "POST /volumes/create", body);
        assert!(status == 201 && made.contains("GET /<\\\"> HTTP/1.1") && made.contains("<\\\"é>"), "{made}");
    }
    let by_command: Value = serde_json::from_str(&daemon.home.out(&[
        "api",
        "--host",
        &format!("unix://{}", daemon.socket().display()),
        "GET",
        &format!("{path} "),
    ]))
    .unwrap_or_default();
    assert_eq!(by_command[0]["Names"], json!(["/web"]));
    let long = "a".repeat(70 << 10);
    for (request, status) in [
        ("GET /a b HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), 400),
        ("nonsense\r\n\r\n".to_owned(), 400),
        (format!("GET /_ping HTTP/1.1\r\nHost: x\r\nX: {long}\r\n\r\n"), 431),
    ] {
        let mut stream = daemon.connect();
        let _ = stream.write_all(request.as_bytes());
        let (found, head) = read_head(&mut stream);
        let mut body = String::new();
        let _ = stream.read_to_string(&mut body);
        let body: Value = serde_json::from_str(&body).unwrap();
        assert!(head.contains("application/json") && !body["message"].as_str().unwrap().is_empty());
        assert_eq!(found, status, "{head}");
    }
}

/// A daemon in the background, for a HOME.
fn started(home: &KeptHome) -> u32 {
    home.out(&["daemon", "start"]);
    running(home)
}

fn running(home: &KeptHome) -> u32 {
    let status: Value = serde_json::from_str(&home.out(&["daemon", "status", "--format", "json"])).unwrap();
    u32::try_from(status["pid"].as_u64().unwrap()).unwrap()
}

fn kill(pid: u32) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), nix::sys::signal::Signal::SIGKILL)
        .unwrap();
}

#[test]
fn a_daemon_can_be_started_at_once_after_another_was_killed() {
    let home = KeptHome::new();
    let mut pid = started(&home);
    for _ in 0..20 {
        kill(pid);
        let next = started(&home);
        assert_ne!(next, pid);
        pid = next;
    }
    let refused = home.refused(&["daemon", "start"], 1);
    assert!(refused.contains(&format!("Its PID is {pid}.")), "{refused}");
    // What a request has written for its command goes with the next daemon.
    let left = in_run(&format!("daemon-auth-{pid}-01234567"));
    std::fs::write(&left, "SECRET=xyz").unwrap();
    home.out(&["ps"]);
    assert!(left.exists(), "the daemon still runs");
    kill(pid);
    wait_until("the daemon has ended", || !lives(pid));
    let pid = started(&home);
    assert!(!left.exists());
    kill(pid);
    wait_until("the daemon has ended", || !lives(pid));
    let left = in_run(&format!("daemon-auth-{pid}-01234567"));
    // A daemon of another test may remove it first.
    let is_reported = (0..10).any(|_| {
        std::fs::write(&left, "SECRET=xyz").unwrap();
        let cleaned = home.out(&["gc"]);
        assert!(!left.exists(), "{cleaned}");
        cleaned.contains("daemon-auth-")
    });
    assert!(is_reported, "gc reports what it removes");
}

#[test]
fn the_terminal_has_the_size_of_the_clients() {
    let daemon = RunningDaemon::start();
    daemon.image("app:1");
    let mut body = script("stty size");
    body["Tty"] = json!(true);
    body["HostConfig"]["ConsoleSize"] = json!([31, 101]);
    assert_eq!(printed(&daemon, "", &body), "31 101");
    let id = create(&daemon, "", &body);
    assert_eq!(daemon.get(&format!("/containers/{id}/json"))["HostConfig"]["ConsoleSize"], json!([31, 101]));
    // A further command has a terminal of its own.
    body["Cmd"] = json!(["sh", "-c", "exec sleep 600"]);
    let id = create(&daemon, "", &body);
    daemon.post(&format!("/containers/{id}/start"));
    let exec = json!({ "AttachStdout": true, "Tty": true, "Cmd": ["stty", "size"] });
    let made = daemon.ask("POST", &format!("/containers/{id}/exec"), &exec).1;
    let start = format!("/exec/{}/start", made["Id"].as_str().unwrap());
    let (_, _, output) = daemon.ask_bytes("POST", &start, &[], b"{\"Tty\":true}");
    assert_eq!(text(&output).trim_end(), "24 80");
    body["Cmd"] = json!(["stty", "size"]);
    for none in [json!([0, 0]), json!([31, 0]), json!([31, 70_000]), json!(null)] {
        body["HostConfig"]["ConsoleSize"] = none.clone();
        assert_eq!(printed(&daemon, "", &body), "24 80", "{none}");
    }
}

#[test]
fn a_published_port_is_found_by_its_number_in_the_container() {
    let daemon = RunningDaemon::start();
    daemon.image("app:1");
    let mut body = script("exit 0");
    body["HostConfig"] =
        json!({ "PortBindings": { "80/tcp": [{ "HostPort": "40080" }], "53/udp": [{ "HostPort": "" }] } });
    body["HostConfig"]["NetworkMode"] = json!("default");
    create(&daemon, "?name=web", &body);
    let found = |value: &str| {
        let filters = format!("filters={{\"publish\":[\"{value}\"]}}");
        daemon.get(&format!("/containers/json?all=1&{filters}")).as_array().unwrap().len()
    };
    for value in ["80", "80/tcp", "53/udp", "70-90"] {
        assert_eq!(found(value), 1, "{value}");
    }
    for value in ["40080", "80/udp", "53", "81"] {
        assert_eq!(found(value), 0, "{value}");
    }
    let rows = daemon.home.out(&["ps", "-a", "--filter", "publish=80", "--format", "{{.Names}}"]);
    assert_eq!(rows, "web");
}

#[test]
fn space_is_counted_once_for_each_layer() {
    let daemon = RunningDaemon::start();
    daemon.image("app:1");
    for name in ["a", "b"] {
        daemon.post(&format!("/images/app:1/tag?repo=app&tag={name}"));
    }
    let size = daemon.get("/system/df")["LayersSize"].as_u64().unwrap();
    assert!(size > 0);
    // A child keeps the layer.
    let child = create(&daemon, "?name=web", &script("exit 0"));
    let (status, made) =
        daemon.ask("POST", &format!("/commit?container={child}&repo=child&tag=1"), &json!({}));
    assert_eq!(status, 201, "{made}");
    daemon.ask("DELETE", "/containers/web", &Value::Null);
    create(&daemon, "?name=web", &json!({ "Image": "child:1", "HostConfig": { "NetworkMode": "none" } }));
    // While another test starts a container, nobody knows which layers that has.
    let prune = || {
        let mut pruned = Value::Null;
        wait_until("the images are pruned", || {
            let path = "/images/prune?filters={\"dangling\":[\"false\"]}";
            let (status, answer) = daemon.ask("POST", path, &Value::Null);
            pruned = answer;
            status == 200
        });
        pruned
    };
    let pruned = prune();
    assert!(pruned["ImagesDeleted"].as_array().unwrap().len() >= 3, "{pruned}");
    let kept = daemon.get("/system/df")["LayersSize"].as_u64().unwrap();
    assert_eq!(pruned["SpaceReclaimed"], json!(size - kept));
    daemon.ask("DELETE", "/containers/web", &Value::Null);
    assert_eq!(prune()["SpaceReclaimed"], json!(kept));
}

#[test]
fn the_kernel_may_choose_the_port() {
    if ran_with_loopback("the_kernel_may_choose_the_port") {
        return;
    }
    let home = KeptHome::new();
    let started = home.out(&["daemon", "start", "--host", "tcp://127.0.0.2:0"]);
    let status: Value = serde_json::from_str(&home.out(&["daemon", "status", "--format", "json"])).unwrap();
    let address = status["addresses"][0].as_str().unwrap();
    assert!(started.contains(address), "{started}");
    let at: std::net::SocketAddr = address.strip_prefix("tcp://").unwrap().parse().unwrap();
    assert_ne!(at.port(), 0);
    let mut stream = TcpStream::connect(at).unwrap();
    assert_eq!(exchange(&mut stream, "GET", "/_ping", &[&format!("Host: {at}")], b"").0, 200);
    assert!(home.out(&["api", "GET", "/version"]).contains("1.44"));
    home.out(&["daemon", "stop"]);
}

#[test]
fn what_docker_refuses_is_refused_with_its_status() {
    let daemon = RunningDaemon::start();
    daemon.image("app:1");
    let with = |name: &str, value: Value| {
        let mut body = script("exit 0");
        body["HostConfig"][name] = value;
        body
    };
    let of = |name: &str, value: Value| {
        let mut body = script("exit 0");
        body[name] = value;
        body
    };
    let big: Value = serde_json::from_str("99999999999999999999").unwrap();
    for (body, wanted) in [
        (with("Memory", json!(1e30)), "Memory"),
        (with("Memory", big), "Memory"),
        (with("Memory", json!(67_108_864.7)), "Memory"),
        (with("Memory", json!(1000)), "Minimum memory limit allowed is 6MB"),
        (with("NanoCpus", json!(10_000_000_000_000_u64)), "range of CPUs is from 0.01 to"),
        (with("RestartPolicy", json!({ "Name": "sometimes" })), "unknown policy 'sometimes'"),
        (of("StopSignal", json!("FOO")), "Invalid signal: FOO"),
        (
            with("Mounts", json!([{ "Type": "bind", "Source": "/no/where", "Target": "/x" }])),
            "invalid mount config for type \"bind\": bind source path does not exist: /no/where",
        ),
        (json!({ "Image": "app:1", "Entrypoint": [""] }), "no command specified"),
        (of("Cmd", json!(["sh", "a\u{0}b"])), "nul byte"),
        (with("CpuQuota", json!("x")), "CpuQuota"),
        (with("Ulimits", json!([{ "Name": "nowhere", "Soft": 1, "Hard": 1 }])), "nowhere"),
    ] {
        let (status, answer) = daemon.ask("POST", "/containers/create", &body);
        let message = answer["message"].as_str().unwrap_or_default();
        assert!(status == 400 && message.contains(wanted), "{status} {answer}");
    }
    let asked = |method: &str, path: &str| {
        let (status, answer) = daemon.ask(method, path, &Value::Null);
        (status, answer["message"].as_str().unwrap_or_default().to_owned())
    };
    create(&daemon, "?name=web", &script("exec sleep 600"));
    assert_eq!(asked("POST", "/containers/web/rename?name=web").0, 400);
    assert!([400, 404].contains(&asked("DELETE", "/containers/%00").0));
    let platform = |name: &str| {
        let (status, answer) =
            daemon.ask("POST", &format!("/containers/create?platform={name}"), &script("exit 0"));
        (status, answer["message"].as_str().unwrap_or_default().to_owned())
    };
    // Any 404 makes docker pull the image for that platform, and ask again.
    let (status, message) = platform("linux/s390x");
    assert!(status == 404 && message.contains("does not match the specified platform"), "{status} {message}");
    assert_eq!(platform("bogus").0, 400);
    // An archive needs a directory.
    let put = |path: &str| {
        let (status, _, body) =
            daemon.ask_bytes("PUT", &format!("/containers/web/archive?path={path}"), &[], &[0; 1024]);
        (status, text(&body))
    };
    let (status, message) = put("/nodir");
    assert!(
        status == 404 && message.contains("Could not find the file /nodir in container web"),
        "{message}"
    );
    let (status, message) = put("/etc/hello");
    assert!(status == 400 && message.contains("extraction point is not a directory"), "{status} {message}");
}

#[test]
fn a_description_has_what_the_client_has_set_and_no_more() {
    let daemon = RunningDaemon::start();
    daemon.image("app:1");
    let mut body = script("echo \"$B$A $TERM.\"");
    body["Env"] = json!(["B=1", "A=2", "C D=3"]);
    body["HostConfig"]["Devices"] =
        json!([{ "PathOnHost": "/dev/null", "PathInContainer": "/dev/other", "CgroupPermissions": "rwm" }]);
    // Without root and without delegated cgroups, no rule about devices can be made.
    if !nix::unistd::geteuid().is_root() {
        body["HostConfig"]["Devices"] = json!([]);
    }
    let id = create(&daemon, "?name=web", &body);
    let described = daemon.get(&format!("/containers/{id}/json"));
    assert_eq!(described["Config"]["Env"], json!(["PATH=/bin", "B=1", "A=2", "C D=3"]));
    assert_eq!(described["Mounts"], json!([]));
    assert_eq!(described["HostConfig"]["DeviceCgroupRules"], Value::Null);
    daemon.ask("DELETE", "/containers/web", &Value::Null);
    // As with Docker, a command has a type of terminal only with a terminal.
    assert_eq!(printed(&daemon, "", &body), "12 .");
    body["Tty"] = json!(true);
    assert_eq!(printed(&daemon, "", &body), "12 xterm.");
    body["Env"] = json!(["TERM=vt100", "PATH=/bin:/x"]);
    assert_eq!(printed(&daemon, "", &body), " vt100.");
    let id = create(&daemon, "", &body);
    let described = daemon.get(&format!("/containers/{id}/json"));
    assert_eq!(described["Config"]["Env"], json!(["PATH=/bin:/x", "TERM=vt100"]));
}

#[test]
fn the_bridge_is_the_network_of_each_client() {
    if ran_with_loopback("the_bridge_is_the_network_of_each_client") {
        return;
    }
    let daemon = RunningDaemon::start();
    daemon.image("app:1");
    for mode in ["bridge", "default"] {
        let mut body = script("exec sleep 600");
        body["HostConfig"]["NetworkMode"] = json!(mode);
        let id = create(&daemon, "", &body);
        let described = daemon.get(&format!("/containers/{id}/json"));
        assert_eq!(described["HostConfig"]["NetworkMode"], "bridge", "{mode}");
        assert!(described["NetworkSettings"]["Networks"]["bridge"].is_object(), "{described}");
        let listed = daemon.get("/containers/json?all=1&filters={\"network\":[\"bridge\"]}");
        assert!(listed.as_array().unwrap().iter().any(|row| row["Id"] == json!(id)), "{listed}");
        if !is_root() {
            continue;
        }
        // Libraries of clients look for the host at the gateway.
        daemon.post(&format!("/containers/{id}/start"));
        let own = daemon.get(&format!("/containers/{id}/json"))["NetworkSettings"].clone();
        let network = daemon.get("/networks/bridge");
        assert_eq!(network["IPAM"]["Config"][0]["Gateway"], own["Gateway"], "{network}");
        let (address, length) = (own["IPAddress"].as_str().unwrap(), &own["IPPrefixLen"]);
        assert!(!address.is_empty(), "{own}");
        assert_eq!(network["Containers"][&id]["IPv4Address"], format!("{address}/{length}"), "{network}");
    }
}

#[test]
fn a_further_command_that_cannot_begin_has_another_status_than_an_error_of_the_client() {
    let daemon = RunningDaemon::start();
    daemon.image("app:1");
    create(&daemon, "?name=web", &script("exec sleep 600"));
    daemon.post("/containers/web/start");
    let code = |more: Value| {
        let mut body = json!({ "AttachStdout": true, "Cmd": ["sh", "-c", "exit 125"] });
        more.as_object().unwrap().iter().for_each(|(name, value)| body[name] = value.clone());
        let (status, made) = daemon.ask("POST", "/containers/web/exec", &body);
        assert_eq!(status, 201, "{made}");
        let id = made["Id"].as_str().unwrap();
        daemon.ask_bytes("POST", &format!("/exec/{id}/start"), &[], b"{}");
        daemon.get(&format!("/exec/{id}/json"))["ExitCode"].clone()
    };
    assert_eq!(code(json!({ "User": "nobodyx" })), 126);
    assert_eq!(code(json!({ "WorkingDir": "/nope" })), 126);
    assert_eq!(code(json!({ "Cmd": ["nope"] })), 127);
    assert_eq!(code(json!({})), 125);
}

#[test]
fn the_counters_are_those_of_the_kernel() {
    let daemon = RunningDaemon::start();
    daemon.image("app:1");
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let mut body = script("while :; do :; done");
    body["HostConfig"]["NanoCpus"] = json!(200_000_000);
    create(&daemon, "?name=web", &body);
    daemon.post("/containers/web/start");
    let stats = || daemon.get("/containers/web/stats?stream=0");
    wait_until("it is throttled", || {
        let stats = stats();
        let cpu = &stats["cpu_stats"];
        let throttling = &cpu["throttling_data"];
        let is_counted = |value: &Value| value.as_u64().is_some_and(|value| value > 0);
        is_counted(&throttling["periods"])
            && is_counted(&throttling["throttled_periods"])
            && is_counted(&throttling["throttled_time"])
            && is_counted(&cpu["cpu_usage"]["usage_in_usermode"])
            && is_counted(&stats["memory_stats"]["usage"])
            && stats["memory_stats"]["stats"].as_object().is_some_and(|all| all.len() > 5)
    });
    // Without a cgroup, no limit is possible, and `info` says so.
    let about = daemon.get("/info");
    assert_eq!(about["MemoryLimit"], true);
    assert_eq!(about["Warnings"], json!([]));
}

#[test]
fn what_is_possible_is_what_info_says() {
    let daemon = RunningDaemon::start();
    daemon.image("app:1");
    let about = daemon.get("/info");
    for (name, setting, value) in [
        ("MemoryLimit", "Memory", 64 << 20),
        ("PidsLimit", "PidsLimit", 10),
        ("CpuCfsQuota", "NanoCpus", 500_000_000),
    ] {
        let mut body = script("exit 0");
        body["HostConfig"][setting] = json!(value);
        let (status, made) = daemon.ask("POST", "/containers/create", &body);
        let started = match made["Id"].as_str() {
            Some(id) => daemon.ask("POST", &format!("/containers/{id}/start"), &Value::Null).0,
            None => status,
        };
        assert_eq!(about[name], json!(started == 204), "{name} {status} {started} {made}");
    }
}

#[test]
fn a_description_is_as_short_as_dockers() {
    let daemon = RunningDaemon::start();
    daemon.image("app:1");
    let mut body = script("exec sleep 600");
    body["HostConfig"]["PidsLimit"] = json!(0);
    body["HostConfig"]["LogConfig"] = json!({ "Type": "json-file", "Config": { "max-size": "1m" } });
    create(&daemon, "?name=web", &body);
    let described = daemon.get("/containers/web/json");
    assert_eq!(described.get("Sandbox"), None);
    let lines = serde_json::to_string_pretty(&described).unwrap().lines().count();
    assert!(lines < 300, "{lines}");
    let (config, host) = (&described["Config"], &described["HostConfig"]);
    assert_eq!((&host["PidsLimit"], &host["Init"]), (&Value::Null, &Value::Null));
    assert_eq!(
        (&config["WorkingDir"], config.get("StopSignal"), config.get("StopTimeout")),
        (&json!(""), None, None)
    );
    assert_eq!(host["LogConfig"]["Config"], json!({ "max-size": "1m" }));
    // What was asked for is there.
    body["WorkingDir"] = json!("/");
    body["StopSignal"] = json!("SIGINT");
    body["StopTimeout"] = json!(3);
    body["HostConfig"]["Init"] = json!(true);
    create(&daemon, "?name=other", &body);
    let described = daemon.get("/containers/other/json");
    let (config, host) = (&described["Config"], &described["HostConfig"]);
    assert_eq!((&config["WorkingDir"], &config["StopSignal"]), (&json!("/"), &json!("SIGINT")));
    assert_eq!((&config["StopTimeout"], &host["Init"]), (&json!(3), &json!(true)));
    // The command line shows its config too.
    let own = daemon.home.out(&["inspect", "-f", "{{json .Sandbox.Config.process.args}}", "web"]);
    assert!(own.contains("sleep 600"), "{own}");
    // While it runs, its network can be joined.
    assert_eq!(described["NetworkSettings"]["SandboxKey"], "");
    daemon.post("/containers/web/start");
    let key = daemon.get("/containers/web/json")["NetworkSettings"]["SandboxKey"].clone();
    let pid = daemon.home.pid("web", "command");
    assert_eq!(key, json!(format!("/proc/{pid}/ns/net")));
}

#[test]
fn a_body_is_json_and_says_so() {
    let daemon = RunningDaemon::start();
    daemon.image("app:1");
    let body = script("exit 0").to_string();
    let sent = |kind: &str, body: &str| {
        let header = if kind.is_empty() { "X: y".to_owned() } else { format!("Content-Type: {kind}") };
        // Without this header, the client of the tests adds one.
        let none = if kind.is_empty() { "X-Content-Type: none" } else { "X: z" };
        let (status, _, answer) =
            daemon.ask_bytes("POST", "/containers/create", &[&header, none], body.as_bytes());
        (status, text(&answer))
    };
    assert_eq!(sent("application/json", &body).0, 201);
    assert_eq!(sent("Application/JSON; charset=utf-8", &body).0, 201);
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""] {
        let (status, answer) = sent(kind, &body);
        assert!(status == 400 && answer.contains("must be 'application/json'"), "{kind} {status} {answer}");
    }
    for empty in ["", "null"] {
        let (status, answer) = sent("application/json", empty);
        assert!(status == 400 && answer.contains("config cannot be empty"), "{answer}");
    }
    let drive = json!({ "Image": "app:1", "Volumes": { "a:/v": {} } });
    assert!(sent("application/json", &drive.to_string()).1.contains("invalid volume specification: 'a:/v'"));
    // Only what is asked for is counted.
    let usage = daemon.get("/system/df?type=volume");
    assert_eq!(
        (&usage["Volumes"], &usage["Images"], &usage["Containers"]),
        (&json!([]), &Value::Null, &Value::Null)
    );
    assert!(daemon.get("/system/df?type=image&type=container")["Containers"].is_array());
    assert_eq!(daemon.ask("GET", "/system/df?type=nothing", &Value::Null).0, 400);
}
