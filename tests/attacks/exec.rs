//! R1, R2, R6 to R9 by `exec`: a container that is hostile when a further process starts in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::directory;
use crate::support::running::Running;
use crate::support::terminal::Terminal;
use crate::support::{alone, binary, install, is_root, sample, sandbox, skip, text};

fn exec(container: &Running, flags: &[&str], command: &[&str]) -> (Option<i32>, String) {
    let program = binary();
    let words =
        [&["20", program.to_str().unwrap(), "exec", "-q"], flags, &[&*container.name], command].concat();
    let output = Command::new("timeout").args(words).env("SECRET", "hush").current_dir("/").output().unwrap();
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

/// This program, without input.
fn sandbox_of(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/").stdin(Stdio::null());
    command
}

/// R1: the command is `sandbox` itself, by the link in /proc. It is refused, and no process could write to its file.
#[test]
fn the_program_is_not_reached_by_a_command() {
    let _alone = alone();
    let bin = directory();
    let program = install("755", &binary(), &bin.path().join("sandbox"));
    let before = fs::read(&program).unwrap();
    // The loop keeps the program of each process that it can open, and tries to write to it, also when no process runs it.
    let script = r#"printf '#!/proc/self/exe\n' > /tmp/evil; chmod 755 /tmp/evil; ln -s /proc/self/exe /tmp/link
        cat > /tmp/attack <<'END'
        $| = 1; my %held;
        while (1) {
            for my $exe (glob "/proc/[0-9]*/exe") {
                open(my $f, "<", $exe) or next; my $link = readlink "/proc/self/fd/" . fileno $f;
                next if $held{$link} or $link !~ /sandbox|memfd/; $held{$link} = $f; print "opened $link\n";
            }
            while (my ($link, $f) = each %held) {
                open(my $again, ">>", "/proc/self/fd/" . fileno $f) or next; syswrite $again, "x"; print "wrote $link\n"; close $again;
            }
        }
END
        perl /tmp/attack > /tmp/seen 2>&1 &"#;
    let container = Running::of("rootfs: host\npid:\ncapabilities: default\n", script);
    for command in ["/tmp/evil", "/tmp/link", "/proc/self/exe"].repeat(10) {
        let output = sandbox_of(&program).args(["exec", "-q", &container.name, command]).output().unwrap();
        assert!(matches!(output.status.code(), Some(125..=127)), "{command} {:?}", output.status);
    }
    for _ in 0..20 {
        let output = sandbox_of(&program).args(["exec", "-q", &container.name, "true"]).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    assert_eq!(exec(&container, &[], &["cat", "/tmp/seen"]), (Some(0), String::new()));
    assert!(fs::read(&program).unwrap() == before);
    // The control: the same loop opens a program of the container, and writes to it when its process has ended.
    let control = "cp /usr/bin/sleep /tmp/own-sandbox; /tmp/own-sandbox 60 & \
                   until grep -qs '^opened /tmp/own-sandbox' /tmp/seen; do sleep 0.01; done; kill $!; wait $! 2> /dev/null; \
                   until grep -qs '^wrote /tmp/own-sandbox' /tmp/seen; do sleep 0.01; done; echo both";
    assert!(exec(&container, &[], &["sh", "-c", control]).1.starts_with("both\n"));
}

/// R2: the working directory is a descriptor of `sandbox`; many descriptors of the caller are open.
#[test]
fn no_directory_and_no_descriptor_of_the_caller_comes_in() {
    let _alone = alone();
    let canary = directory();
    fs::write(canary.path().join("canary"), "out\n").unwrap();
    let links = "for n in $(seq 0 63); do ln -s /proc/self/fd/$n /tmp/l$n; done";
    let container = Running::of("rootfs: host\npid:\n", links);
    let look = format!(
        "for up in . ./../.. ./../../../../..; do cat $up/{}; done",
        canary.path().join("canary").display()
    );
    let many = |words: &[&str]| {
        let mut bash = Command::new("bash");
        bash.args(["-c", "for n in {10..209}; do eval \"exec $n< /\"; done; exec \"$@\"", "bash"])
            .args(words);
        bash.current_dir(canary.path()).stdin(Stdio::null()).output().unwrap()
    };
    let program = binary();
    let program = program.to_str().unwrap();
    for number in sample(4, (0..64).step_by(3)) {
        for workdir in [format!("/proc/self/fd/{number}"), format!("/tmp/l{number}")] {
            let output = many(&[program, "exec", "-q", "-w", &workdir, &container.name, "sh", "-c", &look]);
            assert_eq!(output.status.code(), Some(125), "{workdir} {}", text(&output.stdout));
            assert!(!text(&output.stdout).contains("out"), "{workdir}");
            // Descriptor 0 is open at any moment, so the link itself is refused.
            assert!(number != 0 || text(&output.stderr).contains("ELOOP"), "{}", text(&output.stderr));
        }
    }
    let list = many(&[program, "exec", "-q", &container.name, "ls", "-1", "/proc/self/fd"]);
    assert_eq!(text(&list.stdout), "0\n1\n2\n3\n");
    // The control: the shell hands them on, and its own directory leads to the canary.
    assert!(text(&many(&["ls", "-1", "/proc/self/fd"]).stdout).lines().count() >= 200);
    assert!(text(&many(&["sh", "-c", "cat canary"]).stdout).contains("out"));
}

/// R2: the working directory becomes a magic link between the look at it and the start.
#[test]
fn a_working_directory_that_is_swapped_leads_nowhere() {
    let _alone = alone();
    // Links to each descriptor that the starting process can have, among them the /proc of the host, by which it is verified.
    let swap = r#"mkdir /tmp/work; cat > /tmp/swap <<'END'
        my ($work, $magic) = ("/tmp/work", "/tmp/magic");
        for (my $n = 0; ; $n++) {
            unlink $magic; symlink sprintf("/proc/self/fd/%d", 3 + $n % 20), $magic;
            # renameat2(RENAME_EXCHANGE). After an even number, the directory is in its place again.
            syscall(316, -100, $work, -100, $magic, 2) == 0 or die $! for 1 .. 50;
        }
END
        perl /tmp/swap > /tmp/seen 2>&1 &"#;
    let container = Running::of("rootfs: host\npid:\n", swap);
    let look = format!("test -e ./{}/root && echo FOUND; pwd", std::process::id());
    let (mut worked, mut refused) = (0, 0);
    // Both ways must have been met: the directory, and the link instead of it.
    for _ in 0..400 {
        let (code, shown) = exec(&container, &["-w", "/tmp/work"], &["sh", "-c", &look]);
        assert!(!shown.contains("FOUND"), "{shown}");
        match code {
            Some(0) if shown == "/tmp/work\n" || shown == "/tmp/magic\n" => worked += 1,
            Some(125) => refused += 1,
            _ => panic!("{code:?} {shown}"),
        }
        if worked >= 10 && refused >= 10 {
            break;
        }
    }
    assert!(worked > 0 && refused > 0, "{worked} {refused}");
    // The control: in the /proc of the host, the command would find this process.
    let control = Command::new("sh").args(["-c", &look]).current_dir("/proc").output().unwrap();
    assert!(text(&control.stdout).starts_with("FOUND"));
}

/// R8: names in files that the container has replaced. Nothing waits, nothing outside is read.
#[test]
fn the_files_with_users_may_be_anything() {
    let _alone = alone();
    if !is_root() {
        return skip(
            "the_files_with_users_may_be_anything",
            "machine: an ordinary user may not replace /etc/passwd here",
        );
    }
    let kinds = [
        ("mkfifo /etc/passwd", Err("it is not a regular file")),
        ("ln -s /../../../../../../etc/hostname /etc/passwd", Err("no matching entries in passwd file")),
        ("ln -s /../../../../../../none-such /etc/passwd", Err("no matching entries in passwd file")),
        ("mkdir /etc/passwd", Err("it is not a regular file")),
        ("ln -s passwd /etc/passwd", Err("ELOOP")),
        ("truncate -s 1T /etc/passwd", Err("it has more than 4194304 bytes")),
        ("ln -s /proc/1/fd/0 /etc/passwd", Err("ELOOP")),
        (
            "head -c 3000000 /dev/urandom > /etc/passwd; echo >> /etc/passwd; echo bob:x:0:0 >> /etc/passwd",
            Ok("0\n"),
        ),
    ];
    for (setup, expected) in kinds {
        let container = Running::of("rootfs: host\npid:\n", &format!("rm /etc/passwd; {setup}"));
        let (code, shown) = exec(&container, &["-u", "bob"], &["id", "-u"]);
        match expected {
            Ok(id) => assert_eq!((code, &*shown), (Some(0), id), "{setup}"),
            Err(reason) => assert!(code == Some(125) && shown.contains(reason), "{setup}: {code:?} {shown}"),
        }
        // A number needs no file.
        assert_eq!(exec(&container, &["-u", "0"], &["id", "-u"]), (Some(0), "0\n".to_owned()), "{setup}");
    }
    let no_id = Err("expected an ID");
    let names = [
        ("1", Ok("1\n")),
        ("01", Ok("1\n")),
        ("+1", Ok("1\n")),
        ("1:1", Ok("1\n")),
        ("4294967296", no_id),
        ("2147483648", Err("2147483648")),
        ("-1", no_id),
        ("0x0", no_id),
        ("1 ", no_id),
        ("99999999999999", no_id),
    ];
    let lines: String = names.iter().map(|(name, _)| format!("{name}:x:0:0::/:\\n")).collect();
    let spec = "rootfs: host\nuser: { map: '0:100000:1000' }\npid:\n";
    let container = Running::of(spec, &format!("printf '{lines}evil:x:0:0::/:\\n' > /etc/passwd"));
    for (name, expected) in names {
        let (code, shown) = exec(&container, &["-u", name], &["id", "-u"]);
        match expected {
            Ok(id) => assert_eq!((code, &*shown), (Some(0), id), "{name}"),
            Err(reason) => assert!(code == Some(125) && shown.contains(reason), "{name}: {code:?} {shown}"),
        }
    }
    // The control: as a name, the same line is followed.
    assert_eq!(exec(&container, &["-u", "evil"], &["id", "-u"]), (Some(0), "0\n".to_owned()));
}

/// R6, R7: the sets and groups of a further process, and a shell that the container has replaced.
#[test]
fn a_replaced_shell_gets_no_more_than_the_container() {
    let _alone = alone();
    let trap = r#"cat > /tmp/trap <<'END'
#!/usr/bin/perl
print "mount ", (system("/usr/bin/mount -t tmpfs t /mnt 2>/dev/null") ? "refused" : "DONE"), "\n";
print "secret $ENV{SECRET}\n"; print grep { /^(Cap|Groups|NoNewPrivs|Seccomp:)/ } do { open(my $f, "<", "/proc/self/status"); <$f> };
END
chmod 755 /tmp/trap"#;
    let spec = "rootfs: host\npid:\ncapabilities: default\nseccomp: default\nno_new_privileges: true\n";
    let container = Running::of(spec, trap);
    // The caller's own inheritable and ambient sets, and its groups. An ordinary user has none to give.
    let caller: &[&str] = match is_root() {
        true => &["setpriv", "--inh-caps=+net_raw", "--ambient-caps=+net_raw", "--groups=4,7", "--"],
        false => &["env"],
    };
    let program = binary();
    let given = |flags: &[&str]| {
        let words =
            [caller, &[program.to_str().unwrap(), "exec", "-q"], flags, &[&container.name, "/tmp/trap"]]
                .concat();
        let output = Command::new("timeout").arg("20").args(words).env("SECRET", "hush").output().unwrap();
        text(&output.stdout) + &text(&output.stderr)
    };
    let users: &[&[&str]] = if is_root() { &[&[], &["-u", "1000"]] } else { &[&[]] };
    for user in users {
        let shown = given(user);
        for line in [
            "mount refused",
            "secret ",
            "CapInh:\t0000000000000000",
            "CapAmb:\t0000000000000000",
            "CapBnd:\t00000000a80425fb",
            "NoNewPrivs:\t1",
            "Seccomp:\t2",
        ] {
            assert!(shown.lines().any(|shown| shown == line), "{user:?} {line} {shown}");
        }
        if is_root() {
            assert!(shown.lines().any(|line| line.trim_end() == "Groups:"), "{shown}");
        }
    }
    if is_root() {
        // The controls: the caller has what was not given. With the caller's capabilities, and without the filter, the
        // same trap mounts.
        let own =
            Command::new(caller[0]).args(&caller[1..]).args(["cat", "/proc/self/status"]).output().unwrap();
        let own = text(&own.stdout);
        for line in ["CapInh:\t0000000000002000", "CapAmb:\t0000000000002000", "Groups:\t4 7 "] {
            assert!(own.lines().any(|shown| shown == line), "{line} {own}");
        }
        drop(container);
        let open = Running::of("rootfs: host\npid:\ncapabilities: default\n", trap);
        assert!(exec(&open, &["--privileged"], &["/tmp/trap"]).1.contains("mount DONE"));
    }
}

/// R9: the terminal of the caller, with and without a terminal of its own.
#[test]
fn nothing_is_typed_into_the_callers_terminal() {
    let _alone = alone();
    let trap = r#"open(my $t, "+<", "/dev/tty"); my $n = 0; for my $fd (*STDIN, *STDOUT, *STDERR, $t) { next unless $fd;
        for (split //, "PWNED\n") { ioctl($fd, 0x5412, $_) and $n++; ioctl($fd, 0x100005412, $_) and $n++ } } print STDOUT "typed $n\n";"#;
    let typed = |command: &str| {
        let script = format!("{command}; IFS= read -r -t 1 line; echo \"got=[$line]\"");
        Terminal::of(&PathBuf::from("/bin/bash"), &["-c", &script]).end().1
    };
    let trap = format!("perl -e '{trap}'");
    if !typed(&trap).contains("got=[PWNED]") {
        return skip("nothing_is_typed_into_the_callers_terminal", "machine: dev.tty.legacy_tiocsti is 0");
    }
    let container = Running::of("rootfs: host\npid:\n", "");
    for flags in ["-q", "-qi", "-qt", "-qit"] {
        let shown = typed(&format!("{} exec {flags} {} {trap}", binary().display(), container.name));
        assert!(shown.contains("typed ") && shown.contains("got=[]"), "{flags} {shown}");
    }
    // A terminal has a name in the container.
    let shown = Terminal::of(
        &binary(),
        &["exec", "-qit", &container.name, "sh", "-c", "tty; test -t 0 && test -t 2 && echo all"],
    )
    .end()
    .1;
    assert!(shown.contains("/dev/pts/0") && shown.contains("all"), "{shown}");
}

/// The container ends its devices, its /proc and its terminals: what is opened inside is checked.
#[test]
fn devices_and_proc_may_be_anything() {
    let _alone = alone();
    let replace = "umount /dev/pts; mkfifo /dev/pts/ptmx; rm /dev/null && mkfifo /dev/null";
    let container = Running::of("rootfs: host\npid:\n", replace);
    let (code, shown) = exec(&container, &[], &["true"]);
    // An ordinary user's /dev/null is a mount, which cannot be removed.
    assert!(
        if is_root() { code == Some(125) && shown.contains("null device") } else { code == Some(0) },
        "{code:?} {shown}"
    );
    assert_eq!(exec(&container, &["-i"], &["echo", "ran"]), (Some(0), "ran\n".to_owned()));
    // A FIFO has the name of the multiplexer of the container's terminals.
    let (code, shown) = exec(&container, &["-t"], &["true"]);
    assert!(code == Some(125) && shown.contains("belongs to no devpts"), "{code:?} {shown}");
    drop(container);
    // /proc inside is covered by FIFOs: it is never read.
    let cover = "mount -t tmpfs t /proc && mkdir -p /proc/self/fd /proc/self/ns && mkfifo /proc/self/status /proc/self/limits /proc/self/cgroup /proc/self/exe";
    let container = Running::of("rootfs: host\npid:\n", cover);
    assert_eq!(exec(&container, &[], &["echo", "ran"]), (Some(0), "ran\n".to_owned()));
    let none = sandbox(&["exec", "-q", &container.name, "test", "-p", "/proc/self/status"]).status().unwrap();
    assert_eq!(none.code(), Some(0), "the control: it is covered");
}

/// R12: a container with CAP_SYS_PTRACE reads the environment and the descriptors of each process that it can see, also of
/// one that is undumpable.
#[test]
fn a_container_that_may_trace_finds_nothing_of_the_caller() {
    if !is_root() {
        return skip(
            "a_container_that_may_trace_finds_nothing_of_the_caller",
            "machine: only root has CAP_SYS_PTRACE over the caller",
        );
    }
    let _alone = alone();
    let canary = directory();
    let path = canary.path().join("canary");
    fs::write(&path, "out\n").unwrap();
    let look = r#"cat > /tmp/look <<'END'
        $| = 1; my %seen;
        while (1) {
            for my $of (glob "/proc/[0-9]*") {
                my ($pid) = $of =~ /(\d+)/; next if $pid == 1 or $pid == $$;
                if (open my $f, "<", "$of/environ") { local $/; my $all = <$f> // "";
                    print "environ\n" if $all =~ /SECRET=hush/ and not $seen{"e$pid"}++;
                    print "looked\n" if not $seen{"l$pid"}++; }
                for my $fd (glob "$of/fd/*") { my $to = readlink $fd or next; next unless $to =~ /canary/;
                    print "descriptor $to\n" if not $seen{"f$pid"}++; }
            }
        }
END
        perl /tmp/look > /tmp/seen 2>&1 &"#;
    let spec = "rootfs: host\npid: { init: true }\ncapabilities: { keep: [SYS_PTRACE] }\n";
    let container = Running::of(spec, look);
    let program = binary();
    let with_canary = |words: &[&str]| {
        let mut bash = Command::new("bash");
        bash.args(["-c", "exec 7< \"$0\"; exec \"$@\"", path.to_str().unwrap()]).args(words);
        bash.env("SECRET", "hush").current_dir("/").stdin(Stdio::null()).output().unwrap()
    };
    for _ in 0..8 {
        for words in
            [&["exec", "-q", &container.name, "true"][..], &["enter", "-q", &container.name, "--", "true"]]
        {
            let output = with_canary(&[&[program.to_str().unwrap()], words].concat());
            assert!(output.status.success(), "{}", text(&output.stderr));
        }
    }
    let joins = format!("rootfs: host\npid: {{ join: 'container:{}' }}\ncommand: ['true']\n", container.name);
    let file = canary.path().join("join.yaml");
    fs::write(&file, joins).unwrap();
    for _ in 0..4 {
        let output = with_canary(&[program.to_str().unwrap(), "run", "-q", file.to_str().unwrap()]);
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    let seen = exec(&container, &[], &["sort", "-u", "/tmp/seen"]).1;
    assert_eq!(seen, "looked\n");
    // The control: a process inside with such an environment and such a descriptor is found.
    let control = "export SECRET=hush; echo > /tmp/canary; sleep 60 7< /tmp/canary & \
                   until [ $(grep -c 'environ\\|descriptor' /tmp/seen) -ge 2 ]; do sleep 0.01; done; kill $!; echo both";
    assert_eq!(exec(&container, &[], &["sh", "-c", control]).1, "both\n");
}
