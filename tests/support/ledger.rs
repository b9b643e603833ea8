//! What is left on the machine, as `sandbox ledger` shows it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{sandbox, text};

/// A ledger that was started.
pub struct StartedLedger {
    file: PathBuf,
    _directory: tempfile::TempDir,
}

/// How long the kernel may take to remove what belonged to a namespace.
const REMOVAL: Duration = Duration::from_secs(20);

impl StartedLedger {
    pub fn start() -> StartedLedger {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ledger");
        let output = sandbox(&["ledger", "start"]).arg(&file).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        StartedLedger { file, _directory: directory }
    }

    /// What `sandbox ledger diff` prints as JSON.
    fn difference(&self) -> Value {
        let output = sandbox(&["ledger", "diff", "--format", "json"]).arg(&self.file).output().unwrap();
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}{}", text(&output.stdout), text(&output.stderr)))
    }

    /// What is new or changed, and mounts, devices and names that are gone. Other programs of the machine make namespaces,
    /// processes and cgroups at any time. Of these, only those of `sandbox` count.
    fn left(&self) -> Vec<String> {
        let difference = self.difference();
        let all = |part: &str| difference[part].as_array().unwrap().clone();
        let comes_and_goes =
            |thing: &Value| ["namespaces", "processes", "cgroups"].contains(&thing["kind"].as_str().unwrap());
        let new = all("new").into_iter().chain(all("changed"));
        let counts = new.filter(|thing| thing["ours"] == true || !comes_and_goes(thing));
        // Another test of the file may have had a device of a container.
        let must_stay = |thing: &Value| match thing["kind"].as_str().unwrap() {
            "mounts" | "names" => true,
            "devices" => !thing["name"].as_str().unwrap().starts_with("sbx-") && thing["name"] != "sandbox0",
            _ => false,
        };
        let gone = all("gone").into_iter().filter(must_stay);
        counts.chain(gone).map(|thing| thing.to_string()).collect()
    }

    /// Fails if something is left, after the kernel had time to remove it.
    #[track_caller]
    pub fn nothing_is_left(&self) {
        let deadline = Instant::now() + REMOVAL;
        loop {
            let left = self.left();
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "{}", left.join("\n"));
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
