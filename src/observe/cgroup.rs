//! Readers of the files of a process's cgroup, on cgroup v1 and v2.
//!
//! In a path, `<memory>` means the directory of that cgroup in the hierarchy of the memory controller.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::file::{self, one_line};
use super::hierarchy::{self, Controller, Hierarchy, Version};
use super::{CounterReading, Listing, Observation, Value};

/// The cgroup of a process in one hierarchy.
#[derive(Debug, Clone)]
pub struct ProcessCgroup {
    hierarchy: Hierarchy,
    controller: Controller,
    directory: PathBuf,
}

impl ProcessCgroup {
    /// The cgroup of `process` (`/proc/self`, `/proc/PID`) in the hierarchy of a controller. None if the hierarchy is
    /// not mounted, or if its mount does not contain the cgroup.
    pub fn of(process: &str, controller: Controller) -> Option<ProcessCgroup> {
        let hierarchies = hierarchy::hierarchies(process);
        let hierarchy = hierarchy::find(&hierarchies, controller)?.clone();
        let directory = hierarchy.own()?;
        Some(ProcessCgroup { hierarchy, controller, directory })
    }

    /// The directory of the cgroup.
    pub fn directory(&self) -> &PathBuf {
        &self.directory
    }

    /// The version of the interface of its files.
    pub fn version(&self) -> Version {
        self.hierarchy.version
    }

    /// The name of a file in this version, of its two names.
    pub fn name<'a>(&self, v1: &'a str, v2: &'a str) -> &'a str {
        match self.version() {
            Version::V1 => v1,
            Version::V2 => v2,
        }
    }

    /// The text of a file, whose name depends on the version.
    pub fn read(&self, v1: &str, v2: &str) -> Option<String> {
        file::read_text(self.directory.join(self.name(v1, v2))).ok()
    }

    /// The number in a file that has only one.
    pub fn number(&self, v1: &str, v2: &str) -> Option<u64> {
        self.read(v1, v2)?.trim().parse().ok()
    }

    /// A number in a file with lines of a name and a number: `oom_kill 1`.
    pub fn field(&self, v1: (&str, &str), v2: (&str, &str)) -> Option<u64> {
        let (file, field) = match self.version() {
            Version::V1 => v1,
            Version::V2 => v2,
        };
        let content = file::read_text(self.directory.join(file)).ok()?;
        field_of(&content, field)
    }

    /// The name of the controller in this version.
    pub fn controller_name(&self) -> &'static str {
        self.controller.name(self.version()).unwrap_or("group")
    }

    fn label(&self) -> String {
        format!("<{}>", self.controller_name())
    }
}

/// How many processes of a cgroup the OOM killer has killed because of its memory limit: from memory.events on v2,
/// which also counts descendants, and from memory.oom_control on v1.
pub fn oom_kills(directory: &Path) -> u64 {
    let read = |file| file::read_text(directory.join(file)).ok();
    let content = read("memory.events").or_else(|| read("memory.oom_control")).unwrap_or_default();
    field_of(&content, "oom_kill").unwrap_or(0)
}

/// The smallest memory limit of a cgroup and its ancestors, in bytes. The root cgroup has no limit.
pub fn memory_limit(directory: &Path) -> Option<u64> {
    let limit = |directory: &Path| {
        let read = |file| file::read_text(directory.join(file)).ok();
        read("memory.max").or_else(|| read("memory.limit_in_bytes"))?.trim().parse::<u64>().ok()
    };
    directory.ancestors().filter_map(limit).min()
}

/// The number after a name, in a text with lines of a name and a number.
pub fn field_of(content: &str, field: &str) -> Option<u64> {
    content.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(' ')?.trim().parse().ok())
}

/// The path of a process's cgroup in the hierarchy of a controller, from /proc/PID/cgroup.
pub fn membership(process: &str, controller: Controller) -> Observation {
    let path = format!("{process}/cgroup");
    let hierarchies = hierarchy::hierarchies(process);
    let (field, value) = match hierarchy::find(&hierarchies, controller) {
        Some(hierarchy) => {
            let name = controller.name(hierarchy.version).filter(|_| hierarchy.version == Version::V1);
            (name.unwrap_or("v2").to_owned(), Value::Is(file::path_text(&hierarchy.path)))
        }
        None => (controller.name(Version::V1).unwrap_or("v2").to_owned(), Value::Not("not mounted".into())),
    };
    Observation { path, field: Some(field), value }
}

/// A file of the process's cgroup, with its lines joined. `v1` and `v2` are its names.
pub fn file(process: &str, controller: Controller, v1: &str, v2: &str) -> Observation {
    of(process, controller, v1, v2, |_, content| {
        Value::Is(match one_line(content) {
            // v1 shows "no limit" as the greatest number of whole pages that fits into 63 bits.
            joined if joined == "9223372036854771712" => "(no limit)".to_owned(),
            joined => joined,
        })
    })
}

/// The lines of a file of the process's cgroup. The file has the same name in both versions.
pub fn lines(process: &str, controller: Controller, v1: &str) -> Observation {
    of(process, controller, v1, v1, |_, content| {
        Value::List(Listing::new("lines", content.lines().map(str::to_owned)))
    })
}

/// A counter in a file of the process's cgroup. `text` returns what it shows, of the content of the file.
pub fn counter(
    process: &str,
    controller: Controller,
    v1: &str,
    v2: &str,
    text: impl Fn(&str) -> String,
) -> Observation {
    of(process, controller, v1, v2, |path, content| counted(path, text(content)))
}

/// A reading of a counter in this file.
fn counted(path: &Path, text: String) -> Value {
    match std::fs::metadata(path) {
        Ok(file) => Value::Counter(CounterReading { text, file: format!("{}:{}", file.dev(), file.ino()) }),
        Err(error) => super::proc::refusal(&error),
    }
}

/// One counter of several in a file of the process's cgroup.
pub fn field(process: &str, controller: Controller, v1: (&str, &str), v2: (&str, &str)) -> Observation {
    let name = match ProcessCgroup::of(process, controller).map(|cgroup| cgroup.version()) {
        Some(Version::V2) => v2.1,
        _ => v1.1,
    };
    let observed = of(process, controller, v1.0, v2.0, |path, content| match field_of(content, name) {
        Some(number) => counted(path, number.to_string()),
        None => Value::Not("no such field".into()),
    });
    Observation { field: Some(name.to_owned()), ..observed }
}

fn of(
    process: &str,
    controller: Controller,
    v1: &str,
    v2: &str,
    value: impl Fn(&Path, &str) -> Value,
) -> Observation {
    let Some(cgroup) = ProcessCgroup::of(process, controller) else {
        let path = format!("<{}>/{v1}", controller.name(Version::V1).unwrap_or("group"));
        return Observation { path, field: None, value: Value::Not("no hierarchy".into()) };
    };
    let name = cgroup.name(v1, v2);
    let path = cgroup.directory.join(name);
    let value = match file::read_text(&path) {
        Ok(content) => value(&path, &content),
        // The root cgroup has no limits, and so no files for them.
        Err(error) => super::proc::refusal(&error),
    };
    Observation { path: format!("{}/{name}", cgroup.label()), field: None, value }
}

#[cfg(test)]
mod tests {
    use super::field_of;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let content = "low 0\nmax 391\noom 2\noom_kill 1\n";
        assert_eq!(field_of(content, "oom"), Some(2));
        assert_eq!(field_of(content, "oom_kill"), Some(1));
        assert_eq!(field_of(content, "oom_group_kill"), None);
    }
}
