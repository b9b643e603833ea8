//! The user namespace: what the kernel shows.

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use support::{binary, fits, is_root, run, sandbox, skip, snapshot, snapshot_cards, stdout, text};

#[test]
fn every_card_holds() {
    let cards = stdout(&["user"]);
    assert_eq!(cards.lines().filter(|line| line.starts_with("holds ")).count(), 8, "{cards}");
    cards.split("\n\n").for_each(|card| fits(card, 80, 22));
    snapshot_cards("demo-user", &cards);
}

/// Each claim of the notes on Docker's architecture about user namespaces, and the card that shows it.
#[test]
fn each_claim_of_the_notes_has_its_card() {
    let claims = [
        ("each container can have user ids of its own", "uid"),
        ("and group ids", "gid"),
        ("programs run as the container's own user, not as one of the host's", "uid"),
        ("and are root over what is their own", "owner"),
        ("but over nothing of the host's", "caps"),
        ("files of the host's users show no user of the container", "foreign"),
        ("what such a program makes belongs to someone else outside", "file"),
    ];
    for (claim, card) in claims {
        let shown = stdout(&["user", "--demo", card]);
        assert!(shown.contains("\nholds  "), "{claim}: {shown}");
    }
}

#[test]
fn each_mistake_shows_what_goes_wrong() {
    for (mistake, wrong) in [("no-map", "65534"), ("setgroups", "EPERM")] {
        let contrast = stdout(&["user", "--break", mistake]);
        let (rest, right) = contrast.split_once("\nRIGHT ").expect("both ways");
        // The lesson is below the evidence of the right way.
        let right = right.split("\n   ").next().unwrap();
        assert!(rest.contains("\nWRONG "), "{contrast}");
        assert!(!right.contains(wrong) && rest.contains(wrong), "{contrast}");
        fits(&contrast, 80, 24);
        snapshot(&format!("break-user-{mistake}"), &contrast);
    }
}

/// The maps and the IDs that a command in the namespace sees: `UID GID | uid_map | gid_map | setgroups`. Runs of
/// blanks become one blank.
const LOOK: &str = "for file in uid_map gid_map setgroups; do echo '|'; cat /proc/self/$file; done";

fn inside(flags: &[&str]) -> String {
    let script = format!("echo $(id -u) $(id -g); {LOOK}");
    words(&stdout(&[&["user", "-q"], flags, &["--", "sh", "-c", &script]].concat()))
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_maps_are_as_the_flags_say() {
    let (uid, gid) = (nix::unistd::getuid(), nix::unistd::getgid());
    assert_eq!(inside(&[]), format!("0 0 | 0 {uid} 1 | 0 {gid} 1 | deny"));
    assert_eq!(inside(&["--map", "root"]), format!("0 0 | 0 {uid} 1 | 0 {gid} 1 | deny"));
    assert_eq!(
        inside(&["--map-user", "5", "--map-group", "7"]),
        format!("5 7 | 5 {uid} 1 | 7 {gid} 1 | deny")
    );
    assert_eq!(inside(&["--map", &format!("9:{uid}:1")]), format!("9 9 | 9 {uid} 1 | 9 {gid} 1 | deny"));
    assert_eq!(inside(&["--map", "none"]), "65534 65534 | | | allow");
}

#[test]
fn root_maps_ranges_itself() {
    if !is_root() {
        let output = run(&["user", "--map", "0:100000:10", "--", "true"]);
        assert_eq!(output.status.code(), Some(125), "{}", text(&output.stderr));
        return;
    }
    assert_eq!(
        inside(&["--map", "0:100000:10", "--map", "50:200000:10"]),
        "0 0 | 0 100000 10 50 200000 10 | 0 100000 10 50 200000 10 | allow"
    );
    let auto = inside(&["--map", "auto"]);
    assert!(
        auto.starts_with("0 0 | 0 ") && !auto.starts_with("0 0 | 0 0 "),
        "root's own id is left out: {auto}"
    );
}

/// Runs as UID 1000 with the subordinate range 100000:65536. In a new mount namespace, test files are mounted over
/// /etc/subuid and /etc/subgid.
fn as_borrower(flags: &[&str], command: &[&str]) -> Output {
    borrow(&[], &[&["-q"], flags, &["--"], command].concat())
}

/// The same with these options of setpriv(1), and with any arguments after `sandbox user`.
fn borrow(options: &[&str], arguments: &[&str]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let own = directory.path().join("sandbox");
    let lent = directory.path().join("subuid");
    fs::write(&lent, "1000:100000:65536\n").unwrap();
    // Another process copies the program. If this process had the file open for writing, a child that another test
    // starts at that moment would inherit the descriptor. A file that is open for writing cannot be executed
    // (ETXTBSY).
    let script = "cp \"$BINARY\" \"$OWN\" && mount --bind $0 /etc/subuid && mount --bind $0 /etc/subgid && \
                  exec setpriv --reuid=1000 --regid=1000 --clear-groups \"$@\"";
    Command::new("unshare")
        .args(["--mount", "sh", "-c", script])
        .arg(&lent)
        .args(options)
        .args([own.as_os_str(), "user".as_ref()])
        .args(arguments)
        .env("BINARY", binary())
        .env("OWN", &own)
        .env("NO_COLOR", "1")
        .output()
        .unwrap()
}

#[test]
fn an_ordinary_user_maps_what_is_lent_through_newuidmap() {
    let test = "an_ordinary_user_maps_what_is_lent_through_newuidmap";
    if !is_root() {
        return skip(test, "machine: only root can lend ranges; the run as root holds it");
    }
    if !std::path::Path::new("/usr/bin/newuidmap").exists() {
        return skip(test, "newuidmap(1) isn't installed");
    }
    let script = format!("echo $(id -u) $(id -g); {LOOK}");
    let look = ["sh", "-c", &script];
    let output = as_borrower(&["--map", "auto"], &look);
    assert_eq!(
        words(&text(&output.stdout)),
        "0 0 | 0 1000 1 1 100000 65536 | 0 1000 1 1 100000 65536 | allow",
        "{}",
        text(&output.stderr)
    );
    let output = as_borrower(&["--map", "0:100000:1000"], &look);
    assert_eq!(
        words(&text(&output.stdout)),
        "0 0 | 0 100000 1000 | 0 100000 1000 | allow",
        "{}",
        text(&output.stderr)
    );
    let output = as_borrower(&["--map", "0:100000:70000"], &["true"]);
    assert_eq!(output.status.code(), Some(125));
    let error = text(&output.stderr);
    assert!(error.contains("/etc/subuid gives you: 100000:65536"), "{error}");
}

#[test]
fn a_helper_that_may_not_write_is_an_error_that_says_why() {
    let test = "a_helper_that_may_not_write_is_an_error_that_says_why";
    if !is_root() || !std::path::Path::new("/usr/bin/newuidmap").exists() {
        return skip(test, "machine: only root can lend ranges; the run as root holds it");
    }
    let output = borrow(&["--no-new-privs"], &["--map", "auto", "--", "true"]);
    let error = words(&text(&output.stderr));
    assert_eq!(output.status.code(), Some(125), "{error}");
    assert!(error.contains("newuidmap <child> 0 1000 1 1 100000 65536 = -1 EPERM"), "{error}");
    assert!(error.contains("no_new_privs"), "{error}");
}

/// The files of demonstrations, and the UIDs that own them on the host.
fn files() -> Vec<(String, u32)> {
    let all = fs::read_dir("/tmp").unwrap().flatten();
    let named = all.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry));
    named
        .filter(|(name, _)| name.starts_with("sandbox-file-"))
        .filter_map(|(name, entry)| Some((name, entry.metadata().ok()?.uid())))
        .collect()
}

#[test]
fn no_demonstration_leaves_a_file_that_its_user_could_not_remove() {
    if is_root() && std::path::Path::new("/usr/bin/newuidmap").exists() {
        for map in ["auto", "0:100000:1000"] {
            let output = borrow(&[], &["--map", map]);
            assert!(output.status.success(), "{}", text(&output.stderr));
            assert!(!text(&output.stdout).contains("NOT SO"), "{}", text(&output.stdout));
        }
        assert!(!files().iter().any(|(_, owner)| (100_000..165_536).contains(owner)), "{:?}", files());
    }
    // The test kills the demonstration after twenty different delays. Some kills fall between creation and removal.
    let mut killed = Vec::new();
    for delay in 0..20 {
        let mut child = sandbox(&["user", "--demo", "file"]).stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(delay));
        child.kill().unwrap();
        child.wait().unwrap();
        killed.push(format!("sandbox-file-{}-", child.id()));
    }
    let is_of_killed = |name: &String| killed.iter().any(|prefix| name.starts_with(prefix));
    let is_left = || files().iter().any(|(name, _)| is_of_killed(name));
    // The command of another test may have started to process the same journals and have been killed.
    for _ in 0..100 {
        stdout(&["uts", "-q", "--", "true"]);
        if !is_left() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{:?}", files());
}

#[test]
fn a_file_of_the_inner_root_belongs_to_the_mapped_id() {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let path = directory.path().join("file");
    let script = format!("echo mine > {0}; stat -c %u {0}", path.display());
    let (map, owner) =
        if is_root() { ("0:100000:10", 100_000) } else { ("root", nix::unistd::getuid().as_raw()) };
    let inside = stdout(&["user", "-q", "--map", map, "--", "sh", "-c", &script]);
    assert_eq!(inside, "0\n");
    assert_eq!(fs::metadata(&path).unwrap().uid(), owner);
}

#[test]
fn root_of_a_user_namespace_only_gets_cards_that_it_can_be_shown() {
    let test = "root_of_a_user_namespace_only_gets_cards_that_it_can_be_shown";
    if !std::path::Path::new("/usr/bin/unshare").exists() {
        return skip(test, "unshare(1) isn't installed");
    }
    let run = |arguments: &[&str]| {
        let outer = ["--user", "--map-root-user"].map(std::ffi::OsStr::new);
        let program = [binary().into_os_string()];
        Command::new("unshare").args(outer).args(program).args(arguments).output().unwrap()
    };
    let cards = run(&["user"]);
    let shown = text(&cards.stdout);
    assert!(cards.status.success(), "{shown}{}", text(&cards.stderr));
    assert!(!shown.contains("NOT SO"), "{shown}");
    let refused = run(&["user", "--map", "0:100000:10", "--", "true"]);
    assert_eq!(refused.status.code(), Some(125));
    assert!(words(&text(&refused.stderr)).contains("does not exist in your user namespace"));
}

#[test]
fn a_wrong_map_is_refused_before_anything_is_done() {
    let cases: &[(&[&str], i32, &str)] = &[
        (&["--map", "0:100000:10", "--map", "5:200000:10"], 125, "mapped twice"),
        (&["--map", "0:100000:10", "--map", "20:100005:10"], 125, "mapped twice"),
        (&["--map", "0:4294967290:10"], 125, "4294967294"),
        // (uid_t) -1 is not a valid ID.
        (&["--map", "0:4294967295:1"], 125, "4294967294"),
        (&["--map", "4294967295:0:1"], 125, "4294967294"),
        (&["--map-user", "4294967295"], 125, "4294967294"),
        (&["--map-group", "4294967295"], 125, "4294967294"),
        (&["--map", "root", "--map", "0:1000:1"], 125, "cannot be combined"),
        (&["--map", "0:1000"], 2, "INSIDE:OUTSIDE:COUNT"),
        (&["--map", "0:1000:0"], 2, "INSIDE:OUTSIDE:COUNT"),
        (&["--map", "everyone"], 2, "INSIDE:OUTSIDE:COUNT"),
        (&["--map", "none", "--map-user", "1"], 2, "--map-user"),
        (&["--map-user", "-1"], 2, "-1"),
    ];
    for (flags, status, said) in cases {
        let output = run(&[&["user"], *flags, &["--", "true"]].concat());
        let error = words(&text(&output.stderr));
        assert_eq!(output.status.code(), Some(*status), "{flags:?}: {error}");
        assert!(error.contains(said), "{flags:?}: {error}");
    }
}
