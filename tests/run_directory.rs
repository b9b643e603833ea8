//! The directory of the locks and journals, as another user or an accident may have left it.
//!
//! Other inputs of the same kind as the ones here, all of which must be refused or kept, and none of which may hang a
//! command, delete a file of the victim, or lead `enter NAME` to another process:
//! - RUN is a regular file, a FIFO, a socket, a device, a symbolic link (to a directory of the victim, to nothing);
//!   belongs to another user; is writable for others (0777, 0770, 0702).
//! - An entry of RUN is one of these, or its journal or lock is, or has a second hard link.
//! - A journal is empty, cut at any byte, random bytes, of a newer version, with an unknown line, larger than any real
//!   one. RUN has more names than any real one, or names that are not UTF-8. The command may open too few files to read it.
//! - Another user has a lock of flock(2) on whatever they can open: /proc/self/ns/net, a cgroup's directory.
//! - XDG_RUNTIME_DIR, TMPDIR and HOME are other ones, or are missing.

mod support;

use support::{binary, is_root, sandbox, skip, text};

/// The output of a shell script in new mount namespace with an empty /run. There, RUN is /run/sandbox, also for an
/// ordinary user, who is root of a user namespace. `$S` is `sandbox`. `t` runs a command, which must not hang, and
/// prints its status.
fn script(script: &str) -> String {
    let script = format!("exec 2>&1; t() {{ timeout 20 \"$@\"; echo \"= $?\"; }}\n{script}");
    let words = ["mnt", "--tmpfs", "/run", "-q", "--", "sh", "-c", &script];
    let output = sandbox(&words).env("S", binary()).env("COLUMNS", "200").output().unwrap();
    text(&output.stdout) + &text(&output.stderr)
}

/// A journal whose owner is dead. It lists the file `$1`, which is the one that was made.
const DEAD: &str = r#"
    journal() { printf '{"journal":1}\n{"undo":{"remove_file":{"path":"%s"}},"made":{"as":"%s"},"home":null}\n' \
        "$1" "$(stat -c %d:%i "$1")"; }
    dead() { mkdir -p -m 700 /run/sandbox/$1; journal "$2" > /run/sandbox/$1/journal; }
"#;

#[test]
fn a_run_directory_that_is_none_is_refused() {
    let cases = [
        ("touch $R", "regular file"),
        ("mkfifo $R", "FIFO"),
        ("ln -s /run/victim $R", "symbolic link"),
        ("ln -s /nowhere $R", "symbolic link"),
        (
            "perl -MIO::Socket::UNIX -e 'IO::Socket::UNIX->new(Local => shift, Listen => 1) or die' $R",
            "socket",
        ),
        ("mkdir $R; chmod 777 $R", "0777"),
        ("mkdir $R; chmod 770 $R", "0770"),
        ("mkdir $R; chmod 1702 $R", "1702"),
        ("mknod $R c 5 0", "device"),
        ("mkdir $R; chown 7 $R", "user 7"),
    ];
    for (make, what) in cases.into_iter().take(if is_root() { 10 } else { 8 }) {
        let shown = script(&format!(
            "{DEAD} R=/run/sandbox; mkdir -m 700 /run/victim; echo keep > /run/victim/file
            mkdir -m 700 /run/victim/1-1; journal /run/victim/file > /run/victim/1-1/journal
            {make}; t $S gc; echo ==; t $S enter web -- true; echo ==; t $S uts -q -- echo works; echo ==
            printf 'name: web\\nuts:\\ncommand: [echo, started]\\n' | t $S run -q -; cat /run/victim/file"
        ));
        let parts: Vec<&str> = shown.split("==\n").collect();
        for refused in [parts[0], parts[1], parts[3]] {
            assert!(refused.contains("cannot use /run/sandbox") && refused.contains(what), "{make}: {shown}");
            assert!(refused.contains("= 125"), "{make}: {shown}");
        }
        assert!(parts[2].contains("works\n") && parts[2].ends_with("= 0\n"), "{make}: {shown}");
        assert!(!parts[3].contains("started") && parts[3].ends_with("keep\n"), "{make}: {shown}");
    }
}

/// Another user was first in /tmp. The directory is the one of a user ID that no other test uses.
#[test]
fn another_users_directory_is_refused() {
    if !is_root() {
        return skip(
            "another_users_directory_is_refused",
            "machine: two users take root; root's run holds it",
        );
    }
    let shown = script(&format!(
        "{DEAD} R=/tmp/sandbox-54321; rm -rf $R; A='setpriv --reuid 54321 --regid 54321 --clear-groups'; B='setpriv --reuid 54322 --regid 54322 --clear-groups';
        echo keep > /run/file; chown 54321 /run/file; chmod 777 /run
        $B mkdir -m 755 $R; $B mkdir -m 755 $R/1-1; journal /run/file > $R/1-1/journal
        chown 54322 $R/1-1/journal; chmod 644 $R/1-1/journal
        t $A $S gc; echo ==; t $A $S enter web -- true; echo ==; cat /run/file; rm -r $R
        $B ln -s /run/own $R; $A mkdir -m 700 /run/own /run/own/1-1
        journal /run/file > /run/own/1-1/journal; chown 54321 /run/own/1-1/journal
        t $A $S gc; echo ==; cat /run/file; rm $R"
    ));
    let parts: Vec<&str> = shown.split("==\n").collect();
    for refused in &parts[..2] {
        assert!(refused.contains("belongs to user 54322") && refused.contains("= 125"), "{shown}");
        assert!(refused.contains("sudo rm -r /tmp/sandbox-54321"), "{shown}");
    }
    assert!(parts[2].starts_with("keep\n") && parts[2].contains("symbolic link"), "{shown}");
    assert_eq!(parts[3], "keep\n", "{shown}");
}

#[test]
fn an_entry_that_cannot_be_read_is_kept_and_reported() {
    let shown = script(&format!(
        r#"{DEAD} mkdir -m 700 /run/sandbox; cd /run/sandbox; echo keep > /run/file; echo ours > /run/ours
        new() {{ mkdir -m 700 $1; }}
        new fifo; mkfifo fifo/journal
        new fifolock; mkfifo fifolock/lock
        new link; journal /run/file > /run/other; ln -s /run/other link/journal
        new hard; ln /run/other hard/journal
        new wide; journal /run/file > wide/journal; chmod 666 wide/journal
        new sparse; truncate -s 1G sparse/journal
        new bytes; head -c 300 /dev/urandom > bytes/journal
        new newer; printf '{{"journal":2}}\n{{"any":1}}\n' > newer/journal
        new unknown; journal /run/none 2>/dev/null > unknown/journal; printf '{{"later":1}}\n' >> unknown/journal
        new empty; : > empty/journal
        new open; chmod 777 open; journal /run/file > open/journal
        ln -s /run linked; mkfifo pipe; touch plain
        mkdir -m 700 "$(printf 'n\377')"; dead dead /run/ours
        t $S gc; echo ==; t $S uts -q -- true; echo ==; cat /run/file; cat /run/ours; ls; echo ==
        rm -r /run/sandbox; t $S gc"#
    ));
    let kept = [
        "bytes", "empty", "fifo", "fifolock", "hard", "link", "linked", "newer", "open", "pipe", "plain",
        "sparse", "unknown", "wide",
    ];
    let parts: Vec<&str> = shown.split("==\n").collect();
    assert!(parts[0].contains("rm /run/ours") && parts[0].contains("= 125"), "{shown}");
    assert!(parts[0].contains("version 2") && parts[0].contains("is empty"), "{shown}");
    assert!(parts[1].contains("`sandbox gc` shows why") && parts[1].contains("= 0"), "{shown}");
    let (files, names) = parts[2].split_once("cat: /run/ours").unwrap_or_default();
    assert_eq!(files, "keep\n", "{shown}");
    let names: Vec<&str> = names.lines().skip(1).collect();
    assert_eq!(names, kept, "{shown}");
    assert!(parts[3].contains("no run has left anything behind\n= 0"), "{shown}");
}

/// A journal that is cut inside a line is kept. Its complete lines are undone.
/// A config is opened as a journal is: the caller's own regular file, with one name, of a size that `sandbox` writes.
#[test]
fn a_config_that_cannot_be_trusted_is_not_used() {
    let cases = [
        ("ln -s /run/good $C", "symbolic link"),
        ("mkfifo $C", "FIFO"),
        ("cp /run/good $C; chmod 666 $C", "0666"),
        ("ln /run/good $C", "second name"),
        ("mkdir $C", "directory"),
        ("truncate -s 70M $C", "73400320 bytes"),
        ("echo '{}' > $C", "has version 0"),
        ("echo '{\"version\":1}' > $C", "missing field"),
        ("head -c 99 /run/good > $C", "EOF"),
        (":", "is not recorded"),
        ("cp /run/good $C", "matches"),
    ];
    let tries: String =
        cases.map(|(make, _)| format!("rm -rf $C; {make}; t $S verify web; echo ==\n")).concat();
    let shown = script(&format!(
        "printf 'name: web\\nuts:\\ncommand: [sleep, \"60\"]\\n' > /run/s.yaml
        $S run -q /run/s.yaml & trap 'kill $!' EXIT
        i=0; until $S verify web > /run/why 2>&1 || [ $i = 99 ]; do sleep 0.1; i=$((i + 1)); done
        C=$(echo /run/sandbox/*-*/config.json); stat -c %a $C; cp $C /run/good; echo ==
        {tries}"
    ));
    let parts: Vec<&str> = shown.split("==\n").collect();
    assert_eq!(parts[0], "600\n", "{shown}");
    for ((make, what), part) in cases.iter().zip(&parts[1..]) {
        let status = if *what == "matches" { "= 0\n" } else { "= 125\n" };
        assert!(part.contains(what) && part.ends_with(status), "{make}: {shown}");
    }
}

#[test]
fn a_journal_that_is_cut_is_kept() {
    let shown = script(&format!(
        r#"{DEAD} echo x > /run/file; journal /run/file > /run/whole; length=$(stat -c %s /run/whole)
        mkdir -m 700 /run/sandbox; for n in $(seq 0 $length); do
            mkdir -m 700 /run/sandbox/$n; head -c $n /run/whole > /run/sandbox/$n/journal; done
        $S gc > /run/out; echo "= $?"; ls /run/sandbox | sort -n | tr '\n' ' '; echo; echo $length; cat /run/out"#
    ));
    let lines: Vec<&str> = shown.lines().filter(|line| !line.starts_with("  ")).collect();
    let at = lines.iter().position(|line| *line == "= 125").unwrap_or_else(|| panic!("{shown}"));
    let length: usize = lines[at + 2].parse().unwrap();
    let kept: Vec<usize> = lines[at + 1].split_whitespace().map(|name| name.parse().unwrap()).collect();
    // The first line has 14 bytes.
    let cut: Vec<usize> = (0..=length).filter(|n| *n != 14 && *n != length).collect();
    assert_eq!(kept, cut, "{shown}");
    assert!(shown.contains("rm /run/file"), "{shown}");
}

/// A command that may open too few files cannot read a journal. That says nothing about the journal, which may be of a
/// container that runs. So nothing is called damaged, and its removal is not advised.
#[test]
fn a_journal_that_could_not_be_opened_is_not_called_damaged() {
    let shown = script(
        "$S uts -q -- sleep 20 & for i in $(seq 100); do [ -e /run/sandbox/*/journal ] && break; sleep .1; done; \
         for n in 3 4 5 6 7 8 9; do for words in gc 'uts -q -- true'; do (ulimit -n $n; t $S $words); done; done; \
         t $S gc; kill $!; wait",
    );
    assert!(!shown.contains("rm -r") && !shown.contains("cannot be read"), "{shown}");
    assert!(shown.contains("cannot look at /run/sandbox") && shown.contains("EMFILE"), "{shown}");
    assert!(shown.contains("sandbox may open too few files"), "{shown}");
    assert!(shown.trim_end().ends_with("no run has left anything behind\n= 0"), "{shown}");
}

#[test]
fn a_directory_with_too_many_names_takes_no_time() {
    let shown = script(
        "mkdir -m 700 /run/sandbox; cd /run/sandbox; seq 12000 | xargs touch; t $S gc | tail -20; t $S uts -q -- true",
    );
    assert!(shown.contains("more than 10000 entries") && shown.contains("= 125"), "{shown}");
    assert!(shown.ends_with("= 0\n"), "{shown}");
}

/// Two commands of one user find each other, whatever their environments are. Nothing there is open to others.
#[test]
fn the_directory_depends_on_nothing_in_the_environment() {
    let shown = script(
        r"printf 'name: web\nuts: { hostname: aquarium }\ncommand: [sleep, 61]\n' > /run/web.yaml
        mkdir /run/a /run/b; umask 0; XDG_RUNTIME_DIR=/run/a TMPDIR=/run/a $S run -q /run/web.yaml & run=$!
        for i in $(seq 250); do [ -e /run/sandbox/*/journal ] && grep -qs aquarium /run/sandbox/*/journal; sleep 0.02
            grep -qs web /run/sandbox/*/journal && break; done
        XDG_RUNTIME_DIR=/run/b HOME=/run/b TMPDIR=/nowhere t $S enter web -q -- hostname
        env -i $S enter web -q -- hostname; ls /run/a /run/b | grep -v :
        find /run/sandbox -mindepth 1 -printf '%y %m\n' | sort -u; kill $run; wait $run; ls /run/sandbox",
    );
    assert!(shown.contains("aquarium\n= 0\naquarium\n"), "{shown}");
    assert!(shown.contains("\nd 700\nf 600\n"), "{shown}");
    assert!(shown.contains("/run/sandbox': No such file"), "{shown}");
}

/// Any user, also a process inside a container, can lock these files.
#[test]
fn the_lock_of_another_user_keeps_nothing_and_stops_nothing() {
    if !is_root() {
        return skip(
            "the_lock_of_another_user_keeps_nothing_and_stops_nothing",
            "machine: a bridge takes root; root's run holds it",
        );
    }
    for lock in ["-s", "-x"] {
        let shown = script(&format!(
            "export L={lock}; exec $S net -q -- sh -c '
            own=$(ls /run/sandbox); flock -F $L /proc/self/ns/net sleep 60 & held=$!; flock -F $L /sys/fs/cgroup sleep 60 & more=$!; sleep 0.2
            echo 0 > /proc/sys/net/ipv4/ip_forward
            timeout 20 $S net --mode bridge -q -- echo started; echo = $?
            cat /proc/sys/net/ipv4/ip_forward; grep -c sandbox0 /proc/net/dev; ls /run/sandbox | grep -v -x $own; kill $held $more'"
        ));
        assert_eq!(shown, "started\n= 0\n0\n0\n", "{lock}");
    }
}

/// Two network namespaces with one RUN have a bridge each.
#[test]
fn bridges_of_two_network_namespaces_do_not_meet() {
    if !is_root() {
        return skip(
            "bridges_of_two_network_namespaces_do_not_meet",
            "machine: a bridge takes root; root's run holds it",
        );
    }
    let shown = script(
        "echo '$S net --mode bridge -q -- sleep 61 & for i in $(seq 250); do grep -qs as /run/sandbox/*/journal; \
            grep -q sandbox0 /proc/net/dev && break; sleep 0.02; done; sleep 0.5; echo up > /run/$1; \
            until [ -e /run/$1.end ]; do sleep 0.02; done; kill $!; wait $!; grep -c sandbox0 /proc/net/dev' > /run/one
        unshare --net sh /run/one a & a=$!; unshare --net sh /run/one b & b=$!
        until [ -e /run/a ] && [ -e /run/b ]; do sleep 0.02; done; ls /run/sandbox | grep -c bridge-
        touch /run/a.end; wait $a; ls /run/sandbox | grep -c bridge-; touch /run/b.end; wait $b; ls /run/sandbox",
    );
    assert!(shown.starts_with("2\n0\n1\n0\nls:"), "{shown}");
}

#[test]
fn a_set_user_id_copy_refuses_to_run() {
    if !is_root() {
        return skip(
            "a_set_user_id_copy_refuses_to_run",
            "machine: only root can make one; root's run holds it",
        );
    }
    let user = "setpriv --reuid 54321 --regid 54321 --clear-groups";
    for mode in ["4755", "2755", "6755"] {
        let shown = script(&format!(
            "mount -o remount,suid,size=256m /run; cp $S /run/copy; chmod {mode} /run/copy; t {user} /run/copy uts -q -- id -u; t {user} /run/copy --help | head -3
            chmod 755 /run/copy; t {user} /run/copy --version; t /run/copy uts -q -- echo root"
        ));
        assert_eq!(shown.matches("refuses to run").count(), 2, "{mode}: {shown}");
        assert!(shown.contains("= 125") && shown.contains("= 0\nroot\n= 0\n"), "{mode}: {shown}");
        // A caller whose real ID is not its effective one gets the same answer.
        let shown = script(
            "t setpriv --ruid 54321 $S uts -q -- true; t su -s /bin/sh -c '$S uts -q -- echo su' root",
        );
        assert!(shown.contains("refuses to run") && shown.ends_with("su\n= 0\n"), "{shown}");
    }
}

/// A container that another version of `sandbox` has started: one that writes another number, and one from before the number.
#[test]
fn a_config_of_another_version_is_named_as_such() {
    let shown = script(
        r#"cd /run
        printf 'name: web\nuts:\ncommand: [sh, -c, "exec sleep 60"]\n' > web.yaml
        $S run -q web.yaml & owner=$!; trap 'kill $owner; wait' EXIT
        until $S verify web > matches 2>&1; do kill -0 $owner || exit; done; cat matches
        config=$(echo /run/sandbox/*/config.json); grep -c '^{"version":1,' $config
        sed -i 's/^{"version":1,/{"version":2,"later":[],/' $config
        t $S exec web true; t $S verify web
        sed -i 's/^{"version":2,"later":\[\],/{/' $config
        t $S exec web true; t $S verify web web.yaml; t $S enter -q web -- hostname"#,
    );
    let parts: Vec<&str> = shown.split("= ").collect();
    assert!(parts[0].contains("matches its spec"), "{shown}");
    for (part, found) in [(0, "2"), (1, "2"), (2, "0")] {
        let words = ["was started by another version of sandbox", "sandbox enter ", "reads version 1"];
        assert!(words.iter().all(|word| parts[part].contains(word)), "{part}: {shown}");
        assert!(parts[part].contains(&format!("has version {found}")), "{part}: {shown}");
    }
    assert!(parts[1].starts_with("125") && parts[2].starts_with("125"), "{shown}");
    assert!(
        parts[3].starts_with("125") && parts[4].starts_with("0\n") && parts[5].starts_with("0\n"),
        "{shown}"
    );
}

/// A `sandbox` that was killed has left the new content of a file. One that works has made it a moment ago.
#[test]
fn the_new_content_of_a_file_that_nobody_completes_is_removed() {
    let shown = script(
        "umask 077; make() { mkdir -p -m 700 /run/sandbox; for name in ledger daemon-0123456789abcdef; do
            touch \"$@\" /run/sandbox/$name.json.new; done; $S uts -q -- true; ls /run/sandbox 2>/dev/null; }
        make -d '2 hours ago'; echo ==; make",
    );
    assert_eq!(shown, "==\ndaemon-0123456789abcdef.json.new\nledger.json.new\n");
}
