//! The report of `sandbox doctor` as text: a line for each feature, then each cause once, with what to do.

use std::fmt::Write;

use unicode_width::UnicodeWidthStr;

use super::paint;
use super::plan::note_lines;
use crate::error::Error;
use crate::teach::doctor::{Finding, Proof, Report};
use crate::text::{pad, text, text_with, wrap};

/// The report as text.
pub fn text_of(report: &Report) -> String {
    let width = paint::width();
    let uid = report.facts.uid.to_string();
    let mut out = String::new();
    let title = [("version", report.version), ("release", &report.facts.release), ("uid", &uid)];
    let _ = writeln!(out, "{}\n", paint::heading(&text_with("doctor.title", &title)));
    let (feature, here, tried) = (text("doctor.feature"), text("doctor.here"), text("doctor.tried"));
    let _ = writeln!(
        out,
        "{}",
        paint::heading(format!("{}{}{tried}", pad(&feature, 9), pad(&here, 7)).trim_end())
    );
    let room = width.saturating_sub(16);
    for finding in &report.features {
        let (mark, detail) = if finding.works {
            (paint::good(&pad(&text("doctor.works"), 7)), evidence(finding, room))
        } else {
            (paint::bad(&pad(&text("doctor.not"), 7)), failure(finding))
        };
        let _ = writeln!(out, "{:<9}{mark}{}", finding.purpose.name(), paint::cut(&detail, room));
    }
    let working = report.features.iter().filter(|finding| finding.works).count();
    let all = report.features.len();
    let (count, total) = (working.to_string(), all.to_string());
    let values = [("count", count.as_str()), ("all", &total), ("uid", &uid)];
    let key = if working == all { "doctor.allwork" } else { "doctor.somework" };
    let _ = writeln!(out, "\n{}", text_with(key, &values));
    for (features, error) in troubles(&report.features) {
        let _ = write!(out, "\n{}", section(&features, error, width));
    }
    for note in &report.notes {
        let _ = writeln!(out, "\n{}", note_lines(note, width, 0).join("\n"));
    }
    if let Some(ids) = ids(report) {
        let gap = if working == all { "" } else { "\n" };
        let _ = writeln!(out, "{gap}{ids}");
    }
    if working == all {
        let _ = writeln!(out, "\n{}", text("doctor.next"));
    }
    out
}

/// The file or the call, and its value. If the line is too long, the source is cut, not the value.
fn evidence(finding: &Finding, room: usize) -> String {
    let Some(Proof { source, value }) = &finding.shown else { return String::new() };
    let separator = if source.ends_with(')') {
        " = "
    } else if source.ends_with(':') {
        " "
    } else {
        ": "
    };
    let left = room.saturating_sub(separator.len() + value.width());
    paint::cut(&format!("{}{separator}{value}", paint::cut(source, left)), room)
}

/// The name of the cause, as in the section about it. Without a cause, the call or the error.
fn failure(finding: &Finding) -> String {
    let Some(error) = &finding.error else { return String::new() };
    match (error.cause, &error.call) {
        (Some(cause), _) => cause.to_owned(),
        (None, Some(call)) => call.clone(),
        (None, None) => error.what.clone(),
    }
}

/// The errors, each with all features that fail for this cause.
pub(super) fn troubles(findings: &[Finding]) -> Vec<(Vec<&'static str>, &Error)> {
    let mut groups: Vec<(Vec<&'static str>, &Error)> = Vec::new();
    for finding in findings {
        let Some(error) = &finding.error else { continue };
        let name = finding.purpose.name();
        match groups
            .iter_mut()
            .find(|(_, known)| known.cause == error.cause && known.why == error.why && !known.why.is_empty())
        {
            Some((names, _)) => names.push(name),
            None => groups.push((vec![name], error)),
        }
    }
    groups
}

pub(super) fn section(features: &[&str], error: &Error, width: usize) -> String {
    let name = error.cause.unwrap_or(&error.what);
    let lines = wrap(&format!("{name}: {}", features.join(" ")), width);
    let mut out: String = lines.iter().map(|line| format!("{}\n", paint::heading(line))).collect();
    super::error::parts(&mut out, error.call.as_deref(), &error.why, &error.todo, width);
    out
}

/// What `sandbox user --map auto` can map for an ordinary user.
fn ids(report: &Report) -> Option<String> {
    let facts = &report.facts;
    if facts.uid == 0 {
        return None;
    }
    Some(match (facts.newuidmap, facts.lent_ids) {
        (false, _) => text("doctor.ids.nohelper"),
        (true, 0) => text("doctor.ids.none"),
        (true, count) => text_with("doctor.ids.lent", &[("count", &count.to_string())]),
    })
}
