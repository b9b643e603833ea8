//! A card of a demonstration: a claim, the evidence of the kernel, what it means, and how to repeat it.

use std::fmt::Display;
use std::path::PathBuf;

use serde::Serialize;

use super::plot::Plot;
use crate::error::errno_text;
use crate::feature::Feature;
use crate::observe::cgroup::ProcessCgroup;
use crate::observe::hierarchy::Version;
use crate::teach::agent::Answer;
use crate::teach::call::DemoCall;
use crate::text::text;

/// One fact about a feature, and its evidence.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Card {
    /// The feature.
    pub feature: Feature,
    /// The name, as in `sandbox pid --demo NAME`.
    pub name: &'static str,
    /// The claim.
    pub claim: String,
    /// What the kernel reported.
    pub evidence: Vec<Evidence>,
    /// What the evidence means.
    pub verdict: String,
    /// Whether the evidence agrees with the claim.
    pub outcome: Outcome,
    /// The processes outside whose PIDs are in the evidence.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<NamedProcess>,
    /// The lines with which a user repeats this in a shell. Empty if the card was skipped.
    pub repeat: Vec<String>,
    /// Where these lines make a cgroup. None if they make none.
    #[serde(skip)]
    pub(super) cgroup: Option<CgroupOfLines>,
    /// Values for these lines: `{file}`.
    #[serde(skip)]
    pub(super) values: Vec<(&'static str, String)>,
    /// The place of the card in its demonstration, from 1.
    pub place: usize,
    /// The number of cards of the demonstration.
    pub of: usize,
    /// The command that shows this card alone.
    pub alone: String,
    /// What was measured during the demonstration.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plots: Vec<Plot>,
}

/// Where the lines for a shell make a cgroup.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct CgroupOfLines {
    /// The directory of sandbox's cgroups, which becomes its parent.
    pub(super) directory: PathBuf,
    /// The version of its interface.
    pub(super) version: Version,
    /// The name of its controller.
    pub(super) controller: &'static str,
}

/// The result of a card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The evidence agrees with the claim.
    Holds,
    /// The evidence contradicts the claim. This is a finding about this machine, and it is reported.
    Fails,
    /// The fact cannot be shown on this machine, for this reason.
    Skipped(String),
}

/// One value that the kernel reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// The process that saw it: `OUTSIDE`, `INSIDE`, `INSIDE 2`.
    pub side: &'static str,
    /// The file that was read, or the call that was made.
    pub source: String,
    /// The content of the file, or the result of the call.
    pub value: String,
}

/// A process whose PID is in the evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NamedProcess {
    /// Its PID, as the processes outside see it.
    pub pid: i32,
    /// Which process it is.
    pub who: String,
}

impl Card {
    /// Makes a card without evidence. Its texts have the message keys `FEATURE.card.NAME.claim` and `.verdict`.
    pub fn new(feature: Feature, name: &'static str) -> Card {
        let message = |part: &str| text(&format!("{feature}.card.{name}.{part}"));
        Card {
            feature,
            name,
            claim: message("claim"),
            evidence: vec![],
            verdict: message("verdict"),
            outcome: Outcome::Fails,
            processes: vec![],
            repeat: vec![],
            cgroup: None,
            values: vec![],
            place: 0,
            of: 0,
            alone: format!("sandbox {feature} --demo {name}"),
            plots: vec![],
        }
    }

    /// Adds evidence that was seen outside.
    pub fn outside(self, source: impl Display, value: impl Display) -> Card {
        self.seen("OUTSIDE", source, value)
    }

    /// Adds evidence that was seen inside.
    pub fn inside(self, source: impl Display, value: impl Display) -> Card {
        self.seen("INSIDE", source, value)
    }

    /// Adds evidence that was seen by the process named `side`.
    pub fn seen(mut self, side: &'static str, source: impl Display, value: impl Display) -> Card {
        self.evidence.push(Evidence { side, source: source.to_string(), value: value.to_string() });
        self
    }

    /// Adds a call and its result, as strace prints them.
    pub fn call(self, side: &'static str, call: impl Into<DemoCall>, answer: Answer) -> Card {
        self.seen(side, call.into(), answer_text(answer))
    }

    /// Adds a value for the lines that repeat the card: `{name}`.
    pub(super) fn with(mut self, name: &'static str, value: impl Display) -> Card {
        self.values.push((name, value.to_string()));
        self
    }

    /// Has the lines make a cgroup where the one of the card was: below the directory of sandbox's cgroups.
    pub(super) fn in_cgroup(mut self, cgroup: &ProcessCgroup) -> Card {
        let directory = cgroup.directory().parent().unwrap_or(cgroup.directory()).to_owned();
        let controller = cgroup.controller_name();
        self.cgroup = Some(CgroupOfLines { directory, version: cgroup.version(), controller });
        self
    }

    /// Names the processes whose PIDs are in the evidence.
    pub(super) fn name_processes(&mut self, known: &[NamedProcess]) {
        let is_shown = |process: &&NamedProcess| {
            let mut texts = self.evidence.iter().flat_map(|seen| [&seen.source, &seen.value]);
            texts.any(|text| has_pid(text, process.pid))
        };
        self.processes = known.iter().filter(is_shown).cloned().collect();
    }

    /// Sets the result of the card: whether the evidence agrees with the claim.
    pub fn holds(mut self, holds: bool) -> Card {
        self.outcome = if holds { Outcome::Holds } else { Outcome::Fails };
        self
    }

    /// Adds a plot of what was measured.
    pub fn measured(mut self, plot: Plot) -> Card {
        self.plots.push(plot);
        self
    }

    /// Sets the result to "skipped". `reason` is a message key.
    pub fn skip(mut self, reason: &str) -> Card {
        self.outcome = Outcome::Skipped(text(reason));
        self
    }
}

/// The result of a call: `0`, or `-1 EPERM (Operation not permitted)`.
pub fn answer_text(answer: Answer) -> String {
    match answer {
        Ok(result) => result.to_string(),
        Err(errno) => format!("-1 {}", errno_text(errno)),
    }
}

/// The text of a file or a link on one line, or the errno if it cannot be read.
pub fn one_line(read: std::result::Result<String, nix::errno::Errno>) -> String {
    match read {
        Ok(text) => text.split_whitespace().collect::<Vec<_>>().join(" "),
        Err(errno) => format!("({errno:?})"),
    }
}

/// Whether a PID is a word of a text. In "6.18.4-fc-v782" no number is one.
fn has_pid(text: &str, pid: i32) -> bool {
    let is_in_word = |character: char| character.is_alphanumeric() || "._-".contains(character);
    let mut words = text.split(|character| !is_in_word(character));
    words.any(|word| word.trim_end_matches('.') == pid.to_string())
}

#[cfg(test)]
mod tests {
    use super::has_pid;

    #[test]
    fn a_pid_is_a_word() {
        for text in
            ["/proc/18/ns/pid", "NSpid: 4711 18", "18 (sleep) S 1", "the parent is 18.", "kill(18, SIGTERM)"]
        {
            assert!(has_pid(text, 18), "{text}");
        }
        for text in ["6.18.44-fc-v782", "v18", "118", "18.5 %", "web-18", "18MiB"] {
            assert!(!has_pid(text, 18), "{text}");
        }
        assert!(!has_pid("6.18.44-fc-v782", 782));
    }
}
