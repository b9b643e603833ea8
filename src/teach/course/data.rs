//! The data of a lesson: the right answers of its questions, and for each exercise what is checked. All languages share
//! it.

mod facts;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_yaml::with::{singleton_map, singleton_map_recursive};

pub use self::facts::*;
use crate::feature::Purpose;
use crate::observe::hierarchy::Version;

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
    Number(
        #[serde(deserialize_with = "two_numbers")]
        #[schemars(with = "[u64; 2]")]
        [u64; 2],
    ),
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

/// A list of exactly two numbers. Of a longer list, an array would read only the beginning.
fn two_numbers<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<[u64; 2], D::Error> {
    let numbers = Vec::<u64>::deserialize(deserializer)?;
    let count = numbers.len();
    numbers.try_into().map_err(|_| serde::de::Error::invalid_length(count, &"two numbers"))
}

fn subject() -> String {
    SUBJECT.to_owned()
}

/// The name of the process that an exercise is about.
pub const SUBJECT: &str = "subject";

/// The name of the process that checks. It is in the namespaces of the learner's shell.
pub const CHECKER: &str = "checker";

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
    /// Each item is one of these.
    HasOnly(Vec<String>),
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
