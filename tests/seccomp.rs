//! Seccomp profiles from files, and what a container does behind its filter.
//!
//! Inputs of the same kind, most of them below: profiles as docker, Podman and the OCI specification have them; each action
//! and each comparison; calls of x86_64 and of i386; with and without no_new_privileges, another user, an init; root and
//! an ordinary user; files that are no profile.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::{Value, json};
use support::trace;
use support::{binary, is_root, sample, sandbox, skip, text, write_program};

/// A program that makes calls and prints the result of each: `number,argument,...`, or `i386:number,...` by the entry for
/// 32-bit programs. Each call is made in a process of its own, and the end of that process by a signal is a result too.
const PROBE: &str = r#"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static long i386(long number, long *a) {
    long result = -38;
#if defined(__x86_64__)
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a[0]), "c"(a[1]), "d"(a[2]), "S"(a[3]), "D"(a[4]) : "memory");
#endif
    return result;
}

int main(int count, char **words) {
    for (int at = 1; at < count; at++) {
        char *word = words[at];
        int old = !strncmp(word, "i386:", 5);
        unsigned long n[7] = {0};
        char *next = word + (old ? 5 : 0);
        for (int i = 0; i < 7 && next; i++) {
            n[i] = strtoul(next, &next, 0);
            next = *next == ',' ? next + 1 : 0;
        }
        fflush(stdout);
        pid_t child = fork();
        if (child == 0) {
            long result = old ? i386(n[0], (long *)n + 1) : syscall(n[0], n[1], n[2], n[3], n[4], n[5], n[6]);
            if (!old && result < 0) result = -errno;
            printf("%s = %ld\n", word, result < 0 ? result : 0);
            fflush(stdout);
            _exit(0);
        }
        int status;
        waitpid(child, &status, 0);
        if (WIFSIGNALED(status)) printf("%s = signal %d\n", word, WTERMSIG(status));
    }
}
"#;

/// A program that writes a line and exits: it makes two system calls.
const SMALL: &str = r#"
#include <sys/syscall.h>
static long call(long n, long a, const void *b, long c) {
    long r;
#if defined(__x86_64__)
    __asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
#else
    register long x8 __asm__("x8") = n; register long x0 __asm__("x0") = a;
    register const void *x1 __asm__("x1") = b; register long x2 __asm__("x2") = c;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory"); r = x0;
#endif
    return r;
}
void _start(void) { call(SYS_write, 1, "small\n", 6); call(SYS_exit_group, 0, 0, 0); __builtin_unreachable(); }
"#;

/// The two programs, in a directory that every user can read.
fn programs() -> &'static Path {
    static DIRECTORY: OnceLock<tempfile::TempDir> = OnceLock::new();
    let directory = DIRECTORY.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for (name, source, flags) in
            [("probe", PROBE, vec!["-static"]), ("small", SMALL, vec!["-static", "-nostdlib"])]
        {
            let file = directory.path().join(format!("{name}.c"));
            fs::write(&file, source).unwrap();
            let cc = Command::new("cc")
                .args(flags)
                .arg("-O1")
                .arg("-o")
                .arg(directory.path().join(name))
                .arg(&file)
                .output();
            let cc = cc.expect("cc can be executed");
            assert!(cc.status.success(), "{}", text(&cc.stderr));
        }
        directory
    });
    directory.path()
}

/// A spec beside its profile.
struct Lab(tempfile::TempDir);

impl Lab {
    fn new() -> Lab {
        Lab(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs a command in a container with a profile.
    fn run(&self, profile: &Value, more: &str, flags: &[&str], command: &[&str]) -> Output {
        fs::write(self.path("profile.json"), profile.to_string()).unwrap();
        fs::write(self.path("spec.yaml"), format!("seccomp: ./profile.json\n{more}")).unwrap();
        let spec = self.path("spec.yaml");
        let words = [&["run", spec.to_str().unwrap()], flags, &["--"], command].concat();
        sandbox(&words).output().unwrap()
    }
}

fn small() -> String {
    programs().join("small").to_str().unwrap().to_owned()
}

/// The specs that end in the two ways, and with other users.
fn endings() -> Vec<&'static str> {
    let mut all = vec![
        "no_new_privileges: true\n",
        "capabilities: default\n",
        "pid: { init: true }\ncapabilities: default\n",
    ];
    if is_root() {
        all.extend(["run_as: 1000\n", "run_as: 1000\ncapabilities: default\nno_new_privileges: true\n"]);
        all.push("run_as: 1000\npid: { init: true }\nuser: { map: auto }\n");
    }
    all
}

#[test]
fn each_action_and_each_comparison_has_its_result() {
    let lab = Lab::new();
    let (getpid, kill) = (libc::SYS_getpgid, libc::SYS_kill);
    let rule =
        |name: &str, action: &str, args: Value| json!({ "names": [name], "action": action, "args": args });
    let is =
        |op: &str, value: u64, two: u64| json!([{ "index": 1, "value": value, "valueTwo": two, "op": op }]);
    let mut profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": [
            { "name": "getsid", "action": "SCMP_ACT_ERRNO" },
            { "names": ["getpriority", "no_such_call"], "action": "SCMP_ACT_ERRNO", "errnoRet": 71, "comment": "EPROTO" },
            { "names": ["sched_yield"], "action": "SCMP_ACT_KILL_PROCESS" },
            { "names": ["sync"], "action": "SCMP_ACT_TRAP" },
            { "names": ["getpgrp", "umask"], "action": "SCMP_ACT_TRACE" },
            { "names": ["alarm", "times"], "action": "SCMP_ACT_LOG" },
            { "names": ["getcwd"], "action": "SCMP_ACT_KILL", "excludes": { "caps": ["CAP_CHOWN"] } },
            { "names": ["chroot"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5, "includes": { "minKernel": "3.0", "arches": ["amd64", "arm64"] } },
            { "names": ["chroot"], "action": "SCMP_ACT_KILL", "includes": { "minKernel": "900.0" } },
        ]
    });
    let wide = 0x1_0000_0005_u64;
    let file = programs().join("probe");
    let probe = file.to_str().unwrap();
    // kill(2) of a process that does not exist fails with ESRCH; the wide signal number with EINVAL.
    for (op, value, two, met, unmet) in [
        ("SCMP_CMP_EQ", wide, 0, wide, 5),
        ("SCMP_CMP_NE", 0, 0, wide, 0),
        ("SCMP_CMP_GT", wide, 0, wide + 1, wide),
        ("SCMP_CMP_GE", wide, 0, wide, wide - 1),
        ("SCMP_CMP_LT", wide, 0, wide - 1, wide),
        ("SCMP_CMP_LE", wide, 0, wide, wide + 1),
        ("SCMP_CMP_MASKED_EQ", 0xff, 5, wide, 6),
    ] {
        profile["syscalls"].as_array_mut().unwrap().truncate(9);
        profile["syscalls"].as_array_mut().unwrap().push(rule("kill", "SCMP_ACT_ERRNO", is(op, value, two)));
        let words =
            [format!("{kill},0x7ffffff0,{met}"), format!("{kill},0x7ffffff0,{unmet}"), format!("{getpid},0")];
        let command = [&[probe][..], &words.each_ref().map(String::as_str)].concat();
        let output = lab.run(&profile, "", &["-q"], &command);
        let shown = text(&output.stdout);
        let results: Vec<&str> = shown.lines().filter_map(|line| line.split(" = ").nth(1)).collect();
        assert!(
            results.len() == 3 && results[0] == "-1" && results[1] != "-1" && results[2] == "0",
            "{op}: {shown}{}",
            text(&output.stderr)
        );
    }
    let cases = [
        (libc::SYS_getsid, "-1"),
        (libc::SYS_getpriority, "-71"),
        (libc::SYS_sched_yield, "signal 31"),
        (libc::SYS_sync, "signal 31"),
        (libc::SYS_umask, "-38"),
        (libc::SYS_times, "0"),
        (libc::SYS_chroot, "-5"),
    ];
    let words: Vec<String> = cases.iter().map(|(number, _)| format!("{number},0")).collect();
    let expected: String = cases.iter().map(|(number, result)| format!("{number},0 = {result}\n")).collect();
    for ending in sample(2, endings()) {
        let command: Vec<&str> = [probe].into_iter().chain(words.iter().map(String::as_str)).collect();
        let output = lab.run(&profile, ending, &["-q"], &command);
        assert_eq!(text(&output.stdout), expected, "{ending}: {}", text(&output.stderr));
    }
    // The capability is in the bounding set, or not.
    let number = libc::SYS_getcwd.to_string();
    for (keep, result) in [("chown", "-22"), ("kill", "signal 31")] {
        let more = format!("capabilities: {{ keep: [{keep}] }}\n");
        let output = lab.run(&profile, &more, &["-q"], &[probe, &format!("{number},0,0")]);
        let shown = text(&output.stdout);
        let is_met = if result == "-22" {
            !shown.contains("signal") && !shown.is_empty()
        } else {
            shown.contains(result)
        };
        assert!(is_met, "{keep}: {shown}{}", text(&output.stderr));
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn a_call_of_i386_has_the_rule_of_its_name_or_kills() {
    let lab = Lab::new();
    let profile = |architectures: Value| {
        let rule = json!({ "names": ["getsid", "socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 71 });
        let map = json!([{ "architecture": "SCMP_ARCH_X86_64", "subArchitectures": architectures }]);
        json!({ "defaultAction": "SCMP_ACT_ALLOW", "archMap": map, "syscalls": [rule] })
    };
    // getsid, getpid, socket and socketcall(SYS_SOCKET), socketcall(SYS_BIND) of i386.
    let words = ["i386:147", "i386:20", "i386:359", "i386:102,1", "i386:102,2"];
    let probe = programs().join("probe");
    let command = [&[probe.to_str().unwrap()][..], &words].concat();
    let results = |profile: &Value| {
        let output = lab.run(profile, "no_new_privileges: true\n", &["-q"], &command);
        let shown = text(&output.stdout);
        shown.lines().filter_map(|line| Some(line.split(" = ").nth(1)?.to_owned())).collect::<Vec<_>>()
    };
    let listed = results(&profile(json!(["SCMP_ARCH_X86", "SCMP_ARCH_X32"])));
    if listed.first().is_some_and(|first| first == "signal 11") {
        return skip(
            "a_call_of_i386_has_the_rule_of_its_name_or_kills",
            "machine: this kernel has no calls of i386",
        );
    }
    assert_eq!(listed[..4], ["-71", "0", "-71", "-71"], "{listed:?}");
    assert_ne!(listed[4], "-71");
    assert_eq!(results(&profile(json!([]))), ["signal 31"; 5]);
    // x32 without its architecture: getpid.
    let output = lab.run(&profile(json!([])), "", &["-q"], &[probe.to_str().unwrap(), "0x40000027"]);
    assert!(text(&output.stdout).contains("signal 31"), "{}", text(&output.stdout));
}

/// A profile that allows only what a small static program needs, and execve.
fn least() -> Value {
    let rule = json!({ "names": ["execve", "write", "exit_group"], "action": "SCMP_ACT_ALLOW" });
    json!({ "defaultAction": "SCMP_ACT_KILL_PROCESS", "syscalls": [rule] })
}

#[test]
fn behind_the_filter_there_is_only_execve() {
    let lab = Lab::new();
    for ending in sample(2, endings()) {
        let output = lab.run(&least(), ending, &["-q"], &[&small()]);
        assert_eq!(text(&output.stdout), "small\n", "{ending}: {}", text(&output.stderr));
        let explained = lab.run(&least(), ending, &["--explain"], &[&small()]);
        let told = text(&explained.stderr);
        assert_eq!(text(&explained.stdout), "small\n", "{ending}: {told}");
        let (filter, execve) = (told.rfind("seccomp(SECCOMP"), told.rfind("execve("));
        assert!(filter.is_some() && filter < execve, "{told}");
    }
    if !Path::new("/usr/bin/strace").exists() {
        return skip("behind_the_filter_there_is_only_execve", "strace(1) isn't installed");
    }
    for ending in sample(2, endings()) {
        lab.run(&least(), ending, &["--dry-run"], &[&small()]);
        let file = lab.path("trace");
        let spec = lab.path("spec.yaml");
        let mut strace = Command::new("strace");
        strace
            .args(["-f", "-o"])
            .arg(&file)
            .arg(binary())
            .args(["run", "-q"])
            .arg(spec)
            .args(["--", &small()]);
        let output = strace.current_dir("/").output().unwrap();
        assert_eq!(text(&output.stdout), "small\n", "{ending}: {}", text(&output.stderr));
        let trace = fs::read_to_string(&file).unwrap();
        let calls: Vec<_> = trace::calls(&trace).collect_names();
        let (pid, _) = calls.iter().rev().find(|(_, name)| name == "execve").unwrap();
        let own: Vec<&str> =
            calls.iter().filter(|(of, _)| of == pid).map(|(_, name)| name.as_str()).collect();
        let filter = own.iter().rposition(|name| *name == "seccomp").unwrap();
        assert_eq!(own[filter..], ["seccomp", "execve", "write", "exit_group"], "{ending}");
    }
}

/// The names of calls, each with its process.
trait CallNames {
    fn collect_names(self) -> Vec<(String, String)>;
}

impl CallNames for Vec<trace::Traced> {
    fn collect_names(self) -> Vec<(String, String)> {
        let name = |call: &str| call.split('(').next().unwrap_or_default().to_owned();
        self.into_iter().map(|traced| (traced.pid, name(&traced.call))).collect()
    }
}

#[test]
fn a_filter_that_denies_execve_is_refused_before_anything_is_made() {
    let lab = Lab::new();
    let denied = |action: &str| json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "names": ["execve"], "action": action }] });
    let on_pointer = json!({ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
        { "names": ["execve"], "action": "SCMP_ACT_ALLOW", "args": [{ "index": 0, "value": 5, "op": "SCMP_CMP_EQ" }] }
    ] });
    let nothing = json!({ "defaultAction": "SCMP_ACT_KILL", "syscalls": [] });
    let cases = [
        (denied("SCMP_ACT_ERRNO"), "SCMP_ACT_ERRNO, EPERM"),
        (denied("SCMP_ACT_TRAP"), "SCMP_ACT_TRAP"),
        (denied("SCMP_ACT_TRACE"), "SCMP_ACT_TRACE"),
        (denied("SCMP_ACT_KILL_PROCESS"), "SCMP_ACT_KILL_PROCESS"),
        (on_pointer, "SCMP_ACT_ERRNO"),
        (nothing, "SCMP_ACT_KILL_THREAD"),
    ];
    for (profile, action) in &cases {
        let output = lab.run(profile, "no_new_privileges: true\n", &[], &["true"]);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(125), "{error}");
        assert!(
            error.contains("denies execve") && error.contains(action) && error.contains("spec.yaml:1:1"),
            "{error}"
        );
    }
    for ending in sample(2, endings()) {
        let output = lab.run(&cases[0].0, ending, &[], &["true"]);
        assert!(
            output.status.code() == Some(125) && text(&output.stderr).contains("denies execve"),
            "{ending}"
        );
        // The plan shows it too.
        let plan = lab.run(&cases[0].0, ending, &["--dry-run"], &["true"]);
        assert!(plan.status.success() && text(&plan.stdout).contains("denies execve"), "{ending}");
    }
}

/// execve(2) fails behind the filter: its interpreter does not exist, or is no program.
#[test]
fn a_failure_of_execve_is_known_whatever_the_filter_denies() {
    let lab = Lab::new();
    let script = lab.path("script");
    let allow = |names: &[&str], default: &str| json!({ "defaultAction": default, "syscalls": [{ "names": names, "action": "SCMP_ACT_ALLOW" }] });
    for (first, status, message) in [("#!/no/such/interpreter\n", 127, "ENOENT"), ("#!/etc\n", 126, "EACCES")]
    {
        write_program(&script, first);
        for profile in [
            allow(&["execve", "sendmsg", "exit_group"], "SCMP_ACT_KILL_PROCESS"),
            allow(&["execve", "exit_group"], "SCMP_ACT_KILL_PROCESS"),
            allow(&["execve"], "SCMP_ACT_ERRNO"),
            allow(&["execve"], "SCMP_ACT_KILL_PROCESS"),
        ] {
            for ending in sample(3, endings()) {
                let output = lab.run(&profile, ending, &[], &[script.to_str().unwrap()]);
                let error = text(&output.stderr);
                assert_eq!(output.status.code(), Some(status), "{profile} {ending} {error}");
                assert!(error.contains(message) && error.contains("execve("), "{profile} {ending} {error}");
            }
        }
    }
}

/// The view is read before the filter is installed, and init has a filter of its own.
#[test]
fn the_view_and_init_show_the_filter() {
    let lab = Lab::new();
    let allow = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        { "names": ["kill", "wait4", "nonsense", "nonsense2"], "action": "SCMP_ACT_ERRNO" }
    ] });
    for ending in sample(2, endings()) {
        let output = lab.run(&allow, ending, &["--show-proc", "--format", "json"], &["sleep", "1"]);
        let view: Value =
            serde_json::from_slice(&output.stderr).unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
        let rows = view["paths"].as_array().unwrap();
        let inside = |field: &str| {
            let row = rows.iter().find(|row| row["path"] == "/proc/self/status" && row["field"] == field);
            row.unwrap()["inside"].to_string()
        };
        assert!(inside("Seccomp:").contains('2'), "{ending}: {}", inside("Seccomp:"));
        if ending.contains("capabilities") {
            let sets = inside("CapEff:");
            let set = sets.split('"').find_map(|part| u64::from_str_radix(part, 16).ok()).unwrap();
            assert_eq!(set & 1 << 21, 0, "{ending}: CAP_SYS_ADMIN {sets}");
        }
        let output = lab.run(&allow, ending, &["--explain"], &["true"]);
        let told = text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(told.contains("unknown names of system calls, which are ignored: 2"), "{told}");
    }
    let ending = "pid: { init: true }\ncapabilities: default\n";
    let output = lab.run(
        &allow,
        ending,
        &["-q"],
        &["grep", "-hE", "^(Seccomp|CapEff|CapPrm):", "/proc/1/status", "/proc/self/status"],
    );
    let shown = text(&output.stdout).split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ");
    let both = "CapPrm: 00000000a80425fb CapEff: 00000000a80425fb Seccomp: 2";
    assert_eq!(shown, format!("{both} {both}"), "{}", text(&output.stderr));
}
