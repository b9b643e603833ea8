//! The data of a lesson: the right answers of its questions, and for each exercise what is checked. All languages share
//! it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_yaml::with::{singleton_map, singleton_map_recursive};

use super::seed::{StudentValues, fill};
use crate::feature::{Feature, Purpose};
use crate::observe::hierarchy::{Controller, Version};

/// The content of `exercises/NN-name.yaml`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("required" = ["format", "exercises"]))]
pub struct LessonData {
    /// The version of the format: 1.
    #[schemars(extend("const" = 1))]
    pub format: u32,
    /// The letter of the right option of each question.
    #[serde(default)]
    pub questions: BTreeMap<String, char>,
    /// Values of the student that the whole lesson can use.
    #[serde(default, deserialize_with = "singleton_map_recursive::deserialize")]
    #[schemars(with = "BTreeMap<String, ValueSource>")]
    pub values: BTreeMap<String, ValueSource>,
    /// The exercises, by name. Their order is that of the text.
    #[serde(default)]
    #[schemars(extend("minProperties" = 2, "maxProperties" = 4))]
    pub exercises: BTreeMap<String, Exercise>,
}

/// An exercise.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("required" = ["kind", "solution", "wrong"]))]
#[schemars(extend("if" = { "properties": { "kind": { "const": "predict" } } }))]
#[schemars(extend("then" = { "required": ["measure"], "properties": { "subject": false, "checks": false } }))]
#[schemars(extend("else" = { "required": ["subject", "checks"], "properties": { "measure": false, "hexadecimal": false } }))]
pub struct Exercise {
    /// What the learner does.
    pub kind: ExerciseKind,
    /// Its share of the grade.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    pub weight: u32,
    /// Who can do it.
    #[serde(default)]
    pub privilege: Privilege,
    /// The features that must work, apart from those of the lesson.
    #[serde(default)]
    pub features: Vec<Purpose>,
    /// Programs that must be installed: `cc`, `python3`.
    #[serde(default)]
    pub programs: Vec<String>,
    /// Values that differ per student, by name.
    #[serde(default, deserialize_with = "singleton_map_recursive::deserialize")]
    #[schemars(with = "BTreeMap<String, ValueSource>")]
    pub values: BTreeMap<String, ValueSource>,
    /// The process that is checked. A prediction has none.
    #[serde(default)]
    pub subject: Option<Sought>,
    /// Other processes that checks name.
    #[serde(default)]
    pub others: BTreeMap<String, Sought>,
    /// Files that the learner gets in the work directory.
    #[serde(default)]
    pub files: Vec<String>,
    /// The checks, in their order. The message of the first one that fails is printed.
    #[serde(default)]
    pub checks: Vec<Check>,
    /// Of a prediction: a bash script that measures. What it prints is the right answer.
    #[serde(default)]
    pub measure: Option<String>,
    /// Of a prediction: its numbers are written in base 16. An answer can begin with `0x`.
    #[serde(default)]
    pub hexadecimal: bool,
    /// A bash script that solves the exercise; of a prediction, the right answer.
    pub solution: String,
    /// Wrong solutions, by name.
    #[serde(default)]
    #[schemars(extend("minProperties" = 1))]
    pub wrong: BTreeMap<String, WrongAnswer>,
}

fn one() -> u32 {
    1
}

/// What the learner does in an exercise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExerciseKind {
    /// Makes something live, with commands.
    Make,
    /// Writes a program.
    Program,
    /// Repairs a broken spec or program.
    Repair,
    /// Predicts a value. Then it is measured.
    Predict,
}

/// Who can do an exercise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Privilege {
    /// Every user.
    #[default]
    User,
    /// Only root.
    Root,
}

/// Where a value of a student comes from. The choice depends on the seed of the student.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ValueSource {
    /// A whole number from the first to the second.
    Number([u64; 2]),
    /// A word with this beginning: `box` becomes `box-k3f`.
    Word(String),
    /// One of these.
    Choice(Vec<String>),
}

/// A process that the learner has made. The checker finds it by its arguments.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sought {
    /// Its arguments, all of them. Values are in braces.
    pub process: Vec<String>,
}

/// A wrong solution, and what the checker must answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WrongAnswer {
    /// A bash script that makes it.
    #[serde(default)]
    pub run: Option<String>,
    /// Of a prediction: the wrong answer.
    #[serde(default)]
    pub answer: Option<String>,
    /// Of a prediction: a bash script that prints the wrong answer, where it is computed from values of the student.
    #[serde(default)]
    pub answer_run: Option<String>,
    /// The name of the message: that of the check that fails.
    pub fails: String,
}

/// One check: a fact, and what it must be.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// Its name. `<!-- fails NAME -->` in the text begins its message.
    pub name: String,
    /// The process whose fact it is: `subject`, `checker` or a name of `others`.
    #[serde(default = "subject")]
    pub of: String,
    /// The fact.
    #[serde(deserialize_with = "singleton_map::deserialize")]
    #[schemars(with = "Fact")]
    pub fact: Fact,
    /// What it must be.
    #[serde(deserialize_with = "singleton_map::deserialize")]
    #[schemars(with = "Predicate")]
    pub expect: Predicate,
}

fn subject() -> String {
    SUBJECT.to_owned()
}

/// The name of the process that an exercise is about.
pub const SUBJECT: &str = "subject";

/// The name of the process that checks. It is in the namespaces of the learner's shell.
pub const CHECKER: &str = "checker";

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
    /// The lines of a file in `/proc/PID`: `uid_map`.
    File(String),
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
    /// Those of its ancestors that are no ancestors of the checker: the programs that started it.
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

/// A key of a YAML file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpecFact {
    /// The file in the work directory.
    pub file: String,
    /// The key: `pid.init`.
    pub key: String,
}

/// What a fact must be. Values of the student in braces are replaced first.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Predicate {
    /// Exactly this text. Words are separated by a blank, lines by ` | `.
    Is(String),
    /// Not this text.
    IsNot(String),
    /// One of these texts.
    OneOf(Vec<String>),
    /// One item is this: a word of a field, a line of a file, a name.
    Has(String),
    /// No item is this.
    HasNot(String),
    /// One item begins with this: a line of a file.
    BeginsWith(String),
    /// One item ends with this.
    EndsWith(String),
    /// The text contains this.
    Contains(String),
    /// The text does not contain this.
    ContainsNot(String),
    /// The number of items.
    Count(usize),
    /// A number, at least this. `max` is more than every number. `64MiB` is a number of bytes.
    AtLeast(String),
    /// A number, at most this.
    AtMost(String),
    /// A number, exactly this: `64MiB` equals `67108864`.
    Equals(String),
    /// The same fact of another process has the same value.
    SameAs(String),
    /// The same fact of another process has another value.
    DiffersFrom(String),
    /// Whether the fact can be read: the file exists, the mount point is one.
    Exists(bool),
    /// Of a fact about a cgroup: what it must be in each version of the interface.
    ByVersion(VersionedPredicate),
}

/// What a fact must be in cgroup v1, and in cgroup v2.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VersionedPredicate {
    /// What it must be in cgroup v1.
    #[serde(deserialize_with = "singleton_map::deserialize")]
    #[schemars(with = "Predicate")]
    v1: Box<Predicate>,
    /// What it must be in cgroup v2.
    #[serde(deserialize_with = "singleton_map::deserialize")]
    #[schemars(with = "Predicate")]
    v2: Box<Predicate>,
}

impl Predicate {
    /// The process with whose fact this one is compared.
    pub fn other(&self) -> Option<&String> {
        match self {
            Predicate::SameAs(other) | Predicate::DiffersFrom(other) => Some(other),
            _ => None,
        }
    }

    /// The predicate that counts in this version.
    pub fn in_version(&self, version: Version) -> &Predicate {
        match (self, version) {
            (Predicate::ByVersion(both), Version::V1) => both.v1.in_version(version),
            (Predicate::ByVersion(both), Version::V2) => both.v2.in_version(version),
            _ => self,
        }
    }
}

impl Fact {
    /// The controller whose cgroup it is about.
    pub fn controller(&self) -> Option<Controller> {
        match self {
            Fact::Cgroup(fact) => Some(fact.controller),
            Fact::CgroupPath(controller) => Some(*controller),
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
            Fact::Limit(name) => process(&format!("limits, {name}")),
            Fact::Listening(transport) | Fact::ListeningOn(transport) => {
                let name = if *transport == Transport::Tcp { "tcp" } else { "udp" };
                format!("{}, {}", process(&format!("net/{name}")), process(&format!("net/{name}6")))
            }
            Fact::Relatives(_) => "/proc/*/status, PPid".to_owned(),
            Fact::Socket(path) => format!("{}, {}", process(&filled(path)), process("net/*")),
            Fact::Links(path) => process(&format!("{}/*", filled(path))),
            Fact::Parent(path) => format!("/proc/PPID/{}", filled(path)),
            Fact::Starters(path) => format!("/proc/*/status, PPid; /proc/STARTER/{}", filled(path)),
            Fact::Spec(spec) => format!("{}, {}", spec.file, spec.key),
        }
    }

    /// Whether a helper process has to join the namespaces of the process to read it.
    pub fn needs_helper(&self) -> bool {
        matches!(self, Fact::Inside(_) | Fact::Open(_) | Fact::NetworkDevice(_))
    }
}
