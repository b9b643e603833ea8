//! Properties of a config: what is written is read back, and each value in it has an effect on the plan.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use serde_json::{Value, json};

use super::complete::Completed;
use super::compose::{self, Ending};
use super::container::{Config, ConfigVersion};
use super::facts::Machine;
use super::spec::Spec;
use super::spec::judge::faults;
use crate::feature::Purpose;
use crate::plan::{Draft, Plan};
use crate::rootfs::Rootfs;
use crate::security::seccomp::{ProfileFile, Seccomp};
use crate::value::join::JoinTarget;
use crate::value::mount::ExtraMount;

/// The values that a key of a generated spec can have.
const KEYS: [(&str, &[&str]); 28] = [
    ("name", &["box", "a.b-c_d"]),
    ("rootfs", &["host", "/tmp", "/nowhere", "{layers: [/nowhere, /tmp], upper: /tmp/upper}"]),
    ("overlay", &["true"]),
    ("workdir", &["/", "/tmp", "/nowhere/at/all"]),
    ("env", &["{A: b, PATH: /bin}", "{EMPTY: '', 'É': 'ü'}"]),
    ("sysctls", &["{net.core.somaxconn: 7, kernel.sem: '250 32000 32 128'}", "{fs.mqueue.msg_max: 20}"]),
    ("tty", &["true"]),
    ("init", &["true"]),
    ("timeout", &["90", "1h"]),
    ("keep", &["true"]),
    ("pid", &["{}", "{mount_proc: false}", "{init: true}", "{join: /run/pid}"]),
    (
        "mnt",
        &[
            "{}",
            "{propagation: slave, readonly: true}",
            "{propagation: shared}",
            "{tmpfs: [/mnt, /opt], bind: [{source: /usr, target: /srv}]}",
            "{root: /tmp}",
            "{mounts: [{type: tmpfs, target: /dev/shm, size: 1m}, {type: bind, source: /usr, target: /srv, readonly: true}]}",
        ],
    ),
    (
        "net",
        &[
            "{}",
            "{lo: down}",
            "{veth: true, mount_sys: false}",
            "{mode: bridge, publish: ['8080:80', '127.0.0.1::53/udp', '8000-8005:90-95']}",
            "{mode: host}",
            "{join: /run/netns}",
        ],
    ),
    ("uts", &["{}", "{hostname: box, domainname: lab}", "{hostname: 'ü'}"]),
    ("ipc", &["{}", "{join: 'container:web'}", "{join: host}"]),
    ("user", &["{}", "{map: auto}", "{map: none}", "{map_user: 7, map_group: 8}", "{map: '0:100000:65536'}"]),
    ("cgroup", &["{}", "{join: /proc/1/ns/cgroup}"]),
    ("time", &["{}", "{boottime: 10d, monotonic: '-30s'}"]),
    ("memory", &["{}", "{limit: 64m, swap: 0, reservation: 1m, swappiness: 10}"]),
    ("cpu", &["{}", "{shares: 512, cpus: 0.15, cpuset: '0', mems: '0'}", "{weight: 7}"]),
    ("blkio", &["{}", "{weight: 500, read_bps: {/tmp: 1m, /: 2m}, write_iops: {'1:2': 7}}"]),
    ("devices", &["{}", "{allow: [a], deny: ['c 1:5 rwm']}", "{allow: [/dev/kmsg rw, /dev/null r]}"]),
    ("pids", &["{}", "{max: 64}"]),
    ("capabilities", &["default", "{keep: []}", "{keep: [kill, sys_admin]}"]),
    ("seccomp", &["default", "none", "/nowhere/profile.json"]),
    ("rlimits", &["{}", "{nofile: 64, core: 0, stack: '8192:unlimited'}"]),
    ("no_new_privileges", &["true"]),
    ("run_as", &["'0'", "'1000:100'"]),
];

/// The facts for any spec. They do not change between two plans, so the plans can be compared.
fn machine() -> Machine {
    let all = "rootfs: host\nuser:\nnet: {mode: bridge, veth: true, publish: ['8080:80']}\nmemory:\ncpu: {cpuset: '0', mems: '0'}\n\
               blkio: {weight: 500, read_bps: {/tmp: 1m, /: 1m}}\ndevices:\npids:\ncapabilities:\nmnt:\npid:\n";
    let mut machine = Completed::of(&spec(all), Purpose::Container).machine;
    machine.host.sysfs = Completed::of(&spec("net:\n"), Purpose::Container).machine.host.sysfs;
    machine
}

fn spec(yaml: &str) -> Spec {
    serde_yaml::from_str(yaml).unwrap_or_else(|error| panic!("{error}: {yaml}"))
}

/// A sequence of numbers that looks random, and is the same in each run: xorshift.
struct Random(u64);

impl Random {
    /// A number below `end`.
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }

    /// Bytes that are UTF-8 or not.
    fn word(&mut self) -> OsString {
        let letters = [b'a', b'/', b'=', b'"', b' ', b'\n', 0x1b, 0xc3, 0xa9, 0xff];
        OsString::from_vec((0..self.below(6)).map(|_| letters[self.below(letters.len())]).collect())
    }

    /// A spec in which about half of the keys are present.
    fn spec(&mut self) -> Spec {
        let mut yaml = String::from("optional: []\n");
        for (key, values) in KEYS {
            if self.below(2) == 0 {
                yaml += &format!("{key}: {}\n", values[self.below(values.len())]);
            }
        }
        let mut spec = spec(&yaml);
        // A command is bytes, and so is the path of the directory that a spec is in.
        spec.command = (0..self.below(4)).map(|_| self.word()).collect();
        match &mut spec.rootfs {
            Some(Rootfs::Dir(directory)) => directory.push(self.word()),
            Some(Rootfs::Layers(layers)) => {
                layers.layers.iter_mut().chain(&mut layers.upper).for_each(|path| path.push(self.word()));
            }
            Some(Rootfs::Host | Rootfs::Image(_)) | None => {}
        }
        let Spec { pid, net, cgroup, .. } = &mut spec;
        let pid = pid.as_mut().and_then(|pid| pid.join.as_mut());
        let net = net.as_mut().and_then(|net| net.join.as_mut());
        let cgroup = cgroup.as_mut().and_then(|cgroup| cgroup.join.as_mut());
        for join in [pid, net, cgroup].into_iter().flatten() {
            if let JoinTarget::Path(path) = join {
                path.push(self.word());
            }
        }
        for mount in spec.mnt.iter_mut().flat_map(|mnt| &mut mnt.mounts) {
            if let ExtraMount::Bind { source, .. } = mount {
                source.push(self.word());
            }
        }
        if let Some(Seccomp::File(file)) = spec.seccomp {
            let mut path = file.path_from(Path::new("/"));
            path.push(self.word());
            spec.seccomp = Some(Seccomp::File(file.read(path, self.profile())));
        }
        spec
    }

    /// The file of a seccomp profile, with some of the rules that a profile can have.
    fn profile(&mut self) -> ProfileFile {
        const RULES: [&str; 9] = [
            r#"{"names": ["kill", "no_such_call"], "action": "SCMP_ACT_ERRNO", "errnoRet": 71}"#,
            r#"{"name": "chroot", "action": "SCMP_ACT_ERRNO", "errno": "ENOENT"}"#,
            r#"{"names": ["execve", "brk"], "action": "SCMP_ACT_ALLOW"}"#,
            r#"{"names": ["umask"], "action": "SCMP_ACT_KILL", "excludes": {"caps": ["CAP_SYS_ADMIN"]}}"#,
            r#"{"names": ["sync"], "action": "SCMP_ACT_LOG", "includes": {"minKernel": "4.8", "arches": ["amd64"]}}"#,
            r#"{"names": ["clone"], "action": "SCMP_ACT_TRAP", "args": [{"index": 0, "value": 2114060288, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]}"#,
            r#"{"names": ["lseek"], "action": "SCMP_ACT_TRACE", "args": [{"index": 1, "value": 18446744073709551615, "op": "SCMP_CMP_GE"}, {"index": 1, "value": 4, "op": "SCMP_CMP_LT"}]}"#,
            r#"{"names": ["socket"], "action": "SCMP_ACT_KILL_PROCESS", "args": [{"index": 5, "value": 38, "op": "SCMP_CMP_NE"}]}"#,
            r#"{"names": ["getpid"], "action": "SCMP_ACT_KILL_THREAD", "comment": "a comment"}"#,
        ];
        let rules: Vec<&str> = RULES.into_iter().filter(|_| self.below(2) == 0).collect();
        let defaults = [
            r#""SCMP_ACT_ERRNO", "defaultErrnoRet": 38"#,
            r#""SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_LOG"]"#,
            r#""SCMP_ACT_LOG", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]"#,
            r#""SCMP_ACT_KILL_PROCESS", "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X32"]}]"#,
        ];
        let default = defaults[self.below(defaults.len())];
        serde_json::from_str(&format!(
            r#"{{"defaultAction": {default}, "syscalls": [{}]}}"#,
            rules.join(", ")
        ))
        .unwrap()
    }
}

/// The plan of a config. It is compared as it is. Its JSON has the texts of the messages too, and to look up a hundred of
/// them takes longer than to make the plan.
fn plan(config: &Config, machine: &Machine) -> Plan {
    let ending = match &*config.process.args {
        [] => Ending::Demonstration,
        arguments => Ending::Command { path: "/bin/true".into(), arguments: arguments.to_vec() },
    };
    let draft = Draft::new(Purpose::Container, Vec::new());
    compose::plan(config, machine, draft, ending, false)
}

#[test]
fn what_is_written_is_read_back_and_means_the_same_plan() {
    let schema: Value = serde_json::from_str(include_str!("../../docs/schema/config.json")).unwrap();
    let mut random = Random(0x5eed);
    let root = machine();
    let mut user = root.clone();
    (user.host.privileged, user.host.uid, user.host.gid) = (false, 1000, 1000);
    let mut seen = BTreeSet::new();
    for count in 0..1000 {
        let machine = if count % 2 == 0 { &root } else { &user };
        let spec = random.spec();
        let config = Completed::with(&spec, Purpose::Container, machine.clone()).config;
        let written = config.to_json();
        let read: Config =
            serde_json::from_str(&written).unwrap_or_else(|error| panic!("{error}: {written}"));
        assert_eq!(read, config, "{written}");
        assert!(plan(&read, machine) == plan(&config, machine), "{written}");
        if count % 10 == 0 {
            let value = serde_json::from_str(&written).unwrap();
            assert_eq!(faults(&value, &schema, &schema), Vec::<String>::new(), "{written}");
        }
        seen.insert(written);
    }
    assert!(seen.len() > 990, "{}", seen.len());
}

/// A container in which each value of a config is set.
const FULL: &str = "name: box\nrootfs: host\ncommand: [sh, -c, 'true']\nworkdir: /usr\nenv: {A: b}\nsysctls: {kernel.sem: 1}\ntimeout: 1h\n\
                    pid: {init: true}\nmnt: {mounts: [{type: bind, source: /usr, target: /srv}]}\nnet: {veth: true}\n\
                    uts: {hostname: box, domainname: lab}\nipc:\nuser: {map: '0:100000:65536'}\ncgroup:\n\
                    time: {boottime: 1h, monotonic: 2h}\nmemory: {limit: 64m}\ncpu: {shares: 512}\nblkio: {weight: 500}\n\
                    devices: {allow: ['c 1:5 r']}\npids: {max: 64}\ncapabilities: {keep: [kill]}\nseccomp: default\n\
                    rlimits: {nofile: 64}\nno_new_privileges: true\nrun_as: '7:8'\n";

/// The places of all values in a JSON document, as pointers.
fn places(value: &Value, at: &str, all: &mut Vec<String>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| places(value, &format!("{at}/{key}"), all)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| places(item, &format!("{at}/{index}"), all));
        }
        Value::Null => {}
        _ => all.push(at.to_owned()),
    }
}

/// Other values of the same type.
fn others(value: &Value) -> Vec<Value> {
    match value {
        Value::Bool(value) => vec![json!(!value)],
        Value::Number(number) => {
            vec![json!(number.as_f64().unwrap() / 2.0), json!(number.as_u64().unwrap_or(0) + 1), json!(0)]
        }
        Value::String(text) => vec![
            json!(format!("{text}x")),
            json!("CAP_CHOWN"),
            json!("7s"),
            json!("shared"),
            json!("down"),
            json!("bridge"),
            json!("none"),
            json!("1MiB"),
            json!("9:9"),
            json!("/dev"),
            json!("c 7:7 r"),
            json!("SCMP_ACT_LOG"),
            json!("SCMP_CMP_NE"),
            json!("SCMP_ARCH_X32"),
        ],
        _ => Vec::new(),
    }
}

/// The places of a config whose value has no effect on the plan, and the number of all places.
fn silent(spec: &Spec, machine: &Machine) -> (BTreeSet<String>, usize) {
    let config = Completed::with(spec, Purpose::Container, machine.clone()).config;
    let (written, before) = (serde_json::to_value(&config).unwrap(), plan(&config, machine));
    let mut all = Vec::new();
    places(&written, "", &mut all);
    let has_effect = |place: &String| {
        let others = others(written.pointer(place).unwrap());
        let mut changed = others.into_iter().filter_map(|other| {
            let mut changed = written.clone();
            *changed.pointer_mut(place).unwrap() = other;
            serde_json::from_value::<Config>(changed).ok()
        });
        changed.any(|config| plan(&config, machine) != before)
    };
    let count = all.len();
    // The hundreds of names in a profile are read by one loop.
    all.retain(|place| !place.contains("/names/") || place.ends_with('0'));
    (all.into_iter().filter(|place| !has_effect(place)).collect(), count)
}

#[test]
fn each_value_has_an_effect_on_the_plan() {
    let mut machine = machine();
    machine.host.privileged = true;
    let mut full = spec(FULL);
    let (mut found, count) = silent(&full, &machine);
    assert!(count > 130, "{count}");
    // A user namespace may not make device files. They are bind-mounted, and their numbers are those of the host.
    full.user = None;
    let (without_user, _) = silent(&full, &machine);
    found.retain(|place| without_user.contains(place) || place.starts_with("/environment/namespaces/user"));
    // Another version is no config. The source of a new filesystem is only its name. This root always has an overlay, and /proc is one of its mounts.
    let known = ["/version", "/environment/root/overlay", "/environment/namespaces/pid/new/mount_proc"];
    found.retain(|place| !place.ends_with("/source") && !known.contains(&place.as_str()));
    // Only a further process needs what the first one has by itself.
    found.retain(|place| !place.starts_with("/process/inherited"));
    assert_eq!(found, BTreeSet::new());
}

#[test]
fn the_schema_is_made_from_the_types() {
    let settings = schemars::generate::SchemaSettings::draft2020_12().for_serialize();
    let mut schema = settings.into_generator().into_root_schema_for::<Config>().to_value();
    schema["title"] = json!("config");
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schema/config.json");
    let made = serde_json::to_string_pretty(&schema).unwrap() + "\n";
    if std::env::var_os("SCHEMA_UPDATE").is_some() {
        std::fs::write(&path, made).unwrap();
    } else {
        let kept = std::fs::read_to_string(&path).unwrap();
        assert_eq!(kept, made, "SCHEMA_UPDATE=1 cargo test --lib the_schema_is_made_from_the_types");
    }
}

#[test]
fn a_config_of_another_version_is_known() {
    let own = Config::default().to_json();
    assert_eq!(ConfigVersion::other(own.as_bytes()), None);
    for (version, found) in [("\"version\":2", "2"), ("\"version\":null", "0"), ("\"later\":[]", "0")] {
        let other = own.replace("\"version\":1", version);
        assert_eq!(ConfigVersion::other(other.as_bytes()).as_deref(), Some(found), "{other}");
        assert!(serde_json::from_str::<Config>(&other).is_err(), "{other}");
    }
    assert_eq!(ConfigVersion::other(&own.as_bytes()[..40]), None);
}

#[test]
fn a_config_with_an_unknown_key_or_without_a_value_is_refused() {
    let written = serde_json::to_value(Config::default()).unwrap();
    for (place, key) in
        [("", "x"), ("/environment", "x"), ("/process", "x"), ("/environment/namespaces", "x")]
    {
        let mut more = written.clone();
        more.pointer_mut(place).unwrap()[key] = json!(1);
        assert!(serde_json::from_value::<Config>(more).is_err(), "{place}");
    }
    for (place, key) in [("/environment", "maskedPaths"), ("/process", "noNewPrivileges"), ("", "process")] {
        let mut less = written.clone();
        less.pointer_mut(place).unwrap().as_object_mut().unwrap().remove(key);
        assert!(serde_json::from_value::<Config>(less).is_err(), "{key}");
    }
}
