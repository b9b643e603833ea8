//! The ipc namespace: what the kernel shows.

mod support;

use std::fs;

use support::{fits, sandbox, skip, snapshot, snapshot_cards, stdout};

#[test]
fn every_card_holds() {
    let cards = stdout(&["ipc"]);
    assert_eq!(cards.lines().filter(|line| line.starts_with("ok ")).count(), 6, "{cards}");
    cards.split("\n\n").for_each(|card| fits(card, 80, 6));
    snapshot_cards("demo-ipc", &cards);
}

/// What the notes on Docker's architecture say about ipc namespaces, and the card that shows it.
#[test]
fn each_claim_of_the_notes_has_its_card() {
    let claims = [
        ("processes of a container use shared memory with each other", "share"),
        ("and message queues", "msg"),
        ("and semaphores, which those outside don't see", "sem"),
        ("what another container made has no key here", "shm"),
        ("POSIX message queues are parted too", "queue"),
        ("POSIX shared memory isn't: files are the mount namespace's", "shm-file"),
    ];
    for (claim, card) in claims {
        let shown = stdout(&["ipc", "--demo", card]);
        assert!(shown.contains("\nok  "), "{claim}: {shown}");
    }
}

#[test]
fn the_mistake_shows_the_file_and_the_right_way_hides_it() {
    let contrast = stdout(&["ipc", "--break", "shm-file"]);
    let (right, wrong) = contrast.split_once("\nWRONG\n").expect("both ways");
    assert!(right.contains("ENOENT") && wrong.contains("secret"), "{contrast}");
    fits(&contrast, 80, 24);
    snapshot("break-ipc-shm-file", &contrast);
}

/// The rows of a table below its heading.
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
    let ours = || {
        let shm = fs::read_dir("/dev/shm").into_iter().flatten().flatten();
        shm.filter(|entry| entry.file_name().to_string_lossy().starts_with("sandbox-")).count()
    };
    let shm = || rows(&fs::read_to_string("/proc/sysvipc/shm").unwrap());
    let before = (ours(), shm());
    // Killed at twenty moments, so that some fall between the making and the undoing.
    for delay in 0..20 {
        let mut child = sandbox(&["ipc"]).stdout(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(delay));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    stdout(&["uts", "-q", "--", "true"]);
    // The other tests of this file make and remove theirs at the same time.
    for _ in 0..100 {
        if (ours(), shm()) == before {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("{:?} instead of {before:?}", (ours(), shm()));
}
