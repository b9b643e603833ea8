//! `sandbox` with nothing behind it: where a newcomer begins. At most 15 lines.

use std::fmt::Write;

use crate::render::paint;
use crate::text::{text, wrap};

/// What to type first, and why.
const FIRST: [(&str, &str); 3] = [
    ("sandbox pid --show-proc", "habit.welcome.view"),
    ("sandbox uts --explain -- uname -n", "habit.welcome.explain"),
    ("sandbox pid -- bash", "habit.welcome.shell"),
];

/// And then.
const THEN: [(&str, &str); 2] =
    [("sandbox doctor", "habit.welcome.doctor"), ("sandbox --help", "habit.welcome.help")];

/// The lines.
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
