//! A mistake, made on purpose: the evidence of the right way, then that of the wrong way.

use std::fmt::Write;

use super::{card, paint};
use crate::teach::mistakes::Contrast;
use crate::text::wrap;

/// The lines of a contrast.
pub fn text(contrast: &Contrast) -> String {
    let width = paint::width();
    let mut out = String::new();
    for line in wrap(&format!("{}: {}", contrast.name, contrast.mistake), width) {
        let _ = writeln!(out, "{}", paint::heading(&line));
    }
    if let Some(reason) = &contrast.skipped {
        let _ = writeln!(out, "{} {reason}", paint::faint("skipped"));
        return out;
    }
    let _ = writeln!(out, "{}", paint::good("RIGHT"));
    out.push_str(&card::evidence(&contrast.right, 10, width));
    let _ = writeln!(out, "{}", paint::bad("WRONG"));
    out.push_str(&card::evidence(&contrast.wrong, 10, width));
    for line in wrap(&contrast.lesson, width - 3) {
        let _ = writeln!(out, "   {line}");
    }
    out
}
