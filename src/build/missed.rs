//! What `build --explain` says about a step besides its calls: why it was not taken from the cache, and which files are in its layer.
//!
//! An image of an earlier build on the same image below differs from the step in its instruction, or in what its history has of the
//! inputs.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::engine::{ImageBuilder, StageState};
use crate::error::Result;
use crate::image::layer::{self, LayerReading};
use crate::image::manifest::read_json;
use crate::plan::call::user::IdMaps;
use crate::text::printed;

impl ImageBuilder<'_> {
    /// The key of the message with the reason. `created_by` is the step's line in the history, and `command` the part of it that has no
    /// build arguments.
    pub(super) fn missed(&self, stage: &StageState, created_by: &str, command: &str) -> &'static str {
        if stage.current.is_new {
            return "build.explain.miss.earlier";
        }
        let none = Vec::new();
        let below = stage.current.config["history"].as_array().unwrap_or(&none);
        let mut reason = "build.explain.miss.first";
        for step in self.inputs.store.cached_steps().unwrap_or_default() {
            let Ok(document) = self.inputs.store.document(&step.image.id) else { continue };
            let config: serde_json::Value = read_json(&document, "").unwrap_or_default();
            let history = config["history"].as_array().unwrap_or(&none);
            let Some((last, _)) = history.split_last().filter(|(_, before)| *before == &**below) else {
                continue;
            };
            reason = differing(last["created_by"].as_str().unwrap_or_default(), created_by, command);
            // The one with the same instruction says more than a step of another Dockerfile.
            if reason != "build.explain.miss.instruction" {
                break;
            }
        }
        reason
    }
}

/// What differs between an earlier step and this one.
fn differing(earlier: &str, created_by: &str, command: &str) -> &'static str {
    if earlier == created_by {
        "build.explain.miss.other"
    } else if without_files(earlier).is_some_and(|earlier| Some(earlier) == without_files(created_by)) {
        "build.explain.miss.files"
    } else if command != created_by && earlier.ends_with(command)
        || created_by.ends_with(&format!(" {earlier}"))
    {
        "build.explain.miss.arguments"
    } else {
        "build.explain.miss.instruction"
    }
}

/// A `COPY` or `ADD` without the digest of its files. None: it is another instruction.
fn without_files(created_by: &str) -> Option<(&str, &str)> {
    let (before, rest) = created_by.split_once(" files:")?;
    Some((before, rest.split_once(' ')?.1))
}

/// The maximum number of files that are named of a layer.
const MAX_CHANGED: usize = 12;

/// The files that the upper directory changes, as `docker diff` names them: `A /a, C /etc`.
pub(super) fn changed_files(directories: &[PathBuf], maps: Option<&IdMaps>) -> Result<String> {
    let changes = layer::read_to(LayerReading::Changes, directories, maps, |mut pipe| {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).map(|_| bytes)
    })?;
    let changes = changes.unwrap_or_default();
    let all: Vec<&[u8]> = changes.split(|byte| *byte == 0).filter(|change| !change.is_empty()).collect();
    let shown = |change: &&[u8]| match change.split_first() {
        Some((kind, path)) => format!("{} {}", char::from(*kind), printed(OsStr::from_bytes(path))),
        None => String::new(),
    };
    let mut list: Vec<String> = all.iter().take(MAX_CHANGED).map(shown).collect();
    match all.len() {
        0 => list.push("-".to_owned()),
        count if count > MAX_CHANGED => list.push(format!("... +{}", count - MAX_CHANGED)),
        _ => {}
    }
    Ok(list.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_that_differs_is_named() {
        let copy = |digest: &str, place: &str| format!("/bin/sh -c #(nop) COPY files:{digest} in {place} ");
        let run = "/bin/sh -c make all";
        for (earlier, now, command, wanted) in [
            (&*copy("aa", "/x"), &*copy("bb", "/x"), "", "files"),
            (&*copy("aa", "/x"), &*copy("bb", "/y"), "", "instruction"),
            (run, run, run, "other"),
            ("|1 A=1 /bin/sh -c make all", "|1 A=2 /bin/sh -c make all", run, "arguments"),
            ("|1 A=1 /bin/sh -c make all", run, run, "instruction"),
            (run, "|1 A=2 /bin/sh -c make all", run, "arguments"),
            (run, "/bin/sh -c make", "/bin/sh -c make", "instruction"),
        ] {
            let command = if command.is_empty() { now } else { command };
            let found = differing(earlier, now, command);
            assert_eq!(found, format!("build.explain.miss.{wanted}"), "{earlier} {now}");
        }
    }
}
