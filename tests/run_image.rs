//! `run IMAGE` and `create IMAGE`: what an image says about its containers, and Docker's flags.
//!
//! Judged by what the command in the container sees, by `inspect`, and by Docker's words.
//!
//! Other inputs of the same kind as the ones here:
//! - images with and without an entrypoint, a command, a user by name, by number, by a link, a working directory that does not exist,
//!   null in place of any of them; a passwd file that is a link out of the image, a directory, too long.
//! - each flag that `docker run --help` lists, alone and with a wrong value; words after the image that look like flags of ours.
#![cfg(feature = "images")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use support::image::{Image, Layer, programs};
use support::kept::KeptHome;
use support::{feed, is_root, sample, text};

/// Loads an image with a shell and this config.
fn image(home: &KeptHome, name: &str, change: impl FnOnce(Layer) -> Layer, config: Value) {
    let layer = change(programs(&["sh", "echo", "cat", "id", "env", "sleep", "stat", "mkdir", "ls"]));
    let image = Image { config: json!({ "config": config }), ..Image::of(&[layer]) };
    let output = feed(&mut home.command(&["load", "-q"]), image.docker(&[name]));
    assert!(output.status.success(), "{}", text(&output.stderr));
}

/// Its network needs no bridge, which not every machine can make.
fn run(home: &KeptHome, words: &[&str]) -> String {
    home.out(&[&["run", "--rm", "--network", "none"], words].concat())
}

#[test]
fn an_image_says_how_it_is_run() {
    let home = KeptHome::new();
    let files = |layer: Layer| {
        layer.directory("srv").file("etc/passwd", "root:x:0:0::/root:/bin/sh\nme:x:0:0::/home/me:/bin/sh\n")
    };
    let config = json!({
        "Env": ["PATH=/bin", "GREETING=hello you", "A=1"],
        "Entrypoint": ["sh", "-c"],
        "Cmd": ["pwd; echo $GREETING; echo $A $HOME"],
        "WorkingDir": "/srv",
        "User": "me",
        "StopSignal": "SIGINT",
        "Labels": { "maker": "a test", "stage": "image" },
        "ExposedPorts": { "80/tcp": {}, "53/udp": {} },
        "Volumes": null,
    });
    image(&home, "app:1", files, config);
    assert_eq!(run(&home, &["app:1"]), "/srv\nhello you\n1 /home/me");
    // What the user gives comes after the entrypoint, byte for byte.
    assert_eq!(run(&home, &["app:1", "echo $0 $*", "--help", "--", "-it", "a b"]), "--help -- -it a b");
    assert_eq!(run(&home, &["-e", "A=2", "-w", "/etc", "-e", "HOME=/x", "app:1"]), "/etc\nhello you\n2 /x");
    assert_eq!(run(&home, &["--entrypoint", "cat", "app:1", "/etc/hostname"]).len(), 12);
    assert_eq!(run(&home, &["--hostname", "box", "--entrypoint", "cat", "app:1", "/etc/hostname"]), "box");
    let id = home.out(&["create", "--name", "web", "--label", "stage=flag", "app:1"]);
    let inspected: Value = serde_json::from_str(&home.out(&["inspect", "web"])).unwrap();
    let config = &inspected[0]["Config"];
    assert_eq!(config["Labels"], json!({ "maker": "a test", "stage": "flag" }));
    assert_eq!((&config["StopSignal"], &config["Image"]), (&"SIGINT".into(), &"app:1".into()));
    assert!(inspected[0]["Image"].as_str().unwrap().starts_with("sha256:"));
    assert_eq!(home.out(&["ps", "-aq", "--no-trunc", "--filter", "label=maker=a test"]), id);
    // What the image and the container have nothing of has Docker's zero value.
    let zero = "{{.Config.ExposedPorts}} {{.Config.Volumes}} {{index .Config.Labels \"none\"}}|{{.Config.Healthcheck}}";
    assert_eq!(
        home.out(&["image", "inspect", "-f", zero, "app:1"]),
        "map[53/udp:map[] 80/tcp:map[]] map[] |<nil>"
    );
    let zero = "{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}} {{.Config.Labels.none}}";
    assert_eq!(home.out(&["inspect", "-f", zero, "web"]), "none <no value>");
    assert!(home.refused(&["rmi", "app:1"], 1).contains("container"));
    home.out(&["rm", "web"]);
    // An image without a command.
    image(&home, "none", |layer| layer, json!({ "Env": ["PATH=/bin"] }));
    for (words, status) in [(&["run", "--rm"][..], 125), (&["run", "--dry-run"], 125), (&["create"], 1)] {
        let message = home.refused(&[words, &["--network", "none", "none"]].concat(), status);
        assert!(message.contains("no command specified") && !message.contains("SPEC"), "{message}");
    }
    let zero = "{{.Config.ExposedPorts}} {{.Config.Labels}} {{index .Config.Labels \"x\"}}|{{.Config.Shell}}{{.Config.StopSignal}}";
    assert_eq!(home.out(&["image", "inspect", "-f", zero, "none"]), "map[] map[] |[]");
    // `rootfs: IMAGE` in a spec has the same defaults.
    let file = home.around().join("app.yaml");
    fs::write(&file, "rootfs: app:1\nenv: { A: 3 }\n").unwrap();
    assert_eq!(home.out(&["run", "-q", file.to_str().unwrap()]), "/srv\nhello you\n3 /home/me");
    home.is_empty();
}

/// What the caller may not have is said by the plan, before a layer is unpacked. Of this kind: the user namespace of the host, of
/// a container that does not exist, of a file that is none, of a process of root.
#[test]
fn a_user_namespace_that_cannot_be_had_is_named() {
    let home = KeptHome::new();
    image(&home, "app", |layer| layer, json!({}));
    for (target, expected) in [
        ("container:nosuch", "nosuch"),
        ("/nosuch", "/nosuch"),
        ("/etc/passwd", "/etc/passwd"),
        ("/proc/1/ns/user", "/proc/1/ns/user"),
        ("host", "user namespace"),
    ] {
        if is_root() && ["host", "/proc/1/ns/user"].contains(&target) {
            continue;
        }
        for command in ["run", "create"] {
            let words = [command, "--network", "none", "--userns", target, "app", "echo"];
            let message = home.refused(&words, 125);
            assert!(message.contains(expected), "{words:?}: {message}");
            assert!(!message.contains("unpack") && !message.contains("chroot"), "{words:?}: {message}");
        }
    }
}

#[test]
fn a_container_of_an_image_stays_unless_rm() {
    let home = KeptHome::new();
    image(&home, "app", |layer| layer, json!({ "Env": ["PATH=/bin"] }));
    let none = ["--network", "none"];
    let words = |words: &[&'static str]| [&["run"], &none[..], words].concat();
    assert_eq!(home.out(&words(&["--name", "one", "app", "sh", "-c", "echo hi > /note; cat /note"])), "hi");
    assert_eq!(home.status("one"), "exited");
    assert_eq!(fs::read_to_string(home.container("one").join("upper/note")).unwrap(), "hi\n");
    home.out(&["rm", "one"]);
    let id = home.out(&words(&["-d", "app", "sleep", "600"]));
    assert_eq!(home.out(&["ps", "-q", "--no-trunc"]), id);
    assert_eq!(home.out(&["exec", "-q", &id[..12], "cat", "/etc/hostname"]), &id[..12]);
    home.out(&["rm", "-f", &id[..12]]);
    // Exit statuses are those of the command, 127 and 126.
    assert_eq!(home.run(&words(&["--rm", "app", "sh", "-c", "exit 7"])).status.code(), Some(7));
    assert!(home.refused(&words(&["--rm", "app", "nothing"]), 127).contains("nothing"));
    home.is_empty();
    // Nobody listens there.
    let message = home.refused(&words(&["--rm", "127.0.0.1:1/absent"]), 125);
    assert!(message.starts_with("Unable to find image '127.0.0.1:1/absent:latest' locally"), "{message}");
    // One error: that of the pull.
    assert_eq!(message.matches("sandbox: ").count(), 1, "{message}");
    assert!(message.contains("sandbox: GET https://127.0.0.1:1/v2/ has failed"), "{message}");
    for words in [&["create"][..], &["run", "-d"], &["run", "--pull", "always", "--platform", "linux/arm"]] {
        let message = home.refused(&[words, &["127.0.0.1:1/absent"]].concat(), 125);
        assert_eq!(message.matches("sandbox: ").count(), 1, "{message}");
    }
    assert!(home.refused(&words(&["--rm", "--pull", "never", "absent"]), 125).contains("No such image"));
    assert!(home.refused(&words(&["--rm", "a b"]), 125).contains("not the name of an image"));
}

#[test]
fn users_are_looked_up_inside_and_never_outside() {
    let home = KeptHome::new();
    let files = |layer: Layer| {
        layer
            .file("etc/real", "root:x:0:0::/root:/bin/sh\nzero:x:0:0::/z:/bin/sh\n7:x:0:0:::\nbob:x:1234:2345::/home/bob:/bin/sh\n")
            .symlink("etc/passwd", "/etc/real")
            .file("etc/group", "root:x:0:\nwheel:x:0:zero\nteam:x:3000:bob,zero\n")
    };
    image(&home, "users", files, json!({ "Env": ["PATH=/bin"], "User": "zero" }));
    let script = "id -u; echo $HOME";
    assert_eq!(run(&home, &["users", "sh", "-c", script]), "0\n/z");
    assert_eq!(run(&home, &["-u", "zero:wheel", "users", "id", "-g"]), "0");
    // The name of a user of this machine is none of the image.
    for name in ["daemon", "nobody", "zero:daemon"] {
        home.refused(&["run", "--rm", "--network", "none", "-u", name, "users", "id"], 125);
    }
    assert!(
        home.refused(&["run", "--rm", "--group-add", "none", "users", "id"], 125).contains("no group none")
    );
    // A link that leads out of the image leads to nothing.
    let out = |layer: Layer| {
        layer
            .symlink("etc/passwd", "../../../../../../etc/passwd")
            .symlink("etc/group", "/proc/self/root/etc/group")
    };
    image(&home, "out", out, json!({ "Env": ["PATH=/bin"], "User": "daemon" }));
    home.refused(&["run", "--rm", "--network", "none", "out", "id"], 125);
    assert_eq!(run(&home, &["-u", "0", "out", "id", "-u"]), "0");
    if is_root() {
        // A number is a number, also where a line has it as a name.
        assert_eq!(run(&home, &["-u", "7", "users", "id", "-u"]), "7");
        // But an account may have it, and then its groups are those of the user. Without an account, the group is 0.
        assert_eq!(run(&home, &["-u", "1234", "users", "id", "-G"]), "2345 3000");
        assert_eq!(run(&home, &["-u", "bob", "users", "id", "-G"]), "2345 3000");
        assert_eq!(run(&home, &["-u", "9999", "users", "id", "-G"]), "0");
        assert_eq!(
            run(&home, &["-u", "8:9", "--group-add", "10", "--group-add", "wheel", "users", "id", "-G"]),
            "9 0 10"
        );
    }
    home.is_empty();
}

#[test]
fn flags_are_keys_of_a_spec() {
    let home = KeptHome::new();
    image(&home, "app", |layer| layer, json!({ "Env": ["PATH=/bin"] }));
    let spec = |words: &[&str]| {
        home.out(&[&["run", "--print-spec", "--network", "none"], words, &["app", "sh"]].concat())
    };
    let has = |words: &[&str], line: &str| {
        let printed = spec(words);
        assert!(printed.lines().any(|own| own.trim() == line), "{words:?}: {printed}");
    };
    has(&["-m", "64m"], "limit: 64MiB");
    has(&["-m", "64m", "--memory-swap", "96m"], "swap: 32MiB");
    has(&["--cpus=0.5"], "cpus: 0.5");
    has(&["-c", "512"], "shares: 512");
    has(&["--pids-limit", "9"], "max: 9");
    has(&["-p", "8080:80"], "- 8080:80");
    has(&["--ulimit", "nofile=64:128"], "nofile: 64:128");
    has(&["--sysctl", "net.ipv4.ip_forward=1"], "net.ipv4.ip_forward: '1'");
    has(&["--read-only"], "readonly: true");
    has(&["--init=true"], "init: true");
    has(&["--security-opt", "no-new-privileges"], "no_new_privileges: true");
    has(&["--security-opt", "seccomp=unconfined"], "seccomp: none");
    has(&["--cap-drop", "ALL", "--cap-add", "net_admin"], "- net_admin");
    has(&["-v", "/srv:/data:ro"], "target: /data");
    has(&["--tmpfs", "/t:size=1m"], "size: 1MiB");
    has(&["--device", "/dev/null"], "- /dev/null rwm");
    assert!(!spec(&["--init=false"]).contains("init: true"));
    assert!(!spec(&["--privileged"]).contains("capabilities"));
    for (words, part) in [
        (&["--gpus", "all"][..], "--gpus is not supported"),
        (&["--health-cmd", "x"], "--health-cmd is not supported"),
        (&["--memory-swap", "64m"], "--memory"),
        (&["--cap-add", "nothing"], "is not a capability"),
        (&["--device", "/etc/passwd:/dev/other"], "is not a device"),
        (&["-v", "a/b:/c"], "write ./a/b"),
        (&["-v", "a/../b:/c"], "write ./a/../b"),
        (&["--mount", "type=volume,source=a/b,target=/c"], "write ./a/b"),
        (&["-v", "$:/c"], "name of a volume"),
        (&["--add-host", "x"], "NAME:ADDRESS"),
        (&["--read-only=maybe"], "true or false"),
        (&["-m", "lots"], "--memory"),
    ] {
        let message = home.refused(&[&["run"], words, &["app"]].concat(), 125);
        assert!(message.contains(part), "{words:?}: {message}");
    }
    // The flags work with a spec too.
    let file = home.spec("rootfs: host\nenv: { A: 1 }", "echo $A $B");
    assert_eq!(home.out(&["run", "-q", "-e", "B=2", &file]), "1 2");
}

/// What `docker run --help` of version 27 lists.
const DOCKERS: &str = "add-host annotation attach blkio-weight blkio-weight-device cap-add cap-drop cgroup-parent cgroupns cidfile \
    cpu-count cpu-percent cpu-period cpu-quota cpu-rt-period cpu-rt-runtime cpu-shares cpus cpuset-cpus cpuset-mems detach \
    detach-keys device device-cgroup-rule device-read-bps device-read-iops device-write-bps device-write-iops \
    disable-content-trust dns dns-option dns-search domainname entrypoint env env-file expose gpus group-add health-cmd \
    health-interval health-retries health-start-interval health-start-period health-timeout help hostname init interactive \
    io-maxbandwidth io-maxiops ip ip6 ipc isolation kernel-memory label label-file link link-local-ip log-driver log-opt \
    mac-address memory memory-reservation memory-swap memory-swappiness mount name network network-alias no-healthcheck \
    oom-kill-disable oom-score-adj pid pids-limit platform privileged publish publish-all pull quiet read-only restart rm \
    runtime security-opt shm-size sig-proxy stop-signal stop-timeout storage-opt sysctl tmpfs tty ulimit user userns uts \
    volume volume-driver volumes-from workdir";

#[test]
fn every_flag_of_docker_is_known() {
    let mut definition = sandbox::cli::definition();
    definition.build();
    let run = definition.find_subcommand("run").unwrap();
    let known: BTreeSet<&str> = run.get_arguments().filter_map(|argument| argument.get_long()).collect();
    let missing: Vec<&str> = DOCKERS.split_whitespace().filter(|flag| !known.contains(flag)).collect();
    assert_eq!(missing, [""; 0]);
}

#[test]
fn what_flags_ask_for_is_what_the_container_sees() {
    let home = KeptHome::new();
    image(&home, "app", |layer| layer, json!({ "Env": ["PATH=/bin"] }));
    let words =
        ["--add-host", "db:10.0.0.2", "--dns", "9.9.9.9", "app", "cat", "/etc/hosts", "/etc/resolv.conf"];
    let printed = run(&home, &words);
    assert!(printed.contains("10.0.0.2\tdb\n") && printed.ends_with("nameserver 9.9.9.9"), "{printed}");
    let size = run(&home, &["--shm-size", "1m", "app", "stat", "-f", "-c", "%b %S", "/dev/shm"]);
    assert_eq!(size, "256 4096");
    let status = |words: &[&str]| run(&home, &[words, &["app", "cat", "/proc/self/status"]].concat());
    let field = |status: &str, name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().to_owned()
    };
    let default = status(&[]);
    assert_eq!(
        (field(&default, "CapBnd:"), field(&default, "Seccomp:")),
        ("00000000a80425fb".into(), "2".into())
    );
    let none = status(&["--cap-drop", "all", "--security-opt", "no-new-privileges:true"]);
    assert_eq!(
        (field(&none, "CapBnd:"), field(&none, "NoNewPrivs:")),
        ("0000000000000000".into(), "1".into())
    );
    assert_eq!(field(&status(&["--cap-add", "SYS_TIME"]), "CapBnd:"), "00000000aa0425fb");
    assert_eq!(field(&status(&["--security-opt", "seccomp=unconfined"]), "Seccomp:"), "0");
    let data = home.around().join("data");
    fs::create_dir(&data).unwrap();
    let bind = format!("{}:/data", data.display());
    run(&home, &["-v", &bind, "app", "sh", "-c", "echo x > /data/file"]);
    assert_eq!(fs::read_to_string(data.join("file")).unwrap(), "x\n");
    let read_only = format!("{bind}:ro");
    let refused =
        ["run", "--rm", "--network", "none", "-v", &read_only, "app", "sh", "-c", "echo y > /data/file"];
    assert!(!home.run(&refused).status.success());
    let refused = ["run", "--rm", "--network", "none", "--read-only", "app", "mkdir", "/new"];
    assert!(!home.run(&refused).status.success());
    home.is_empty();
}

/// Docker's flags are read as Docker reads them.
#[test]
fn values_are_those_of_docker() {
    let home = KeptHome::new();
    image(&home, "app", |layer| layer, json!({ "Env": ["PATH=/bin"] }));
    assert_eq!(run(&home, &["--hostname", "123", "app", "cat", "/proc/sys/kernel/hostname"]), "123");
    assert_eq!(run(&home, &["-w", "/1", "app", "sh", "-c", "echo $PWD"]), "/1");
    // A directory that the image lacks is made, and is no file of the container's own.
    let words = [
        "--name",
        "new",
        "--network",
        "none",
        "-w",
        "/new/deep",
        "app",
        "sh",
        "-c",
        "echo $PWD; echo x > file",
    ];
    assert_eq!(home.out(&[&["run"], &words[..]].concat()), "/new/deep");
    assert!(home.out(&["diff", "new"]).contains("A /new/deep/file"));
    assert_eq!(home.out(&["start", "-a", "new"]), "/new/deep");
    home.out(&["rm", "new"]);
    assert!(
        home.refused(&["run", "--rm", "--network", "none", "-w", "/bin/sh/x", "app", "true"], 125)
            .contains("/bin/sh/x")
    );
    for (written, is_read_only) in [("1", true), ("True", true), ("t", true), ("FALSE", false), ("0", false)]
    {
        let flag = format!("--read-only={written}");
        let words = ["run", "--rm", "--network", "none", &flag, "app", "mkdir", "/new"];
        assert_eq!(home.run(&words).status.success(), !is_read_only, "{written}");
        let mount = format!("type=bind,src={},dst=/data,readonly={written}", home.around().display());
        let words =
            ["run", "--rm", "--network", "none", "--mount", &mount, "app", "sh", "-c", ": > /data/made"];
        assert_eq!(home.run(&words).status.success(), !is_read_only, "{written}");
    }
    // What is said by name holds beside --privileged, which says it for all.
    let profile = home.around().join("profile.json");
    let denied = json!({ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO" });
    let rules = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [denied] });
    fs::write(&profile, rules.to_string()).unwrap();
    if is_root() {
        let seccomp = format!("seccomp={}", profile.display());
        let words = ["run", "--rm", "--network", "none", "--privileged"];
        let made = ["app", "mkdir", "/new"];
        assert!(!home.run(&[&words[..], &["--security-opt", &seccomp], &made].concat()).status.success());
        assert!(home.run(&[&words[..], &made].concat()).status.success());
    }
    // A volume belongs to a container that stays.
    let spec = home.spec("", "true");
    assert!(home.refused(&["run", "-v", "data:/x", &spec], 2).contains("--keep"));
    home.is_empty();
}

/// `ps` removes those whose supervisor was killed, also if they share what is removed with them.
#[test]
fn killed_containers_with_volumes_are_removed_by_the_next_command() {
    let home = KeptHome::new();
    image(&home, "app", |layer| layer, json!({ "Env": ["PATH=/bin"], "Volumes": { "/data": {} } }));
    for name in ["one", "two", "three"] {
        home.out(&["run", "-d", "--rm", "--network", "none", "--name", name, "app", "sleep", "600"]);
    }
    assert_eq!(home.out(&["volume", "ls", "-q"]).lines().count(), 3);
    for name in ["one", "two", "three"] {
        kill(Pid::from_raw(home.pid(name, "supervisor").cast_signed()), Signal::SIGKILL).unwrap();
    }
    support::wait_until("all are gone", || home.out(&["ps", "-aq"]).is_empty());
    assert_eq!(home.out(&["volume", "ls", "-q"]), "");
    home.is_empty();
}

/// The lines of the seed about `docker run`, with `sandbox` in place of `docker`.
#[test]
fn the_lines_of_the_seed() {
    let home = KeptHome::new();
    let config = json!({ "Env": ["PATH=/bin"], "Cmd": ["sh"], "ExposedPorts": { "5000/tcp": {} } });
    image(&home, "ubuntu:15.10", |layer| layer, config);
    let none = ["--network", "none"];
    let words = |words: &[&'static str]| [&["run"], &none[..], words].concat();
    assert_eq!(home.out(&words(&["ubuntu:15.10", "/bin/echo", "Hello world"])), "Hello world");
}

#[test]
fn ports_of_an_image_are_published() {
    let home = KeptHome::new();
    let config = json!({ "Env": ["PATH=/bin"], "ExposedPorts": { "5000/tcp": {}, "53/udp": {} } });
    image(&home, "web", |layer| layer, config);
    home.out(&["run", "-d", "-P", "--network", "none", "--name", "ports", "web", "sleep", "600"]);
    let ports = home.out(&["port", "ports"]);
    let mut lines: Vec<&str> = ports.lines().collect();
    lines.sort();
    assert!(lines.len() == 2 && lines[0].starts_with("5000/tcp -> 0.0.0.0:"), "{ports}");
    assert!(lines[1].starts_with("53/udp -> 0.0.0.0:"), "{ports}");
    home.out(&["rm", "-f", "ports"]);
    home.is_empty();
}

/// Of this kind: a volume in a volume, a file in a volume, a volume in a directory of the host, one that is read-only, a link in the
/// directory to outside of it, the working directory, the same volume a second time, two containers at once.
#[test]
fn a_mount_below_another_one_gets_its_mount_point() {
    let home = KeptHome::new();
    let volumes = json!({ "Env": ["PATH=/bin"], "Volumes": { "/a": {}, "/a/b": {} } });
    image(&home, "nest", |layer| layer, volumes);
    image(&home, "app", |layer| layer, json!({ "Env": ["PATH=/bin"] }));
    let mounts = run(&home, &["nest", "cat", "/proc/self/mounts"]);
    let points: Vec<&str> = mounts.lines().filter_map(|line| line.split(' ').nth(1)).collect();
    assert!(points.contains(&"/a") && points.contains(&"/a/b"), "{mounts}");
    // A file of the host in a volume, twice: the mount point is there the second time.
    let token = home.around().join("token");
    fs::write(&token, "secret\n").unwrap();
    let token = format!("{}:/app/conf/token", token.display());
    for _ in 0..2 {
        let words = ["-v", "data:/app", "-v", &token, "app", "cat", "/app/conf/token"];
        assert_eq!(run(&home, &words), "secret");
    }
    assert_eq!(
        run(&home, &["-v", "data:/app", "app", "stat", "-c", "%F", "/app/conf/token"]),
        "regular empty file"
    );
    // In a directory of the host, where the mount point stays.
    let source = home.around().join("source");
    fs::create_dir(&source).unwrap();
    std::os::unix::fs::symlink("/etc", source.join("out")).unwrap();
    let bind = format!("{}:/app", source.display());
    let words =
        ["-v", &bind, "-v", "/app/modules", "-v", "data:/app/out/made", "app", "ls", "/app", "/etc/made"];
    assert_eq!(run(&home, &words), "/app:\nmodules\nout\n\n/etc/made:\nconf");
    assert!(source.join("modules").is_dir() && !std::path::Path::new("/etc/made").exists());
    let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(source.join("modules")).unwrap());
    assert_eq!(owner, nix::unistd::geteuid().as_raw());
    assert_eq!(run(&home, &["-v", &bind, "-w", "/app/src", "app", "sh", "-c", "pwd"]), "/app/src");
    assert!(source.join("src").is_dir());
    assert_eq!(run(&home, &["--tmpfs", "/t", "-w", "/t/a/b", "app", "sh", "-c", "pwd"]), "/t/a/b");
    let plan = ["run", "--network", "none", "--dry-run", "-v", &bind, "--tmpfs", "/app/t", "app", "ls"];
    assert!(home.out(&plan).contains("it stays in these files"), "{}", home.out(&plan));
    // What is read-only is left as it is.
    let fixed = format!("{bind}:ro");
    let message =
        home.refused(&["run", "--rm", "--network", "none", "-v", &fixed, "-v", "/app/x", "app", "ls"], 125);
    assert!(message.contains("mount point does not exist"), "{message}");
    assert!(!source.join("x").exists() && !source.join("t").exists());
    // Two at once make the mount point in one volume.
    let words = ["run", "--rm", "--network", "none", "-v", "both:/b", "--tmpfs", "/b/t", "app", "ls", "/b"];
    let both: Vec<_> = (0..2)
        .map(|_| home.command(&words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
        .collect();
    for one in both {
        let output = one.wait_with_output().unwrap();
        assert_eq!((text(&output.stdout), text(&output.stderr)), ("t\n".to_owned(), String::new()));
    }
    for (command, status) in [("create", 1), ("run", 125)] {
        let words = [command, "--network", "none", "-v", "d1:/app", "-v", "d2:/app/", "app", "ls"];
        assert!(home.refused(&words, status).contains("Duplicate mount point: /app"));
    }
    home.is_empty();
}

/// Of this kind: a volume, a directory of the host, a tmpfs, one that is read-only, the volume of an image · on /etc, on the
/// directory to which the link /etc leads, above that · with a file of the caller's own among them.
#[test]
fn what_is_mounted_on_etc_does_not_hide_the_names() {
    let home = KeptHome::new();
    let passwd = |layer: Layer| layer.file("etc/passwd", "root:x:0:0::/:/bin/sh\n");
    let path = json!({ "Env": ["PATH=/bin"] });
    image(&home, "app", passwd, path.clone());
    image(&home, "own", passwd, json!({ "Env": ["PATH=/bin"], "Volumes": { "/etc": {} } }));
    let source = home.around().join("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("note"), "").unwrap();
    let bind = format!("{}:/etc", source.display());
    let script = "cat /etc/hostname /etc/hosts /etc/resolv.conf; ls /etc";
    let ours = "hostname\nhosts\n";
    for (flags, name, files) in [
        (&["-v", "names:/etc"][..], "app", "hostname\nhosts\npasswd\nresolv.conf"),
        (&["-v", "names:/etc"], "app", "hostname\nhosts\npasswd\nresolv.conf"),
        (&["--mount", "type=tmpfs,dst=/etc"], "app", "hostname\nhosts\nresolv.conf"),
        (&["-v", &bind], "app", "hostname\nhosts\nnote\nresolv.conf"),
        (&["--read-only", "-v", &bind], "app", "hostname\nhosts\nnote\nresolv.conf"),
        (&[], "own", "hostname\nhosts\npasswd\nresolv.conf"),
    ] {
        let flags =
            [&["--hostname", "box", "--dns", "192.0.2.9", "--add-host", "far:192.0.2.1"], flags].concat();
        let seen = run(&home, &[&flags, &[name, "sh", "-c", script][..]].concat());
        assert!(seen.starts_with("box\n") && seen.ends_with(files), "{flags:?} {seen}");
        for part in ["localhost", "192.0.2.1\tfar", "nameserver 192.0.2.9"] {
            assert!(seen.contains(part), "{flags:?} {seen}");
        }
    }
    // Only their mount points stay on the host.
    assert!(source.join("hosts").metadata().is_ok_and(|file| file.len() == 0));
    // They are made before a tmpfs becomes read-only. A directory of the host is read-only from the start.
    assert!(run(&home, &["--tmpfs", "/etc:ro", "app", "ls", "/etc"]).contains(ours));
    let empty = home.around().join("empty");
    fs::create_dir(&empty).unwrap();
    let fixed = format!("{}:/etc:ro", empty.display());
    assert!(!run(&home, &["-v", &fixed, "app", "ls", "/etc"]).contains(ours));
    // A file of the caller's is the one that is seen, in /etc and where a link of the image leads.
    let own = home.around().join("own");
    fs::write(&own, "192.0.2.7 mine\n").unwrap();
    let on = |name: &str| format!("{}:/etc/{name}", own.display());
    let linked = |layer: Layer| layer.symlink("etc/resolv.conf", "../tmp/resolv.conf");
    image(&home, "linked", linked, path.clone());
    for (flags, name, file) in [
        (vec!["-v".to_owned(), on("hosts")], "app", "/etc/hosts"),
        (vec!["--tmpfs=/etc".to_owned(), "-v".to_owned(), on("hosts")], "app", "/etc/hosts"),
        (vec!["-v".to_owned(), on("resolv.conf")], "linked", "/etc/resolv.conf"),
    ] {
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        assert_eq!(run(&home, &[&flags, &[name, "cat", file][..]].concat()), "192.0.2.7 mine", "{flags:?}");
    }
    // The link of the second layer takes the place of the directory.
    let moved = Layer::new().directory("usr/conf").symlink("etc", "usr/conf");
    let moved = Image { config: json!({ "config": path }), ..Image::of(&[programs(&["cat"]), moved]) };
    assert!(feed(&mut home.command(&["load", "-q"]), moved.docker(&["moved"])).status.success());
    for flag in ["--tmpfs=/etc", "--tmpfs=/usr/conf", "--tmpfs=/usr"] {
        let seen = run(&home, &[flag, "--hostname", "box", "moved", "cat", "/etc/hostname"]);
        assert_eq!(seen, "box", "{flag}");
    }
}

#[test]
fn volumes_stay_and_get_the_files_of_the_image() {
    let home = KeptHome::new();
    let base = programs(&["sh", "cat", "ls", "mkdir", "stat"]);
    let low = base
        .directory("data")
        .file("data/low", "low")
        .file("data/gone", "x")
        .directory("data/dir")
        .file("data/dir/x", "x");
    let outside = home.around().join("outside");
    fs::create_dir(&outside).unwrap();
    let top = Layer::new()
        .file("data/.wh.gone", "")
        .file("data/.wh..wh..opq.not", "")
        .file("data/top", "top")
        .symlink("data/link", outside.to_str().unwrap())
        .symlink("leads", "/data")
        .symlink("etc/out", outside.to_str().unwrap());
    let volumes = json!({ "Env": ["PATH=/bin"], "Volumes": { "/leads": {}, "/../../etc/out/deep": {} } });
    let image = Image { config: json!({ "config": volumes }), ..Image::of(&[low, top]) };
    let output = feed(&mut home.command(&["load", "-q"]), image.docker(&["data"]));
    assert!(output.status.success(), "{}", text(&output.stderr));
    let none = ["--network", "none"];
    let words = |words: &[&'static str]| [&["run"], &none[..], words].concat();
    // The volume without a name is at the place to which the link leads, and has what an overlay shows there.
    let script =
        "cat /data/low /data/top; test -e /data/gone || echo gone; cat /data/dir/x; echo new > /data/new";
    assert_eq!(home.out(&words(&["--name", "one", "data", "sh", "-c", script])), "lowtopgone\nx");
    let inspected: Value = serde_json::from_str(&home.out(&["inspect", "one"])).unwrap();
    let mounts = inspected[0]["Mounts"].as_array().unwrap().clone();
    let at = |place: &str| {
        mounts.iter().find(|mount| mount["Destination"] == place).unwrap_or_else(|| panic!("{mounts:?}"))
    };
    let source = at("/data")["Source"].as_str().unwrap().to_owned();
    assert_eq!(fs::read_to_string(format!("{source}/new")).unwrap(), "new\n");
    assert_eq!(fs::read_link(format!("{source}/link")).unwrap(), outside);
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "no link leads out");
    assert_eq!(fs::read_dir(home.container("one").join("upper")).unwrap().count(), 0);
    let names = home.out(&["volume", "ls", "-q"]);
    assert_eq!(names.lines().count(), 2);
    for name in names.lines() {
        assert!(home.refused(&["volume", "rm", name], 1).contains("volume is in use"));
    }
    // Those of another container.
    assert_eq!(home.out(&words(&["--rm", "--volumes-from", "one", "data", "cat", "/data/new"])), "new");
    assert_eq!(home.out(&["volume", "ls", "-q"]), names);
    home.out(&["rm", "-v", "one"]);
    assert_eq!(home.out(&["volume", "ls", "-q"]), "");
    // One with a name stays.
    assert_eq!(home.out(&["volume", "create", "keep"]), "keep");
    // What a removal that was killed has left is no volume, and the next removal ends it.
    let all = home.path().join("volumes");
    home.out(&["volume", "create", "gone"]);
    fs::rename(all.join("gone"), all.join(".removed-gone")).unwrap();
    fs::write(all.join(".removed-gone/_data/file"), "x").unwrap();
    assert_eq!(home.out(&["volume", "ls", "-q"]), "keep");
    home.out(&["volume", "create", "other"]);
    home.out(&["volume", "rm", "other"]);
    assert!(!all.join(".removed-gone").exists());
    let script = "ls /data; echo x >> /data/count; cat /data/count";
    assert_eq!(
        home.out(&words(&["--rm", "-v", "keep:/data", "data", "sh", "-c", script])),
        "dir\nlink\nlow\ntop\nx"
    );
    assert_eq!(home.out(&words(&["--rm", "-v", "keep:/data:ro", "data", "cat", "/data/count"])), "x");
    assert_eq!(home.out(&words(&["--rm", "-v", "made:/srv", "data", "ls", "/srv"])), "");
    assert_eq!(home.out(&["volume", "ls"]), "DRIVER    VOLUME NAME\nlocal     keep\nlocal     made");
    let inspected: Value = serde_json::from_str(&home.out(&["volume", "inspect", "keep"])).unwrap();
    assert_eq!(inspected[0]["Name"], "keep");
    assert!(home.refused(&["volume", "rm", "none"], 1).contains("no such volume"));
    assert_eq!(home.out(&["volume", "rm", "made"]), "made");
    assert!(home.out(&["volume", "prune", "-f"]).contains("Total reclaimed space: 0B"));
    assert_eq!(home.out(&["volume", "ls", "-q"]), "keep", "it has a name");
    assert!(home.out(&["volume", "prune", "-af"]).starts_with("Deleted Volumes:\nkeep\n"));
    // After --rm, no volume without a name is left.
    home.out(&words(&["--rm", "data", "sh", "-c", "true"]));
    assert_eq!(home.out(&["volume", "ls", "-q"]), "");
    home.is_empty();
}

/// Of several commands that make a volume with the same name at the same time, one makes it, and all print its name.
#[test]
fn a_volume_that_two_commands_make_at_the_same_time_is_one() {
    let home = KeptHome::new();
    for round in 0..sample(4, 0..16).len() {
        let name = format!("v{round}");
        let of = |label: usize| {
            let label = format!("--label=by={label}");
            home.command(&["volume", "create", &label, &name])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
        };
        let children: Vec<_> = (0..4).map(|number| of(number).unwrap()).collect();
        for child in children {
            let output = child.wait_with_output().unwrap();
            assert_eq!((text(&output.stdout), text(&output.stderr)), (format!("{name}\n"), String::new()));
        }
        let first = home.out(&["volume", "inspect", &name]);
        assert_eq!(home.out(&["volume", "create", &name]), name);
        assert_eq!(home.out(&["volume", "inspect", &name]), first, "it stays as it was made");
        let files = fs::read_dir(home.path().join("volumes").join(&name)).unwrap();
        let mut files: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
        files.sort();
        assert_eq!(files, ["_data", "volume.json"]);
        home.out(&["volume", "rm", &name]);
    }
}

#[test]
fn the_host_has_a_name_and_a_device_another_place() {
    let home = KeptHome::new();
    image(&home, "app", |layer| layer, json!({ "Env": ["PATH=/bin"] }));
    let hosts = |network: &str| {
        let words = [
            "run",
            "--rm",
            "--network",
            network,
            "--add-host",
            "box:host-gateway",
            "app",
            "cat",
            "/etc/hosts",
        ];
        let output = home.run(&words);
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout).contains("127.0.0.1\tbox\n")
    };
    assert!(hosts("host") && !hosts("none"));
    for wrong in ["box:gateway", "b x:host-gateway", ":host-gateway"] {
        home.refused(&["run", "--rm", "--add-host", wrong, "app", "true"], 125);
    }
    let device = |value: &str, path: &str| {
        home.run(&[
            "run",
            "--rm",
            "--network",
            "none",
            "--device",
            value,
            "app",
            "stat",
            "-L",
            "-c",
            "%F %t:%T",
            path,
        ])
    };
    assert_eq!(device("/dev/null:/dev/other:zz", "/dev/other").status.code(), Some(125));
    assert_eq!(device("/etc/passwd:/dev/other", "/dev/other").status.code(), Some(125));
    // A user's container has no cgroup of its own for the rule.
    if is_root() && support::limits::may("the_host_has_a_name_and_a_device_another_place", "devices") {
        let output = device("/dev/zero:/dev/of/other:rw", "/dev/of/other");
        assert_eq!(text(&output.stdout).trim(), "character special file 1:5", "{}", text(&output.stderr));
        assert!(!device("/dev/zero:/dev/of/other", "/dev/other").status.success());
    }
    home.is_empty();
}
