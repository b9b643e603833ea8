//! A mistake, made on purpose: the wrong command and its evidence, then the right ones.

use std::fmt::Write;

use colored::ColoredString;

use super::{card, paint};
use crate::teach::mistakes::Contrast;
use crate::text::{pad, text as message, wrap};

/// The width of the names of the processes, and of the headings.
const INDENT: usize = 10;

/// The lines of a contrast.
pub fn text(contrast: &Contrast) -> String {
    let width = paint::width();
    let mut out = String::new();
    for line in wrap(&format!("{}: {}", contrast.name, contrast.mistake), width) {
        let _ = writeln!(out, "{}", paint::heading(&line));
    }
    if let Some(reason) = &contrast.skipped {
        let mark = paint::faint(&pad(&message("demo.skipped"), INDENT)).to_string();
        for (index, line) in wrap(reason, width - INDENT).iter().enumerate() {
            let before = if index == 0 { mark.clone() } else { " ".repeat(INDENT) };
            let _ = writeln!(out, "{before}{line}");
        }
        return out;
    }
    let name = |key| pad(&message(key), INDENT);
    // The lines of a command are below each other, so that they can be copied.
    let heading = |name: ColoredString, command: &Option<String>| {
        let lines =
            command.as_deref().unwrap_or_default().replace('\n', &format!("\n{}", " ".repeat(INDENT)));
        format!("{name}{lines}").trim_end().to_owned() + "\n"
    };
    out.push_str(&heading(paint::bad(&name("demo.wrong")), &contrast.wrong_command));
    out.push_str(&card::evidence(&contrast.wrong, INDENT, width));
    out.push_str(&heading(paint::good(&name("demo.right")), &contrast.right_command));
    out.push_str(&card::evidence(&contrast.right, INDENT, width));
    for line in wrap(&contrast.lesson, width - 3) {
        let _ = writeln!(out, "   {line}");
    }
    out
}
