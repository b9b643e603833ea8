//! Names in the kernel are bytes. One that is not UTF-8 stops nothing, is passed on as it is, and is escaped when it is
//! printed.
//!
//! Inputs of the same kind, all tried here with the byte 0xff, which is in no UTF-8 text, and with control characters:
//!
//! - what the kernel lists: mount points and sources, process names (also cut inside a character), cgroup directories,
//!   network devices, the host name, working directories, deleted programs, /etc/resolv.conf, /etc/passwd
//! - what the user gives: arguments, programs, mount points, bind sources, roots, device rules, the disks of throttles,
//!   values that are text (names, sizes, ports: the error names the one that is not), spec files and their directories,
//!   paths in PATH, the working directory, the environment, argv[0], the file of `sandbox` itself, `mnt.mounts` of a spec
//!   in such a directory
//! - what is printed: views, plans, errors, lines to paste, JSON, YAML

mod support;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use support::{alone, binary, install, is_root, sandbox, skip, text};

/// A name that is not UTF-8.
fn odd(name: &str) -> OsString {
    OsString::from_vec([name.as_bytes(), b"\xff"].concat())
}

/// A directory with a subdirectory of such a name.
fn odd_directory() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let inner = directory.path().join(odd("w"));
    fs::create_dir(&inner).unwrap();
    (directory, inner)
}

/// `sandbox` with these arguments.
fn with(words: &[&str], more: &[&OsStr]) -> Command {
    let mut command = sandbox(words);
    command.args(more);
    command
}

/// Standard output of a command that must succeed, and print no control characters to standard error.
fn output(command: &mut Command) -> Vec<u8> {
    let output = command.output().expect("it can be executed");
    assert!(output.status.success(), "{command:?}: {:?}\n{}", output.status, text(&output.stderr));
    is_printable(&output.stderr);
    output.stdout
}

/// Nothing but text, newlines and tabs.
fn is_printable(bytes: &[u8]) {
    let printed = std::str::from_utf8(bytes).unwrap_or_else(|error| panic!("{error}: {}", text(bytes)));
    let is_bad = |character: char| character.is_control() && !"\n\t".contains(character);
    assert!(!printed.contains(is_bad), "{printed:?}");
}

/// A shell in new user and mount namespaces, or in a new mount namespace as root.
fn in_own_mounts(script: &str, arguments: &[&OsStr]) -> Option<Output> {
    let mut command = Command::new("unshare");
    command.args(if is_root() { &["-m"][..] } else { &["-rm"] });
    command.args(["--propagation", "private", "sh", "-c", script]).arg(binary()).args(arguments);
    let output = command.env("COLUMNS", "80").env("NO_COLOR", "1").current_dir("/").output().ok()?;
    (!text(&output.stderr).contains("unshare: ")).then_some(output)
}

/// A process that is killed when the test ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `sleep` under another name, after it has executed it.
fn sleeper(directory: &Path, name: &OsStr) -> Running {
    let path = directory.join(name);
    install("755", Path::new("/bin/sleep"), &path);
    let child = Command::new(&path).arg("60").current_dir("/").stdin(Stdio::null()).spawn().unwrap();
    let own = fs::read("/proc/self/comm").unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while fs::read(format!("/proc/{}/comm", child.id())).unwrap() == own && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    Running(child)
}

const SPEC: &str = "rootfs: host\npid:\nmnt:\ncommand: [sh, -c, 'echo ran']\n";

#[test]
fn a_mount_point_that_is_not_utf8_stops_nothing() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let spec = directory.path().join("box.yaml");
    fs::write(&spec, SPEC).unwrap();
    for name in [&b"m\xff"[..], b"new\nline\xff", b"back\\slash \xff\x1b[2J", b"t\xc3"] {
        let point = directory.path().join(OsStr::from_bytes(name));
        fs::create_dir(&point).unwrap();
        // The source of the mount has the same name.
        let script = "mount -t tmpfs \"$1\" \"$1\" && \"$0\" run -q \"$2\" && \"$0\" mnt --show-proc >&2 && \
             \"$0\" mnt -q -- true && \"$0\" pid -q -- true && \"$0\" doctor >&2; \"$0\" compare 1 >&2; true";
        let Some(seen) = in_own_mounts(script, &[point.as_os_str(), spec.as_os_str()]) else {
            return skip("bytes", "machine: unshare(1) is not allowed");
        };
        assert_eq!(text(&seen.stdout), "ran\n", "{}", text(&seen.stderr));
        is_printable(&seen.stderr);
        assert!(!text(&seen.stderr).contains("EIO"), "{}", text(&seen.stderr));
    }
}

#[test]
fn a_process_name_cut_inside_a_character_is_readable() {
    let directory = tempfile::tempdir().unwrap();
    let names =
        ["process-name-töööö".into(), odd("x"), OsString::from("e\u{1b}[31m"), OsString::from("a\u{85}\nb")];
    for name in &names {
        let process = sleeper(directory.path(), name);
        let pid = process.0.id().to_string();
        for words in [&["compare"][..], &["compare", "--format", "json"]] {
            let seen = output(&mut with(words, &[pid.as_ref()]));
            is_printable(&seen);
            assert!(!text(&seen).contains("EIO"), "{}", text(&seen));
        }
        // It is in the same namespaces as the caller.
        let entered = sandbox(&["enter", &pid, "--", "true"]).output().unwrap();
        is_printable(&entered.stderr);
        assert!(text(&entered.stderr).contains("same"), "{}", text(&entered.stderr));
    }
    let process = sleeper(directory.path(), &names[0]);
    let seen = text(&output(&mut with(&["compare"], &[process.0.id().to_string().as_ref()])));
    assert!(seen.contains(r"process-name-t\xc3"), "{seen}");
    // The caller of `sandbox` is such a process.
    let shell = directory.path().join("shell-name-töö");
    install("755", Path::new("/bin/sh"), &shell);
    let script = "\"$0\" pid --show-proc && \"$0\" uts --show-proc && \"$0\" doctor; true";
    let seen = Command::new(&shell).args(["-c", script]).arg(binary()).env("NO_COLOR", "1").output().unwrap();
    is_printable(&seen.stdout);
    is_printable(&seen.stderr);
    assert!(text(&seen.stdout).contains(r"shell-name-tö\xc3"), "{}", text(&seen.stdout));
    assert!(!text(&seen.stderr).contains("EIO"), "{}", text(&seen.stderr));
}

#[test]
fn arguments_are_passed_on_byte_for_byte() {
    let _alone = alone();
    let argument = OsStr::from_bytes(b"a\xff\xc3\x1b\n\\b");
    let echo = ["-q", "--", "printf", "%s"];
    for feature in ["uts", "mnt", "pid", "net", "ipc", "user", "cgroup", "time"] {
        let seen = output(&mut with(&[&[feature][..], &echo].concat(), &[argument]));
        assert_eq!(seen, argument.as_bytes(), "{feature}");
    }
    let directory = tempfile::tempdir().unwrap();
    let spec = directory.path().join("box.yaml");
    fs::write(&spec, SPEC).unwrap();
    let mut run =
        with(&["run", "-q"], &[spec.as_os_str(), "--".as_ref(), "printf".as_ref(), "%s".as_ref(), argument]);
    assert_eq!(output(&mut run), argument.as_bytes());
    let mut without = with(
        &["run", "-q", "--without", "pid"],
        &[spec.as_os_str(), "--".as_ref(), "echo".as_ref(), argument],
    );
    assert_eq!(output(&mut without), [argument.as_bytes(), b"\n"].concat());
    // The environment, and argv[0] of `sandbox`.
    let mut environment = with(&["uts", "-q", "--", "sh", "-c", "printf %s \"$ODD\""], &[]);
    assert_eq!(output(environment.env("ODD", argument).arg0(argument)), argument.as_bytes());
}

#[test]
fn the_mount_is_on_the_named_directory() {
    let (directory, odd) = odd_directory();
    fs::write(odd.join("outside"), "").unwrap();
    // What the name would become if its byte were replaced.
    let other = directory.path().join("w\u{fffd}");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("other"), "").unwrap();
    let list = ["--".as_ref(), "ls".as_ref(), odd.as_os_str(), other.as_os_str()];
    let seen = output(&mut with(&["mnt", "-q", "--tmpfs"], &[&[odd.as_os_str()][..], &list].concat()));
    assert!(!text(&seen).contains("outside") && text(&seen).contains("other"), "{}", text(&seen));
    for (source, target, shown, is_hidden) in
        [(&other, &odd, "other", "outside"), (&odd, &other, "outside", "other")]
    {
        let bind =
            OsString::from_vec([source.as_os_str().as_bytes(), b":", target.as_os_str().as_bytes()].concat());
        let words = [bind.as_os_str(), "--".as_ref(), "ls".as_ref(), target.as_os_str()];
        let seen = text(&output(&mut with(&["mnt", "-q", "--bind"], &words)));
        assert!(seen.contains(shown) && !seen.contains(is_hidden), "{seen}");
    }
    // A relative path, from such a working directory.
    let words = ["site".as_ref(), "--".as_ref(), "ls".as_ref(), "-A".as_ref(), "site".as_ref(), ".".as_ref()];
    fs::create_dir(odd.join("site")).unwrap();
    fs::write(odd.join("site/covered"), "").unwrap();
    let seen = text(&output(with(&["mnt", "-q", "--tmpfs"], &words).current_dir(&odd)));
    assert!(seen.contains("outside") && !seen.contains("covered"), "{seen}");
    let pwd = output(with(&["mnt", "-q", "--", "pwd"], &[]).current_dir(&odd));
    assert_eq!(pwd, [odd.as_os_str().as_bytes(), b"\n"].concat());
}

/// Values in which a path is only a part; and values that are text, where the error names the one that is not.
#[test]
fn a_path_in_a_rule_or_a_throttle_is_bytes_and_other_values_are_text() {
    let _alone = alone();
    let (_directory, inner) = odd_directory();
    let device = inner.join("zero device");
    std::os::unix::fs::symlink("/dev/zero", &device).unwrap();
    for access in [" rw", "\trw "] {
        let rule = [device.as_os_str().as_bytes(), access.as_bytes()].concat();
        let plan = with(&["devices", "--dry-run", "--deny"], &[OsStr::from_bytes(&rule)]).output().unwrap();
        let plan = text(&plan.stdout);
        assert!(plan.contains(r"w\xff/zero device rw") && !plan.contains("c 1:5 rwm"), "{plan}");
    }
    for (mark, rate) in [("=", "1MiB"), (":", "1mb")] {
        let throttle = [inner.as_os_str().as_bytes(), mark.as_bytes(), rate.as_bytes()].concat();
        let words = &["blkio", "--dry-run", "--write-bps"];
        let plan = with(words, &[OsStr::from_bytes(&throttle)]).env("COLUMNS", "300").output().unwrap();
        let plan = text(&plan.stdout) + &text(&plan.stderr);
        assert!(plan.contains(r"w\xff=1MiB") && !plan.contains("ENOENT"), "{plan}");
    }
    for words in
        [&["memory", "--limit"][..], &["net", "--publish"], &["user", "--map"], &["enter"], &["compare"]]
    {
        let bad = OsStr::from_bytes(b"v\xff\x1b");
        let refused = with(words, &[bad, "--".as_ref(), odd("x").as_ref()]).output().unwrap();
        assert_eq!(refused.status.code(), Some(2), "{words:?}");
        is_printable(&refused.stderr);
        assert!(text(&refused.stderr).contains(r"v\xff\x1b is not UTF-8 text"), "{}", text(&refused.stderr));
    }
}

#[test]
fn a_spec_may_be_in_such_a_directory() {
    let _alone = alone();
    let (_directory, odd) = odd_directory();
    let spec = odd.join("box.yaml");
    let mounts = "rootfs: host\noptional: [memory]\nmemory: { limit: 64m }\ncommand: [ls, /mnt]\nmnt:\n  mounts: [{ type: bind, source: ./site, target: /mnt }]\n";
    fs::write(&spec, mounts).unwrap();
    fs::create_dir(odd.join("site")).unwrap();
    fs::write(odd.join("site/page"), "").unwrap();
    assert_eq!(output(&mut with(&["run", "-q"], &[spec.as_os_str()])), b"page\n");
    assert_eq!(output(with(&["run", "-q", "box.yaml"], &[]).current_dir(&odd)), b"page\n");
    let checked = output(&mut with(&["spec", "check"], &[spec.as_os_str()]));
    is_printable(&checked);
    // YAML is text: the path is escaped, and a comment says so.
    let yaml = output(&mut with(&["run", "--print-spec"], &[spec.as_os_str()]));
    is_printable(&yaml);
    assert!(text(&yaml).starts_with("# ") && text(&yaml).contains(r"w\xff/./site"), "{}", text(&yaml));
    let missing = with(&["run", "-q"], &[odd.join("none.yaml").as_os_str()]).output().unwrap();
    is_printable(&missing.stderr);
    assert!(text(&missing.stderr).contains(r"w\xff/none.yaml"), "{}", text(&missing.stderr));
}

#[test]
fn programs_and_variables_with_such_paths_are_used() {
    let _alone = alone();
    let (directory, odd) = odd_directory();
    let program = odd.join(self::odd("p"));
    install("755", Path::new("/bin/echo"), &program);
    assert_eq!(output(&mut with(&["uts", "-q", "--"], &[program.as_os_str(), "a".as_ref()])), b"a\n");
    let path = OsString::from_vec([odd.as_os_str().as_bytes(), b":/usr/bin:/bin"].concat());
    let mut found = with(&["uts", "-q", "--"], &[program.file_name().unwrap(), "b".as_ref()]);
    assert_eq!(output(found.env("PATH", &path)), b"b\n");
    let spec = directory.path().join("box.yaml");
    fs::write(&spec, SPEC).unwrap();
    let mut run = with(&["run", "-q"], &[spec.as_os_str()]);
    for name in ["HOME", "TMPDIR", "XDG_RUNTIME_DIR", "XDG_DATA_HOME", "TERM", "LANG", "USER"] {
        run.env(name, &odd);
    }
    assert_eq!(output(run.env("PATH", path)), b"ran\n");
    // `sandbox` itself.
    let own = odd.join("sandbox");
    install("755", &binary(), &own);
    let seen = Command::new(&own).args(["run", "-q"]).arg(&spec).current_dir(&odd).output().unwrap();
    assert_eq!(text(&seen.stdout), "ran\n", "{}", text(&seen.stderr));
    for name in [self::odd("none"), OsString::from("no\u{1b}[2Jne"), OsString::from("no\nne")] {
        let missing = with(&["uts", "-q", "--"], &[&name]).output().unwrap();
        assert_eq!(missing.status.code(), Some(127));
        is_printable(&missing.stderr);
    }
}

#[test]
fn json_has_the_bytes_and_text_has_escapes() {
    let (_directory, odd) = odd_directory();
    let json = output(&mut with(&["mnt", "--dry-run", "--format", "json", "--tmpfs"], &[odd.as_os_str()]));
    let plan: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    let steps = plan["steps"].as_array().unwrap();
    let target =
        |step: &serde_json::Value| step["call"]["data"]["mount"]["filesystem"]["target"]["bytes"].clone();
    let base64 = steps.iter().map(target).find(|target| !target.is_null()).expect("a path as bytes");
    let decode = ["-c", "printf %s \"$0\" | base64 -d", base64.as_str().unwrap()];
    let decoded = Command::new("sh").args(decode).output().unwrap().stdout;
    assert_eq!(decoded, odd.as_os_str().as_bytes());
    for more in [&["--dry-run"][..], &["--print-spec"]] {
        let seen = output(&mut with(&[&["mnt"][..], more, &["--tmpfs"]].concat(), &[odd.as_os_str()]));
        is_printable(&seen);
    }
    let yaml = text(&output(&mut with(&["mnt", "--print-spec", "--tmpfs"], &[odd.as_os_str()])));
    assert!(yaml.starts_with("# ") && yaml.contains(r"w\xff"), "{yaml}");
    // A name that is UTF-8 is a string, and the spec has no such comment.
    let yaml = text(&output(&mut sandbox(&["mnt", "--print-spec", "--tmpfs", "/mnt/ä"])));
    assert!(yaml.starts_with("mnt:") && yaml.contains("/mnt/ä"), "{yaml}");
}

#[test]
fn lines_to_paste_mean_the_same_bytes() {
    let (_directory, odd) = odd_directory();
    let hostile = odd.join(OsStr::from_bytes(b"a';touch PWN;'\x1b[2J\nb\xfe"));
    fs::create_dir(&hostile).unwrap();
    let plan = output(&mut with(&["uts", "--dry-run", "--", "printf", "%s"], &[hostile.as_os_str()]));
    is_printable(&plan);
    let plan = text(&plan);
    let by_hand = plan.split("The same by hand:\n").nth(1).unwrap().split("With docker:").next().unwrap();
    // The options of unshare(1) need privileges, and are no part of the quoting.
    let command = by_hand.split_once("printf").unwrap().1;
    let seen =
        Command::new("bash").args(["-c", &format!("printf{command}")]).current_dir(&odd).output().unwrap();
    assert_eq!(seen.stdout, hostile.as_os_str().as_bytes(), "{by_hand}");
    assert!(!odd.join("PWN").exists());
}

#[test]
fn what_other_programs_chose_is_escaped() {
    let _alone = alone();
    // The host name, which only root can write as bytes, and the working directory.
    let script = r#"if [ -w /proc/sys/kernel/hostname ]; then printf 'h\033[2J\377' > /proc/sys/kernel/hostname; fi
        "$0" uts --show-proc && "$0" mnt --show-proc && "$0" uts --show-proc --format json && "$0" doctor &&
        "$0" run --show-proc "$1""#;
    let directory = tempfile::tempdir().unwrap();
    let spec = directory.path().join("box.yaml");
    fs::write(&spec, SPEC.replace("pid:", "pid:\nuts:")).unwrap();
    let here = directory.path().join(OsStr::from_bytes(b"d\x1b[2J\xff"));
    fs::create_dir(&here).unwrap();
    let words = ["sh", "-c", script].map(OsStr::new);
    let own = binary();
    let mut command =
        with(&["uts", "-q", "--"], &[&words[..], &[own.as_os_str(), spec.as_os_str()]].concat());
    let seen = command.current_dir(&here).output().unwrap();
    is_printable(&seen.stdout);
    is_printable(&seen.stderr);
    let shown = text(&seen.stdout);
    let has = |name: &str| shown.contains(name);
    assert!(has(r"d\x1b[2J\xff"), "{shown}{}", text(&seen.stderr));
    assert!(has(r"h\x1b[2J\xff") || !is_root(), "{shown}{}", text(&seen.stderr));
    assert!(shown.ends_with("ran\n"), "{shown}{}", text(&seen.stderr));
    // clap's own errors, with colours too.
    for color in ["never", "always"] {
        let hostile = "--no\u{1b}]0;title\u{7}such";
        let seen = sandbox(&["--color", color, "uts", hostile]).output().unwrap();
        assert_eq!(seen.status.code(), Some(2));
        assert!(
            !text(&seen.stderr).contains("\u{1b}]") && !text(&seen.stderr).contains('\u{7}'),
            "{:?}",
            text(&seen.stderr)
        );
    }
    let seen = with(&["uts"], &[OsStr::from_bytes(b"--x\xff\x1b[2J")]).output().unwrap();
    assert_eq!(seen.status.code(), Some(2));
    is_printable(&seen.stderr);
}

#[test]
fn a_network_device_may_have_any_name() {
    let script = "ip link add \"$1\" type dummy && ip link set \"$1\" up && \"$0\" net --show-proc && \"$0\" net -q -- true";
    for name in [&b"v\xff"[..], b"\x1b[31m", b"e\xc3"] {
        let mut command = Command::new("unshare");
        command.args(if is_root() { &["-n"][..] } else { &["-rn"] }).args(["sh", "-c", script]).arg(binary());
        let seen =
            command.arg(OsStr::from_bytes(name)).env("NO_COLOR", "1").current_dir("/").output().unwrap();
        if !seen.status.success() && !text(&seen.stderr).contains("sandbox:") {
            return skip("bytes", "machine: the kernel has no dummy device");
        }
        assert!(seen.status.success(), "{}", text(&seen.stderr));
        is_printable(&seen.stdout);
        is_printable(&seen.stderr);
    }
}

#[test]
fn a_cgroup_may_have_any_name() {
    let _alone = alone();
    let hierarchies = ["/sys/fs/cgroup/memory/sandbox", "/sys/fs/cgroup/pids/sandbox"].map(Path::new);
    if !is_root() || !Path::new("/sys/fs/cgroup/memory").is_dir() {
        return skip("bytes", "machine: no cgroup v1, or it takes root; root's run holds it");
    }
    let directory = tempfile::tempdir().unwrap();
    let spec = directory.path().join("box.yaml");
    fs::write(&spec, SPEC.replace("pid:", "pid:\nmemory: { limit: 64m }\npids: { max: 20 }")).unwrap();
    for name in [&b"bytes\xff"[..], b"bytes \\ \x1b[31m", b"bytes\xc3"] {
        let own = hierarchies.map(|sandbox| sandbox.join(OsStr::from_bytes(name)));
        own.iter().for_each(|own| fs::create_dir_all(own).unwrap());
        let script = r#"echo 0 > "$1/cgroup.procs"; echo 0 > "$2/cgroup.procs"
            "$0" run -q "$3" && "$0" memory -q --limit 64m -- echo ran && "$0" pids --show-proc >&2 &&
            "$0" cgroup >&2 && "$0" memory --dry-run -- true >&2 && "$0" doctor >&2"#;
        let mut command = Command::new("sh");
        command
            .args(["-c", script])
            .arg(binary())
            .args(&own)
            .arg(&spec)
            .env("NO_COLOR", "1")
            .current_dir("/");
        let seen = command.output().unwrap();
        own.iter().for_each(|own| fs::remove_dir(own).unwrap());
        hierarchies.iter().for_each(|sandbox| drop(fs::remove_dir(sandbox)));
        assert!(seen.status.success(), "{}", text(&seen.stderr));
        assert_eq!(text(&seen.stdout), "ran\nran\n", "{}", text(&seen.stderr));
        is_printable(&seen.stderr);
    }
}

#[test]
fn etc_files_may_have_any_bytes() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let (file, spec) = (directory.path().join("etc"), directory.path().join("box.yaml"));
    let resolv = b"# M\xfcnchen\nnameserver 192.0.2.53\nsearch \xff\n";
    fs::write(&file, resolv).unwrap();
    fs::write(&spec, SPEC.replace("echo ran", "cat /etc/resolv.conf")).unwrap();
    let script = "mount --bind \"$1\" /etc/resolv.conf && \"$0\" run -q \"$2\"";
    let Some(seen) = in_own_mounts(script, &[file.as_os_str(), spec.as_os_str()]) else {
        return skip("bytes", "machine: unshare(1) is not allowed");
    };
    if Path::new("/etc/resolv.conf").is_file() {
        assert_eq!(seen.stdout, resolv, "{}", text(&seen.stderr));
    }
    let passwd =
        b"J\xfcrgen:x:4242:4242:\xff:/:/bin/sh\nroot:x:0:0::/:/bin/sh\nlearner:x:1000:1000::/:/bin/sh\n";
    fs::write(&file, passwd).unwrap();
    fs::write(&spec, SPEC).unwrap();
    for target in ["/etc/passwd", "/etc/subuid", "/etc/hosts"] {
        let script = "mount --bind \"$1\" \"$3\" && \"$0\" run -q \"$2\" && \"$0\" doctor >&2; true";
        let Some(seen) = in_own_mounts(script, &[file.as_os_str(), spec.as_os_str(), target.as_ref()]) else {
            return;
        };
        if Path::new(target).is_file() {
            assert_eq!(text(&seen.stdout), "ran\n", "{target}: {}", text(&seen.stderr));
            is_printable(&seen.stderr);
        }
    }
}
