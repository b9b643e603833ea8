//! `--explain`: each step as it's made, at most two lines: call = result; why. `--step` shows it before it's made.

use super::{paint, plan};
use crate::plan::Plan;
use crate::plan::slots::Slots;
use crate::text::{text, text_with};

/// A step with its result.
pub fn step(index: usize, of: &Plan, result: i64) -> String {
    let step = &of.steps[index];
    plan::call_line(index, of, &format!("{} = {result}", step.call)) + &plan::why_line(step)
}

/// A step that is about to be made: what to press here, and what to type in another terminal to look.
pub fn before(index: usize, of: &Plan, slots: &Slots) -> String {
    let line = plan::step_line(index, of, &of.steps[index]);
    let pid = slots.child.or(slots.helper).unwrap_or_else(nix::unistd::getpid).to_string();
    let look = text_with("common.step.look", &[("pid", &pid)]);
    format!("\n{}{}\n{}\n", paint::heading(&line), paint::faint(&look), text("common.step.keys"))
}
