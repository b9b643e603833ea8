//! The famous mistakes: each is made on purpose beside the right way, and only the evidence that changed is shown.

mod blkio;
mod cpu;
mod devices;
mod ipc;
mod memory;
mod mnt;
mod net;
mod pid;
mod run;
mod user;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::feature::{Feature, Purpose};
use crate::teach::demo::{Evidence, Stage};
use crate::text::text;

/// The right way and the wrong one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Contrast {
    /// What it is about.
    #[serde(rename = "feature")]
    pub purpose: Purpose,
    /// The mistake's name: `sandbox pid --break NAME`.
    pub name: &'static str,
    /// What the mistake is.
    pub mistake: String,
    /// What the right way showed.
    pub right: Vec<Evidence>,
    /// What the wrong way showed.
    pub wrong: Vec<Evidence>,
    /// What it teaches.
    pub lesson: String,
    /// Why it can't be shown here, where it can't.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
}

/// A mistake's name and what makes it.
type MistakeEntry = (&'static str, fn(&mut Stage<'_>) -> Result<Contrast>);

fn entries(purpose: Purpose) -> &'static [MistakeEntry] {
    let Some(feature) = purpose.feature() else { return run::MISTAKES };
    match feature {
        Feature::Pid => pid::MISTAKES,
        Feature::Mnt => mnt::MISTAKES,
        Feature::Net => net::MISTAKES,
        Feature::User => user::MISTAKES,
        Feature::Ipc => ipc::MISTAKES,
        Feature::Memory => memory::MISTAKES,
        Feature::Cpu => cpu::MISTAKES,
        Feature::Blkio => blkio::MISTAKES,
        Feature::Devices => devices::MISTAKES,
        _ => &[],
    }
}

/// The names of a feature's mistakes, each with what it is.
pub fn list(purpose: Purpose) -> Vec<(&'static str, String)> {
    entries(purpose)
        .iter()
        .map(|(name, _)| (*name, text(&format!("{purpose}.break.{name}.mistake"))))
        .collect()
}

/// Makes one mistake, right beside wrong.
///
/// # Errors
/// An unknown mistake; a step that failed.
pub fn run(purpose: Purpose, name: &str, stage: &mut Stage<'_>) -> Result<Contrast> {
    match entries(purpose).iter().find(|(known, _)| *known == name) {
        Some((_, make)) => make(stage),
        None => {
            let known: Vec<&str> = entries(purpose).iter().map(|(name, _)| *name).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            Err(Error::usage(format!("{purpose} has no mistake {name:?}")).todo(format!("known: {known}")))
        }
    }
}

impl Contrast {
    /// A contrast without evidence. Its words are `FEATURE.break.NAME.mistake` and `.lesson` in the catalogue.
    pub fn new(purpose: impl Into<Purpose>, name: &'static str) -> Contrast {
        let purpose = purpose.into();
        let words = |part: &str| text(&format!("{purpose}.break.{name}.{part}"));
        let (mistake, lesson) = (words("mistake"), words("lesson"));
        Contrast { purpose, name, mistake, right: vec![], wrong: vec![], lesson, skipped: None }
    }

    /// Adds what the right way showed.
    pub fn right(self, side: &'static str, source: impl ToString, value: impl ToString) -> Contrast {
        self.showed(true, side, source, value)
    }

    /// Adds what the wrong way showed.
    pub fn wrong(self, side: &'static str, source: impl ToString, value: impl ToString) -> Contrast {
        self.showed(false, side, source, value)
    }

    /// Adds what one of the ways showed, for a mistake whose ways are gone in a loop.
    pub fn showed(
        mut self,
        is_right: bool,
        side: &'static str,
        source: impl ToString,
        value: impl ToString,
    ) -> Contrast {
        let way = if is_right { &mut self.right } else { &mut self.wrong };
        way.push(Evidence { side, source: source.to_string(), value: value.to_string() });
        self
    }

    /// It can't be shown here. `reason` is a key of the catalogue.
    pub fn skip(mut self, reason: &str) -> Contrast {
        self.skipped = Some(text(reason));
        self
    }
}
