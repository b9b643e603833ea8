//! Keys that a spec does not have, but that people know from Compose files or expect: each with the form that works.

use crate::text::{text, text_with};

/// Unknown keys at the top of a spec, and what to write instead. Several names of one thing are separated by blanks.
const FORMS: [(&str, &str); 29] = [
    ("hostname host_name", "uts: { hostname: box }"),
    ("domainname", "uts: { domainname: example.org }"),
    ("container_name", "name: box"),
    ("image from build dockerfile root", "rootfs: host  or  rootfs: ./DIRECTORY"),
    ("ports publish expose port", "net: { mode: bridge, publish: [\"8080:80\"] }"),
    ("network networks network_mode", "net: { mode: bridge }"),
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
    ("cpus cpu_quota cpu_limit cpu_percent", "cpu: { cpus: 0.5 }"),
    ("cpu_shares shares", "cpu: { shares: 512 }"),
    ("cpuset cpuset_cpus", "cpu: { cpuset: \"0\" }"),
    ("pids_limit nproc max_pids", "pids: { max: 64 }"),
    ("blkio_config io", "blkio: { weight: 100 }"),
    ("device device_cgroup_rules", "devices: { allow: [\"/dev/fuse rw\"] }"),
    ("cap_add capabilities_add", "capabilities: { keep: [NET_ADMIN] }"),
    ("cap_drop caps drop", "capabilities: { keep: [] }"),
    ("security_opt no_new_privs", "no_new_privileges: true  and  seccomp: default"),
    ("ulimits limits rlimit", "rlimits: { nofile: 1024 }"),
    ("uid gid user_id group_add", "run_as: \"1000:1000\""),
    ("userns userns_mode", "user:"),
    ("pid_mode", "pid:"),
    ("ipc_mode shm", "ipc:"),
];

/// Keys for which there is nothing to write, each with the key of the message that says why.
const NOTHING: [(&str, &str); 6] = [
    ("privileged", "spec.instead.privileged"),
    ("restart deploy scale", "spec.instead.restart"),
    ("services", "spec.instead.services"),
    ("version", "spec.instead.version"),
    ("stdin_open interactive detach rm", "spec.instead.terminal"),
    (
        "labels logging healthcheck depends_on secrets configs profiles platform dns extra_hosts sysctls annotations",
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
    let is_number =
        found.is_some_and(|found| found.starts_with(|first: char| first.is_ascii_digit() || first == '.'));
    let form = match (&*feature, found) {
        (_, Some("true" | "yes" | "on")) => format!("{feature}:"),
        (_, Some("false" | "no" | "off")) => {
            return Some(text_with("spec.instead.off", &[("key", &feature)]));
        }
        ("memory", Some(limit)) if is_number => format!("memory: {{ limit: {limit} }}"),
        ("cpu", Some(cpus)) if is_number => format!("cpu: {{ cpus: {cpus} }}"),
        ("pids", Some(max)) if is_number => format!("pids: {{ max: {max} }}"),
        ("uts", Some(name)) => format!("uts: {{ hostname: {name} }}"),
        ("net", Some(mode @ ("none" | "host" | "bridge"))) => format!("net: {{ mode: {mode} }}"),
        ("net", Some(state @ ("up" | "down"))) => format!("net: {{ lo: {state} }}"),
        ("net", None) => "net: { mode: bridge, publish: [\"8080:80\"] }".to_owned(),
        ("user", Some(user)) if is_number => format!("run_as: \"{user}\""),
        ("user", Some(map @ ("auto" | "root" | "none"))) => format!("user: {{ map: {map} }}"),
        ("devices", None) => "devices: { allow: [\"/dev/fuse rw\"] }".to_owned(),
        ("mnt", None) => "mnt: { mounts: [{ type: bind, source: ./data, target: /data }] }".to_owned(),
        ("blkio", Some(weight)) if is_number => format!("blkio: {{ weight: {weight} }}"),
        _ => return None,
    };
    Some(text_with("spec.instead", &[("form", &form)]))
}
