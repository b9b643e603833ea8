//! R7: who joins a user namespace of a container is no root outside, and has none of the caller's groups there. A container
//! may have made the namespace itself, so that it controls every process in it.

use std::fs;
use std::process::{Child, Command, Stdio};

use crate::support::running::Running;
use crate::support::{alone, binary, child_named, is_root, sandbox, skip, text};

/// `sandbox` with these words, started by root with supplementary groups or without. Its end is the test's.
struct Joining(Child);

impl Joining {
    fn start(groups: &str, words: &[&str]) -> Joining {
        let program = binary();
        let command = Command::new("setpriv")
            .args([groups, "--", program.to_str().unwrap()])
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        Joining(command.unwrap())
    }

    /// Its exit status, and what it has printed on standard error.
    fn refused(mut self) -> (Option<i32>, String) {
        let mut shown = Vec::new();
        std::io::Read::read_to_end(&mut self.0.stderr.take().unwrap(), &mut shown).unwrap();
        (self.0.wait().unwrap().code(), text(&shown))
    }

    /// The user, the group and the groups of its command, as the host shows them.
    fn ids(self) -> [String; 3] {
        let pid = child_named(self.0.id(), "sleep");
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        ["Uid:", "Gid:", "Groups:"].map(|name| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().collect::<Vec<_>>().join(" ")
        })
    }
}

impl Drop for Joining {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const GROUPS: &str = "--groups=0,4";

#[test]
fn who_joins_a_user_namespace_is_nobody_outside() {
    let test = "who_joins_a_user_namespace_is_nobody_outside";
    if !is_root() {
        return skip(test, "machine: an ordinary user is the same user outside");
    }
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let spec = directory.path().join("spec.yaml");
    fs::write(&spec, "command: [sleep, '61']\n").unwrap();
    let spec = spec.to_str().unwrap();
    let container =
        |map: &str, script: &str| Running::of(&format!("pid:\nuser: {{ map: '{map}' }}\n"), script);
    let ways = |container: &Running, of: &dyn Fn(&[&str])| {
        let (pid, name) = (container.pid.to_string(), container.name.as_str());
        let path = format!("/proc/{pid}/ns/user");
        of(&["enter", "-q", &pid, "--", "sleep", "61"]);
        of(&["enter", "-q", "--privileged", name, "--", "sleep", "61"]);
        of(&["run", "-q", "--userns", &path, spec]);
    };
    // These take a container only in the namespaces in which `run` has started it.
    let by_name = |container: &Running, of: &dyn Fn(&[&str])| {
        of(&["exec", "-q", &container.name, "sleep", "61"]);
        of(&["run", "-q", "--userns", &format!("container:{}", container.name), spec]);
    };
    let nobody = |id: u32| {
        [vec![id; 4], vec![id; 4]].map(|ids| ids.iter().map(u32::to_string).collect::<Vec<_>>().join(" "))
    };
    // The controls: honest containers, with root inside and without.
    for (map, id) in [("0:100000:1000", 100_000), ("7:100000:1000", 100_000)] {
        let container = container(map, "");
        let [user, group] = nobody(id);
        ways(&container, &|words| {
            let ids = Joining::start(GROUPS, words).ids();
            assert_eq!(ids, [user.clone(), group.clone(), String::new()], "{map} {words:?}");
        });
        by_name(&container, &|words| {
            let ids = Joining::start(GROUPS, words).ids();
            assert_eq!(ids, [user.clone(), group.clone(), String::new()], "{map} {words:?}");
        });
        // After the change of IDs, fs.suid_dumpable can have made the helper dumpable.
        let target = format!("container:{}", container.name);
        let plan = text(&sandbox(&["run", "--dry-run", "--userns", &target, spec]).output().unwrap().stdout);
        let place = |part: &str| plan.find(part).unwrap_or_else(|| panic!("{part}: {plan}"));
        let user = plan.rfind("setresuid(").unwrap();
        let undumpable = user + plan[user..].find("PR_SET_DUMPABLE, 0").unwrap();
        assert!(place("setns(") < user && undumpable < place("CLONE_PARENT"), "{plan}");
    }
    // A namespace without a map, and one whose map denies setgroups(2).
    for (unshare, reason) in [("unshare -U", "maps no user"), ("unshare -Ur", "groups (0, 4)")] {
        let container = container("0:100000:1000", &format!("exec {unshare} sleep 60"));
        ways(&container, &|words| {
            let (status, shown) = Joining::start(GROUPS, words).refused();
            assert_eq!(status, Some(125), "{words:?} {shown}");
            assert!(
                shown.split_whitespace().collect::<Vec<_>>().join(" ").contains(reason),
                "{words:?} {shown}"
            );
        });
        by_name(&container, &|words| {
            let (status, shown) = Joining::start("--clear-groups", words).refused();
            assert_eq!(status, Some(125), "{words:?} {shown}");
            let left = format!("process {} has left the user namespace", container.pid);
            assert!(shown.contains(&left) && shown.contains("sandbox enter"), "{words:?} {shown}");
        });
        if unshare == "unshare -Ur" {
            let [user, group] = nobody(100_000);
            ways(&container, &|words| {
                let ids = Joining::start("--clear-groups", words).ids();
                assert_eq!(ids, [user.clone(), group.clone(), String::new()], "{words:?}");
            });
        }
    }
}
