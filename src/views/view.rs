//! A view: two questions that are never mixed. A: one process, read from two sides. B: one path, opened by a process
//! on each side.

use nix::unistd::Pid;
use serde::Serialize;

use super::{Sight, features_of, look};
use crate::feature::{Feature, Purpose};
use crate::observe::{Observation, Value, equal, identity, proc};
use crate::plan::{Addition, Intent, Plan};
use crate::text::text;

/// The view of one feature from outside and inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct View {
    /// What it shows.
    #[serde(rename = "feature")]
    pub purpose: Purpose,
    /// What was isolated besides, and why.
    pub added: Vec<Addition>,
    /// One process, read from two sides.
    pub process: OneProcess,
    /// One path, opened on each side.
    pub paths: Vec<OnePath>,
    /// The limits, each in the spelling of v1 and of v2.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub intents: Vec<Intent>,
    /// Who takes part.
    pub who: Vec<Who>,
    /// Who opened the paths outside: `sandbox 4002`.
    pub outside: String,
    /// Who opened the paths inside: `pid 1`.
    pub inside: String,
}

/// Part A.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OneProcess {
    /// Read by a process outside.
    pub outside: Vec<Observation>,
    /// The same process, read by itself.
    pub inside: Vec<Observation>,
    /// What the difference means.
    pub meaning: String,
}

impl OneProcess {
    /// Whether the two readers saw anything different.
    pub fn differs(&self) -> bool {
        self.outside.iter().zip(&self.inside).any(|(outside, inside)| outside.value != inside.value)
    }
}

/// A row of part B.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OnePath {
    /// What was opened.
    pub path: String,
    /// The part of it that is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What it said outside.
    pub outside: Value,
    /// What it said inside.
    pub inside: Value,
    /// Whether that is the same; none where one of them couldn't be read.
    pub equal: Option<bool>,
    /// Whether it differs only because the kernel forced this namespace too.
    pub added: bool,
    /// The feature whose file it is; none for the link of a namespace.
    #[serde(skip)]
    pub feature: Option<Feature>,
}

/// A process that takes part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Who {
    /// Its name.
    pub name: String,
    /// Its number outside.
    pub outside: i32,
    /// Its number inside, where it has one.
    pub inside: Option<i32>,
    /// What it is there for.
    pub role: String,
}

impl View {
    /// Puts the two sights together. `child` is the number outside of the process that reported `inside`.
    pub fn new(plan: &Plan, mut inside: Sight, child: Pid) -> View {
        let (purpose, added) = (plan.purpose, plan.added.as_slice());
        inside.read_limits(purpose, child.as_raw());
        let outside = look(purpose);
        let own_numbers = link_of(&outside, Feature::Pid) != link_of(&inside, Feature::Pid);
        let mut who = vec![];
        let (shell, shell_pid) = shell();
        let same = |pid: i32| if own_numbers { None } else { Some(pid) };
        who.push(Who { inside: same(shell_pid), ..person(&shell, shell_pid, "common.who.shell") });
        let makes_group = !purpose.has_namespaces();
        let maker = if makes_group { "common.who.maker" } else { "common.who.sandbox" };
        who.push(Who { inside: same(outside.pid), ..person("sandbox", outside.pid, maker) });
        let role = if own_numbers && inside.pid == 1 { "common.who.init" } else { "common.who.child" };
        let name = plan.command().unwrap_or("demo");
        who.push(Who { inside: Some(inside.pid), ..person(name, child.as_raw(), role) });
        let meaning = if own_numbers { "common.view.numbers" } else { "common.view.ids" };
        View {
            purpose,
            added: added.to_vec(),
            process: OneProcess {
                outside: identity(&format!("/proc/{child}")),
                inside: inside.status.clone(),
                meaning: text(meaning),
            },
            paths: paths(purpose, added, &outside, &inside),
            intents: plan.intents.clone(),
            who,
            outside: format!("pid {}", outside.pid),
            inside: format!("pid {}", inside.pid),
        }
    }

    /// The features whose links differ.
    pub fn differing(&self) -> Vec<Feature> {
        Feature::NAMESPACES
            .iter()
            .copied()
            .filter(|feature| {
                let link = format!("/proc/self/ns/{feature}");
                self.paths.iter().any(|row| row.path == link && row.equal == Some(false))
            })
            .collect()
    }
}

fn person(name: &str, outside: i32, role: &str) -> Who {
    Who { name: name.to_owned(), outside, inside: None, role: text(role) }
}

/// Whoever started `sandbox`: the shell in the learner's terminal.
pub fn shell() -> (String, i32) {
    let parent = nix::unistd::getppid().as_raw();
    match proc::first_word(&format!("/proc/{parent}/comm")).value {
        Value::Is(name) => (name, parent),
        _ => ("parent".into(), parent),
    }
}

fn link_of(sight: &Sight, feature: Feature) -> Option<&Value> {
    sight.links.iter().find(|(kind, _)| *kind == feature).map(|(_, value)| value)
}

/// The namespace links, the feature's own first, then the feature's files.
fn paths(purpose: Purpose, added: &[Addition], outside: &Sight, inside: &Sight) -> Vec<OnePath> {
    let is_added = |kind| added.iter().any(|addition| addition.feature == kind);
    let mut kinds = Feature::NAMESPACES.to_vec();
    kinds.sort_by_key(|kind| (purpose != *kind, !is_added(*kind)));
    let row = |path: String, field: Option<String>, outside: &Value, inside: &Value, added| OnePath {
        equal: equal(&path, outside, inside),
        path,
        field,
        outside: outside.clone(),
        inside: inside.clone(),
        added,
        feature: None,
    };
    let mut rows = Vec::new();
    for kind in kinds {
        if let (Some(out), Some(within)) = (link_of(outside, kind), link_of(inside, kind)) {
            rows.push(row(format!("/proc/self/ns/{kind}"), None, out, within, is_added(kind)));
        }
    }
    let seen = outside.observations.iter().zip(&inside.observations);
    for ((out, within), feature) in seen.zip(features_of(purpose)) {
        let row = row(out.path.clone(), out.field.clone(), &out.value, &within.value, false);
        rows.push(OnePath { feature: Some(feature), ..row });
    }
    rows
}

/// What differs between a container and the same without some of its keys, seen by a process in each: the rows have the
/// first one on the left. A namespace is `its own` or the caller's (`outside`): of two new ones the numbers differ anyway.
pub fn returned(outside: &Sight, with: &Sight, without: &Sight, keys: &[String]) -> Vec<OnePath> {
    let named = |sight: &Sight| {
        let links = sight.links.iter().map(|(kind, link)| {
            let is_own = link_of(outside, *kind) != Some(link);
            (*kind, if is_own { Value::Is(text("run.returned.own")) } else { link.clone() })
        });
        Sight { links: links.collect(), ..sight.clone() }
    };
    let mut rows = paths(Purpose::Container, &[], &named(with), &named(without));
    // Counters of groups that both share move by themselves, and each run's own group has a name of its own.
    let is_of_key = |row: &OnePath| {
        let group = row.path.strip_prefix('<').and_then(|path| path.split('>').next());
        let is_name = row.path == "/proc/self/cgroup";
        // `cpu` has the controller cpuset too, and v2 calls blkio `io`.
        let is_of = |group: &str, key: &String| group.starts_with(key.as_str()) || key.ends_with(group);
        group.is_none_or(|group| keys.iter().any(|key| is_of(group, key)))
            && (!is_name || keys.iter().any(|key| key == Feature::Cgroup.name()))
    };
    rows.retain(|row| row.equal == Some(false) && is_of_key(row));
    let mut seen = Vec::new();
    rows.retain(|row| {
        let name = (row.path.clone(), row.field.clone());
        let is_new = !seen.contains(&name);
        seen.push(name);
        is_new
    });
    rows
}
