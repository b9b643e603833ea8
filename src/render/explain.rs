//! `--explain`: each step as it's made, at most two lines: call = result; why.

use super::{paint, plan};
use crate::plan::Plan;

/// A step with its result.
pub fn step(index: usize, of: &Plan, result: i64) -> String {
    let step = &of.steps[index];
    let line = plan::step_line(index, of, step);
    format!("{} = {}\n{}", line.trim_end(), paint::good(&result.to_string()), plan::why_line(step))
}
