//! What the process of the layers does, and what it reports.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::apply::LayerCounts;
use super::summary::LayerSummary;
use crate::image::digest::Digest;
use crate::plan::call::user::IdMaps;

/// What the process does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerTask {
    /// The directory in which it works. It has nothing else than this one.
    #[serde(with = "crate::value::bytes")]
    pub directory: PathBuf,
    /// What to do there.
    pub work: LayerWork,
    /// The ID maps of its user namespace. None: real IDs.
    pub maps: Option<IdMaps>,
}

/// What to do in the directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LayerWork {
    /// Unpack standard input. The layers below, the topmost first. They may be unpacked at the same time.
    Unpack(#[serde(with = "crate::value::bytes::list")] Vec<PathBuf>),
    /// Remove this entry.
    Remove(String),
    /// Put the files of the archive on standard input into the files of a container. These are the layers below.
    Fill(#[serde(with = "crate::value::bytes::list")] Vec<PathBuf>),
    /// Write what is asked for to descriptor 0. The directory is the upper one; these are the layers below it, the topmost first.
    Read(LayerReading, #[serde(with = "crate::value::bytes::list")] Vec<PathBuf>),
    /// Add up the sizes of the files in this entry.
    Measure(String),
    /// Summarize all files.
    Summarize,
    /// Copy a directory of these layers, the topmost first, into the entry of this name.
    Copy {
        /// The layers.
        #[serde(with = "crate::value::bytes::list")]
        layers: Vec<PathBuf>,
        /// The path in them, without symbolic links.
        #[serde(with = "crate::value::bytes")]
        path: PathBuf,
        /// The name of the entry.
        into: String,
    },
}

/// What is read of the layers of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LayerReading {
    /// What the upper directory changes: `A`, `C` or `D`, the path, and a null byte.
    Changes,
    /// The upper directory, as the archive of a layer.
    Layer,
    /// The files of all layers together, as an archive.
    Files,
    /// Where a path leads: a `PathPlace` as JSON, or `null`. `follows`: its last part may be a link too.
    Place {
        /// The path.
        #[serde(with = "crate::value::bytes")]
        path: PathBuf,
        /// Whether a link at its end is followed.
        follows: bool,
    },
    /// How far a path leads: a `ReachedPlace` as JSON. All links are followed.
    Reach(#[serde(with = "crate::value::bytes")] PathBuf),
    /// What is at each of these paths, of which no link is followed: a list of `PlaceKind` as JSON.
    Kinds(#[serde(with = "crate::value::bytes::list")] Vec<PathBuf>),
    /// What is at a place, as an archive.
    Tree {
        /// The place.
        #[serde(with = "crate::value::bytes")]
        path: PathBuf,
        /// What it is called in the archive. Empty: only what is in it has entries.
        #[serde(with = "crate::value::bytes")]
        name: PathBuf,
    },
}

/// Where a path leads in the files of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathPlace {
    /// The path without links, from the root on, without the first slash.
    #[serde(with = "crate::value::bytes")]
    pub place: PathBuf,
    /// What is there.
    pub kind: PlaceKind,
}

/// How far a path leads in the files of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReachedPlace {
    /// The directory that exists, without links, from the root on, without the first slash.
    #[serde(with = "crate::value::bytes")]
    pub directory: PathBuf,
    /// The rest of the path, of which nothing exists. If something other than a directory is there, only its name.
    #[serde(with = "crate::value::bytes")]
    pub rest: PathBuf,
    /// What is at the whole path.
    pub kind: PlaceKind,
}

/// What is at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PlaceKind {
    /// Nothing, but its directory exists.
    Nothing,
    /// A directory.
    Directory,
    /// Anything else.
    Other,
}

/// What the process reports, each as a line of JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum LayerMessage {
    /// It is in its user namespace, and waits for the maps.
    Map,
    /// It needs the layers below, and waits until they are complete.
    Lowers,
    /// The end of an unpacking.
    Unpacked { diff_id: Digest, counts: LayerCounts, summary: LayerSummary },
    /// The end of a removal.
    Removed,
    /// The end of a reading.
    Read,
    /// The end of a filling.
    Filled(LayerCounts),
    /// The reader has left before the end of a reading: why it cannot be written.
    Left(String),
    /// The size of the files in an entry.
    Measured(u64),
    /// What all files are.
    Summarized(LayerSummary),
    /// The archive cannot be read or unpacked.
    Unreadable(String),
    /// A call of its preparation failed.
    Failed(String, i32),
}
