//! `--explain` prints each step after it is made: the call with its result, then why. `--step` prints each step and its
//! reason before it is made, waits, and prints the result after it.

use super::{paint, plan};
use crate::plan::Plan;
use crate::plan::slots::Slots;
use crate::text::{text, text_with, wrap};

/// A step that has been made, with its result.
pub fn step(index: usize, of: &Plan, result: i64) -> String {
    let step = &of.steps[index];
    plan::call_line(index, of, &format!("{} = {result}", step.call)) + &plan::why_line(step)
}

/// A step of a command that performs no plan, and why.
pub fn told(call: &str, why: &str) -> String {
    let mut out = plan::wrap_call(call, paint::width() - 6).join("\n      ");
    out.push('\n');
    for line in wrap(why, paint::width() - 8) {
        out.push_str(&format!("        {}\n", paint::faint(&line)));
    }
    out
}

/// A step that is about to be made, why, the keys to press, and a command for another terminal that shows its effect.
pub fn before(index: usize, of: &Plan, slots: &Slots) -> String {
    let step = &of.steps[index];
    let line = plan::step_line(index, of, step);
    let pid = slots.child.or(slots.helper).unwrap_or_else(nix::unistd::getpid).to_string();
    let look = text_with("common.step.look", &[("pid", &pid)]);
    let line = paint::heading(&line);
    format!("\n{line}{}{}\n{}\n", plan::why_line(step), paint::faint(&look), text("common.step.keys"))
}

/// The result of a step that [`before`] has printed.
pub fn result(result: i64) -> String {
    format!("             = {result}\n")
}
