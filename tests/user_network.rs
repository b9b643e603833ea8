//! The network of an ordinary user's containers: slirp4netns or pasta copies packets to sockets of the user.
//!
//! A new network namespace is the machine: with a default route, servers on an address of its own and on 127.0.0.1, and a
//! nameserver on 127.0.0.53. Nothing leaves it. Judged by which servers a container reaches, and by the processes that the
//! kernel shows.
//!
//! Other inputs of the same kind as the ones here: each program; a feature, a spec, an image, a further command, a build; a
//! container that ends, is removed, and whose supervisor is killed; neither program, no /dev/net/tun, a user namespace with one ID
//! and with several.
#![cfg(feature = "images")]

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use support::image::{Image, programs};
use support::kept::KeptHome;
use support::{binary, feed, install, is_root, sample, sandbox, skip, text};

const PROGRAMS: [&str; 2] = ["slirp4netns", "pasta"];

/// Serves TEXT to each client of ADDRESS:PORT, and then says so on a line of the file `reached`.
const SERVE: &str = r#"use IO::Socket::INET; $SIG{PIPE} = 'IGNORE';
    $s = IO::Socket::INET->new(LocalAddr => $ARGV[0], LocalPort => $ARGV[1], Listen => 9, ReuseAddr => 1) or die $!;
    exit if fork; setpgrp; open F, '>', "$$.server";
    while ($c = $s->accept) { print $c "$ARGV[2]\n"; close $c; open F, '>>', 'reached'; print F "$ARGV[2]\n"; close F }"#;

/// A nameserver that answers each question with the question.
const NAMESERVER: &str = r#"use IO::Socket::INET;
    $s = IO::Socket::INET->new(LocalAddr => '127.0.0.53', LocalPort => 53, Proto => 'udp') or die $!;
    exit if fork; setpgrp; open F, '>', "$$.server";
    while ($s->recv($q, 999)) { $s->send($q) }"#;

/// What each script has before it: the machine, and functions. `run` is `sandbox` as uid 1000. `await CONDITION` waits.
/// `helpers PID` prints the children of a process that are the program.
const MACHINE: &str = r#"set -e
    trap 'for s in *.server; do kill -9 ${s%.server}; done' EXIT
    await() { for i in $(seq 1500); do eval "$1" && return; sleep 0.02; done; echo "never: $1" >&2; exit 1; }
    ip link set lo up; ip link add d0 type veth peer name d1
    ip address add 198.51.100.7/24 dev d0; ip link set d0 up; ip link set d1 up
    ip address add 203.0.113.5/32 dev lo; ip route add default via 198.51.100.1
    mkdir tun; mount -t tmpfs tmpfs tun; mknod -m 666 tun/tun c 10 200; mount --bind tun/tun /dev/net/tun
    echo 'nameserver 127.0.0.53' > resolv.conf; chmod 644 resolv.conf
    mount --bind resolv.conf "$(readlink -f /etc/resolv.conf)"
    [ "$PROGRAM" = slirp4netns ] || mount --bind /dev/null /usr/bin/slirp4netns
    perl -e "$SERVE" 0.0.0.0 8080 open; perl -e "$SERVE" 127.0.0.1 8081 secret; perl -e "$NAMESERVER"
    as_user() { setpriv --reuid=1000 --regid=1000 --clear-groups env "$@"; }
    run() { as_user ./sandbox "$@"; }
    helpers() { for c in $(cat /proc/$1/task/*/children); do
        case $(cat /proc/$c/comm) in slirp4netns|pasta*|passt*) echo $c;; esac; done; }
    ask='cat < /dev/tcp/203.0.113.5/8080'
    run load -q -i image.tar > loaded
"#;

fn missing(test: &str, program: &str) -> bool {
    let reason = if !is_root() {
        "machine: only root makes a machine of its own with a /dev/net/tun"
    } else if !Path::new("/usr/bin").join(program).exists() {
        "slirp4netns(1) or pasta(1) isn't installed"
    } else {
        return false;
    };
    skip(test, reason);
    true
}

/// Runs a script on such a machine. Returns what it prints.
fn on_machine(program: &str, script: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("image.tar"), Image::of(&[programs(&["bash", "cat", "sleep"])]).docker(&["net"])).unwrap();
    for name in ["home", "run", "."] {
        fs::create_dir_all(at(name)).unwrap();
        chown(at(name), Some(1000), Some(1000)).unwrap();
    }
    fs::set_permissions(at("run"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    install("755", &binary(), &at("sandbox"));
    let output = Command::new("unshare")
        .args(["--mount", "--net", "bash", "-c", &format!("{MACHINE}{script}")])
        .current_dir(directory.path())
        .envs([("SERVE", SERVE), ("NAMESERVER", NAMESERVER), ("PROGRAM", program)])
        .envs([("HOME", at("home")), ("XDG_RUNTIME_DIR", at("run")), ("SANDBOX_HOME", at("home/h"))])
        .output()
        .unwrap();
    assert!(output.status.success(), "{program}: {}\n{}", text(&output.stdout), text(&output.stderr));
    let reached = fs::read_to_string(at("reached")).unwrap_or_default();
    assert!(!reached.contains("secret"), "no container reaches 127.0.0.1 of the host");
    text(&output.stdout)
}

#[test]
fn a_container_of_a_user_reaches_other_machines_and_not_the_loopback_address_of_the_host() {
    let test = "a_container_of_a_user_reaches_other_machines_and_not_the_loopback_address_of_the_host";
    for program in sample(2, PROGRAMS) {
        if missing(test, program) {
            return;
        }
        let nameserver = if program == "pasta" { "169.254.1.1" } else { "10.0.2.3" };
        let printed = on_machine(
            program,
            &format!(
                r#"
                run run --rm net bash -c "$ask"
                run run --explain --rm net bash -c "$ask" 2> explained
                tr -s ' \n' ' ' < explained | grep -c "/$PROGRAM .*<child>.*by the supervisor"
                run net -q --mode user -- bash -c "$ask"
                run run --rm net cat /etc/resolv.conf
                run run --rm net bash -c 'exec 3<>/dev/udp/{nameserver}/53; echo question >&3; read -t 20 -u 3 -N 1 a; echo $a'
                # The gateway of slirp4netns, that of the host, the nameserver, and the container's own lo.
                for at in 10.0.2.2 198.51.100.1 {nameserver} 127.0.0.1; do
                    run run --rm net bash -c "(cat < /dev/tcp/$at/8081) 2> /dev/null & sleep 1; kill \$! 2> /dev/null" || true
                done
                run run --rm --network none net cat /proc/net/route | wc -l
                run doctor | grep {program}
                run net --dry-run --mode user -- true | grep -o '/usr/bin/{program} .*' | head -1 | cut -d' ' -f 2
                "#
            ),
        );
        let first = if program == "pasta" { "--foreground" } else { "--configure" };
        let wanted = format!(
            "open\nopen\n1\nopen\nnameserver {nameserver}\nq\n1\n{program} connects the containers of this user to other machines.\n{first}\n"
        );
        assert_eq!(printed, wanted, "{program}");
    }
}

#[test]
fn the_program_of_the_network_ends_with_the_container() {
    let test = "the_program_of_the_network_ends_with_the_container";
    for program in sample(2, PROGRAMS) {
        if missing(test, program) {
            return;
        }
        let printed = on_machine(
            program,
            r#"
            field() { perl -MJSON::PP -0777 -ne 'print decode_json($_)->{supervisor}{pid}' home/h/containers/$1/state.json; }
            for end in stop rm kill; do
                id=$(run run -d net sleep 600); s=$(field $id); h=$(helpers $s)
                [ -n "$h" ] && run exec -q $id bash -c "$ask"
                run inspect -f '{{.HostConfig.NetworkMode}} {{len .NetworkSettings.Networks}}' $id
                run top $id -o pid,comm | tail -n +2 | sed 's/.* //'
                case $end in
                    stop) run stop -t 0 $id > /dev/null;;
                    rm) run rm -f $id > /dev/null;;
                    kill) kill -9 $s;;
                esac
                await "[ ! -e /proc/$h ] || grep -q '^State:.*Z' /proc/$h/status"
                state() { run ps -a --format '{{.State}}' --filter id=$id; }
                [ $end = rm ] || await '[ "$(state)" = exited ]' && state
            done
            # A throw-away run, whose sandbox is killed.
            as_user ./sandbox net -q --mode user -- sleep 600 > /dev/null 2>&1 & await '[ -n "$(cat /proc/$!/task/$!/children)" ]'
            s=$(cat /proc/$!/task/$!/children)
            await 'h=$(helpers $s); [ -n "$h" ]'
            kill -9 $s; await "[ ! -e /proc/$h ] || grep -q '^State:.*Z' /proc/$h/status"
            wait $s || true
            "#,
        );
        let each = "open\nuser 1\nsleep\n";
        assert_eq!(printed, format!("{each}exited\n{each}{each}exited\n"), "{program}");
    }
}

#[test]
fn a_build_of_a_user_and_a_published_port_have_the_same_network() {
    let test = "a_build_of_a_user_and_a_published_port_have_the_same_network";
    for program in sample(2, PROGRAMS) {
        if missing(test, program) {
            return;
        }
        let printed = on_machine(
            program,
            r#"
            mkdir context; echo 'FROM net
            RUN ["bash", "-c", "cat < /dev/tcp/203.0.113.5/8080 > /got"]' > context/Dockerfile
            run build -q -t built context > /dev/null
            run run --rm --network none built cat /got
            serve='use IO::Socket::INET; $s = IO::Socket::INET->new(LocalAddr => "0.0.0.0", LocalPort => 80, Listen => 1);
                $c = $s->accept; print $c "published\n"'
            printf 'rootfs: host\nnet: { mode: user, publish: ["127.0.0.1:8090:80"] }\npid:\ncommand: [perl, -e, %s]\n' \
                "'$serve'" > box.yaml
            run run -q box.yaml > /dev/null & run=$!
            await "[ \"\$(bash -c 'cat < /dev/tcp/127.0.0.1/8090' 2> /dev/null)\" = published ] && echo published"
            wait $run
            "#,
        );
        assert_eq!(printed, "open\npublished\n", "{program}");
    }
}

#[test]
fn a_user_without_such_a_network_is_told_why() {
    if is_root() {
        // Root makes a bridge instead.
        let output = sandbox(&["net", "--mode", "user", "--", "true"]).output().unwrap();
        let error = text(&output.stderr);
        assert!(output.status.code() == Some(125) && error.contains("sandbox net --mode bridge"), "{error}");
        return;
    }
    let output = sandbox(&["net", "-q", "--mode", "user", "--", "true"]).output().unwrap();
    let error = text(&output.stderr);
    if output.status.success() {
        return;
    }
    assert!(error.contains("cannot connect the container of an ordinary user"), "{error}");
    assert!(error.contains("/dev/net/tun") || error.contains("installed"), "{error}");
    // The default network is none then, and a message says why.
    let home = KeptHome::new();
    let image = Image::of(&[programs(&["cat"])]).docker(&["net"]);
    assert!(feed(&mut home.command(&["load", "-q"]), image).status.success());
    let output = home.run(&["run", "--rm", "net", "cat", "/proc/net/route"]);
    assert!(output.status.success() && text(&output.stdout).lines().count() <= 1, "{}", text(&output.stdout));
    let message = text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(message.contains("cannot reach other machines. Only root can make a bridge, and"), "{message}");
    let refused = home.run(&["run", "--rm", "--network", "user", "net", "cat", "/proc/net/route"]);
    assert_eq!(refused.status.code(), Some(125));
}
