//! What reaches a container that stays after its start: new limits, further commands, signals.
//!
//! Judged by what the kernel shows: the files of the cgroups, /proc/PID/status and /proc/PID/stat.
//!
//! Other inputs of the same kind as the ones here:
//! - `update` of each limit, of a container that waits for its restart, that has just ended, that is paused.
//! - `exec` by a caller with other signals, another umask and another nice value than the one of `create`, of `start` and of `run -d`.

mod support;

use std::fs;
use std::process::Command;

use support::kept::KeptHome;
use support::{binary, is_root, text, wait_until};

/// Runs a line of a shell in which `sandbox` is the program under test.
fn shell(home: &KeptHome, line: &str) -> String {
    let line = format!("sandbox() {{ {} \"$@\"; }}; {line}", binary().display());
    let output = Command::new("sh").args(["-c", &line]).env("SANDBOX_HOME", home.path()).output().unwrap();
    assert!(output.status.success(), "{line}: {}", text(&output.stderr));
    text(&output.stdout).trim().to_owned()
}

#[test]
fn an_update_of_a_container_that_waits_for_its_restart_is_for_its_next_run() {
    let home = KeptHome::new();
    for (name, change) in [
        ("box-a", ["--restart", "on-failure:9"]),
        ("box-b", ["--pids-limit", "40"]),
        ("box-c", ["--memory", "64m"]),
    ] {
        let may = is_root()
            && ["memory", "pids"]
                .iter()
                .all(|one| support::limits::may("an_update_of_a_container_that_waits", one));
        if name != "box-a" && !may {
            continue;
        }
        let spec = home.spec("", "exit 1");
        home.out(&["run", "-d", "--name", name, "--restart", "always", &spec]);
        // The time between two starts is doubled each time.
        wait_until("it waits", || {
            home.state(name)["restartCount"].as_u64() >= Some(2) && home.status(name) == "restarting"
        });
        let count = home.state(name)["restartCount"].as_u64().unwrap();
        home.out(&[&["update"], &change[..], &[name]].concat());
        wait_until("it was started again", || home.state(name)["restartCount"].as_u64().unwrap() > count);
        assert!(["restarting", "running"].contains(&&*home.status(name)), "{}", home.state(name));
        assert_eq!(home.inspected(name)["Error"], "");
        home.out(&["rm", "-f", name]);
    }
}

#[test]
fn an_update_before_a_restart_limits_the_next_run() {
    let test = "an_update_before_a_restart_limits_the_next_run";
    if !is_root() || !support::limits::may(test, "pids") {
        return;
    }
    let home = KeptHome::new();
    let spec = home.spec("", "trap 'exit 1' USR1; while :; do sleep 0.05; done");
    home.out(&["run", "-d", "--name", "web", "--stop-signal", "TERM", "--restart", "always", &spec]);
    let mut pid = home.pid("web", "command");
    // Enough ends for a wait in which the update falls.
    let handler = std::time::Duration::from_millis(300);
    for _ in 0..4 {
        std::thread::sleep(handler);
        home.out(&["kill", "-s", "USR1", "web"]);
        wait_until("it was started again", || {
            let state = home.state("web");
            state["status"] == "running" && state["command"]["pid"].as_u64() != Some(u64::from(pid))
        });
        pid = home.pid("web", "command");
    }
    std::thread::sleep(handler);
    home.out(&["kill", "-s", "USR1", "web"]);
    wait_until("it waits", || home.status("web") == "restarting");
    home.out(&["update", "--pids-limit", "41", "web"]);
    wait_until("it runs", || home.status("web") == "running");
    let group = support::limits::group(home.pid("web", "command"), "pids");
    assert_eq!(support::limits::says(&group, "pids.max", "pids.max"), "41");
    home.out(&["verify", "web"]);
    home.out(&["rm", "-f", "web"]);
}

/// Also where no disk uses it: then it is written if its file exists, as at the start.
#[test]
fn a_weight_is_written_at_once() {
    let test = "a_weight_is_written_at_once";
    if !is_root() || !support::limits::may(test, "blkio") {
        return;
    }
    let home = KeptHome::new();
    let spec = home.spec("blkio: { weight: 300 }", "exec sleep 600");
    home.out(&["run", "-d", "--name", "web", &spec]);
    let group = support::limits::group(home.pid("web", "command"), "blkio");
    let files = ["blkio.bfq.weight", "io.bfq.weight", "io.weight"].map(|file| group.join(file));
    let Some(file) = files.iter().find(|file| file.exists()) else {
        return;
    };
    let before = fs::read_to_string(file).unwrap();
    let told = text(&home.run(&["update", "--explain", "--blkio-weight", "500", "web"]).stderr);
    assert_ne!(fs::read_to_string(file).unwrap(), before, "{told}");
    home.out(&["verify", "web"]);
    home.out(&["rm", "-f", "web"]);
}

/// The lines of /proc/PID/status and the nice value of the container's process, and those of a further one.
#[test]
fn a_further_command_has_nothing_of_its_caller() {
    let home = KeptHome::new();
    let spec = home.spec("", "exec sleep 600");
    let facts = |pid: &str| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let of = |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let nice = stat.rsplit(") ").next().unwrap().split(' ').nth(16).unwrap().to_owned();
        (["SigIgn", "SigBlk", "Umask"].map(of), nice)
    };
    // The umask of `create`, of `start` and of `run -d` is not that of the container.
    let starts = [
        format!("umask 077; sandbox run -d --name web {spec}"),
        format!("(umask 077; sandbox create --name web {spec}); ulimit -Sn 512; sandbox start web"),
        format!("trap '' USR2; nice -n 3 {} run -d --name web {spec}", binary().display()),
    ];
    for start in starts {
        shell(&home, &start);
        let own = facts(&home.pid("web", "command").to_string());
        assert!(own.0[2].ends_with("0022"), "{start}: {own:?}");
        let caller = "trap '' USR1 USR2 TSTP; umask 027; ulimit -Sn 256";
        let ran = |nice: &str, command: &str| {
            shell(&home, &format!("{caller}; {nice} {} exec -q web sh -c '{command}'", binary().display()))
        };
        let limits = fs::read_to_string(format!("/proc/{}/limits", home.pid("web", "command"))).unwrap();
        let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
        assert_eq!(ran("", "ulimit -Sn"), files.split_whitespace().nth(3).unwrap(), "{start}");
        let shown = ran("", "grep -E \"^(SigIgn|SigBlk|Umask)\" /proc/self/status");
        let shown: Vec<&str> = shown.lines().collect();
        for line in &own.0 {
            assert!(shown.contains(&&**line), "{start}: {line} {shown:?}");
        }
        // An ordinary user may not lower a nice value.
        let nice = ran(if is_root() { "nice -n 9" } else { "" }, "cut -d \" \" -f 19 /proc/self/stat");
        assert_eq!(nice, own.1, "{start}");
        home.out(&["rm", "-f", "web"]);
    }
}

/// As Docker: each signal ends the restarts, unless the container has a stop signal of its own. Then only that one and SIGKILL do, and
/// any with the policy unless-stopped.
#[test]
fn a_signal_of_a_client_can_end_the_restarts() {
    let home = KeptHome::new();
    let spec = home.spec("", "trap 'exit 3' USR1; trap 'exit 4' QUIT; while :; do sleep 0.05; done");
    for (policy, stop_signal, signal, ends) in [
        ("always", None, "USR1", true),
        ("always", Some("QUIT"), "USR1", false),
        ("always", Some("QUIT"), "QUIT", true),
        ("always", Some("QUIT"), "KILL", true),
        ("on-failure", None, "USR1", true),
        ("unless-stopped", Some("QUIT"), "USR1", true),
    ] {
        let own: Vec<&str> = stop_signal.iter().flat_map(|signal| ["--stop-signal", *signal]).collect();
        home.out(&[&["run", "-d", "--name", "web", "--restart", policy], &own[..], &[&spec]].concat());
        let pid = home.pid("web", "command");
        wait_until("it has its handlers", || {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let line =
                status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or("0").trim().to_owned();
            // SIGUSR1 and SIGQUIT.
            u64::from_str_radix(&line, 16).unwrap() & (1 << 9 | 1 << 2) == (1 << 9 | 1 << 2)
        });
        home.out(&["kill", "-s", signal, "web"]);
        let is_ended = || home.status("web") == "exited";
        let is_again = || home.state("web")["restartCount"] == 1;
        let case = format!("{policy} {stop_signal:?} {signal}");
        wait_until("it has ended", || is_ended() || is_again());
        assert_eq!((is_ended(), is_again()), (ends, !ends), "{case}");
        home.out(&["rm", "-f", "web"]);
    }
}

#[test]
fn each_signal_that_is_sent_is_an_event() {
    let home = KeptHome::new();
    // Without a handler, the kernel drops SIGTERM for a process 1.
    home.sleeper("web");
    home.out(&["stop", "-t", "0", "web"]);
    home.out(&["start", "web"]);
    home.out(&["restart", "-t", "0", "web"]);
    home.out(&["rm", "-f", "web"]);
    let format = "{{.Action}}{{with .Actor.Attributes.signal}} {{.}}{{end}}";
    let shown = home.out(&["events", "--since", "1h", "--until", "0s", "--format", format]);
    let stopped = ["kill 15", "kill 9", "die", "stop"];
    let expected = [
        &["create", "start"],
        &stopped[..],
        &["start"],
        &stopped[..],
        &["start", "restart", "kill 9", "die", "destroy"],
    ];
    assert_eq!(shown.lines().collect::<Vec<_>>(), expected.concat());
}

#[test]
fn a_container_that_waits_for_its_restart_is_named_so() {
    let home = KeptHome::new();
    let spec = home.spec("", "exit 1");
    home.out(&["run", "-d", "--name", "web", "--restart", "always", &spec]);
    wait_until("it waits for long", || {
        home.state("web")["restartCount"].as_u64() >= Some(4) && home.status("web") == "restarting"
    });
    assert!(home.refused(&["top", "web"], 1).contains("is restarting, wait until the container is running"));
    assert!(home.refused(&["attach", "web"], 1).contains("cannot attach to a restarting container"));
    home.out(&["rm", "-f", "web"]);
}

/// The zone is one that needs no file.
#[test]
fn a_time_without_a_zone_is_in_the_local_one() {
    let home = KeptHome::new();
    let spec = home.spec("", "echo a");
    home.out(&["run", "--keep", "--name", "web", &spec]);
    let at = |zone: &str, arguments: &[&str]| {
        let output = home.command(arguments).env("TZ", zone).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout).trim().to_owned()
    };
    let local = |zone: &str, form: &str, when: &str| {
        let output = Command::new("date").args(["-d", when, form]).env("TZ", zone).output().unwrap();
        text(&output.stdout).trim().to_owned()
    };
    for (zone, offset) in [("JST-9", "+09:00"), ("NST3:30", "-03:30"), ("UTC0", "Z")] {
        for form in ["+%FT%T", "+%FT%H:%M", "+%FT%H"] {
            let before = local(zone, form, "1 hour ago");
            assert_eq!(at(zone, &["logs", "--since", &before, "web"]), "a", "{zone} {before}");
            assert_eq!(at(zone, &["logs", "--until", &before, "web"]), "", "{zone} {before}");
            assert_ne!(at(zone, &["events", "--since", &before, "--until", "0s"]), "", "{zone} {before}");
        }
        let event = at(zone, &["events", "--since", "1h", "--until", "0s"]);
        let moment = event.split(' ').next().unwrap();
        assert!(moment.ends_with(offset) && moment.starts_with(&local(zone, "+%F", "now")), "{moment}");
        let created = at(zone, &["ps", "-a", "--format", "{{.CreatedAt}}"]);
        let name = zone.trim_end_matches(|letter: char| !letter.is_alphabetic());
        assert!(created.ends_with(&format!(" {}", &zone[..name.len().min(3)])), "{created}");
    }
    home.out(&["rm", "web"]);
}

/// A client that does not read its output for too long gets no more of it, and ends.
#[test]
fn a_client_that_was_cut_off_ends() {
    let home = KeptHome::new();
    let spec = home.spec("", "while :; do seq 1 2000; sleep 0.01; done");
    home.out(&["run", "-d", "--name", "web", &spec]);
    let mut command = home.command(&["attach", "--no-stdin", "web"]);
    let mut client =
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    // 1 MiB is kept for it, beside what fits into the pipe.
    std::thread::sleep(std::time::Duration::from_secs(6));
    let mut out = client.stdout.take().unwrap();
    let reader = std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()).unwrap());
    let mut told = String::new();
    std::io::Read::read_to_string(client.stderr.as_mut().unwrap(), &mut told).unwrap();
    assert_eq!(client.wait().unwrap().code(), Some(1), "{told}");
    let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(told.contains("bytes were left out"), "{told}");
    assert!(reader.join().unwrap() > 0);
    home.out(&["rm", "-f", "web"]);
}

#[test]
fn ports_are_in_the_order_of_their_numbers() {
    let home = KeptHome::new();
    let first: u16 = if is_root() { 30410 } else { 30510 };
    let ports = [(443, "tcp"), (8080, "tcp"), (53, "udp"), (3306, "tcp"), (53, "tcp")];
    let publish: Vec<String> = ports
        .iter()
        .zip(first..)
        .map(|((inside, protocol), outside)| format!("'127.0.0.1:{outside}:{inside}/{protocol}'"))
        .collect();
    let spec = home.spec(&format!("net: {{ publish: [{}] }}", publish.join(", ")), "exec sleep 600");
    home.out(&["run", "-d", "--name", "web", &spec]);
    let shown = home.out(&["port", "web"]);
    let inside: Vec<&str> = shown.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(inside, ["53/tcp", "53/udp", "443/tcp", "3306/tcp", "8080/tcp"]);
    // Only `status` asks for containers that do not run.
    home.out(&["stop", "-t", "0", "web"]);
    assert_eq!(home.out(&["ps", "-q", "-f", "exited=137"]), "");
    assert_ne!(home.out(&["ps", "-aq", "-f", "exited=137"]), "");
    assert_ne!(home.out(&["ps", "-q", "-f", "status=exited"]), "");
    home.out(&["rm", "web"]);
}

#[test]
fn a_zero_takes_away_a_limit_or_leaves_it() {
    let home = KeptHome::new();
    let spec = home.spec("", "true");
    home.out(&["create", "--name", "web", &spec]);
    let of = |field: &str| home.out(&["inspect", "-f", &format!("{{{{.HostConfig.{field}}}}}"), "web"]);
    for (words, status) in [
        (&["--pids-limit", "0"][..], 0),
        (&["--pids-limit", "-5"], 0),
        (&["-m", "0"], 0),
        (&["--cpus", "0"], 0),
        // Neither takes the limit away.
        (&["--cpus=-1"], 1),
        (&["--cpus=-1", "--restart", "no"], 1),
    ] {
        let output = home.run(&[&["update"], words, &["web"]].concat());
        assert_eq!(output.status.code(), Some(status), "{words:?} {}", text(&output.stderr));
    }
    assert_eq!([of("PidsLimit"), of("Memory"), of("NanoCpus")], ["0"; 3]);
    home.out(&["rm", "web"]);
}

/// A command has read that a container runs, and is held up by strace(1) until the container has ended.
#[test]
fn a_container_that_ends_while_it_is_read_is_not_lost() {
    let home = KeptHome::new();
    let spec = home.spec("", "sleep 0.5; exit 7");
    let read = |flags: &[&str], words: &[&str]| {
        home.out(&[&["run", "-d", "--name", "web"], flags, &[&spec]].concat());
        let mut strace = Command::new("strace");
        strace.args(["-f", "-o", "/dev/null", "-P"]).arg(home.container("web").join("state.json"));
        strace.args(["-e", "trace=read", "-e", "inject=read:delay_exit=1500000:when=1"]).arg(binary());
        let output = strace.args(words).env("SANDBOX_HOME", home.path()).output().unwrap();
        (text(&output.stdout), text(&output.stderr))
    };
    let shown = read(&[], &["inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", "web"]);
    assert_eq!(shown, ("exited 7\n".to_owned(), String::new()));
    home.out(&["rm", "web"]);
    for (words, expected, message) in [
        (["inspect", "web"], "[]\n", "no such"),
        (["ps", "-aq"], "", ""),
        (["wait", "web"], "", "No such container"),
    ] {
        let (out, errors) = read(&["--rm"], &words);
        let is_right = out == expected && errors.to_lowercase().contains(&message.to_lowercase());
        assert!(is_right && (errors.is_empty() == message.is_empty()), "{words:?} {out} {errors}");
    }
}
