//! The daemon with Docker's own client, where it is installed.
//!
//! Judged by what `docker` prints and by its exit status, and by what the command line of `sandbox` shows of the same containers.
//!
//! Other inputs of the same kind as the ones here:
//! - each subcommand of docker with each of its flags; compose files; clients that negotiate other versions.
#![cfg(feature = "daemon")]

mod support;

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use support::daemon::RunningDaemon;
use support::image::Layer;
use support::lab::ran_with_loopback;
use support::registry::DockerRegistry;
use support::terminal::Terminal;
use support::{skip, text, wait_until};

/// Whether docker is installed.
fn has_docker(test: &str) -> bool {
    let found = Command::new("docker").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !found.is_ok_and(|status| status.success()) {
        skip(test, "machine: docker is not installed");
        return false;
    }
    true
}

/// A daemon with an image, if docker is installed.
fn daemon(test: &str) -> Option<RunningDaemon> {
    has_docker(test).then(|| {
        let daemon = RunningDaemon::start();
        daemon.image("app:1");
        daemon
    })
}

#[test]
fn docker_runs_a_command() {
    let Some(daemon) = daemon("docker_runs_a_command") else { return };
    assert!(
        daemon
            .out(&["version", "--format", "{{.Server.APIVersion}} {{.Client.APIVersion}}"])
            .starts_with("1.44 ")
    );
    assert_eq!(
        daemon.out(&["info", "--format", "{{.ContainersRunning}} {{.Images}} {{.OSType}}"]),
        "0 1 linux"
    );
    let run = ["run", "--rm", "--network", "none", "app:1", "sh", "-c"];
    let with = |script| [&run[..], &[script]].concat();
    assert_eq!(daemon.out(&with("echo hello")), "hello");
    let failed = daemon.docker(&with("echo out; echo err >&2; exit 7")).output().unwrap();
    assert_eq!(
        (failed.status.code(), &*text(&failed.stdout), &*text(&failed.stderr)),
        (Some(7), "out\n", "err\n")
    );
    let mut reads = daemon.docker(&["run", "-i", "--rm", "--network", "none", "app:1", "cat"]);
    let input = "a line\n".repeat(50_000);
    assert_eq!(text(&support::feed(&mut reads, &input).stdout), input);
    daemon.refused(&["run", "--rm", "--network", "none", "app:1", "nothing"], 127);
    daemon.refused(&["run", "--rm", "--network", "none", "app:1", "/etc"], 126);
    daemon.refused(&["run", "--rm", "--gpus", "all", "app:1", "true"], 125);
    // The image is there: the client does not pull it.
    let said = daemon.refused(&["run", "--rm", "--volumes-from", "nope", "app:1", "true"], 125);
    assert!(said.contains("No such container: nope") && !said.contains("Unable to find image"), "{said}");
    assert_eq!(daemon.out(&["ps", "-aq"]), "");
    daemon.out(&[
        "run",
        "-d",
        "--name",
        "web",
        "--network",
        "none",
        "-p",
        "127.0.0.1::80",
        "app:1",
        "sleep",
        "600",
    ]);
    let port = daemon.out(&["port", "web", "80"]);
    assert!(
        port.starts_with("127.0.0.1:") && daemon.out(&["ps"]).contains(&format!("{port}->80/tcp")),
        "{port}"
    );
    daemon.out(&["rm", "-f", "web"]);
}

#[test]
fn docker_has_a_terminal() {
    let Some(daemon) = daemon("docker_has_a_terminal") else { return };
    let socket = format!("unix://{}", daemon.socket().display());
    let words = |more: &[&'static str]| -> Vec<String> {
        let own = ["--config", daemon.home.around().to_str().unwrap(), "-H", &socket];
        own.iter().copied().chain(more.iter().copied()).map(str::to_owned).collect()
    };
    let start = |words: &[String]| {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        Terminal::of(Path::new("docker"), &words)
    };
    let mut terminal = start(&words(&[
        "run",
        "-it",
        "--name",
        "web",
        "--network",
        "none",
        "-e",
        "PS1=prompt> ",
        "app:1",
        "sh",
    ]));
    terminal.wait_for("prompt> ");
    terminal.press("tty; echo $((6*7))\r");
    terminal.wait_for("/dev/pts/0");
    terminal.wait_for("42");
    // Another command in it, with a terminal of its own.
    let mut second = start(&words(&["exec", "-it", "-e", "PS1=second> ", "web", "sh"]));
    second.wait_for("second> ");
    second.press("exit 3\r");
    assert_eq!(second.end().0.code(), Some(3));
    // The keys that detach: the container runs on.
    terminal.press("\x10\x11");
    assert_eq!(terminal.end().0.code(), Some(0));
    assert_eq!(daemon.home.status("web"), "running");
    let mut again = start(&words(&["attach", "web"]));
    // Before the client has set the terminal to raw mode, the line would not be the container's.
    wait_until("the client is attached", || {
        !again.modes().local_flags.contains(nix::sys::termios::LocalFlags::ICANON)
    });
    again.press("exit 5\r");
    assert_eq!(again.end().0.code(), Some(5));
    assert_eq!(daemon.home.status("web"), "exited");
}

#[test]
fn docker_shows_what_containers_do() {
    let Some(daemon) = daemon("docker_shows_what_containers_do") else { return };
    let script = "echo one; while ! test -e /tmp/go; do sleep 0.05; done; echo two; exec sleep 600";
    let id = daemon.out(&[
        "run",
        "-d",
        "--name",
        "web",
        "--network",
        "none",
        "-l",
        "a=b",
        "-e",
        "X=y",
        "app:1",
        "sh",
        "-c",
        script,
    ]);
    assert_eq!(daemon.out(&["ps", "--format", "{{.Names}} {{.Image}} {{.State}}"]), "web app:1 running");
    assert_eq!(
        daemon.out(&["ps", "-q", "--no-trunc", "--filter", "label=a=b", "--filter", "status=running"]),
        id
    );
    assert_eq!(daemon.out(&["ps", "-q", "--filter", "name=none"]), "");
    assert!(daemon.out(&["ps", "--format", "{{.Status}}"]).starts_with("Up "));
    assert_eq!(
        daemon
            .out(&["inspect", "-f", "{{.Config.Labels.a}} {{.State.Running}} {{index .Config.Env 0}}", "web"])
            .split(' ')
            .count(),
        3
    );
    // The log is followed to the end of the container.
    let follow = daemon.docker(&["logs", "-f", "web"]).stdout(Stdio::piped()).spawn().unwrap();
    assert_eq!(daemon.out(&["exec", "web", "sh", "-c", "echo in >/tmp/go; cat /tmp/go"]), "in");
    wait_until("the log has both lines", || daemon.out(&["logs", "web"]) == "one\ntwo");
    assert_eq!(daemon.out(&["logs", "--tail", "1", "web"]), "two");
    assert!(daemon.out(&["top", "web"]).contains("sleep 600"));
    assert!(
        daemon.out(&["stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}", "web"]).starts_with("web ")
    );
    assert_eq!(daemon.out(&["port", "web"]), "");
    let file = daemon.home.around().join("copy");
    daemon.out(&["cp", "web:/etc/hello", file.to_str().unwrap()]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "hello\n");
    daemon.out(&["cp", file.to_str().unwrap(), "web:/tmp/back"]);
    assert_eq!(daemon.out(&["exec", "web", "cat", "/tmp/back"]), "hello");
    assert!(daemon.out(&["diff", "web"]).contains("A /tmp/back"));
    // A file of now has a part of a second in its time, which its archive has before the file.
    for number in 0..10 {
        let (name, copy) = (format!("/tmp/f{number}"), daemon.home.around().join(format!("f{number}")));
        daemon.out(&["exec", "web", "sh", "-c", &format!("echo {number} > {name}")]);
        daemon.out(&["cp", &format!("web:{name}"), copy.to_str().unwrap()]);
        assert_eq!(std::fs::read_to_string(&copy).unwrap(), format!("{number}\n"));
        daemon.out(&["cp", copy.to_str().unwrap(), "web:/tmp/"]);
    }
    let copies = |from: &str, file: &str| {
        let new = daemon.home.around().join("new");
        daemon.out(&["cp", from, new.to_str().unwrap()]);
        assert_eq!(std::fs::read_to_string(new.join(file)).unwrap(), "1\n", "{from}");
        std::fs::remove_dir_all(&new).unwrap();
        std::fs::create_dir(&new).unwrap();
        daemon.out(&["cp", from, new.to_str().unwrap()]);
        let file = if from == "web:/tmp" { "tmp/f1" } else { file };
        assert_eq!(std::fs::read_to_string(new.join(file)).unwrap(), "1\n", "{from}");
        std::fs::remove_dir_all(&new).unwrap();
    };
    copies("web:/tmp/.", "f1");
    copies("web:/tmp", "f1");
    let times = daemon.out(&["logs", "-t", "web"]);
    assert!(times.lines().all(|line| line.find("Z ") == Some(29)), "{times}");
    let waiting = daemon.docker(&["wait", "web"]).stdout(Stdio::piped()).spawn().unwrap();
    daemon.out(&["stop", "-t", "0", "web"]);
    assert_eq!(text(&waiting.wait_with_output().unwrap().stdout), "137\n");
    assert_eq!(text(&follow.wait_with_output().unwrap().stdout), "one\ntwo\n");
    assert!(daemon.out(&["ps", "-a", "--format", "{{.Status}}"]).starts_with("Exited (137)"));
    // Of a container that runs, / has /proc too.
    copies("web:/", "tmp/f1");
    daemon.out(&["rename", "web", "db"]);
    daemon.out(&["start", "db"]);
    assert!(
        daemon.refused(&["rm", "db"], 1).contains("container is running: stop the container before removing")
    );
    daemon.out(&["restart", "-t", "0", "db"]);
    daemon.out(&["kill", "db"]);
    daemon.out(&["rm", "db"]);
    // The client sends whole seconds.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let soon = (now.as_secs() + 1).to_string();
    let events = daemon.out(&["events", "--since", "0", "--until", &soon, "--format", "{{.Action}}"]);
    for action in ["create", "start", "die", "rename", "kill", "destroy"] {
        assert!(events.lines().any(|line| line == action), "{action} {events}");
    }
    assert!(daemon.refused(&["inspect", "db"], 1).contains("No such object: db"));
}

#[test]
fn docker_has_images() {
    let Some(daemon) = daemon("docker_has_images") else { return };
    assert_eq!(daemon.out(&["images", "--format", "{{.Repository}}:{{.Tag}}"]), "app:1");
    daemon.out(&["tag", "app:1", "team/tool:2"]);
    assert_eq!(daemon.out(&["images", "-q", "team/*"]), daemon.out(&["images", "-q", "app"]));
    assert_eq!(
        daemon.out(&["image", "inspect", "-f", "{{.Config.Labels.maker}} {{.Os}}", "team/tool:2"]),
        "test linux"
    );
    assert!(!daemon.out(&["history", "-q", "app:1"]).is_empty());
    let archive = daemon.home.around().join("app.tar");
    daemon.out(&["save", "-o", archive.to_str().unwrap(), "app:1"]);
    assert!(daemon.out(&["rmi", "app:1"]).contains("Untagged: app:1"));
    assert!(daemon.out(&["load", "-i", archive.to_str().unwrap()]).contains("Loaded image: app:1"));
    daemon.out(&["create", "--name", "web", "--network", "none", "app:1"]);
    assert!(daemon.refused(&["rmi", "app:1", "team/tool:2"], 1).contains("conflict"));
    let id = daemon.out(&["commit", "-m", "why", "web", "made:1"]);
    assert_eq!(daemon.out(&["images", "-q", "--no-trunc", "made"]), id);
    daemon.out(&["rm", "web"]);
    assert!(
        daemon.refused(&["run", "--rm", "--pull", "never", "none:1"], 125).contains("No such image: none:1")
    );
    daemon.out(&["volume", "create", "data"]);
    assert_eq!(daemon.out(&["volume", "ls", "-q"]), "data");
    daemon.out(&[
        "run",
        "--rm",
        "--network",
        "none",
        "-v",
        "data:/d",
        "team/tool:2",
        "sh",
        "-c",
        "echo kept >/d/file",
    ]);
    assert_eq!(
        daemon.out(&[
            "run",
            "--rm",
            "--network",
            "none",
            "-v",
            "data:/d:ro",
            "team/tool:2",
            "cat",
            "/d/file"
        ]),
        "kept"
    );
    daemon.out(&["volume", "rm", "data"]);
    assert_eq!(daemon.out(&["network", "ls", "--format", "{{.Name}}"]), "bridge\nhost\nnone");
    assert!(daemon.refused(&["network", "create", "front"], 1).contains("not implemented"));
    assert!(daemon.out(&["system", "df"]).contains("Images"));
}

#[test]
fn docker_pulls_and_pushes() {
    if ran_with_loopback("docker_pulls_and_pushes") {
        return;
    }
    let test = "docker_pulls_and_pushes";
    if Command::new("docker-registry").arg("--version").output().is_err() {
        return skip(test, "docker-registry is not installed");
    }
    let Some(daemon) = daemon(test) else { return };
    let registry = DockerRegistry::start(&daemon.home.around().join("registry"), "", "");
    let name = registry.name("team/app:1");
    daemon.out(&["tag", "app:1", &name]);
    assert!(daemon.out(&["push", &name]).contains("digest: sha256:"));
    daemon.out(&["rmi", &name]);
    assert!(daemon.out(&["pull", &name]).contains("Status: Downloaded newer image"));
    assert!(daemon.out(&["pull", &name]).contains("Status: Image is up to date"));
    assert_eq!(daemon.out(&["run", "--rm", "--network", "none", &name, "cat", "/etc/hello"]), "hello");
    let none = daemon.refused(&["pull", &registry.name("team/none:1")], 1);
    assert!(none.contains("Error response from daemon"), "{none}");
    daemon.out(&["rmi", &name]);
    // All tags of a repository.
    let second = registry.name("team/app:2");
    for name in [&name, &second] {
        daemon.out(&["tag", "app:1", name]);
    }
    let pushed = daemon.out(&["push", "-a", &registry.name("team/app")]);
    assert!(pushed.contains("1: digest: ") && pushed.contains("2: digest: "), "{pushed}");
    daemon.out(&["rmi", &name, &second]);
    daemon.out(&["pull", "-a", &registry.name("team/app")]);
    let listed =
        daemon.out(&["images", "--digests", "--format", "{{.Tag}} {{.Digest}}", &registry.name("team/app")]);
    let mut listed: Vec<&str> = listed.lines().collect();
    listed.sort_unstable();
    assert!(listed.len() == 2 && listed[0].starts_with("1 sha256:"), "{listed:?}");
    assert_eq!(listed[0][2..], listed[1][2..]);
    daemon.out(&["rmi", &name, &second]);
    // `run` pulls by itself.
    assert_eq!(daemon.out(&["run", "--rm", "--network", "none", &name, "echo", "here"]), "here");
}

#[test]
fn docker_builds() {
    let Some(daemon) = daemon("docker_builds") else { return };
    let context = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &str| std::fs::write(context.path().join(name), content).unwrap();
    write("file", "from the context");
    write(
        "Dockerfile",
        "FROM app:1\nARG WHO=nobody\nCOPY file /file\nRUN echo built for $WHO > /who\nCMD cat /file /who\n",
    );
    let id = context.path().join("id");
    let path = context.path().to_str().unwrap();
    let build = |more: &[&str]| {
        let mut command = daemon.docker(&[&["build", "--network", "none"], more, &[path]].concat());
        command.env("DOCKER_BUILDKIT", "0").output().unwrap()
    };
    let first = build(&["-t", "mine:1", "--build-arg", "WHO=you", "--iidfile", id.to_str().unwrap()]);
    let printed = text(&first.stdout);
    assert!(first.status.success(), "{printed} {}", text(&first.stderr));
    for line in ["Step 1/5 : FROM app:1", "Successfully built ", "Successfully tagged mine:1"] {
        assert!(printed.contains(line), "{line}: {printed}");
    }
    assert_eq!(
        std::fs::read_to_string(&id).unwrap(),
        daemon.out(&["image", "inspect", "--format", "{{.Id}}", "mine:1"])
    );
    assert_eq!(daemon.out(&["run", "--rm", "--network", "none", "mine:1"]), "from the contextbuilt for you");
    assert!(text(&build(&["--build-arg", "WHO=you"]).stdout).contains("Using cache"));
    write("Dockerfile", "FROM app:1\nRUN echo no >&2; exit 3\n");
    let failed = build(&[]);
    assert_eq!(failed.status.code(), Some(3), "{}", text(&failed.stderr));
    assert!(text(&failed.stderr).contains("returned a non-zero code: 3"), "{}", text(&failed.stderr));
    write("Dockerfile", "FROM app:1\nRUM true\n");
    let wrong = build(&[]);
    assert!(!wrong.status.success() && text(&wrong.stderr).contains("RUM"), "{}", text(&wrong.stderr));
    let refused = build(&["--memory", "64m"]);
    assert!(text(&refused.stderr).contains("--memory is not supported"), "{}", text(&refused.stderr));
}

#[test]
fn docker_run_outlives_the_daemon() {
    let Some(mut daemon) = daemon("docker_run_outlives_the_daemon") else { return };
    let script = "echo here; while ! test -e /tmp/go; do sleep 0.05; done; echo over; exit 7";
    for flags in [&["--name=web"][..], &["--name=web", "--rm"]] {
        let run = [&["run", "--network=none"], flags, &["app:1", "sh", "-c", script]].concat();
        let client = daemon.docker(&run).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        wait_until("the container runs", || daemon.home.run(&["exec", "web", "echo"]).status.success());
        daemon.replace();
        // The container may end before this command.
        daemon.home.run(&["exec", "web", "sh", "-c", "true > /tmp/go"]);
        let ended = client.wait_with_output().unwrap();
        let printed = (ended.status.code(), text(&ended.stdout), text(&ended.stderr));
        assert_eq!(printed, (Some(7), "here\nover\n".to_owned(), String::new()), "{flags:?}");
        daemon.home.run(&["rm", "web"]);
    }
}

#[test]
fn refusals_have_dockers_words() {
    let Some(daemon) = daemon("refusals_have_dockers_words") else { return };
    let id = daemon.out(&["run", "-d", "--name=web", "--network=none", "app:1", "sleep", "600"]);
    let both = |arguments: &[&str], words: &str| {
        let said = daemon.refused(arguments, 1);
        assert_eq!(said.trim(), format!("Error response from daemon: {words}"), "{arguments:?}");
        let said = daemon.home.refused(arguments, 1);
        assert!(said.contains(words), "{arguments:?}: {said}");
    };
    let stop = "stop the container before removing or force remove";
    both(&["rm", "web"], &format!("cannot remove container \"/web\": container is running: {stop}"));
    both(&["rmi", "nothing"], "No such image: nothing:latest");
    both(&["tag", "a/nothing:2", "x"], "No such image: a/nothing:2");
    daemon.out(&["kill", "web"]);
    both(&["kill", "web"], &format!("cannot kill container: web: container {id} is not running"));
    both(&["exec", "web", "echo"], &format!("container {id} is not running"));
    for name in ["bridge", "host", "none"] {
        let said = daemon.refused(&["network", "rm", name], 1);
        let words = format!("{name} is a pre-defined network and cannot be removed");
        assert!(said.contains(&words), "{said}");
        assert_eq!(daemon.ask("DELETE", &format!("/networks/{name}"), &Value::Null).0, 403);
    }
    assert!(daemon.refused(&["network", "rm", "front"], 1).contains("network front not found"));
    // A field that is not there.
    for (format, words) in [
        ("{{.Nope}}", "template: :1:2: executing \"\" at <.Nope>: map has no entry for key \"Nope\""),
        ("x {{json .State.Nope}}", "template: :1:15: executing \"\" at <.State.Nope>: map has no entry"),
    ] {
        let words = format!("template parsing error: {words}");
        for said in [
            daemon.refused(&["inspect", "-f", format, "web"], 1),
            daemon.home.refused(&["inspect", "-f", format, "web"], 1),
        ] {
            assert!(said.contains(&words), "{said}");
        }
    }
    let said = daemon.home.refused(&["ps", "-a", "--format", "{{.Nope}}"], 1);
    assert!(said.contains("failed to execute template: template: :1:2: executing"), "{said}");
}

#[test]
fn prune_has_filters() {
    let Some(daemon) = daemon("prune_has_filters") else { return };
    for label in ["a=1", "a=2"] {
        daemon.out(&["create", "--network=none", "-l", label, "app:1", "echo"]);
        daemon.out(&["volume", "create", "--label", label, &label.replace('=', "")]);
    }
    let left = |arguments: &[&str]| daemon.out(arguments).lines().count();
    daemon.out(&["container", "prune", "-f", "--filter", "until=1h"]);
    assert_eq!(left(&["ps", "-aq"]), 2);
    daemon.out(&["container", "prune", "-f", "--filter", "label=a=1"]);
    assert_eq!(left(&["ps", "-aq"]), 1);
    daemon.out(&["container", "prune", "-f", "--filter", "label!=a"]);
    assert_eq!(left(&["ps", "-aq"]), 1);
    daemon.out(&["volume", "prune", "-af", "--filter", "label!=a=2"]);
    assert_eq!(daemon.out(&["volume", "ls", "-q"]), "a2");
    daemon.home.refused(&["volume", "prune", "-f", "--filter", "size=1"], 1);
    daemon.home.out(&["volume", "prune", "-f", "--filter", "all=1", "--filter", "label=a"]);
    assert_eq!(daemon.out(&["volume", "ls", "-q"]), "");
    // The image is used by a container, until that is removed. It was made in 2015.
    daemon.out(&["container", "prune", "-f"]);
    for filter in ["until=200000h", "label=maker=other", "label!=maker"] {
        daemon.out(&["image", "prune", "-af", "--filter", filter]);
        assert_eq!(left(&["images", "-q"]), 1, "{filter}");
    }
    daemon.out(&["image", "prune", "-af", "--filter", "label=maker=test"]);
    assert_eq!(left(&["images", "-q"]), 0);
}

#[test]
fn settings_are_applied_or_refused_by_name() {
    let Some(daemon) = daemon("settings_are_applied_or_refused_by_name") else { return };
    let run = |flags: &[&str], command: &[&str]| {
        daemon.out(&[&["run", "--rm", "--network=none"], flags, &["app:1"], command].concat())
    };
    let mounts = |flags: &[&str]| run(flags, &["cat", "/proc/self/mountinfo"]);
    assert!(mounts(&[]).contains(" /proc/kcore ") || mounts(&[]).contains(" /proc/keys "));
    let open = mounts(&["--security-opt=systempaths=unconfined"]);
    assert!(!open.contains(" /proc/kcore ") && !open.contains(" /proc/keys "), "{open}");
    let mode = run(&["--mount=type=tmpfs,target=/t,tmpfs-mode=0700"], &["stat", "-c", "%a", "/t"]);
    assert_eq!(mode, "700");
    for (flag, words) in [
        ("--mount=type=volume,source=d,target=/d,volume-opt=o=ro", "volume-opt"),
        ("--mount=type=volume,source=d,target=/d,volume-driver=x", "volume-driver"),
        ("--mount=type=volume,source=d,target=/d,volume-label=a=b", "volume-label"),
        ("--mount=type=bind,source=/,target=/d,bind-recursive=disabled", "bind-recursive"),
        ("--mac-address=02:42:ac:11:00:02", "--mac-address"),
        ("--restart=always:3", "maximum retry count can only be used with 'on-failure'"),
    ] {
        let said = daemon.refused(&["create", flag, "app:1", "true"], 1);
        assert!(said.contains(words), "{flag} {said}");
        assert!(!said.contains("For more information"), "{said}");
    }
    let body = |settings: Value| {
        let body = json!({ "Image": "app:1", "HostConfig": settings });
        let (status, answer) = daemon.ask("POST", "/containers/create", &body);
        (status, answer["message"].to_string())
    };
    for wrong in [
        json!(5),
        json!({ "RestartPolicy": "always" }),
        json!({ "PortBindings": { "80/tcp": {} } }),
        json!({ "Ulimits": [{ "Name": "nofile", "Soft": "x" }] }),
        json!({ "MaskedPaths": ["/proc/kcore"] }),
    ] {
        let (status, message) = body(wrong.clone());
        assert_eq!(status, 400, "{wrong} {message}");
    }
    let endpoint = |of: Value| {
        let networks = json!({ "EndpointsConfig": { "bridge": of } });
        let body = json!({ "Image": "app:1", "NetworkingConfig": networks });
        let (status, answer) = daemon.ask("POST", "/containers/create", &body);
        assert_eq!(status, 400, "{answer}");
        answer["message"].to_string()
    };
    assert!(endpoint(json!({ "IPAMConfig": { "IPv4Address": "172.17.0.9" } })).contains("--ip "));
    assert!(endpoint(json!({ "MacAddress": "02:42:ac:11:00:02" })).contains("--mac-address"));
    assert_eq!(daemon.out(&["ps", "-aq"]), "");
    // The context comes too, and an error of the Dockerfile is one of the request.
    let context = Layer::new().file("Dockerfile", "FROM app:1\nFOO bar\n").tar();
    let build = |query: &str| {
        let (status, _, answer) = daemon.ask_bytes("POST", &format!("/build?{query}"), &[], &context);
        (status, text(&answer))
    };
    let (status, said) = build("");
    assert!(
        status == 400 && said.contains("dockerfile parse error line 2: unknown instruction: FOO"),
        "{status} {said}"
    );
    for query in
        ["ulimits=%5B%7B%7D%5D", "securityopt=%5B%22x%22%5D", "isolation=hyperv", "cachefrom=%5B%22x%22%5D"]
    {
        let (status, said) = build(query);
        assert!(status == 400 && said.contains("is not supported"), "{query} {status} {said}");
    }
    assert_eq!(daemon.ask("POST", "/images/app:1/tag?repo=UP", &Value::Null).0, 400);
    // A note of a command that has succeeded is a warning.
    let noted = daemon.docker(&["create", "--network=host", "-p", "80:80", "app:1"]).output().unwrap();
    assert!(noted.status.success());
    assert!(
        text(&noted.stderr).contains("WARNING: Published ports are discarded"),
        "{}",
        text(&noted.stderr)
    );
}

#[test]
fn ports_are_shown_as_docker_does() {
    let Some(daemon) = daemon("ports_are_shown_as_docker_does") else { return };
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let publish = format!("127.0.0.1:{port}:80");
    let create =
        ["create", "--name=web", "--network=none", "--expose=99", "--expose=7000-7001/udp", "-p", &publish];
    daemon.out(&[&create[..], &["app:1", "sleep", "600"]].concat());
    let exposed: Value =
        serde_json::from_str(&daemon.out(&["inspect", "-f", "{{json .Config.ExposedPorts}}", "web"]))
            .unwrap();
    assert_eq!(exposed, json!({ "80/tcp": {}, "99/tcp": {}, "7000/udp": {}, "7001/udp": {} }));
    for filter in ["expose=99", "expose=80", "expose=7001/udp", "publish=80", "publish=70-90/tcp"] {
        assert_eq!(daemon.out(&["ps", "-aq", "--filter", filter]).lines().count(), 1, "{filter}");
        assert_eq!(daemon.home.out(&["ps", "-aq", "--filter", filter]).lines().count(), 1, "{filter}");
    }
    for filter in ["expose=98", "expose=99/udp", "publish=99", &format!("publish={port}")] {
        assert_eq!(daemon.out(&["ps", "-aq", "--filter", filter]), "", "{filter}");
    }
    let said = daemon.refused(&["start", "web"], 1);
    assert!(said.contains("port is already allocated"), "{said}");
}

#[test]
fn an_older_client_gets_what_its_version_has() {
    let Some(daemon) = daemon("an_older_client_gets_what_its_version_has") else { return };
    let key = |path: &str, name: &str| {
        let found = daemon.get(path);
        let found = if found.is_array() { found[0].clone() } else { found };
        !found[name].is_null()
    };
    assert!(key("/v1.43/images/json", "VirtualSize") && !key("/v1.44/images/json", "VirtualSize"));
    assert!(key("/v1.43/images/app:1/json", "VirtualSize") && !key("/images/app:1/json", "VirtualSize"));
    // docker-compose 1 reads it.
    assert_eq!(daemon.get("/images/app:1/json")["ContainerConfig"]["Labels"]["maker"], "test");
    daemon.out(&["run", "-d", "--name=web", "--network=none", "app:1", "sleep", "600"]);
    let table =
        daemon.out(&["system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Active}} {{.Reclaimable}}"]);
    assert!(table.contains("Images 1 1 0B (0%)") && table.contains("Containers 1 1"), "{table}");
    let said = daemon.home.refused(&["container", "inspect", "app:1"], 1);
    assert!(said.contains("No such container: app:1"), "{said}");
    daemon.out(&["volume", "create", "data"]);
    daemon.out(&["volume", "prune", "-f"]);
    assert_eq!(daemon.out(&["volume", "ls", "-q"]), "data");
    let old = daemon.docker(&["volume", "prune", "-f"]).env("DOCKER_API_VERSION", "1.41").output().unwrap();
    assert!(old.status.success() && text(&old.stdout).contains("data"), "{}", text(&old.stdout));
    assert_eq!(daemon.out(&["volume", "ls", "-q"]), "");
    daemon.out(&["kill", "--signal=RTMAX-1", "web"]);
    let said = daemon.refused(&["cp", "web:/nothing", "-"], 1);
    assert!(said.contains("web") && !said.contains(&daemon.out(&["ps", "-aq", "--no-trunc"])), "{said}");
    // Docker's words about a setting that is there anyway.
    assert_eq!(daemon.out(&["inspect", "-f", "{{.HostConfig.ShmSize}}", "web"]), "67108864");
}
