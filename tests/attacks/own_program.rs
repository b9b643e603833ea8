//! R1: the program file of `sandbox` itself. R12: the processes and sockets of `sandbox`.

use std::fs;
use std::io::Read;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::support::{
    WITHOUT_MM_MAP, binary, child_named, feed, install, is_root, sandbox, text, write_program,
};
use crate::{directory, has_usr_alone, of, perl, root, run, run_by};

/// Opens the program file of a process (by default its parent) and changes its mode. When no process runs the program
/// any more, it writes to the file.
const OVERWRITE: &str = r#"
    $| = 1;
    my $tool = shift // getppid;
    open(my $file, "<", "/proc/$tool/exe") or print "open: $!\n" and exit;
    print "chmod: ", (chmod(0777, $file) ? "done" : $!), "\n";
    print "seals: ", fcntl($file, 1034, 0) || "none", "\n"; # F_GET_SEALS
    # What is left running is killed, so the child gets a moment.
    if (fork) { select undef, undef, undef, 0.3; exit }
    use Fcntl; use Errno;
    for (1 .. 200) {
        my $again;
        if (sysopen $again, "/proc/self/fd/" . fileno($file), O_WRONLY | O_APPEND) {
            print "write: ", (syswrite($again, "x") ? "done" : $!), "\n";
            exit;
        }
        last unless $!{ETXTBSY};
        select undef, undef, undef, 0.05;
    }
    print "write: $!\n";
"#;

/// Runs a command as on a kernel without PR_SET_MM_MAP.
fn without_mm_map(program: &Path) -> Command {
    let mut command = Command::new("perl");
    command.args(["-e", WITHOUT_MM_MAP]).arg(program).current_dir("/").env("LC_ALL", "C");
    command
}

/// Makes a command in the root that is `sandbox` itself: a script whose interpreter is a link, which the kernel
/// resolves in the process that executes the script. That `sandbox` reads the script as a spec. The program that it
/// starts is its child, and tries to change its parent's program file.
fn install_attack(root: &Path) {
    fs::write(root.join("script"), OVERWRITE).unwrap();
    let image = root.join("evil");
    write_program(&image, "#!/proc/self/exe run\nuts:\ncommand: [/usr/bin/perl, /script]\n");
}

fn state(program: &Path) -> (u32, u64) {
    let data = fs::metadata(program).unwrap();
    (data.permissions().mode() & 0o7777, data.len())
}

#[test]
fn the_program_is_neither_changed_nor_written_by_what_it_runs() {
    if !has_usr_alone("the_program_is_neither_changed_nor_written_by_what_it_runs") {
        return;
    }
    let (directory, root) = (directory(), root());
    let program = install("755", &binary(), &directory.path().join("sandbox"));
    let before = state(&program);
    install_attack(root.path());
    let is_refused = |output: Output| {
        let shown = text(&output.stdout) + &text(&output.stderr);
        assert_eq!(output.status.code(), Some(126), "{shown}");
        // The link led to a file in memory that is empty.
        assert!(shown.contains("ENOEXEC"), "it came so far: {shown}");
        assert_eq!(state(&program), before);
    };
    let specs = ["", "pid:\n", "init: true\n", "time: { boottime: 1h }\n", "user: { map: root }\n"];
    for more in specs {
        is_refused(run_by(&program, &of(root.path(), "", more), &["/evil"]));
    }
    let spec = directory.path().join("spec.yaml");
    fs::write(&spec, of(root.path(), "", "pid:\n")).unwrap();
    let words = ["run", spec.to_str().unwrap(), "-q", "--", "sleep", "60"];
    let mut container = Command::new(&program).args(words).spawn().unwrap();
    let inside = child_named(container.id(), "sleep").to_string();
    is_refused(Command::new(&program).args(["enter", &inside, "-q", "--", "/evil"]).output().unwrap());
    container.kill().unwrap();
    container.wait().unwrap();
    // A single feature is not a container. A process next to its `sandbox` can open that process and its program file.
    let mut tool = Command::new(&program).args(["uts", "-q", "--", "sleep", "60"]).spawn().unwrap();
    child_named(tool.id(), "sleep");
    let mut attack = Command::new("perl");
    attack.args(["-e", OVERWRITE, &tool.id().to_string()]).stdout(Stdio::piped());
    let mut attack = attack.spawn().unwrap();
    let opened = "chmod: done\nseals: none\n";
    let mut shown = vec![0; opened.len()];
    attack.stdout.as_mut().unwrap().read_exact(&mut shown).unwrap();
    assert_eq!(text(&shown), opened);
    tool.kill().unwrap();
    tool.wait().unwrap();
    assert_eq!(text(&attack.wait_with_output().unwrap().stdout), "write: done\n");
    assert_eq!(state(&program), (0o777, before.1 + 1));
}

#[test]
fn without_mm_map_the_program_that_can_be_reached_is_a_sealed_copy() {
    if !has_usr_alone("without_mm_map_the_program_that_can_be_reached_is_a_sealed_copy") {
        return;
    }
    let (directory, root) = (directory(), root());
    let program = install("755", &binary(), &directory.path().join("sandbox"));
    let before = state(&program);
    install_attack(root.path());
    let is_refused = |output: Output| {
        let shown = text(&output.stdout) + &text(&output.stderr);
        // The attack started and found a file that it could open: the copy.
        assert!(shown.contains("chmod: done") && !shown.contains("write: done"), "{shown}");
        let seals = shown.lines().find_map(|line| line.strip_prefix("seals: ")?.parse::<i32>().ok());
        assert!(seals.is_some_and(|seals| seals & libc::F_SEAL_WRITE != 0), "{shown}");
        assert_eq!(state(&program), before);
    };
    // The attack is killed when its `sandbox` ends, before it can write. The seals would refuse that too.
    for more in ["", "pid:\n", "init: true\n", "time: { boottime: 1h }\n", "user: { map: root }\n"] {
        let spec = of(root.path(), "", more);
        is_refused(feed(without_mm_map(&program).args(["run", "-", "-q", "--", "/evil"]), &spec));
    }
    let spec = directory.path().join("spec.yaml");
    fs::write(&spec, of(root.path(), "", "pid:\n")).unwrap();
    let spec = spec.to_str().unwrap();
    let plan =
        text(&without_mm_map(&program).args(["run", spec, "--dry-run", "--", "sh"]).output().unwrap().stdout);
    assert!(plan.contains("execveat(<sealed memfd>") && !plan.contains("PR_SET_MM,"), "{plan}");
    let mut container =
        without_mm_map(&program).args(["run", spec, "-q", "--", "sleep", "60"]).spawn().unwrap();
    let inside = child_named(container.id(), "sleep").to_string();
    is_refused(without_mm_map(&program).args(["enter", &inside, "-q", "--", "/evil"]).output().unwrap());
    // `sandbox` adds no variable to the environment of the command.
    let output = without_mm_map(&program).args(["enter", &inside, "-q", "--", "env"]).output().unwrap();
    let variables = text(&output.stdout);
    assert!(
        output.status.success() && !variables.contains("SANDBOX_SEALED"),
        "{variables}{}",
        text(&output.stderr)
    );
    container.kill().unwrap();
    container.wait().unwrap();
}

/// If the owner of the program file has no ID in the container, the container may reach the file: no process there has
/// the owner's rights.
#[test]
fn an_owner_who_is_not_mapped_is_nobody_in_the_container() {
    let test = "an_owner_who_is_not_mapped_is_nobody_in_the_container";
    if !is_root() || !has_usr_alone(test) {
        return;
    }
    let (directory, root) = (directory(), root());
    let program = install("755", &binary(), &directory.path().join("sandbox"));
    let before = state(&program);
    install_attack(root.path());
    let run = |words: &[&str], map| {
        let spec = of(root.path(), "", &format!("user: {{ map: {map} }}\n"));
        feed(Command::new(&program).args(words).current_dir("/").env("LC_ALL", "C"), &spec)
    };
    for (map, is_left) in [
        ("auto", false),
        ("[{ inside: 0, outside: 100000, count: 10 }]", false),
        ("root", true),
        ("none", true),
        ("[{ inside: 1, outside: 100000, count: 10 }]", true),
    ] {
        let plan = text(&run(&["run", "-", "--dry-run", "--", "sh"], map).stdout);
        assert_eq!(plan.contains("PR_SET_MM,"), is_left, "{map}: {plan}");
    }
    let output = run(&["run", "-", "-q", "--", "/evil"], "auto");
    let shown = text(&output.stdout) + &text(&output.stderr);
    assert!(
        shown.contains("chmod: Operation not permitted\nseals: none\nwrite: Permission denied\n"),
        "{shown}"
    );
    assert_eq!(state(&program), before);
    // A world-writable file can be changed by other users than its owner.
    install("777", &binary(), &program);
    let plan = text(&run(&["run", "-", "--dry-run", "--", "sh"], "auto").stdout);
    assert!(plan.contains("PR_SET_MM,"), "{plan}");
}

/// With `init: true`, process 1 is `sandbox`, for as long as the container runs.
#[test]
fn process_1_is_bound_as_its_command_is_and_shut() {
    let look = r#"
        print readlink("/proc/1/exe") ? "link\n" : "link: $!\n";
        print readlink("/proc/1/cwd") ? "cwd\n" : "cwd: $!\n";
        print open(my $memory, "+<", "/proc/1/mem") ? "mem\n" : "mem: $!\n";
        print syscall(101, 0x4206, 1, 0, 0) == 0 ? "seize\n" : "seize: $!\n";
        for my $process (1, $$) {
            open my $status, "<", "/proc/$process/status";
            print "process ", grep /^(Uid|Gid|Groups|Cap|NoNew|Seccomp:)/, <$status>;
        }
    "#;
    let hardened = "pid: { init: true }\nrootfs: host\ncapabilities: default\nseccomp: default\n";
    let other = if is_root() { "run_as: 1000:100\n" } else { "run_as: 0\n" };
    for more in ["", "no_new_privileges: true\n", other] {
        let shown = perl(&format!("{hardened}{more}"), look);
        let (calls, statuses) = shown.split_once("process Uid").unwrap_or_else(|| panic!("{shown}"));
        assert_eq!(calls.matches(": Permission denied").count(), 3, "{shown}");
        assert!(calls.contains("seize: Operation not permitted"), "{shown}");
        let (first, own) = statuses.split_once("process Uid").unwrap_or_else(|| panic!("{shown}"));
        assert_eq!(first, own, "{more}");
        assert!(first.contains("Seccomp:\t2"), "{shown}");
    }
    // As a single feature, the init is not a protection. The command may open it.
    let output = sandbox(&["pid", "--init", "-q", "--", "perl", "-e", look]).output().unwrap();
    let shown = text(&output.stdout);
    assert!(shown.starts_with("link\ncwd\nmem\nseize\n"), "{shown}{}", text(&output.stderr));
}

/// The root user of a container waits for a process that enters, and tries to open it before it executes the command.
#[test]
fn who_enters_can_not_be_looked_into() {
    let scan = r#"
        $| = 1; my (%seen, $end); print "ready\n"; $SIG{USR1} = sub { $end = 1 };
        until ($end) {
            for (glob "/proc/[0-9]*") {
                my $program = readlink "$_/exe"; $seen{$program} = 1 if defined $program;
                for (glob "$_/fd/*") { my $file = readlink $_; $seen{$file} = 1 if defined $file }
            }
        }
        print "$_\n" for sort keys %seen;
    "#;
    let directory = directory();
    let spec = directory.path().join("spec.yaml");
    // Root has all rights over processes that started in the container, but not over a process that entered it.
    fs::write(&spec, "user: { map: root }\npid:\nrootfs: host\n").unwrap();
    let words = ["run", spec.to_str().unwrap(), "-q", "--", "perl", "-e", scan];
    let container = sandbox(&words).stdout(Stdio::piped()).spawn().unwrap();
    let inside = child_named(container.id(), "perl").to_string();
    let mut entered = 0;
    for _ in 0..25 {
        let words = ["enter", &inside, "-q", "--", "sh", "-c", "sleep 0.03"];
        entered += usize::from(sandbox(&words).status().unwrap().success());
    }
    let target = nix::unistd::Pid::from_raw(inside.parse().unwrap());
    nix::sys::signal::kill(target, nix::sys::signal::Signal::SIGUSR1).unwrap();
    let output = container.wait_with_output().unwrap();
    let shown = text(&output.stdout);
    assert_eq!(entered, 25);
    // The scan sees the program that was executed in the container. So it is fast enough.
    assert!(shown.lines().any(|line| line.ends_with("/sleep")), "{shown}");
    assert!(!shown.contains("sandbox") && !shown.contains("memfd:"), "{shown}");
}

/// An ordinary user cannot open the links in /proc of process 1. So the container's name stands for its command.
#[test]
fn a_container_with_an_init_is_entered_and_verified_by_its_name() {
    let directory = directory();
    let (spec, name) = (directory.path().join("spec.yaml"), format!("test-{}", std::process::id()));
    let words =
        format!("name: {name}\nrootfs: host\ninit: true\ncapabilities: default\ncommand: [sleep, '60']\n");
    fs::write(&spec, words).unwrap();
    let spec = spec.to_str().unwrap();
    let mut container = sandbox(&["run", spec, "-q"]).spawn().unwrap();
    child_named(child_named(container.id(), "sandbox"), "sleep");
    let verified = sandbox(&["verify", &name, spec]).output().unwrap();
    let entered = sandbox(&["enter", &name, "-q", "--", "cat", "/proc/1/comm"]).output().unwrap();
    container.kill().unwrap();
    container.wait().unwrap();
    assert!(verified.status.success(), "{}", text(&verified.stderr));
    assert_eq!(text(&entered.stdout), "sandbox\n", "{}", text(&entered.stderr));
}

#[test]
fn no_socket_of_ours_has_a_name() {
    let own = format!("sandbox-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&own).unwrap();
    let _listener = UnixListener::bind_addr(&address).unwrap();
    let output = run("rootfs: host\npid:\n", &["cat", "/proc/net/unix"]);
    let shown = text(&output.stdout);
    let of_ours: Vec<&str> = shown.lines().filter(|line| line.contains("sandbox")).collect();
    // A socket with an abstract name is visible whatever the root is, and could be connected to. This one is the
    // test's own.
    assert!(of_ours.iter().any(|line| line.ends_with(&format!("@{own}"))), "{shown}");
    assert!(of_ours.iter().all(|line| line.contains("sandbox-test-")), "{of_ours:?}");
}
