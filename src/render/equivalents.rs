//! The same by shell and docker commands, as text to paste.

use std::fmt::Write;

use super::paint;
use crate::plan::Plan;
use crate::teach::equivalents::Equivalents;
use crate::text::text;

/// The shell commands and the docker commands, each below a heading.
pub fn text_of(plan: &Plan) -> String {
    let Equivalents { shell, docker } = Equivalents::of(plan);
    let mut out = String::from("\n");
    for (heading, lines) in [("common.same.shell", shell), ("common.same.docker", docker)] {
        let _ = writeln!(out, "{}", paint::heading(&text(heading)));
        for line in lines {
            let _ = writeln!(out, "  {line}");
        }
    }
    out
}
