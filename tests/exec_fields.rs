//! For each field of a config, a process of `exec` and the container's own process show the same in the kernel.
//!
//! Other inputs of the same kind as the ones here:
//! - every key of a spec that restricts a process, alone and together; root, a mapped root, another user; without and with
//!   namespaces of each kind, an init, limits.
//! - the caller of `exec`: other limits, capabilities, groups, signals, umask and nice value than the caller of `run`.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use support::background::Background;
use support::running::Running;
use support::{alone, binary, child_named, is_root, limits, repository, sandbox, state, text, wait_until};

/// A command that runs as long as this is not dropped, and its PID.
struct Further(#[expect(dead_code, reason = "it ends when it is dropped")] Background, u32);

impl Further {
    fn of(container: &Running, flags: &[&str]) -> Further {
        let words = [&["exec", "-q"], flags, &[&*container.name, "sleep", "600"]].concat();
        // The caller has another umask and another limit than the one of `run`, and ignores other signals.
        let script = "trap '' USR1 TSTP; umask 077; ulimit -Sn 99; exec \"$@\"";
        let mut shell = Command::new("sh");
        shell.args(["-c", script, "sh"]).arg(binary()).args(words).current_dir("/");
        let sandbox = Background::piped(&mut shell);
        let pid = child_named(sandbox.id(), "sleep");
        // Before, its loader has other files open.
        wait_until("it sleeps", || state(pid) == 'S');
        Further(sandbox, pid)
    }
}

type Facts = BTreeMap<String, String>;

/// The lines of /proc/PID/status that differ between two processes of one program: IDs and names of processes, memory,
/// time, pending signals. All others are compared, those of a later kernel too.
const OWN_LINES: [&str; 18] = [
    "State",
    "Tgid",
    "Ngid",
    "Pid",
    "PPid",
    "TracerPid",
    "FDSize",
    "NStgid",
    "NSpid",
    "NSpgid",
    "NSsid",
    "Threads",
    "SigQ",
    "voluntary_ctxt_switches",
    "nonvoluntary_ctxt_switches",
    "HugetlbPages",
    "CoreDumping",
    "Kthread",
];

/// What the kernel shows of a process on the host, each by its name.
fn kernel(pid: u32) -> Facts {
    let process = format!("/proc/{pid}");
    let read = |file: &str| fs::read_to_string(format!("{process}/{file}")).unwrap();
    let link = |file: &str| fs::read_link(format!("{process}/{file}")).unwrap().display().to_string();
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut all = Facts::new();
    for line in read("status").lines() {
        let (name, value) = line.split_once(':').unwrap();
        if !OWN_LINES.contains(&name) && !name.starts_with("Vm") && !name.starts_with("Rss") {
            all.insert(name.to_owned(), words(value));
        }
    }
    for file in [
        "limits",
        "cgroup",
        "uid_map",
        "gid_map",
        "setgroups",
        "oom_score_adj",
        "mountinfo",
        "timens_offsets",
    ] {
        all.insert(file.to_owned(), read(file).lines().map(|line| words(line) + "\n").collect());
    }
    for file in ["cwd", "root"] {
        let about = fs::metadata(format!("{process}/{file}")).unwrap();
        all.insert(file.to_owned(), format!("{} {}:{}", link(file), about.dev(), about.ino()));
    }
    for kind in ["pid", "mnt", "net", "uts", "ipc", "user", "cgroup", "time"] {
        all.insert(format!("ns {kind}"), link(&format!("ns/{kind}")));
    }
    // The nice value, and the scheduling policy. proc_pid_stat(5)
    let stat = read("stat");
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    all.insert("nice".to_owned(), format!("{} {} {}", fields[16], fields[37], fields[38]));
    let environment = fs::read(format!("{process}/environ")).unwrap();
    for entry in environment.split(|byte| *byte == 0).map(text).filter(|entry| !entry.is_empty()) {
        let (name, value) = entry.split_once('=').unwrap();
        // These are the shell's.
        if !["PWD", "OLDPWD", "SHLVL", "_"].contains(&name) {
            all.insert(format!("env {name}"), value.to_owned());
        }
    }
    all
}

/// Descriptors 0 to 2, the number of descriptors, and the controlling terminal (0: none).
fn streams(pid: u32) -> ([String; 3], usize, String) {
    let of = |number| fs::read_link(format!("/proc/{pid}/fd/{number}")).unwrap().display().to_string();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let terminal = stat.rsplit(") ").next().unwrap().split(' ').nth(4).unwrap().to_owned();
    ([of(0), of(1), of(2)], fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count(), terminal)
}

/// Compares all facts of both processes.
fn compare(container: &Running, further: &Further, spec: &str) -> Facts {
    let (own, given) = (kernel(container.pid), kernel(further.1));
    for (name, value) in &own {
        assert_eq!(given.get(name), Some(value), "{name} of {spec}");
    }
    assert_eq!(own.len(), given.len(), "{spec} {given:?}");
    own
}

/// A container in which each field of a config has a value other than that of a process on the host.
fn whole() -> String {
    let both = "rootfs: host\npid:\nnet:\nipc:\nuts: { hostname: box }\ncgroup:\ntime: { boottime: 1h }\n\
                mnt: { mounts: [{ type: tmpfs, target: /opt, size: 1MiB }] }\nworkdir: /usr/lib\nenv: { A: 'b c' }\n\
                capabilities: { keep: [chown, kill] }\nseccomp: default\nno_new_privileges: true\ntimeout: 1h\ntty: true\n\
                rlimits: { nofile: '77:88', core: 0 }\n";
    let user = match is_root() {
        true => "user: { map: '0:100000:1000' }\nrun_as: '12:34'\n",
        false => "user: { map: root }\n",
    };
    let possible: String = [
        ("memory", "memory: { limit: 64MiB }\n"),
        ("cpu", "cpu: { cpus: 0.5 }\n"),
        ("blkio", "blkio: {}\n"),
        ("devices", "devices: { allow: [/dev/null rw] }\n"),
        ("pids", "pids: { max: 40 }\n"),
    ]
    .into_iter()
    .filter(|(feature, _)| limits::is_possible(feature))
    .map(|(_, key)| key)
    .collect();
    format!("{both}{user}{possible}")
}

/// How the kernel shows a field.
enum Shown {
    /// A fact has this part.
    Part(&'static str, String),
    /// A fact is another one than that of this test.
    Differs(&'static str),
    /// Both processes are in this controller's cgroup of the container.
    Cgroup(&'static str),
    /// All these paths are mount points, with this option if there is one.
    Mounted(&'static str, Option<&'static str>),
    /// The device files of /dev.
    Devices,
    /// A process of its own has a value of its own: the reason.
    Asked(&'static str),
}

/// Each field, and what the kernel shows of it. A field without a row fails the test.
fn fields() -> Vec<(&'static str, Shown)> {
    use Shown::{Asked, Cgroup, Devices, Differs, Mounted, Part};
    let part = |fact, part: &str| Part(fact, part.to_owned());
    let (user, map) = match is_root() {
        true => ("100012 100012 100012 100012".to_owned(), "0 100000 1000\n".to_owned()),
        false => {
            let own = nix::unistd::geteuid();
            (format!("{own} {own} {own} {own}"), format!("0 {own} 1\n"))
        }
    };
    vec![
        ("version", Asked("the form of the file")),
        ("name", Asked("exec finds the container by it")),
        ("environment.namespaces.pid", Differs("ns pid")),
        ("environment.namespaces.mnt", Differs("ns mnt")),
        ("environment.namespaces.net", Differs("ns net")),
        ("environment.namespaces.uts", Differs("ns uts")),
        ("environment.namespaces.ipc", Differs("ns ipc")),
        ("environment.namespaces.user", Part("uid_map", map)),
        ("environment.namespaces.cgroup", Differs("ns cgroup")),
        ("environment.namespaces.time", part("timens_offsets", "boottime 3600 0\n")),
        ("environment.root", Differs("root")),
        ("environment.mounts", part("mountinfo", " /opt rw")),
        ("environment.maskedPaths", Mounted("maskedPaths", None)),
        ("environment.readonlyPaths", Mounted("readonlyPaths", Some("ro"))),
        ("environment.devices", Devices),
        ("environment.resources.memory", Cgroup("memory")),
        ("environment.resources.cpu", Cgroup("cpu")),
        ("environment.resources.blkio", Cgroup("blkio")),
        ("environment.resources.devices", Cgroup("devices")),
        ("environment.resources.pids", Cgroup("pids")),
        ("environment.sysctls", Asked("values of the namespaces, which are compared; see tests/ipc.rs")),
        ("environment.hosts", Asked("lines of /etc/hosts, a mount that is compared; see tests/run_image.rs")),
        ("environment.nameservers", Asked("lines of /etc/resolv.conf, in the same way")),
        ("process.args", Asked("the command of exec")),
        ("process.env", part("env A", "b c")),
        ("process.cwd", part("cwd", "/usr/lib ")),
        ("process.user", Part("Uid", user)),
        ("process.additionalGids", Asked("a spec has no key for them; those of -u are in tests/exec.rs")),
        ("process.capabilities", part("CapBnd", "0000000000000021")),
        ("process.seccomp", part("Seccomp_filters", "1")),
        ("process.rlimits", part("limits", "Max open files 77 88 files\n")),
        ("process.noNewPrivileges", part("NoNewPrivs", "1")),
        ("process.inherited", part("Umask", "0022")),
        ("process.terminal", Asked("-t")),
        ("process.consoleSize", Asked("-t; the size is that of the caller's terminal")),
        ("process.timeout", Asked("the timer of sandbox; exec ends with the container")),
    ]
}

/// The fields of the schema, those of the structs inside a config too.
fn schema() -> BTreeSet<String> {
    let schema = fs::read_to_string(repository().join("docs/schema/config.json")).unwrap();
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    let names =
        |of: &serde_json::Value| of["properties"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let mut all: BTreeSet<String> = names(&schema).into_iter().collect();
    for (place, name) in [
        ("environment", "Environment"),
        ("environment.namespaces", "ContainerNamespaces"),
        ("environment.resources", "Resources"),
        ("process", "Process"),
    ] {
        assert!(all.remove(place), "{place} of {all:?}");
        all.extend(names(&schema["$defs"][name]).into_iter().map(|name| format!("{place}.{name}")));
    }
    all
}

#[test]
fn each_field_of_a_config_is_shown_alike() {
    let _alone = alone();
    let fields = fields();
    let named: BTreeSet<String> = fields.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(named, schema(), "each field of the config has one row of the table");
    let spec = whole();
    let container = Running::with("fields", &[], &spec, "");
    let config = fs::read(container.directory.path().join("spec.yaml")).unwrap();
    let further = Further::of(&container, &[]);
    let (facts, here) = (compare(&container, &further, &spec), kernel(std::process::id()));
    let file = container.directory.path().join("spec.yaml");
    let printed = sandbox(&["run", "--print-config", file.to_str().unwrap()]).output().unwrap();
    let config: serde_json::Value = serde_json::from_slice(&printed.stdout)
        .unwrap_or_else(|error| panic!("{error}: {} {}", text(&config), text(&printed.stderr)));
    for (field, shown) in fields {
        match shown {
            Shown::Part(fact, part) => {
                assert!(facts[fact].contains(&part), "{field}: {fact} is {}", facts[fact]);
                // Outside, an ordinary user is the same user. The caller of `exec` has another umask.
                let is_same = field == "process.user" && !is_root() || field == "process.inherited";
                let is_here = here.get(fact).is_some_and(|here| here.contains(&part));
                assert!(!is_here || is_same, "the control of {field}");
            }
            Shown::Differs(fact) => assert_ne!(facts[fact], here[fact], "{field}"),
            Shown::Cgroup(controller) => {
                if limits::is_possible(controller) {
                    let [own, given] = [container.pid, further.1].map(|pid| limits::group(pid, controller));
                    assert_eq!(own, given, "{field}");
                    assert!(own.to_string_lossy().contains("/sandbox/"), "{field}: {own:?}");
                }
            }
            Shown::Mounted(list, option) => {
                let paths = config["environment"][list].as_array().unwrap();
                assert!(paths.len() > 2, "{config}");
                let mounted = |path: &str, table: &str| {
                    table.lines().any(|line| {
                        let words: Vec<&str> = line.split(' ').collect();
                        words[4] == path
                            && option.is_none_or(|option| words[5].split(',').any(|own| own == option))
                    })
                };
                let paths: Vec<&str> =
                    paths.iter().map(|path| path["path"].as_str().or(path.as_str()).unwrap()).collect();
                let count = |table: &str| paths.iter().filter(|path| mounted(path, table)).count();
                // Those that this kernel does not have are left out.
                assert!(count(&facts["mountinfo"]) > 2, "{field}: {paths:?} {}", facts["mountinfo"]);
                assert_eq!(count(&here["mountinfo"]), 0, "the control of {field}");
            }
            Shown::Devices => {
                for device in config["environment"]["devices"].as_array().unwrap() {
                    let path = device["path"].as_str().unwrap();
                    let [own, given] = [container.pid, further.1]
                        .map(|pid| fs::symlink_metadata(format!("/proc/{pid}/root{path}")).unwrap().rdev());
                    assert!(own == given && own > 0, "{field}: {path} {own}");
                }
            }
            Shown::Asked(reason) => println!("{field} belongs to one process: {reason}"),
        }
    }
    // What was asked for. Without -t, there is no terminal, also if the container has one.
    let command_line = fs::read(format!("/proc/{}/cmdline", further.1)).unwrap();
    assert_eq!(text(&command_line), "sleep\x00600\0");
    let (own, given) = (streams(container.pid), streams(further.1));
    assert!(own.2 != "0" && own.0.iter().all(|stream| stream.starts_with("/dev/pts/")), "{own:?}");
    assert!(given.2 == "0" && given.0[1].starts_with("pipe:"), "{given:?}");
    let with_terminal = streams(Further::of(&container, &["-t"]).1);
    assert!(with_terminal.2 != "0" && with_terminal.2 != own.2, "{with_terminal:?}");
    assert!(with_terminal.0.iter().all(|stream| stream.starts_with("/dev/pts/")), "{with_terminal:?}");
}

#[test]
fn it_is_like_the_container_s_own_process() {
    let _alone = alone();
    let whole = "rootfs: host\npid:\nnet:\nipc:\nuts: { hostname: box }\ncgroup:\nseccomp: default\n";
    let mut specs = vec![
        "uts:\n".into(),
        format!(
            "{whole}capabilities: default\nno_new_privileges: true\nworkdir: /usr/lib\nenv: {{ A: 'b c', TERM: dumb }}\n"
        ),
        format!(
            "{whole}capabilities: {{ keep: [chown, kill] }}\nrlimits: {{ nofile: '77:88', core: 0, nproc: 4000 }}\n"
        ),
        "rootfs: host\npid: { init: true }\ncapabilities: { keep: [] }\n".into(),
        "rootfs: host\nuts:\nrlimits: { nofile: 6 }\n".into(),
    ];
    if is_root() {
        specs.push(format!("{whole}capabilities: default\nrun_as: '1234:4321'\nno_new_privileges: true\n"));
        specs.push(format!(
            "{whole}user: {{ map: '0:100000:1000' }}\nrun_as: '12:34'\ncapabilities: default\n"
        ));
        specs.push(format!("{whole}user: {{ map: auto }}\ncapabilities: default\n"));
        specs.push("rootfs: host\npid:\ncgroup:\npids: { max: 40 }\nmemory: { limit: 64m }\ndevices: { allow: ['/dev/null rw'] }\n".into());
    }
    for spec in specs {
        let container = Running::of(&spec, "");
        let further = Further::of(&container, &[]);
        let own = compare(&container, &further, &spec);
        assert!(own.len() > 40 && own.contains_key("env PATH"), "{own:?}");
        // It has a session of its own, and no descriptor of the caller.
        let ([input, output, error], count, terminal) = streams(further.1);
        assert_eq!((&*input, count, &*terminal), ("/dev/null", 3, "0"), "{spec}");
        assert!(
            output.starts_with("pipe:") && error.starts_with("pipe:") && output != error,
            "{output} {error}"
        );
    }
}

/// Without `capabilities` in the spec. The caller of `exec` can have more than the one of `run` had.
#[test]
fn it_has_no_more_capabilities_than_the_container_s_process() {
    let _alone = alone();
    let own = "exec setpriv --bounding-set=-sys_admin,-sys_chroot sleep 60";
    let container = Running::of("rootfs: host\npid:\n", own);
    let further = Further::of(&container, &[]);
    for set in ["CapBnd", "CapEff"] {
        assert_eq!(kernel(further.1)[set], kernel(container.pid)[set], "{set}");
    }
    let privileged = Further::of(&container, &["--privileged"]);
    assert_ne!(kernel(privileged.1)["CapBnd"], kernel(container.pid)["CapBnd"]);
}
