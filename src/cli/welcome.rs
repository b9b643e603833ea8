//! `sandbox` without arguments: prints at most 15 lines for a beginner.

use std::fmt::Write;

use crate::render::paint;
use crate::text::{text, wrap};

/// The commands to try first, each with the message that says why.
const FIRST: [(&str, &str); 4] = [
    ("sandbox lesson", "habit.welcome.lesson"),
    ("sandbox pid --show-proc", "habit.welcome.view"),
    ("sandbox uts --explain -- uname -n", "habit.welcome.explain"),
    ("sandbox pid -- bash", "habit.welcome.shell"),
];

/// The commands to try next.
const THEN: [(&str, &str); 2] =
    [("sandbox doctor", "habit.welcome.doctor"), ("sandbox --help", "habit.welcome.help")];

/// The text.
pub(super) fn text_of() -> String {
    let mut out = String::new();
    for line in wrap(&text("habit.welcome.what"), paint::width()) {
        let _ = writeln!(out, "{line}");
    }
    let _ = writeln!(out, "\n{}", text("habit.welcome.try"));
    for (commands, gap) in [(&FIRST[..], ""), (&THEN[..], "\n")] {
        out.push_str(gap);
        for (command, why) in commands {
            let _ = writeln!(out, "  {}  {}", paint::heading(&format!("{command:<36}")), text(why));
        }
    }
    out
}
