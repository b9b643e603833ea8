//! What a build is asked for, and what it tells.

use std::collections::BTreeMap;
use std::fs::File;
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
    /// An instruction begins: its number, how many there are, its text.
    Step(usize, usize, &'e str),
    /// The image has so many triggers.
    Triggers(usize),
    /// The step was taken from the cache.
    Cached,
    /// The container of the step runs, with this ID.
    Running(&'e str),
    /// It has ended, and is removed.
    Removed(&'e str),
    /// The step has this image. None: `scratch`.
    Image(Option<&'e Digest>),
    /// Something to know.
    Note(String),
}

/// What gets the events of a build.
pub trait BuildWatch {
    /// Is called for each event.
    fn event(&mut self, event: BuildEvent<'_>);

    /// Where the output of commands goes. None: to the caller's own.
    fn output(&self) -> Option<&File>;
}

/// Why a build ends before its end.
#[derive(Debug)]
pub enum BuildStop {
    /// An error.
    Error(Error),
    /// A command has failed: the error, and the status.
    Command(Error, u8),
}

impl From<Error> for BuildStop {
    fn from(error: Error) -> BuildStop {
        BuildStop::Error(error)
    }
}
