//! What is before and after the cards of a demonstration, and the system calls behind them.

use std::fmt::Write;

use unicode_width::UnicodeWidthStr;

use super::{card, paint, plan as plan_text};
use crate::feature::Feature;
use crate::plan::Plan;
use crate::teach::demo::{self, Card, Outcome, limits};
use crate::text::{pad, text, text_if_any, text_with, wrap};

/// The introduction: what the feature is, why one wants it, what the cards show, how long they take.
pub fn introduction(feature: Feature, is_privileged: bool) -> String {
    let width = paint::width();
    let message = |part: &str| text_if_any(&format!("{feature}.demo.{part}"));
    let title = message("title").unwrap_or_else(|| feature.name().to_uppercase());
    let mut out = card::title(&title, feature.man_page(), width);
    let user = message("intro.user").filter(|_| !is_privileged);
    let lines = message("intro").into_iter().chain(user);
    for line in lines.flat_map(|text| text.lines().flat_map(|line| wrap(line, width)).collect::<Vec<_>>()) {
        let _ = writeln!(out, "{line}");
    }
    let place = Feature::WITH_SUBCOMMAND.iter().position(|of| *of == feature).map_or(0, |index| index + 1);
    let values = [
        ("place", place),
        ("all", Feature::WITH_SUBCOMMAND.len()),
        ("cards", demo::names(feature).len()),
        ("minutes", demo::minutes(feature)),
    ];
    let values = values.map(|(name, value)| (name, value.to_string()));
    let values = values.each_ref().map(|(name, value)| (*name, value.as_str()));
    let _ = writeln!(out, "{}", paint::faint(&text_with("demo.counts", &values)));
    out
}

/// The cgroup of the caller, for a user who may not make another one: its path, and its files of this controller.
pub fn own_cgroup(feature: Feature) -> String {
    let width = paint::width();
    let own = limits::own(feature);
    let mut out = card::title(&text("limits.own.title"), feature.man_page(), width);
    out.push_str(&card::evidence(&own.evidence, 10, width));
    wrap(&text("limits.own.meaning"), width).iter().for_each(|line| out.push_str(&format!("{line}\n")));
    if !own.lines.is_empty() {
        let _ = writeln!(out, "{}", text("demo.repeat"));
        own.lines.iter().for_each(|line| out.push_str(&format!("   {line}\n")));
    }
    out
}

/// The end: what to remember, the next subject, and how to go on in a shell.
pub fn ending(feature: Feature) -> String {
    let width = paint::width();
    let mut out = String::new();
    if let Some(lines) = text_if_any(&format!("{feature}.demo.remember")) {
        let _ = writeln!(out, "{}", paint::heading(&text("demo.remember")));
        for (index, line) in lines.lines().enumerate() {
            for (part, line) in wrap(line, width - 5).iter().enumerate() {
                let number = if part == 0 { format!("{}.", index + 1) } else { String::new() };
                let _ = writeln!(out, "  {number:<3}{line}");
            }
        }
    }
    if let Some(next) = text_if_any(&format!("{feature}.demo.next")) {
        let next = text_with("demo.next", &[("why", &next)]);
        wrap(&next, width).iter().for_each(|line| out.push_str(&format!("{line}\n")));
        // After the last one comes the lesson about a container, which uses them together.
        let name = demo::next(feature).map_or("lesson start container", Feature::name);
        let _ = writeln!(out, "   sandbox {name}");
    }
    let _ = writeln!(out, "{}\n   sandbox {feature} --explain -- bash", text("demo.shell"));
    out
}

/// The heading of the table of [`calls_row`].
pub fn calls_heading(feature: Feature) -> String {
    let title = text_with("demo.calls.title", &[("feature", feature.name())]);
    let [card, processes, calls, new] =
        ["card", "processes", "calls", "new"].map(|of| text(&format!("demo.calls.{of}")));
    let right = |text: &str, width: usize| format!("{:1$}{text}", "", width.saturating_sub(text.width()));
    let head = format!("       {} {} {}   {new}", pad(&card, 12), right(&processes, 9), right(&calls, 7));
    format!("{}\n{}\n", paint::heading(&title), paint::faint(&head))
}

/// One line about the system calls of a card: the number of processes and calls, and what is new.
pub fn calls_row(card: &Card, plans: &[Plan]) -> String {
    let calls: usize = plans.iter().map(|plan| plan.steps.len()).sum();
    let mut new: Vec<&str> =
        plans.iter().flat_map(|plan| plan.namespaces.iter().map(|of| of.name())).collect();
    new.sort_unstable();
    new.dedup();
    let new = match (&card.outcome, new.is_empty()) {
        (Outcome::Skipped(_), _) => text("demo.calls.skipped"),
        (_, true) => "-".to_owned(),
        (..) => new.join(", "),
    };
    format!("   {:>2}  {:<12} {:>9} {calls:>7}   {new}\n", card.place, card.name, plans.len())
}

/// What is below the table of [`calls_row`]: the calls that isolate or limit, each once, and how to see the others.
pub fn calls_ending(feature: Feature, plans: &[Plan]) -> String {
    let mut seen: Vec<String> = Vec::new();
    let mut out = format!("{}\n", paint::heading(&text("demo.calls.own")));
    for step in plans.iter().flat_map(|plan| &plan.steps) {
        let call = step.call.to_string();
        // The other steps are the same for every process: the gate, the parent-death signal, ...
        let is_own = !step.why.starts_with("common.") || call.contains("CLONE_NEW");
        if is_own && !seen.contains(&call) && seen.len() < MOST_CALLS {
            let _ = writeln!(out, "   {}", paint::cut(&call, paint::width() - 3));
            seen.push(call);
        }
    }
    if seen.is_empty() {
        out.clear();
    }
    let first = demo::names(feature).first().copied().unwrap_or_default();
    out + &text_with("demo.calls.next", &[("feature", feature.name()), ("card", first)]) + "\n"
}

/// The maximum number of calls in the summary, so that it fits a terminal.
const MOST_CALLS: usize = 6;

/// The system calls of a card: the plan of each process that it started, with the reason of each step.
pub fn calls(card: &Card, plans: &[Plan]) -> String {
    let mut out = String::new();
    for (index, plan) in plans.iter().enumerate() {
        let values = [("process", &*(index + 1).to_string()), ("of", &plans.len().to_string())];
        let _ = writeln!(out, "{}", paint::heading(&text_with("demo.calls.process", &values)));
        for (index, step) in plan.steps.iter().enumerate() {
            out.push_str(&plan_text::step_line(index, plan, step));
            out.push_str(&plan_text::why_line(step));
        }
    }
    if plans.is_empty() {
        out.push_str(&text_with("demo.calls.none", &[("card", card.name)]));
        out.push('\n');
    }
    out
}
