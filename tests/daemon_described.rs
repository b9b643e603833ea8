//! What the daemon says of containers and images that belong to others: further commands, images that were made from another one,
//! containers that are linked, what a prune has freed, why an image cannot be pulled.
//!
//! Judged by the answers, and by what the containers and the command line show.
//!
//! Other inputs of the same kind as the ones here:
//! - commands that end while they are listed; that are started twice; whose daemon was killed.
//! - images from `commit`, `import` and `load`; images of a step of a build; a name that another image has got.
//! - labels of one byte less and more than a word may have; thousands of them; with line breaks, zero bytes, no value.
#![cfg(feature = "daemon")]

mod support;

use std::process::Command;

use serde_json::{Value, json};
use support::build::context;
use support::daemon::{RunningDaemon, create, script};
use support::lab::ran_with_loopback;
use support::registry::DockerRegistry;
use support::{is_root, text, wait_until};

fn daemon() -> RunningDaemon {
    let daemon = RunningDaemon::start();
    daemon.image("app:1");
    daemon
}

fn started(daemon: &RunningDaemon, name: &str, body: &Value) -> String {
    let id = create(daemon, &format!("?name={name}"), body);
    daemon.post(&format!("/containers/{name}/start"));
    id
}

/// Notes a further command of `web`. Returns its ID.
fn noted(daemon: &RunningDaemon, script: &str) -> String {
    let body = json!({ "Cmd": ["sh", "-c", script] });
    let (status, made) = daemon.ask("POST", "/containers/web/exec", &body);
    assert_eq!(status, 201, "{made}");
    made["Id"].as_str().unwrap().to_owned()
}

fn start(daemon: &RunningDaemon, id: &str, is_detached: bool) {
    let (status, body) = daemon.ask("POST", &format!("/exec/{id}/start"), &json!({ "Detach": is_detached }));
    assert_eq!(status, 200, "{body}");
}

#[test]
fn a_description_has_the_commands_that_have_not_ended() {
    let mut daemon = daemon();
    started(&daemon, "web", &script("exec sleep 600"));
    let listed = |daemon: &RunningDaemon| daemon.get("/containers/web/json")["ExecIDs"].clone();
    assert_eq!(listed(&daemon), Value::Null);
    let end = "while [ ! -e /tmp/end ]; do sleep 0.1; done";
    let (unstarted, background) = (noted(&daemon, "true"), noted(&daemon, end));
    let attached = noted(&daemon, end);
    start(&daemon, &background, true);
    let failing = noted(&daemon, "exit 3");
    start(&daemon, &failing, false);
    let mut stream = daemon.connect();
    let request = format!(
        "POST /exec/{attached}/start HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}"
    );
    std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
    assert_eq!(support::daemon::read_head(&mut stream).0, 200);
    let mut all = vec![unstarted.clone(), background, attached];
    all.sort();
    wait_until("the other command has ended", || listed(&daemon) == json!(all));
    // Another daemon knows them too, and so does the command line.
    daemon.replace();
    assert_eq!(listed(&daemon), json!(all));
    let own: Value = serde_json::from_str(&daemon.home.out(&["inspect", "web"])).unwrap();
    assert_eq!(own[0]["ExecIDs"], json!(all));
    daemon.home.out(&["exec", "web", "sh", "-c", "echo >/tmp/end"]);
    wait_until("both have ended", || listed(&daemon) == json!([unstarted]));
    daemon.post("/containers/web/restart?t=0");
    assert_eq!(listed(&daemon), Value::Null);
    daemon.post("/containers/web/kill");
    assert_eq!(listed(&daemon), Value::Null);
}

#[test]
fn an_image_has_the_containers_of_the_images_that_were_made_from_it() {
    let daemon = daemon();
    let layer = support::image::programs(&["sh", "sleep"]).file("etc/other", "other\n");
    let other = support::image::Image::of(&[layer]).docker(&["other:1"]);
    let loaded = support::feed(&mut daemon.home.command(&["load", "-q"]), other);
    assert!(loaded.status.success(), "{}", text(&loaded.stderr));
    for (name, dockerfile) in
        [("child", "FROM app:1\nCOPY f /f\n"), ("grandchild", "FROM child\nENV A=1\nCMD [\"sh\"]\n")]
    {
        let place = context(&daemon.home, name, dockerfile, &[("f", "x")]);
        daemon.home.out(&["build", "-q", "-t", name, place.to_str().unwrap()]);
    }
    daemon.home.out(&["create", "--name", "of-app", "--network", "none", "app:1", "sh", "-c", "echo >/x"]);
    daemon.home.out(&["start", "-a", "of-app"]);
    daemon.home.out(&["commit", "of-app", "committed"]);
    for image in ["child", "grandchild", "committed", "other:1"] {
        let name = format!("of-{}", image.trim_end_matches(":1"));
        daemon.home.out(&["create", "--name", &name, "--network", "none", image, "sh"]);
    }
    let id = |name: &str| daemon.get(&format!("/images/{name}/json"))["Id"].as_str().unwrap().to_owned();
    let of_child = &["of-child", "of-grandchild"][..];
    let of_app = &["of-app", "of-child", "of-committed", "of-grandchild"][..];
    let child = id("child");
    for (value, expected) in [
        ("app:1", of_app),
        (&*id("app:1"), of_app),
        ("child", of_child),
        ("child:latest", of_child),
        (&child, of_child),
        (&child[7..19], of_child),
        ("grandchild", &["of-grandchild"]),
        ("committed", &["of-committed"]),
        ("other:1", &["of-other"]),
        ("app", &[]),
        ("nosuch", &[]),
    ] {
        let (mut api, mut own) = (Vec::new(), Vec::new());
        let listed = daemon.get(&format!("/containers/json?all=1&filters={{\"ancestor\":[\"{value}\"]}}"));
        for row in listed.as_array().unwrap() {
            api.push(row["Names"][0].as_str().unwrap().trim_start_matches('/').to_owned());
        }
        let filter = format!("ancestor={value}");
        let listed = daemon.home.out(&["ps", "-a", "--filter", &filter, "--format", "{{.Names}}"]);
        own.extend(listed.lines().map(str::to_owned));
        api.sort();
        own.sort();
        assert_eq!(
            (&api[..], &own[..]),
            (&expected.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()[..], &api[..]),
            "{value}"
        );
    }
    // A name leads to the image that has it now.
    daemon.home.out(&["tag", "other:1", "child"]);
    let listed = daemon.home.out(&["ps", "-a", "--filter", "ancestor=child", "--format", "{{.Names}}"]);
    assert_eq!(listed, "of-other");
}

/// A word of a command line has at most 128 KiB, and all of them together 6 MiB.
#[test]
fn labels_and_variables_may_be_long() {
    let daemon = daemon();
    let mut body = script("echo ${#LONG}");
    let long = "x".repeat(300 << 10);
    body["Labels"] =
        json!({ "long": long, "lines": "a\nb\n", "none": "", "# no": " comment", "umlaut": "ü" });
    for number in 0..1000 {
        body["Labels"][format!("label-{number}")] = json!("y".repeat(2000));
    }
    body["Env"] = json!([format!("LONG={}", "z".repeat(100 << 10))]);
    let (status, made) = daemon.ask("POST", "/containers/create?name=web", &body);
    assert_eq!(status, 201, "{made}");
    let labels = daemon.get("/containers/web/json")["Config"]["Labels"].clone();
    let mut expected = body["Labels"].clone();
    expected["maker"] = json!("test");
    assert!(labels == expected, "{} of {}", labels.as_object().unwrap().len(), 1006);
    assert_eq!(daemon.home.out(&["start", "-a", "web"]), (100 << 10).to_string());
    // What no label can have is refused, whether the labels are long or not.
    for length in [1, 300 << 10] {
        body["Labels"] = json!({ "a": "x".repeat(length), "b": "zero\0byte" });
        let (status, answer) = daemon.ask("POST", "/containers/create", &body);
        assert_eq!(status, 400, "{answer}");
    }
}

#[test]
fn a_running_container_has_files_of_its_own() {
    let daemon = daemon();
    let mut body = script("cat /etc/hosts /etc/hostname; exec sleep 600");
    body["Hostname"] = json!("box");
    create(&daemon, "?name=web", &body);
    let path = |name: &str| daemon.get("/containers/web/json")[name].as_str().unwrap().to_owned();
    let names = ["HostsPath", "HostnamePath", "ResolvConfPath"];
    assert_eq!(names.map(path), [""; 3]);
    daemon.post("/containers/web/start");
    wait_until("the command has printed both", || daemon.home.out(&["logs", "web"]).ends_with("box"));
    let content = |name: &str| std::fs::read_to_string(path(name)).unwrap();
    assert_eq!(content("HostsPath") + &content("HostnamePath"), daemon.home.out(&["logs", "web"]) + "\n");
    content("ResolvConfPath");
    assert!(std::fs::read_to_string(path("LogPath")).unwrap().contains("box"));
    daemon.post("/containers/web/kill");
    wait_until("the container has ended", || daemon.home.status("web") == "exited");
    assert_eq!(names.map(path), [""; 3]);
}

#[test]
fn swappiness_is_that_of_the_cgroup_or_is_discarded() {
    let daemon = daemon();
    let mut body = script("cat /sys/fs/cgroup/memory/memory.swappiness");
    for (given, expected) in [(json!(-1), Value::Null), (Value::Null, Value::Null)] {
        body["HostConfig"]["MemorySwappiness"] = given;
        let id = create(&daemon, "", &body);
        let described = daemon.get(&format!("/containers/{id}/json"));
        assert_eq!(described["HostConfig"]["MemorySwappiness"], expected);
    }
    for wrong in [json!(101), json!(-2), json!("10"), json!(1.5)] {
        body["HostConfig"]["MemorySwappiness"] = wrong;
        assert_eq!(daemon.ask("POST", "/containers/create", &body).0, 400);
    }
    if !is_root() {
        return;
    }
    let is_v1 = std::path::Path::new("/sys/fs/cgroup/memory/memory.swappiness").exists();
    for number in [0, 33] {
        body["HostConfig"]["MemorySwappiness"] = json!(number);
        let (status, made) = daemon.ask("POST", "/containers/create", &body);
        assert_eq!(status, 201, "{made}");
        let id = made["Id"].as_str().unwrap();
        if is_v1 {
            let described = daemon.get(&format!("/containers/{id}/json"));
            assert_eq!(described["HostConfig"]["MemorySwappiness"], number);
            assert_eq!(daemon.home.out(&["start", "-a", id]), number.to_string());
        } else {
            assert!(made["Warnings"].to_string().contains("swappiness is discarded"), "{made}");
        }
    }
}

#[test]
fn a_prune_on_the_command_line_has_an_event_too() {
    let daemon = daemon();
    daemon.home.out(&["create", "--name", "web", "--network", "none", "app:1", "sh", "-c", "echo 12345 >/f"]);
    daemon.home.out(&["start", "-a", "web"]);
    daemon.home.out(&["container", "prune", "-f"]);
    daemon.home.out(&["volume", "prune", "-f"]);
    // While another test starts a container, nobody knows which layers that has.
    for words in [&["image", "prune", "-af"][..], &["builder", "prune", "-f"]] {
        wait_until("it is pruned", || daemon.home.command(words).output().unwrap().status.success());
    }
    daemon.post("/networks/prune");
    let until = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + 1;
    let path = format!("/events?since=1&until={until}&filters={{\"event\":[\"prune\"]}}");
    let (_, _, events) = daemon.ask_bytes("GET", &path, &[], b"");
    let events = text(&events);
    let events: Vec<Value> = events.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let kinds: Vec<_> = events.iter().map(|event| event["Type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["container", "volume", "image", "builder", "network"]);
    let freed = |index: usize| -> u64 {
        events[index]["Actor"]["Attributes"]["reclaimed"].as_str().unwrap().parse().unwrap()
    };
    assert!(freed(0) >= 6 && freed(1) == 0 && freed(2) > 100_000 && freed(4) == 0, "{events:?}");
    let own = daemon.home.out(&[
        "events",
        "--since",
        "1",
        "--until",
        &until.to_string(),
        "--filter",
        "event=prune",
    ]);
    assert_eq!(own.lines().count(), 5, "{own}");
}

#[test]
fn a_linked_container_has_a_name_and_variables() {
    if ran_with_loopback("a_linked_container_has_a_name_and_variables") {
        return;
    }
    let daemon = daemon();
    let on_bridge = |line: &str| {
        let mut body = script(line);
        body["HostConfig"] = json!({ "NetworkMode": "bridge" });
        body
    };
    let mut other = on_bridge("exec sleep 600");
    other["Env"] = json!(["USER_NAME=me"]);
    other["ExposedPorts"] = json!({ "5432/tcp": {}, "53/udp": {} });
    let id = create(&daemon, "?name=db", &other);
    let mut body = on_bridge(
        "cat /etc/hosts; echo $STORE_1_PORT $STORE_1_PORT_53_UDP_PORT $STORE_1_ENV_USER_NAME $STORE_1_NAME",
    );
    for (links, message) in [
        (json!(["nosuch:x"]), "could not get container for nosuch: No such container: nosuch"),
        (json!(["db:a b"]), "--link has a wrong value"),
        (json!([5]), "Links"),
    ] {
        body["HostConfig"]["Links"] = links;
        let (status, answer) = daemon.ask("POST", "/containers/create", &body);
        assert!(status == 400 && answer["message"].as_str().unwrap().contains(message), "{answer}");
    }
    for mode in ["host", "none"] {
        body["HostConfig"] = json!({ "NetworkMode": mode, "Links": ["db:store-1"] });
        assert_eq!(daemon.ask("POST", "/containers/create", &body).0, 400, "{mode}");
    }
    body["HostConfig"] = json!({ "NetworkMode": "bridge", "Links": ["/db:/x/store-1", "db"] });
    let (status, made) = daemon.ask("POST", "/containers/create?name=web", &body);
    if !is_root() {
        assert_eq!(status, 400, "{made}");
        return;
    }
    assert_eq!(status, 201, "{made}");
    let described = daemon.get("/containers/web/json");
    assert_eq!(described["HostConfig"]["Links"], json!(["/db:/web/store-1", "/db:/web/db"]));
    let (status, answer) = daemon.ask("POST", "/containers/web/start", &Value::Null);
    let message = answer["message"].as_str().unwrap();
    assert!(
        status >= 400 && message.contains("Cannot link to a non running container: /db AS /web/store-1"),
        "{answer}"
    );
    daemon.post("/containers/db/start");
    let address =
        daemon.get("/containers/db/json")["NetworkSettings"]["IPAddress"].as_str().unwrap().to_owned();
    let printed = daemon.home.out(&["start", "-a", "web"]);
    for line in [
        format!("{address}\tstore-1 {} db", &id[..12]),
        format!("{address}\tdb {}", &id[..12]),
        format!("udp://{address}:53 53 me /web/store-1"),
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line}\n{printed}");
    }
    // On the command line too, and only for a container that stays.
    let words = ["run", "--rm", "--link", "db:far", "app:1", "cat", "/etc/hosts"];
    assert!(daemon.home.out(&words).contains("\tfar "));
    if !support::limits::may("a_linked_container_has_a_name_and_variables", "pids") {
        return;
    }
    // Limits do not depend on the other container. The variables stay.
    let mut body = on_bridge("exec sleep 600");
    body["HostConfig"]["Links"] = json!(["db"]);
    started(&daemon, "app", &body);
    daemon.post("/containers/db/kill");
    daemon.post("/containers/db/wait");
    daemon.home.out(&["update", "--pids-limit", "50", "app"]);
    assert_eq!(daemon.home.out(&["exec", "app", "sh", "-c", "echo $DB_NAME"]), "/app/db");
    // One that was removed is named by what the link is for.
    daemon.home.out(&["rm", "-f", "db"]);
    let error = daemon.home.refused(&["start", "web"], 1);
    assert!(error.contains("could not get container for web/store-1: No such container"), "{error}");
}

#[test]
fn the_cause_of_a_failed_pull_is_the_error_of_a_build() {
    if ran_with_loopback("the_cause_of_a_failed_pull_is_the_error_of_a_build") {
        return;
    }
    let daemon = RunningDaemon::start();
    let mut bases = vec![("127.0.0.1:1/app:1".to_owned(), "Connection refused")];
    let has_registry = Command::new("docker-registry").arg("--version").output().is_ok();
    let registry =
        has_registry.then(|| DockerRegistry::start(&daemon.home.around().join("registry"), "", ""));
    bases.extend(registry.iter().map(|registry| (registry.name("team/none:1"), "manifest unknown")));
    for (base, cause) in bases {
        let dockerfile = format!("FROM {base}\nRUN true\n");
        let archive = support::image::Layer::new().file("Dockerfile", &dockerfile).tar();
        let (status, _, body) = daemon.ask_bytes("POST", "/build", &[], &archive);
        let body = text(&body);
        assert_eq!(status, 200, "{body}");
        let lines: Vec<Value> = body.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let error = lines.last().unwrap()["errorDetail"]["message"].as_str().unwrap();
        assert!(error.contains(cause) && error.contains(base.split('/').next().unwrap()), "{error}");
        assert!(!error.contains("Dockerfile") && !error.contains("Pulling from"), "{error}");
        assert!(
            lines
                .iter()
                .any(|line| line["stream"].as_str().is_some_and(|line| line.contains("Pulling from"))),
            "{body}"
        );
        // One error on the command line too, with its place.
        let place = context(&daemon.home, "context", &dockerfile, &[]);
        let built = daemon.home.command(&["build", place.to_str().unwrap()]).output().unwrap();
        let message = text(&built.stderr);
        assert!(message.contains(cause) && message.contains("Dockerfile:1:6"), "{message}");
        assert_eq!(message.matches("sandbox: ").count(), 1, "{message}");
    }
}
