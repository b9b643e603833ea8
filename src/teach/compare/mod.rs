//! `sandbox compare`: compares any two processes of this machine, also processes in containers. It shows which
//! namespaces they share, how those namespaces are related, and what each process sees. The readers are the same as for
//! views, so every difference comes from the kernel.
//!
//! It answers two separate questions. What does the kernel show about each process? That is in /proc/PID, and `sandbox`
//! reads it for both. What does the kernel show to each process? A helper in the namespaces of each process reads the
//! same path.

mod subject;
mod tree;
mod vantage;

use nix::sys::stat::{major, minor, stat};
use serde::{Serialize, Serializer};

pub use self::subject::Subject;
pub use self::tree::NamespaceNode;
pub use self::vantage::Refusal;
use self::vantage::Vantage;
use crate::config::container::Config;
use crate::config::facts::Machine;
use crate::error::Result;
use crate::feature::Feature;
use crate::observe::hierarchy::{self, Hierarchy};
use crate::observe::{self, Observation, Unshared, Value, proc};
use crate::views;

/// The content of a file, as a process in the namespaces of `subject` reads it. The error names the namespaces that
/// could not be joined, or the errno.
///
/// # Errors
/// The helper cannot be started.
pub fn read_inside(subject: &Subject, path: &str) -> Result<std::result::Result<String, String>> {
    let vantage = Vantage::at(subject, &Machine::of(&Config::default()))?;
    if let Some(refusal) = vantage.refused().first() {
        return Ok(Err(format!("setns({}): {}", refusal.feature, refusal.errno)));
    }
    Ok(vantage.read(path)?.map_err(|errno| format!("{errno:?}")))
}

/// The kind of a network device in the network namespace of `subject`: `veth`. The error names the namespaces that could
/// not be joined, or the errno.
///
/// # Errors
/// The helper cannot be started.
pub fn device_inside(subject: &Subject, name: &str) -> Result<std::result::Result<String, String>> {
    let vantage = Vantage::at(subject, &Machine::of(&Config::default()))?;
    if let Some(refusal) = vantage.refused().first() {
        return Ok(Err(format!("setns({}): {}", refusal.feature, refusal.errno)));
    }
    Ok(vantage.device(name)?.map_err(|errno| format!("{errno:?}")))
}

/// What open(2) of a path gives to a process in the namespaces of `subject`, and, if the caller may move a helper, in its
/// cgroup of the devices controller: `ok`, or the name of the errno. The error names the namespaces that could not be
/// joined.
///
/// # Errors
/// The helper cannot be started.
pub fn open_inside(subject: &Subject, path: &str) -> Result<std::result::Result<String, String>> {
    let vantage = Vantage::with_devices_of(subject, &Machine::of(&Config::default()))?;
    if let Some(refusal) = vantage.refused().first() {
        return Ok(Err(format!("setns({}): {}", refusal.feature, refusal.errno)));
    }
    Ok(Ok(vantage.open(path)?.map_or_else(|errno| format!("{errno:?}"), |_| "ok".to_owned())))
}

/// Two processes side by side.
#[derive(Debug, Serialize)]
pub struct Comparison {
    /// The process on the left. If the user gives one PID, this is the process that started `sandbox`.
    pub left: Subject,
    /// The process on the right.
    pub right: Subject,
    /// The eight links in /proc/PID/ns.
    pub namespaces: Vec<Pair>,
    /// These namespaces with their owners and parents.
    pub tree: Vec<NamespaceNode>,
    /// What the kernel shows about each process, read by `sandbox`.
    pub processes: Vec<Pair>,
    /// What the kernel shows to each process: the same path, read by a helper in its namespaces.
    pub paths: Vec<Pair>,
    /// The namespaces that the helpers could not join.
    pub refused: Vec<Refusal>,
}

/// A value of the left process and the same value of the right process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pair {
    /// The feature that it belongs to.
    pub feature: Feature,
    /// The file. `PID` in it stands for the PID of each process.
    pub path: String,
    /// The field of the file: `Uid:`. None means the whole file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The value on the left.
    pub left: Value,
    /// The value on the right.
    pub right: Value,
    /// Whether the values are equal. None if one of them could not be read.
    pub equal: Option<bool>,
    /// The items that only one of two lists has. Empty if the values are not two lists.
    #[serde(flatten, serialize_with = "as_left_and_right")]
    pub unshared: Unshared,
}

/// `only_left` and `only_right`, if there are any.
fn as_left_and_right<S: Serializer>(
    unshared: &Unshared,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    unshared.serialize_as(["only_left", "only_right"], serializer)
}

impl Comparison {
    /// Compares two processes.
    ///
    /// # Errors
    /// One of them has ended meanwhile, or a helper cannot be started.
    pub fn of(left: Subject, right: Subject) -> Result<Comparison> {
        let machine = Machine::of(&Config::default());
        let (in_left, in_right) = (Vantage::at(&left, &machine)?, Vantage::at(&right, &machine)?);
        let mut paths = Vec::new();
        let mut processes = identities(&left, &right);
        let namespaces =
            Feature::NAMESPACES.iter().map(|feature| namespace(*feature, &left, &right)).collect::<Vec<_>>();
        let root = |subject: &Subject| proc::link(&format!("{}/root", subject.directory())).value;
        let same_root = root(&left) == root(&right);
        let is_same = |feature| {
            namespaces.iter().any(|pair: &Pair| pair.feature == feature && pair.equal == Some(true))
        };
        let is_shared = |feature| same_root && is_same(feature) && is_same(Feature::Mnt);
        for &feature in Feature::NAMESPACES {
            let seen_left = in_left.look(feature)?;
            // If both processes share the namespaces, one reading counts for both. Between two readings, counters and
            // lists could change.
            let seen_right = if is_shared(feature) { seen_left.clone() } else { in_right.look(feature)? };
            paths.extend(pairs(feature, seen_left, seen_right));
            let files_left = own_files(&left, feature);
            // The files in /proc/PID/net belong to the network namespace, not to the process.
            let is_same_netns = feature == Feature::Net && is_same(feature);
            let files_right = if is_same_netns { files_left.clone() } else { own_files(&right, feature) };
            processes.extend(pairs(feature, files_left, files_right));
        }
        processes.iter_mut().for_each(|pair| tell_apart(pair, &left, &right));
        for &feature in Feature::HARDENING {
            // CapEff is among the files of the user namespace too.
            let is_new = |pair: &Pair| {
                !processes.iter().any(|known: &Pair| known.path == pair.path && known.field == pair.field)
            };
            let files = pairs(feature, own_files(&left, feature), own_files(&right, feature));
            let new: Vec<Pair> = files.into_iter().filter(is_new).collect();
            processes.extend(new);
        }
        let cgroups = CgroupPair::of([&left, &right]);
        for &feature in Feature::CONTROLLERS {
            let limits_left = limits(&left, feature);
            let mut limits_right = limits(&right, feature);
            // If both processes are in the same cgroup, one reading counts for both: its counters change meanwhile.
            for (of_left, of_right) in limits_left.iter().zip(&mut limits_right) {
                if of_left.path == of_right.path && cgroups.is_same(&of_left.path) {
                    of_right.clone_from(of_left);
                }
            }
            processes.extend(pairs(feature, limits_left, limits_right));
        }
        if let (Some(left), Some(right)) = (in_left.cgroups(&left)?, in_right.cgroups(&right)?) {
            paths.extend(pairs(Feature::Cgroup, left, right));
        }
        let tree = tree::tree([&left, &right]);
        // This check is last. A process that has not ended yet had its PID during all readings.
        for subject in [&left, &right] {
            if subject.has_ended() {
                return Err(subject.vanished());
            }
        }
        let refused = [in_left.refused(), in_right.refused()].concat();
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

/// The PIDs, user IDs and group IDs of both.
fn identities(left: &Subject, right: &Subject) -> Vec<Pair> {
    let of = |subject: &Subject| generic(observe::identity(&subject.directory()), subject);
    let both = of(left).into_iter().zip(of(right));
    both.map(|(left, right)| {
        let feature = if left.field.as_deref() == Some("NSpid:") { Feature::Pid } else { Feature::User };
        pair(feature, left.path, left.field, left.value, right.value)
    })
    .collect()
}

/// The feature's files in the directory /proc/PID.
fn own_files(subject: &Subject, feature: Feature) -> Vec<Observation> {
    let mut seen = views::observe(feature, &subject.directory());
    seen.retain(|seen| seen.path.starts_with(&format!("{}/", subject.directory())));
    generic(seen, subject)
}

/// Adds device and inode to two links whose texts are equal but which lead to two directories: `/` of one root filesystem
/// and `/` of another one.
fn tell_apart(pair: &mut Pair, left: &Subject, right: &Subject) {
    let name = match pair.path.as_str() {
        "/proc/PID/root" => "root",
        "/proc/PID/cwd" => "cwd",
        _ => return,
    };
    let directory = |subject: &Subject| {
        let found = stat(format!("{}/{name}", subject.directory()).as_str()).ok()?;
        Some((major(found.st_dev), minor(found.st_dev), found.st_ino))
    };
    let (Some(of_left), Some(of_right)) = (directory(left), directory(right)) else { return };
    if pair.equal != Some(true) || of_left == of_right {
        return;
    }
    for (value, (major, minor, inode)) in [(&mut pair.left, of_left), (&mut pair.right, of_right)] {
        if let Value::Is(path) = value {
            path.push_str(&format!(" (device {major}:{minor}, inode {inode})"));
        }
    }
    pair.equal = Some(false);
}

/// The limits of the cgroups that the process is in, read by `sandbox` where the hierarchies are mounted.
fn limits(subject: &Subject, feature: Feature) -> Vec<Observation> {
    let mut seen = views::observe(feature, &subject.directory());
    seen.retain(|seen| seen.path.starts_with('<'));
    seen
}

/// The cgroup hierarchies, with the cgroup of the left process and with that of the right process.
struct CgroupPair([Vec<Hierarchy>; 2]);

impl CgroupPair {
    fn of(both: [&Subject; 2]) -> CgroupPair {
        CgroupPair(both.map(|subject| hierarchy::hierarchies(&subject.directory())))
    }

    /// Whether both are in the same cgroup of the hierarchy in a path such as `<memory>/memory.max`.
    fn is_same(&self, path: &str) -> bool {
        let name = path.trim_start_matches('<').split('>').next().unwrap_or_default();
        let cgroup = |hierarchies: &[Hierarchy]| {
            let has = |hierarchy: &&Hierarchy| hierarchy.controllers.iter().any(|known| known == name);
            hierarchies.iter().find(has).map(|hierarchy| hierarchy.path.clone())
        };
        let [left, right] = &self.0;
        cgroup(left).is_some() && cgroup(left) == cgroup(right)
    }
}

/// The same observations with `PID` in place of the process's own PID, so that the paths of two processes are equal.
fn generic(mut seen: Vec<Observation>, subject: &Subject) -> Vec<Observation> {
    for seen in &mut seen {
        seen.path = seen.path.replacen(&subject.directory(), "/proc/PID", 1);
    }
    seen
}

/// Pairs the observations of both sides that have the same path. A line that one side does not have (a cgroup
/// hierarchy) is `absent` there.
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
    let (equal, unshared) = (observe::equal(&left, &right), left.unshared(&right).unwrap_or_default());
    Pair { feature, path, field, left, right, equal, unshared }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_one_side_does_not_have_is_absent() {
        let seen = |path: &str| Observation { path: path.into(), field: None, value: Value::Is("/".into()) };
        let pairs = pairs(Feature::Cgroup, vec![seen("a")], vec![seen("b")]);
        let absent = Value::Not("absent".into());
        assert_eq!((&pairs[0].right, &pairs[1].left), (&absent, &absent));
    }
}
