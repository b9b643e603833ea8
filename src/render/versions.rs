//! The limits of a plan in both cgroup versions: which files are written in cgroup v1 and in cgroup v2, and which
//! version this machine has.

use std::fmt::Write;

use unicode_width::UnicodeWidthStr;

use super::paint;
use crate::observe::hierarchy::Version;
use crate::plan::{Intent, Setting};
use crate::text::{text, text_if_any, text_with, wrap};

/// The lines of all intents. Each version has at most `most` lines of settings.
pub(super) fn lines(intents: &[Intent], most: usize) -> String {
    let width = paint::width();
    let mut out = String::new();
    for intent in intents {
        let _ = writeln!(out, "   {}", paint::cut(&intent.wish, width - 3));
        for (version, settings) in [(Version::V1, &intent.v1), (Version::V2, &intent.v2)] {
            version_lines(&mut out, intent, version, settings, most, width);
        }
        for text in differences(intent).iter().chain(&intent.note) {
            for line in wrap(text, width - 6) {
                let _ = writeln!(out, "      {}", paint::good(&line));
            }
        }
    }
    out
}

/// How the two versions differ for this limit, if there is a message about it.
fn differences(intent: &Intent) -> Option<String> {
    let key = intent.why.replace(".why", ".versions");
    text_if_any(&key)
}

fn version_lines(
    out: &mut String,
    intent: &Intent,
    version: Version,
    settings: &[Setting],
    most: usize,
    width: usize,
) {
    let is_here = intent.here == Some(version);
    let mark = match (is_here, intent.is_idle) {
        (true, false) => format!("  {}", text("common.view.here")),
        (true, true) => format!("  {}", text("common.view.idle")),
        _ => String::new(),
    };
    let details = if version == Version::V2 { intent.details.as_slice() } else { &[] };
    let all: Vec<String> = settings.iter().map(ToString::to_string).chain(details.iter().cloned()).collect();
    let left_out = all.len().saturating_sub(most);
    let left_out = if left_out == 1 { 0 } else { left_out };
    for (index, line) in all.iter().take(all.len() - left_out).enumerate() {
        let (name, mark) =
            if index == 0 { (version.to_string(), mark.as_str()) } else { (String::new(), "") };
        let line = paint::cut(line, width.saturating_sub(10 + mark.width()));
        let line = if is_here { paint::different(&line) } else { paint::faint(&line) };
        let _ = writeln!(out, "      {name:<3} {line}{mark}");
    }
    if left_out > 0 {
        let more = text_with("common.view.more", &[("count", &left_out.to_string())]);
        let _ = writeln!(out, "          {}", paint::faint(&more));
    }
}
