//! `--explain` of commands that only look, or only print: the calls by which they find out what they print, in their order.

use clap::Args;

use super::kept;

/// The flag.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct StepsArg {
    /// Print the steps: each file that is read, each process that is started, and why
    #[arg(long)]
    explain: bool,
}

/// A step: the calls, and the key of the message with their reason.
pub(super) type ExplainedStep = (&'static str, &'static str);

impl StepsArg {
    /// Tells the steps, if they are asked for.
    pub(super) fn tell(&self, steps: &[ExplainedStep]) {
        let explainer = kept::explainer(self.explain);
        steps.iter().for_each(|(call, why)| explainer.step(call, why));
    }
}
