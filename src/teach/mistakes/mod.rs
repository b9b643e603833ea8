//! Mistakes (`sandbox FEATURE --break NAME`): common mistakes in the use of a feature, made on purpose.
//!
//! Each mistake is shown next to the right way, with the evidence that differs between them. One learns more from a
//! protection when one sees what happens without it. Nothing outside of the demonstration is harmed.

mod blkio;
mod cgroup;
mod cpu;
mod devices;
mod ipc;
mod memory;
mod mnt;
mod net;
mod pid;
mod pids;
mod run;
mod time;
mod user;
mod uts;

use serde::Serialize;

use crate::config::complete::Completed;
use crate::config::spec::Spec;
use crate::error::{Error, Result};
use crate::feature::{Feature, Purpose};
use crate::teach::demo::{AS_ORDINARY_USER, Evidence, Stage};
use crate::text::{text, text_if_any, text_with, word};
use crate::value::nearest::nearest;

/// A mistake: the right way compared with the wrong way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Contrast {
    /// The feature, or the whole container.
    #[serde(rename = "feature")]
    pub purpose: Purpose,
    /// The name, as in `sandbox pid --break NAME`.
    pub name: &'static str,
    /// What the mistake is.
    pub mistake: String,
    /// The evidence of the right way.
    pub right: Vec<Evidence>,
    /// The evidence of the wrong way.
    pub wrong: Vec<Evidence>,
    /// The command line of the wrong way, or several lines, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wrong_command: Option<String>,
    /// The command line of the right way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub right_command: Option<String>,
    /// What it teaches.
    pub lesson: String,
    /// The reason why the mistake cannot be shown on this machine, if it cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
}

/// The name of a mistake, and the function that makes it.
type MistakeEntry = (&'static str, fn(&mut Stage<'_>) -> Result<Contrast>);

fn entries(purpose: Purpose) -> &'static [MistakeEntry] {
    let Some(feature) = purpose.feature() else { return run::MISTAKES };
    match feature {
        Feature::Pid => pid::MISTAKES,
        Feature::Mnt => mnt::MISTAKES,
        Feature::Net => net::MISTAKES,
        Feature::User => user::MISTAKES,
        Feature::Ipc => ipc::MISTAKES,
        Feature::Uts => uts::MISTAKES,
        Feature::Cgroup => cgroup::MISTAKES,
        Feature::Time => time::MISTAKES,
        Feature::Pids => pids::MISTAKES,
        Feature::Memory => memory::MISTAKES,
        Feature::Cpu => cpu::MISTAKES,
        Feature::Blkio => blkio::MISTAKES,
        Feature::Devices => devices::MISTAKES,
        _ => &[],
    }
}

/// The mistakes of a feature: the name and the description of each.
pub fn list(purpose: Purpose) -> Vec<(&'static str, String)> {
    entries(purpose)
        .iter()
        .map(|(name, _)| (*name, text(&format!("{purpose}.break.{name}.mistake"))))
        .collect()
}

/// Makes one mistake, the right way and the wrong way.
///
/// # Errors
/// The mistake is unknown, or a step failed.
pub fn run(purpose: Purpose, name: &str, stage: &mut Stage<'_>) -> Result<Contrast> {
    match entries(purpose).iter().find(|(known, _)| *known == name) {
        Some((name, _)) if cannot_limit(purpose) => Ok(Contrast::new(purpose, name).skip("cgroup.skip.join")),
        Some((_, make)) => make(stage),
        None => {
            let known: Vec<&str> = entries(purpose).iter().map(|(name, _)| *name).collect();
            let purpose = purpose.to_string();
            let what = text_with("common.break.unknown", &[("feature", &purpose), ("name", &word(name))]);
            let what = match nearest(name, known.iter().copied()) {
                Some(near) => format!("{what}: {}", text_with("spec.near", &[("word", near)])),
                None => what,
            };
            let todo = text_with("common.break.unknown.todo", &[("names", &known.join(", "))]);
            Err(Error::usage(what).todo(if known.is_empty() {
                text_with("common.break.none", &[("feature", &*purpose)])
            } else {
                todo
            }))
        }
    }
}

/// Whether the caller can create no cgroup of this feature, which is a limit.
fn cannot_limit(purpose: Purpose) -> bool {
    let Some(feature) = purpose.feature().filter(|feature| feature.is_controller()) else { return false };
    let cgroups = Completed::of(&Spec::of(feature), purpose).machine.host.cgroups;
    feature != Feature::Pids && cgroups.is_some_and(|cgroups| !cgroups.obstacles.is_empty())
}

impl Contrast {
    /// Makes a contrast without evidence. Its texts have the message keys `FEATURE.break.NAME.mistake` and `.lesson`,
    /// and those of its command lines `.wrong` and `.right`. `{as}` in these becomes an ordinary user if the caller is
    /// root.
    pub fn new(purpose: impl Into<Purpose>, name: &'static str) -> Contrast {
        let purpose = purpose.into();
        let message = |part: &str| text(&format!("{purpose}.break.{name}.{part}"));
        let (mistake, lesson) = (message("mistake"), message("lesson"));
        let ordinary = if nix::unistd::geteuid().is_root() { AS_ORDINARY_USER } else { "" };
        let command = |way: &str| {
            let lines = text_if_any(&format!("{purpose}.break.{name}.{way}"))?;
            Some(lines.trim().replace("{as}", ordinary))
        };
        let (wrong_command, right_command) = (command("wrong"), command("right"));
        let (right, wrong, skipped) = (vec![], vec![], None);
        Contrast { purpose, name, mistake, right, wrong, wrong_command, right_command, lesson, skipped }
    }

    /// Adds evidence of the right way.
    pub fn right(self, side: &'static str, source: impl ToString, value: impl ToString) -> Contrast {
        self.showed(true, side, source, value)
    }

    /// Adds evidence of the wrong way.
    pub fn wrong(self, side: &'static str, source: impl ToString, value: impl ToString) -> Contrast {
        self.showed(false, side, source, value)
    }

    /// Adds evidence of the right or the wrong way, for code that loops over both.
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

    /// Marks the mistake as skipped. `reason` is a message key.
    pub fn skip(mut self, reason: &str) -> Contrast {
        self.skipped = Some(text(reason));
        self
    }
}
