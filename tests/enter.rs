//! `sandbox enter`: the command gets no more than the process whose namespaces it joins, also in a hostile container.
//!
//! Other inputs of the same kind as the ones here:
//! - capability sets: all, Docker's, a few, none; of root and of another user; with and without no_new_privs; with a
//!   user namespace of one ID and of ranges, and without one.
//! - descriptors 0 to 2: each a terminal, a pipe or a file; /dev/tty; more descriptors; the working directory.
//! - targets: an unknown name, a dead container, two of one name, a PID that does not exist, of a zombie, of a kernel
//!   thread, of a thread, of a process in the caller's namespaces, of another user, of one that has called chroot(2).
//! - files inside: a FIFO, a device, a directory or a file without end in the place of what is read or executed.

mod support;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::background::{Background, mark, with_argument};
use support::running::{Running, privileges};
use support::terminal::Terminal;
use support::{alone, binary, child_named, feed, is_root, run, sandbox, skip, text, wait_until};

#[test]
fn the_command_has_the_privileges_of_the_container() {
    let _alone = alone();
    let mut specs = vec![
        "rootfs: host\npid:\ncapabilities: default\n",
        "rootfs: host\npid:\ncapabilities: { keep: [chown, kill] }\n",
        "rootfs: host\npid:\ncapabilities: { keep: [] }\nno_new_privileges: true\nseccomp: default\n",
        "uts: { hostname: aquarium }\nno_new_privileges: true\n",
        "uts: { hostname: aquarium }\n",
    ];
    if is_root() {
        specs.push("rootfs: host\npid:\ncapabilities: default\nrun_as: '1234:4321'\n");
        specs.push("user: { map: root }\nrootfs: host\npid:\ncapabilities: default\n");
        specs.push("user: { map: '0:100000:1000' }\nrootfs: host\npid:\nrun_as: '12:34'\n");
    }
    for spec in specs {
        let container = Running::of(spec, "");
        let wanted = privileges(&fs::read_to_string(format!("/proc/{}/status", container.pid)).unwrap());
        let shown = container.enter(&[], &["cat", "/proc/self/status"]);
        assert_eq!(privileges(&shown), wanted, "{spec}{shown}");
        assert_eq!(wanted.len(), 6);
        // The user is that of the container's command, as the container shows it.
        let ids = |of: &str| {
            container.enter(&[], &["grep", "-E", "^(Uid|Gid|Groups):", &format!("/proc/{of}/status")])
        };
        if spec.contains("pid:") {
            assert_eq!(ids("self"), ids("1"), "{spec}");
        }
        let by_hand = pasted(&container.enter(&["--dry-run"], &["cat", "/proc/self/status"]));
        for set in ["CapBnd", "CapPrm", "CapEff"] {
            assert_eq!(privileges(&by_hand)[set], wanted[set], "{spec}{by_hand}");
        }
        let all = privileges(&container.enter(&["--privileged"], &["cat", "/proc/self/status"]));
        let (own, given) = (&all["CapEff"], &wanted["CapEff"]);
        assert!(
            u64::from_str_radix(own, 16).unwrap() >= u64::from_str_radix(given, 16).unwrap(),
            "{spec}{all:?}"
        );
        if is_root() && spec.contains("chown, kill") {
            assert_ne!(own, given);
        }
    }
}

/// What the lines below `The same by hand:` of a plan print.
fn pasted(plan: &str) -> String {
    let (_, lines) = plan.split_once("The same by hand:\n").unwrap();
    let (hand, _) = lines.split_once("With docker:\n").unwrap();
    let output = Command::new("sh").args(["-c", hand]).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{hand}{}", text(&output.stderr));
    text(&output.stdout)
}

/// The map has one ID, and setgroups is denied: root of the host has no ID there.
#[test]
fn root_does_by_hand_what_enter_does_in_a_users_container() {
    if !is_root() {
        return skip("root_does_by_hand_what_enter_does_in_a_users_container", "machine: it needs two users");
    }
    let _alone = alone();
    let script = "exec unshare --user --map-root-user --mount --uts sleep 60";
    let mut user = Command::new("setpriv");
    user.args(["--reuid=1000", "--regid=1000", "--clear-groups", "sh", "-c", script]);
    let mut child = user.spawn().unwrap();
    let pid = child.id().to_string();
    let status = || fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    wait_until("it sleeps", || status().starts_with("Name:\tsleep"));
    let read = ["cat", "/proc/self/status"];
    let enter =
        |flags: &[&str]| text(&run(&[&["enter", "-q", &pid], flags, &["--"], &read[..]].concat()).stdout);
    let (entered, by_hand) = (privileges(&enter(&[])), privileges(&pasted(&enter(&["--dry-run"]))));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(entered["CapEff"], by_hand["CapEff"]);
    assert_ne!(entered["CapEff"], "0000000000000000");
}

#[test]
fn nothing_of_the_caller_comes_in() {
    let _alone = alone();
    let container = Running::of("rootfs: host\npid:\n", "");
    let mut variables: Vec<String> = container.enter(&[], &["env"]).lines().map(str::to_owned).collect();
    variables.retain(|line| !line.starts_with("TERM="));
    variables.sort();
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(variables, ["HOME=/root", path]);
    let some = container.enter(&["--env", "A=b=c", "-e", "SECRET", "-e", "NONE-SUCH"], &["env"]);
    assert!(some.contains("A=b=c\n") && some.contains("SECRET=hush\n") && !some.contains("NONE"), "{some}");
    assert!(container.enter(&["--env", "=x"], &["true"]).contains("no name of a variable"));
    // More descriptors, and the working directory.
    let directory = tempfile::tempdir().unwrap();
    let script = format!(
        "exec 7<. 9<{0}; cd {0}; exec \"$S\" enter -q {1} -- sh -c 'echo /proc/$$/fd/*; pwd'",
        directory.path().display(),
        container.name
    );
    let output =
        Command::new("sh").args(["-c", &script]).env("S", binary()).stdin(Stdio::null()).output().unwrap();
    let shown = text(&output.stdout);
    let (descriptors, working) = shown.split_once('\n').unwrap();
    let numbers: Vec<&str> = descriptors.split(' ').filter_map(|path| path.rsplit('/').next()).collect();
    assert!(numbers[..3] == ["0", "1", "2"] && !numbers.contains(&"7") && !numbers.contains(&"9"), "{shown}");
    assert_eq!(working, "/\n");
}

#[test]
fn a_container_that_replaced_its_shell_gets_no_privileges() {
    let _alone = alone();
    // The trap only opens the file, and writes nothing.
    let trap = r#"cat > /tmp/trap <<'END'
#!/usr/bin/perl
system("/usr/bin/mount", "-o", "remount,rw,bind", "/proc/sys"); system("/usr/bin/mount", "-o", "remount,rw", "/proc/sys");
print "core_pattern ", (open(my $f, ">>", "/proc/sys/kernel/core_pattern") ? "OPEN" : "closed"), "\n";
print "mount ", (system("/usr/bin/mount -t tmpfs t /mnt") ? "refused" : "DONE"), "\n";
print "secret $ENV{SECRET}\n"; print `/usr/bin/grep CapEff /proc/self/status`;
END
chmod 755 /tmp/trap; cp --remove-destination /tmp/trap /usr/bin/sh"#;
    let container = Running::of("rootfs: host\npid:\ncapabilities: default\n", trap);
    // In a user namespace, nobody owns the files of the host, and the trap has another name.
    let trap = if is_root() { "sh" } else { "/tmp/trap" };
    let shown = container.enter(&[], &[trap]);
    assert!(shown.contains("core_pattern closed\n") && shown.contains("secret \n"), "{shown}");
    assert!(shown.contains("mount refused\n") && shown.contains("CapEff:\t00000000a80425fb"), "{shown}");
    if is_root() {
        // The control: the caller's capabilities are enough for the trap.
        let shown = container.enter(&["--privileged"], &[trap]);
        assert!(shown.contains("core_pattern OPEN\n") && shown.contains("mount DONE\n"), "{shown}");
    }
}

/// The trap types into every terminal that it can reach.
const TYPE: &str = r#"open(my $t, "+<", "/dev/tty"); my $n = 0;
    for my $fd (*STDIN, *STDOUT, *STDERR, $t) { next unless $fd; for (split //, "PWNED\n") { ioctl($fd, 0x5412, $_) and $n++ } }
    print STDOUT "typed $n\n";"#;

/// What bash reads from its terminal after a command.
fn typed(command: &str) -> String {
    let script = format!("{command}; IFS= read -r -t 1 line; echo \"got=[$line]\"");
    let (_, shown) = Terminal::of(&PathBuf::from("/bin/bash"), &["-c", &script]).end();
    shown
}

#[test]
fn nothing_is_typed_into_the_callers_terminal() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    let trap = format!("perl -e '{TYPE}'");
    if !typed(&trap).contains("got=[PWNED]") {
        return skip("nothing_is_typed_into_the_callers_terminal", "machine: dev.tty.legacy_tiocsti is 0");
    }
    let container = Running::of("rootfs: host\npid:\n", "");
    let enter = format!("{} enter -q {} -- {trap}", binary().display(), container.name);
    let out = out.display();
    for redirected in [
        String::new(),
        "</dev/null".into(),
        format!(">{out}"),
        format!("2>{out}"),
        format!("</dev/null >{out}"),
        format!("</dev/null >{out} 2>&1"),
        "</dev/null 2>&1 | cat".into(),
    ] {
        let shown = typed(&format!("{enter} {redirected}"));
        assert!(shown.contains("got=[]") && !shown.contains("got=[PWNED]"), "{redirected}: {shown}");
    }
}

#[test]
fn the_command_has_a_terminal_of_its_own() {
    let _alone = alone();
    let container = Running::of("rootfs: host\npid:\n", "");
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    let words = ["enter", "-q", &container.name, "--", "bash", "--norc", "--noediting", "-i"];
    let mut terminal = Terminal::start(&words);
    terminal.wait_for("# ");
    terminal.press("stty size\n");
    terminal.wait_for("40 80\n");
    terminal.press("sleep 50\n");
    child_named(child_named(terminal.pid(), "bash"), "sleep");
    terminal.press("\u{3}");
    terminal.wait_for("# ");
    terminal.press("exit 7\n");
    let (status, shown) = terminal.ended();
    assert_eq!(status.code(), Some(7), "{shown}");
    assert_eq!(terminal.modes(), terminal.before);
    // A file that is not a terminal is passed on as it is, without the terminal's newlines.
    let enter = format!("{} enter -q {} --", binary().display(), container.name);
    let shown = typed(&format!("{enter} printf 'a\\nb\\n' > {}", out.display()));
    assert_eq!(fs::read(&out).unwrap(), b"a\nb\n", "{shown}");
    let shown = typed(&format!("printf 'x\\004\\003y' | {enter} od -An -c"));
    assert!(shown.contains("x 004 003   y"), "{shown}");
    let mut piped = sandbox(&["enter", "-q", &container.name, "--", "cat"]);
    assert_eq!(feed(&mut piped, b"\x04\x00\r\n\xff").stdout, b"\x04\x00\r\n\xff");
}

/// Without a terminal, the command is in a new session. The terminal of the caller does not signal it, so `sandbox`
/// passes the signal on.
#[test]
fn ctrl_c_ends_a_command_without_a_terminal() {
    let _alone = alone();
    let container = Running::of("rootfs: host\npid:\n", "");
    let mark = mark(1);
    let script = format!(
        "{} enter -q {} -- sleep {mark} </dev/null >/dev/null 2>&1; echo ended $?",
        binary().display(),
        container.name
    );
    let mut terminal = Terminal::of(&PathBuf::from("/bin/bash"), &["-c", &format!("trap : INT; {script}")]);
    // `sandbox` has this argument too.
    let is_sleep =
        |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "sleep\n");
    wait_until("it is inside", || with_argument(&mark).iter().any(is_sleep));
    terminal.press("\u{3}");
    terminal.wait_for("ended 130");
}

#[test]
fn the_limits_of_the_container_apply_where_the_caller_may_set_them() {
    let _alone = alone();
    if !is_root() {
        return skip(
            "the_limits_of_the_container_apply_where_the_caller_may_set_them",
            "machine: limits take root here; root's run holds it",
        );
    }
    let container = Running::of("rootfs: host\npid:\npids: { max: 20 }\n", "");
    let groups = fs::read_to_string(format!("/proc/{}/cgroup", container.pid)).unwrap();
    assert_eq!(container.enter(&[], &["cat", "/proc/self/cgroup"]), groups);
    let own = fs::read_to_string("/proc/self/cgroup").unwrap();
    assert_eq!(container.enter(&["--privileged"], &["cat", "/proc/self/cgroup"]), own);
    let announced = text(&run(&["enter", &container.name, "--", "true"]).stderr);
    assert!(announced.contains("its cgroups") && !announced.contains("not taken over"), "{announced}");
}

#[test]
fn it_says_what_it_takes_over_and_what_not() {
    let _alone = alone();
    let container = Running::of("rootfs: host\npid:\nno_new_privileges: true\nseccomp: default\n", "");
    let announced = text(&run(&["enter", &container.name, "--", "true"]).stderr);
    // The lines are wrapped.
    let announced = announced.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        announced.contains("takes over its user (0:0), its capability sets, no_new_privs"),
        "{announced}"
    );
    assert!(announced.contains("not taken over: its seccomp filter"), "{announced}");
    let plan = text(&run(&["enter", "--dry-run", &container.name, "--", "true"]).stdout);
    for part in ["setns(", "capset(", "PR_SET_NO_NEW_PRIVS", "setsid()", "not taken over", "docker exec"] {
        assert!(plan.contains(part), "{part}: {plan}");
    }
    let explained = text(&run(&["enter", "--explain", &container.name, "--", "true"]).stderr);
    assert!(explained.contains("setns(") && explained.contains("capset("), "{explained}");
}

#[test]
fn the_line_to_paste_does_the_same() {
    let _alone = alone();
    let mut specs = vec![
        "uts: { hostname: aquarium }\n",
        "rootfs: host\nuts: { hostname: aquarium }\npid:\ncapabilities: default\nno_new_privileges: true\n",
    ];
    if is_root() {
        specs.push("uts: { hostname: aquarium }\npids: { max: 30 }\nrun_as: '1234:4321'\n");
    }
    let script = "hostname; grep -E '^(Cap|NoNew|Uid|Gid)' /proc/self/status; echo \"$HOME it's [$A]\"";
    for spec in specs {
        let container = Running::of(spec, "");
        let flags = ["enter", "-e", "A=a b;c", &container.name];
        let plan = text(&run(&[&flags[..], &["--dry-run", "--", "sh", "-c", script]].concat()).stdout);
        let from = plan
            .lines()
            .position(|line| line.contains("nsenter --target") || line.contains("sh -c 'echo 0"))
            .expect(&plan);
        let lines: Vec<&str> = plan.lines().skip(from).take_while(|line| line.starts_with("  ")).collect();
        let pasted =
            Command::new("sh").args(["-c", &lines.join("\n")]).stdin(Stdio::null()).output().unwrap();
        let shown = text(&pasted.stdout) + &text(&pasted.stderr);
        let wanted = container.enter(&["-e", "A=a b;c"], &["sh", "-c", script]);
        assert!(wanted.starts_with("aquarium\n"), "{wanted}");
        assert_eq!(shown, wanted, "{spec}{plan}");
    }
}

/// /proc and /dev inside belong to the container. Inputs of the same kind: a FIFO, a file without end, a directory in the
/// place of a file; read by `enter`, by its view, by `compare`, by `verify`.
#[test]
fn a_false_proc_stops_nothing() {
    let _alone = alone();
    let fifos = "mkfifo /proc/self/status /proc/self/exe /proc/self/limits /proc/self/mountinfo /proc/self/cgroup \
        /proc/uptime /proc/sys/kernel/cap_last_cap /proc/sys/kernel/hostname /dev/null /dev/zero /dev/ptmx";
    let endless = "for file in self/status self/mountinfo uptime sys/kernel/hostname; do \
        truncate -s 1T /proc/$file; done; mkdir /proc/self/cgroup /dev/null";
    for made in [fifos, endless] {
        let script = format!(
            "mount -t tmpfs t /dev; mount -t tmpfs t /proc; mkdir -p /proc/self/fd /proc/1 /proc/sys/kernel; {made}"
        );
        let container = Running::of("mnt:\npid: { mount_proc: true }\n", &script);
        assert_eq!(container.enter(&[], &["echo", "inside"]), "inside\n");
        let shown = container.enter(&["--show-proc"], &["echo", "inside"]);
        assert!(shown.contains("inside\n") && shown.contains("/proc/self/mountinfo"), "{shown}");
        for words in [&["compare", &container.name][..], &["compare", "--format", "json", &container.name]] {
            let seen = Command::new("timeout").arg("20").arg(binary()).args(words).output().unwrap();
            assert!(seen.status.success(), "{words:?} {:?} {}", seen.status, text(&seen.stderr));
        }
        // No helper of `sandbox` waits for the container.
        let spec = container.directory.path().join("spec.yaml");
        let mut verify = Command::new("timeout");
        let seen =
            verify.arg("20").arg(binary()).args(["verify", &container.name]).arg(spec).output().unwrap();
        assert_ne!(seen.status.code(), Some(124), "{}", text(&seen.stderr));
    }
}

/// The command is searched in the root directory of the process, and gets it: also if that process has changed it.
#[test]
fn a_root_directory_that_chroot_has_changed_is_taken_over() {
    let _alone = alone();
    let made = "mkdir /tmp/jail; cd /tmp/jail; mkdir bin proc; echo jail > name; cp /bin/sleep /bin/cat bin; \
        for file in $(ldd /bin/sleep /bin/cat | grep -o '/[^ ]*' | grep -v :); do \
        mkdir -p .${file%/*}; cp $file .$file; done; exec chroot /tmp/jail /bin/sleep 60";
    let container = Running::of("rootfs: host\npid:\nmnt: { tmpfs: [/tmp] }\n", made);
    assert_eq!(container.enter(&[], &["cat", "/name"]), "jail\n");
    assert_eq!(container.enter(&["--privileged"], &["cat", "name"]), "jail\n", "the working directory, too");
    assert!(container.enter(&[], &["sh"]).contains("sh: command not found"));
    let plan = text(&run(&["enter", "--dry-run", &container.name, "--", "cat", "/name"]).stdout);
    assert!(plan.contains("chroot(\"/tmp/jail\")") && plan.contains(" --root "), "{plan}");
    let pasted = plan.lines().find(|line| line.contains("nsenter --target")).expect(&plan);
    let nsenter = pasted.find("nsenter").map(|at| pasted[at..].split(" setpriv ").next().unwrap()).unwrap();
    let seen = Command::new("sh").args(["-c", &format!("{nsenter} cat /name")]).output().unwrap();
    assert_eq!(text(&seen.stdout), "jail\n", "{nsenter}: {}", text(&seen.stderr));
}

#[test]
fn a_target_that_cannot_be_entered_is_refused_with_its_reason() {
    let _alone = alone();
    let refused = |target: &str| {
        let output = Command::new("timeout")
            .arg("20")
            .arg(binary())
            .args(["enter", target, "--", "true"])
            .env("COLUMNS", "200")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(125), "{target}");
        let shown = text(&output.stderr);
        assert!(!shown.contains("compare:") && !shown.contains("sudo sandbox compare"), "{shown}");
        shown
    };
    assert!(
        refused("no-such-container").contains("no running container of yours is named no-such-container")
    );
    assert!(refused("4194304").contains("enter: there is no process 4194304"));
    assert!(refused(&std::process::id().to_string()).contains("same eight namespaces"));
    let mut dead = Command::new("true").spawn().unwrap();
    let zombie = dead.id().to_string();
    let deadline = Instant::now() + Duration::from_secs(10);
    while !fs::read_to_string(format!("/proc/{zombie}/stat")).unwrap().contains(") Z ")
        && Instant::now() < deadline
    {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(refused(&zombie).contains("it is a zombie"));
    dead.wait().unwrap();
    let verified = run(&["verify", "4194304", "/dev/null"]);
    assert!(text(&verified.stderr).contains("verify: there is no process"), "{}", text(&verified.stderr));
    if !is_root() {
        let shown = refused("1").replace(binary().to_str().unwrap(), "sandbox");
        let shown = shown.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            shown.contains("sandbox enter 1 -- true") && shown.contains("run it as root: sudo "),
            "{shown}"
        );
    }
    // A number is a PID, also if a container has it as its name. No PID is above 4194304.
    for (number, reason) in [
        ("9999999".to_owned(), "there is no process 9999999"),
        (std::process::id().to_string(), "same eight"),
    ] {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, format!("name: \"{number}\"\nuts:\ncommand: [sleep, \"60\"]\n")).unwrap();
        let mut sandbox = sandbox(&["run", "-q", file.path().to_str().unwrap()]).spawn().unwrap();
        let sleep = child_named(sandbox.id(), "sleep");
        let shown = refused(&number);
        assert!(shown.contains(reason), "{shown}");
        if number == "9999999" {
            assert!(shown.contains(&format!("with the name {number} is {sleep}")), "{shown}");
        }
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(sandbox.id().cast_signed()),
            nix::sys::signal::SIGTERM,
        )
        .unwrap();
        sandbox.wait().unwrap();
    }
    // Two containers of one name.
    let first = Running::of("uts:\n", "");
    let file = first.directory.path().join("spec.yaml");
    let second = Background::quiet(&mut sandbox(&["run", "-q", file.to_str().unwrap()]));
    let pid = child_named(second.id(), "sleep");
    let shown = refused(&first.name);
    assert!(shown.contains(&first.pid.to_string()) && shown.contains(&pid.to_string()), "{shown}");
    let name = first.name.clone();
    drop((first, second));
    assert!(refused(&name).contains("no running container of yours"));
}
