//! Any two processes of this machine, a container's too: which namespaces they share, how those hang together, and what
//! each of the two sees. The readers are those of the views, so a difference is the kernel's.
//!
//! Two questions are never mixed. What the kernel tells of a process is read below /proc/PID, of both from here. What it
//! tells to a process is read by a helper in that process's place, under one path on both sides.

mod subject;
mod tree;
mod vantage;

use serde::Serialize;

pub use self::subject::Subject;
pub use self::tree::NamespaceNode;
pub use self::vantage::Refusal;
use self::vantage::Vantage;
use crate::config::compose;
use crate::config::spec::Spec;
use crate::error::Result;
use crate::feature::Feature;
use crate::observe::hierarchy::{self, Hierarchy};
use crate::observe::{self, Observation, Value, proc};
use crate::views;

/// Two processes side by side.
#[derive(Debug, Serialize)]
pub struct Comparison {
    /// The one on the left: with one PID, the process that started `sandbox`.
    pub left: Subject,
    /// The one on the right.
    pub right: Subject,
    /// The eight links below /proc/PID/ns.
    pub namespaces: Vec<Pair>,
    /// Those namespaces and what stands above them.
    pub tree: Vec<NamespaceNode>,
    /// What the kernel tells of each process: read from here.
    pub processes: Vec<Pair>,
    /// What the kernel tells to each process: one path, opened by a helper in its place.
    pub paths: Vec<Pair>,
    /// Where the helpers weren't let in.
    pub refused: Vec<Refusal>,
}

/// One value of each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pair {
    /// The feature that it belongs to.
    pub feature: Feature,
    /// The file; `PID` stands for either number.
    pub path: String,
    /// The part of it that is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What it says on the left.
    pub left: Value,
    /// What it says on the right.
    pub right: Value,
    /// Whether that is the same; none where one of them couldn't be read.
    pub equal: Option<bool>,
}

impl Comparison {
    /// Looks at both.
    ///
    /// # Errors
    /// One of them ended meanwhile; there can be no helper.
    pub fn of(left: Subject, right: Subject) -> Result<Comparison> {
        let machine = compose::gather(&Spec::default());
        let (there, yonder) = (Vantage::at(&left, &machine)?, Vantage::at(&right, &machine)?);
        let mut paths = Vec::new();
        let mut processes = numbers(&left, &right);
        let namespaces =
            Feature::NAMESPACES.iter().map(|feature| namespace(*feature, &left, &right)).collect::<Vec<_>>();
        let root = |subject: &Subject| proc::link(&format!("{}/root", subject.directory())).value;
        let same_root = root(&left) == root(&right);
        let is_one = |feature| {
            namespaces.iter().any(|pair: &Pair| pair.feature == feature && pair.equal == Some(true))
        };
        let is_shared = |feature| same_root && is_one(feature) && is_one(Feature::Mnt);
        for &feature in Feature::NAMESPACES {
            let seen = there.look(feature)?;
            // Where the two share a place, one reading is both's: a second one would see who came and went meanwhile.
            let other = if is_shared(feature) { seen.clone() } else { yonder.look(feature)? };
            paths.extend(pairs(feature, seen, other));
            let own = own_files(&left, feature);
            // The files of /proc/PID/net are those of its namespace, not of the process.
            let is_netns = feature == Feature::Net && is_one(feature);
            let others = if is_netns { own.clone() } else { own_files(&right, feature) };
            processes.extend(pairs(feature, own, others));
        }
        let groups = CgroupPair::of([&left, &right]);
        for &feature in Feature::CONTROLLERS {
            let own = limits(&left, feature);
            let mut others = limits(&right, feature);
            // The counters of a group that holds both are both's: the second reading would have them moved on.
            for (seen, other) in own.iter().zip(&mut others) {
                if seen.path == other.path && groups.is_one(&seen.path) {
                    other.clone_from(seen);
                }
            }
            processes.extend(pairs(feature, own, others));
        }
        if let (Some(left), Some(right)) = (there.cgroups(&left)?, yonder.cgroups(&right)?) {
            paths.extend(pairs(Feature::Cgroup, left, right));
        }
        let tree = tree::tree([&left, &right]);
        // Last of all: whoever still lives was the one behind its number all the while.
        for subject in [&left, &right] {
            if subject.has_ended() {
                return Err(subject.vanished());
            }
        }
        let refused = [there.refused(), yonder.refused()].concat();
        Ok(Comparison { left, right, namespaces, tree, processes, paths, refused })
    }

    /// The features whose namespaces differ.
    pub fn differing(&self) -> Vec<Feature> {
        self.namespaces.iter().filter(|pair| pair.equal == Some(false)).map(|pair| pair.feature).collect()
    }
}

fn namespace(feature: Feature, left: &Subject, right: &Subject) -> Pair {
    let of = |subject: &Subject| proc::namespace(&subject.directory(), feature);
    pair(feature, format!("/proc/PID/ns/{feature}"), None, of(left), of(right))
}

/// The numbers and ids of both.
fn numbers(left: &Subject, right: &Subject) -> Vec<Pair> {
    let of = |subject: &Subject| generic(observe::identity(&subject.directory()), subject);
    let both = of(left).into_iter().zip(of(right));
    both.map(|(left, right)| {
        let feature = if left.field.as_deref() == Some("NSpid:") { Feature::Pid } else { Feature::User };
        pair(feature, left.path, left.field, left.value, right.value)
    })
    .collect()
}

/// The feature's files below the process's own directory.
fn own_files(subject: &Subject, feature: Feature) -> Vec<Observation> {
    let mut seen = views::observe(feature, &subject.directory());
    seen.retain(|seen| seen.path.starts_with(&format!("{}/", subject.directory())));
    generic(seen, subject)
}

/// The limits of the process's own cgroups: files that are read from here, where those are mounted.
fn limits(subject: &Subject, feature: Feature) -> Vec<Observation> {
    let mut seen = views::observe(feature, &subject.directory());
    seen.retain(|seen| seen.path.starts_with('<'));
    seen
}

/// The hierarchies of cgroups, each with the group of the left one and with that of the right one.
struct CgroupPair([Vec<Hierarchy>; 2]);

impl CgroupPair {
    fn of(both: [&Subject; 2]) -> CgroupPair {
        CgroupPair(both.map(|subject| hierarchy::hierarchies(&subject.directory())))
    }

    /// Whether both are in the group that a path means: `<memory>/memory.max`.
    fn is_one(&self, path: &str) -> bool {
        let name = path.trim_start_matches('<').split('>').next().unwrap_or_default();
        let home = |hierarchies: &[Hierarchy]| {
            let has = |hierarchy: &&Hierarchy| hierarchy.controllers.iter().any(|known| known == name);
            hierarchies.iter().find(has).map(|hierarchy| hierarchy.path.clone())
        };
        let [left, right] = &self.0;
        home(left).is_some() && home(left) == home(right)
    }
}

fn generic(mut seen: Vec<Observation>, subject: &Subject) -> Vec<Observation> {
    for seen in &mut seen {
        seen.path = seen.path.replacen(&subject.directory(), "/proc/PID", 1);
    }
    seen
}

/// The observations of both sides with the same path; a line that one side lacks (a cgroup hierarchy) says so.
fn pairs(feature: Feature, left: Vec<Observation>, mut right: Vec<Observation>) -> Vec<Pair> {
    let absent = || Value::Not("absent".into());
    let mut pairs = Vec::new();
    for seen in left {
        let same = |other: &Observation| (&other.path, &other.field) == (&seen.path, &seen.field);
        let value = match right.iter().position(same) {
            Some(at) => right.remove(at).value,
            None => absent(),
        };
        pairs.push(pair(feature, seen.path, seen.field, seen.value, value));
    }
    pairs.extend(right.into_iter().map(|seen| pair(feature, seen.path, seen.field, absent(), seen.value)));
    pairs
}

fn pair(feature: Feature, path: String, field: Option<String>, left: Value, right: Value) -> Pair {
    let equal = observe::equal(&path, &left, &right);
    Pair { feature, path, field, left, right, equal }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_side_lacks_is_said() {
        let seen = |path: &str| Observation { path: path.into(), field: None, value: Value::Is("/".into()) };
        let pairs = pairs(Feature::Cgroup, vec![seen("a")], vec![seen("b")]);
        let absent = Value::Not("absent".into());
        assert_eq!((&pairs[0].right, &pairs[1].left), (&absent, &absent));
    }
}
