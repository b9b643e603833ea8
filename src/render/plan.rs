//! A plan as text: the steps, the limits, and the problems that would prevent it.

use std::fmt::Write;

use unicode_width::UnicodeWidthStr;

use super::paint;
use crate::feature::Feature;
use crate::plan::call::cgroup::CgroupCall;
use crate::plan::{Actor, Call, Plan, Step};
use crate::text::{text, text_with, wrap};
use crate::value::paste;

/// The whole plan.
pub fn text_of(plan: &Plan) -> String {
    let mut out = String::new();
    if plan.as_root {
        for line in wrap(&text("limits.plan.root"), paint::width()) {
            let _ = writeln!(out, "{}", paint::bad(&line));
        }
    }
    out.push_str(&announcement(plan));
    for (index, step) in plan.steps.iter().enumerate() {
        out.push_str(&step_line(index, plan, step));
        out.push_str(&why_line(step));
    }
    out.push_str(&versions(plan));
    for problem in &plan.problems {
        let _ = writeln!(out, "{} {}: {}", paint::bad("!!"), problem.purpose, problem.error.what);
        for line in problem.error.why.iter().flat_map(|why| wrap(why, paint::width() - 5)) {
            let _ = writeln!(out, "     {line}");
        }
    }
    out
}

/// The limits, each as cgroup v1 files and as cgroup v2 files.
pub fn versions(plan: &Plan) -> String {
    if plan.intents.is_empty() {
        return String::new();
    }
    let heading = paint::heading(&text("common.view.spellings")).to_string();
    format!("\n{heading}\n{}", super::versions::lines(&plan.intents, usize::MAX))
}

/// What is isolated and limited, in one line: `new pid namespace    added: user (not root), mnt (to mount /proc)`.
pub fn announcement(plan: &Plan) -> String {
    let is_added = |feature| plan.added.iter().any(|addition| addition.feature == feature);
    let own: Vec<&str> = plan.namespaces.iter().filter(|f| !is_added(**f)).map(|f| f.name()).collect();
    let mut out = String::new();
    if !own.is_empty() {
        let key = if own.len() == 1 { "common.new.namespace" } else { "common.new.namespaces" };
        out.push_str(&text_with(key, &[("names", &own.join(", "))]));
    }
    let parts =
        joins(plan).into_iter().chain(Some(limits(plan).join("; ")).filter(|limits| !limits.is_empty()));
    for part in parts {
        let gap = if out.is_empty() { "" } else { "    " };
        let _ = write!(out, "{gap}{part}");
    }
    if !plan.added.is_empty() {
        let added = plan.added.iter().map(|addition| {
            let values = [("feature", addition.feature.name()), ("reason", &*text(addition.reason))];
            text_with("common.added.one", &values)
        });
        let join =
            |list: String, one: String| text_with("common.added.two", &[("list", &list), ("one", &one)]);
        let list = added.reduce(join).unwrap_or_default();
        let gap = if out.is_empty() { "" } else { "    " };
        let _ = write!(out, "{gap}{}", text_with("common.added", &[("list", &list)]));
    }
    // The parts have spaces between them on one line, and a semicolon on several. (`sandbox: ` may come before them.)
    if out.width() > paint::width() - 9 {
        out = out.replace("    ", "; ");
        out = wrap(&out, paint::width() - 9).join("\n         ");
    }
    for line in plan.notes.iter().flat_map(|note| note_lines(note, paint::width() - 9, 9)) {
        let gap = if out.is_empty() { "" } else { "\n         " };
        let _ = write!(out, "{gap}{line}");
    }
    out.push('\n');
    out
}

/// The lines of a note, each of at most `width` columns. A line of it that begins with three blanks is a command to paste.
/// `indent` is the number of columns that the caller writes before each line.
pub fn note_lines(note: &str, width: usize, indent: usize) -> Vec<String> {
    let one = |line: &str| match line.strip_prefix("   ") {
        Some(command) => vec![format!("   {}", paste::wrapped(command, width - 3, indent + 3))],
        None => wrap(line, width),
    };
    paste::lines(note).into_iter().flat_map(one).collect()
}

/// The namespaces that are joined: `joins net, ipc: container web, pid 4711`.
pub fn joins(plan: &Plan) -> Vec<String> {
    let mut owners: Vec<&str> = Vec::new();
    for joined in &plan.joined {
        if !owners.contains(&&*joined.of) {
            owners.push(&joined.of);
        }
    }
    let of = |owner: &str| {
        let names = plan.joined.iter().filter(|joined| joined.of == owner).map(|joined| joined.kind.name());
        text_with("join.new", &[("names", &names.collect::<Vec<_>>().join(", ")), ("of", owner)])
    };
    owners.into_iter().map(of).collect()
}

/// The limits of each controller: `new memory cgroup: limit 64MiB, swap 0`.
fn limits(plan: &Plan) -> Vec<String> {
    let made = plan
        .steps
        .iter()
        .filter(|step| matches!(step.call, Call::Cgroup(CgroupCall::Make { shared: false, .. })));
    let mut features: Vec<Feature> = made.filter_map(|step| step.purpose.feature()).collect();
    features.extend(plan.intents.iter().map(|intent| intent.feature));
    features.sort_unstable();
    features.dedup();
    let of = |feature| {
        let wishes = plan.intents.iter().filter(|intent| intent.feature == feature);
        let wishes: Vec<&str> = wishes.map(|intent| intent.wish.as_str()).collect();
        let key = if wishes.is_empty() { "common.new.cgroup" } else { "common.new.limits" };
        text_with(key, &[("feature", feature.name()), ("limits", &wishes.join(", "))])
    };
    features.into_iter().map(of).collect()
}

/// A step: ` 3  INSIDE   mount("proc", …)`.
pub fn step_line(index: usize, plan: &Plan, step: &Step) -> String {
    call_line(index, plan, &step.call.to_string())
}

/// The same with this text for the call, such as the call with its result.
pub fn call_line(index: usize, plan: &Plan, call: &str) -> String {
    let actor = plan.steps[index].actor;
    // The reason below a step is at column 13, so a number takes at least two columns.
    let digits = plan.steps.len().to_string().len().max(2);
    let name = format!("{actor:<8}");
    let name = if actor == Actor::Host { paint::outside(&name) } else { paint::inside(&name) };
    let call = wrap_call(call, paint::width() - 11 - digits);
    format!("{:>digits$}  {name} {}\n", index + 1, call.join(&format!("\n{:1$}", "", digits + 11)))
}

/// Breaks a long call after a space or between flags. A result stays on one line with its `=`. If there are several calls,
/// each begins a line, unless all fit on one.
pub(super) fn wrap_call(call: &str, width: usize) -> Vec<String> {
    let fits = call.width() <= width;
    let calls = call.split_inclusive(if fits { "\0" } else { "); " });
    calls.flat_map(|call| wrap_one(call, width)).collect()
}

fn wrap_one(call: &str, width: usize) -> Vec<String> {
    let (call, result) = call.rsplit_once(" = ").map_or((call, None), |(call, result)| (call, Some(result)));
    let result = result.map(|result| format!("= {result}"));
    let call = if result.is_some() { format!("{call} ") } else { call.to_owned() };
    let mut lines = vec![String::new()];
    // A path that is longer than a line is broken at its slashes.
    let separator = |part: &'_ str| if part.width() > width { '/' } else { '\0' };
    let parts = call.split_inclusive([' ', '|']).flat_map(|part| part.split_inclusive(separator(part)));
    for part in parts.chain(result.as_deref()) {
        let line = lines.last_mut().filter(|line| line.width() + part.trim_end().width() <= width);
        match line {
            Some(line) => line.push_str(part),
            None => lines.push(part.to_owned()),
        }
    }
    lines.retain(|line| !line.is_empty());
    lines.iter().map(|line| line.trim_end().to_owned()).collect()
}

/// Why a step is made, below the step.
pub fn why_line(step: &Step) -> String {
    let mut out = String::new();
    for line in wrap(&text(step.why), paint::width() - 13) {
        let _ = writeln!(out, "             {}", paint::faint(&line));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_of_a_note_is_continued_below_its_beginning() {
        let note = "Enter this:\n   nft insert rule inet filter forward iifname sandbox0 accept";
        for indent in [0, 9] {
            let command = format!(
                "   nft insert rule inet filter forward \\\n{:1$}iifname sandbox0 accept",
                "",
                indent + 7
            );
            assert_eq!(note_lines(note, 40, indent), ["Enter this:".to_owned(), command]);
        }
    }
}
