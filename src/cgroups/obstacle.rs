//! Why a cgroup cannot be made, as a problem of the plan, with the remedy that changes the least first.

use crate::error::Error;
use crate::host::Host;
use crate::host::cgroups::Obstacle;
use crate::observe::file;
use crate::observe::hierarchy::{Controller, Version};
use crate::text::{text, text_with};

use super::feature_of;

/// Starts a user's program in a cgroup that systemd delegates to the user. systemd-run(1)
const SCOPE: &str = "systemd-run --user --scope -q -p Delegate=yes";

/// The obstacle as a plan's problem.
pub(super) fn problem(controller: Controller, obstacle: &Obstacle, host: &Host) -> Error {
    problem_under(&Manager::of_this_machine(), controller, obstacle, host.uid == 0)
}

fn problem_under(manager: &Manager, controller: Controller, obstacle: &Obstacle, is_root: bool) -> Error {
    let feature = feature_of(controller);
    let name = controller.name(Version::V2).or(controller.name(Version::V1)).unwrap_or("cgroup");
    let why = |key: &str, cgroup: &str| text_with(key, &[("controller", name), ("cgroup", cgroup)]);
    let as_root = text_with("limits.root.todo", &[("feature", feature.name())]);
    let scope = format!("{}\n   {SCOPE} sandbox {feature} ...", text("limits.scope.todo"));
    let (why, mut todo) = match obstacle {
        Obstacle::NotMounted => (why("limits.notthere.because", ""), vec![text("limits.notthere.todo")]),
        Obstacle::NeedsRoot => (text("limits.notroots.because"), vec![as_root.clone()]),
        Obstacle::DeviceProgram => (why("limits.program.because", ""), vec![as_root.clone()]),
        Obstacle::NotDelegated(cgroup) | Obstacle::Occupied(cgroup) => {
            let key = match obstacle {
                Obstacle::Occupied(_) => "limits.occupied.because",
                _ => "limits.notdelegated.because",
            };
            let out = match manager {
                Manager::Systemd => scope,
                Manager::WslWithoutSystemd => text("limits.wsl.todo") + "\n   [boot]\n   systemd=true",
                Manager::Other => text("limits.other.todo"),
            };
            (why(key, &file::path_text(cgroup)), vec![out, as_root.clone()])
        }
        Obstacle::Lacking(cgroup, lacking) => {
            let (cgroup, lacking) = (file::path_text(cgroup), lacking.join(", "));
            let values = [("cgroup", cgroup.as_str()), ("lacking", lacking.as_str())];
            let file = "/etc/systemd/system/user@.service.d/delegate.conf";
            let drop_in = format!(
                "{}\n   sudo mkdir -p {}\n   printf '[Service]\\nDelegate=cpu cpuset io memory pids\\n' |\n     sudo tee {file}\n   sudo systemctl daemon-reload",
                text("limits.lacking.todo"),
                file.trim_end_matches("/delegate.conf"),
            );
            let out = if matches!(manager, Manager::Systemd) { vec![drop_in] } else { vec![] };
            (text_with("limits.lacking.because", &values), [out, vec![as_root.clone()]].concat())
        }
    };
    // "Run it as root" is no remedy for root.
    todo.retain(|item| !is_root || *item != as_root);
    todo.push(text_with("limits.dry.todo", &[("feature", feature.name())]));
    Error { todo, ..Error::failed(text("limits.cannot")).why(why) }
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

    fn todo(manager: &Manager, obstacle: &Obstacle) -> Vec<String> {
        problem_under(manager, Controller::Memory, obstacle, false).todo
    }

    #[test]
    fn with_systemd_the_first_remedy_is_a_whole_command() {
        let obstacle = Obstacle::NotDelegated("/user.slice/session-3.scope".into());
        let all = todo(&Manager::Systemd, &obstacle);
        assert!(all[0].contains("systemd-run --user --scope -q -p Delegate=yes sandbox memory"), "{all:?}");
        assert!(all[1].contains("sudo sandbox memory"), "{all:?}");
        let problem = problem_under(&Manager::Systemd, Controller::Memory, &obstacle, false);
        assert!(problem.reasons().contains("/user.slice/session-3.scope"), "{problem}");
    }

    #[test]
    fn wsl_without_systemd_gets_the_setting_that_starts_it() {
        let all = todo(&Manager::WslWithoutSystemd, &Obstacle::Occupied("/".into()));
        assert!(all[0].contains("/etc/wsl.conf") && all[0].contains("systemd=true"), "{all:?}");
    }

    #[test]
    fn controllers_that_are_not_delegated_are_named() {
        let obstacle = Obstacle::Lacking("/a".into(), vec!["io", "cpuset"]);
        let problem = problem_under(&Manager::Systemd, Controller::Io, &obstacle, false);
        assert!(problem.reasons().contains("io, cpuset"), "{problem}");
        assert!(problem.todo[0].contains("user@.service.d/delegate.conf"), "{:?}", problem.todo);
    }

    #[test]
    fn root_does_not_get_the_remedy_to_become_root() {
        let problem = problem_under(&Manager::Other, Controller::Pids, &Obstacle::NotMounted, true);
        assert!(!problem.todo.iter().any(|todo| todo.contains("sudo")), "{:?}", problem.todo);
    }
}
