//! Keeps the values of a new cgroup within the limits of the caller's cgroups, where the kernel does not do it.

use std::cmp::Ordering;

use crate::error::Error;
use crate::host::cgroups::{Ceiling, CgroupParent};
use crate::observe::file::path_text;
use crate::observe::hierarchy::{Controller, Version};
use crate::plan::{Draft, Intent, Setting};
use crate::text::{text, text_with};
use crate::value::units::Size;

use super::cpu;

/// Lowers the values of the intents to the ceilings of a hierarchy, and notes each. Returns the settings for the
/// ceilings for which no intent has a value. They are set in the new cgroup too.
pub(super) fn apply(parent: &CgroupParent, draft: &mut Draft) -> Vec<(Controller, Setting)> {
    let (mut notes, mut problems) = (Vec::new(), Vec::new());
    let mut carried: Vec<(Controller, Setting)> = Vec::new();
    for ceiling in &parent.ceilings {
        let intents =
            draft.intents_mut().iter_mut().filter(|one| parent.controllers.contains(&one.controller));
        let mut is_known = false;
        for intent in intents.filter(|intent| intent.here == Some(parent.version)) {
            match lower(intent, ceiling) {
                Bound::Other => {}
                Bound::Within => is_known = true,
                Bound::Lowered(value) if value.is_empty() => {
                    is_known = true;
                    problems.push((intent.feature, nothing_left(&intent.wish, ceiling)));
                }
                Bound::Lowered(value) => {
                    is_known = true;
                    let file = path_text(&ceiling.level.join(&ceiling.file));
                    let values = [("wish", intent.wish.as_str()), ("value", &value), ("file", &file)];
                    notes.push(text_with("limits.lowered", &values));
                }
            }
        }
        if is_known || !ceiling.is_carried {
            continue;
        }
        let new = setting(ceiling);
        let is_same = |known: &Setting| known.file == new.file && parts(known).0 == ceiling.key;
        match carried.iter_mut().find(|(_, known)| is_same(known)) {
            Some((_, known)) if least(&ceiling.file, parts(known).1, &ceiling.value).is_some() => {
                *known = new
            }
            Some(_) => {}
            None => carried.push((ceiling.controller, new)),
        }
    }
    // On v1, the quota and its period are two files.
    let carried: Vec<(Controller, Setting)> = carried.into_iter().flat_map(files_of).collect();
    if !carried.is_empty() {
        // systemd limits the number of processes of each session, far above what one container needs.
        let is_reported = |controller: Controller| !parent.is_apart || controller != Controller::Pids;
        let reported = carried.iter().filter(|(controller, _)| is_reported(*controller));
        let limits = reported.map(|(_, setting)| shown(setting)).collect::<Vec<_>>().join(", ");
        let key = match parent.version {
            _ if parent.is_apart => "limits.apart",
            Version::V1 => "limits.copied",
            Version::V2 => "limits.carried",
        };
        if !limits.is_empty() {
            notes.push(text_with(key, &[("limits", &limits)]));
        }
    }
    notes.into_iter().for_each(|note| draft.limit_note(note));
    problems.into_iter().for_each(|(feature, problem)| draft.problem(feature, problem));
    carried
}

/// The settings for a limit that was carried. A quota of v1 has its period with it, which is written first.
fn files_of((controller, setting): (Controller, Setting)) -> Vec<(Controller, Setting)> {
    match setting.value.split_once(' ') {
        Some((quota, period)) if setting.file == "cpu.cfs_quota_us" => {
            let both = [("cpu.cfs_period_us", period), ("cpu.cfs_quota_us", quota)];
            both.map(|(file, value)| (controller, Setting::new(file, value))).into()
        }
        _ => vec![(controller, setting)],
    }
}

/// The problem if none of the CPUs or memory nodes that were asked for is left.
fn nothing_left(wish: &str, ceiling: &Ceiling) -> Error {
    let of_nodes = ceiling.file == "cpuset.mems";
    let (key, place) = if of_nodes { ("cpu.mems.none", "nodes") } else { ("cpu.cpuset.none", "cpus") };
    let why = text_with(key, &[(place, &ceiling.value)]);
    Error::failed(wish).why(why).todo(text(cpu::list_todo(of_nodes)))
}

/// How an intent stands to a ceiling.
enum Bound {
    /// It is about something else.
    Other,
    /// Its value is not above the ceiling.
    Within,
    /// Its value was above. This is the new one, as it is printed.
    Lowered(String),
}

fn lower(intent: &mut Intent, ceiling: &Ceiling) -> Bound {
    let settings = match intent.here {
        Some(Version::V1) => &mut intent.v1,
        _ => &mut intent.v2,
    };
    let is_about = |setting: &Setting| setting.file == ceiling.file && parts(setting).0 == ceiling.key;
    let Some(at) = settings.iter().position(is_about) else { return Bound::Other };
    let period = settings.iter().position(|setting| setting.file == "cpu.cfs_period_us");
    let mut ours = parts(&settings[at]).1.to_owned();
    if let Some(period) = period {
        ours = format!("{ours} {}", settings[period].value);
    }
    let Some(value) = least(&ceiling.file, &ours, &ceiling.value) else { return Bound::Within };
    let lowered = Ceiling { value, ..ceiling.clone() };
    if let (Some(period), Some((quota, length))) = (period, lowered.value.split_once(' ')) {
        settings[at] = Setting::new(&ceiling.file, quota);
        settings[period] = Setting::new("cpu.cfs_period_us", length);
    } else {
        settings[at] = setting(&lowered);
    }
    Bound::Lowered(value_text(&ceiling.file, &lowered.value))
}

/// The value that is lower than `ours` and within `theirs`. None if `ours` is within it already.
fn least(file: &str, ours: &str, theirs: &str) -> Option<String> {
    match file {
        "cpu.max" | "cpu.cfs_quota_us" => {
            (share(ours)?.cmp_share(share(theirs)?) == Ordering::Greater).then(|| theirs.to_owned())
        }
        "cpuset.cpus" | "cpuset.mems" => {
            let common = cpu::common(ours, theirs);
            (common != cpu::as_shown(ours)).then_some(common)
        }
        _ => {
            let number = |text: &str| text.parse::<u64>().unwrap_or(u64::MAX);
            (number(ours) > number(theirs)).then(|| theirs.to_owned())
        }
    }
}

/// A quota and its period.
#[derive(Clone, Copy)]
struct Share(u64, u64);

impl Share {
    fn cmp_share(self, other: Share) -> Ordering {
        let product = |quota: u64, period: u64| u128::from(quota) * u128::from(period);
        product(self.0, other.1).cmp(&product(other.0, self.1))
    }
}

fn share(text: &str) -> Option<Share> {
    let (quota, period) = text.split_once(' ')?;
    Some(Share(quota.parse().ok()?, period.parse().ok()?))
}

/// The setting for a ceiling.
fn setting(ceiling: &Ceiling) -> Setting {
    let Ceiling { file, key, value, .. } = ceiling;
    match (key.as_str(), file.as_str()) {
        // The kernel shows the line of a device with all its fields.
        (key, "io.max") => Setting::shown_as(file, format!("{key}={value}"), None),
        ("", "cpuset.cpus" | "cpuset.mems") => Setting::shown_as(file, value, Some(cpu::as_shown(value))),
        ("", _) => Setting::new(file, value),
        (key, _) => Setting::shown_as(file, format!("{key} {value}"), None),
    }
}

/// The key and the value of a setting.
fn parts(setting: &Setting) -> (&str, &str) {
    let split = match setting.file.as_str() {
        "io.max" => setting.value.rsplit_once('='),
        file if file.starts_with("blkio.throttle.") => setting.value.split_once(' '),
        _ => None,
    };
    split.unwrap_or(("", &setting.value))
}

fn shown(setting: &Setting) -> String {
    let (key, value) = parts(setting);
    let key = if key.is_empty() { String::new() } else { format!(" {key}") };
    format!("{}{key} {}", setting.file, value_text(&setting.file, value))
}

/// A value as people write it: bytes with a unit.
fn value_text(file: &str, value: &str) -> String {
    let is_size = file.starts_with("memory.") || file.contains("_bps_");
    match (value.parse::<u64>(), share(value)) {
        (Ok(number), _) if is_size => Size(number).to_string(),
        (_, Some(Share(quota, period))) if period > 0 => (quota as f64 / period as f64).to_string(),
        _ => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_are_compared_as_parts_of_a_cpu() {
        let least = |ours, theirs| least("cpu.max", ours, theirs);
        assert_eq!(least("100000 100000", "50000 100000"), Some("50000 100000".into()));
        assert_eq!(least("100000 100000", "500000 1000000"), Some("500000 1000000".into()));
        assert_eq!(least("50000 100000", "100000 200000"), None);
        assert_eq!(least("1000 100000", "50000 100000"), None);
    }

    #[test]
    fn lists_of_cpus_become_what_they_have_in_common() {
        let least = |ours, theirs| least("cpuset.cpus", ours, theirs);
        assert_eq!(least("0-3", "0-1"), Some("0-1".into()));
        assert_eq!(least("3,0", "0,2-3"), None);
        assert_eq!(least("2", "0-1"), Some(String::new()));
    }

    #[test]
    fn a_rate_is_compared_for_its_disk_and_kind() {
        let io = Setting::shown_as("io.max", "8:0 wbps=100", None);
        assert_eq!(parts(&io), ("8:0 wbps", "100"));
        let v1 = Setting::shown_as("blkio.throttle.read_bps_device", "8:0 100", None);
        assert_eq!(parts(&v1), ("8:0", "100"));
        assert_eq!(least("io.max", "100", "99"), Some("99".into()));
        assert_eq!(least("memory.max", "99", "100"), None);
    }
}
