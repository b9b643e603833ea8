//! The bridge, and the host's own network. The tests check which side can connect to which.

mod support;

use std::fs;

use support::lab::{from_lab, in_lab};
use support::{feed, is_root, run, sandbox, text};

/// Starts a container with a server on the bridge, in the background, and waits until it answers.
const SERVER: &str = r#"$S net --mode bridge -q -- perl -e "$SERVE" 0.0.0.0 80 container & first=$!
    until_true '[ "$(ask 10.111.0.2 80)" = "container 10.111.0.1" ]'"#;

#[test]
fn a_container_on_the_bridge_has_an_address_and_a_way_out() {
    let shown = from_lab(
        r#"neighbour beta 1; at beta perl -e "$SERVE" 192.0.2.12 80 neighbour &
        until_true '[ "$(ask 192.0.2.12 80)" != no ]'
        $S net --mode bridge -q -- bash -c 'cat /proc/net/route /proc/net/fib_trie; echo; perl -e "$ASK" 192.0.2.12 80'"#,
    );
    let routes: Vec<&str> = shown.lines().filter(|line| line.starts_with("eth0\t")).collect();
    // 10.111.0.1 is the gateway. /proc/net/route prints addresses as hexadecimal numbers in the machine's byte order.
    let gateway = format!("{:08X}", u32::from_ne_bytes([10, 111, 0, 1]));
    assert!(routes.len() == 2 && routes[0].contains(&format!("00000000\t{gateway}")), "{shown}");
    let words = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("|-- 10.111.0.2 /32 host LOCAL"), "{shown}");
    // The neighbour has no route to the container. It sees the host's address.
    assert!(shown.ends_with("neighbour 192.0.2.11\n"), "{shown}");
}

/// The control: over the same route, the same neighbour reaches the gateway, and then a container of ours without rules at
/// the same address on a bridge of the same name. So the route, the forwarding and the server work,
/// and only the rule keeps the neighbour out.
#[test]
fn a_neighbour_reaches_no_container_by_taking_this_machine_for_a_router() {
    let shown = from_lab(&format!(
        r#"{SERVER}; neighbour beta 1; at beta ip route add 10.111.0.0/24 via 192.0.2.11
        at beta perl -e "$ASK" 10.111.0.2 80
        serve 10.111.0.1 81 gateway; until_true '[ "$(ask 10.111.0.1 81)" != no ]'; at beta perl -e "$ASK" 10.111.0.1 81
        # The same network without a rule: a veth pair of ours in the place of the container's.
        kill $first; wait $first; ip link add sandbox0 type bridge; ip address add 10.111.0.1/24 dev sandbox0
        ip link set sandbox0 up; echo 1 > /proc/sys/net/ipv4/ip_forward
        unshare --net sleep 60 & until_true "[ \$(readlink /proc/$!/ns/net) != $(readlink /proc/self/ns/net) ]"
        echo $! > /run/open; ip link add port type veth peer name eth0 netns $!; ip link set port master sandbox0 up
        at open ip link set lo up; at open ip address add 10.111.0.2/24 dev eth0; at open ip link set eth0 up
        at open ip route add default via 10.111.0.1; at open perl -e "$SERVE" 10.111.0.2 80 open &
        until_true '[ "$(ask 10.111.0.2 80)" != no ]'; at beta perl -e "$ASK" 10.111.0.2 80"#
    ));
    assert_eq!(shown, "no\ngateway 192.0.2.12\nopen 192.0.2.12\n");
}

/// The host forwards for containers only. If forwarding was enabled before, it stays enabled for all.
#[test]
fn nothing_else_is_forwarded_unless_it_was_before() {
    for (before, answer) in [("0", "no\n"), ("1", "other 192.0.2.12\n")] {
        let shown = from_lab(&format!(
            r#"echo {before} > /proc/sys/net/ipv4/ip_forward; {SERVER}; neighbour beta 1
            neighbour gamma 3; ip address del 192.0.2.31/28 dev gamma; ip address add 192.0.2.33/28 dev gamma
            at gamma ip address del 192.0.2.32/28 dev eth0; at gamma ip address add 192.0.2.34/28 dev eth0
            at beta ip route add default via 192.0.2.11; at gamma ip route add default via 192.0.2.33
            at gamma perl -e "$SERVE" 192.0.2.34 80 other & until_true '[ "$(ask 192.0.2.34 80)" != no ]'
            at beta perl -e "$ASK" 192.0.2.34 80; kill $first; wait $first; forward"#
        ));
        assert_eq!(shown, format!("{answer}{before}\n"));
    }
}

#[test]
fn two_containers_share_the_bridge_and_not_a_word_and_the_last_removes_it() {
    // With bridge-nf-call-iptables, the firewall rules also apply to bridged packets. They would hide that ports are
    // not isolated.
    let shown = from_lab(&format!(
        r#"echo 0 > /proc/sys/net/bridge/bridge-nf-call-iptables; {SERVER}
        $S net --mode bridge -q -- bash -c 'perl -e "$ASK" 10.111.0.2 80; echo > /run/asked; sleep 60' & second=$!
        until_true '[ -e /run/asked ]'
        kill $first; wait $first; devices; forward; kill $second; wait $second; devices; forward; others"#
    ));
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines[0], "no", "{shown}");
    assert!(lines[1].starts_with("lo sandbox0 sbx-") && lines[2] == "1", "{shown}");
    assert_eq!(lines[3..], ["lo", "0"], "{shown}");
}

#[test]
fn starts_at_one_time_have_an_address_each() {
    let shown = from_lab(
        r#"for i in $(seq 12); do $S net --mode bridge -q -- bash -c '
            grep -B1 "host LOCAL" /proc/net/fib_trie | grep -o 10.111.* | head -n 1 >> /run/all
            for i in $(seq 300); do [ $(wc -l < /run/all) != 12 ] || break; sleep 0.1; done' & done
        wait; sort -u /run/all | wc -l; devices; forward"#,
    );
    assert_eq!(shown, "12\nlo\n0\n");
}

/// Root in the container has every capability in its network namespace. Packets with another IP or MAC address are
/// still dropped.
#[test]
fn a_container_cannot_send_as_another() {
    let shown = from_lab(
        r#"$S net --mode bridge -q -- sleep 60 & until_true 'devices | grep -q sandbox0'; serve 10.111.0.1 80 machine
        $S net --mode bridge -q -- bash -c '
            perl -e "$ASK" 10.111.0.1 80
            ip address add 10.111.0.77/24 dev eth0; perl -e "$ASK" 10.111.0.1 80 10.111.0.77
            ip link set eth0 address 02:73:0a:6f:00:02; perl -e "$ASK" 10.111.0.1 80'
        grep -c 10.111.0.77 /proc/net/arp; true"#,
    );
    assert_eq!(shown, "machine 10.111.0.3\nno\nno\n0\n");
}

/// Containers of images reach each other, as Docker's do. Those of specs neither reach them nor are reached: not by TCP, not
/// by a datagram that needs no answer, not by a frame for all. Once with br_netfilter, by which these packets come to the
/// chains for forwarded ones too, and once without.
#[test]
fn neighbours_reach_each_other_and_no_isolated_container() {
    for filtered in ["0", "1"] {
        let shown = from_lab(&format!(
            r#"printf 'net: {{ mode: bridge, neighbours: true }}\n' > /run/with.yaml
            printf 'net: {{ mode: bridge }}\n' > /run/without.yaml
            serving() {{ $S run -q /run/$1.yaml -- perl -e "$SERVE" 0.0.0.0 80 $1 &
                until_true "[ \"\$(ask $2 80)\" != no ]"; }}
            hearing() {{ $S run -q /run/$1.yaml -- perl -MIO::Socket::INET -e '
                $s = IO::Socket::INET->new(LocalPort => 53, Proto => "udp"); $| = 1; print STDERR "up\n";
                while ($s->recv($b, 9)) {{ open $f, ">>", "/run/heard"; print $f $b; close $f }}' 2> /run/up.$1 &
                until_true "grep -q up /run/up.$1"; }}
            serving with 10.111.0.2; serving without 10.111.0.3; hearing with; hearing without
            # The addresses of the two that hear are 4 and 5.
            grep -q . /proc/sys/net/bridge/bridge-nf-call-iptables && echo {filtered} > /proc/sys/net/bridge/bridge-nf-call-iptables
            from() {{ $S run -q /run/$1.yaml -- bash -c 'for to in 2 3; do perl -e "$1" 10.111.0.$to 80; done
                for to in 4 5; do echo "$0.$to" > /dev/udp/10.111.0.$to/53; done
                ip neigh replace 10.111.0.5 lladdr ff:ff:ff:ff:ff:ff dev eth0; echo "$0.all" > /dev/udp/10.111.0.5/53
                sleep 0.3' $1 "$ASK"; }}
            from with; from without; cat /run/heard"#
        ));
        assert_eq!(shown, "with 10.111.0.6\nno\nno\nno\nwith.4\n", "br_netfilter {filtered}");
    }
}

#[test]
fn a_killed_sandbox_leaves_nothing_once_the_next_command_has_run() {
    // No file in /proc lists nftables tables. If the first address is free again, its table has been removed.
    let first = r#"$S net --mode bridge -q -- grep -c 'eth0' /proc/net/route"#;
    let shown = from_lab(&format!(
        r#"for delay in 0.000 0.002 0.004 0.006 0.008 0.010 0.012 0.014 0.016 0.018 0.020 0.025 0.03 0.04 0.06 0.3; do
            $S net --mode bridge -p 127.0.0.1:0:80 -q -- sleep 60 2>/dev/null & sleep $delay; kill -KILL $!; wait $!
            $S gc > /dev/null; until_true '[ "$(devices)" = "lo" ]'; forward; others
        done 2>/dev/null; {first}; $S net --mode bridge -q -- grep -c '10.111.0.2$' /proc/net/fib_trie"#
    ));
    assert_eq!(shown, format!("{}2\n2\n", "0\n".repeat(16)));
}

/// A container whose command has cleared its parent-death signal: it still runs when its `sandbox` is killed.
const OUTLIVING: &str = r#"outliving() {
        $S net --mode bridge -q -- setpriv --pdeathsig clear \
            perl -e "$SERVE" $1 8080 $1 & until_true "[ \"\$(ask $1 8080)\" = '$1 10.111.0.1' ]"; }"#;

/// The firewall of a container that still runs never goes before it. Inputs of the same kind: `sandbox` is killed before,
/// while and after another container starts or ends, with and without an init; a command that ends with `sandbox`. That
/// the neighbour's way works without the rules is shown above.
#[test]
fn the_rules_of_a_container_that_outlives_its_sandbox_stay_until_it_ends() {
    let shown = from_lab(&format!(
        r#"{OUTLIVING}; neighbour beta 1; at beta ip route add 10.111.0.0/24 via 192.0.2.11
        outliving 10.111.0.2; first=$!; at beta perl -e "$ASK" 10.111.0.2 8080
        kill -KILL $first; wait $first; ask 10.111.0.2 8080; forward; at beta perl -e "$ASK" 10.111.0.2 8080
        $S gc | grep -o 'kill -KILL\|ip link delete\|NFT_MSG_DELTABLE'
        devices; forward; ls /run | grep -v beta; pgrep -r R,S perl; $S gc
        $S net --mode bridge -q -- grep -c '10.111.0.2$' /proc/net/fib_trie"#
    ));
    let undone = "kill -KILL\nip link delete\nNFT_MSG_DELTABLE\nip link delete\n";
    // With the container's network namespace, the kernel may have removed its port already.
    let without_port = undone.replacen("ip link delete\n", "", 1);
    let expected = |undone: &str| {
        format!("no\n10.111.0.2 10.111.0.1\n1\nno\n{undone}lo beta\n0\nno run has left anything behind\n2\n")
    };
    assert!(shown == expected(undone) || shown == expected(&without_port), "{shown}");
}

#[test]
fn of_two_containers_only_the_rules_of_the_one_that_ended_go() {
    let shown = from_lab(&format!(
        r#"{OUTLIVING}; neighbour beta 1; at beta ip route add 10.111.0.0/24 via 192.0.2.11
        outliving 10.111.0.2; first=$!; outliving 10.111.0.3; second=$!; outliving 10.111.0.4; third=$!
        kill -KILL $first; wait $first; $S gc > /dev/null; ask 10.111.0.2 8080
        ask 10.111.0.3 8080; at beta perl -e "$ASK" 10.111.0.3 8080
        # One ends in order: the rules of the one whose sandbox was killed before stay.
        kill -KILL $second; wait $second; kill $third; wait $third
        at beta perl -e "$ASK" 10.111.0.3 8080; pgrep -r R,S -c perl
        $S gc > /dev/null; devices; forward; ls /run | grep -v beta; pgrep -r R,S -c perl; true"#
    ));
    assert_eq!(shown, "no\n10.111.0.3 10.111.0.1\nno\nno\n1\nlo beta\n0\n0\n", "{shown}");
}

#[test]
fn a_device_of_the_bridge_s_name_that_is_not_ours_stays() {
    let output = in_lab(
        "ip link add sandbox0 type bridge; $S net --mode bridge -- true; echo = $?; ip link show sandbox0 | wc -l",
    );
    assert_eq!(text(&output.stdout), "= 125\n2\n");
    assert!(text(&output.stderr).contains("sandbox0 already exists"), "{}", text(&output.stderr));
}

/// A subnet that already has a route is not used, whether the route is from `sandbox` or from another program.
#[test]
fn a_container_in_a_container_has_a_network_of_its_own() {
    let shown = from_lab(
        r#"$S net --mode bridge -q -- $S mnt --tmpfs /run -q -- $S net --mode bridge -q -- \
            grep -o '10.111.1.2$' /proc/net/fib_trie | sort -u"#,
    );
    assert_eq!(shown, "10.111.1.2\n");
}

#[test]
fn the_check_and_the_spec_hold_with_a_bridge() {
    let shown = from_lab(
        r#"printf 'net: { mode: bridge }\nuts: { hostname: box }\ncommand: [sleep, "60"]\n' > /run/box.yaml
        $S run /run/box.yaml -q & until_true 'pgrep -P $! sleep > /run/pid'; $S verify $(cat /run/pid) /run/box.yaml
        nsenter --net --target $(cat /run/pid) ip route del default; $S verify $(cat /run/pid) /run/box.yaml 2>&1
        kill $!; wait; true"#,
    );
    assert!(shown.contains("matches its spec:"), "{shown}");
    assert!(shown.contains("/net/route 0.0.0.0"), "{shown}");
}

#[test]
fn who_may_not_have_a_bridge_is_told_of_ports() {
    if is_root() {
        return;
    }
    let output = run(&["net", "--mode", "bridge", "--", "true"]);
    assert_eq!(output.status.code(), Some(125));
    assert!(text(&output.stderr).contains("net --publish 8080:80"), "{}", text(&output.stderr));
    let spec = "uts:\nnet: { mode: bridge }\noptional: [net]\n";
    let output = feed(&mut sandbox(&["run", "-", "-q", "--", "true"]), spec);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("without net (optional)"), "{}", text(&output.stderr));
}

#[test]
fn this_machine_s_own_network_is_that_and_said() {
    let own = fs::read_link("/proc/self/ns/net").unwrap();
    let spec = "uts:\nnet: { mode: host }\n";
    let output = feed(&mut sandbox(&["run", "-", "--", "readlink", "/proc/self/ns/net"]), spec);
    assert_eq!(text(&output.stdout).trim(), own.to_str().unwrap());
    assert!(text(&output.stderr).contains("the host's network"), "{}", text(&output.stderr));
    let output =
        feed(&mut sandbox(&["run", "-", "--", "true"]), "uts:\nnet: { mode: host, publish: [\"0:80\"] }\n");
    assert_eq!(output.status.code(), Some(125), "{}", text(&output.stderr));
}
