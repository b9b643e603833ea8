//! What one sees of containers that stay: the drawing of their parts.
//!
//! Judged by what the kernel shows: the PIDs, namespaces, cgroups and mounts in the drawing are those in /proc.
//!
//! Other inputs of the same kind as the ones here:
//! - a container in each state; with an init, with published ports, without a PID namespace, with a root filesystem.
//! - names of processes with any bytes; several containers; a file that cannot be written.

mod support;

use std::fs;

use support::kept::KeptHome;
use support::terminal::Terminal;
use support::{fits, text, wait_until};

#[test]
fn the_parts_of_a_container_are_those_in_proc() {
    let home = KeptHome::new();
    let port = if support::is_root() { 30104 } else { 30204 };
    let keys = format!("init: true\nuts:\nnet: {{ publish: ['{port}:80'] }}");
    let spec = home.spec(&keys, "sleep 601 & exec sleep 600");
    let id = home.out(&["run", "-d", "--name", "web", &spec]);
    let (supervisor, command) = (home.pid("web", "supervisor"), home.pid("web", "command"));
    support::wait_until("both run", || home.out(&["top", "web"]).matches("sleep 60").count() == 2);
    let drawn = home.out(&["inspect", "--tree", "web"]);
    fits(&drawn, 80, 100);
    assert!(drawn.starts_with(&format!("web  {}  running\n", &id[..12])), "{drawn}");
    let row = |part: &str| {
        let line =
            drawn.lines().find(|line| line.contains(part)).unwrap_or_else(|| panic!("{part}: {drawn}"));
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(row("supervisor: ").contains(&supervisor.to_string()), "{drawn}");
    assert!(drawn.contains("relay: forwards"), "{drawn}");
    // Process 1 is below the supervisor, and the two commands are below it. Each has two PIDs.
    let processes: Vec<&str> = drawn.lines().filter(|line| line.contains("+- ")).collect();
    let depth = |line: &&str| line.find("+- ").unwrap();
    assert!(processes.iter().any(|line| line.contains(&command.to_string())), "{drawn}");
    for words in ["sleep 600", "sleep 601"] {
        let line = processes.iter().find(|line| line.contains(words)).unwrap_or_else(|| panic!("{drawn}"));
        assert!(depth(line) > depth(&processes[0]), "{drawn}");
        let pids: Vec<u32> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let status = fs::read_to_string(format!("/proc/{}/status", pids[0])).unwrap();
        let nspid = status.lines().find(|line| line.starts_with("NSpid:")).unwrap();
        assert_eq!(nspid.split_whitespace().last().unwrap(), pids[1].to_string(), "{nspid} {line}");
    }
    // A namespace is new or not, as the links say. Those of an undumpable process cannot be read.
    for kind in ["pid", "mnt", "net", "uts", "ipc", "time"] {
        let link = |process: &str| fs::read_link(format!("/proc/{process}/ns/{kind}"));
        let Ok(of_container) = link(&command.to_string()) else { continue };
        let (of_container, own) =
            (of_container.display().to_string(), link("self").unwrap().display().to_string());
        let relation = if of_container == own { "==" } else { "!=" };
        assert_eq!(row(&format!("{kind}:[")), [own, relation.to_owned(), of_container], "{drawn}");
    }
    assert!(row("80/tcp").starts_with(&[format!("0.0.0.0:{port}"), "->".into()]), "{drawn}");
    for file in ["config.json", "state.json", "log"] {
        assert!(home.container("web").join(file).exists() && drawn.contains(file), "{drawn}");
    }
    assert!(drawn.contains("HOME/names/web"), "{drawn}");
    // On a terminal it comes in pages. With --no-pause and in a pipe it does not.
    let program = support::binary();
    let on_screen = |more: &[&str]| {
        let script = "stty rows 10 cols 80; exec \"$0\" \"$@\"";
        let start = ["-c", script, program.to_str().unwrap(), "--home"];
        let path = home.path();
        let words = [&start[..], &[path.to_str().unwrap(), "inspect", "--tree", "web"], more].concat();
        Terminal::of("/bin/sh".as_ref(), &words)
    };
    let mut terminal = on_screen(&[]);
    fits(terminal.wait_for("Enter: next   q: quit").trim_start(), 80, 10);
    terminal.press("q");
    assert!(terminal.end().0.success());
    let (status, shown) = on_screen(&["--no-pause"]).end();
    assert!(status.success() && shown.contains("HOME/names/web") && !shown.contains("Enter:"), "{shown}");
    // The same as a picture.
    let file = home.around().join("web.svg");
    home.out(&["inspect", "--tree", "--svg", file.to_str().unwrap(), "web"]);
    let picture = fs::read_to_string(&file).unwrap();
    assert!(picture.starts_with("<svg ") && picture.contains(&format!("{supervisor}")), "{picture}");
    assert!(
        home.refused(&["inspect", "--tree", "--format", "{{.Name}}", "web"], 2)
            .contains("with --format json")
    );
    let parts = home.out(&["inspect", "--tree", "--format", "json", "web"]);
    let parts: serde_json::Value = serde_json::from_str(&parts).unwrap();
    let of_role = |role: &str| {
        let all = parts[0]["processes"].as_array().unwrap().clone();
        all.into_iter()
            .filter(|one| one["role"] == role)
            .map(|one| one["pid"].as_u64().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(of_role("supervisor"), [u64::from(supervisor)]);
    assert!(of_role("inside").contains(&u64::from(command)) && of_role("inside").len() == 3, "{parts}");
    assert_eq!(parts[0]["ports"][0]["inside"], "80/tcp");
    let explained = text(&home.run(&["inspect", "--tree", "--explain", "web"]).stderr);
    assert!(explained.contains("mountinfo"), "{explained}");
    // Without a process, there is nothing but files.
    home.out(&["stop", "-t", "0", "web"]);
    let drawn = home.out(&["inspect", "--tree", "web"]);
    assert!(drawn.contains("There are none") && !drawn.contains("supervisor: "), "{drawn}");
    assert!(home.refused(&["inspect", "--tree", "none"], 1).contains("No such container: none"));
    let missing = home.around().join("no/web.svg");
    home.refused(&["inspect", "--tree", "--svg", missing.to_str().unwrap(), "web"], 1);
}

#[test]
fn templates_of_go_print_what_they_name() {
    let home = KeptHome::new();
    let id = home.sleeper("web");
    let pid = home.pid("web", "command").to_string();
    for (arguments, expected) in [
        (&["ps", "--format", "{{.Names}} {{.State}}"][..], "web running".to_owned()),
        (
            &["ps", "--format", r"table {{.Names}}\t{{.ID}}"],
            format!("NAMES     CONTAINER ID\nweb       {}", &id[..12]),
        ),
        (&["ps", "--no-trunc", "--format", "{{json .ID}}"], format!("\"{id}\"")),
        (&["inspect", "-f", "{{.State.Pid}}", "web"], pid.clone()),
        (
            &["inspect", "-f", "{{if .State.Running}}up{{end}} {{index .Config.Cmd 0}}", "web"],
            "up sh".to_owned(),
        ),
        (
            &["inspect", "-f", "{{json .State.Running}} {{.Name}}", "web", &id[..9]],
            "true /web\ntrue /web".to_owned(),
        ),
        (
            &["inspect", "-f", "{{range .Config.Cmd}}<{{.}}>{{end}}", "web"],
            "<sh><-c><exec sleep 600>".to_owned(),
        ),
    ] {
        assert_eq!(home.out(arguments), expected, "{arguments:?}");
    }
    let message = home.refused(&["inspect", "-f", "{{.Missing}}", "web"], 1);
    assert!(message.contains("map has no entry for key \"Missing\""), "{message}");
    for (command, part) in [
        (&["ps", "--format", "{{.Names"][..], "template parsing error: template: unclosed action"),
        (&["ps", "--format", "{{nothing}}"], "function \"nothing\" not defined"),
        (&["inspect", "-f", "table {{.Name}}", "web"], "--format cannot be"),
    ] {
        let output = home.run(command);
        let message = text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(!output.status.success() && message.contains(part), "{command:?}: {message}");
    }
}

#[test]
fn stats_are_what_the_cgroup_counts() {
    let home = KeptHome::new();
    let spec =
        home.spec("", "x=$(head -c 20000000 /dev/zero | tr '\\0' x); sleep 601 & echo up; exec sleep 600");
    let id = home.out(&["run", "-d", "--name", "web", &spec]);
    support::wait_until("it is up", || home.out(&["logs", "web"]).contains("up"));
    support::wait_until("its processes sleep", || home.out(&["top", "web"]).matches("sleep 60").count() == 2);
    let row = home.out(&["stats", "--no-stream", "--format", "json"]);
    let row: serde_json::Value = serde_json::from_str(&row).unwrap();
    assert_eq!((&row["Name"], &row["ID"], &row["PIDs"]), (&"web".into(), &id[..12].into(), &"2".into()));
    let table = home.out(&["stats", "--no-stream", "web"]);
    assert!(table.starts_with("CONTAINER ID   NAME      CPU %"), "{table}");
    assert_eq!(table.lines().count(), 2);
    let message = home.refused(&["stats", "--no-stream", "none"], 1);
    assert!(message.contains("No such container: none"), "{message}");
    let explained = text(&home.run(&["stats", "--no-stream", "--explain", "web"]).stderr);
    assert!(explained.contains("read(<cpu>/"), "{explained}");
    let has_cgroup = support::is_root() && support::limits::may("stats_are_what_the_cgroup_counts", "memory");
    if !has_cgroup {
        // The shell keeps 20 MB until it becomes `sleep`, so only the measure is checked here.
        let output = home.run(&["stats", "--no-stream", "web"]);
        assert!(text(&output.stderr).contains("no cgroup counts web alone"), "{}", text(&output.stderr));
    }
    for field in ["CPUPerc", "MemPerc"] {
        assert!(row[field].as_str().unwrap().ends_with('%'), "{row}");
    }
    assert!(row["MemUsage"].as_str().unwrap().contains("iB / "), "{row}");
    // A reader that goes away ends it.
    let script = format!("{} stats --format '{{{{.Name}}}}' | head -2", support::binary().display());
    let mut shell = std::process::Command::new("sh");
    let output = shell.args(["-c", &script]).env("SANDBOX_HOME", home.path()).output().unwrap();
    assert_eq!(text(&output.stdout), "web\nweb\n");
}

#[test]
fn events_are_told_in_their_order() {
    let home = KeptHome::new();
    let spec = home.spec("", "exit 3");
    let id = home.out(&["create", "--name", "web", &spec]);
    home.out(&["start", "web"]);
    home.out(&["wait", "web"]);
    support::wait_until("it has ended", || home.status("web") == "exited");
    home.out(&["rename", "web", "front"]);
    home.out(&["rm", "front"]);
    let events = |more: &[&str]| home.out(&[&["events", "--since", "1h", "--until", "0s"], more].concat());
    let words: Vec<String> = events(&["--format", "{{.Action}}"]).lines().map(str::to_owned).collect();
    assert_eq!(words, ["create", "start", "die", "rename", "destroy"]);
    let shown = events(&["--filter", "event=die"]);
    let line = format!(" container die {id} (exitCode=3, image=host, name=web)");
    assert!(shown.ends_with(&line) && shown.lines().count() == 1, "{shown}");
    let json = events(&["--format", "json", "--filter", "container=front"]);
    let first: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&first["status"], &first["Type"], &first["id"]),
        (&"rename".into(), &"container".into(), &id.into())
    );
    assert_eq!(first["Actor"]["Attributes"]["oldName"], "web");
    assert_eq!(json.lines().count(), 2);
    assert_eq!(home.out(&["events", "--since", "0s", "--until", "0s"]), "");
    assert!(home.refused(&["events", "--filter", "colour=red"], 1).contains("invalid filter"));
    // They go on: a reader gets what happens from now on.
    let mut reader = home
        .command(&["events", "--format", "{{.Action}} {{.Actor.Attributes.name}}"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let out = reader.stdout.take().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(out));
    // It may not read yet: each try is an event.
    let (sender, receiver) = std::sync::mpsc::channel();
    let listener = std::thread::spawn(move || {
        let line = lines.next();
        let _ = sender.send(line.and_then(Result::ok));
    });
    let first = loop {
        let id = home.out(&["create", "--name", "again", &spec]);
        home.out(&["rm", &id]);
        if let Ok(line) = receiver.recv_timeout(std::time::Duration::from_millis(100)) {
            break line.unwrap();
        }
    };
    assert!(["create again", "destroy again"].contains(&&*first), "{first}");
    reader.kill().unwrap();
    reader.wait().unwrap();
    listener.join().unwrap();
}

/// The file of the events is bounded, and a reader gets across the change to the next one.
#[test]
fn the_events_are_bounded() {
    let home = KeptHome::new();
    let spec = home.spec("", "true");
    home.out(&["create", "--name", "web", &spec]);
    let file = home.path().join("events");
    let line = fs::read_to_string(&file).unwrap();
    fs::write(&file, line.repeat((512 << 10) / line.len() + 1)).unwrap();
    home.out(&["rename", "web", "front"]);
    home.out(&["rename", "front", "web"]);
    assert!(fs::metadata(&file).unwrap().len() < 4096 && home.path().join("events.1").exists());
    let shown = home.out(&["events", "--until", "0s", "--format", "{{.Action}}"]);
    let words: Vec<&str> = shown.lines().collect();
    assert_eq!(words[words.len() - 3..], ["create", "rename", "rename"]);
}

#[test]
fn limits_change_while_a_container_runs() {
    let test = "limits_change_while_a_container_runs";
    let home = KeptHome::new();
    let spec = home.spec("", "exec sleep 600");
    let id = home.out(&["run", "-d", "--name", "web", &spec]);
    assert!(home.refused(&["update", "web"], 1).contains("you must provide one or more flags"));
    assert_eq!(home.out(&["update", "--restart", "on-failure:3", "web"]), "web");
    assert_eq!(home.out(&["inspect", "-f", "{{.HostConfig.RestartPolicy.Name}}", "web"]), "on-failure");
    if !support::is_root() || !["memory", "cpu", "pids"].iter().all(|one| support::limits::may(test, one)) {
        let message = home.refused(&["update", "--pids-limit", "50", "web"], 1);
        assert!(message.contains("cgroup"), "{message}");
        return;
    }
    let pid = home.pid("web", "command");
    let says = |controller: &str, v1: &str, v2: &str| {
        support::limits::says(&support::limits::group(pid, controller), v1, v2)
    };
    let limits = ["--memory", "64m", "--cpu-quota", "50000", "--pids-limit", "50"];
    assert_eq!(home.out(&[&["update"], &limits[..], &["web"]].concat()), "web");
    assert_eq!(says("memory", "memory.limit_in_bytes", "memory.max"), (64 << 20).to_string());
    assert_eq!(says("pids", "pids.max", "pids.max"), "50");
    let quota = says("cpu", "cpu.cfs_quota_us", "cpu.max");
    assert_eq!(quota.split(' ').next(), Some("50000"), "{quota}");
    // The config has them too: verify compares with it, and the next start sets them.
    home.out(&["verify", "web"]);
    home.out(&["restart", "-t", "0", "web"]);
    let pid = home.pid("web", "command");
    let group = support::limits::group(pid, "pids");
    assert!(group.ends_with(&id) && support::limits::says(&group, "pids.max", "pids.max") == "50");
    let explained = text(&home.run(&["update", "--explain", "--pids-limit", "60", "web"]).stderr);
    assert!(explained.contains("pids.max>, \"60\")"), "{explained}");
    // -1 takes a limit away; that of the cgroup above still holds.
    home.out(&["update", "--pids-limit", "-1", "web"]);
    assert_eq!(support::limits::says(&group, "pids.max", "pids.max"), "max");
    assert_eq!(home.out(&["inspect", "-f", "{{.HostConfig.PidsLimit}}", "web"]), "0");
    home.out(&["verify", "web"]);
    let memory = support::limits::group(pid, "memory");
    let swap = |memory: &std::path::Path| {
        let file = memory.join("memory.memsw.limit_in_bytes");
        let file = if file.exists() { file } else { memory.join("memory.swap.max") };
        fs::read_to_string(file).ok().map(|value| value.trim().to_owned())
    };
    // A period alone keeps the quota. -1 takes the quota away. No limit of memory any more.
    let cpu = support::limits::group(pid, "cpu");
    let quota = || match fs::read_to_string(cpu.join("cpu.max")) {
        Ok(both) => both.trim().to_owned(),
        Err(_) => ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
            .map(|file| fs::read_to_string(cpu.join(file)).unwrap().trim().to_owned())
            .join(" "),
    };
    let shown = || home.out(&["inspect", "-f", "{{.HostConfig.CpuQuota}} {{.HostConfig.CpuPeriod}}", "web"]);
    for (flags, expected, told) in [
        (&["--cpu-period", "40000", "--memory", "-1"][..], "50000 40000", "50000 40000"),
        (&["--cpu-quota", "20000", "--cpu-period", "50000"], "20000 50000", "20000 50000"),
        (&["--cpu-quota", "0", "--cpu-period", "0"], "20000 50000", "20000 50000"),
        (&["--cpu-quota", "-1"], "max 50000", "-1 50000"),
        (&["--cpu-quota", "30000"], "30000 50000", "30000 50000"),
        (&["--cpu-quota", "-5"], "max 50000", "-5 50000"),
    ] {
        home.out(&[&["update"], flags, &["web"]].concat());
        assert_eq!(
            (quota().replace("-1", "max"), shown()),
            (expected.to_owned(), told.to_owned()),
            "{flags:?}"
        );
        home.out(&["verify", "web"]);
    }
    let told = home.refused(&["update", "--cpus", "0.5", "web"], 1);
    assert!(told.contains("Nano CPUs cannot be updated as CPU Period has already been set"), "{told}");
    let limit = support::limits::says(&memory, "memory.limit_in_bytes", "memory.max");
    assert!(limit == "max" || limit.parse::<u64>().unwrap() > 1 << 40, "{limit}");
    assert_eq!(home.out(&["inspect", "-f", "{{.HostConfig.Memory}}", "web"]), "0");
    home.out(&["verify", "web"]);
    home.out(&["update", "--memory", "64m", "web"]);
    if swap(&memory).is_some() {
        home.out(&["update", "--memory-swap", "96m", "web"]);
        let sum = swap(&memory).unwrap();
        assert!([(96 << 20).to_string(), (32 << 20).to_string()].contains(&sum), "{sum}");
        home.out(&["update", "--memory-swap", "-1", "web"]);
        let sum = swap(&memory).unwrap();
        assert!(sum == "max" || sum.parse::<u64>().unwrap() > 1 << 40, "{sum}");
    }
    // A value that the kernel refuses changes nothing, in no file.
    let before = fs::read_to_string(home.container("web").join("config.json")).unwrap();
    let refused = home.run(&["update", "--memory", "32m", "--cpuset-cpus", "4095", "web"]);
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused.stderr));
    assert_eq!(fs::read_to_string(home.container("web").join("config.json")).unwrap(), before);
    let memory = support::limits::group(pid, "memory");
    assert_eq!(support::limits::says(&memory, "memory.limit_in_bytes", "memory.max"), (64 << 20).to_string());
    // What Docker can change and this program cannot is refused by name.
    for flag in ["--cpu-rt-period=1000", "--cpu-rt-runtime=1000"] {
        let refused = home.refused(&["update", flag, "web"], 2);
        assert!(refused.contains(flag.split('=').next().unwrap()), "{refused}");
    }
    // One that does not run has the new limits at its next start.
    home.out(&["stop", "-t", "0", "web"]);
    home.out(&["update", "--pids-limit", "70", "web"]);
    home.out(&["start", "web"]);
    let group = support::limits::group(home.pid("web", "command"), "pids");
    assert_eq!(support::limits::says(&group, "pids.max", "pids.max"), "70");
    home.out(&["rm", "-f", "web"]);
}

#[test]
fn a_further_command_names_the_limit_that_it_meets() {
    let home = KeptHome::new();
    if support::limits::may("a_further_command_names_the_limit_that_it_meets", "pids") {
        let spec = home.spec("pids: { max: 4 }", "sleep 600 & sleep 600 & sleep 600 & wait");
        home.out(&["run", "-d", "--name", "web", &spec]);
        let group = support::limits::group(home.pid("web", "command"), "pids");
        let count = || support::limits::says(&group, "pids.current", "pids.current");
        wait_until("the container has all of its processes", || count() == "4");
        let refused = home.refused(&["exec", "web", "true"], 125);
        let refused = refused.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(refused.contains("The container has 4 of at most 4 processes"), "{refused}");
        // What it advises helps.
        assert!(refused.contains("sandbox update --pids-limit 8 web"), "{refused}");
        home.out(&["update", "--pids-limit", "8", "web"]);
        home.out(&["exec", "web", "true"]);
        home.out(&["rm", "-f", "web"]);
    }
    if support::limits::may("a_further_command_names_the_limit_that_it_meets", "memory") {
        let spec = home.spec("memory: { limit: 32m, swap: 0 }", "exec sleep 600");
        home.out(&["run", "-d", "--name", "web", &spec]);
        let killed = home.refused(&["exec", "web", "tail", "-n", "1", "/dev/zero"], 137);
        assert!(killed.contains("killed by the memory limit of 32"), "{killed}");
        assert!(killed.contains("sandbox update --memory 64m web"), "{killed}");
        // Another SIGKILL is not taken for one of the OOM killer.
        let killed = home.refused(&["exec", "web", "sh", "-c", "kill -9 $$"], 137);
        assert!(!killed.contains("memory"), "{killed}");
        home.out(&["rm", "-f", "web"]);
    }
}

#[test]
fn a_spec_can_ask_for_a_container_that_stays() {
    let home = KeptHome::new();
    let spec = home.spec("keep: true\nname: web", "exit 4");
    assert_eq!(home.run(&["run", &spec]).status.code(), Some(4));
    assert_eq!(home.status("web"), "exited");
    home.out(&["rm", "web"]);
    assert!(home.out(&["run", "--print-spec", &spec]).contains("keep: true"));
    home.is_empty();
}

#[test]
fn a_stop_signal_is_discarded_handled_or_forwarded() {
    let shown = support::stdout(&["stop", "--demo"]);
    fits(&shown, 80, 40);
    for (number, status) in [
        ("1/3", "137: 128 + 9 (SIGKILL)"),
        ("2/3", "7: the handler's own"),
        ("3/3", "143: 128 + 15 (SIGTERM)"),
    ] {
        let part = shown.split(number).nth(1).unwrap_or_else(|| panic!("{shown}"));
        let part = part.split("/3").next().unwrap();
        assert!(part.contains(status), "{number}: {shown}");
    }
    assert!(shown.contains("The kernel discarded it") && shown.contains("SIGTERM is in it"), "{shown}");
}

#[test]
fn events_tell_of_further_commands() {
    let home = KeptHome::new();
    let spec = home.spec("", "echo up; exec sleep 600");
    home.out(&["run", "-d", "--name", "web", &spec]);
    home.out(&["exec", "web", "sh", "-c", "exit 0"]);
    assert_eq!(home.run(&["exec", "web", "sh", "-c", "exit 5"]).status.code(), Some(5));
    home.out(&["rm", "-f", "web"]);
    let events = |more: &[&str]| home.out(&[&["events", "--since", "1h", "--until", "0s"], more].concat());
    let execs =
        events(&["--filter", "event=exec_start", "--filter", "event=exec_die", "--format", "{{.Action}}"]);
    let expected = ["exec_start: sh -c exit 0", "exec_die", "exec_start: sh -c exit 5", "exec_die"];
    assert_eq!(execs.lines().collect::<Vec<_>>(), expected);
    let status = "{{.Actor.Attributes.exitCode}}";
    assert_eq!(events(&["--filter", "event=exec_die", "--format", status]), "0\n5");
    let ids = events(&["--filter", "event=exec_create", "--format", "{{.Actor.Attributes.execID}}"]);
    assert!(ids.lines().all(|id| id.len() == 64) && ids.lines().count() == 2, "{ids}");
}
