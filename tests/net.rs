//! The net namespace: what the kernel shows.

mod support;

use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use support::{binary, feed, fits, is_root, run, sandbox, skip, snapshot, snapshot_cards, stdout, text};

/// Runs a shell script as root in a new network namespace. `$S` is `sandbox`. `until_true CONDITION` waits for the
/// condition, at most five seconds. The script cannot change the host's devices. It has a new /run, so no other test
/// removes the journals that it leaves.
fn in_own_network(script: &str) -> Output {
    let script = format!(
        "until_true() {{ for i in $(seq 250); do eval \"$1\" && return; sleep 0.02; done; echo \"never: $1\"; exit 1; }}
        journaled() {{ until_true 'grep -qs as /run/sandbox/*/journal'; }}
        {script}"
    );
    let own = "exec \"$S\" mnt --tmpfs /run -q -- sh -c \"$SCRIPT\"";
    sandbox(&["net", "-q", "--", "sh", "-c", own]).env("S", binary()).env("SCRIPT", script).output().unwrap()
}

/// Standard output of such a script, which must succeed.
fn from_own_network(script: &str) -> String {
    let output = in_own_network(script);
    assert!(output.status.success(), "{script}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// The names in a table of network devices.
fn devices(table: &str) -> Vec<&str> {
    let rows = table.lines().filter_map(|line| line.split_once(':'));
    // The counters follow the name.
    rows.filter(|(_, rest)| rest.split_whitespace().count() == 16).map(|(name, _)| name.trim()).collect()
}

#[test]
fn every_card_holds() {
    let cards = stdout(&["net"]);
    assert!(!cards.contains("NOT SO"), "{cards}");
    cards.split("\n\n").for_each(|card| fits(card.split("Next:").next().unwrap(), 80, 22));
    // The same demonstration where the outside is known: lo, and a veth pair with an address and a route.
    let cards = from_own_network("$S net --veth -q -- $S net");
    assert!(!cards.contains("NOT SO"), "{cards}");
    snapshot_cards("demo-net", &cards);
}

#[test]
fn the_veth_pair_to_the_outside_carries() {
    let card = from_own_network("$S net --veth --demo veth");
    assert!(card.contains("\nholds "), "{card}");
    fits(card.split("Next:").next().unwrap().trim_end(), 80, 22);
    snapshot("demo-net-veth", &card);
}

/// Each claim of the course's notes on Docker about this namespace, and the card that shows it.
#[test]
fn every_claim_of_the_notes_is_shown() {
    let claims = [
        ("each net namespace has its own network devices", "devices"),
        ("its own IP addresses", "addresses"),
        ("its own IP routing tables", "routes"),
        ("its own /proc/net", "files"),
        ("so each container's network is kept apart", "ports"),
        ("a bridge joins the containers' veth pairs", "bridge"),
        ("a veth joins the container's device to one on the host", "veth"),
    ];
    for (claim, card) in claims {
        let shown = stdout(&["net", "--format", "json", "--demo", card]);
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(shown[0]["outcome"], "holds", "{claim}: {shown}");
    }
}

#[test]
fn every_mistake_shows() {
    for name in ["lo-down", "abstract"] {
        let shown = stdout(&["net", "--break", name]);
        fits(&shown, 80, 12);
        snapshot(&format!("break-net-{name}"), &shown);
    }
}

#[test]
fn the_view_shows_both_sides() {
    let view = from_own_network("$S net --veth -q -- $S net --show-proc");
    fits(&view, 80, 24);
    snapshot("view-net", &view);
    let view = from_own_network("$S net --veth --show-proc");
    fits(&view, 80, 24);
    snapshot("view-net-veth", &view);
}

#[test]
fn the_link_differs_and_lo_is_alone() {
    let own = fs::read_link("/proc/self/ns/net").unwrap();
    let link = stdout(&["net", "--", "readlink", "/proc/self/ns/net"]);
    assert_ne!(link.trim(), own.to_str().unwrap());
    assert_eq!(devices(&stdout(&["net", "--", "cat", "/proc/net/dev"])), ["lo"]);
    assert_eq!(stdout(&["net", "--", "cat", "/proc/net/route"]).lines().count(), 1);
}

/// Kinds: the devices, an attribute file of a device, the cgroup mounts below /sys, a mount of the user's below /sys, a
/// second sandbox inside; the flag that keeps the old /sys; mounts that would propagate to the host.
#[test]
fn sys_lists_the_devices_of_the_namespace() {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    if !table.contains(" /sys rw") {
        return skip("sys_lists_the_devices_of_the_namespace", "machine: /sys is not mounted, or read-only");
    }
    let list = ["--", "ls", "/sys/class/net"];
    assert_eq!(stdout(&[&["net"][..], &list].concat()), "lo\n");
    assert_eq!(from_own_network("$S net --veth -q -- ls /sys/class/net"), "eth0\nlo\n");
    let nested = binary();
    assert_eq!(
        stdout(&[&["net", "-q", "--", nested.to_str().unwrap(), "net", "-q"][..], &list].concat()),
        "lo\n"
    );
    // The announcement names the new mount namespace.
    let output = run(&["net", "--", "true"]);
    assert!(text(&output.stderr).contains("mnt (to mount /sys)"), "{}", text(&output.stderr));
    // With the old /sys, each side sees the same.
    let own = stdout(&["uts", "-q", "--", "ls", "/sys/class/net"]);
    assert_eq!(stdout(&[&["net", "--no-mount-sys"][..], &list].concat()), own);
    // What was mounted below /sys/fs/cgroup still is. The old mounts, which are covered, are listed too.
    let cgroups = |table: &str| {
        let points = table.lines().filter_map(|line| line.split(' ').nth(4));
        let mut points: Vec<String> =
            points.filter(|point| point.starts_with("/sys/fs/cgroup")).map(str::to_owned).collect();
        points.sort();
        points.dedup();
        points
    };
    assert_eq!(cgroups(&stdout(&["net", "--", "cat", "/proc/self/mountinfo"])), cgroups(&table));
    // The host's own /sys is unchanged, whatever the propagation.
    for propagation in ["private", "slave", "shared", "unchanged"] {
        let spec = format!("net:\nmnt: {{ propagation: {propagation} }}\n");
        feed(&mut sandbox(&["run", "-", "-q", "--", "true"]), spec);
        assert_eq!(fs::read_to_string("/proc/self/mountinfo").unwrap(), table, "{propagation}");
    }
    let spec = "net:\nmnt: { tmpfs: [/sys/kernel] }\n";
    let output =
        feed(&mut sandbox(&["run", "-", "-q", "--", "sh", "-c", "ls /sys/kernel /sys/class/net"]), spec);
    assert_eq!(text(&output.stdout), "/sys/class/net:\nlo\n\n/sys/kernel:\n", "{}", text(&output.stderr));
}

#[test]
fn lo_is_up_or_down_as_asked() {
    let addresses =
        |flags: &[&str]| stdout(&[&["net"], flags, &["--", "cat", "/proc/net/fib_trie"]].concat());
    assert!(addresses(&[]).contains("127.0.0.1"));
    assert!(addresses(&["--lo", "up"]).contains("127.0.0.1"));
    assert_eq!(addresses(&["--lo", "down"]), "");
    assert_eq!(run(&["net", "--lo", "sideways", "--", "true"]).status.code(), Some(2));
}

#[test]
fn both_ends_of_the_veth_pair_have_an_address_of_one_network() {
    let shown = from_own_network("$S net --veth -q -- cat /proc/net/dev /proc/net/route /proc/net/fib_trie");
    assert_eq!(devices(&shown), ["lo", "eth0"], "{shown}");
    let route: Vec<&str> =
        shown.lines().find(|line| line.starts_with("eth0\t")).unwrap().split('\t').collect();
    // /proc/net/route prints an address in network byte order as a number in the machine's byte order.
    let number = |word: &str| u32::from_be(u32::from_str_radix(word.trim(), 16).unwrap());
    let (network, mask) = (number(route[1]), number(route[7]));
    assert_eq!((network >> 16, mask), (0x0a6f, 0xffff_fffc), "{shown}");
    let inside = std::net::Ipv4Addr::from(network + 2).to_string();
    assert!(shown.contains(&format!("|-- {inside}\n")), "{shown}");
    // The command's parent is outside, and so is the other end of the veth pair.
    let outside =
        from_own_network("$S net --veth -q -- sh -c 'cat /proc/$PPID/net/dev /proc/$PPID/net/fib_trie'");
    let names = devices(&outside);
    assert!(names.len() == 2 && names[1].starts_with("sbx-"), "{outside}");
    assert!(outside.contains("|-- 10.111."), "{outside}");
}

/// After each way in which a command can end, the outside's devices are listed.
#[test]
fn no_veth_pair_is_left_by_any_end() {
    let ends = [
        ("$S net --veth -q -- true", 0),
        ("$S net --veth -q -- sh -c 'exit 7'", 7),
        ("$S net --veth -q -- no-such-command", 127),
        ("$S net --veth -q -- /etc/passwd", 126),
        ("$S net --veth -q -- sh -c 'kill -TERM $$'", 143),
        (
            "$S net --veth -q -- sleep 60 & until_true 'grep -q sbx- /proc/net/dev'; kill -TERM $!; wait $!",
            143,
        ),
    ];
    for (end, status) in ends {
        let shown = from_own_network(&format!("{end}; echo = $?; cat /proc/net/dev"));
        assert_eq!(devices(&shown), ["lo"], "{end}: {shown}");
        assert!(shown.starts_with(&format!("= {status}\n")), "{end}: {shown}");
    }
}

#[test]
fn a_killed_sandbox_leaves_no_veth_pair_and_the_next_command_clears_its_journal() {
    let shown = from_own_network(
        "$S net --veth -q -- sleep 60 & journaled; kill -KILL $!; wait $!; ls /run/sandbox/*; \
         sleep 0.3; $S uts -q -- true; test -e /run/sandbox && echo left; cat /proc/net/dev",
    );
    assert!(shown.starts_with("journal\nlock\n"), "{shown}");
    assert!(!shown.contains("left"), "{shown}");
    assert_eq!(devices(&shown), ["lo"], "{shown}");
}

/// A process of the command outlives the command and keeps the veth pair. A command in another network namespace
/// cannot remove the pair. It leaves the journal for a command that can.
#[test]
fn a_veth_pair_is_cleared_from_the_network_in_which_it_was_created() {
    let shown = from_own_network(
        r#"$S net --veth -q -- sh -c 'sleep 60 >&- & echo $! > /run/descendant; wait' & until_true '[ -s /run/descendant ]'
        kill -KILL $!; wait $!; unshare --net $S uts -q -- true; ls /run/sandbox/*; cat /proc/net/dev; echo ==
        $S uts -q -- true; test -e /run/sandbox && echo left; cat /proc/net/dev; kill $(cat /run/descendant)"#,
    );
    let (from_elsewhere, from_here) = shown.split_once("==").unwrap();
    assert!(from_elsewhere.contains("journal") && devices(from_elsewhere).len() == 2, "{shown}");
    assert!(!from_here.contains("left") && devices(from_here) == ["lo"], "{shown}");
}

/// The name alone is not enough. The namespace, the index and the hardware address must match the journal.
#[test]
fn a_device_that_is_not_ours_stays() {
    // The journal of a dead run names the veth pair of a live run.
    let shown = from_own_network(
        r#"$S net --veth -q -- sleep 60 & journaled
        mkdir /run/dead; sed '/end_container/d; s/\[[0-9]*\]/[1]/' /run/sandbox/*/journal > /run/dead/journal; mv /run/dead /run/sandbox
        cat /run/sandbox/dead/journal; $S uts -q -- true; test -e /run/sandbox/dead && echo left
        cat /proc/net/dev; kill -TERM $!; wait $!; true"#,
    );
    assert!(shown.contains("delete_link") && shown.contains("net:[1]"), "{shown}");
    assert_eq!(devices(&shown).len(), 2, "{shown}");
    assert!(!shown.contains("left"), "{shown}");
}

#[test]
fn two_veth_pairs_at_once_do_not_meet() {
    let shown = from_own_network(
        "$S net --veth -q -- sleep 60 & one=$!; $S net --veth -q -- sleep 60 & until_true '[ $(grep -c sbx- /proc/net/dev) = 2 ]'; \
         cat /proc/net/dev; kill $one $!; wait",
    );
    assert_eq!(devices(&shown).len(), 3, "{shown}");
}

#[test]
fn a_caller_who_may_not_create_a_veth_pair_is_told_why() {
    if !is_root() {
        let output = run(&["net", "--veth", "--", "true"]);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(125), "{error}");
        assert!(error.contains("CAP_NET_ADMIN"), "{error}");
        // A long path of the program continues its line after a backslash.
        let continued = regex_lite::Regex::new(r" \\\n +").unwrap();
        let said = continued.replace_all(&error, " ").replace(binary().to_str().unwrap(), "sandbox");
        snapshot("error-net-veth", &said);
        // The demonstration reports this before its first card.
        let output = run(&["net", "--veth"]);
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(125), String::new()));
        // A dry run prints the problem and needs no privilege.
        stdout(&["net", "--veth", "--dry-run", "--", "true"]);
    }
    // The process is root in a user namespace that does not own this network namespace.
    let inner = binary();
    let output = run(&["user", "-q", "--", inner.to_str().unwrap(), "net", "--veth", "--", "true"]);
    let error = text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(output.status.code(), Some(125), "{error}");
    assert!(error.contains("user namespace that owns this network"), "{error}");
}

#[test]
fn the_equivalents_create_the_same_veth_pair() {
    let plan = from_own_network("$S net --veth --dry-run -- true");
    for line in ["ip link add sbx-", "type veth peer name eth0 netns $child", "--network bridge"] {
        assert!(plan.contains(line), "{line}: {plan}");
    }
    fits(&plan, 200, 75);
    snapshot("plan-net-veth", &plan);
    assert!(from_own_network("$S net --veth --print-spec").contains("veth: true"));
}

/// The kernel receives the messages of the plan, in the plan's order, and the message that removes the pair.
#[test]
fn the_messages_are_those_of_the_plan() {
    if !Path::new("/usr/bin/strace").exists() {
        return skip("the_messages_are_those_of_the_plan", "strace(1) isn't installed");
    }
    let shown = from_own_network("strace -f -o /dev/stdout -e trace=sendto $S net --veth -q -- true");
    // strace cannot find the protocol of a socket in another network namespace. For the child it prints message types
    // as numbers: 0x14 is RTM_NEWADDR.
    let shown = shown.replace("nlmsg_type=0x14 ", "nlmsg_type=RTM_NEWADDR ");
    let pattern = regex_lite::Regex::new(r"RTM_(NEW|DEL)[A-Z]+").unwrap();
    let sent: Vec<&str> = shown
        .lines()
        .filter(|line| line.contains("sendto("))
        .filter_map(|line| pattern.find(line).map(|found| found.as_str()))
        .collect();
    assert!(sent.len() >= 3, "{shown}");
    assert_eq!(sent[..3], ["RTM_NEWLINK", "RTM_NEWADDR", "RTM_NEWADDR"], "{shown}");
    // Meanwhile the kernel destroys the child's namespace. It may already have removed the veth pair.
    assert!(matches!(sent[3..], [] | ["RTM_DELLINK"]), "{shown}");
}

/// Without --veth, no route table is read and no journal is written.
#[test]
fn a_plain_network_pays_nothing_for_veth_pairs() {
    if !Path::new("/usr/bin/strace").exists() {
        return skip("a_plain_network_pays_nothing_for_veth_pairs", "strace(1) isn't installed");
    }
    let calls = from_own_network("strace -f -o /dev/stdout -e trace=socket,openat $S net -q -- true");
    assert!(!calls.contains("AF_NETLINK") && !calls.contains("/proc/net/"), "{calls}");
    assert!(!calls.contains("bridge-"), "{calls}");
    assert_eq!(calls.matches("socket(AF_INET").count(), 1, "{calls}");
}

/// A card's sockets, files and devices are removed after the card. The file names contain the PID, because other
/// tests create such files at the same time.
#[test]
fn nothing_is_left() {
    let table = || devices(&fs::read_to_string("/proc/net/dev").unwrap()).join(" ");
    let before = table();
    let mut demonstration = sandbox(&["net"]).stdout(Stdio::null()).spawn().unwrap();
    let own = format!("sandbox-net-{}-", demonstration.id());
    assert!(demonstration.wait().unwrap().success());
    let files = || {
        let names = fs::read_dir("/tmp").unwrap().flatten().map(|entry| entry.file_name());
        names.filter(|name| name.to_string_lossy().starts_with(&own)).count()
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    while (table() != before || files() > 0) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!((table(), files()), (before, 0));
}
