//! The ledger as text: what was recorded, and what is different.

use std::fmt::Write;

use unicode_width::UnicodeWidthStr;

use super::paint;
use crate::container::id::Id;
use crate::teach::ledger::{Ledger, LedgerDifference, NewThing, ThingKind};
use crate::text::{text, text_with, wrap};
use crate::value::paste;

/// The width of the names in the first column: `held by`.
const NAMES: usize = 9;

/// What was recorded: each kind with its explanation, if it is wanted, and the kinds that could not be read.
pub fn recorded(ledger: &Ledger, explains: bool) -> String {
    let mut out = String::new();
    for kind in ThingKind::ALL.into_iter().filter(|_| explains) {
        let count = match ledger.count_of(kind) {
            Ok(count) => count.to_string(),
            Err(_) => "-".to_owned(),
        };
        let _ = writeln!(out, "{:>6}  {}", count, paint::heading(&kind.title()));
        explained(&mut out, kind, 8);
    }
    let unread: Vec<_> = ledger.unread().iter().collect();
    if !unread.is_empty() {
        let _ = writeln!(out, "{}", text("ledger.unread.title"));
        unread.into_iter().for_each(|(kind, why)| unread_line(&mut out, *kind, why));
    }
    out
}

/// What is different, as text.
pub fn difference(difference: &LedgerDifference, explains: bool) -> String {
    let mut out = String::new();
    let same: usize = difference.same.values().sum();
    let numbers = [difference.new.len(), difference.changed.len(), difference.gone.len(), same];
    let [new, changed, gone, count] = numbers.map(|number| number.to_string());
    let age = age(difference.seconds);
    let values =
        [("age", &*age), ("new", &*new), ("changed", &*changed), ("gone", &*gone), ("count", &*count)];
    let has_none = !difference.has_new() && difference.gone.is_empty();
    let key = match (has_none, difference.only_ours) {
        (true, false) => "ledger.nothing",
        (true, true) => "ledger.nothing.ours",
        (false, false) => "ledger.found",
        (false, true) => "ledger.found.ours",
    };
    wrap(&text_with(key, &values), paint::width()).iter().for_each(|line| put(&mut out, line));
    things(&mut out, "ledger.new", &difference.new, explains);
    things(&mut out, "ledger.changed", &difference.changed, explains);
    let mut last = None;
    for thing in &difference.gone {
        heading(&mut out, "ledger.gone", &mut last, thing.kind, explains);
        name(&mut out, &thing.name, String::new());
        field(&mut out, "ledger.was", &thing.was);
    }
    if explains {
        let _ = writeln!(out, "\n{}", paint::heading(&text("ledger.same")));
        for (kind, count) in &difference.same {
            let _ = writeln!(out, "{count:>6}  {}", kind.title());
        }
    }
    if !difference.unread.is_empty() {
        let _ = writeln!(out, "\n{}", paint::heading(&text("ledger.notcompared")));
        difference.unread.iter().for_each(|(kind, why)| unread_line(&mut out, *kind, why));
    }
    if difference.hidden > 0 {
        let line = text_with("ledger.hidden", &[("count", &difference.hidden.to_string())]);
        put(&mut out, "");
        wrap(&line, paint::width()).iter().for_each(|line| put(&mut out, line));
    }
    out
}

fn put(out: &mut String, line: &str) {
    let _ = writeln!(out, "{line}");
}

/// How long ago something was: `12 min`.
fn age(seconds: u64) -> String {
    let (key, count) = match seconds {
        0..120 => ("ledger.seconds", seconds),
        120..7200 => ("ledger.minutes", seconds / 60),
        _ => ("ledger.hours", seconds / 3600),
    };
    text_with(key, &[("count", &count.to_string())])
}

/// The heading of a part, and that of a kind, each before its first thing.
fn heading(out: &mut String, part: &str, last: &mut Option<ThingKind>, kind: ThingKind, explains: bool) {
    if last.is_none() {
        let _ = writeln!(out, "\n{}", paint::heading(&text(part)));
    }
    if *last != Some(kind) {
        put(out, &kind.title());
        if explains {
            explained(out, kind, 2);
        }
        *last = Some(kind);
    }
}

fn explained(out: &mut String, kind: ThingKind, indent: usize) {
    for line in wrap(&kind.about(), paint::width() - indent) {
        let _ = writeln!(out, "{:indent$}{}", "", paint::faint(&line));
    }
}

fn things(out: &mut String, part: &str, things: &[NewThing], explains: bool) {
    let mut last = None;
    for thing in things {
        heading(out, part, &mut last, thing.kind, explains);
        let about = &thing.description;
        name(out, &thing.name, if about.ours { text("ledger.ours") } else { String::new() });
        field(out, "ledger.is", &about.value);
        field(out, "ledger.was", thing.was.as_deref().unwrap_or_default());
        field(out, "ledger.holder", about.holder.as_deref().unwrap_or_default());
        command(out, "ledger.look", about.look.as_deref());
        let key = if thing.kind == ThingKind::Names { "ledger.reset" } else { "ledger.remove" };
        command(out, key, about.remove.as_deref());
    }
}

/// The name of a thing, and a mark beside it, or below it where there is no room. A path is broken at its slashes.
fn name(out: &mut String, name: &str, mark: String) {
    let lines = path_lines(&with_short_ids(name), paint::width() - 4);
    let last = lines.last().map_or(0, |line| line.width());
    for (index, line) in lines.iter().enumerate() {
        let _ = writeln!(out, "{}{}", if index == 0 { "  " } else { "    " }, paint::different(line));
    }
    if !mark.is_empty() {
        let mark = format!("[{mark}]");
        if lines.len() == 1 && 2 + last + 3 + mark.width() <= paint::width() {
            out.pop();
            let _ = writeln!(out, "   {}", paint::faint(&mark));
        } else {
            let _ = writeln!(out, "    {}", paint::faint(&mark));
        }
    }
}

/// A path with the IDs of containers as `sandbox ps` prints them: `/run/sandbox/0123456789ab...`.
fn with_short_ids(path: &str) -> String {
    let short = |part: &str| Id::of(part).map_or_else(|| part.to_owned(), |id| format!("{}...", id.short()));
    path.split('/').map(short).collect::<Vec<_>>().join("/")
}

/// A path in lines of at most `width` columns, each but the first beginning with a slash. A longer part stays whole.
fn path_lines(path: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for (index, part) in path.split('/').enumerate() {
        let part = if index == 0 { part.to_owned() } else { format!("/{part}") };
        let last = lines.last_mut().expect("never empty");
        if last.is_empty() || last.width() + part.width() <= width {
            last.push_str(&part);
        } else {
            lines.push(part);
        }
    }
    lines
}

/// A name and a value beside it, if there is one.
fn field(out: &mut String, key: &str, value: &str) {
    let mut name = text(key);
    for line in wrap(value, paint::width() - 4 - NAMES) {
        let _ = writeln!(out, "    {name:<NAMES$}{line}");
        name.clear();
    }
}

/// A name and a command line to paste. A long one is continued as a shell does it.
fn command(out: &mut String, key: &str, command: Option<&str>) {
    let Some(command) = command else { return };
    let lines = paste::wrapped(command, paint::width() - 4 - NAMES, 4 + NAMES);
    let _ = writeln!(out, "    {:<NAMES$}{lines}", text(key));
}

fn unread_line(out: &mut String, kind: ThingKind, why: &str) {
    let line = format!("{}: {why}", kind.title());
    for (index, line) in wrap(&line, paint::width() - 4).iter().enumerate() {
        let _ = writeln!(out, "  {}{line}", if index == 0 { "" } else { "  " });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_path_is_broken_at_its_slashes_and_ids_are_short() {
        let id = "0123456789abcdef".repeat(4);
        assert_eq!(with_short_ids(&format!("/run/sandbox/{id}")), "/run/sandbox/0123456789ab...");
        assert_eq!(with_short_ids("net:[4026531840]"), "net:[4026531840]");
        assert_eq!(path_lines("/a/bcd/ef", 6), ["/a/bcd", "/ef"]);
        assert_eq!(path_lines("/abcdefgh/i", 4), ["/abcdefgh", "/i"]);
        assert_eq!(path_lines("lo", 4), ["lo"]);
    }
}
