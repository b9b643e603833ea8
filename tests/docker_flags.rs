//! The flags of `run` and `create` in the forms that Docker's users write.
//!
//! Judged by what the command in the container sees: /proc, its mounts, its variables.
//!
//! Other inputs of the same kind as the ones here:
//! - every switch with each of Docker's truth values, alone and behind other letters.
//! - variables and files with any bytes but null.
#![cfg(feature = "images")]

mod support;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use support::kept::KeptHome;
use support::{is_root, sandbox, text};

/// A HOME with an image of a few programs.
fn with_tools() -> KeptHome {
    let home = KeptHome::new();
    home.out(&["image", "from-host", "tool", "sh", "cat", "grep", "readlink", "sleep", "true"]);
    home
}

/// What a script prints in a throw-away container.
fn printed(home: &KeptHome, flags: &[&str], script: &str) -> String {
    home.out(&[&["run", "--rm=true", "--network", "none"], flags, &["tool", "sh", "-c", script]].concat())
}

#[test]
fn a_flag_has_dockers_forms() {
    let home = with_tools();
    for (flags, script, expected) in [
        (&["-h", "box"][..], "cat /proc/sys/kernel/hostname", "box"),
        (&["-i=false", "-h", "box"], "cat /proc/sys/kernel/hostname", "box"),
        (&["-u", ":0"], "grep -E '^(Uid|Gid)' /proc/self/status", "Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0"),
        (&["--ipc", "shareable", "--init=false"], "exec cat /proc/1/comm", "cat"),
        // Docker mounts nothing on /dev/shm then.
        (&["--ipc", "none"], "grep -c ' /dev/shm ' /proc/self/mounts || :", "0"),
        (&["--ipc=none", "--tmpfs", "/dev/shm:size=4k"], "grep -c ' /dev/shm ' /proc/self/mounts", "1"),
        // A variable that is empty in a script.
        (&["-u", "", "-w", ""], "grep Uid /proc/self/status", "Uid:\t0\t0\t0\t0"),
        (&["--init=true"], "cat /proc/1/comm", "sandbox"),
        // Of a flag that is given twice, the last value counts.
        (&["-h", "one", "--rm", "-i", "-h", "box", "-i"], "cat /proc/sys/kernel/hostname", "box"),
        (&["-w", "/proc", "-w", "/dev"], "readlink /proc/self/cwd", "/dev"),
        (&["-e", "A=1", "-e=B=false"], "echo $A $B", "1 false"),
        (&["-l", "a=true", "--read-only=1"], "echo x 2>/dev/null > /f || echo denied", "denied"),
    ] {
        let found = printed(&home, flags, script);
        assert_eq!(found, expected, "{flags:?}");
    }
    let own = fs::read_link("/proc/self/ns/ipc").unwrap();
    let inside = printed(&home, &["--ipc=shareable"], "readlink /proc/self/ns/ipc");
    assert_ne!(inside, own.to_str().unwrap());
    let inside = printed(&home, &["--ipc=none"], "readlink /proc/self/ns/ipc");
    assert_ne!(inside, own.to_str().unwrap());
    // A quarter of the memory of this machine, in whole pages. The kernel does not print the usual size, a half.
    let memory = rustix::system::sysinfo();
    let part = memory.totalram * u64::from(memory.mem_unit) / 4;
    let mounted = printed(&home, &["--tmpfs", "/t:size=25%"], "grep ' /t ' /proc/self/mounts");
    let size = mounted.split(',').find_map(|option| option.strip_prefix("size=")).unwrap();
    let size: u64 = size.split('k').next().unwrap().parse().unwrap();
    assert!((size << 10).abs_diff(part) <= 64 << 10, "{mounted} {part}");
    // A container is kept with --rm=false, and the network is the usual one with `default`.
    home.out(&["run", "--rm=false", "--name", "kept", "--network=none", "tool", "true"]);
    home.out(&["rm", "kept"]);
    home.out(&["create", "--network", "default", "--ipc", "private", "--name", "web", "tool", "true"]);
    home.out(&["create", "--network", "none", "--ipc", "none", "--name", "bare", "tool", "true"]);
    assert_eq!(home.out(&["inspect", "-f", "{{.HostConfig.IpcMode}}", "web", "bare"]), "private\nnone");
    home.out(&["rm", "bare"]);
    let mode = home.out(&["inspect", "-f", "{{.HostConfig.NetworkMode}}", "web"]);
    assert!(["bridge", "none"].contains(&&*mode), "{mode}");
    home.out(&["rm", "-f=true", "web"]);
}

#[test]
fn a_wrong_value_is_named_with_its_flag() {
    let home = with_tools();
    for (flag, value, words) in [
        ("--cpus", "0.0001", "at least 0.01"),
        ("--ulimit", "nofile=zz", "SOFT:HARD"),
        ("--sysctl", "kernel.foo=1", "of its own"),
        ("--blkio-weight", "5", "from 10 to 1000"),
        ("--memory", "1q", "a number of bytes"),
        ("--pids-limit", "x", "a number"),
        ("--tmpfs", "/x:size=zz", "a number of bytes"),
        ("--publish", "80:x", "port"),
        ("--cpu-quota", "500", "from 1000 to 8192000000"),
        ("--cpu-quota", "99999999999", "from 1000 to 8192000000"),
        ("--cpu-period", "5", "from 1000 to 1000000"),
        ("--memory", "1.5x", "a number of bytes"),
        ("--device-read-iops", "/dev/null:1.5", "must be a number"),
        ("--ulimit", "NOFILE=10", "Perhaps nofile"),
        ("--device", "/dev/not-there", "does not exist"),
        ("--mount", "a, b", "unexpected key 'a'"),
        ("--mount", "type=bind,src=/,dst=/q,volume-nocopy", "'volume-*' options with mount type 'bind'"),
        ("--mount", "type=bind,src=/,dst=/q,tmpfs-size=1m", "'tmpfs-*' options with mount type 'bind'"),
        ("--volume", "/:/q:rw,ro", "invalid mode: rw,ro"),
        ("--volume", "/:/q:ro,rslave", "rslave is not supported"),
        ("--volume", "/:/q:shared", "shared is not supported"),
        ("--mount", "type=bind,src=/,dst=/q,bind-propagation=rshared", "rshared is not supported"),
    ] {
        let told = home.refused(&["create", flag, value, "tool", "true"], 125);
        // The keys of a spec are not shown: the user did not write them.
        let first = format!("sandbox: {flag} has a wrong value: {value} why ");
        assert!(told.starts_with(&first) && told.contains(words) && !told.contains(": {"), "{told}");
    }
    for (user, words) in [("nobody-here", "passwd"), ("0:nobody-here", "group")] {
        let told = home.refused(&["create", "--network", "none", "-u", user, "tool", "true"], 125);
        let expected = format!("nobody-here: no matching entries in {words} file");
        assert!(told.contains("unable to find") && told.contains(&expected), "{told}");
    }
}

#[test]
fn the_hosts_network_publishes_nothing() {
    let home = with_tools();
    let created =
        home.run(&["create", "--network", "host", "-p", "8080:80", "--name", "web", "tool", "true"]);
    let warning = "WARNING: Published ports are discarded when using host network mode";
    assert_eq!(text(&created.stderr).trim(), warning, "{created:?}");
    assert_eq!(home.out(&["port", "web"]), "");
    home.out(&["rm", "web"]);
}

#[test]
fn a_directory_that_does_not_exist_is_made_for_a_volume() {
    let home = with_tools();
    let made = home.around().join("not/there");
    let source = made.to_str().unwrap();
    // `--mount` wants one that is there.
    let flag = format!("type=bind,source={source},target=/x");
    let refused = home.refused(&["create", "--network", "none", "--mount", &flag, "tool", "true"], 125);
    assert!(refused.contains("does not exist") && !made.exists(), "{refused}");
    let told = home.run(&[
        "create",
        "--explain",
        "--network",
        "none",
        "-v",
        &format!("{source}:/x"),
        "--name",
        "volumes",
        "tool",
        "true",
    ]);
    assert!(text(&told.stderr).contains(&format!("mkdir(\"{source}\")")), "{told:?}");
    home.out(&["rm", "-v", "volumes"]);
    assert!(made.is_dir(), "nothing removes it");
    printed(&home, &["-v", &format!("{source}:/x")], "echo hello > /x/file");
    assert_eq!(fs::read_to_string(made.join("file")).unwrap(), "hello\n");
}

#[test]
fn the_value_of_a_variable_is_bytes() {
    let home = with_tools();
    let file = home.around().join("variables");
    fs::write(&file, b"FILE=\xfe\xff x\nPLAIN=1\n").unwrap();
    let run = |source: &OsStr, command: &[&str]| {
        let mut run = home.command(&["run", "--rm", "--network", "none", "-e", "OWN", "--env-file"]);
        run.arg(&file).arg("-e").arg(OsStr::from_bytes(b"A=\xff=b")).env("OWN", OsStr::from_bytes(b"\x80"));
        run.arg(source).args(command).output().unwrap()
    };
    let output = run("tool".as_ref(), &["sh", "-c", "echo \"$A|$OWN|$FILE|$PLAIN\""]);
    assert_eq!(output.stdout, b"\xff=b|\x80|\xfe\xff x|1\n", "{output:?}");
    // In YAML the bytes are escaped, which is said; in JSON they are base64.
    let mut print = sandbox(&["run", "--print-spec", "-e"]);
    print.arg(OsStr::from_bytes(b"A=\xff")).arg(home.spec("", "true"));
    let spec = text(&print.output().unwrap().stdout);
    assert!(spec.contains("not UTF-8") && spec.contains("\\xff"), "{spec}");
    let mut create = home.command(&["create", "--network", "none", "--name", "web", "-e"]);
    assert!(create.arg(OsStr::from_bytes(b"A=\xff")).args(["tool", "true"]).status().unwrap().success());
    let config = home.out(&["inspect", "-f", "{{json .Sandbox.Config}}", "web"]);
    assert!(config.contains(r#"{"bytes":"QT3/"}"#), "{config}");
    home.out(&["rm", "web"]);
    let mut wrong = home.command(&["create", "-e"]);
    let output = wrong.arg(OsStr::from_bytes(b"A\xff=1")).arg("tool").output().unwrap();
    assert!(
        output.status.code() == Some(125) && text(&output.stderr).contains("name of a variable"),
        "{output:?}"
    );
}

#[test]
fn other_keys_detach() {
    let home = with_tools();
    let path = home.path();
    let start = ["--home", path.to_str().unwrap(), "run", "-it", "--network", "none", "--name", "web"];
    let command = ["--detach-keys", "a,b", "tool", "sh", "-c", "echo ready; exec sleep 600"];
    let mut terminal = support::terminal::Terminal::start(&[&start[..], &command].concat());
    terminal.wait_for("ready");
    terminal.press("ab");
    let (_, shown) = terminal.ended();
    assert!(shown.contains("read escape sequence"), "{shown}");
    assert_eq!(home.status("web"), "running");
    home.out(&["rm", "-f", "web"]);
    assert!(home.refused(&["run", "--detach-keys", "ctrl-", "tool"], 125).contains("--detach-keys"));
    let spec = home.spec("", "true");
    assert!(home.refused(&["run", "--detach-keys", "a", &spec], 2).contains("is for a container that stays"));
}

/// As with docker, nothing is made if nobody can type into the terminal.
#[test]
fn without_a_terminal_it_makes_no_container() {
    let home = with_tools();
    let spec = home.spec("tty: true", "true");
    for words in [
        &["run", "-it", "--network", "none", "tool", "true"][..],
        &["run", "--rm", "-it", "--network", "none", "-v", "data:/data", "tool", "true"],
        &["run", "--keep", "-it", &spec],
        &["run", "--keep", "-i", &spec],
    ] {
        let told = home.refused(words, 125);
        assert!(told.contains("standard input is not a terminal"), "{words:?} {told}");
    }
    assert_eq!(home.out(&["ps", "-aq"]) + &home.out(&["volume", "ls", "-q"]), "");
    // In the background, nobody types.
    let id = home.out(&["run", "-dit", "--network", "none", "tool", "sleep", "60"]);
    home.out(&["rm", "-f", "-f", &id]);
}

/// A refusal of a port says nothing about a network that the container could have.
#[test]
fn a_port_that_cannot_be_published_is_no_problem_of_the_network() {
    let home = with_tools();
    let mut all = vec![&["-p", "18080:1", "-p", "18080:2"][..]];
    if !is_root() {
        all.push(&["-p", "80:80"]);
    }
    for ports in all {
        let told = home.refused(&[&["run", "--rm"], ports, &["tool", "true"]].concat(), 125);
        assert!(!told.contains("other machines") && told.contains("port"), "{ports:?} {told}");
    }
}
