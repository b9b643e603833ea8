//! Keys that a spec does not have, but that people know from Compose files or expect: each with the form that works.

use super::tree::{Node, NodeKind};
use crate::text::{text, text_with};

/// Unknown keys at the top of a spec, and what to write instead. Several names of one thing are separated by blanks.
const FORMS: [(&str, &str); 31] = [
    ("hostname host_name", "uts: { hostname: box }"),
    ("domainname", "uts: { domainname: example.org }"),
    ("container_name", "name: box"),
    ("image", "rootfs: alpine"),
    ("from build dockerfile root", "rootfs: host  or  rootfs: ./DIRECTORY"),
    ("layers upper lower lowerdir upperdir", "rootfs: { layers: [./top, ./base], upper: ./changes }"),
    ("ports publish expose port", "net: { mode: bridge, publish: [\"8080:80\"] }"),
    ("networks", "net: { mode: bridge }"),
    ("network network_mode", "net: { mode: bridge }  or  net: { mode: host }  or  net: { mode: none }"),
    (
        "volumes volume mounts mount binds bind",
        "mnt: { mounts: [{ type: bind, source: ./data, target: /data }] }",
    ),
    ("tmpfs shm_size", "mnt: { mounts: [{ type: tmpfs, target: /tmp }] }"),
    ("read_only readonly", "mnt: { readonly: true }"),
    ("environment envs variables env_file", "env: { NAME: value }"),
    ("entrypoint cmd args argv exec run", "command: [sh, -c, \"echo hello\"]"),
    ("working_dir cwd workingdir directory", "workdir: /srv"),
    ("mem_limit mem memory_limit", "memory: { limit: 64MiB }"),
    ("mem_reservation", "memory: { reservation: 64MiB }"),
    ("memswap_limit swap", "memory: { swap: 0 }"),
    ("cpus cpu_limit cpu_percent", "cpu: { cpus: 0.5 }"),
    ("cpu_quota cpu_period", "cpu: { quota: 50000, period: 100000 }"),
    ("cpu_shares shares", "cpu: { shares: 512 }"),
    ("cpuset cpuset_cpus", "cpu: { cpuset: \"0\" }"),
    ("cpuset_mems mems", "cpu: { mems: \"0\" }"),
    ("pids_limit nproc max_pids", "pids: { max: 64 }"),
    ("blkio_config io", "blkio: { weight: 100 }"),
    ("device device_cgroup_rules", "devices: { allow: [\"/dev/fuse rw\"] }"),
    ("cap_add capabilities_add", "capabilities: { keep: [NET_ADMIN] }"),
    ("cap_drop caps drop", "capabilities: { keep: [] }"),
    ("security_opt no_new_privs", "no_new_privileges: true  and  seccomp: default"),
    ("ulimits limits rlimit", "rlimits: { nofile: 1024 }"),
    ("uid gid user_id group_add", "run_as: \"1000:1000\""),
];

/// Names of keys and values below the top that people know from Compose files, Docker or the kernel, and ours.
const SYNONYMS: [(&str, &str); 17] = [
    ("ports port expose", "publish"),
    ("max mem memory mem_limit memory_limit", "limit"),
    ("memswap memswap_limit memory_swap", "swap"),
    ("limit pids_limit", "max"),
    ("cpu", "cpus"),
    ("cpu_quota", "quota"),
    ("cpu_period", "period"),
    ("cpuset_cpus", "cpuset"),
    ("cpuset_mems numa nodes", "mems"),
    ("src from", "source"),
    ("dst dest destination path to", "target"),
    ("ro read_only", "readonly"),
    ("uid_map gid_map", "map"),
    ("add", "keep"),
    ("device_read_bps", "read_bps"),
    ("device_write_bps", "write_bps"),
    ("unconfined off", "none"),
];

/// The known name that means the same as this one. Names of C constants, as RLIMIT_NOFILE, are known too.
pub(super) fn synonym<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let name = name.to_ascii_lowercase().replace('-', "_");
    let bare = name.strip_prefix("rlimit_").unwrap_or(&name);
    let is_same = |ours: &str| {
        ours == bare
            || SYNONYMS.iter().any(|(names, of)| *of == ours && names.split(' ').any(|one| one == name))
    };
    known.iter().copied().find(|ours| is_same(ours))
}

/// A bind mount as Docker and Compose write it, `./data:/data:ro`, in our form.
fn bind(short: &str) -> Option<String> {
    let (source, target, options) = match short.split(':').collect::<Vec<_>>()[..] {
        [source, target] => (source, target, ""),
        [source, target, options] => (source, target, options),
        _ => return None,
    };
    let readonly = if options.split(',').any(|option| option == "ro") { ", readonly: true" } else { "" };
    Some(format!("{{ type: bind, source: {}, target: {}{readonly} }}", quoted(source), quoted(target)))
}

/// The list that was meant by one value, or by keys with values: `command: ls -l`.
pub(super) fn of_list(found: &Node<'_>) -> Option<String> {
    let items: Vec<String> = match &found.kind {
        NodeKind::Map(entries) => {
            // Only ports are written so: `8080: 80`.
            let is_number = |key: &&str| key.bytes().all(|byte| byte.is_ascii_digit());
            let pair = |(key, value): &(Node<'_>, Node<'_>)| {
                Some(format!("{}:{}", key.scalar().filter(is_number)?, value.scalar()?))
            };
            entries.iter().map(pair).collect::<Option<_>>()?
        }
        _ => match found.scalar().filter(|_| !found.is_null())? {
            "ALL" | "all" => return None,
            short if short.contains(":/") && bind(short).is_some() => {
                return Some(text_with("spec.instead", &[("form", &format!("[{}]", bind(short)?))]));
            }
            // A rule about a device has blanks: `/dev/fuse rw`, `c 10:229 rw`.
            rule if rule.starts_with("/dev/")
                || (rule.len() > 2 && "abc".contains(&rule[..1]) && rule.contains(':')) =>
            {
                vec![rule.to_owned()]
            }
            script if script.contains(['|', '&', ';', '<', '>', '$', '"', '\'', '`', '*', '\n']) => {
                vec!["sh".into(), "-c".into(), script.to_owned()]
            }
            words => words.split([' ', ',']).filter(|word| !word.is_empty()).map(str::to_owned).collect(),
        },
    };
    let items: Vec<String> = items.iter().map(|item| quoted(item)).collect();
    (!items.is_empty()).then(|| text_with("spec.instead", &[("form", &format!("[{}]", items.join(", ")))]))
}

/// The keys with values that were meant by `NAME=VALUE`, or by a list of them: `env: [A=b]`.
pub(super) fn of_map(found: &Node<'_>) -> Option<String> {
    let pair = |node: &Node<'_>| {
        let (name, value) = node.scalar()?.split_once('=')?;
        Some(format!("{}: {}", quoted(name), quoted(value)))
    };
    let pairs: Vec<String> = match &found.kind {
        NodeKind::List(items) => items.iter().map(pair).collect::<Option<_>>()?,
        _ => vec![pair(found)?],
    };
    (!pairs.is_empty())
        .then(|| text_with("spec.instead", &[("form", &format!("{{ {} }}", pairs.join(", ")))]))
}

/// A string in YAML: with quotes where it could be something else.
fn quoted(string: &str) -> String {
    let is_plain = string.starts_with(|first: char| first.is_ascii_alphabetic() || "/-.".contains(first))
        && string.len() > 1
        && string.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-._".contains(&byte))
        && !string.eq_ignore_ascii_case("null");
    if is_plain { string.to_owned() } else { serde_json::Value::from(string).to_string() }
}

/// Keys for which there is nothing to write, each with the key of the message that says why.
const NOTHING: [(&str, &str); 15] = [
    ("labels label", "spec.instead.labels"),
    ("dns", "spec.instead.dns"),
    ("extra_hosts add_host", "spec.instead.hosts"),
    ("stop_signal stop_grace_period stop_timeout", "spec.instead.stop"),
    ("privileged", "spec.instead.privileged"),
    ("restart", "spec.instead.restart"),
    ("userns userns_mode", "spec.instead.user"),
    ("pid_mode", "spec.instead.pid"),
    ("ipc_mode shm", "spec.instead.ipc"),
    ("uts_mode", "spec.instead.uts"),
    ("services", "spec.instead.services"),
    ("version", "spec.instead.version"),
    ("process", "spec.instead.config"),
    ("stdin_open interactive detach rm", "spec.instead.terminal"),
    (
        "logging healthcheck depends_on secrets configs profiles platform annotations deploy scale mac_address \
         cgroup_parent",
        "spec.instead.none",
    ),
];

/// What to write instead of an unknown key at the top of a spec.
pub(super) fn of_key(key: &str) -> Option<String> {
    let key = key.to_ascii_lowercase().replace('-', "_");
    let named = |names: &str| names.split(' ').any(|name| name == key);
    let form = FORMS.iter().find(|(names, _)| named(names));
    form.map(|(_, form)| text_with("spec.instead", &[("form", form)]))
        .or_else(|| NOTHING.iter().find(|(names, _)| named(names)).map(|(_, why)| text(why)))
}

/// The form that works for a feature whose value is a scalar or a list: `memory: 64MiB`. `kind` is the name of the type.
/// `found` is the scalar, if it is one.
pub(super) fn of_value(kind: &str, found: Option<&str>) -> Option<String> {
    let feature = kind.to_ascii_lowercase();
    let is_number = found.is_some_and(|found| {
        found.starts_with(|first: char| first.is_ascii_digit() || first == '.')
            && found.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".:".contains(&byte))
    });
    let form = match (&*feature, found) {
        ("mount", Some(short)) => bind(short)?,
        (_, Some("true" | "yes" | "on")) => format!("{feature}:"),
        (_, Some("false" | "no" | "off")) => {
            return Some(text_with("spec.instead.off", &[("key", &feature)]));
        }
        ("pid" | "ipc" | "uts" | "user" | "cgroup" | "time", Some("host")) => {
            return Some(text_with("spec.instead.off", &[("key", &feature)]));
        }
        ("pid" | "net" | "ipc" | "uts" | "user" | "cgroup" | "time", Some(target))
            if target.starts_with("container:") || target.starts_with('/') =>
        {
            format!("{feature}: {{ join: {} }}", quoted(target))
        }
        ("time", Some(offset)) if is_number => format!("time: {{ boottime: {offset} }}"),
        ("memory", Some(limit)) if is_number => format!("memory: {{ limit: {limit} }}"),
        ("cpu", Some(cpus)) if is_number => format!("cpu: {{ cpus: {cpus} }}"),
        ("pids", Some(max)) if is_number => format!("pids: {{ max: {max} }}"),
        ("uts", Some(name)) if !name.trim().is_empty() => format!("uts: {{ hostname: {} }}", quoted(name)),
        ("net", Some(mode @ ("none" | "host" | "bridge" | "user"))) => format!("net: {{ mode: {mode} }}"),
        ("net", Some(state @ ("up" | "down"))) => format!("net: {{ lo: {state} }}"),
        ("net", None) => "net: { mode: bridge, publish: [\"8080:80\"] }".to_owned(),
        ("user", Some(user)) if is_number => format!("run_as: {}", quoted(user)),
        ("user", Some(map @ ("auto" | "root" | "none"))) => format!("user: {{ map: {map} }}"),
        ("devices", None) => "devices: { allow: [\"/dev/fuse rw\"] }".to_owned(),
        ("mnt", None) => "mnt: { mounts: [{ type: bind, source: ./data, target: /data }] }".to_owned(),
        ("blkio", Some(weight)) if is_number => format!("blkio: {{ weight: {weight} }}"),
        _ => return None,
    };
    Some(text_with("spec.instead", &[("form", &form)]))
}
