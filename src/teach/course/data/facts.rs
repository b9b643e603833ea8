//! The facts that a check can read. `course/fact.rs` reads them.

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::seed::{StudentValues, fill};
use crate::feature::Feature;
use crate::observe::hierarchy::Controller;

/// A fact about a process, read from the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    /// The words of a field of `/proc/PID/status`: `NSpid`.
    Status(String),
    /// The namespace of this kind.
    Namespace(Feature),
    /// The names of the capabilities in this set: `CapEff`, `CapPrm`, `CapBnd`, `CapInh`, `CapAmb`.
    Capabilities(String),
    /// The names of the signals in this set: `SigCgt`, `SigIgn`, `SigBlk`.
    Signals(String),
    /// The lines of a file in `/proc/PID`: `uid_map`. The texts of `cmdline` and `environ` are lines too.
    File(String),
    /// The value of a variable in the environment with which it was executed. Nothing, if there is no such variable.
    Environment(String),
    /// The target of a link in `/proc/PID`: `root`, `cwd`, `exe`.
    Link(String),
    /// The kind of the socket that this link in `/proc/PID` leads to: `unix`, `tcp`, `udp`. `fd/3` is descriptor 3.
    Socket(String),
    /// The targets of all links in a directory of `/proc/PID`: `fd`.
    Links(String),
    /// The lines of a file, read by a process in the same namespaces.
    Inside(String),
    /// The result of open(2) in the same namespaces: `ok`, or the name of the errno.
    Open(String),
    /// The type and the numbers of a device file, as the process sees it: `c 1:5`.
    DeviceFile(String),
    /// The kind of a network device in its network namespace: `veth`, `bridge`, `dummy`; `none` for `lo`.
    NetworkDevice(String),
    /// A mount of its mount table.
    Mount(MountFact),
    /// The lines of a file of its cgroup.
    Cgroup(CgroupFact),
    /// The path of its cgroup in the hierarchy of this controller.
    CgroupPath(Controller),
    /// The quota of CPU time of its cgroup. It has a period, so two pairs of numbers can be one limit.
    CpuQuota(QuotaUnit),
    /// The limit of its cgroup on the disk with a file.
    DiskLimit(DiskLimitFact),
    /// The soft and the hard value of a resource limit, by its name in `/proc/PID/limits`: `Max open files`.
    Limit(String),
    /// The ports on which something listens in its network namespace.
    Listening(Transport),
    /// The addresses with their ports on which something listens in its network namespace: `127.0.0.1:8080`, `[::1]:80`.
    ListeningOn(Transport),
    /// The names of processes that are related to it.
    Relatives(Relation),
    /// The lines of a file in `/proc/PPID`, where PPID is its parent: `cmdline`.
    Parent(String),
    /// The lines of a file in `/proc` of each of its starters: `cmdline`. With an init, the supervisor of a container that
    /// stays is no parent of the command, but a starter.
    Starters(String),
    /// A key of the YAML file that the learner has in the work directory. Use it only beside a fact of a live process.
    Spec(SpecFact),
    /// What is recorded about its container, if that is one that stays. `sandbox exec` starts no process of this kind.
    Container(ContainerPart),
    /// What is known about the image that the container was made from.
    Image(ImagePart),
    /// The layers of the image that have this path, also if a layer above them removes it: the beginnings of their names.
    LayersWith(String),
    /// Some of its mounts.
    Mounts(MountSet),
    /// Whether a path below `/proc/PID` and a file of the work directory are one and the same file: `yes` or `no`.
    SameFile(SameFileFact),
    /// Whether a file of the work directory is still as the learner got it: `unchanged` or `changed`.
    Shipped(String),
    /// The names in a directory, as the process sees it, in their alphabetical order.
    Directory(String),
    /// The values of one column of a file with a heading, read by a process in the same namespaces.
    Column(ColumnFact),
    /// The user or group ID that it has in its own user namespace.
    OwnId(OwnIdKind),
    /// The rows and the columns of the terminal that this link in `/proc/PID` leads to: `fd/0`.
    TerminalSize(String),
    /// The addresses on which something listens at one port, in its network namespace.
    ListeningAt(PortFact),
}

/// What is recorded about a container that stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ContainerPart {
    /// Its name. If there is no such container, the reason has the command lines of the starters.
    Name,
    /// How often it was started since it was created.
    Starts,
    /// The request to the daemon that created it, as JSON. A container of `sandbox run` has none.
    Request,
}

/// What is known about an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ImagePart {
    /// Its names, without the tag `latest`.
    Names,
    /// The steps that made it, the first one first, as `sandbox history` prints them.
    Steps,
    /// Its layers, the topmost first: the beginnings of their names.
    Layers,
    /// The paths in its layers, without directories, in alphabetical order. A file that a later layer removes is one too.
    Files,
}

/// Which mounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MountSet {
    /// Those that show a file or directory of the host: `/run on /mnt`. Left out are copies of the host's own mounts, device
    /// files such as `/dev/null`, and cgroups.
    FromHost,
}

/// Two files to compare.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SameFileFact {
    /// A path below `/proc/PID`: `fd/1`, `root/data`.
    pub process: String,
    /// A file or directory in the work directory.
    pub file: String,
}

/// A column of a file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ColumnFact {
    /// The file: `/proc/sysvipc/shm`.
    pub file: String,
    /// The word above the column: `size`.
    pub name: String,
}

/// Which ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OwnIdKind {
    /// The effective user ID.
    User,
    /// The effective group ID.
    Group,
}

/// A port.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PortFact {
    /// Which sockets.
    pub transport: Transport,
    /// Its number.
    pub port: String,
}

/// Which sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// TCP ports.
    Tcp,
    /// UDP ports.
    Udp,
}

/// Which processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Relation {
    /// Its children that have not ended.
    Children,
    /// Its children that have ended, and for which it has not waited.
    Zombies,
    /// Its parent, the parent of that, and so on.
    Ancestors,
    /// Those of its ancestors that are no ancestors of the checker: the programs that started it. A copy of `sandbox` with
    /// another name is called `sandbox`.
    Starters,
}

/// One mount, and what of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MountFact {
    /// The mount point.
    pub on: String,
    /// What of it.
    pub show: MountPart,
}

/// A part of a line of mountinfo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MountPart {
    /// The type of the filesystem.
    Type,
    /// The options of the mount and of the filesystem.
    Options,
    /// `shared`, `slave`, `private`, `unbindable`.
    Propagation,
    /// The source.
    Source,
}

/// A file of a cgroup, with its name in both versions.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CgroupFact {
    /// The controller, by its name in cgroup v2.
    pub controller: Controller,
    /// The file in cgroup v1.
    pub v1: String,
    /// The file in cgroup v2.
    pub v2: String,
    /// Of a file with lines `KEY VALUE`: the value of this key.
    #[serde(default)]
    pub key: Option<String>,
}

/// How a quota of CPU time is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum QuotaUnit {
    /// In percent of one CPU; `max` without a quota.
    Percent,
}

/// A limit on disk I/O.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiskLimitFact {
    /// A file or directory on the disk.
    pub path: String,
    /// What is limited.
    pub limit: DiskLimit,
}

/// What a limit on disk I/O is about. The names are those of io.max in cgroup v2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DiskLimit {
    /// The bytes read per second.
    Rbps,
    /// The bytes written per second.
    Wbps,
    /// The reads per second.
    Riops,
    /// The writes per second.
    Wiops,
}

impl DiskLimit {
    /// Its key in io.max.
    pub fn key(self) -> &'static str {
        match self {
            DiskLimit::Rbps => "rbps",
            DiskLimit::Wbps => "wbps",
            DiskLimit::Riops => "riops",
            DiskLimit::Wiops => "wiops",
        }
    }

    /// Its file in cgroup v1.
    pub fn v1(self) -> &'static str {
        match self {
            DiskLimit::Rbps => "blkio.throttle.read_bps_device",
            DiskLimit::Wbps => "blkio.throttle.write_bps_device",
            DiskLimit::Riops => "blkio.throttle.read_iops_device",
            DiskLimit::Wiops => "blkio.throttle.write_iops_device",
        }
    }
}

/// A key of a YAML file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpecFact {
    /// The file in the work directory.
    pub file: String,
    /// The key: `pid.init`.
    pub key: String,
}

impl Fact {
    /// The controller whose cgroup it is about.
    pub fn controller(&self) -> Option<Controller> {
        match self {
            Fact::Cgroup(fact) => Some(fact.controller),
            Fact::CgroupPath(controller) => Some(*controller),
            Fact::CpuQuota(_) => Some(Controller::Cpu),
            Fact::DiskLimit(_) => Some(Controller::Io),
            _ => None,
        }
    }

    /// Where it is read, for a person: a file of /proc, a call, or a file of a cgroup.
    pub fn source(&self, values: &StudentValues) -> String {
        let filled = |text: &str| fill(text, values);
        let process = |file: &str| format!("/proc/PID/{file}");
        match self {
            Fact::Status(field) | Fact::Capabilities(field) | Fact::Signals(field) => {
                process(&format!("status, {field}"))
            }
            Fact::Namespace(kind) => process(&format!("ns/{}", kind.name())),
            Fact::File(path) | Fact::Link(path) => process(&filled(path)),
            Fact::Inside(path) => filled(path),
            Fact::Open(path) => format!("open(\"{}\")", filled(path)),
            Fact::DeviceFile(path) => process(&format!("root{}", filled(path))),
            Fact::NetworkDevice(name) => format!("RTM_GETLINK \"{}\"", filled(name)),
            Fact::Mount(mount) => process(&format!("mountinfo, {}", filled(&mount.on))),
            Fact::Cgroup(file) if file.v1 == file.v2 => file.v2.clone(),
            Fact::Cgroup(file) => format!("{} (v1: {})", file.v2, file.v1),
            Fact::CgroupPath(_) => process("cgroup"),
            Fact::Environment(name) => process(&format!("environ, {name}")),
            Fact::CpuQuota(_) => "cpu.max (v1: cpu.cfs_quota_us, cpu.cfs_period_us)".to_owned(),
            Fact::DiskLimit(wanted) => {
                let path = filled(&wanted.path);
                format!("io.max (v1: {}), stat(\"{path}\")", wanted.limit.v1())
            }
            Fact::Limit(name) => process(&format!("limits, {name}")),
            Fact::Listening(transport)
            | Fact::ListeningOn(transport)
            | Fact::ListeningAt(PortFact { transport, .. }) => {
                let name = if *transport == Transport::Tcp { "tcp" } else { "udp" };
                format!("{}, {}", process(&format!("net/{name}")), process(&format!("net/{name}6")))
            }
            Fact::Relatives(_) => "/proc/*/status, PPid".to_owned(),
            Fact::Socket(path) => format!("{}, {}", process(&filled(path)), process("net/*")),
            Fact::Links(path) => process(&format!("{}/*", filled(path))),
            Fact::Parent(path) => format!("/proc/PPID/{}", filled(path)),
            Fact::Starters(path) => format!("/proc/*/status, PPid; /proc/STARTER/{}", filled(path)),
            Fact::Spec(spec) => format!("{}, {}", spec.file, spec.key),
            Fact::Container(ContainerPart::Name) => "HOME/containers/ID/state.json, HOME/names/*".to_owned(),
            Fact::Container(ContainerPart::Request) => "HOME/containers/ID/config.json, client".to_owned(),
            Fact::Container(ContainerPart::Starts) => "HOME/events".to_owned(),
            Fact::Image(ImagePart::Layers) => "RUN/ID/config.json".to_owned(),
            Fact::Image(ImagePart::Files) => "HOME/layers/*/files".to_owned(),
            Fact::Image(_) => "RUN/ID/config.json, HOME/images".to_owned(),
            Fact::LayersWith(path) => format!("HOME/layers/*/files{}", filled(path)),
            Fact::Mounts(MountSet::FromHost) => format!("{}, /proc/self/mountinfo", process("mountinfo")),
            Fact::SameFile(files) => format!("{}, {}", process(&filled(&files.process)), filled(&files.file)),
            Fact::Shipped(file) => file.clone(),
            Fact::Directory(path) => process(&format!("root{}", filled(path))),
            Fact::Column(column) => format!("{}, {}", filled(&column.file), column.name),
            Fact::OwnId(OwnIdKind::User) => format!("{}, {}", process("status, Uid"), process("uid_map")),
            Fact::OwnId(OwnIdKind::Group) => format!("{}, {}", process("status, Gid"), process("gid_map")),
            Fact::TerminalSize(path) => format!("ioctl(<{}>, TIOCGWINSZ)", process(&filled(path))),
        }
    }

    /// Whether a helper process has to join the namespaces of the process to read it.
    pub fn needs_helper(&self) -> bool {
        matches!(self, Fact::Inside(_) | Fact::Open(_) | Fact::NetworkDevice(_) | Fact::Column(_))
    }
}
