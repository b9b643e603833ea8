//! The table of the flags of `docker run` and `docker create`: what each means here.
//!
//! Most flags are keys of a spec: the table has them as YAML, with `{}` in place of the value. Others need code, because they
//! depend on the image or on each other. A flag that is not supported is refused by its name, with the reason.

use super::notes;
use super::wanted::Wanted;

/// The value of a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    /// None, or true or false after `=`.
    Nothing,
    /// One value, which replaces `{}` in the spec.
    Value,
    /// Two values with this character between them, which replace `{a}` and `{b}`.
    Pair(char),
}

/// What a flag means.
#[derive(Clone, Copy)]
pub(super) enum Meaning {
    /// These keys of a spec.
    Key(&'static str),
    /// What this function notes.
    Note(fn(&mut Wanted, &std::ffi::OsStr) -> Result<(), String>),
    /// It is refused, with this message as the reason.
    Refused(&'static str),
}

/// A flag.
pub(super) struct DockerFlag {
    pub(super) long: &'static str,
    pub(super) short: Option<char>,
    pub(super) takes: Takes,
    pub(super) meaning: Meaning,
    /// The name of the value, and the help.
    pub(super) help: (&'static str, &'static str),
}

const fn key(
    long: &'static str,
    takes: Takes,
    key: &'static str,
    help: (&'static str, &'static str),
) -> DockerFlag {
    DockerFlag { long, short: None, takes, meaning: Meaning::Key(key), help }
}

const fn note(
    long: &'static str,
    takes: Takes,
    note: fn(&mut Wanted, &std::ffi::OsStr) -> Result<(), String>,
    help: (&'static str, &'static str),
) -> DockerFlag {
    DockerFlag { long, short: None, takes, meaning: Meaning::Note(note), help }
}

const fn refused(long: &'static str, takes: Takes, why: &'static str) -> DockerFlag {
    DockerFlag { long, short: None, takes, meaning: Meaning::Refused(why), help: ("VALUE", "") }
}

impl DockerFlag {
    const fn short(self, short: char) -> DockerFlag {
        DockerFlag { short: Some(short), ..self }
    }
}

use Takes::{Nothing, Pair, Value};

/// All of them, but those that are in structs of their own: names, life and log (`kept::create`), namespaces (`namespaces`),
/// -i, -t, -d and --rm.
pub(super) const FLAGS: &[DockerFlag] = &[
    note(
        "env",
        Value,
        notes::env,
        ("NAME[=VALUE]", "Set an environment variable; without a value, it is yours"),
    )
    .short('e'),
    note(
        "env-file",
        Value,
        notes::env_file,
        ("FILE", "Read environment variables from a file; with NUL bytes, it is read as /proc/PID/environ"),
    ),
    note(
        "volume",
        Value,
        notes::volume,
        ("[SOURCE:]DIR[:ro]", "Mount a host directory, a named volume, or a new volume"),
    )
    .short('v'),
    note(
        "mount",
        Value,
        notes::mount,
        ("KEY=VALUE,...", "Mount, with keys: type=bind|volume|tmpfs, source, target, readonly"),
    ),
    note("tmpfs", Value, notes::tmpfs, ("DIR[:size=SIZE,...]", "Mount an empty filesystem in memory")),
    note(
        "volumes-from",
        Value,
        notes::volumes_from,
        ("CONTAINER[:ro]", "Mount the volumes and host directories of another container"),
    ),
    note("workdir", Value, notes::workdir, ("DIR", "The working directory of the command")).short('w'),
    note(
        "user",
        Value,
        notes::user,
        ("USER[:GROUP]", "The user of the command: names of the container, or numbers"),
    )
    .short('u'),
    note(
        "group-add",
        Value,
        notes::group_add,
        ("GROUP", "A further group of the command: a name of the container, or a number"),
    ),
    note(
        "hostname",
        Value,
        notes::hostname,
        ("NAME", "The hostname; the default is the ID of the container"),
    ),
    note("domainname", Value, notes::domainname, ("NAME", "The NIS domain name")),
    key(
        "publish",
        Value,
        "net: { publish: [\"{}\"] }",
        ("PORTS", "Publish a port: [[ADDRESS:]HOSTPORT:]PORT[/udp]"),
    )
    .short('p'),
    note(
        "publish-all",
        Nothing,
        notes::publish_all,
        ("", "Publish all exposed ports of the image, each on a free port"),
    )
    .short('P'),
    note("expose", Value, notes::expose, ("PORT", "A port that -P publishes too")),
    note("memory", Value, notes::memory, ("SIZE", "The maximum size of memory")).short('m'),
    note(
        "memory-swap",
        Value,
        notes::memory_swap,
        ("SIZE", "The maximum size of memory and swap together; -1: no limit"),
    ),
    note(
        "memory-reservation",
        Value,
        notes::memory_reservation,
        ("SIZE", "The size that is protected from reclaim"),
    ),
    note(
        "memory-swappiness",
        Value,
        notes::memory_swappiness,
        ("NUMBER", "How readily memory is swapped out, 0 to 100; only with cgroup v1"),
    ),
    note("cpus", Value, notes::cpus, ("NUMBER", "The maximum number of CPUs, such as 0.5")),
    note(
        "cpu-quota",
        Value,
        notes::cpu_quota,
        ("MICROSECONDS", "The maximum CPU time of each period; -1: any amount"),
    ),
    note(
        "cpu-period",
        Value,
        notes::cpu_period,
        ("MICROSECONDS", "The period of --cpu-quota; the default is 100000"),
    ),
    note("cpu-shares", Value, notes::cpu_shares, ("NUMBER", "The part of the CPU time when all want it"))
        .short('c'),
    note("cpuset-cpus", Value, notes::cpuset, ("LIST", "The CPUs that may be used, such as 0-2")),
    note("cpuset-mems", Value, notes::mems, ("LIST", "The memory nodes that may be used, such as 0-1")),
    note(
        "blkio-weight",
        Value,
        notes::blkio_weight,
        ("NUMBER", "The part of the disk time when all want it"),
    ),
    note(
        "device-read-bps",
        Value,
        notes::read_bps,
        ("DEVICE:SIZE", "The maximum read rate of a disk, in bytes a second"),
    ),
    note(
        "device-write-bps",
        Value,
        notes::write_bps,
        ("DEVICE:SIZE", "The maximum write rate, in bytes a second"),
    ),
    note(
        "device-read-iops",
        Value,
        notes::read_iops,
        ("DEVICE:NUMBER", "The maximum number of reads a second"),
    ),
    note(
        "device-write-iops",
        Value,
        notes::write_iops,
        ("DEVICE:NUMBER", "The maximum number of writes a second"),
    ),
    note(
        "device",
        Value,
        notes::device,
        ("DEVICE[:PATH][:rwm]", "Allow a device of the host, and show its file, also at another path"),
    ),
    key(
        "device-cgroup-rule",
        Value,
        "devices: { allow: [\"{}\"] }",
        ("RULE", "Allow devices by their numbers: c 1:3 rwm"),
    ),
    note("pids-limit", Value, notes::pids_limit, ("NUMBER", "The maximum number of processes; -1: no limit")),
    note("ulimit", Value, notes::ulimit, ("NAME=SOFT[:HARD]", "A resource limit of the command")),
    note("cap-add", Value, notes::cap_add, ("CAPABILITY", "Keep a further capability; ALL: all of them")),
    note("cap-drop", Value, notes::cap_drop, ("CAPABILITY", "Drop a capability; ALL: all of them")),
    note(
        "security-opt",
        Value,
        notes::security,
        ("OPTION", "no-new-privileges, seccomp=unconfined, seccomp=FILE"),
    ),
    note(
        "privileged",
        Nothing,
        notes::privileged,
        ("", "All capabilities, no seccomp filter, nothing masked. Only for an image that you trust"),
    ),
    key("read-only", Nothing, "mnt: { readonly: true }", ("", "Mount the root filesystem read-only")),
    key(
        "init",
        Nothing,
        "init: true",
        ("", "Run a small init as process 1, which reaps orphans and forwards signals"),
    ),
    note("shm-size", Value, notes::shm_size, ("SIZE", "The size of /dev/shm; the default is 64m")),
    key(
        "sysctl",
        Pair('='),
        "sysctls: { {a}: \"{b}\" }",
        ("NAME=VALUE", "A kernel parameter of the new namespaces"),
    ),
    note(
        "add-host",
        Value,
        notes::add_host,
        ("NAME:ADDRESS", "A further line of /etc/hosts; host-gateway is the address of the host"),
    ),
    note(
        "link",
        Value,
        notes::link,
        ("CONTAINER[:ALIAS]", "Give a running container on the bridge a further name in /etc/hosts"),
    ),
    note("dns", Value, notes::dns, ("ADDRESS", "A DNS server in place of the host's")),
    note("label", Value, notes::label, ("NAME[=VALUE]", "A label of the container")).short('l'),
    note("label-file", Value, notes::label_file, ("FILE", "Read labels from a file")),
    note(
        "entrypoint",
        Value,
        notes::entrypoint,
        ("PROGRAM", "The program to run, in place of the image's entrypoint"),
    ),
    note(
        "pull",
        Value,
        notes::pull,
        ("WHEN", "When to pull the image: always, missing (the default), never"),
    ),
    note("platform", Value, notes::platform, ("OS/ARCH", "The platform of the image that is pulled")),
    note(
        "detach-keys",
        Value,
        notes::detach_keys,
        (
            "KEYS",
            "The keys that end this command, while a container that stays runs on; the default is ctrl-p,ctrl-q",
        ),
    ),
    note("log-driver", Value, notes::log_driver, ("DRIVER", "json-file, the only one")),
    refused("attach", Value, "docker.no.attach").short('a'),
    refused("sig-proxy", Nothing, "docker.no.sigproxy"),
    refused("annotation", Value, "docker.no.annotation"),
    refused("blkio-weight-device", Value, "docker.no.weightdevice"),
    refused("cgroup-parent", Value, "docker.no.cgroupparent"),
    refused("cpu-count", Value, "docker.no.windows"),
    refused("cpu-percent", Value, "docker.no.windows"),
    refused("io-maxbandwidth", Value, "docker.no.windows"),
    refused("io-maxiops", Value, "docker.no.windows"),
    refused("isolation", Value, "docker.no.windows"),
    refused("cpu-rt-period", Value, "docker.no.realtime"),
    refused("cpu-rt-runtime", Value, "docker.no.realtime"),
    refused("disable-content-trust", Nothing, "docker.no.trust"),
    refused("dns-option", Value, "docker.no.dnsoption"),
    refused("dns-search", Value, "docker.no.dnsoption"),
    refused("gpus", Value, "docker.no.gpus"),
    refused("health-cmd", Value, "docker.no.health"),
    refused("health-interval", Value, "docker.no.health"),
    refused("health-retries", Value, "docker.no.health"),
    refused("health-start-interval", Value, "docker.no.health"),
    refused("health-start-period", Value, "docker.no.health"),
    refused("health-timeout", Value, "docker.no.health"),
    note("no-healthcheck", Nothing, |_, _| Ok(()), ("", "Ignored: health checks are not run")),
    refused("ip", Value, "docker.no.address"),
    refused("ip6", Value, "docker.no.address"),
    refused("link-local-ip", Value, "docker.no.address"),
    refused("mac-address", Value, "docker.no.address"),
    refused("network-alias", Value, "docker.no.address"),
    refused("kernel-memory", Value, "docker.no.kernelmemory"),
    refused("oom-kill-disable", Nothing, "docker.no.oom"),
    refused("oom-score-adj", Value, "docker.no.oomscore"),
    refused("runtime", Value, "docker.no.runtime"),
    refused("storage-opt", Value, "docker.no.storage"),
    refused("use-api-socket", Nothing, "docker.no.socket"),
    refused("volume-driver", Value, "docker.no.driver"),
];
