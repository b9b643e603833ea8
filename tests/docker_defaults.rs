//! What a flag of docker means where its value is zero, empty or not given, and what else it implies.
//!
//! Judged by what the kernel shows in the container: its mounts, the files of its cgroup, its variables.
//!
//! Other inputs of the same kind as the ones here:
//! - each limit with 0 and with a negative number, alone and after another value of the same flag.
//! - a filesystem in memory on a directory of the image with any mode, and on one that does not exist.
#![cfg(feature = "images")]

mod support;

use support::kept::KeptHome;
use support::{is_root, skip, text};

fn with_tools() -> KeptHome {
    let home = KeptHome::new();
    let tools = ["sh", "cat", "grep", "cp", "mkdir", "chmod", "stat", "id", "true", "sleep"];
    home.out(&[&["image", "from-host", "tool"], &tools[..]].concat());
    home
}

/// What a script prints in a throw-away container.
fn printed(home: &KeptHome, flags: &[&str], script: &str) -> String {
    home.out(&[&["run", "--rm", "--network", "none"], flags, &["tool", "sh", "-c", script]].concat())
}

/// The options of what is mounted on a path.
fn options(home: &KeptHome, flags: &[&str], path: &str) -> Vec<String> {
    let line = printed(home, flags, &format!("grep ' {path} ' /proc/self/mounts"));
    assert_eq!(line.lines().count(), 1, "{flags:?} {line}");
    line.split(' ').nth(3).unwrap().split(',').map(str::to_owned).collect()
}

#[test]
fn a_limit_of_memory_limits_swap_too() {
    let test = "a_limit_of_memory_limits_swap_too";
    let v1 = "/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes";
    if !is_root() || !std::path::Path::new(v1).exists() {
        return skip(test, "machine: it takes root and cgroup v1 that counts swap");
    }
    let home = with_tools();
    let (none, half) = ("9223372036854771712", "134217728");
    for (flags, expected) in [
        (&["-m", "64m"][..], half),
        (&["-m", "64m", "--memory-swap", "0"], half),
        (&["-m", "64m", "--memory-swap", "0b"], half),
        (&["-m", "64m", "--memory-swap", "-1"], none),
        (&["-m", "64m", "--memory-swap", "96m"], "100663296"),
        (&["-m", "64m", "--memory-swap", "64m"], "67108864"),
        (&["-m", "64m", "-m", "0", "--pids-limit", "5"], none),
    ] {
        let found = printed(&home, flags, &format!("cat {v1} 2>/dev/null || echo {none}"));
        assert_eq!(found, expected, "{flags:?}");
    }
    // A spec has its own key.
    let spec = home.spec("memory: { limit: 64MiB }\nrootfs: tool", &format!("cat {v1}"));
    assert_eq!(home.out(&["run", &spec]), none);
    let swap = home.spec("memory: { limit: 64MiB, swap: 1MiB }\nrootfs: tool", &format!("cat {v1}"));
    assert_eq!(home.out(&["run", "-m", "32m", &swap]), "34603008");
}

#[test]
fn zero_is_no_limit() {
    if !is_root() {
        return skip("zero_is_no_limit", "machine: only root makes cgroups");
    }
    let home = with_tools();
    let flags = ["-m", "0b", "--memory-reservation", "0", "--blkio-weight", "0", "--cpus", "0", "-c", "0"];
    // Without a limit, there is no cgroup of the container.
    let script = "grep -c sandbox/ /proc/1/cgroup || :";
    let plain = printed(&home, &["--cgroupns=host", "--pids-limit", "-7"], script);
    assert_eq!(printed(&home, &[&["--cgroupns=host"], &flags[..]].concat(), script), plain);
    let both = ["--cgroupns=host", "--pids-limit", "7", "--pids-limit", "0"];
    assert_eq!(printed(&home, &both, script), plain);
}

#[test]
fn a_filesystem_in_memory_has_dockers_options() {
    let home = with_tools();
    let has = |flags: &[&str], path: &str, all: &[&str], none: &[&str]| {
        let found = options(&home, flags, path);
        let is = |option: &&str| found.iter().any(|one| one == option);
        assert!(all.iter().all(is) && !none.iter().any(is), "{flags:?} {found:?}");
    };
    let usual = ["nosuid", "nodev", "noexec"];
    for flags in [&["--shm-size", "0"][..], &[], &["--tmpfs", "/dev/shm:size=64m"]] {
        has(flags, "/dev/shm", &[&usual[..], &["size=65536k"]].concat(), &[]);
    }
    has(&["--shm-size", "2m"], "/dev/shm", &["nosuid", "nodev", "noexec", "size=2048k"], &["ro"]);
    has(&["--tmpfs", "/t"], "/t", &usual, &["ro"]);
    has(&["--tmpfs", "/t:ro,rw,exec"], "/t", &["nosuid", "nodev", "rw"], &["noexec"]);
    has(&["--tmpfs", "/t:exec,noexec,defaults"], "/t", &usual, &[]);
    has(
        &["--tmpfs", "/t:noatime,strictatime,nr_inodes=1k"],
        "/t",
        &["nr_inodes=1024"],
        &["noatime", "relatime"],
    );
    let both = ["noatime", "nodiratime", "nr_inodes=1024", "size=20k"];
    has(&["--tmpfs", "/t:noatime,nodiratime,nr_inodes=1k,nr_blocks=5"], "/t", &both, &["relatime"]);
    has(&["--mount", "type=tmpfs,target=/t"], "/t", &usual, &[]);
    has(&["--mount", "type=tmpfs,target=/t,tmpfs-size=1m"], "/t", &["size=1024k", "noexec"], &[]);
    if is_root() {
        has(&["--tmpfs", "/t:suid,dev,exec"], "/t", &["rw"], &usual);
    }
    let denied = printed(&home, &["--tmpfs", "/t"], "cp /bin/true /t; /t/true 2>/dev/null || echo denied");
    assert_eq!(denied, "denied");
    assert_eq!(printed(&home, &["--tmpfs", "/t:exec"], "cp /bin/true /t; /t/true && echo runs"), "runs");
    // Nothing is mounted there, whatever its size would be.
    let none =
        printed(&home, &["--ipc", "none", "--shm-size", "1m"], "grep -c /dev/shm /proc/self/mounts || :");
    assert_eq!(none, "0");
}

#[test]
fn a_filesystem_in_memory_has_the_mode_of_the_directory_that_it_covers() {
    let home = with_tools();
    let script =
        "mkdir -p /data/a /data/b /data/c; chmod 0700 /data/a; chmod 0755 /data/b; chmod 1777 /data/c";
    home.out(&["run", "--network", "none", "--name", "maker", "tool", "sh", "-c", script]);
    home.out(&["commit", "maker", "modes"]);
    home.out(&["rm", "maker"]);
    let run = |tmpfs: &str, path: &str| {
        let flags = ["run", "--rm", "--network", "none", "--tmpfs", tmpfs, "modes"];
        home.out(&[&flags[..], &["stat", "-c", "%a", path]].concat())
    };
    for (path, mode) in [("/data/a", "700"), ("/data/b", "755"), ("/data/c", "1777"), ("/new", "1777")] {
        assert_eq!(run(path, path), mode, "{path}");
    }
    assert_eq!(run("/data/a:mode=711", "/data/a"), "711");
    let spec = home.spec(
        "rootfs: modes\nmnt: { mounts: [{ type: tmpfs, target: /data/b }, { type: tmpfs, target: /data/b/x }] }",
        "stat -c %a /data/b /data/b/x",
    );
    // The second directory is made for the mount.
    assert_eq!(home.out(&["run", &spec]), "755\n1777");
}

/// As with docker, `-e NAME` takes the variable away where the caller has none: also that of an image.
#[test]
fn a_variable_that_the_caller_does_not_have_is_taken_away() {
    let home = with_tools();
    home.out(&["create", "--network", "none", "--name", "maker", "tool", "true"]);
    home.out(&["commit", "-c", "ENV FOO=bar BAZ=1", "maker", "env"]);
    home.out(&["rm", "maker"]);
    let run = |flags: &[&str], own: Option<&str>| {
        let script = "echo ${FOO-unset} ${BAZ-unset}";
        let all = [&["run", "--rm", "--network", "none"], flags, &["env", "sh", "-c", script]].concat();
        let mut command = home.command(&all);
        command.env_remove("FOO").env_remove("BAZ");
        if let Some(own) = own {
            command.env("FOO", own);
        }
        text(&command.output().unwrap().stdout).trim().to_owned()
    };
    let file = home.around().join("variables");
    std::fs::write(&file, "FOO\nBAZ\n").unwrap();
    for (flags, own, expected) in [
        (&[][..], None, "bar 1"),
        (&["-e", "FOO"], None, "unset 1"),
        (&["-e", "FOO"], Some("own"), "own 1"),
        (&["-e", "FOO=x", "-e", "FOO", "-e", "BAZ"], None, "unset unset"),
        (&["-e", "FOO", "-e", "FOO=x"], None, "x 1"),
        // In a file, such a line means nothing.
        (&["--env-file", file.to_str().unwrap()], None, "bar 1"),
    ] {
        assert_eq!(run(flags, own), expected, "{flags:?} {own:?}");
    }
    home.out(&["run", "-d", "--network", "none", "--name", "web", "env", "sleep", "60"]);
    let mut exec = home.command(&["exec", "-e", "FOO", "web", "sh", "-c", "echo ${FOO-unset} $BAZ"]);
    assert_eq!(text(&exec.env_remove("FOO").output().unwrap().stdout).trim(), "unset 1");
    home.out(&["rm", "-f", "web"]);
}

#[test]
fn a_group_that_cannot_be_added_is_named() {
    let home = with_tools();
    for group in ["5", "70000"] {
        let all = ["run", "--rm", "--network", "none", "--group-add", group, "tool", "id", "-G"];
        let output = home.run(&all);
        let has = text(&output.stdout).split_whitespace().any(|one| one == group);
        let told = text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
        let says = told.contains(&format!("groups {group} of the user are left out"));
        assert!(output.status.success() && has != says, "{output:?}");
    }
}

#[test]
fn an_empty_value_is_the_usual_one() {
    let home = with_tools();
    let flags = ["hostname", "ipc", "pid", "uts", "cpuset-cpus", "stop-signal", "restart", "name", "cidfile"];
    let flags: Vec<String> = flags.iter().map(|flag| format!("--{flag}=")).collect();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let names = printed(&home, &flags, "cat /proc/sys/kernel/hostname /etc/hostname");
    assert!(names.lines().all(|name| name.len() == 12) && names.lines().count() == 2, "{names}");
    // A size may have decimals, keys any case, and a path a comma.
    assert!(options(&home, &["--shm-size", "1.5m"], "/dev/shm").contains(&"size=1536k".to_owned()));
    let directory = home.around().join("a,b");
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("file"), "there").unwrap();
    let mount = format!("\"src={}\",TYPE=bind,Dst=/q", directory.display());
    assert_eq!(printed(&home, &["--mount", &mount], "cat /q/file"), "there");
    let file = home.around().join("labels");
    std::fs::write(&file, "# none\nx=2\n  sp=v  \n").unwrap();
    let file = file.to_str().unwrap();
    home.out(&[
        "create",
        "--network",
        "none",
        "-l",
        "x=1",
        "--label-file",
        file,
        "--name",
        "web",
        "tool",
        "true",
    ]);
    assert_eq!(home.out(&["inspect", "-f", "{{json .Config.Labels}}", "web"]), r#"{"sp":"v  ","x":"1"}"#);
    home.out(&["rm", "web"]);
}

#[test]
fn the_name_and_the_hosts_are_those_of_the_network() {
    let home = with_tools();
    let own = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let script = "cat /proc/sys/kernel/hostname; cat /etc/hosts";
    let shown = home.out(&["run", "--rm", "--network", "host", "tool", "sh", "-c", script]);
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap();
    assert!(shown.starts_with(&format!("{own}{}", hosts.trim_end())), "{shown}");
    home.out(&["run", "-d", "--network", "none", "--name", "web", "tool", "sleep", "60"]);
    let name = home.out(&["inspect", "-f", "{{.Config.Hostname}}", "web"]);
    let mut joined = vec!["run", "--rm", "--network", "container:web"];
    if !is_root() {
        joined.extend(["--userns", "container:web"]);
    }
    let shown = home.out(&[&joined[..], &["tool", "sh", "-c", script]].concat());
    assert!(
        shown.starts_with(&format!("{name}\n")) && shown.contains(&format!("127.0.1.1\t{name}")),
        "{shown}"
    );
    for (flags, words) in [
        (&["--hostname", "x"][..], "hostname and the network mode"),
        (&["--dns", "1.1.1.1"], "dns and the network mode"),
        (&["--add-host", "a:1.1.1.1"], "custom host-to-IP mapping and the network mode"),
        (&["-p", "80:80"], "port publishing and the container type network mode"),
        (&["-P"], "port publishing and the container type network mode"),
        (&["--expose", "80"], "port exposing and the container type network mode"),
    ] {
        let told = home.refused(&[&joined[..], flags, &["tool", "true"]].concat(), 125);
        assert_eq!(told, format!("sandbox: conflicting options: {words}"), "{flags:?}");
    }
    home.out(&["rm", "-f", "web"]);
}

/// A device file in the root can be opened where the cgroup decides which. Without a cgroup, a mount option denies all.
#[test]
fn a_device_file_can_be_made_where_its_rule_allows_it() {
    if !is_root() {
        return skip("a_device_file_can_be_made_where_its_rule_allows_it", "machine: mknod takes root");
    }
    let home = KeptHome::new();
    home.out(&["image", "from-host", "tool", "sh", "mknod", "stat", "ls"]);
    let script = "mknod /null c 1 3; mknod /log c 1 11; (: > /null) 2>/dev/null && echo null; (: < /log) 2>/dev/null && echo log; :";
    assert_eq!(printed(&home, &["--device-cgroup-rule", "c 1:3 rwm"], script), "null");
    assert_eq!(printed(&home, &["--device", "/dev/zero"], script), "null");
    assert_eq!(printed(&home, &[], script), "");
    // All devices of the host are there, and all of a directory.
    let all = printed(&home, &["--privileged", "--device", "/dev/zero"], "ls /dev; stat -c %t:%T /dev/kmsg");
    assert!(all.ends_with("1:b"), "{all}");
    for entry in std::fs::read_dir("/dev").unwrap().flatten() {
        let (kind, name) = (entry.file_type().unwrap(), entry.file_name().into_string().unwrap());
        use std::os::unix::fs::FileTypeExt;
        if (kind.is_block_device() || kind.is_char_device()) && name != "console" {
            assert!(all.lines().any(|line| line == name), "{name} {all}");
        }
    }
    // A device is no mount.
    let create = ["create", "--network", "none", "--name", "web", "--device", "/dev/kmsg"];
    home.out(&[&create[..], &["--device", "/dev/kmsg:/dev/own", "tool", "ls"]].concat());
    assert_eq!(home.out(&["inspect", "-f", "{{json .Mounts}}{{json .HostConfig.Binds}}", "web"]), "[][]");
    assert_eq!(home.out(&["inspect", "-f", "{{len .HostConfig.Devices}}", "web"]), "2");
    assert_eq!(home.out(&["ps", "-a", "--format", "{{.Mounts}}"]), "");
    home.out(&["rm", "web"]);
    if std::path::Path::new("/dev/net/tun").exists() {
        assert_eq!(printed(&home, &["--device", "/dev/net:/dev/own"], "stat -c %t:%T /dev/own/tun"), "a:c8");
    }
}

#[test]
fn the_hosts_ipc_has_the_hosts_shared_memory() {
    use std::os::unix::fs::MetadataExt;
    let home = with_tools();
    let device = std::fs::metadata("/dev/shm").unwrap().dev();
    for flags in [&["--ipc", "host"][..], &["--ipc", "host", "--shm-size", "1m"]] {
        assert_eq!(printed(&home, flags, "stat -c %d /dev/shm"), device.to_string(), "{flags:?}");
    }
    assert_ne!(printed(&home, &[], "stat -c %d /dev/shm"), device.to_string());
    // That of another container, whose IPC namespace is joined.
    home.out(&[
        "run",
        "-d",
        "--network",
        "none",
        "--name",
        "web",
        "tool",
        "sh",
        "-c",
        "echo shared > /dev/shm/x; exec sleep 60",
    ]);
    let mut joined = vec!["--ipc", "container:web"];
    if !is_root() {
        joined.extend(["--userns", "container:web"]);
    }
    let script =
        "until grep shared /dev/shm/x; do :; done; echo back > /dev/shm/y; grep -c ' / ' /proc/self/mounts";
    assert_eq!(printed(&home, &joined, script), "shared\n1");
    assert_eq!(home.out(&["exec", "web", "cat", "/dev/shm/y"]), "back");
    home.out(&["rm", "-f", "web"]);
    // A container that joins has no mount that is less restricted than its own would be.
    let open = ["--network", "none", "--name", "web", "--tmpfs", "/dev/shm:exec,suid,dev"];
    home.out(&[&["run", "-d"], &open[..], &["tool", "sleep", "60"]].concat());
    let found = options(&home, &joined, "/dev/shm");
    assert!(["nosuid", "nodev", "noexec"].iter().all(|one| found.iter().any(|own| own == one)), "{found:?}");
    // One that was asked for is its own.
    let own = [&joined[..], &["--tmpfs", "/dev/shm:size=1m"]].concat();
    assert!(options(&home, &own, "/dev/shm").contains(&"size=1024k".to_owned()));
    home.out(&["rm", "-f", "web"]);
    // Nobody has asked for this mount.
    home.out(&["create", "--ipc", "host", "--network", "host", "--name", "web", "tool", "true"]);
    assert_eq!(home.out(&["inspect", "-f", "{{json .Mounts}}{{json .HostConfig.Binds}}", "web"]), "[][]");
    home.out(&["rm", "web"]);
}

#[test]
fn a_printed_spec_names_the_flags_that_it_does_not_have() {
    let home = with_tools();
    let run = ["run", "--print-spec", "--network", "none"];
    let flags =
        ["--entrypoint", "/bin/cat", "-u", "5:6", "-l", "a=b", "-v", "data:/x", "--restart", "always"];
    let shown = home.out(&[&run[..], &flags, &["--name", "web", "tool", "-A"]].concat());
    let (comment, spec) = shown.split_once("\nname: web\n").unwrap();
    let comment = comment.replace("\n# ", " ");
    assert!(comment.ends_with(": --label a=b --volume data:/x --restart always"), "{shown}");
    assert!(spec.contains("command:\n- /bin/cat\n- -A\n") && spec.contains("run_as: 5:6"), "{shown}");
    // The printed spec does the same.
    let file = home.around().join("own.yaml");
    std::fs::write(&file, home.out(&[&run[..], &["-u", "5:6", "tool", "id", "-u"]].concat())).unwrap();
    if is_root() {
        assert_eq!(home.out(&["run", file.to_str().unwrap()]), "5");
    }
    assert!(!home.out(&[&run[..], &["tool", "true"]].concat()).contains('#'));
}
