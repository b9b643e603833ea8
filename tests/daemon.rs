//! The daemon: Docker's HTTP API, by requests of our own.
//!
//! Judged by the answers, and by what the command line and the kernel show of the containers.
//!
//! Other inputs of the same kind as the ones here:
//! - paths with and without a version, with `%2F`, doubled slashes, names that look like routes; queries with repeated, unknown and
//!   empty parameters; bodies that are empty, null, lists, wrong types, cut off, chunked.
//! - clients that vanish before, during and after each answer; a daemon that is killed then.
#![cfg(feature = "daemon")]

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};
use support::daemon::{RunningDaemon, create, exchange, frames, read_head, script};
use support::image::Layer;
use support::kept::{KeptHome, lives};
use support::lab::ran_with_loopback;
use support::{random, rounds, text, wait_until};

#[test]
fn versions_and_errors_are_dockers() {
    let daemon = RunningDaemon::start();
    for path in ["/_ping", "/v1.44/_ping", "/v1.24/_ping"] {
        let (status, head, body) = daemon.ask_bytes("GET", path, &[], b"");
        assert_eq!((status, &*body), (200, &b"OK"[..]));
        let head = head.to_ascii_lowercase();
        assert!(head.contains("api-version: 1.44") && head.contains("ostype: linux"), "{head}");
        assert_eq!(daemon.ask_bytes("HEAD", path, &[], b"").0, 200);
    }
    assert_eq!(daemon.get("/version")["MinAPIVersion"], "1.24");
    assert_eq!(daemon.get("/v1.30/info")["Swarm"]["LocalNodeState"], "inactive");
    let refused = |method: &str, path: &str, body: &[u8]| {
        let (status, head, body) = daemon.ask_bytes(method, path, &[], body);
        assert!(head.to_ascii_lowercase().contains("content-type: application/json"), "{head}");
        let body: Value = serde_json::from_slice(&body).unwrap();
        (status, body["message"].as_str().unwrap().to_owned())
    };
    let new = "client version 1.99 is too new. Maximum supported API version is 1.44";
    assert_eq!(refused("GET", "/v1.99/info", b""), (400, new.to_owned()));
    assert_eq!(refused("GET", "/v1.10/info", b"").0, 400);
    assert_eq!(refused("GET", "/nothing", b""), (404, "page not found".to_owned()));
    assert_eq!(refused("DELETE", "/info", b"").0, 404);
    assert_eq!(refused("GET", "/containers/x/json", b""), (404, "No such container: x".to_owned()));
    assert_eq!(refused("GET", "/images/a/b:c/json", b"").0, 404);
    assert_eq!(refused("POST", "/containers/create", b"{").0, 400);
    assert_eq!(refused("POST", "/containers/create", b"[]").0, 400);
    assert_eq!(
        refused("POST", "/containers/create", b"{\"Image\":\"x\"}"),
        (404, "No such image: x:latest".into())
    );
    assert_eq!(refused("GET", "/containers/json?filters=x", b"").0, 400);
    assert_eq!(
        refused("GET", "/containers/json?filters=%7B%22x%22%3A%5B%5D%7D", b"").1,
        "invalid filter 'x'"
    );
    assert_eq!(refused("POST", "/networks/create", b"{}").0, 501);
    assert_eq!(refused("GET", "/swarm", b"").0, 503);
    assert!(refused("POST", "/session", b"").1.contains("DOCKER_BUILDKIT=0"));
}

/// A client that waits has started the supervisor, which has the lock of the container.
#[test]
fn a_created_container_is_removed_though_a_client_waits_for_its_end() {
    let daemon = RunningDaemon::start();
    daemon.image("app:1");
    for condition in ["next-exit", "removed"] {
        create(&daemon, "?name=web", &script("true"));
        let mut waiting = daemon.connect();
        let request = format!(
            "POST /containers/web/wait?condition={condition} HTTP/1.1\r\nHost: d\r\nContent-Length: 0\r\n\r\n"
        );
        waiting.write_all(request.as_bytes()).unwrap();
        assert_eq!(read_head(&mut waiting).0, 200, "{condition}");
        assert_eq!(daemon.ask("DELETE", "/containers/web", &Value::Null).0, 204, "{condition}");
        waiting.shutdown(Shutdown::Write).unwrap();
        waiting.read_to_end(&mut Vec::new()).unwrap();
        assert_eq!(daemon.get("/containers/json?all=1"), json!([]), "{condition}");
    }
}

#[test]
fn a_container_lives_as_on_the_command_line() {
    let daemon = RunningDaemon::start();
    daemon.image("app:1");
    let mut body = script("echo out; echo err >&2; exec sleep 600");
    body["Labels"] = json!({ "who": "api" });
    body["Env"] = json!(["A=b c"]);
    let id = create(&daemon, "?name=web", &body);
    assert_eq!(daemon.home.status("web"), "created");
    let taken = daemon.ask("POST", "/containers/create?name=web", &body);
    assert_eq!(taken.0, 409, "{}", taken.1);
    assert!(taken.1["message"].as_str().unwrap().starts_with("Conflict. The container name \"/web\""));
    daemon.post("/containers/web/start");
    assert_eq!(daemon.ask("POST", "/containers/web/start", &Value::Null).0, 304);
    let inspected = daemon.get(&format!("/containers/{}/json", &id[..12]));
    assert_eq!((&inspected["Id"], &inspected["Name"]), (&json!(id), &json!("/web")));
    assert_eq!(inspected["State"]["Status"], "running");
    assert!(lives(inspected["State"]["Pid"].as_u64().unwrap() as u32));
    assert_eq!(inspected["HostConfig"]["NetworkMode"], "none");
    assert!(
        inspected["NetworkSettings"]["Ports"].is_object() && inspected["Config"]["Labels"]["who"] == "api"
    );
    let listed = daemon.get("/containers/json?filters=%7B%22label%22%3A%7B%22who%3Dapi%22%3Atrue%7D%7D");
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["Names"]), (1, &json!(["/web"])));
    assert_eq!(listed[0]["Image"], "app:1");
    // A container of the command line is there too.
    let own = daemon.home.out(&["create", "--name", "own", "--network", "none", "app:1"]);
    assert_eq!(daemon.get("/containers/json?all=1&limit=1")[0]["Id"], json!(own));
    wait_until("the log has both lines", || {
        daemon.ask_bytes("GET", "/containers/web/logs?stdout=1&stderr=1", &[], b"").2.len() == 8 + 4 + 8 + 4
    });
    let (_, _, log) = daemon.ask_bytes("GET", "/containers/web/logs?stdout=1&stderr=1", &[], b"");
    let mut log = frames(&log);
    log.sort();
    assert_eq!(log, [(1, "out\n".to_owned()), (2, "err\n".to_owned())]);
    daemon.post("/containers/web/rename?name=db");
    let running = daemon.ask("DELETE", "/containers/db", &Value::Null);
    assert_eq!(running.0, 409);
    assert!(
        running.1["message"]
            .as_str()
            .unwrap()
            .starts_with("cannot remove container \"/db\": container is running")
    );
    daemon.post("/containers/db/kill?signal=SIGKILL");
    assert_eq!(daemon.post("/containers/db/wait"), json!({ "StatusCode": 137, "Error": null }));
    assert_eq!(daemon.ask("POST", "/containers/db/stop", &Value::Null).0, 304);
    assert_eq!(daemon.ask("DELETE", "/containers/db", &Value::Null).0, 204);
    assert_eq!(daemon.home.status("db"), "absent");
}

#[test]
fn a_client_has_the_streams_of_a_container() {
    let daemon = RunningDaemon::start();
    daemon.image("app:1");
    let mut body = script("cat; echo end >&2");
    body["OpenStdin"] = json!(true);
    body["StdinOnce"] = json!(true);
    body["HostConfig"]["AutoRemove"] = json!(true);
    let id = create(&daemon, "", &body);
    // As docker does: attach, wait, start. The head of the answer to wait comes before the start.
    let mut attached = daemon.connect();
    let path = format!("/v1.44/containers/{id}/attach?stream=1&stdin=1&stdout=1&stderr=1");
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n"
    );
    attached.write_all(head.as_bytes()).unwrap();
    let (status, head) = read_head(&mut attached);
    assert_eq!(status, 101, "{head}");
    assert!(head.starts_with("HTTP/1.1 101 UPGRADED") && head.contains("multiplexed-stream"), "{head}");
    let mut waiting = daemon.connect();
    waiting
        .write_all(format!("POST /containers/{id}/wait?condition=removed HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())
        .unwrap();
    assert_eq!(read_head(&mut waiting).0, 200);
    attached.write_all(b"early ").unwrap();
    daemon.post(&format!("/containers/{id}/start"));
    let long = "x".repeat(300_000);
    let mut writer = attached.try_clone().unwrap();
    let content = long.clone();
    let writes = std::thread::spawn(move || {
        writer.write_all(content.as_bytes()).unwrap();
        // The end of standard input, not of the connection.
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut received = Vec::new();
    attached.read_to_end(&mut received).unwrap();
    writes.join().unwrap();
    assert_eq!(frames(&received), [(1, format!("early {long}")), (2, "end\n".to_owned())]);
    let mut ended = Vec::new();
    waiting.read_to_end(&mut ended).unwrap();
    assert!(text(&ended).contains(r#""StatusCode":0"#), "{}", text(&ended));
    assert_eq!(daemon.ask("GET", &format!("/containers/{id}/json"), &Value::Null).0, 404);
}

#[test]
fn a_further_command_has_streams_and_an_exit_status() {
    let daemon = RunningDaemon::start();
    daemon.image("app:1");
    create(&daemon, "?name=web", &script("exec sleep 600"));
    assert_eq!(daemon.ask("POST", "/containers/web/exec", &json!({ "Cmd": ["ls"] })).0, 409);
    daemon.post("/containers/web/start");
    let exec = |body: Value| {
        let (status, made) = daemon.ask("POST", "/containers/web/exec", &body);
        assert_eq!(status, 201, "{made}");
        made["Id"].as_str().unwrap().to_owned()
    };
    let id = exec(json!({
        "Cmd": ["sh", "-c", "echo $A; cat /etc/hello >&2; exit 7"], "Env": ["A=b"], "AttachStdout": true, "AttachStderr": true,
    }));
    let (status, _, output) =
        daemon.ask_bytes("POST", &format!("/exec/{id}/start"), &[], b"{\"Detach\":false}");
    let mut output = frames(&output);
    output.sort();
    assert_eq!((status, output), (200, vec![(1, "b\n".to_owned()), (2, "hello\n".to_owned())]));
    let about = daemon.get(&format!("/exec/{id}/json"));
    assert_eq!((&about["ExitCode"], &about["Running"]), (&json!(7), &json!(false)));
    assert_eq!(daemon.ask("POST", &format!("/exec/{id}/start"), &json!({})).0, 409);
    assert_eq!(daemon.ask("GET", "/exec/none/json", &Value::Null).0, 404);
    let id = exec(json!({ "Cmd": ["nothing"], "AttachStderr": true }));
    daemon.ask_bytes("POST", &format!("/exec/{id}/start"), &[], b"{}");
    assert_eq!(daemon.get(&format!("/exec/{id}/json"))["ExitCode"], 127);
    // With a terminal there are no frames.
    let id = exec(json!({ "Cmd": ["tty"], "Tty": true, "AttachStdin": true, "AttachStdout": true }));
    let (_, _, output) = daemon.ask_bytes("POST", &format!("/exec/{id}/start"), &[], b"{\"Tty\":true}");
    assert!(text(&output).starts_with("/dev/pts/"), "{}", text(&output));
}

#[test]
fn files_are_copied_as_archives() {
    let daemon = RunningDaemon::start();
    daemon.image("app:1");
    create(&daemon, "?name=web", &script("true"));
    let (status, head, archive) =
        daemon.ask_bytes("GET", "/containers/web/archive?path=/etc/hello", &[], b"");
    assert_eq!(status, 200, "{}", text(&archive));
    assert!(head.to_ascii_lowercase().contains("x-docker-container-path-stat: "), "{head}");
    let about = daemon.ask_bytes("HEAD", "/containers/web/archive?path=/srv/link", &[], b"");
    assert_eq!(about.0, 200);
    assert_eq!(daemon.ask_bytes("HEAD", "/containers/web/archive?path=/none", &[], b"").0, 404);
    let (status, answer) = {
        let (status, _, body) = daemon.ask_bytes("PUT", "/containers/web/archive?path=/tmp", &[], &archive);
        (status, text(&body))
    };
    assert_eq!(status, 200, "{answer}");
    let changes = daemon.get("/containers/web/changes");
    assert!(changes.as_array().unwrap().contains(&json!({ "Path": "/tmp/hello", "Kind": 1 })), "{changes}");
    // The names begin with the last part of the path, which the client replaces.
    for (path, names) in [
        ("/srv/", ["srv/", "srv/link"]),
        ("/srv/.", ["./", "./link"]),
        ("/tmp/../etc/.", ["./", "./hello"]),
        ("/", ["/", "/etc/hello"]),
        ("/.", ["./", "./etc/hello"]),
    ] {
        let path = format!("/containers/web/archive?path={path}");
        let (status, _, archive) = daemon.ask_bytes("GET", &path, &[], b"");
        assert_eq!(status, 200, "{path} {}", text(&archive));
        let mut read = tar::Archive::new(&*archive);
        let own: Vec<String> =
            read.entries().unwrap().map(|entry| text(&entry.unwrap().path_bytes())).collect();
        assert_eq!(own[0], names[0], "{path} {own:?}");
        assert!(own.iter().any(|own| own == names[1]), "{path} {own:?}");
        assert!(own.iter().all(|own| own.starts_with(names[0])), "{path} {own:?}");
    }
    let (status, _, whole) = daemon.ask_bytes("GET", "/containers/web/export", &[], b"");
    assert!(status == 200 && whole.windows(9).any(|part| part == b"tmp/hello"));
}

#[test]
fn who_waits_for_the_removal_gets_the_status_of_the_end() {
    let daemon = RunningDaemon::start();
    daemon.image("app:1");
    create(&daemon, "?name=web", &script("exit 7"));
    let wait = "POST /containers/web/wait?condition=removed HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let mut waiting = daemon.connect();
    waiting.write_all(wait.as_bytes()).unwrap();
    assert_eq!(read_head(&mut waiting).0, 200);
    daemon.post("/containers/web/start");
    wait_until("it has ended", || daemon.home.status("web") == "exited");
    assert_eq!(daemon.ask("DELETE", "/containers/web", &Value::Null).0, 204);
    let mut answer = String::new();
    waiting.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("{\"StatusCode\":7,\"Error\":null}"), "{answer}");
    assert_eq!(daemon.ask("DELETE", "/containers/web?force=1", &Value::Null).0, 404);
    // A client that leaves does not keep one that was not started.
    create(&daemon, "?name=web", &script("exit 7"));
    let mut waiting = daemon.connect();
    waiting.write_all(wait.as_bytes()).unwrap();
    assert_eq!(read_head(&mut waiting).0, 200);
    drop(waiting);
    assert_eq!(daemon.ask("DELETE", "/containers/web", &Value::Null).0, 204);
}

#[test]
fn a_client_that_has_sent_all_gets_its_answer() {
    let daemon = RunningDaemon::start();
    daemon.image("app:1");
    create(&daemon, "?name=web", &script("echo line; exec sleep 600"));
    daemon.post("/containers/web/start");
    wait_until("it has printed", || daemon.home.out(&["logs", "web"]).contains("line"));
    let asked = |request: &str, body: &str| {
        let mut stream = daemon.connect();
        let length = body.len();
        let head = format!(
            "{request} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        text(&answer)
    };
    assert!(asked("GET /_ping", "").ends_with("\r\n\r\nOK"));
    assert!(asked("POST /volumes/create", "{\"Name\":\"data\"}").contains("\"Name\":\"data\""));
    assert!(asked("GET /containers/web/logs?stdout=1", "").contains("line"));
    assert!(asked("GET /containers/web/archive?path=/etc/hello", "").contains("hello\n"));
    // What would have no end has one: the client asks for nothing more.
    for path in ["/events", "/containers/web/logs?stdout=1&follow=1", "/containers/web/stats"] {
        assert!(asked(&format!("GET {path}"), "").starts_with("HTTP/1.1 200"), "{path}");
    }
    // A client that has left is noticed also where nothing is sent to it.
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count();
    let before = descriptors();
    let exec = json!({ "AttachStdout": true, "Cmd": ["sleep", "600"] });
    let id = daemon.ask("POST", "/containers/web/exec", &exec).1["Id"].as_str().unwrap().to_owned();
    let mut quiet = daemon.connect();
    let start = format!(
        "POST /exec/{id}/start HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}"
    );
    quiet.write_all(start.as_bytes()).unwrap();
    assert_eq!(read_head(&mut quiet).0, 200);
    drop(quiet);
    wait_until("the daemon has closed its descriptors", || descriptors() <= before);
}

#[test]
fn the_end_of_the_daemon_ends_no_container() {
    let mut daemon = RunningDaemon::start();
    daemon.image("app:1");
    let id = create(&daemon, "?name=web", &script("exec sleep 600"));
    daemon.post("/containers/web/start");
    let pid = daemon.home.pid("web", "command");
    // A client is waiting when the daemon is killed.
    let mut waiting = daemon.connect();
    waiting.write_all(b"POST /containers/web/wait HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert_eq!(read_head(&mut waiting).0, 200);
    daemon.replace();
    assert!(lives(pid));
    assert_eq!(daemon.get("/containers/web/json")["State"]["Pid"], json!(pid));
    daemon.post("/containers/web/stop?t=0");
    assert!(!lives(pid));
    assert_eq!(daemon.ask("DELETE", &format!("/containers/{id}"), &Value::Null).0, 204);
    daemon.home.is_empty();
}

#[test]
fn clients_that_vanish_do_no_harm() {
    let daemon = RunningDaemon::start();
    daemon.image("app:1");
    create(&daemon, "?name=web", &script("while echo line; do :; done"));
    daemon.post("/containers/web/start");
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count();
    let before = descriptors();
    let requests = [
        "GET /containers/web/logs?stdout=1&follow=1 HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /containers/web/wait HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /events HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /containers/web/stats HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /containers/web/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n",
        "POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
        "GET /containers/json HTTP/1.1\r\nHo",
    ];
    for request in requests {
        for reads in [false, true] {
            let mut stream: UnixStream = daemon.connect();
            stream.write_all(request.as_bytes()).unwrap();
            if reads && request.ends_with("\r\n\r\n") {
                read_head(&mut stream);
            }
        }
    }
    // One that was attached to a container that prints nothing.
    create(&daemon, "?name=quiet", &script("exec sleep 600"));
    let mut quiet = daemon.connect();
    let attach = "POST /containers/quiet/attach?stream=1&stdin=1&stdout=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n";
    quiet.write_all(attach.as_bytes()).unwrap();
    assert_eq!(read_head(&mut quiet).0, 101);
    daemon.post("/containers/quiet/start");
    drop(quiet);
    // One that never reads, meanwhile.
    let mut slow = daemon.connect();
    slow.write_all(requests[0].as_bytes()).unwrap();
    assert_eq!(daemon.get("/containers/json").as_array().unwrap().len(), 2);
    drop(slow);
    wait_until("the daemon has closed its descriptors", || descriptors() <= before);
    daemon.post("/containers/web/kill");
}

#[test]
fn over_tcp_no_web_page_is_answered() {
    if ran_with_loopback("over_tcp_no_web_page_is_answered") {
        return;
    }
    let home = KeptHome::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let daemon = RunningDaemon::with(home, &[&format!("--host=tcp://127.0.0.1:{port}")]);
    wait_until("the daemon listens on TCP", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    let ask = |headers: &[&str]| {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        exchange(&mut stream, "GET", "/_ping", headers, b"").0
    };
    let own = format!("Host: 127.0.0.1:{port}");
    assert_eq!(ask(&[&own]), 200);
    assert_eq!(ask(&["Host: localhost"]), 200);
    for own in ["Host: LOCALHOST", "Host: 127.0.0.2:80", "Host: [::1]:80", "Host: [::1]"] {
        assert_eq!(ask(&[own]), 200, "{own}");
    }
    for foreign in ["Host: example.com", "Host: 127.0.0.1.example.com:80", "Host: 192.0.2.1", "Host:"] {
        assert_eq!(ask(&[foreign]), 403, "{foreign}");
    }
    for foreign in ["Origin: http://example.com", "Origin: null", "Sec-Fetch-Site: cross-site"] {
        assert_eq!(ask(&[&own, foreign]), 403, "{foreign}");
    }
    // On the socket of the file system, no browser can send a request.
    assert_eq!(daemon.ask_bytes("GET", "/_ping", &["Host: api.moby.localhost"], b"").0, 200);
    let elsewhere = daemon.home.refused(&["daemon", "run", "--host", "tcp://0.0.0.0:0"], 2);
    assert!(elsewhere.contains("127.0.0.1"), "{elsewhere}");
}

#[test]
fn images_and_volumes_have_events() {
    let daemon = RunningDaemon::start();
    daemon.image("app:1");
    let home = &daemon.home;
    let id = home.out(&["images", "-q", "--no-trunc", "app:1"]);
    home.out(&["tag", "app:1", "app:2"]);
    home.out(&["save", "-o", home.around().join("app.tar").to_str().unwrap(), "app:2"]);
    home.out(&["volume", "create", "data"]);
    let mut body = script("true");
    body["HostConfig"]["Binds"] = json!(["data:/srv"]);
    let container = create(&daemon, "?name=web", &body);
    daemon.post("/containers/web/start");
    assert_eq!(daemon.post("/containers/web/wait")["StatusCode"], 0);
    home.out(&["rm", "web"]);
    home.out(&["volume", "rm", "data"]);
    home.out(&["rmi", "app:2"]);
    home.out(&["rmi", "app:1"]);
    let shown = |more: &[&str]| {
        let format = ["--format", "{{.Type}} {{.Action}} {{.Actor.ID}} {{.Actor.Attributes.name}}"];
        home.out(&[&["events", "--since", "1h", "--until", "0s"], &format[..], more].concat())
    };
    let of_image = |action: &str, name: &str| format!("image {action} {id} {name}");
    let expected = [
        of_image("load", &id),
        of_image("tag", "app:2"),
        of_image("save", &id),
        of_image("untag", &id),
        of_image("untag", &id),
        of_image("delete", &id),
    ];
    assert_eq!(shown(&["-f", "type=image"]).lines().collect::<Vec<_>>(), expected);
    assert_eq!(shown(&["-f", "type=image", "-f", "image=app"]), of_image("tag", "app:2"));
    let of_volume = ["-f", "volume=data", "--format", "{{.Action}} {{json .Actor.Attributes}}"];
    let of_volume = home.out(&[&["events", "--since", "1h", "--until", "0s"], &of_volume[..]].concat());
    let expected = [
        "create {\"driver\":\"local\"}".to_owned(),
        format!(
            "mount {{\"container\":\"{container}\",\"destination\":\"/srv\",\"driver\":\"local\",\"propagation\":\"\",\"read/write\":\"true\"}}"
        ),
        format!("unmount {{\"container\":\"{container}\",\"driver\":\"local\"}}"),
        "destroy {\"driver\":\"local\"}".to_owned(),
    ];
    assert_eq!(of_volume.lines().collect::<Vec<_>>(), expected);
    // As Docker prints it: date, kind, action, ID and attributes.
    let line =
        home.out(&["events", "--since", "1h", "--until", "0s", "-f", "event=destroy", "-f", "type=volume"]);
    assert!(line.ends_with(" volume destroy data (driver=local)"), "{line}");
    // The same by the API. Volumes have no keys of former versions.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    // Seconds: what happens in this one is before the next.
    let path = format!("/events?since=0&until={}&filters=%7B%22type%22%3A%5B%22volume%22%5D%7D", now + 1);
    let (status, _, body) = daemon.ask_bytes("GET", &path, &[], b"");
    let first: Value = serde_json::from_str(text(&body).lines().next().unwrap()).unwrap();
    assert_eq!((status, &first["Type"], &first["Action"]), (200, &json!("volume"), &json!("create")));
    assert_eq!((&first["Actor"]["ID"], first.get("status")), (&json!("data"), None));
}

#[test]
fn the_daemon_is_a_service() {
    let home = KeptHome::new();
    let socket = home.around().join("s.sock");
    let host = format!("unix://{}", socket.display());
    assert_eq!(home.run(&["daemon", "status"]).status.code(), Some(3));
    let started = home.out(&["daemon", "start", "--host", &host]);
    assert!(started.contains(&host), "{started}");
    let again = home.refused(&["daemon", "start", "--host", &host], 1);
    assert!(again.contains("runs already"), "{again}");
    let status =
        || -> Value { serde_json::from_str(&home.out(&["daemon", "status", "--format", "json"])).unwrap() };
    let first = status();
    assert_eq!((&first["running"], &first["addresses"]), (&json!(true), &json!([host])));
    let version: Value = serde_json::from_str(&home.out(&["api", "GET", "/version"])).unwrap();
    assert_eq!(version["ApiVersion"], "1.44");
    assert_eq!(home.run(&["api", "GET", "/containers/none/json"]).status.code(), Some(1));
    let explained = home.run(&["daemon", "restart", "--explain"]);
    assert!(text(&explained.stderr).contains("pidfd_send_signal"), "{}", text(&explained.stderr));
    assert_ne!(status()["pid"], first["pid"]);
    assert_eq!(status()["addresses"], json!([host]));
    let pid = status()["pid"].as_u64().unwrap() as u32;
    home.out(&["daemon", "stop"]);
    assert!(!lives(pid) && !socket.exists());
    assert!(home.refused(&["daemon", "stop"], 1).contains("no daemon"));
    assert!(home.refused(&["api", "GET", "/info", "--host", &host], 125).contains("daemon start"));
}

#[test]
fn the_trace_explains_each_request() {
    let daemon = RunningDaemon::with(KeptHome::new(), &["--trace"]);
    daemon.get("/containers/json?all=1");
    daemon.ask("DELETE", "/containers/none", &Value::Null);
    let context =
        Layer::new().file("Dockerfile", "FROM scratch\nARG A\nLABEL a=$A\nFROM scratch AS last\n").tar();
    let path = "/build?t=x%3A1&target=last&buildargs=%7B%22A%22%3A%22b%20c%22%7D";
    assert_eq!(daemon.ask_bytes("POST", path, &[], &context).0, 200);
    let printed = || std::fs::read_to_string(daemon.home.around().join("daemon.out")).unwrap();
    wait_until("both requests are printed", || printed().contains("= 404"));
    let printed = printed();
    for line in [
        "#2 GET /containers/json?all=1\n",
        "#2   Lists containers.\n",
        "#2   $ sandbox ps -a\n",
        "#2   = 200 OK, after ",
        "#3 DELETE /containers/none\n",
        "#3   $ sandbox rm -- none\n",
        "#4   $ sandbox build --tag=x:1 --target=last '--build-arg=A=b c' -- -\n",
    ] {
        assert!(printed.contains(line), "{line:?} {printed}");
    }
}

#[test]
fn no_request_makes_the_daemon_fail() {
    let daemon = RunningDaemon::start();
    daemon.image("app:1");
    create(&daemon, "?name=web", &script("exec sleep 600"));
    let mut random = random();
    let mut pick = |all: &[&'static str]| all[random(all.len() as u64) as usize];
    let names =
        ["web", "none", "", "..", "%00", "%2e%2e", "app:1", "sha256:0", "*", "a/b", "web/json", "\u{e9}"];
    let requests = match rounds(0) {
        0 => 60,
        asked => asked * 500,
    };
    for _ in 0..requests {
        let kind = pick(&["containers", "images", "exec", "volumes", "networks", "plugins", "x"]);
        let action = pick(&[
            "json",
            "start",
            "stop",
            "wait?condition=x",
            "resize?h=x",
            "resize?h=1&w=1",
            "logs",
            "logs?stdout=1&tail=x",
            "logs?since=x&stdout=1",
            "archive",
            "archive?path=",
            "top?ps_args=--%20-x",
            "update",
            "exec",
            "rename",
            "rename?name=%2F",
            "tag",
            "tag?repo=%00",
            "history",
            "get",
            "changes",
            "kill?signal=x",
            "",
            "attach?detachKeys=ctrl",
        ]);
        let path = match random_path(&mut pick, &names, kind, action) {
            Some(path) => path,
            None => continue,
        };
        let method = pick(&["GET", "POST", "DELETE", "PUT", "HEAD", "PATCH"]);
        let body = pick(&[
            "",
            "{}",
            "null",
            "[]",
            "{\"Cmd\":1}",
            "{\"Memory\":\"x\"}",
            "{\"HostConfig\":[]}",
            "\u{0}",
            "{",
        ]);
        // The container is not to be ended by a request that is right.
        if method == "DELETE" && path.contains("web") {
            continue;
        }
        let (status, _, answer) = daemon.ask_bytes(method, &path, &[], body.as_bytes());
        if status >= 400 && method != "HEAD" {
            let message = serde_json::from_slice::<Value>(&answer).unwrap_or_default();
            let message = message["message"].as_str().unwrap_or_default().to_owned();
            // What hyper refuses itself has no body.
            assert!(
                !message.is_empty() || status == 400,
                "{method} {path} {body} {status} {}",
                text(&answer)
            );
            assert!(!message.contains("panic"), "{method} {path} {body} {message}");
        }
    }
    assert_eq!(daemon.get("/containers/web/json")["Name"], "/web");
}

fn random_path(
    pick: &mut impl FnMut(&[&'static str]) -> &'static str,
    names: &[&'static str],
    kind: &str,
    action: &str,
) -> Option<String> {
    let version = pick(&["", "/v1.44", "/v1.24", "/v9.9", "/v"]);
    let name = pick(names);
    let path = format!("{version}/{kind}/{name}/{action}");
    path.is_ascii().then_some(path)
}
