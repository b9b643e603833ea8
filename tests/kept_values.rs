//! Containers that stay: values that `inspect` and `ps` show as Docker does, limits that are taken away, HOME in another place, commands
//! for a container that is just ending, and the keys that detach from `exec`.
//!
//! Judged by what the kernel shows, by the files in HOME, and by Docker's words.
//!
//! Other inputs of the same kind as the ones here:
//! - each number that takes a limit away, at `create`, at `update`, through the daemon, and again after another value.
//! - HOME that is moved, copied, or mounted in another place; containers with volumes, with images, with a spec; as a user with ID maps.
//! - each command that reads a container, at each moment of its end, with `--rm` and without.
#![cfg(feature = "images")]

mod support;

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::kept::{KeptHome, lives};
use support::terminal::Terminal;
use support::{is_root, skip, text, wait_until};

/// A HOME with an image of a few programs.
fn with_tools() -> KeptHome {
    let home = KeptHome::new();
    let tools = ["sh", "cat", "echo", "sleep", "mkdir", "true", "ls"];
    home.out(&[&["image", "from-host", "tool"], &tools[..]].concat());
    home
}

/// A new container of that image, which runs a script. Its network needs no bridge, which not every machine can make.
fn create(home: &KeptHome, name: &str, flags: &[&str], script: &str) {
    let words = ["create", "--network", "none", "--name", name];
    home.out(&[&words, flags, &["tool", "sh", "-c", script]].concat());
}

/// What `inspect` shows below `HostConfig`, as JSON.
fn shown(home: &KeptHome, name: &str, field: &str) -> String {
    home.out(&["inspect", "-f", &format!("{{{{json .HostConfig.{field}}}}}"), name])
}

#[test]
fn a_number_that_takes_a_limit_away_is_shown_as_it_was_given() {
    let home = with_tools();
    for (flags, field, expected) in [
        (&["--cpu-quota", "-1"][..], "CpuQuota", "-1"),
        (&["--cpu-quota", "-7"], "CpuQuota", "-7"),
        (&["--cpu-quota", "0"], "CpuQuota", "0"),
        (&["--cpu-quota", "-1", "--cpu-quota", "0"], "CpuQuota", "0"),
        (&["--memory-swap", "-1"], "MemorySwap", "-1"),
        (&["--memory-swap", "-1", "--memory-swap", "0"], "MemorySwap", "0"),
        (&["--pids-limit", "-1"], "PidsLimit", "null"),
        (&[], "CpuQuota", "0"),
    ] {
        create(&home, "one", flags, "true");
        assert_eq!(shown(&home, "one", field), expected, "{flags:?}");
        home.out(&["rm", "one"]);
    }
    create(&home, "one", &["--cpu-quota", "-1"], "true");
    for (flag, value, field, expected) in [
        ("--cpu-quota", "0", "CpuQuota", "-1"),
        ("--cpu-quota", "-3", "CpuQuota", "-3"),
        ("--memory-swap", "-1", "MemorySwap", "-1"),
        ("--pids-limit", "-1", "PidsLimit", "0"),
        ("--pids-limit", "0", "PidsLimit", "0"),
    ] {
        home.out(&["update", flag, value, "one"]);
        assert_eq!(shown(&home, "one", field), expected, "{flag} {value}");
    }
    // As in Docker, a period is never negative.
    for command in ["create", "update"] {
        let words = [command, "--cpu-period", "-1", if command == "create" { "tool" } else { "one" }];
        assert!(!home.run(&words).status.success(), "{words:?}");
    }
}

#[test]
fn memory_nodes_are_those_of_the_kernel() {
    let test = "memory_nodes_are_those_of_the_kernel";
    if !is_root() || !support::limits::may(test, "cpu") {
        return skip(test, "machine: root's containers need the cpuset controller");
    }
    let Ok(nodes) = fs::read_to_string("/sys/devices/system/node/has_memory") else {
        return skip(test, "machine: the kernel has no memory nodes");
    };
    let nodes = nodes.trim();
    let home = with_tools();
    create(&home, "one", &["--cpuset-mems", nodes], "exec sleep 600");
    home.out(&["start", "one"]);
    let says = |name: &str| {
        let group = support::limits::group(home.pid(name, "command"), "cpuset");
        support::limits::says(&group, "cpuset.mems", "cpuset.mems")
    };
    assert_eq!((&*says("one"), &*shown(&home, "one", "CpusetMems")), (nodes, &*format!("{nodes:?}")));
    home.out(&["verify", "one"]);
    create(&home, "two", &[], "exec sleep 600");
    home.out(&["start", "two"]);
    assert_eq!(shown(&home, "two", "CpusetMems"), "\"\"");
    home.out(&["update", "--cpuset-mems", "0", "two"]);
    assert_eq!((&*says("two"), &*shown(&home, "two", "CpusetMems")), ("0", "\"0\""));
    home.out(&["update", "--cpuset-mems", "", "two"]);
    home.out(&["verify", "two"]);
    for (list, reason) in [("700", "no such memory node: 700"), ("0-", "listed as 0, 0-3 or 0,2")] {
        let refused = home.refused(&["update", "--cpuset-mems", list, "two"], 1);
        assert!(refused.contains(reason), "{list} {refused}");
        let words = ["create", "--network", "none", "--cpuset-mems", list, "tool"];
        let output = home.run(&words);
        let message = text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(!output.status.success() && message.contains(reason), "{list} {message}");
    }
    assert_eq!(says("two"), "0");
}

/// A weight that no disk uses is written where the kernel has its file, and compared there.
#[test]
fn verify_compares_weights_and_throttles() {
    let test = "verify_compares_weights_and_throttles";
    if !is_root() || !support::limits::may(test, "blkio") {
        return skip(test, "machine: root's containers need the blkio controller");
    }
    let home = with_tools();
    let disk = home.around().to_str().unwrap().to_owned();
    let flags = ["--blkio-weight", "300", "--device-read-bps", &format!("{disk}:1mb")];
    let words = [&["run", "-d", "--network", "none", "--name", "one"], &flags[..], &["tool", "sleep", "600"]];
    let output = home.run(&words.concat());
    if !output.status.success() {
        return skip(test, &format!("machine: the files are on no disk: {}", text(&output.stderr).trim()));
    }
    home.out(&["verify", "one"]);
    let group = support::limits::group(home.pid("one", "command"), "blkio");
    let v1 = |file: &str| group.join(format!("blkio.{file}"));
    let (weight, throttle) = match support::limits::is_v2(&group) {
        true => (
            ["io.bfq.weight", "io.weight"]
                .map(|name| group.join(name))
                .into_iter()
                .find(|file| file.exists()),
            group.join("io.max"),
        ),
        false => (Some(v1("bfq.weight")).filter(|file| file.exists()), v1("throttle.read_bps_device")),
    };
    let line = fs::read_to_string(&throttle).unwrap();
    let device = line.split_whitespace().next().unwrap().to_owned();
    let other = if support::limits::is_v2(&group) { "rbps=2000000" } else { "2000000" };
    let mut changes = vec![(throttle, format!("{device} {other}"))];
    changes.extend(weight.map(|file| (file, "200".to_owned())));
    for (file, value) in changes {
        let before = fs::read_to_string(&file).unwrap();
        fs::write(&file, value).unwrap();
        let differs = home.refused(&["verify", "one"], 125);
        assert!(differs.contains(file.file_name().unwrap().to_str().unwrap()), "{differs}");
        fs::write(&file, before.split_whitespace().take(2).collect::<Vec<_>>().join(" ")).unwrap();
        home.out(&["verify", "one"]);
    }
}

#[test]
fn lists_have_all_of_dockers_fields() {
    let home = with_tools();
    create(&home, "one", &["-v", "data:/data"], "true");
    let ps = |format: &str| home.out(&["ps", "-a", "--format", format]);
    assert_eq!(ps("{{.HealthStatus}}|{{.Platform}}|{{.Names}}"), "|<nil>|one");
    assert_eq!(ps("{{json .HealthStatus}} {{json .Platform}}"), "\"\" null");
    let table = ps("table {{.Names}}\t{{.HealthStatus}}\t{{.Platform}}");
    let titles: Vec<&str> =
        table.lines().next().unwrap().split("   ").filter(|title| !title.is_empty()).collect();
    assert_eq!(
        titles.iter().map(|title| title.trim()).collect::<Vec<_>>(),
        ["NAMES", "HEALTH STATUS", "PLATFORM"]
    );
    assert_eq!(home.out(&["inspect", "-f", "{{.Platform}} {{.State.Health}}", "one"]), "linux <nil>");
    let row: Value = serde_json::from_str(&ps("json")).unwrap();
    for field in [
        "Command",
        "CreatedAt",
        "HealthStatus",
        "ID",
        "Image",
        "Labels",
        "LocalVolumes",
        "Mounts",
        "Names",
        "Networks",
        "Platform",
        "Ports",
        "RunningFor",
        "Size",
        "State",
        "Status",
    ] {
        assert!(row.get(field).is_some(), "{field}");
    }
    let volume: Value = serde_json::from_str(&home.out(&["volume", "ls", "--format", "json"])).unwrap();
    let names: Vec<&String> = volume.as_object().unwrap().keys().collect();
    let expected = [
        "Availability",
        "Driver",
        "Group",
        "Labels",
        "Links",
        "Mountpoint",
        "Name",
        "Scope",
        "Size",
        "Status",
    ];
    assert_eq!(names, expected);
    let volumes = |format: &str| home.out(&["volume", "ls", "--format", format]);
    assert_eq!(
        volumes("{{.Group}} {{.Links}} {{.Size}} {{.Status}} {{.Availability}}"),
        "N/A N/A N/A N/A N/A"
    );
    let raw = home.out(&["system", "df", "--format", "raw"]);
    assert!(raw.starts_with("type: Images\ntotal: 1\nactive: "), "{raw}");
}

/// Of this kind: a mount below a read-only tmpfs: a volume, a directory, a file, another tmpfs; the working directory in it.
#[test]
fn a_read_only_tmpfs_has_the_mount_points_below_it() {
    let home = with_tools();
    let file = home.around().join("file");
    fs::write(&file, "text\n").unwrap();
    let bind = format!("{}:/a/deep/file", file.display());
    let flags = ["--tmpfs", "/a:ro", "-v", "data:/a/b", "-v", &bind, "--tmpfs", "/a/t", "-w", "/a/work"];
    let script = "echo kept > /a/b/note; cat /a/deep/file; echo x > /a/t/x && pwd; \
                  echo y > /a/y || echo fixed; mkdir /a/z || echo fixed; exec sleep 600";
    create(&home, "one", &flags, script);
    home.out(&["start", "one"]);
    wait_until("its script is done", || home.out(&["logs", "one"]).matches("fixed").count() == 2);
    let printed = text(&home.run(&["logs", "one"]).stdout);
    assert_eq!(printed, "text\n/a/work\nfixed\nfixed\n");
    home.out(&["verify", "one"]);
    assert_eq!(home.out(&["exec", "one", "cat", "/a/b/note"]), "kept");
    home.out(&["rm", "-f", "one"]);
    // A directory of the host that is read-only gets none: they would stay.
    let below = home.around().join("below");
    fs::create_dir(&below).unwrap();
    let fixed = format!("{}:/a:ro", below.display());
    let refused =
        home.run(&["run", "--rm", "--network", "none", "-v", &fixed, "-v", "data:/a/b", "tool", "true"]);
    assert!(!refused.status.success() && fs::read_dir(&below).unwrap().next().is_none());
}

#[test]
fn a_home_that_was_moved_has_its_containers() {
    let home = with_tools();
    create(&home, "one", &["-v", "data:/data"], "echo run >> /data/f; echo run >> /own; cat /data/f /own");
    assert_eq!(home.out(&["start", "-a", "one"]), "run\nrun");
    let moved = KeptHome::new();
    for round in 2..4 {
        let (from, to) = if round == 2 { (&home, &moved) } else { (&moved, &home) };
        fs::rename(from.path(), to.path()).unwrap();
        assert!(from.refused(&["start", "one"], 1).contains("No such container: one"));
        let expected = vec!["run"; 2 * round].join("\n");
        assert_eq!(to.out(&["start", "-a", "one"]), expected, "{round}");
        assert!(to.out(&["logs", "one"]).ends_with(&expected));
        let own = to.around().join("own");
        to.out(&["cp", "one:/own", own.to_str().unwrap()]);
        assert_eq!(fs::read_to_string(own).unwrap(), "run\n".repeat(round));
        assert!(to.out(&["diff", "one"]).contains("A /own"));
        let place = to.path().to_str().unwrap().to_owned();
        for field in ["{{.GraphDriver.Data.UpperDir}}", "{{(index .Mounts 0).Source}}", "{{.LogPath}}"] {
            assert!(to.out(&["inspect", "-f", field, "one"]).starts_with(&place), "{field}");
        }
        // What is written has the paths of the new place too.
        to.out(&["update", "--restart", "no", "one"]);
        let config = fs::read_to_string(to.container("one").join("config.json")).unwrap();
        assert!(!config.contains(from.path().to_str().unwrap()) && config.contains(&place));
        // Its layers are still known as used.
        to.out(&["image", "prune", "-af"]);
    }
    home.out(&["rm", "-v", "one"]);
    home.is_empty();
}

/// The owner's write permission is missing. What needs none works, and the error of the rest says what to do.
#[test]
fn a_home_that_may_only_be_read() {
    if is_root() {
        return skip(
            "a_home_that_may_only_be_read",
            "machine: root needs no permission, so it takes an ordinary user",
        );
    }
    use std::os::unix::fs::PermissionsExt;
    let home = with_tools();
    create(&home, "one", &[], "echo hello; exec sleep 600");
    create(&home, "two", &[], "true");
    home.out(&["start", "one"]);
    wait_until("it has written", || home.out(&["logs", "one"]) == "hello");
    let places = ["", "containers", "names", "events"].map(|name| home.path().join(name));
    let upper = home.container("two").join("upper");
    let change = |bits: u32| {
        for place in places.iter().chain([&upper, &home.container("two"), &home.container("one")]) {
            let mode = fs::metadata(place).unwrap().permissions().mode() & 0o777;
            fs::set_permissions(place, fs::Permissions::from_mode((mode & !0o200) | bits)).unwrap();
        }
    };
    change(0);
    let results = [
        (vec!["exec", "one", "echo", "in"], Ok("in")),
        (vec!["logs", "one"], Ok("hello")),
        (vec!["inspect", "-f", "{{.State.Status}}", "one"], Ok("running")),
        (vec!["exec", "none", "true"], Err("No such container: none")),
        (vec!["rename", "one", "other"], Err("give yourself the permission again")),
        (vec!["create", "--network", "none", "tool"], Err("give yourself the permission again")),
        (vec!["start", "two"], Err("chmod u+rwx")),
    ]
    .map(|(words, expected)| (home.run(&words), words, expected));
    change(0o200);
    for (output, words, expected) in results {
        let message = text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
        match expected {
            Ok(printed) => assert_eq!(text(&output.stdout).trim_end(), printed, "{words:?} {message}"),
            Err(reason) => {
                assert!(!output.status.success() && message.contains(reason), "{words:?} {message}")
            }
        }
    }
}

/// A command for a container that ends just then, or that is removed, says what is, and nothing else.
#[test]
fn a_container_that_is_just_ending_is_no_surprise() {
    let home = with_tools();
    let file = home.around().join("file");
    fs::write(&file, "x").unwrap();
    let archive = home.around().join("archive");
    let commands: [(&str, Vec<&str>); 12] = [
        ("stats", vec!["stats", "--no-stream", "NAME"]),
        ("cp out", vec!["cp", "NAME:/bin", "-"]),
        ("cp in", vec!["cp", file.to_str().unwrap(), "NAME:/file"]),
        ("diff", vec!["diff", "NAME"]),
        ("export", vec!["export", "-o", archive.to_str().unwrap(), "NAME"]),
        ("top", vec!["top", "NAME"]),
        ("exec", vec!["exec", "NAME", "echo", "in"]),
        ("logs", vec!["logs", "-f", "NAME"]),
        ("inspect", vec!["inspect", "-s", "NAME"]),
        ("verify", vec!["verify", "NAME"]),
        ("wait", vec!["wait", "NAME"]),
        ("kill", vec!["kill", "-s", "WINCH", "NAME"]),
    ];
    let mut random = support::random();
    for round in 0..support::rounds(24) {
        let name = format!("c{round}");
        let flags: &[&str] = if round % 2 == 0 { &["--rm"] } else { &[] };
        create(&home, &name, flags, ["exit 7", "echo out; exit 7"][(round / 2 % 2) as usize]);
        let mut starting = home.command(&["start", &name]);
        let mut starting = starting.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(random(160)));
        let chosen = (0..3).map(|_| &commands[random(commands.len() as u64) as usize]);
        let begun: Vec<_> = chosen
            .map(|(kind, words)| {
                let words: Vec<String> = words.iter().map(|word| word.replace("NAME", &name)).collect();
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                let mut command = home.command(&words);
                let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
                (kind, Instant::now(), command.spawn().unwrap())
            })
            .collect();
        for (kind, began, child) in begun {
            let output = child.wait_with_output().unwrap();
            let message = text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
            let is_told = [
                "No such container: ",
                "No such object: ",
                " is not running",
                "no running container of yours",
            ]
            .iter()
            .any(|words| message.contains(words));
            assert!(output.status.success() || is_told, "{kind} {flags:?} {:?} {message}", output.status);
            assert!(began.elapsed() < Duration::from_secs(20), "{kind} took {:?}", began.elapsed());
        }
        starting.wait().unwrap();
        home.run(&["rm", "-f", &name]);
    }
}

/// The keys detach the user from the command's terminal, and the command runs on, as the one of `attach` does.
#[test]
fn keys_detach_from_a_further_command() {
    let home = with_tools();
    create(&home, "one", &[], "exec sleep 600");
    home.out(&["start", "one"]);
    let home_path = home.path();
    let at_home = ["--home", home_path.to_str().unwrap(), "exec", "-it"];
    for (flags, typed) in [
        (&[][..], "\u{10}\u{11}"),
        (&["--detach-keys", "a,ctrl-b"], "a\u{2}"),
        (&["--detach-keys", ""], "\u{10}\u{11}"),
    ] {
        let script = "echo $$ > /pid; echo ready; read line; echo got $line; sleep 0.5; echo more; echo on > /on; exec sleep 601";
        let mut terminal = Terminal::start(&[&at_home[..], flags, &["one", "sh", "-c", script]].concat());
        terminal.wait_for("ready");
        terminal.press("hello\r");
        terminal.wait_for("got hello");
        let modes = terminal.modes();
        terminal.press(typed);
        let (status, shown) = terminal.ended();
        assert!(status.code() == Some(1) && shown.contains("read escape sequence"), "{flags:?} {shown}");
        assert!(!shown.contains("more"), "{flags:?} {shown}");
        assert_ne!(modes.local_flags, terminal.modes().local_flags, "{flags:?}: the terminal is still raw");
        wait_until("the command goes on", || {
            text(&home.run(&["exec", "one", "cat", "/on"]).stdout) == "on\n"
        });
        assert!(home.out(&["top", "one"]).contains("sleep 601"), "{flags:?}");
        home.out(&["exec", "one", "sh", "-c", "kill $(cat /pid); : > /on"]);
        wait_until("it has ended", || !home.out(&["top", "one"]).contains("sleep 601"));
    }
    let events = ["events", "--since", "1h", "--until", "0s", "--filter", "event=exec_detach"];
    assert_eq!(home.out(&events).lines().count(), 3);
    // Without the keys, the status is that of the command.
    let mut terminal = Terminal::start(&[&at_home[..], &["one", "sh", "-c", "read line; exit 7"]].concat());
    terminal.press("\u{10}x\r");
    assert_eq!(terminal.end().0.code(), Some(7));
    // A signal arrives once, whether it is sent to the process in front or to the whole group. So does the end of the terminal.
    use nix::sys::signal::{Signal, kill, killpg};
    let script = "trap 'echo got' TERM; echo ready; while :; do sleep 0.05; done; : 604";
    let mut terminal = Terminal::start(&[&at_home[..], &["one", "sh", "-c", script]].concat());
    terminal.wait_for("ready");
    let front = nix::unistd::Pid::from_raw(terminal.pid() as i32);
    killpg(front, Signal::SIGTERM).unwrap();
    terminal.wait_for("got");
    std::thread::sleep(Duration::from_millis(300));
    kill(front, Signal::SIGTERM).unwrap();
    terminal.wait_for("got");
    std::thread::sleep(Duration::from_millis(300));
    kill(front, Signal::SIGKILL).unwrap();
    assert_eq!(terminal.ended().1.matches("got").count(), 0);
    let mut terminal =
        Terminal::start(&[&at_home[..], &["one", "sh", "-c", "echo ready; sleep 605; :"]].concat());
    terminal.wait_for("ready");
    assert_eq!(terminal.close().code(), Some(129));
    wait_until("nothing is left of either", || {
        let listed = home.out(&["top", "one"]);
        !listed.contains(": 604") && !listed.contains("sleep 605")
    });
    // A signal for the process in front reaches the command's parent, and killing it leaves nothing.
    for number in [nix::sys::signal::Signal::SIGTERM, nix::sys::signal::Signal::SIGKILL] {
        let mut terminal =
            Terminal::start(&[&at_home[..], &["one", "sh", "-c", "echo ready; exec sleep 602"]].concat());
        terminal.wait_for("ready");
        let pid = terminal.pid();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), number).unwrap();
        terminal.end();
        wait_until("nothing is left of it", || {
            !lives(pid) && !home.out(&["top", "one"]).contains("sleep 602")
        });
    }
    assert!(
        home.refused(&["exec", "--detach-keys", "ctrl-", "one", "true"], 1)
            .contains("Invalid escape keys (ctrl-)")
    );
    // What was detached ends with the container.
    let mut terminal =
        Terminal::start(&[&at_home[..], &["one", "sh", "-c", "echo ready; exec sleep 603"]].concat());
    terminal.wait_for("ready");
    terminal.press("\u{10}\u{11}");
    terminal.end();
    home.out(&["rm", "-f", "one"]);
    wait_until("it has ended too", || support::background::with_argument("603").is_empty());
}
