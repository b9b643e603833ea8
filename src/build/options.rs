//! What a build is asked for, and what it tells.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::container::BuildNetwork;
use crate::error::Error;
use crate::image::digest::Digest;
use crate::plan::call::user::IdMaps;

/// What a build is asked for.
#[derive(Debug, Default)]
pub struct BuildOptions {
    /// `--build-arg`.
    pub arguments: BTreeMap<String, String>,
    /// `--target`.
    pub target: Option<String>,
    /// `--no-cache`: no step is taken from the cache.
    pub no_cache: bool,
    /// `--label`.
    pub labels: BTreeMap<String, String>,
    /// `--network`.
    pub network: BuildNetwork,
    /// `--secret`, by their IDs.
    pub secrets: BTreeMap<String, SecretSource>,
    /// SOURCE_DATE_EPOCH: the time of the image, in seconds since 1970. No time in its layers is later. None: now.
    pub epoch: Option<i64>,
    /// `--explain`: each call is printed with its reason.
    pub explains: bool,
    /// The ID maps of the containers.
    pub maps: Option<IdMaps>,
}

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// In a file.
    File(PathBuf),
    /// In a variable of the caller's environment.
    Variable(String),
}

/// What happens in a build.
#[derive(Debug)]
pub enum BuildEvent<'e> {
    /// The build begins, with this number of instructions.
    Steps(usize),
    /// An instruction begins: its text.
    Step(&'e str),
    /// The image has this number of triggers.
    Triggers(usize),
    /// The step was taken from the cache.
    Cached,
    /// The container of the step runs, with this ID.
    Running(&'e str),
    /// It has ended, and is removed.
    Removed(&'e str),
    /// The step has this image. None: `scratch`.
    Image(Option<&'e Digest>),
    /// RUN commands have only their loopback device, for this reason.
    NoNetwork(String),
    /// What is to be known before the command of the step runs.
    Note(String),
    /// The stage is built.
    StageEnded,
    /// The stage cannot be built.
    StageFailed,
}

/// What gets the events of a build. `turn` is the place of the stage among those that are built. Stages that are built at the same
/// time tell their events in any order.
pub trait BuildWatch: Sync {
    /// Is called for each event.
    fn event(&self, turn: usize, event: BuildEvent<'_>);

    /// Output of a command, on its standard error or its standard output.
    fn output(&self, turn: usize, is_error: bool, bytes: &[u8]);
}

/// Why a build ends before its end.
#[derive(Debug)]
pub enum BuildStop {
    /// An error.
    Error(Error),
    /// A command has failed: the error, and the status.
    Command(Error, u8),
    /// A stage that is needed has failed, and that is the reason.
    Needed,
}

impl From<Error> for BuildStop {
    fn from(error: Error) -> BuildStop {
        BuildStop::Error(error)
    }
}
