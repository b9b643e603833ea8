//! `--cap-add`, `--cap-drop`, `--security-opt` and `--privileged`: what they mean together.

use std::path::Path;

use caps::{CapSet, Capability};

use super::wanted::Wanted;
use crate::config::spec::{Spec, profile};
use crate::error::{Error, Result};
use crate::security::capabilities::{Capabilities, DEFAULT};
use crate::security::seccomp::{NamedProfile, Seccomp};
use crate::text::{printed, text_with, word};

impl Wanted {
    /// Puts capabilities, the seccomp filter and no_new_privileges into the spec.
    pub(super) fn apply_security(&self, spec: &mut Spec) -> Result<()> {
        spec.no_new_privileges |= self.no_new_privileges;
        match self.seccomp.as_deref() {
            None => {}
            Some(word) if word == "unconfined" => spec.seccomp = Some(Seccomp::None),
            Some(word) if word == "builtin" => spec.seccomp = Some(Seccomp::Default),
            Some(json) if json.as_encoded_bytes().starts_with(b"{") => {
                spec.seccomp = Some(profile::inline(&json.to_string_lossy())?);
            }
            Some(file) => {
                let path = std::path::absolute(file).unwrap_or_else(|_| file.into());
                spec.seccomp =
                    Some(profile::resolve(Seccomp::File(NamedProfile::unread(path)), Path::new("/"))?);
            }
        }
        if self.privileged {
            spec.capabilities = None;
            // All devices are allowed.
            spec.devices = None;
            // A profile that was asked for holds all the same, as in Docker.
            if self.seccomp.is_none() {
                spec.seccomp = Some(Seccomp::None);
            }
        }
        if self.cap_add.is_empty() && self.cap_drop.is_empty() {
            return Ok(());
        }
        let all: Vec<Capability> =
            caps::read(None, CapSet::Bounding).map(|all| all.into_iter().collect()).unwrap_or_default();
        let mut keep: Vec<Capability> = match &spec.capabilities {
            Some(known) => known.keep().to_vec(),
            None if self.privileged => all.clone(),
            None => DEFAULT.to_vec(),
        };
        let named = |written: &String| -> Result<Vec<Capability>> {
            let upper = written.to_ascii_uppercase();
            if upper == "ALL" {
                return Ok(all.clone());
            }
            let name = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
            let known = name.parse::<Capability>().map(|one| vec![one]);
            known.map_err(|_| {
                Error::usage(text_with("docker.capability", &[("name", &word(&printed(written)))]))
            })
        };
        // As in Docker: with ALL added, those that are dropped are taken away; otherwise a capability that is added wins.
        for written in &self.cap_drop {
            let dropped = named(written)?;
            keep.retain(|one| !dropped.contains(one));
        }
        let dropped: Vec<Capability> = self.cap_drop.iter().map(named).collect::<Result<Vec<_>>>()?.concat();
        for written in &self.cap_add {
            let is_all = written.eq_ignore_ascii_case("all");
            for one in named(written)? {
                let is_dropped = is_all && dropped.contains(&one);
                if !keep.contains(&one) && !is_dropped {
                    keep.push(one);
                }
            }
        }
        keep.sort_by_key(|one| *one as u8);
        spec.capabilities = Some(Capabilities::Keep(keep));
        Ok(())
    }
}
