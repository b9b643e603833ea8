//! A comparison as text: what the kernel shows about each process, what it shows to each process, and how their
//! namespaces are related.

use std::fmt::Write;

use unicode_width::UnicodeWidthStr;

use super::paint;
use super::table::{self, Cell, Row, Side};
use super::view::{heading, meaning};
use crate::feature::Feature;
use crate::teach::compare::{Comparison, NamespaceNode, Pair, Subject};
use crate::text::{pad, printed, text, text_with, wrap};

/// The lines of a comparison. Equal values of namespaces that both share are only counted, unless `all` is set.
pub fn text_of(comparison: &Comparison, all: bool) -> String {
    let width = paint::width();
    let mut out = String::new();
    for line in verdict(comparison).iter().flat_map(|sentence| wrap(sentence, width)) {
        let _ = writeln!(out, "{line}");
    }
    out.push('\n');
    let side = |subject: &Subject| Side { label: who(subject), short: format!("pid {}", subject.pid) };
    let sides = [side(&comparison.left), side(&comparison.right)];
    let differing = comparison.differing();

    heading(&mut out, "A", &text("compare.processes"));
    let mut about = rows(&comparison.namespaces, &[], all, ("/proc/PID/ns/...", "common.view.links"));
    about.extend(rows(&comparison.processes, &differing, all, ("/proc/PID/...", "common.view.values")));
    table::draw(&mut out, &sides, &about, width);
    let is_shown = |pair: &&Pair| all || pair.equal != Some(true);
    let lists = comparison.processes.iter().filter(is_shown).map(|pair| (pair.path.as_str(), &pair.left));
    out.push_str(&table::left_out(lists, width));
    meaning(&mut out, &text("compare.processes.meaning"), width);

    heading(&mut out, "B", &text("compare.paths"));
    let paths = rows(&comparison.paths, &differing, all, ("", "common.view.values"));
    table::draw(&mut out, &sides, &paths, width);
    meaning(&mut out, &text("compare.paths.meaning"), width);
    for line in wrap(&refused(comparison), width - 3) {
        let _ = writeln!(out, "   {}", paint::bad(&line));
    }

    tree(&mut out, comparison, width);
    let key = if all { "compare.next.all" } else { "compare.next" };
    let _ = writeln!(out, "\n{}", text_with(key, &pids(comparison).values()));
    out
}

/// The PIDs of both processes as text.
struct PidPair(String, String);

impl PidPair {
    /// The values for a message.
    fn values(&self) -> [(&str, &str); 2] {
        [("left", &self.0), ("right", &self.1)]
    }
}

fn pids(comparison: &Comparison) -> PidPair {
    PidPair(comparison.left.pid.to_string(), comparison.right.pid.to_string())
}

/// The two processes, and which namespaces differ.
fn verdict(comparison: &Comparison) -> [String; 2] {
    let [left, right] = [&comparison.left, &comparison.right].map(|subject| {
        let (name, pid) = (printed(&subject.name), subject.pid.to_string());
        let key = if subject.is_shell { "compare.shell" } else { "compare.caller" };
        match subject.is_caller {
            true => text_with(key, &[("who", &name), ("pid", &pid)]),
            false => who(subject),
        }
    });
    let differing = comparison.differing();
    let names: Vec<&str> = differing.iter().map(|feature| feature.name()).collect();
    let (count, of) = (differing.len().to_string(), comparison.namespaces.len().to_string());
    let key = if differing.is_empty() { "compare.equal" } else { "compare.differ" };
    [
        text_with("compare.two", &[("left", &left), ("right", &right)]),
        text_with(key, &[("count", &count), ("of", &of), ("names", &names.join(", "))]),
    ]
}

/// `bash (pid 4001)`.
fn who(subject: &Subject) -> String {
    format!("{} (pid {})", printed(&subject.name), subject.pid)
}

/// The rows of pairs that differ or belong to a feature whose namespaces differ, and a row that counts the others.
fn rows(pairs: &[Pair], differing: &[Feature], all: bool, (path, of): (&str, &str)) -> Vec<Row> {
    // The lines of the cgroup v1 hierarchies would fill the screen.
    let is_v1 = |pair: &Pair| pair.path.ends_with("/cgroup") && pair.field.as_deref() != Some("v2");
    let is_shown =
        |pair: &&Pair| all || pair.equal != Some(true) || (differing.contains(&pair.feature) && !is_v1(pair));
    let mut rows: Vec<Row> = pairs.iter().filter(is_shown).map(row).collect();
    let left_out = pairs.len() - rows.len();
    if left_out > 0 {
        let mut together = Row::together(path, left_out, of);
        together.path = together.path.trim_start().to_owned();
        rows.push(together);
    }
    rows
}

fn row(pair: &Pair) -> Row {
    let [left, right] = Cell::pair(&pair.left, &pair.right);
    Row {
        path: match &pair.field {
            Some(field) => format!("{} {}", pair.path, printed(field)),
            None => pair.path.clone(),
        },
        equal: pair.equal,
        left,
        right: Some(right),
    }
}

fn refused(comparison: &Comparison) -> String {
    if comparison.refused.is_empty() {
        return String::new();
    }
    let refused: Vec<String> = comparison
        .refused
        .iter()
        .map(|refusal| {
            let (feature, pid) = (refusal.feature.name(), refusal.pid.to_string());
            let values = [("feature", feature), ("pid", &*pid), ("errno", &*refusal.errno)];
            text_with("compare.setns.one", &values)
        })
        .collect();
    let pids = pids(comparison);
    let [left, right] = pids.values();
    text_with("compare.setns", &[("refused", &refused.join(", ")), left, right])
}

fn tree(out: &mut String, comparison: &Comparison, width: usize) {
    heading(out, "C", &format!("{}    {}", text("compare.tree"), text("compare.tree.source")));
    let tree = &comparison.tree;
    let is_root = |node: &&NamespaceNode| !tree.iter().any(|other| node.owner.as_ref() == Some(&other.name));
    let mut lines = Vec::new();
    for root in tree.iter().filter(is_root) {
        branch(&mut lines, comparison, root, "", "");
    }
    let column = lines.iter().map(|(name, _)| name.width()).max().unwrap_or(0);
    for (name, holders) in lines {
        let line = format!("   {}  {holders}", pad(&name, column));
        let _ = writeln!(out, "{}", paint::cut(line.trim_end(), width));
    }
    meaning(out, &text("compare.tree.meaning"), width);
}

/// The lines of a namespace and, indented, of the namespaces that it owns.
fn branch(
    lines: &mut Vec<(String, String)>,
    of: &Comparison,
    node: &NamespaceNode,
    joint: &str,
    indent: &str,
) {
    lines.push((format!("{joint}{}", node.name), about(of, node)));
    let owned = |other: &&NamespaceNode| other.owner.as_ref() == Some(&node.name) && other.name != node.name;
    // The user namespaces are last, because their own branches follow them.
    let (users, mut leaves): (Vec<&NamespaceNode>, Vec<&NamespaceNode>) =
        of.tree.iter().filter(owned).partition(|other| other.feature == Feature::User);
    leaves.sort_by_key(|leaf| leaf.feature);
    let (shared, own): (Vec<&NamespaceNode>, Vec<&NamespaceNode>) =
        leaves.into_iter().partition(|leaf| leaf.pids.len() == 2);
    let mut rest = own.len() + users.len();
    if !shared.is_empty() {
        let names: Vec<&str> = shared.iter().map(|leaf| leaf.feature.name()).collect();
        let joint = if rest > 0 { "|- " } else { "`- " };
        lines.push((format!("{indent}{joint}{}", names.join(" ")), text("compare.both")));
    }
    for child in own.into_iter().chain(users) {
        rest -= 1;
        let (joint, deeper) = if rest > 0 { ("|- ", "|  ") } else { ("`- ", "   ") };
        branch(lines, of, child, &format!("{indent}{joint}"), &format!("{indent}{deeper}"));
    }
}

/// The processes in a namespace, its parent, and the user who made it.
fn about(comparison: &Comparison, node: &NamespaceNode) -> String {
    let holders = match node.pids.as_slice() {
        [] => text("compare.neither"),
        [pid] if *pid == comparison.left.pid => who(&comparison.left),
        [_] if comparison.left.pid != comparison.right.pid => who(&comparison.right),
        _ => text("compare.both"),
    };
    let mut about = vec![holders];
    let parent = node.parent.as_deref().filter(|_| node.feature == Feature::Pid);
    about.extend(parent.map(|parent| text_with("compare.childof", &[("parent", parent)])));
    let maker = node.made_by_uid.filter(|_| node.owner.is_some());
    about.extend(maker.map(|uid| text_with("compare.madeby", &[("uid", &uid.to_string())])));
    about.join(", ")
}
