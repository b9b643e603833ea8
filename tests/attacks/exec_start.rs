//! R12: a container that looks at each process while it starts in its namespaces, by `exec` and by joins of `run`.

use std::fs;
use std::process::{Child, Command, Stdio};

use crate::support::running::Running;
use crate::support::{alone, binary, is_root, skip, text, wait_until};

/// The root user of a user namespace looks at each process that is `sandbox` still. PTRACE_SEIZE stops nothing. What was
/// read counts only if the process has not executed its command meanwhile: that one may be traced. A traced process must be
/// waited for, or its own parent does not learn of its end.
const LOOK: &str = r#"cat > /tmp/look <<'END'
    $| = 1;
    sub name { open(my $n, "<", "$_[0]/comm") or return ""; <$n> // "" }
    while (1) {
        # WNOHANG, __WALL, PTRACE_DETACH
        while ((my $stopped = waitpid(-1, 1 | 0x40000000)) > 0) { syscall(101, 17, $stopped, 0, 0) }
        for my $p (glob "/proc/[0-9]*") {
            next unless name($p) eq "sandbox\n";
            my @hits;
            for my $link ("exe", "cwd", "root", "ns/net", map { "fd/$_" } 0 .. 20) {
                my $l = readlink("$p/$link"); push @hits, "$link $l" if defined $l;
            }
            push @hits, "fds" if opendir(my $d, "$p/fd");
            for my $file ("environ", "mem", "maps", "auxv", "syscall") { open(my $e, "<", "$p/$file") or next; push @hits, $file if $file eq "mem" or sysread($e, my $b, 1); }
            push @hits, "traced" if syscall(101, 0x4206, substr($p, 6) + 0, 0, 0) == 0;
            next unless name($p) eq "sandbox\n";
            print "$_\n" for @hits, "met";
        }
    }
END
    perl /tmp/look >> /tmp/seen 2>&1 &"#;

/// fs.suid_dumpable is 1 as long as this lives: then a change of IDs makes a process traceable. A shell sets it back, also
/// when the tests are killed.
struct SuidDumpable(Child);

impl SuidDumpable {
    fn set() -> SuidDumpable {
        let file = "/proc/sys/fs/suid_dumpable";
        let script = format!("old=$(cat {file}); echo 1 > {file}; read -r end; echo $old > {file}");
        let shell = Command::new("sh")
            .args(["-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let set = SuidDumpable(shell.unwrap());
        wait_until("fs.suid_dumpable is 1", || fs::read_to_string(file).unwrap() == "1\n");
        set
    }
}

impl Drop for SuidDumpable {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// `sandbox` with these words. It ends by itself.
fn started(words: &[&str]) -> (Option<i32>, String) {
    let program = binary();
    let output = Command::new("timeout")
        .args(["20", program.to_str().unwrap()])
        .args(words)
        .env("SECRET", "hush")
        .current_dir("/")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

#[test]
fn nobody_inside_looks_into_a_start() {
    let _alone = alone();
    if cfg!(not(target_arch = "x86_64")) {
        return skip(
            "nobody_inside_looks_into_a_start",
            "machine: the numbers of the calls are those of x86-64",
        );
    }
    let _dumpable = is_root().then(SuidDumpable::set);
    let map = if is_root() { "user: { map: '0:100000:1000' }\n" } else { "" };
    let spec = format!("rootfs: host\n{map}pid:\nnet:\n");
    let container = Running::of(&spec, LOOK);
    let seen = || {
        let (code, shown) = started(&["exec", "-q", &container.name, "sort", "-u", "/tmp/seen"]);
        assert_eq!(code, Some(0), "{shown}");
        shown
    };
    let target = format!("container:{}", container.name);
    let joining = container.directory.path().join("joining.yaml");
    fs::write(&joining, "rootfs: host\ncapabilities: default\ncommand: ['true']\n").unwrap();
    let joining = joining.to_str().unwrap();
    let run = ["run", "-q", "--pid", &target, "--userns", &target, "--network", &target, joining];
    let ways: [&[&str]; 3] = [
        &["exec", "-q", &container.name, "true"],
        &["exec", "-q", "-t", "-u", "0", "-e", "SECRET", &container.name, "true"],
        &run,
    ];
    for words in ways {
        assert_eq!(
            started(&["exec", "-q", &container.name, "sh", "-c", "cp /dev/null /tmp/seen"]).0,
            Some(0)
        );
        // The loop must have met some of the processes.
        let mut met = String::new();
        for round in 1.. {
            let (code, shown) = started(words);
            assert_eq!(code, Some(0), "{words:?} {shown}");
            met = if round % 10 == 0 { seen() } else { met };
            if round >= 10 && met.contains("met\n") {
                break;
            }
            assert!(round < 300, "{words:?}: none was met");
        }
        assert_eq!(met, "met\n", "{words:?}");
    }
    // The control: the same loop looks into a process of its own with this name, and traces it.
    let control = "cp /usr/bin/sleep /tmp/sandbox; SECRET=hush /tmp/sandbox 60 & \
                   until grep -q traced /tmp/seen; do sleep 0.01; done; kill $!; sort -u /tmp/seen";
    let (_, shown) = started(&["exec", "-q", &container.name, "sh", "-c", control]);
    for hit in ["exe /tmp/sandbox", "cwd /", "fd/0 ", "environ", "mem", "maps", "traced"] {
        assert!(shown.lines().any(|line| line.starts_with(hit)), "{hit}: {shown}");
    }
}

/// Root of a container that has CAP_SYS_PTRACE can look into each process in it, also into one that is undumpable. So the
/// process that joins has given up the caller's files before.
#[test]
fn a_process_that_joins_has_none_of_the_callers_files() {
    let _alone = alone();
    if !is_root() || cfg!(not(target_arch = "x86_64")) {
        return skip(
            "a_process_that_joins_has_none_of_the_callers_files",
            "machine: it needs root on x86-64",
        );
    }
    // Without a user namespace, and with all capabilities.
    let container = Running::of("rootfs: host\npid:\n", LOOK);
    let files = tempfile::tempdir().unwrap();
    let [input, output] = ["callers-input", "callers-output"].map(|name| files.path().join(name));
    fs::write(&input, "secret").unwrap();
    let looks = |words: &str| started(&["exec", "-q", &container.name, "sh", "-c", words]).1;
    for round in 1.. {
        let mut command = Command::new(binary());
        command.args(["exec", "-q", "-i", &container.name, "true"]);
        command.stdin(fs::File::open(&input).unwrap()).stdout(fs::File::create(&output).unwrap());
        assert!(command.status().unwrap().success());
        if round % 10 == 0 && looks("cat /tmp/seen").contains("fd/0 /dev/null") {
            break;
        }
        assert!(round < 300, "none was met: {}", looks("sort -u /tmp/seen"));
    }
    let seen = looks("sort -u /tmp/seen");
    assert!(!seen.contains("callers-"), "{seen}");
    // The control: it sees the files of another process.
    let control = "cp /usr/bin/sleep /tmp/sandbox; /tmp/sandbox 60 > /tmp/callers-output & \
                   until grep -q callers- /tmp/seen; do sleep 0.01; done; kill $!; sort -u /tmp/seen";
    assert!(looks(control).contains("fd/1 /tmp/callers-output"));
}
