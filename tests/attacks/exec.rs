//! R1, R2, R6 to R9 by `exec`: a container that is hostile when a further process starts in it.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::directory;
use crate::support::running::Running;
use crate::support::terminal::Terminal;
use crate::support::{alone, binary, install, is_root, sandbox, skip, text};

fn exec(container: &Running, flags: &[&str], command: &[&str]) -> (Option<i32>, String) {
    let program = binary();
    let words =
        [&["20", program.to_str().unwrap(), "exec", "-q"], flags, &[&*container.name], command].concat();
    let output = Command::new("timeout").args(words).env("SECRET", "hush").current_dir("/").output().unwrap();
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

/// R1: the command is `sandbox` itself, by the link in /proc. It is refused, and no process could write to its file.
#[test]
fn the_program_is_not_reached_by_a_command() {
    let _alone = alone();
    let bin = directory();
    let program = install("755", &binary(), &bin.path().join("sandbox"));
    let before = fs::read(&program).unwrap();
    // The loop tries to open the program of each process for writing, also when sandbox has ended.
    let script = "printf '#!/proc/self/exe\\n' > /tmp/evil; chmod 755 /tmp/evil; ln -s /proc/self/exe /tmp/link; \
                  perl -e 'while (1) { for (glob \"/proc/[0-9]*/exe\") { if (open(my $f, \"+<\", $_)) { open(my $o, \">\", \"/tmp/OPEN\") if readlink($_) =~ /sandbox/ } } }' &";
    let container = Running::of("rootfs: host\npid:\ncapabilities: default\n", script);
    for command in ["/tmp/evil", "/tmp/link", "/proc/self/exe"].repeat(10) {
        let output = Command::new(&program)
            .args(["exec", "-q", &container.name, command])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(matches!(output.status.code(), Some(125..=127)), "{command} {:?}", output.status);
    }
    assert_eq!(exec(&container, &[], &["test", "-e", "/tmp/OPEN"]).0, Some(1));
    assert!(fs::read(&program).unwrap() == before);
    // The control: a copy that the container may write is opened by the same loop.
    let control = "cp /usr/bin/sleep /tmp/own-sandbox; /tmp/own-sandbox 60 & exe=/proc/$!/exe; \
                   until [ $(readlink $exe) = /tmp/own-sandbox ]; do sleep 0.01; done; \
                   perl -e 'print open(my $f, \"<\", $ARGV[0]) ? \"opened\" : \"refused\"' $exe";
    assert!(exec(&container, &[], &["sh", "-c", control]).1.contains("opened"));
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
    for number in (0..64).step_by(3) {
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
        ("mkfifo /etc/passwd", 125, "regular"),
        ("ln -s /../../../../../../etc/hostname /etc/passwd", 125, "none-such"),
        ("mkdir /etc/passwd", 125, "regular"),
        ("ln -s passwd /etc/passwd", 125, "ELOOP"),
        ("truncate -s 1T /etc/passwd", 125, "bytes"),
        (
            "head -c 3000000 /dev/urandom > /etc/passwd; echo >> /etc/passwd; echo bob:x:0:0 >> /etc/passwd",
            0,
            "0",
        ),
        ("ln -s /proc/1/fd/0 /etc/passwd", 125, ""),
    ];
    for (setup, status, words) in kinds {
        let container = Running::of("rootfs: host\npid:\n", &format!("rm /etc/passwd; {setup}"));
        let (code, shown) = exec(&container, &["-u", "bob"], &["id", "-u"]);
        let is_no_user = shown.contains("no such user") || shown.contains("cannot look up");
        assert!(code == Some(status) && (is_no_user || shown.contains(words)), "{setup}: {code:?} {shown}");
        // A number needs no file.
        assert_eq!(exec(&container, &["-u", "0"], &["id", "-u"]), (Some(0), "0\n".to_owned()), "{setup}");
    }
    let names = ["1", "01", "1:1", "4294967296", "2147483648", "-1", "0x0", "1 ", "99999999999999"];
    let lines: String = names.iter().map(|name| format!("{name}:x:0:0::/:\\n")).collect();
    let map = if is_root() { "user: { map: '0:100000:1000' }\n" } else { "" };
    let container = Running::of(
        &format!("rootfs: host\n{map}pid:\n"),
        &format!("printf '{lines}evil:x:0:0::/:\\n' > /etc/passwd"),
    );
    for name in names {
        let (code, shown) = exec(&container, &["-u", name], &["id", "-u"]);
        assert!(shown != "0\n", "{name} {code:?} {shown}");
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
    let (_, shown) = exec(&container, &[], &["/tmp/trap"]);
    for line in [
        "mount refused",
        "secret ",
        "CapInh:\t0000000000000000",
        "CapAmb:\t0000000000000000",
        "CapBnd:\t00000000a80425fb",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line} {shown}");
    }
    if is_root() {
        assert!(shown.contains("Groups:\t \n") || shown.contains("Groups:\t\n"), "{shown}");
        // The control: with the caller's capabilities, and without the filter, the same trap mounts.
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
    let terminal = exec(&container, &["-t"], &["true"]);
    assert!(terminal.0 == Some(125) || terminal.0 == Some(0), "{terminal:?}");
    drop(container);
    // /proc inside is covered by FIFOs: it is never read.
    let cover = "mount -t tmpfs t /proc && mkdir -p /proc/self/fd /proc/self/ns && mkfifo /proc/self/status /proc/self/limits /proc/self/cgroup /proc/self/exe";
    let container = Running::of("rootfs: host\npid:\n", cover);
    assert_eq!(exec(&container, &[], &["echo", "ran"]), (Some(0), "ran\n".to_owned()));
    let none = sandbox(&["exec", "-q", &container.name, "test", "-p", "/proc/self/status"]).status().unwrap();
    assert_eq!(none.code(), Some(0), "the control: it is covered");
}
