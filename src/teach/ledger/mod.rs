//! The ledger: what the machine has at one moment, and what is different later. It proves that a run or a lesson has left
//! nothing, or shows what it has left.
//!
//! A ledger is a list of things by kind. Each thing has a key, by which it is found again, and a value. Nothing here
//! changes the machine, except for the file of the ledger.

mod describe;
mod ending;
mod kept;
mod kinds;
mod store;
mod survey;

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::text::text;

pub use self::describe::Description;
pub use self::store::LedgerPlace;
pub use self::survey::Survey;

/// The version of the file.
const FORMAT: u32 = 2;

/// A kind of thing that a container tool can leave on a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ThingKind {
    /// Namespaces, with the processes, descriptors or mounts that keep them.
    Namespaces,
    /// Processes of `sandbox`: named so, or below one, or in a cgroup of one.
    Processes,
    /// The mounts of the caller's mount namespace.
    Mounts,
    /// The network devices of the caller's network namespace.
    Devices,
    /// The nf_tables tables of the caller's network namespace.
    Tables,
    /// System V shared memory.
    SharedMemory,
    /// System V semaphores.
    Semaphores,
    /// System V message queues.
    MessageQueues,
    /// POSIX message queues.
    PosixQueues,
    /// Files in /dev/shm: POSIX shared memory and semaphores.
    SharedFiles,
    /// The cgroups of all mounted hierarchies.
    Cgroups,
    /// The hostname and the domain name.
    Names,
    /// Loop devices with a file, and device-mapper devices.
    BlockDevices,
    /// Files of `sandbox` itself: its runs, and its temporary files.
    State,
    /// The containers of HOME.
    Containers,
    /// The volumes of HOME.
    Volumes,
    /// The images of HOME.
    Images,
}

impl ThingKind {
    /// All kinds, in the order in which they are printed.
    pub const ALL: [ThingKind; 17] = [
        ThingKind::Namespaces,
        ThingKind::Processes,
        ThingKind::Mounts,
        ThingKind::Devices,
        ThingKind::Tables,
        ThingKind::SharedMemory,
        ThingKind::Semaphores,
        ThingKind::MessageQueues,
        ThingKind::PosixQueues,
        ThingKind::SharedFiles,
        ThingKind::Cgroups,
        ThingKind::Names,
        ThingKind::BlockDevices,
        ThingKind::State,
        ThingKind::Containers,
        ThingKind::Volumes,
        ThingKind::Images,
    ];

    /// Its name in messages and in JSON: `shared_memory`.
    pub fn name(self) -> &'static str {
        match self {
            ThingKind::Namespaces => "namespaces",
            ThingKind::Processes => "processes",
            ThingKind::Mounts => "mounts",
            ThingKind::Devices => "devices",
            ThingKind::Tables => "tables",
            ThingKind::SharedMemory => "shared_memory",
            ThingKind::Semaphores => "semaphores",
            ThingKind::MessageQueues => "message_queues",
            ThingKind::PosixQueues => "posix_queues",
            ThingKind::SharedFiles => "shared_files",
            ThingKind::Cgroups => "cgroups",
            ThingKind::Names => "names",
            ThingKind::BlockDevices => "block_devices",
            ThingKind::State => "state",
            ThingKind::Containers => "containers",
            ThingKind::Volumes => "volumes",
            ThingKind::Images => "images",
        }
    }

    /// What it is called in a text: `System V shared memory`.
    pub fn title(self) -> String {
        text(&format!("ledger.title.{}", self.name()))
    }

    /// What it is, and from which file it is read.
    pub fn about(self) -> String {
        text(&format!("ledger.about.{}", self.name()))
    }
}

/// What a machine has at one moment: the content of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    /// The version of the format.
    format: u32,
    /// When it was made, in seconds since 1970.
    taken: u64,
    /// The boot ID of the kernel. After a reboot, the numbers of namespaces mean others.
    boot: String,
    /// The user who made it. Root sees more than others.
    uid: u32,
    /// The namespaces in which it was made, by kind: names of things are valid in them.
    within: BTreeMap<String, String>,
    /// The things of each kind: key and value.
    things: BTreeMap<ThingKind, BTreeMap<String, String>>,
    /// The kinds that could not be read, with the reason.
    unread: BTreeMap<ThingKind, String>,
}

impl Ledger {
    /// The number of things.
    pub fn count(&self) -> usize {
        self.things.values().map(BTreeMap::len).sum()
    }

    /// The number of things of a kind; the reason if it could not be read.
    pub fn count_of(&self, kind: ThingKind) -> Result<usize, &str> {
        match self.unread.get(&kind) {
            Some(why) => Err(why),
            None => Ok(self.things.get(&kind).map_or(0, BTreeMap::len)),
        }
    }

    /// The kinds that could not be read, with the reason.
    pub fn unread(&self) -> &BTreeMap<ThingKind, String> {
        &self.unread
    }

    /// How long ago it was made, in seconds.
    pub fn age(&self) -> u64 {
        now().saturating_sub(self.taken)
    }
}

/// The time in seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// A thing that was not there before, or that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewThing {
    /// Its kind.
    pub kind: ThingKind,
    /// Its name: a namespace, a path, a number.
    pub name: String,
    /// What it was, if it is not new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub was: Option<String>,
    /// What it is, who holds it, and what to do about it.
    #[serde(flatten)]
    pub description: Description,
}

/// A thing that is not there any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GoneThing {
    /// Its kind.
    pub kind: ThingKind,
    /// Its name.
    pub name: String,
    /// What it was.
    pub was: String,
}

/// What is different between two moments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LedgerDifference {
    /// How long ago the ledger was started, in seconds.
    pub seconds: u64,
    /// What was not there before.
    pub new: Vec<NewThing>,
    /// What is not as it was.
    pub changed: Vec<NewThing>,
    /// What is not there any more.
    pub gone: Vec<GoneThing>,
    /// How many things of each kind are as they were.
    pub same: BTreeMap<ThingKind, usize>,
    /// The kinds that were not compared, with the reason.
    pub unread: BTreeMap<ThingKind, String>,
    /// The number of processes whose namespaces the caller may not see.
    pub hidden: usize,
    /// Whether it was reduced to what is known to be of `sandbox`.
    #[serde(skip)]
    pub only_ours: bool,
}

impl LedgerDifference {
    /// What is different between a ledger and now.
    pub fn between(before: &Ledger, after: &Survey) -> LedgerDifference {
        let now = &after.ledger;
        let mut difference = LedgerDifference {
            seconds: before.age(),
            new: Vec::new(),
            changed: Vec::new(),
            gone: Vec::new(),
            same: BTreeMap::new(),
            unread: BTreeMap::new(),
            hidden: after.hidden,
            only_ours: false,
        };
        let none = BTreeMap::new();
        for kind in ThingKind::ALL {
            if let Some(why) = before.unread.get(&kind).or_else(|| now.unread.get(&kind)) {
                difference.unread.insert(kind, why.clone());
                continue;
            }
            let old = before.things.get(&kind).unwrap_or(&none);
            let new = now.things.get(&kind).unwrap_or(&none);
            let mut same = 0;
            for (name, value) in new {
                let was = old.get(name);
                if was == Some(value) {
                    same += 1;
                    continue;
                }
                let description = after.describe(kind, name, was.map(String::as_str));
                let thing = NewThing { kind, name: name.clone(), was: was.cloned(), description };
                match was {
                    Some(_) => difference.changed.push(thing),
                    None => difference.new.push(thing),
                }
            }
            let gone = old.iter().filter(|(name, _)| !new.contains_key(*name));
            let gone = gone.map(|(name, was)| GoneThing { kind, name: name.clone(), was: was.clone() });
            difference.gone.extend(gone);
            difference.same.insert(kind, same);
        }
        // The cgroups below a cgroup are removed before it.
        difference.new.sort_by(|one, other| match (one.kind, other.kind) {
            (ThingKind::Cgroups, ThingKind::Cgroups) => other.name.cmp(&one.name),
            (one, other) => one.cmp(&other),
        });
        difference
    }

    /// Keeps only what is known to be of `sandbox`.
    pub fn only_ours(mut self) -> LedgerDifference {
        self.new.retain(|thing| thing.description.ours);
        self.changed.retain(|thing| thing.description.ours);
        self.gone.clear();
        self.only_ours = true;
        self
    }

    /// Whether something is new or not as it was. What is gone does not count: it takes no room, and processes end at
    /// any time.
    pub fn has_new(&self) -> bool {
        !self.new.is_empty() || !self.changed.is_empty()
    }

    /// What was left by processes that have ended. Other programs of the machine make namespaces and cgroups at any time, but
    /// these have processes. To an ordinary user, the things of other users do not count.
    pub fn left_behind(&self) -> impl Iterator<Item = &NewThing> {
        self.new
            .iter()
            .chain(&self.changed)
            .filter(|thing| !thing.description.is_alive && !thing.description.is_of_others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_name_and_its_texts() {
        for kind in ThingKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
            assert!(!kind.title().is_empty() && !kind.about().is_empty());
        }
    }

    #[test]
    fn new_gone_changed_and_unread_things_are_told_apart() {
        let mut before = Survey::take().ledger;
        let after = Survey::take();
        before.things.insert(ThingKind::Names, BTreeMap::from([("hostname".into(), "other".into())]));
        let mounts = before.things.get_mut(&ThingKind::Mounts).unwrap();
        let (first, value) = mounts.pop_first().unwrap();
        mounts.insert("/no/such".into(), value.clone());
        before.unread.insert(ThingKind::State, "reason".into());
        let difference = LedgerDifference::between(&before, &after);
        let of = |all: &[NewThing], kind| -> Vec<String> {
            all.iter().filter(|thing| thing.kind == kind).map(|thing| thing.name.clone()).collect()
        };
        assert_eq!(of(&difference.new, ThingKind::Mounts), [first]);
        assert_eq!(of(&difference.new, ThingKind::Names), ["domain name"]);
        assert_eq!(of(&difference.changed, ThingKind::Names), ["hostname"]);
        let gone = difference.gone.iter().find(|gone| gone.kind == ThingKind::Mounts).unwrap();
        assert_eq!((&*gone.name, &*gone.was), ("/no/such", &*value));
        assert_eq!(difference.unread[&ThingKind::State], "reason");
        assert!(!difference.same.contains_key(&ThingKind::State));
        assert!(difference.has_new());
    }
}
