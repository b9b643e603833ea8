//! What holds for every controller: the cards, the views, the contract, and that no cgroup is left.

mod support;

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use regex_lite::Regex;
use support::limits::{FEATURES, group, is_possible, left, may, possible};
use support::{alone, binary, fits, run, sandbox, skip, snapshot_for_all, stdout, text, trace};

/// In the virtual machine of scripts/vm, all names are the same on each run.
fn is_known_world() -> bool {
    std::env::var_os("SANDBOX_VM").is_some()
}

/// Measured values differ on every run. They are replaced, so that only their presence and their unit are compared.
fn measured(cards: &str) -> String {
    let mut named = cards.to_owned();
    for (place, name) in [
        (r"killed at [\d.]+ MiB", "killed at <n> MiB"),
        (r"\b(max|nr_throttled) \d+", "$1 <n>"),
        (r"  [\d.]+ MiB\n", "  <n> MiB\n"),
        (r"\d+ ms = [\d.]+ x", "<n> ms = <n> x"),
        (r"\d+ ms\n", "<n> ms\n"),
        (r"\d+ % of", "<n> % of"),
        (r"[\d.]+ s: [\d.]+ (MiB/s|a second)", "<n> s: <n> $1"),
        (r"[\d.]+ MiB/s\n", "<n> MiB/s\n"),
        (r"\+ \d+", "+ <n>"),
        (r"\d+ when the write returned", "<n> when the write returned"),
        (r"(cgroup.procs, <its pid>\) +)\d", "$1<n>"),
        (r"\b(\d+:\d+) ", "<disk> "),
        (r"write of .* to a file", "write of <n> MiB to a file"),
        (r"/\S+/sandbox-node-\d+-\d+", "<node>"),
        (r"(Cpus_allowed_list:|cpuset.cpus) +[\d,-]+", "$1  <list>"),
        (r"MemTotal: +\d+ kB", "MemTotal:  <n> kB"),
        (r"(vd[ab]: \w+,? ?)+", "<disks>"),
        (r"(shares|weight) +(default )?\d+", "$1  <n>"),
        (r" = ", "  "),
        (r"\n +  ", "  "),
        (r" {2,}", "  "),
    ] {
        named = Regex::new(&format!("(?m){place}")).unwrap().replace_all(&named, name).into_owned();
    }
    named
}

/// The cards without the tables of measurements that follow them.
fn without_tables(shown: &str) -> String {
    let is_table = |line: &str| {
        line.starts_with("seconds")
            || line.starts_with("   ") && line.trim().starts_with(|c: char| c.is_ascii_digit())
            || line.starts_with('(')
            || Regex::new(
                r"^\S.* \((MiB|MiB/s|% of a CPU|processes)(, limit.*)?\)$|^written to the disk .*\(MiB/s\)$",
            )
            .unwrap()
            .is_match(line)
    };
    shown.lines().filter(|line| !is_table(line)).map(|line| format!("{line}\n")).collect()
}

#[test]
fn every_card_holds() {
    let _alone = alone();
    for feature in possible("every_card_holds") {
        let shown = stdout(&[feature]);
        assert!(!shown.contains("NOT SO"), "{shown}");
        let cards = without_tables(&shown);
        let (introduction, rest) = cards.split_once("\n\n").unwrap();
        assert!(introduction.lines().next().unwrap().ends_with("cgroups(7)"), "{introduction}");
        for part in ["\nWhy: ", "\nYou will see: ", "\nDemonstration "] {
            assert!(introduction.contains(part), "{introduction}");
        }
        let (shown_cards, end) = rest.split_once("REMEMBER\n").unwrap();
        for part in ["  1. ", "  3. ", "Next subject: "] {
            assert!(end.contains(part), "{end}");
        }
        for card in shown_cards.split("\n\n").filter(|card| card.contains(" --demo ")) {
            assert!(card.contains("\nRepeat it:\n   ") || card.contains("\nskipped "), "{card}");
            // The last line of the screen is for the keys. A line with the path of a cgroup is not broken.
            fits(
                &card
                    .lines()
                    .filter(|line| !line.contains("/sys/fs/cgroup"))
                    .fold(String::new(), |all, line| all + line + "\n"),
                80,
                23,
            );
        }
        // cpuset is not delegated to an ordinary user.
        let skipped = usize::from(feature == "cpu" && !support::is_root());
        assert_eq!(cards.matches("\nskipped").count(), skipped, "{cards}");
        if is_known_world() {
            let who = if support::is_root() { "root" } else { "user" };
            snapshot_for_all(&format!("demo-{feature}@v2-{who}"), &measured(&cards));
        }
    }
}

/// An ordinary user on cgroup v1, or on v2 without delegation.
#[test]
fn a_user_who_may_make_no_cgroup_sees_the_own_one_and_the_plan() {
    let _alone = alone();
    for feature in FEATURES.into_iter().filter(|feature| !is_possible(feature)) {
        let output = run(&[feature]);
        let (shown, error) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(125), "{feature}");
        assert!(error.contains("no cgroup can be created") && error.contains("  do "), "{error}");
        for part in ["\nWhy: ", "\nYOUR OWN CGROUP ", "\nOUTSIDE   <", "\nRepeat it:", "mkdir(", "REMEMBER\n"]
        {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        let own = shown.split("YOUR OWN CGROUP").nth(1).unwrap().split("\n\n").next().unwrap();
        let lines: Vec<&str> =
            own.lines().skip_while(|line| *line != "Repeat it:").skip(1).map(str::trim).collect();
        let script = format!("set -e\n{}", lines.join("\n"));
        let repeated = Command::new("sh").args(["-c", &script]).output().unwrap();
        assert!(repeated.status.success(), "{script}: {}", text(&repeated.stderr));
        assert!(text(&repeated.stdout).contains(&fs::read_to_string("/proc/self/cgroup").unwrap()));
        // One card alone, and JSON, have only the error.
        for arguments in [&[feature, "--format", "json"][..], &[feature, "--explain"]] {
            assert!(run(arguments).stdout.is_empty(), "{arguments:?}");
        }
    }
}

#[test]
fn samples_are_data_and_a_picture() {
    let _alone = alone();
    if !may("samples_are_data_and_a_picture", "pids") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("plot.svg");
    let words = ["pids", "--demo", "bomb", "--max", "8", "--format", "json", "--svg", file.to_str().unwrap()];
    let cards: serde_json::Value = serde_json::from_str(&stdout(&words)).unwrap();
    let samples = cards[0]["plots"][0]["lanes"][0]["samples"].as_array().unwrap();
    let most = samples.iter().map(|sample| sample["value"].as_f64().unwrap()).fold(0.0, f64::max);
    assert_eq!(most, 8.0, "{samples:?}");
    let picture = fs::read_to_string(file).unwrap();
    assert!(picture.starts_with("<svg") && picture.contains("<polyline"), "{picture}");
}

#[test]
fn every_mistake_shows_a_difference() {
    let _alone = alone();
    for feature in possible("every_mistake_shows_a_difference") {
        for mistake in stdout(&[feature, "--break"]).lines().filter_map(|line| line.split_whitespace().next())
        {
            let output = run(&[feature, "--break", mistake, "--format", "json"]);
            let contrast: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            let is_skipped = contrast["skipped"].is_string();
            assert_eq!(output.status.code(), Some(if is_skipped { 77 } else { 0 }), "{contrast}");
            if let Some(reason) = contrast["skipped"].as_str() {
                let is_for_root = mistake == "ulimit" && !support::is_root();
                assert!(is_for_root || (mistake == "swap" && !is_known_world()), "{reason}");
                continue;
            }
            assert_ne!(contrast["right"], contrast["wrong"], "{feature} {mistake}");
            let shown = stdout(&[feature, "--break", mistake]);
            fits(&shown, 80, 24);
            let (wrong, right) = (shown.find("\nWRONG     "), shown.find("\nRIGHT     "));
            assert!(wrong.is_some() && wrong < right, "{shown}");
            for way in ["wrong_command", "right_command"] {
                assert!(shown.contains(&format!("     {}\n", contrast[way].as_str().unwrap())), "{shown}");
            }
            if is_known_world() && support::is_root() {
                let shown = stdout(&[feature, "--break", mistake]);
                snapshot_for_all(&format!("break-{feature}-{mistake}@v2"), &measured(&shown));
            }
        }
    }
}

#[test]
fn the_deny_of_a_device_bites_and_mknod_does_not_help() {
    let _alone = alone();
    if !may("the_deny_of_a_device_bites_and_mknod_does_not_help", "devices") {
        return;
    }
    let contrast = stdout(&["devices", "--break", "mknod", "--format", "json"]);
    let contrast: serde_json::Value = serde_json::from_str(&contrast).unwrap();
    let last = |way: &str| contrast[way].as_array().unwrap().last().unwrap()["value"].clone();
    assert_eq!(last("right"), "-1 EPERM (Operation not permitted)");
    assert_eq!(last("wrong"), "0");
}

#[test]
fn views_fit_and_say_both_spellings() {
    let _alone = alone();
    for feature in FEATURES {
        let plan = stdout(&[feature, "--dry-run"]);
        // Lines that are meant to be pasted are not wrapped.
        fits(plan.split("\nThe same by hand").next().unwrap(), 80, 120);
        assert!(plan.contains("v1  ") && plan.contains("v2  "), "{plan}");
        if !is_possible(feature) {
            continue;
        }
        let view = stdout(&[feature, "--show-proc"]);
        fits(&view, 80, 24);
        assert_eq!(
            view.matches("<- this machine").count(),
            if feature == "memory" { 2 } else { 1 },
            "{view}"
        );
        if is_known_world() {
            let who = if support::is_root() { "root" } else { "user" };
            let own = Regex::new(
                r"(nr_throttled) +[!=]= 0 +\d+|(pids.current +!= )\d+|(MemTotal: +== )\d+ kB +\d+ kB|(io.stat +!= )\d+",
            )
            .unwrap();
            let view = own.replace_all(&view, "$1$2$3$4<n>");
            snapshot_for_all(&format!("view-{feature}@v2-{who}"), &view);
            snapshot_for_all(
                &format!("plan-{feature}@v2-{who}"),
                &stdout(&[feature, "--dry-run", "--", "/bin/true"]),
            );
        }
    }
}

#[test]
fn nothing_else_is_isolated_and_the_status_is_the_commands() {
    let _alone = alone();
    let own = fs::read_to_string("/proc/self/cgroup").unwrap();
    for feature in possible("nothing_else_is_isolated_and_the_status_is_the_commands") {
        for kind in ["pid", "mnt", "net", "uts", "ipc", "user", "cgroup"] {
            let path = format!("/proc/self/ns/{kind}");
            let link = stdout(&[feature, "-q", "--", "readlink", &path]);
            assert_eq!(link.trim(), fs::read_link(&path).unwrap().to_str().unwrap(), "{feature}");
        }
        // Only the feature's own hierarchy may differ.
        let inside = stdout(&[feature, "-q", "--", "cat", "/proc/self/cgroup"]);
        let differing = inside.lines().filter(|line| !own.lines().any(|other| other == *line));
        let allowed: &[&str] = match feature {
            "memory" => &[":memory:"],
            "cpu" => &[":cpu", ":cpuacct:"],
            "blkio" => &[":blkio:"],
            "devices" => &[":devices:"],
            _ => &[":pids:"],
        };
        for line in differing {
            assert!(
                line.starts_with("0::") || allowed.iter().any(|name| line.contains(name)),
                "{feature}: {line}"
            );
        }
        let status = |command: &[&str]| run(&[&[feature, "-q", "--"], command].concat()).status.code();
        assert_eq!(status(&["true"]), Some(0), "{feature}");
        assert_eq!(status(&["sh", "-c", "exit 7"]), Some(7), "{feature}");
        assert_eq!(status(&["no-such-command"]), Some(127), "{feature}");
        assert_eq!(status(&["/etc/passwd"]), Some(126), "{feature}");
        assert_eq!(status(&["sh", "-c", "kill -TERM $$"]), Some(143), "{feature}");
    }
    assert_eq!(left(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn the_same_by_hand_sets_the_same_limit() {
    let _alone = alone();
    if !may("the_same_by_hand_sets_the_same_limit", "pids") {
        return;
    }
    let plan = stdout(&["pids", "--max", "7", "--dry-run", "--", "true"]);
    let block = plan.split("The same by hand:\n").nth(1).unwrap().split("With docker:").next().unwrap();
    let script: String = block
        .lines()
        .map(|line| format!("{}\n", line.trim().replace("exec true", "exec cat $g/pids.max")))
        .collect();
    let directory = Regex::new("g=([^;]+);").unwrap().captures(&script).unwrap()[1].to_owned();
    let output =
        Command::new("sh").args(["-ec", &format!("export g={directory}\n{script}")]).output().unwrap();
    fs::remove_dir(&directory).unwrap();
    let _ = fs::remove_dir(std::path::Path::new(&directory).parent().unwrap());
    assert_eq!(text(&output.stdout), "7\n", "{script}{}", text(&output.stderr));
}

/// A run whose command executes sleep, and the command's PID.
fn sleeping(feature: &str, script: &str) -> (Child, u32) {
    let child = sandbox(&[feature, "-q", "--", "sh", "-c", script]).spawn().unwrap();
    let command = wait_for(|| {
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).ok()?;
        let pid: u32 = children.split_whitespace().next()?.parse().ok()?;
        fs::read_to_string(format!("/proc/{pid}/comm")).ok().filter(|name| name != "sandbox\n").map(|_| pid)
    });
    (child, command.unwrap())
}

fn wait_for<T>(ask: impl Fn() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    None
}

fn lives(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn what_a_killed_sandbox_leaves_is_ended_and_removed_by_the_next() {
    let _alone = alone();
    for feature in possible("what_a_killed_sandbox_leaves_is_ended_and_removed_by_the_next") {
        // A grandchild in a new session: signals to the process group do not reach it.
        let (mut child, command) = sleeping(feature, "setsid sleep 300 & wait");
        let directory = group(
            command,
            match feature {
                "cpu" => "cpu",
                other => other,
            },
        );
        assert!(directory.parent().unwrap().ends_with("sandbox"), "{}", directory.display());
        let members = || fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
        let other = wait_for(|| {
            members().lines().filter_map(|pid| pid.parse().ok()).find(|pid| {
                *pid != command
                    && fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "sleep\n")
            })
        })
        .unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(wait_for(|| (!lives(command)).then_some(())).is_some(), "{feature}: the command lives on");
        assert!(lives(other), "{feature}: the grandchild is out of reach until the next command");
        let freezer = directory.join("cgroup.freeze");
        if freezer.exists() {
            fs::write(freezer, "1").unwrap();
        }
        assert!(run(&["--version"]).status.success());
        let _ = run(&["uts", "--dry-run"]);
        assert!(wait_for(|| (!lives(other)).then_some(())).is_some(), "{feature}: the grandchild lives on");
        assert!(!directory.exists(), "{feature}: {}", directory.display());
    }
    assert_eq!(left(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn what_the_command_leaves_in_its_cgroup_ends_with_it() {
    let _alone = alone();
    if !may("what_the_command_leaves_in_its_cgroup_ends_with_it", "pids") {
        return;
    }
    let shown = stdout(&["pids", "-q", "--", "sh", "-c", "setsid sleep 300 >/dev/null 2>&1 & echo $!"]);
    let other: u32 = shown.trim().parse().unwrap();
    assert!(wait_for(|| (!lives(other)).then_some(())).is_some());
    assert_eq!(left(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_kill_at_any_moment_leaves_nothing_after_the_next_command() {
    let _alone = alone();
    if !may("a_kill_at_any_moment_leaves_nothing_after_the_next_command", "memory") {
        return;
    }
    for microseconds in (0..6000).step_by(150) {
        let mut run = sandbox(&["memory", "-q", "--limit", "64m", "--", "true"]).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(microseconds));
        run.kill().unwrap();
        run.wait().unwrap();
    }
    assert!(support::run(&["uts", "--dry-run"]).status.success());
    assert_eq!(left(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_controller_that_is_not_mounted_is_named() {
    let _alone = alone();
    if !support::is_root() {
        return skip(
            "a_controller_that_is_not_mounted_is_named",
            "machine: umount(2) takes root; its run holds it",
        );
    }
    // In a new mount namespace.
    let script = "mount --make-rprivate / && umount -R -l /sys/fs/cgroup && exec \"$S\" memory -- true";
    let output =
        Command::new("unshare").args(["--mount", "sh", "-c", script]).env("S", binary()).output().unwrap();
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{error}");
    assert!(error.contains("has the controller memory"), "{error}");
}

#[test]
fn runs_at_one_time_share_the_directory_and_the_last_removes_it() {
    let _alone = alone();
    if !may("runs_at_one_time_share_the_directory_and_the_last_removes_it", "pids") {
        return;
    }
    let mut runs: Vec<Child> = (0..8)
        .map(|_| sandbox(&["pids", "--max", "9", "-q", "--", "sleep", "0.2"]).spawn().unwrap())
        .collect();
    for _ in 0..20 {
        assert!(run(&["pids", "-q", "--max", "9", "--", "true"]).status.success());
    }
    runs.iter_mut().for_each(|run| assert!(run.wait().unwrap().success()));
    assert_eq!(left(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn an_interrupt_and_a_term_leave_nothing() {
    let _alone = alone();
    if !may("an_interrupt_and_a_term_leave_nothing", "memory") {
        return;
    }
    for (signal, status) in [("INT", 130), ("TERM", 143)] {
        // A demonstration: the signal goes to `sandbox` itself.
        let mut command = sandbox(&["memory"]);
        command.process_group(0).stdout(std::process::Stdio::null());
        let mut child = command.spawn().unwrap();
        std::thread::sleep(Duration::from_millis(150));
        let sent =
            Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap();
        let ended = child.wait().unwrap();
        // The demonstration may already have ended.
        let by_signal = std::os::unix::process::ExitStatusExt::signal(&ended).map(|signal| 128 + signal);
        let is_told = ended.success() || ended.code().or(by_signal) == Some(status);
        assert!(!sent.success() || is_told, "{ended:?}");
        assert_eq!(left(), Vec::<std::path::PathBuf>::new());
    }
}

#[test]
fn bad_values_are_told_and_leave_nothing() {
    let _alone = alone();
    let told = |arguments: &[&str], status: i32, words: &str| {
        let output = run(arguments);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {error}");
        assert!(error.contains(words), "{arguments:?}: {error}");
    };
    told(&["memory", "--limit", "lots", "--", "true"], 2, "64MiB");
    told(&["devices", "--deny", "null", "--", "true"], 2, "rule");
    told(&["blkio", "--write-bps", "/dev/null", "--", "true"], 2, "DEV=RATE");
    told(&["cpu", "--cpus", "0", "--", "true"], 2, "0.01");
    told(&["cpu", "--shares", "1", "--", "true"], 125, "2 to 262144");
    told(&["cpu", "--cpuset", "x", "--", "true"], 125, "0-3");
    told(&["pids", "--max", "0", "--", "true"], 125, "4194304");
    told(&["blkio", "--write-bps", "/dev/no-such-disk=1", "--", "true"], 125, "No such file");
    told(&["blkio", "--weight", "5", "--", "true"], 125, "10 to 1000");
    told(&["blkio", "--write-bps", "/proc/version=1m", "--", "true"], 125, "not on a disk");
    if is_possible("cpu") && support::is_root() {
        told(&["cpu", "--cpuset", "4000", "--", "true"], 125, "no such CPU");
    }
    assert_eq!(left(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn the_plan_is_what_the_kernel_sees() {
    let _alone = alone();
    if !std::path::Path::new("/usr/bin/strace").exists() {
        return skip("the_plan_is_what_the_kernel_sees", "strace(1) isn't installed");
    }
    if !may("the_plan_is_what_the_kernel_sees", "memory") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("trace");
    let flags = ["memory", "-q", "--limit", "64m", "--swap", "0"];
    let status = Command::new("strace")
        .args(["-f", "-y", "-s", "999", "-e", "trace=mkdir,write,clone3,flock", "-o"])
        .arg(&file)
        .arg(binary())
        .args(flags)
        .args(["--", "true"])
        .status()
        .unwrap();
    assert!(status.success());
    let plan = stdout(&[&flags[..], &["--dry-run", "--format", "json", "--", "true"]].concat());
    let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
    // The cgroup's name differs on each run.
    let name = Regex::new(r"/sandbox/[0-9a-f]{8}").unwrap();
    let seen = fs::read_to_string(&file).unwrap();
    let descriptor = Regex::new(r"(write|flock)\(\d+").unwrap();
    let seen = name.replace_all(&seen, "/sandbox/X").into_owned();
    let seen: Vec<String> = trace::calls(&seen)
        .iter()
        .map(|traced| traced.call.as_str())
        .filter(|call| {
            let is_of_plan = call.contains("/sys/fs/cgroup") && !call.contains("/journal");
            let is_lock = call.contains("/cgroup-") && call.contains("LOCK_SH");
            (is_of_plan || is_lock) && !call.contains(", \"-") && !call.starts_with("clone3")
        })
        .map(|call| descriptor.replace(call, "$1(").into_owned())
        .collect();
    let planned: Vec<String> = plan["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| name.replace_all(step["call"]["text"].as_str().unwrap(), "/sandbox/X").into_owned())
        // What follows is a comment on the call.
        .map(|call| call.split("  [").next().unwrap_or_default().to_owned())
        .filter(|call| ["mkdir(", "write(", "flock("].iter().any(|name| call.starts_with(name)))
        .collect();
    assert_eq!(seen, planned);
}
