//! `--explain` of a command that works by itself, without the plan of a container: it prints each step before it is made.

use clap::Args;

use crate::container::explain::Explainer;
use crate::render;
use crate::text::text;

/// The flag.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct ExplainArg {
    /// Print each step: the file that is read or written, the process that is started, the signal that is sent, and why
    #[arg(long)]
    explain: bool,
}

/// A step: the calls, and the key of the message with their reason.
pub(super) type ExplainedStep = (&'static str, &'static str);

impl ExplainArg {
    /// Whether the steps are printed.
    pub(super) fn is_on(&self) -> bool {
        self.explain
    }

    pub(super) fn explainer(&self) -> Explainer {
        explainer(self.explain)
    }

    /// A function that prints a step.
    #[cfg(feature = "images")]
    pub(super) fn tell(&self) -> impl Fn(&dyn std::fmt::Display, &str) + Sync + use<> {
        let explain = self.explainer();
        move |call, why| explain.step(call, why)
    }

    /// Prints all steps of a command that makes the same ones each time.
    pub(super) fn steps(&self, all: &[ExplainedStep]) {
        let explain = self.explainer();
        all.iter().for_each(|(call, why)| explain.step(call, why));
    }
}

/// Prints each step, if it is asked for.
pub(super) fn explainer(is_on: bool) -> Explainer {
    let listener: fn(&str, &str) = |call, why| render::err(&render::explain::told(call, &text(why)));
    Explainer::new(is_on.then_some(listener))
}
