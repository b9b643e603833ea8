//! A view: what differs between outside and inside of a namespace or a cgroup. It answers two separate questions.
//! A: what does one process look like, read from outside and read by itself?
//! B: what does one path show to a process outside, and to a process inside?

use nix::unistd::Pid;
use serde::{Serialize, Serializer};

use super::{Caller, Readings, features_of, look};
use crate::feature::{Feature, Purpose};
use crate::observe::{Observation, Unshared, Value, equal, identity, proc};
use crate::plan::{Addition, Intent, Joined, Plan};
use crate::text::printed;
use crate::text::text;

/// The view of one feature from outside and inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct View {
    /// The feature, or a whole container.
    #[serde(rename = "feature")]
    pub purpose: Purpose,
    /// The namespaces that the kernel requires besides, and why.
    pub added: Vec<Addition>,
    /// The namespaces that are those of another container or process.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub joined: Vec<Joined>,
    /// Part A: one process, read from outside and by itself.
    pub process: OneProcess,
    /// Part B: one path, opened on each side.
    pub paths: Vec<OnePath>,
    /// The limits, each as cgroup v1 files and as cgroup v2 files.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub intents: Vec<Intent>,
    /// The processes that take part.
    pub who: Vec<Participant>,
    /// The process that started `sandbox`.
    #[serde(skip)]
    pub caller: Caller,
    /// The process outside that opened the paths: `pid 4002`.
    pub outside: String,
    /// The process inside that opened the paths: `pid 1`.
    pub inside: String,
}

/// Part A: one process, read from outside and by itself.
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
    /// Whether any value differs.
    pub fn differs(&self) -> bool {
        self.outside.iter().zip(&self.inside).any(|(outside, inside)| outside.value != inside.value)
    }
}

/// A row of part B: one path, opened on each side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OnePath {
    /// The path.
    pub path: String,
    /// The field of the file: `MemTotal:`. None means the whole file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The value outside.
    pub outside: Value,
    /// The value inside.
    pub inside: Value,
    /// Whether the values are equal. None if one of them could not be read.
    pub equal: Option<bool>,
    /// The items that only one of two lists has. Empty if the values are not two lists.
    #[serde(flatten, serialize_with = "as_outside_and_inside")]
    pub unshared: Unshared,
    /// Whether this is the link of a namespace that was added because the kernel requires it.
    pub added: bool,
    /// The feature that reads this file. None for the link of a namespace.
    #[serde(skip)]
    pub feature: Option<Feature>,
}

/// `only_outside` and `only_inside`, if there are any.
fn as_outside_and_inside<S: Serializer>(unshared: &Unshared, serializer: S) -> Result<S::Ok, S::Error> {
    unshared.serialize_as(["only_outside", "only_inside"], serializer)
}

/// A process that takes part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Participant {
    /// Its name.
    pub name: String,
    /// Its PID outside.
    pub outside: i32,
    /// Its PID inside. None if the PID namespace inside does not contain it.
    pub inside: Option<i32>,
    /// Its role in this run.
    pub role: String,
}

impl View {
    /// Compares the caller with the process that read `inside`. `child` is the PID of that process outside.
    pub fn new(plan: &Plan, mut inside: Readings, child: Pid) -> View {
        let (purpose, added) = (plan.purpose, plan.added.as_slice());
        inside.read_limits(purpose, child.as_raw());
        let outside = look(purpose);
        let has_new_pids = link_of(&outside, Feature::Pid) != link_of(&inside, Feature::Pid);
        let inside_pid = |pid: i32| if has_new_pids { None } else { Some(pid) };
        let caller = Caller::gather();
        let caller_role = if caller.is_shell { "common.who.shell" } else { "common.who.starter" };
        let only_joins = plan.namespaces.is_empty() && !plan.entered_namespaces.is_empty();
        let sandbox_role = match purpose.has_namespaces() {
            true if only_joins => "common.who.joiner",
            true => "common.who.sandbox",
            false => "common.who.maker",
        };
        let role = if has_new_pids && inside.pid == 1 { "common.who.init" } else { "common.who.child" };
        let name = plan.command().map_or_else(|| "demo".to_owned(), printed);
        let who = vec![
            participant(&caller.name, caller.pid, inside_pid(caller.pid), caller_role),
            participant("sandbox", outside.pid, inside_pid(outside.pid), sandbox_role),
            participant(&name, child.as_raw(), Some(inside.pid), role),
        ];
        let meaning = if has_new_pids { "common.view.numbers" } else { "common.view.ids" };
        View {
            purpose,
            added: added.to_vec(),
            joined: plan.joined.clone(),
            process: OneProcess {
                outside: identity(&format!("/proc/{child}")),
                inside: inside.status.clone(),
                meaning: text(meaning),
            },
            paths: paths(purpose, added, &outside, &inside),
            intents: plan.intents.clone(),
            who,
            caller,
            outside: format!("pid {}", outside.pid),
            inside: format!("pid {}", inside.pid),
        }
    }

    /// Replaces what the process inside could not know yet: it gets its filter last, when it reads nothing any more, and
    /// may have had CAP_SYS_ADMIN until execve(2). A process outside reads these lines after that.
    pub fn confine(&mut self, command: Option<Pid>) {
        const LATE: [&str; 4] = ["Seccomp:", "Seccomp_filters:", "CapPrm:", "CapEff:"];
        let is_late = |row: &&mut OnePath| {
            row.path == "/proc/self/status" && row.field.as_deref().is_some_and(|field| LATE.contains(&field))
        };
        for row in self.paths.iter_mut().filter(is_late) {
            let field = row.field.as_deref().unwrap_or_default().trim_end_matches(':').to_owned();
            row.inside = match command {
                Some(command) => proc::status(&format!("/proc/{command}/status"), &field).value,
                None => Value::Not("the process has ended".into()),
            };
            row.equal = equal(&row.outside, &row.inside);
        }
    }

    /// The features whose namespace links differ.
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

fn participant(name: &str, outside: i32, inside: Option<i32>, role: &str) -> Participant {
    Participant { name: name.to_owned(), outside, inside, role: text(role) }
}

fn link_of(readings: &Readings, feature: Feature) -> Option<&Value> {
    readings.links.iter().find(|(kind, _)| *kind == feature).map(|(_, value)| value)
}

/// The rows of part B. First the namespace links: the feature's own, those that were added, the others. Then the
/// feature's files.
fn paths(purpose: Purpose, added: &[Addition], outside: &Readings, inside: &Readings) -> Vec<OnePath> {
    let is_added = |kind| added.iter().any(|addition| addition.feature == kind);
    let mut kinds = Feature::NAMESPACES.to_vec();
    kinds.sort_by_key(|kind| (purpose != *kind, !is_added(*kind)));
    let row = |path: String, field: Option<String>, outside: &Value, inside: &Value, added| OnePath {
        equal: equal(outside, inside),
        unshared: outside.unshared(inside).unwrap_or_default(),
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

/// What differs between a container and the same container without some of its keys. A process in each of them read
/// `with` and `without`; the rows have `with` on the left. Every run makes new namespaces with other inode numbers.
/// Therefore the rows only say whether a namespace is new, or the caller's (`outside`).
pub fn returned(outside: &Readings, with: &Readings, without: &Readings, keys: &[String]) -> Vec<OnePath> {
    let named = |readings: &Readings| {
        let links = readings.links.iter().map(|(kind, link)| {
            let is_new = link_of(outside, *kind) != Some(link);
            (*kind, if is_new { Value::Is(text("run.returned.own")) } else { link.clone() })
        });
        let observations = readings.observations.iter().cloned().map(|mut seen| {
            seen.value = of_any_run(seen.value);
            seen
        });
        Readings { links: links.collect(), observations: observations.collect(), ..readings.clone() }
    };
    let mut rows = paths(Purpose::Container, &[], &named(with), &named(without));
    // Two differences are not caused by the keys. The counters of a cgroup that both share change by themselves. The
    // cgroups of two runs have different names.
    let is_of_key = |row: &OnePath| {
        let controller = row.path.strip_prefix('<').and_then(|path| path.split('>').next());
        let is_cgroup_name = row.path == "/proc/self/cgroup";
        // The key `cpu` also sets the controller cpuset, and cgroup v2 calls blkio `io`.
        let is_of = |controller: &str, key: &String| {
            controller.starts_with(key.as_str()) || key.ends_with(controller)
        };
        controller.is_none_or(|controller| keys.iter().any(|key| is_of(controller, key)))
            && (!is_cgroup_name || keys.iter().any(|key| key == Feature::Cgroup.name()))
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

/// A value without what differs between two runs of one container: the device numbers of new filesystems, and the start
/// of a process.
fn of_any_run(value: Value) -> Value {
    let Value::List(mut list) = value else { return value };
    let lasting = |item: &String| {
        let (lasting, _) = item.split_once(" started ").unwrap_or((item, ""));
        lasting.split(' ').map(of_any_disk).collect::<Vec<_>>().join(" ")
    };
    list.items = list.items.iter().map(lasting).collect();
    list.items.sort_unstable();
    list.within = None;
    Value::List(list)
}

/// A part of a line of a mount table. Filesystems without a disk have the major number 0, and each new one has another
/// minor number.
fn of_any_disk(part: &str) -> &str {
    let minor = part.strip_prefix("0:");
    if minor.is_some_and(|minor| minor.bytes().all(|byte| byte.is_ascii_digit())) { "0:-" } else { part }
}
