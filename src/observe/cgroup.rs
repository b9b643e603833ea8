//! Readers of a process's own cgroup: the files of the group that it is in, whichever version the controller has here.
//! In a path `<memory>` stands for that group's directory in the hierarchy of the controller memory.

use std::path::{Path, PathBuf};

use super::file::{self, one_line};
use super::hierarchy::{self, Controller, Hierarchy, Version};
use super::{Observation, Value};

/// The group of a process in one hierarchy.
#[derive(Debug, Clone)]
pub struct ProcessCgroup {
    hierarchy: Hierarchy,
    controller: Controller,
    directory: PathBuf,
}

impl ProcessCgroup {
    /// The group of `process` (`/proc/self`, `/proc/PID`) in the hierarchy of a controller; none where that isn't
    /// mounted, or the mount doesn't lead to the group.
    pub fn of(process: &str, controller: Controller) -> Option<ProcessCgroup> {
        let hierarchies = hierarchy::hierarchies(process);
        let hierarchy = hierarchy::find(&hierarchies, controller)?.clone();
        let directory = hierarchy.own()?;
        Some(ProcessCgroup { hierarchy, controller, directory })
    }

    /// Its directory.
    pub fn directory(&self) -> &PathBuf {
        &self.directory
    }

    /// The interface that its files have.
    pub fn version(&self) -> Version {
        self.hierarchy.version
    }

    /// The one of two names of a file that this version has.
    pub fn name<'a>(&self, v1: &'a str, v2: &'a str) -> &'a str {
        match self.version() {
            Version::V1 => v1,
            Version::V2 => v2,
        }
    }

    /// The words of one of its files, whose name depends on the version.
    pub fn read(&self, v1: &str, v2: &str) -> Option<String> {
        file::read_text(self.directory.join(self.name(v1, v2))).ok()
    }

    /// A file of one number.
    pub fn number(&self, v1: &str, v2: &str) -> Option<u64> {
        self.read(v1, v2)?.trim().parse().ok()
    }

    /// A number behind its name, in a file of such lines: `oom_kill 1`.
    pub fn field(&self, v1: (&str, &str), v2: (&str, &str)) -> Option<u64> {
        let (file, field) = match self.version() {
            Version::V1 => v1,
            Version::V2 => v2,
        };
        let words = file::read_text(self.directory.join(file)).ok()?;
        field_of(&words, field)
    }

    fn label(&self) -> String {
        format!("<{}>", self.controller.name(self.version()).unwrap_or("group"))
    }
}

/// How many processes of a group the kernel has killed because of its memory limit: memory.events on v2, where those of
/// groups below count too, memory.oom_control on v1.
pub fn oom_kills(directory: &Path) -> u64 {
    let read = |file| file::read_text(directory.join(file)).ok();
    let words = read("memory.events").or_else(|| read("memory.oom_control")).unwrap_or_default();
    field_of(&words, "oom_kill").unwrap_or(0)
}

/// The number behind a name, in a file of such lines.
pub fn field_of(words: &str, field: &str) -> Option<u64> {
    words.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Where a process is in the hierarchy of a controller: the line of its cgroup file.
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

/// A file of the process's own group, its lines joined; `v1` and `v2` are its names.
pub fn file(process: &str, controller: Controller, v1: &str, v2: &str) -> Observation {
    of(process, controller, v1, v2, |words| {
        Value::Is(match one_line(words) {
            // v1's way to say that there is no limit: the most pages that fit a signed number.
            joined if joined == "9223372036854771712" => "(no limit)".to_owned(),
            joined => joined,
        })
    })
}

/// How many lines a file of the process's own group has, whose name is v1's.
pub fn lines(process: &str, controller: Controller, v1: &str) -> Observation {
    of(process, controller, v1, v1, |words| Value::Count(words.lines().count(), "lines".into()))
}

/// One number of a file of the process's own group.
pub fn field(process: &str, controller: Controller, v1: (&str, &str), v2: (&str, &str)) -> Observation {
    let name = match ProcessCgroup::of(process, controller).map(|group| group.version()) {
        Some(Version::V2) => v2.1,
        _ => v1.1,
    };
    let seen = of(process, controller, v1.0, v2.0, |words| match field_of(words, name) {
        Some(number) => Value::Is(number.to_string()),
        None => Value::Not("no such field".into()),
    });
    Observation { field: Some(name.to_owned()), ..seen }
}

fn of(
    process: &str,
    controller: Controller,
    v1: &str,
    v2: &str,
    value: impl Fn(&str) -> Value,
) -> Observation {
    let Some(group) = ProcessCgroup::of(process, controller) else {
        let path = format!("<{}>/{v1}", controller.name(Version::V1).unwrap_or("group"));
        return Observation { path, field: None, value: Value::Not("no hierarchy".into()) };
    };
    let name = group.name(v1, v2);
    let value = match file::read_text(group.directory.join(name)) {
        Ok(words) => value(&words),
        // The root of all has no limits, and so no files of them.
        Err(error) => super::proc::refusal(&error),
    };
    Observation { path: format!("{}/{name}", group.label()), field: None, value }
}

#[cfg(test)]
mod tests {
    use super::field_of;

    #[test]
    fn a_field_is_the_number_behind_the_whole_name() {
        let words = "low 0\nmax 391\noom 2\noom_kill 1\n";
        assert_eq!(field_of(words, "oom"), Some(2));
        assert_eq!(field_of(words, "oom_kill"), Some(1));
        assert_eq!(field_of(words, "oom_group_kill"), None);
    }
}
