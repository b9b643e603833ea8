//! The difference that a view shows by default. A new namespace often starts as a copy, so both columns of a view would
//! be equal. Without a command, `--show-proc` therefore changes one thing inside, and says so.

use std::path::Path;

use crate::config::spec::Spec;
use crate::feature::Feature;
use crate::plan::undo::Sysv;
use crate::teach::agent::Agent;
use crate::teach::call::IpcCall;
use crate::text::text_with;
use crate::value::units::Offset;

/// The hostnames that are set for a view. The second one is for a view in a container that has the first one.
const HOSTNAMES: [&str; 2] = ["box", "inner"];
/// The offset of the boot-time clock for a view: one day.
const OFFSET: Offset = Offset(86_400);
/// The key of the shared memory segment for a view, in a new IPC namespace. No other process uses that namespace.
const KEY: i32 = 4711;

/// Adds an option to `spec` where the user gave none. Returns a note about it.
pub fn add(feature: Feature, spec: &mut Spec) -> Option<String> {
    let option = match feature {
        Feature::Uts => {
            let uts = spec.uts.get_or_insert_default();
            if uts.hostname.is_some() || uts.domainname.is_some() {
                return None;
            }
            let own = nix::unistd::gethostname().unwrap_or_default();
            let name = HOSTNAMES.into_iter().find(|name| own != *name)?;
            uts.hostname = Some(name.into());
            format!("--hostname {name}")
        }
        Feature::Time => {
            let time = spec.time.get_or_insert_default();
            if time.boottime.is_some() || time.monotonic.is_some() {
                return None;
            }
            time.boottime = Some(OFFSET);
            "--boottime 1d".to_owned()
        }
        Feature::Mnt => {
            let mnt = spec.mnt.get_or_insert_default();
            if !mnt.all().is_empty() || mnt.root.is_some() {
                return None;
            }
            let place =
                ["/mnt", "/media", "/srv", "/tmp"].into_iter().find(|path| Path::new(path).is_dir())?;
            mnt.tmpfs.push(place.into());
            format!("--tmpfs {place}")
        }
        _ => return None,
    };
    Some(text_with("common.view.difference", &[("option", &option)]))
}

/// Whether the difference is made by a call of the process inside.
pub fn is_made_inside(feature: Feature) -> bool {
    feature == Feature::Ipc
}

/// Has the process inside make the difference. It ends with the namespace.
pub fn make(agent: &Agent) -> Option<String> {
    let call = IpcCall::Make { kind: Sysv::Shm, key: KEY };
    let is_made = agent.perform(call.clone()).is_ok_and(|answer| answer.is_ok());
    is_made.then(|| text_with("common.view.difference.call", &[("call", &call.to_string())]))
}
