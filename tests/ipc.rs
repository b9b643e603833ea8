//! The ipc namespace: what the kernel shows.

mod support;

use std::fs;

use nix::mqueue::{MQ_OFlag, mq_close, mq_open};
use nix::sys::stat::Mode;
use support::running::Running;
use support::{binary, fits, sandbox, skip, snapshot, snapshot_cards, stdout, text};

#[test]
fn every_card_holds() {
    let cards = stdout(&["ipc"]);
    assert_eq!(cards.lines().filter(|line| line.starts_with("holds ")).count(), 7, "{cards}");
    cards.split("\n\n").for_each(|card| fits(card, 80, 22));
    snapshot_cards("demo-ipc", &cards);
}

/// Each claim of the notes on Docker's architecture about ipc namespaces, and the card that shows it.
#[test]
fn each_claim_of_the_notes_has_its_card() {
    let claims = [
        ("processes of a container use shared memory with each other", "share"),
        ("and message queues", "exchange"),
        ("and semaphores", "exchange"),
        ("neither semaphores", "sem"),
        ("nor message queues are found from the other side", "msg"),
        ("what another container made has no key here", "shm"),
        ("POSIX message queues are parted too", "queue"),
        ("POSIX shared memory isn't: files are the mount namespace's", "shm-file"),
    ];
    for (claim, card) in claims {
        let shown = stdout(&["ipc", "--demo", card]);
        assert!(shown.contains("\nholds  "), "{claim}: {shown}");
    }
}

#[test]
fn the_mistake_shows_the_file_and_the_right_way_hides_it() {
    let contrast = stdout(&["ipc", "--break", "shm-file"]);
    let (wrong, right) = contrast.split_once("\nRIGHT ").expect("both ways");
    assert!(right.contains("ENOENT") && wrong.contains("secret"), "{contrast}");
    fits(&contrast, 80, 24);
    snapshot("break-ipc-shm-file", &contrast);
}

/// The number of rows of a table, without its heading.
fn rows(table: &str) -> usize {
    table.lines().count().saturating_sub(1)
}

#[test]
fn what_is_made_inside_is_not_in_the_tables_outside() {
    if !std::path::Path::new("/usr/bin/ipcmk").exists() {
        return skip("what_is_made_inside_is_not_in_the_tables_outside", "ipcmk(1) isn't installed");
    }
    let script = "ipcmk -M 4096 -S 1 -Q >/dev/null; cat /proc/sysvipc/*";
    let inside = stdout(&["ipc", "-q", "--", "sh", "-c", script]);
    let keys = |tables: &str| -> Vec<String> {
        let first = tables.lines().filter_map(|line| line.split_whitespace().next());
        first.filter(|word| *word != "key").map(str::to_owned).collect()
    };
    let outside: String = ["shm", "sem", "msg"]
        .map(|kind| fs::read_to_string(format!("/proc/sysvipc/{kind}")).unwrap())
        .concat();
    assert_eq!(keys(&inside).len(), 3, "{inside}");
    assert!(keys(&inside).iter().all(|key| !keys(&outside).contains(key)), "{inside}\n{outside}");
    let fresh = stdout(&["ipc", "-q", "--", "cat", "/proc/sysvipc/shm"]);
    assert_eq!(rows(&fresh), 0, "{fresh}");
}

#[test]
fn a_killed_demonstration_leaves_objects_that_the_next_command_removes() {
    let mut killed = Vec::new();
    // The test kills the demonstration after twenty different delays. Some kills fall between creation and removal.
    for delay in 0..20 {
        let mut child = sandbox(&["ipc"]).stdout(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(delay));
        child.kill().unwrap();
        child.wait().unwrap();
        killed.push(child.id());
    }
    // Other tests of this file create and remove objects at the same time. Names and keys have the PID in them.
    let left = || {
        let files = fs::read_dir("/dev/shm").into_iter().flatten().flatten();
        let names = files.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let of_killed = |name: &String| {
            killed.iter().any(|pid| name.starts_with("sandbox-") && name.contains(&format!("-{pid}-")))
        };
        let mut left: Vec<String> = names.filter(of_killed).collect();
        for kind in ["shm", "sem", "msg"] {
            let table = fs::read_to_string(format!("/proc/sysvipc/{kind}")).unwrap();
            let keys = table.lines().filter_map(|line| line.split_whitespace().next()?.parse::<u32>().ok());
            let is_of = |key: u32, pid: u32| key >> 8 == 0x4000_0000 >> 8 | pid & 0x3f_ffff;
            let of_killed = keys.filter(|key| killed.iter().any(|pid| is_of(*key, *pid)));
            left.extend(of_killed.map(|key| format!("{kind} {key:#x}")));
        }
        left
    };
    // If a run is killed during the removal, the next run completes it.
    for _ in 0..100 {
        stdout(&["uts", "-q", "--", "true"]);
        if left().is_empty() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("{:?}", left());
}

/// Returns true if an object that a card created outside still exists. The card's output names the object.
fn is_there(card: &str, shown: &str) -> bool {
    let find = |words: &str| {
        let found = regex_lite::Regex::new(words).unwrap().captures(shown).expect("the card names it");
        found[1].to_owned()
    };
    match card {
        "queue" => {
            let name = find(r#"mq_open\("(/sandbox-q-[^"]+)""#);
            mq_open(name.as_str(), MQ_OFlag::O_RDONLY, Mode::empty(), None).map(mq_close).is_ok()
        }
        "shm-file" => fs::exists(find(r"(/dev/shm/sandbox-shm-\S+)")).unwrap(),
        kind => {
            let key = find(r"grep -c (\d+)");
            let table = fs::read_to_string(format!("/proc/sysvipc/{kind}")).unwrap();
            table.lines().any(|line| line.split_whitespace().next() == Some(&key))
        }
    }
}

#[test]
fn what_was_to_be_removed_at_the_moment_of_a_kill_is_removed_by_the_next_command() {
    let test = "what_was_to_be_removed_at_the_moment_of_a_kill_is_removed_by_the_next_command";
    if !std::path::Path::new("/usr/bin/strace").exists() {
        return skip(test, "strace(1) isn't installed");
    }
    for (card, removal) in
        [("shm", "shmctl"), ("msg", "msgctl"), ("queue", "mq_unlink"), ("shm-file", "/^unlink")]
    {
        let inject = format!("inject={removal}:error=EIO:signal=KILL");
        let mut command = std::process::Command::new("strace");
        command.args(["-qq", "-o", "/dev/null", "-e", &format!("trace={removal}"), "-e", &inject]);
        command.arg(binary()).args(["ipc", "--demo", card]).env("COLUMNS", "80");
        // A run may also be killed while it removes what another test left, by the same call. Such a run has printed
        // nothing.
        let outputs = (0..20).map(|_| command.output().unwrap());
        let mut killed = outputs.filter(|output| !output.status.success()).map(|output| text(&output.stdout));
        let shown = killed.find(|shown| shown.contains("\nholds  ")).expect("killed after it was shown");
        let gone = (0..100).any(|_| {
            // The command of another test may have started to process the same journal and have been killed.
            stdout(&["uts", "-q", "--", "true"]);
            !is_there(card, &shown) || {
                std::thread::sleep(std::time::Duration::from_millis(50));
                false
            }
        });
        assert!(gone, "{card}: {shown}");
    }
}

#[test]
fn runs_at_one_time_keep_their_journals_apart() {
    // The runs share a directory, and the last one removes it. Each run first removes what dead runs left.
    let one = || {
        for _ in 0..50 {
            let shown = stdout(&["ipc", "--demo", "shm"]);
            assert!(shown.contains("\nholds  "), "{shown}");
        }
    };
    std::thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(one))));
}

/// Kernel parameters of the new namespaces, of ipc and of net: a new value inside, the host's own outside.
#[test]
fn kernel_parameters_are_those_of_the_new_namespaces() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("spec.yaml");
    let run = |flags: &[&str], spec: &str| {
        fs::write(&file, spec).unwrap();
        let output = sandbox(&[&["run"], flags, &[file.to_str().unwrap()]].concat()).output().unwrap();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let paths = ["fs/mqueue/msg_max", "kernel/sem", "net/ipv4/ip_local_port_range", "net/core/somaxconn"];
    let paths = paths.map(|path| format!("/proc/sys/{path}"));
    let values = || paths.each_ref().map(|path| fs::read_to_string(path).unwrap());
    let before = values();
    let sysctls = "sysctls: { kernel.sem: '250 32000  32 77', fs/mqueue/msg_max: 21, net.core.somaxconn: 7, \
                   net.ipv4.ip_local_port_range: \"20000\\t30000\" }\n";
    let command = format!("command: [cat, {}]\n", paths.join(", "));
    // Without and with a root of its own, in which /proc/sys is read-only.
    for root in ["", "rootfs: host\npid:\n"] {
        let shown = run(&["-q"], &format!("ipc:\nnet:\n{root}{sysctls}{command}"));
        assert_eq!(
            shown,
            (Some(0), "21\n250\t32000\t32\t77\n20000\t30000\n7\n".into(), String::new()),
            "{root}"
        );
    }
    assert_eq!(values(), before);
    let (_, plan, _) = run(&["--dry-run"], &format!("ipc:\nnet:\n{sysctls}{command}"));
    for line in ["write(</proc/sys/net/core/somaxconn>, \"7\", 1)", "echo 21 > /proc/sys/fs/mqueue/msg_max"] {
        assert!(plan.contains(line), "{plan}");
    }
    for (spec, words) in [
        (
            "net:\nsysctls: { kernel.sem: 1 }\n",
            &["kernel.sem would change for other processes", "ipc: {}"][..],
        ),
        (
            "net: { join: host }\nsysctls: { net.core.somaxconn: 1 }\n",
            &["net.core.somaxconn would", "spec.yaml:2:"],
        ),
        ("net:\nsysctls: { net.ipv4.ip_forward: maybe }\n", &["EINVAL", "does not accept"]),
        ("net:\nsysctls: { net.ipv4.no_such_name: 1 }\n", &["ENOENT", "no such parameter"]),
        // The kernel takes this value, and shows another one.
        ("net:\nsysctls: { net.core.somaxconn: '0x10' }\n", &["wanted 0x10", "shown 16"]),
        ("sysctls: { vm.swappiness: 1, kernel.core_pattern: x }\n", &["2 mistakes", "kernel.shm*"]),
    ] {
        let (status, shown, error) = run(&[], &format!("{spec}command: [echo, started]\n"));
        assert!(status == Some(125) && shown.is_empty(), "{spec}: {error}");
        assert!(words.iter().all(|word| error.contains(word)), "{spec}: {error}");
    }
    assert_eq!(values(), before);
    // A running container is compared with its own values.
    let container = Running::of(&format!("ipc:\nnet:\n{sysctls}"), "");
    let verified = sandbox(&["verify", &container.name]).output().unwrap();
    assert_eq!(verified.status.code(), Some(0), "{}", text(&verified.stderr));
    let again =
        sandbox(&["exec", "-q", &container.name, "cat", "/proc/sys/net/core/somaxconn"]).output().unwrap();
    assert_eq!(text(&again.stdout), "7\n", "{}", text(&again.stderr));
    container.enter(&["--privileged"], &["sh", "-c", "echo 8 > /proc/sys/net/core/somaxconn"]);
    let verified = sandbox(&["verify", &container.name]).output().unwrap();
    let error = text(&verified.stderr);
    assert!(verified.status.code() == Some(125) && error.contains("/proc/sys/net/core/somaxconn"), "{error}");
}
