//! The ledger as text: what was recorded, and what is different.

use std::fmt::Write;

use super::paint;
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
        let _ = writeln!(out, "  {}", thing.name);
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
        let mark = if about.ours { format!("   [{}]", text("ledger.ours")) } else { String::new() };
        let _ = writeln!(out, "  {}{}", paint::different(&thing.name), paint::faint(&mark));
        field(out, "ledger.is", &about.value);
        field(out, "ledger.was", thing.was.as_deref().unwrap_or_default());
        field(out, "ledger.holder", about.holder.as_deref().unwrap_or_default());
        command(out, "ledger.look", about.look.as_deref());
        let key = if thing.kind == ThingKind::Names { "ledger.reset" } else { "ledger.remove" };
        command(out, key, about.remove.as_deref());
    }
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
