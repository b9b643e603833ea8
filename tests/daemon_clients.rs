//! What clients of the daemon rely on, and what it bears: settings, variables, further commands, many connections, kills.
//!
//! Other inputs of the same kind as the ones here:
//! - bodies of docker-py, compose, testcontainers and editors; each setting of HostConfig, with a wrong type too.
//! - variables with several lines, without a value, without a name; commands that are not there, that end at once, that never end.
//! - more connections than there are descriptors; readers that stop; a daemon that is killed during each request.
#![cfg(feature = "daemon")]

mod support;

use std::io::{Read, Write};
use std::process::Stdio;

use serde_json::{Value, json};
use support::daemon::{RunningDaemon, frames, read_head, script};
use support::image::{Image, Layer};
use support::kept::{KeptHome, lives};
use support::{random, rounds, text, wait_until};

/// Makes a container. Returns its ID.
fn create(daemon: &RunningDaemon, name: &str, body: &Value) -> String {
    support::daemon::create(daemon, &format!("?name={name}"), body)
}

/// A daemon with an image, and a container `web` that runs.
fn with_container() -> RunningDaemon {
    let daemon = RunningDaemon::start();
    daemon.image("app:1");
    create(&daemon, "web", &script("exec sleep 600"));
    daemon.post("/containers/web/start");
    daemon
}

/// Notes a further command in `web`. Returns its ID.
fn exec(daemon: &RunningDaemon, body: &Value) -> String {
    let (status, made) = daemon.ask("POST", "/containers/web/exec", body);
    assert_eq!(status, 201, "{made}");
    made["Id"].as_str().unwrap().to_owned()
}

/// What a container has printed.
fn printed(daemon: &RunningDaemon, name: &str) -> Vec<(u8, String)> {
    let path = format!("/containers/{name}/logs?stdout=1&stderr=1");
    frames(&daemon.ask_bytes("GET", &path, &[], b"").2)
}

#[test]
fn a_client_finds_its_settings_again() {
    let daemon = RunningDaemon::start();
    daemon.image("app:1");
    let data = daemon.home.around().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("shared"), "from the host\n").unwrap();
    let mut body = script("cat /srv/shared");
    body["Volumes"] = json!({ "/srv": {} });
    body["HostConfig"]["Binds"] = json!([format!("{}:/srv", data.display())]);
    body["HostConfig"]["Tmpfs"] = json!({ "/tmp": "size=3M" });
    body["HostConfig"]["CgroupnsMode"] = json!("private");
    body["HostConfig"]["LogConfig"] = json!({ "Type": "json-file", "Config": { "max-file": "3" } });
    create(&daemon, "web", &body);
    let inspected = daemon.get("/containers/web/json");
    let host = &inspected["HostConfig"];
    assert_eq!((&host["Tmpfs"]["/tmp"], &host["CgroupnsMode"]), (&json!("size=3M"), &json!("private")));
    assert_eq!((&host["Binds"], &host["Memory"]), (&body["HostConfig"]["Binds"], &json!(0)));
    assert_eq!(inspected["Config"]["Volumes"], json!({ "/srv": {} }));
    // The directory of the host is mounted, not a new volume.
    daemon.post("/containers/web/start");
    assert_eq!(daemon.post("/containers/web/wait")["StatusCode"], 0);
    assert_eq!(printed(&daemon, "web"), [(1, "from the host\n".to_owned())]);
    assert_eq!(daemon.get("/volumes")["Volumes"], json!([]));
    // After its end, its log is sent to a client that asks for it.
    let (status, _, logged) =
        daemon.ask_bytes("POST", "/containers/web/attach?logs=1&stdout=1&stderr=1", &[], b"");
    assert_eq!((status, frames(&logged)), (200, vec![(1, "from the host\n".to_owned())]));
    let image = daemon.get("/images/app:1/json");
    assert!(image["Config"].as_object().unwrap().contains_key("OnBuild"), "{image}");
    assert_eq!(daemon.post("/build/prune")["CachesDeleted"], json!([]));
}

#[test]
fn what_is_mounted_is_described_as_docker_does() {
    let daemon = RunningDaemon::start();
    daemon.image("app:1");
    let data = daemon.home.around().join("data");
    std::fs::create_dir(&data).unwrap();
    let data = data.to_str().unwrap();
    let (bind, read_only) = (format!("{data}:/b"), format!("{data}:/r:ro"));
    let flag = format!("type=bind,source={data},target=/m,readonly");
    daemon.home.out(
        &[
            &[
                "create",
                "--name=web",
                "--network=none",
                "-v",
                &bind,
                "-v",
                &read_only,
                "-v",
                "vol:/v",
                "-v",
                "/anon",
            ][..],
            &["--mount", &flag, "--mount", "type=volume,source=other,target=/o", "--tmpfs", "/x:size=2m"],
            &["--mount", "type=tmpfs,target=/t,tmpfs-size=1m", "app:1", "cat", "/proc/mounts"],
        ]
        .concat(),
    );
    let inspected = daemon.get("/containers/web/json");
    let shown: Value = serde_json::from_str(&daemon.home.out(&["inspect", "web"])).unwrap();
    for keys in ["/Mounts", "/HostConfig/Mounts", "/HostConfig/Binds", "/HostConfig/Tmpfs"] {
        assert_eq!(inspected.pointer(keys), shown[0].pointer(keys), "{keys}");
    }
    let anonymous =
        inspected["Mounts"].as_array().unwrap().iter().find(|one| one["Destination"] == "/anon").unwrap();
    let anonymous = anonymous["Name"].as_str().unwrap().to_owned();
    let volume = |name: &str, target: &str, mode: &str| {
        let source = daemon.home.path().join("volumes").join(name).join("_data");
        json!({
            "Type": "volume", "Name": name, "Source": source.to_str(), "Destination": target, "Driver": "local",
            "Mode": mode, "RW": true, "Propagation": "",
        })
    };
    let bound = |target: &str, mode: &str, is_writable: bool| {
        json!({
            "Type": "bind", "Source": data, "Destination": target, "Mode": mode, "RW": is_writable,
            "Propagation": "rprivate",
        })
    };
    let expected = [
        volume("vol", "/v", "z"),
        volume(&anonymous, "/anon", ""),
        volume("other", "/o", "z"),
        bound("/b", "", true),
        bound("/r", "ro", false),
        bound("/m", "", false),
        json!({ "Type": "tmpfs", "Source": "", "Destination": "/t", "Mode": "", "RW": true, "Propagation": "" }),
    ];
    let mounts = inspected["Mounts"].as_array().unwrap();
    for one in &expected {
        assert!(mounts.contains(one), "{one} is missing in {mounts:?}");
    }
    assert_eq!(mounts.len(), expected.len());
    let host = &inspected["HostConfig"];
    let flags = json!([
        { "Type": "volume", "Source": "other", "Target": "/o" },
        { "Type": "bind", "Source": data, "Target": "/m", "ReadOnly": true },
        { "Type": "tmpfs", "Target": "/t", "TmpfsOptions": { "SizeBytes": 1 << 20 } },
    ]);
    assert_eq!(host["Mounts"], flags);
    let mut binds: Vec<&str> = host["Binds"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    binds.sort_unstable();
    assert_eq!(binds, [&*bind, &*read_only, "vol:/v"]);
    assert_eq!(host["Tmpfs"].as_object().unwrap().keys().collect::<Vec<_>>(), ["/x"]);
    assert_eq!(inspected["Config"]["Volumes"], json!({ "/anon": {} }));
    // The kernel shows the same.
    daemon.post("/containers/web/start");
    daemon.post("/containers/web/wait");
    let table = printed(&daemon, "web").remove(0).1;
    for one in &expected {
        let target = one["Destination"].as_str().unwrap();
        let line = table.lines().find(|line| line.split(' ').nth(1) == Some(target)).unwrap();
        let is_writable = line.split(' ').nth(3).unwrap().split(',').any(|option| option == "rw");
        assert_eq!(json!(is_writable), one["RW"], "{line}");
    }
    // What a client of the daemon has sent as `Mounts` is not in `Binds`.
    let mut body = script("true");
    body["HostConfig"]["Mounts"] = json!([{ "Type": "bind", "Source": data, "Target": "/m" }]);
    create(&daemon, "api", &body);
    let host = &daemon.get("/containers/api/json")["HostConfig"];
    assert_eq!((&host["Mounts"], &host["Binds"]), (&body["HostConfig"]["Mounts"], &json!([])));
}

#[test]
fn a_program_that_is_not_there_is_an_error_of_start() {
    let daemon = RunningDaemon::start();
    daemon.image("app:1");
    let body =
        json!({ "Image": "app:1", "Cmd": ["no-such-program"], "HostConfig": { "NetworkMode": "none" } });
    create(&daemon, "web", &body);
    assert_eq!(daemon.home.status("web"), "created");
    let (status, answer) = daemon.ask("POST", "/containers/web/start", &Value::Null);
    // `docker run` reads its exit status from these words.
    assert!(answer["message"].as_str().unwrap().contains("executable file not found in $PATH"), "{answer}");
    assert_eq!(status, 400);
    let body = json!({ "Image": "app:1", "HostConfig": { "LogConfig": { "Type": "asdf" } } });
    let (status, answer) = daemon.ask("POST", "/containers/create", &body);
    assert_eq!(
        (status, &answer["message"]),
        (400, &json!("logger: no log driver named 'asdf' is registered"))
    );
    assert_eq!(daemon.ask("POST", "/volumes/create", &json!({ "Driver": "x" })).0, 404);
}

#[test]
fn variables_are_on_no_command_line() {
    let daemon = RunningDaemon::start();
    daemon.image("app:1");
    let secret = format!("secret-{}\nof two lines", std::process::id());
    let mut body = script("echo \"$A\"; exec sleep 600");
    body["Env"] = json!([format!("A={secret}"), "GONE"]);
    let is_shown = || {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
        let own = secret.split('\n').next().unwrap().as_bytes().to_vec();
        lines.into_iter().any(|line| line.windows(own.len()).any(|part| part == own))
    };
    std::thread::scope(|scope| {
        let made = scope.spawn(|| {
            create(&daemon, "web", &body);
            daemon.post("/containers/web/start");
            let id = exec(
                &daemon,
                &json!({ "Cmd": ["sh", "-c", "echo \"$B\""], "Env": [format!("B={secret}")], "AttachStdout": true }),
            );
            frames(&daemon.ask_bytes("POST", &format!("/exec/{id}/start"), &[], b"{}").2)
        });
        while !made.is_finished() {
            assert!(!is_shown(), "the value of a variable is on a command line");
        }
        assert_eq!(made.join().unwrap(), [(1, format!("{secret}\n"))]);
    });
    wait_until("the container has printed its variable", || {
        printed(&daemon, "web") == [(1, format!("{secret}\n"))]
    });
}

#[test]
fn a_command_in_the_background_has_an_exit_status() {
    let mut daemon = with_container();
    let id = exec(&daemon, &json!({ "Cmd": ["sh", "-c", "cat /tmp/go; exit 5"] }));
    daemon.home.out(&["exec", "web", "sh", "-c", "true > /tmp/go"]);
    let (status, answer) = daemon.ask("POST", &format!("/exec/{id}/start"), &json!({ "Detach": true }));
    assert_eq!(status, 200, "{answer}");
    let about = || daemon.get(&format!("/exec/{id}/json"));
    wait_until("the command has ended", || about()["Running"] == false);
    assert_eq!(about()["ExitCode"], 5);
    let id = exec(&daemon, &json!({ "Cmd": ["sleep", "600"] }));
    daemon.ask("POST", &format!("/exec/{id}/start"), &json!({ "Detach": true }));
    let about = daemon.get(&format!("/exec/{id}/json"));
    assert_eq!((&about["Running"], &about["ExitCode"]), (&json!(true), &Value::Null));
    let id = exec(&daemon, &json!({ "Cmd": ["nothing"] }));
    let (status, answer) = daemon.ask("POST", &format!("/exec/{id}/start"), &json!({ "Detach": true }));
    assert!(status == 400 && answer["message"].as_str().unwrap().contains("not found"), "{status} {answer}");
    // A command in the background does not end with the daemon.
    let sleeping = || {
        let top = daemon.get("/containers/web/top");
        top["Processes"].as_array().unwrap().len()
    };
    assert_eq!(sleeping(), 2);
    daemon.replace();
    assert_eq!(daemon.get("/containers/web/top")["Processes"].as_array().unwrap().len(), 2);
}

#[test]
fn output_has_frames_unless_the_client_says_at_the_start_that_it_has_a_terminal() {
    let daemon = with_container();
    let id = exec(&daemon, &json!({ "Cmd": ["echo", "out"], "Tty": true, "AttachStdout": true }));
    let (_, _, output) = daemon.ask_bytes("POST", &format!("/exec/{id}/start"), &[], b"{}");
    assert_eq!(frames(&output), [(1, "out\r\n".to_owned())]);
    // SIGKILL is waited for: the next answer has the end.
    daemon.post("/containers/web/kill");
    assert_eq!(daemon.get("/containers/web/json")["State"]["ExitCode"], 137);
}

#[test]
fn too_many_connections_are_refused() {
    let daemon = RunningDaemon::limited("264");
    daemon.image("app:1");
    create(&daemon, "web", &script("exec sleep 600"));
    daemon.post("/containers/web/start");
    // What is not for connections is for files and children.
    let idle: Vec<_> = (0..16).map(|_| daemon.connect()).collect();
    let is_refused = || {
        let (status, _, body) = daemon.ask_bytes("GET", "/_ping", &[], b"");
        status == 503 && text(&body).contains("too many connections")
    };
    wait_until("all places are taken", is_refused);
    drop(idle);
    wait_until("there is room again", || daemon.ask_bytes("GET", "/_ping", &[], b"").0 == 200);
    // A connection that is taken over is not the daemon's any more.
    let attach = "POST /containers/web/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n";
    let mut taken = Vec::new();
    for _ in 0..32 {
        wait_until("there is room for one more", || {
            let mut stream = daemon.connect();
            stream.write_all(attach.as_bytes()).unwrap();
            let is_taken = read_head(&mut stream).0 == 101;
            taken.push(stream);
            is_taken
        });
    }
    wait_until("there is room at the end", || daemon.ask_bytes("GET", "/_ping", &[], b"").0 == 200);
}

#[test]
fn many_idle_slow_and_half_closed_connections_take_little() {
    let daemon = with_container();
    let limit = nix::sys::resource::Resource::RLIMIT_NOFILE;
    let (_, hard) = nix::sys::resource::getrlimit(limit).unwrap();
    nix::sys::resource::setrlimit(limit, hard.min(8192), hard).unwrap();
    // More output than a connection holds, for clients that do not read.
    create(
        &daemon,
        "loud",
        &script(
            "i=0; while test $i -lt 30000; do echo a line of forty bytes, many times over; i=$((i+1)); done",
        ),
    );
    daemon.post("/containers/loud/start");
    assert_eq!(daemon.post("/containers/loud/wait")["StatusCode"], 0);
    let most = 2000.min(hard.min(8192).saturating_sub(300) / 2);
    let mut idle = Vec::new();
    for number in 0..most {
        let mut stream = daemon.connect();
        // Some wait for something that does not happen, and some have sent nothing.
        let request = match number % 10 {
            0 => "GET /events HTTP/1.1\r\nHost: x\r\n\r\n",
            1 => "GET /containers/web/logs?stdout=1&follow=1 HTTP/1.1\r\nHost: x\r\n\r\n",
            2 => "POST /containers/web/wait HTTP/1.1\r\nHost: x\r\n\r\n",
            3 => "GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n",
            // Slow writers: half of a head, half of a body.
            4 => "POST /containers/create HTTP/1.1\r\nHo",
            5 => {
                "POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n{\"Image\":"
            }
            // A slow reader.
            6 => "GET /containers/loud/logs?stdout=1&follow=1 HTTP/1.1\r\nHost: x\r\n\r\n",
            7 => "GET /events HTTP/1.1\r\nHost: x\r\n\r\n",
            _ => "",
        };
        stream.write_all(request.as_bytes()).unwrap();
        if matches!(number % 10, 7 | 8) {
            // The daemon may have closed it already.
            let _ = stream.shutdown(std::net::Shutdown::Write);
        }
        idle.push(stream);
    }
    for _ in 0..20 {
        assert_eq!(daemon.get("/containers/json")[0]["Names"], json!(["/web"]));
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    // Without the pages of the program, which all of its processes share.
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap().trim();
    let memory: u64 = line.trim_end_matches(" kB").parse().unwrap();
    assert!(memory < 64 << 10, "{memory} KiB with {most} connections");
    // A slow reader that reads at last has missed nothing.
    let mut slow = &idle[6];
    let mut got = Vec::new();
    let whole = 30_000 * "a line of forty bytes, many times over\n".len();
    // The frames and the parts of the body come on top of it.
    let is_whole =
        |got: &[u8]| got.len() > whole && got.windows(4).filter(|part| part == b"over").count() == 30_000;
    while !is_whole(&got) {
        let mut buffer = vec![0; 64 << 10];
        let length = slow.read(&mut buffer).unwrap();
        assert!(length > 0 && got.len() < 2 * whole, "{} bytes of {whole}", got.len());
        got.extend_from_slice(&buffer[..length]);
    }
    // The limit of the container is that with which the daemon was started, not the one that it has given itself.
    let limits = |pid: u32| std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let files = |limits: String| {
        let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap().to_owned();
        line.split_whitespace().nth(3).unwrap().to_owned()
    };
    assert_eq!(
        files(limits(daemon.home.pid("web", "command"))),
        files(limits(daemon.home.pid("web", "supervisor")))
    );
}

#[test]
fn a_trace_that_nobody_reads_blocks_no_request() {
    let home = KeptHome::new();
    let socket = home.around().join("t.sock");
    let host = format!("--host=unix://{}", socket.display());
    let mut daemon =
        home.command(&["daemon", "run", &host, "--trace"]).stdout(Stdio::piped()).spawn().unwrap();
    wait_until("the daemon listens", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
    // More than a pipe holds.
    let mut stream = std::os::unix::net::UnixStream::connect(&socket).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
    for _ in 0..3000 {
        stream.write_all(b"HEAD /_ping HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        assert_eq!(read_head(&mut stream).0, 200);
    }
    daemon.kill().unwrap();
    let mut printed = String::new();
    daemon.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
    daemon.wait().unwrap();
    assert!(printed.contains("#1 HEAD /_ping\n"), "{printed}");
}

#[test]
fn a_daemon_that_is_killed_loses_nothing() {
    let mut daemon = with_container();
    let layer = Layer::new().file("etc/loaded", "loaded\n");
    let archive = Image::of(&[layer]).docker(&["loaded:1"]);
    let context = Layer::new().file("Dockerfile", "FROM app:1\nRUN echo built >/srv/built\n").tar();
    let mut random = random();
    for round in 0..rounds(8).min(500) {
        let body = script("echo line; exec sleep 600").to_string();
        let name = format!("c{round}");
        let mut client = daemon.connect();
        let head = format!(
            "POST /containers/create?name={name} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        client.write_all(head.as_bytes()).unwrap();
        let send = |path: &str, body: &[u8]| {
            let mut client = daemon.connect();
            let length = body.len();
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
            );
            client.write_all(&[head.as_bytes(), body].concat()).unwrap();
            client
        };
        let _other = match random(4) {
            0 => Some(send("/images/load", &archive)),
            1 => Some(send("/build?t=built:1", &context)),
            2 => {
                let id = exec(&daemon, &json!({ "Cmd": ["sleep", "0.2"], "AttachStdout": true }));
                Some(send(&format!("/exec/{id}/start"), b"{}"))
            }
            _ => None,
        };
        if random(2) == 0 {
            let mut answer = [0; 12];
            let _ = client.read_exact(&mut answer);
            let mut starting = daemon.connect();
            let head =
                format!("POST /containers/{name}/start HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
            starting.write_all(head.as_bytes()).unwrap();
        }
        // Any moment will do: nothing is asserted about it.
        std::thread::sleep(std::time::Duration::from_millis(random(60)));
        daemon.replace();
        assert_eq!(daemon.ask_bytes("GET", "/_ping", &[], b"").0, 200);
    }
    // What was being made when the daemon was killed is complete or absent soon.
    wait_until("no command of the daemon runs", || {
        let home = daemon.home.path().into_os_string().into_encoded_bytes();
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
        !lines.into_iter().any(|line| {
            let has = |part: &[u8]| line.windows(part.len()).any(|own| own == part);
            has(&home) && [&b"\0create\0"[..], b"\0load\0", b"\0build\0"].iter().any(|word| has(word))
        })
    });
    // What was there is there, and can be used.
    assert_eq!(daemon.home.status("web"), "running");
    assert_eq!(daemon.home.out(&["exec", "web", "echo", "here"]), "here");
    daemon.home.out(&["images"]);
    let all = daemon.get("/containers/json?all=1");
    for container in all.as_array().unwrap() {
        let id = container["Id"].as_str().unwrap();
        let pid = daemon.get(&format!("/containers/{id}/json"))["State"]["Pid"].as_u64().unwrap();
        assert!(pid == 0 || lives(pid as u32), "{container}");
        let (status, answer) = daemon.ask("DELETE", &format!("/containers/{id}?force=1"), &Value::Null);
        assert_eq!(status, 204, "{answer}");
    }
    daemon.home.is_empty();
}

/// A random JSON value.
fn value(random: &mut impl FnMut(u64) -> u64, depth: u64) -> Value {
    match random(if depth == 0 { 6 } else { 9 }) {
        0 => Value::Null,
        1 => json!(random(2) == 0),
        2 => json!(random(1 << 31)),
        3 => json!(-1),
        4 => json!(""),
        5 => json!(["a", "a:b", "/x:/y", "\u{0}", "80/tcp", "\u{e9}", "-x", "none"][random(8) as usize]),
        6 => (0..random(3)).map(|_| value(random, depth - 1)).collect(),
        _ => {
            let keys = ["Name", "Type", "Source", "Target", "HostPort", "80/tcp", "/x", "Path"];
            let pairs =
                (0..random(3)).map(|_| (keys[random(8) as usize].to_owned(), value(random, depth - 1)));
            Value::Object(pairs.collect())
        }
    }
}

#[test]
fn no_body_makes_the_daemon_fail() {
    let daemon = RunningDaemon::start();
    daemon.image("app:1");
    let mut random = random();
    let of_host = [
        "Binds",
        "Memory",
        "NanoCpus",
        "PortBindings",
        "RestartPolicy",
        "CapAdd",
        "Tmpfs",
        "Mounts",
        "Ulimits",
        "Devices",
        "LogConfig",
        "ExtraHosts",
        "Dns",
        "NetworkMode",
        "PidMode",
        "Sysctls",
        "ReadonlyRootfs",
        "SecurityOpt",
        "ShmSize",
    ];
    let own = [
        "Cmd",
        "Entrypoint",
        "Env",
        "Labels",
        "Tty",
        "OpenStdin",
        "Volumes",
        "ExposedPorts",
        "User",
        "WorkingDir",
        "Hostname",
        "StopSignal",
        "StopTimeout",
        "Healthcheck",
        "NetworkingConfig",
        "HostConfig",
    ];
    for _ in 0..rounds(40) {
        let mut body = json!({ "Image": "app:1", "HostConfig": { "NetworkMode": "none" } });
        for _ in 0..=random(2) {
            let name = of_host[random(of_host.len() as u64) as usize];
            body["HostConfig"][name] = value(&mut random, 2);
        }
        if random(2) == 0 {
            body[own[random(own.len() as u64) as usize]] = value(&mut random, 2);
        }
        let (status, answer) = daemon.ask("POST", "/containers/create", &body);
        let message = answer["message"].as_str().unwrap_or_default();
        let has_answer =
            status == 201 || (status >= 400 && !message.is_empty() && !message.contains("panic"));
        assert!(has_answer, "{body} {status} {answer}");
        if let Some(id) = answer["Id"].as_str() {
            assert_eq!(daemon.get(&format!("/containers/{id}/json"))["Id"], json!(id), "{body}");
            assert_eq!(daemon.ask("DELETE", &format!("/containers/{id}?v=1"), &Value::Null).0, 204);
        }
    }
    let all = daemon.get("/containers/json?all=1");
    assert_eq!(all, json!([]));
}
