//! Why a cgroup cannot be made, as a problem of the plan, with the remedy that changes the least first.

use std::path::Path;

use crate::error::Error;
use crate::feature::Feature;
use crate::host::Host;
use crate::host::cgroups::Obstacle;
use crate::observe::file;
use crate::observe::hierarchy::{Controller, Version};
use crate::observe::proc::is_initial_map;
use crate::text::{text, text_with};
use crate::value::shell::quote;
use crate::value::typed::TypedCommand;

/// Starts a user's program in a cgroup that systemd delegates to the user. systemd-run(1)
const SCOPE: &str = "systemd-run --user --scope -q -p Delegate=yes";

/// What the advice depends on.
pub(super) struct Advice {
    manager: Manager,
    typed: TypedCommand,
    is_root: bool,
    /// The features of a whole container that meet an obstacle. Its spec can mark them as optional.
    optional: Vec<Feature>,
}

/// The line that mounts the hierarchy of a controller: that of cgroup v1 where the kernel uses the controller there. None in another
/// user namespace than the initial one: it must own the cgroup namespace for that, which it seldom does.
fn mount_line(controller: Controller) -> Option<String> {
    let map = file::read_text("/proc/self/uid_map").unwrap_or_default();
    if !is_initial_map(&map) {
        return None;
    }
    let table = file::read_text("/proc/cgroups").unwrap_or_default();
    let name = controller.name(Version::V1).unwrap_or_default();
    let is_v1 = table.lines().any(|line| {
        let mut words = line.split_whitespace();
        words.next() == Some(name) && words.next().is_some_and(|hierarchy| hierarchy != "0")
    });
    Some(match is_v1 {
        true => format!("mount -t cgroup -o {name} cgroup /sys/fs/cgroup"),
        false => "mount -t cgroup2 cgroup2 /sys/fs/cgroup".to_owned(),
    })
}

impl Advice {
    /// The advice for the user of this process.
    pub(super) fn here(host: &Host, optional: Vec<Feature>) -> Advice {
        Advice {
            manager: Manager::of_this_machine(),
            typed: TypedCommand::of_this_process(),
            is_root: host.uid == 0,
            optional,
        }
    }

    /// The obstacle as a plan's problem.
    pub(super) fn problem(&self, controller: Controller, obstacle: &Obstacle) -> Error {
        let name = controller.name(Version::V2).or(controller.name(Version::V1)).unwrap_or("cgroup");
        let why = |key: &str, cgroup: &str| text_with(key, &[("controller", name), ("cgroup", cgroup)]);
        let as_root = || command(&text("limits.root.todo"), &self.typed.as_root());
        let (why, mut todo, root_helps) = match obstacle {
            Obstacle::NoProc => {
                let todo = command(&text("limits.nothing.todo"), "mount -t proc proc /proc");
                (text("limits.noproc.because"), vec![todo], false)
            }
            Obstacle::NothingMounted => {
                let line = mount_line(controller);
                let todo = line.map(|line| command(&text("limits.nothing.todo"), &line));
                (why("limits.nothing.because", ""), todo.into_iter().collect(), false)
            }
            Obstacle::NotMounted => {
                (why("limits.notthere.because", ""), vec![text("limits.notthere.todo")], false)
            }
            Obstacle::Disabled => {
                let todo = command(&text("limits.disabled.todo"), "cat /proc/cmdline");
                (why("limits.disabled.because", ""), vec![todo], false)
            }
            Obstacle::ReadOnly(mount) => self.about(
                ["limits.readonly.because", "limits.readonly.todo", "limits.readonly.command"],
                mount,
                &[],
            ),
            Obstacle::Frozen(cgroup) => self.about(
                ["limits.frozen.because", "limits.frozen.todo", "limits.frozen.command"],
                cgroup,
                &[],
            ),
            Obstacle::Full(file, limit) => self.about(
                ["limits.full.because", "limits.full.todo", "limits.full.command"],
                file,
                &[("limit", limit)],
            ),
            Obstacle::Unliftable(cgroup, file) => self.about(
                ["limits.unliftable.because", "limits.unliftable.todo", "limits.unliftable.command"],
                cgroup,
                &[("limit", file)],
            ),
            Obstacle::Elsewhere(cgroup, mount) => self.about(
                ["limits.elsewhere.because", "limits.elsewhere.todo", "limits.elsewhere.command"],
                cgroup,
                &[("mount", &file::path_text(mount))],
            ),
            Obstacle::NeedsRoot => (text("limits.notroots.because"), vec![], true),
            Obstacle::DeviceProgram => (why("limits.program.because", ""), vec![], true),
            Obstacle::NotDelegated(cgroup) | Obstacle::Occupied(cgroup) => {
                let key = match obstacle {
                    Obstacle::Occupied(_) => "limits.occupied.because",
                    _ => "limits.notdelegated.because",
                };
                (why(key, &file::path_text(cgroup)), vec![self.delegate()], true)
            }
            Obstacle::Lacking(cgroup, lacking) => {
                let (cgroup, lacking) = (file::path_text(cgroup), lacking.join(", "));
                let values = [("cgroup", cgroup.as_str()), ("lacking", lacking.as_str())];
                let out = if matches!(self.manager, Manager::Systemd) { vec![drop_in()] } else { vec![] };
                (text_with("limits.lacking.because", &values), out, true)
            }
        };
        // "Run it as root" is no remedy for root.
        if root_helps && !self.is_root && self.typed.is_for_root() {
            todo.push(as_root());
        }
        if !self.optional.is_empty() {
            let names: Vec<&str> = self.optional.iter().map(|feature| feature.name()).collect();
            todo.push(command(&text("limits.optional.todo"), &format!("optional: [{}]", names.join(", "))));
        }
        if let Some(dry) = self.typed.dry_run(super::feature_of(controller).name()) {
            todo.push(command(&text("limits.dry.todo"), &dry));
        }
        Error { todo, ..Error::failed(text("limits.cannot")).why(why) }
    }

    /// The messages about one path: why, what to do, and the command for it. Root's rights do not remove the obstacle.
    fn about(&self, keys: [&str; 3], path: &Path, values: &[(&str, &str)]) -> (String, Vec<String>, bool) {
        let [because, todo, line] = keys;
        let fill = |key: &str, path: &str| {
            let values: Vec<(&str, &str)> = [("cgroup", path)].iter().chain(values).copied().collect();
            text_with(key, &values)
        };
        let todo = command(&text(todo), &fill(line, &quote(path)));
        (fill(because, &file::path_text(path)), vec![todo], false)
    }

    /// How to get a cgroup of one's own.
    fn delegate(&self) -> String {
        match self.manager {
            Manager::Systemd => {
                command(&text("limits.scope.todo"), &format!("{SCOPE} {}", self.typed.line()))
            }
            Manager::WslWithoutSystemd => text("limits.wsl.todo") + "\n   [boot]\n   systemd=true",
            Manager::Other => text("limits.other.todo"),
        }
    }
}

/// Advice, and a command to paste on a line of its own.
fn command(advice: &str, line: &str) -> String {
    format!("{advice}\n   {line}")
}

/// The file by which systemd delegates more controllers to users.
fn drop_in() -> String {
    let file = "/etc/systemd/system/user@.service.d/delegate.conf";
    format!(
        "{}\n   sudo mkdir -p {}\n   printf '[Service]\\nDelegate=cpu cpuset io memory pids\\n' |\n     sudo tee {file}\n   sudo systemctl daemon-reload",
        text("limits.lacking.todo"),
        file.trim_end_matches("/delegate.conf"),
    )
}

/// The program that manages the cgroups of this machine.
enum Manager {
    Systemd,
    /// WSL, the Linux of Windows, starts systemd only if it is configured.
    WslWithoutSystemd,
    Other,
}

impl Manager {
    fn of_this_machine() -> Manager {
        // sd_booted(3)
        if std::path::Path::new("/run/systemd/system").is_dir() {
            return Manager::Systemd;
        }
        let release = file::read_text("/proc/sys/kernel/osrelease").unwrap_or_default();
        if release.to_lowercase().contains("microsoft") { Manager::WslWithoutSystemd } else { Manager::Other }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advice(manager: Manager, is_root: bool) -> Advice {
        let typed = TypedCommand::of(&["sandbox", "memory", "--limit", "64 MB", "--", "true"]);
        Advice { manager, typed, is_root, optional: vec![] }
    }

    fn todo(manager: Manager, obstacle: &Obstacle) -> Vec<String> {
        advice(manager, false).problem(Controller::Memory, obstacle).todo
    }

    #[test]
    fn with_systemd_the_first_remedy_is_the_command_that_was_typed() {
        let obstacle = Obstacle::NotDelegated("/user.slice/session-3.scope".into());
        let all = todo(Manager::Systemd, &obstacle);
        let typed = "sandbox memory --limit '64 MB' -- true";
        assert!(
            all[0].ends_with(&format!("systemd-run --user --scope -q -p Delegate=yes {typed}")),
            "{all:?}"
        );
        assert!(all[1].ends_with(&format!("sudo {typed}")), "{all:?}");
        let problem = advice(Manager::Systemd, false).problem(Controller::Memory, &obstacle);
        assert!(problem.reasons().contains("/user.slice/session-3.scope"), "{problem}");
    }

    #[test]
    fn a_container_can_do_without_an_optional_limit() {
        let typed = TypedCommand::of(&["sandbox", "run", "box.yaml"]);
        let optional = vec![Feature::Memory, Feature::Pids];
        let advice = Advice { manager: Manager::Other, typed, is_root: false, optional };
        let all = advice.problem(Controller::Pids, &Obstacle::NeedsRoot).todo;
        assert!(all[0].ends_with("sudo sandbox run box.yaml"), "{all:?}");
        assert!(all[1].ends_with("optional: [memory, pids]"), "{all:?}");
        assert!(all[2].ends_with("\n   sandbox run --dry-run box.yaml"), "{all:?}");
    }

    #[test]
    fn wsl_without_systemd_gets_the_setting_that_starts_it() {
        let all = todo(Manager::WslWithoutSystemd, &Obstacle::Occupied("/".into()));
        assert!(all[0].contains("/etc/wsl.conf") && all[0].contains("systemd=true"), "{all:?}");
    }

    #[test]
    fn controllers_that_are_not_delegated_are_named() {
        let obstacle = Obstacle::Lacking("/a".into(), vec!["io", "cpuset"]);
        let problem = advice(Manager::Systemd, false).problem(Controller::Io, &obstacle);
        assert!(problem.reasons().contains("io, cpuset"), "{problem}");
        assert!(problem.todo[0].contains("user@.service.d/delegate.conf"), "{:?}", problem.todo);
    }

    #[test]
    fn root_does_not_get_the_remedy_to_become_root() {
        let obstacles = [
            Obstacle::NotMounted,
            Obstacle::NeedsRoot,
            Obstacle::ReadOnly("/sys/fs/cgroup".into()),
            Obstacle::NotDelegated("/".into()),
            Obstacle::Lacking("/".into(), vec!["io"]),
        ];
        for obstacle in obstacles {
            let problem = advice(Manager::Other, true).problem(Controller::Pids, &obstacle);
            assert!(!problem.todo.iter().any(|todo| todo.contains("sudo")), "{:?}", problem.todo);
        }
    }

    #[test]
    fn a_path_in_advice_is_quoted() {
        let all = todo(Manager::Other, &Obstacle::ReadOnly("/a b".into()));
        assert!(all[0].contains("mount -o remount,rw,bind '/a b'"), "{all:?}");
        let full = Obstacle::Full("/c/cgroup.max.depth".into(), "0".into());
        let problem = advice(Manager::Other, false).problem(Controller::Pids, &full);
        assert!(problem.reasons().starts_with("/c/cgroup.max.depth is 0."), "{problem:?}");
    }
}
