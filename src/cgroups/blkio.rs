//! The blkio controller, called io in cgroup v2: how much the processes of a cgroup may read from and write to a disk.
//!
//! # What it does
//!
//! - A *throttle* is a maximum for one disk, in bytes or in operations per second, for reads or for writes.
//! - A *weight* divides the time of a busy disk. It has an effect only where the disk uses the scheduler BFQ, or iocost
//!   in cgroup v2.
//!
//! cgroup v1 counts and limits only the requests that a process itself sends to the disk: reads that are not in the
//! page cache, direct writes and synchronous writes. Ordinary writes go to the page cache, and a thread of the kernel
//! writes them to the disk later, for no cgroup. cgroup v2 charges them to the cgroup of the writer, if the memory
//! controller is enabled in the same cgroup and the filesystem supports it (ext4, btrfs, xfs, f2fs).
//!
//! # Why one wants it
//!
//! A program that reads or writes without end cannot slow down the others that use the same disk.
//!
//! # What you see here
//!
//! MAJ:MIN and the rate in the files of the cgroup, which also count bytes and operations.
//!
//! Documentation/admin-guide/cgroup-v1/blkio-controller.rst, cgroup-v2.rst (IO)

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use clap::builder::{OsStringValueParser, TypedValueParser};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::intent;
use crate::error::Error;
use crate::feature::Feature;
use crate::host::Host;
use crate::observe::hierarchy::Controller;
use crate::observe::{Observation, cgroup};
use crate::plan::{Context, Draft, Setting};
use crate::text::{printed, text, text_with};
use crate::value::parse;
use crate::value::shell::quote;
use crate::value::units::Size;

/// Options of the blkio controller (io in cgroup v2).
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args, Serialize, Deserialize, JsonSchema)]
#[group(skip)]
#[serde(deny_unknown_fields, default)]
pub struct Blkio {
    /// Disk I/O weight, 10 to 1000; has an effect only on disks that use BFQ or, in cgroup v2, iocost
    #[arg(long, visible_alias = "blkio-weight", value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "parse::within::<10, 1000, _, _>")]
    #[schemars(range(min = 10, max = 1000), example = 500)]
    pub weight: Option<u64>,
    /// Read at most RATE bytes per second; DEV is a device file, MAJ:MIN, or any file on the disk (may be repeated)
    #[arg(long, visible_alias = "device-read-bps", value_name = "DEV=RATE", value_parser = OsStringValueParser::new().try_map(Throttle::read))]
    #[serde(skip_serializing_if = "Vec::is_empty", with = "by_device")]
    #[schemars(with = "std::collections::BTreeMap<String, Size>", example = by_device::example("1MiB"))]
    pub read_bps: Vec<Throttle>,
    /// Write at most RATE bytes per second (may be repeated)
    #[arg(long, visible_alias = "device-write-bps", value_name = "DEV=RATE", value_parser = OsStringValueParser::new().try_map(Throttle::read))]
    #[serde(skip_serializing_if = "Vec::is_empty", with = "by_device")]
    #[schemars(with = "std::collections::BTreeMap<String, Size>", example = by_device::example("1MiB"))]
    pub write_bps: Vec<Throttle>,
    /// Make at most RATE read operations per second (may be repeated)
    #[arg(long, visible_alias = "device-read-iops", value_name = "DEV=RATE", value_parser = OsStringValueParser::new().try_map(Throttle::read))]
    #[serde(skip_serializing_if = "Vec::is_empty", with = "by_device")]
    #[schemars(with = "std::collections::BTreeMap<String, Size>", example = by_device::example("100"))]
    pub read_iops: Vec<Throttle>,
    /// Make at most RATE write operations per second (may be repeated)
    #[arg(long, visible_alias = "device-write-iops", value_name = "DEV=RATE", value_parser = OsStringValueParser::new().try_map(Throttle::read))]
    #[serde(skip_serializing_if = "Vec::is_empty", with = "by_device")]
    #[schemars(with = "std::collections::BTreeMap<String, Size>", example = by_device::example("100"))]
    pub write_iops: Vec<Throttle>,
}

/// A throttle: `DEV=RATE`, or docker's `DEV:RATE` if DEV is a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Throttle {
    /// The device as it was written: a path or MAJ:MIN.
    pub device: OsString,
    /// Bytes or operations per second.
    pub rate: Size,
}

impl Throttle {
    /// Reads the value of a flag. A path is bytes.
    fn read(throttle: OsString) -> Result<Self, String> {
        let bytes = throttle.as_bytes();
        let cut = |at: usize| (OsStr::from_bytes(&bytes[..at]), OsStr::from_bytes(&bytes[at + 1..]));
        let last = |mark: u8| bytes.iter().rposition(|byte| *byte == mark).map(cut);
        let parts = last(b'=').or_else(|| last(b':').filter(|_| bytes.starts_with(b"/")));
        let Some((device, rate)) = parts.filter(|(device, _)| !device.is_empty()) else {
            return Err(text("blkio.throttle.form"));
        };
        let rate: Size = printed(rate).parse()?;
        if rate.0 == 0 {
            Err(text("blkio.throttle.zero"))
        } else {
            Ok(Throttle { device: device.into(), rate })
        }
    }
}

impl fmt::Display for Throttle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", printed(&self.device), self.rate)
    }
}

/// In a spec, throttles are a map: `write_bps: { /dev/vda: 1MiB }`.
mod by_device {
    use std::collections::BTreeMap;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    use std::os::unix::ffi::OsStrExt;

    use super::{Size, Throttle};
    use crate::text::{text, without_bad_bytes};

    /// The key of a throttle. Only a shell expands `~`.
    #[derive(PartialEq, Eq, PartialOrd, Ord)]
    struct DeviceName(String);

    impl<'de> Deserialize<'de> for DeviceName {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let name = String::deserialize(deserializer)?;
            if name.starts_with('~') {
                Err(D::Error::custom(text("spec.tilde")))
            } else {
                Ok(DeviceName(name))
            }
        }
    }

    /// An example for the schema.
    pub(super) fn example(rate: &str) -> BTreeMap<&'static str, &str> {
        BTreeMap::from([("/var/tmp", rate)])
    }

    pub(super) fn serialize<S: Serializer>(all: &[Throttle], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(all.iter().map(|one| (without_bad_bytes(one.device.as_bytes()), one.rate)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Throttle>, D::Error> {
        let all = BTreeMap::<DeviceName, Size>::deserialize(deserializer)?;
        Ok(all.into_iter().map(|(device, rate)| Throttle { device: device.0.into(), rate }).collect())
    }
}

impl Blkio {
    /// The controllers that these options need.
    pub fn controllers(&self) -> Vec<Controller> {
        vec![Controller::Io]
    }

    /// The four kinds of throttles: the flag, the file of cgroup v1, the key in io.max of cgroup v2.
    fn kinds(&self) -> [(&'static str, &'static str, &'static str, &[Throttle]); 4] {
        [
            ("read-bps", "blkio.throttle.read_bps_device", "rbps", &self.read_bps),
            ("write-bps", "blkio.throttle.write_bps_device", "wbps", &self.write_bps),
            ("read-iops", "blkio.throttle.read_iops_device", "riops", &self.read_iops),
            ("write-iops", "blkio.throttle.write_iops_device", "wiops", &self.write_iops),
        ]
    }

    /// The devices of all throttles. Their disks are looked up before the plan is made.
    pub fn devices(&self) -> Vec<&OsStr> {
        self.kinds().iter().flat_map(|(.., throttles)| *throttles).map(|one| one.device.as_os_str()).collect()
    }

    /// Makes the paths absolute. MAJ:MIN is no path.
    pub fn resolve(&mut self, directory: &Path) {
        let all = [&mut self.read_bps, &mut self.write_bps, &mut self.read_iops, &mut self.write_iops];
        for throttle in all.into_iter().flatten() {
            let is_number = |byte: &u8| byte.is_ascii_digit() || *byte == b':';
            if !throttle.device.as_bytes().iter().all(is_number) {
                throttle.device = directory.join(&throttle.device).into();
            }
        }
    }

    /// The limits, as intents: the files and values of cgroup v1 and of cgroup v2.
    pub fn plan(&self, context: &Context<'_>, draft: &mut Draft) {
        let host = context.host;
        if let Some(weight) = self.weight {
            self.plan_weight(weight, host, draft);
        }
        for (flag, v1, v2, throttles) in self.kinds() {
            for throttle in throttles {
                let disk = match host.disks.iter().find(|(device, _)| *device == throttle.device) {
                    Some((_, Ok(disk))) => disk.to_string(),
                    Some((_, Err(why))) => {
                        let key = flag.replace('-', "_");
                        let error = Error::failed(draft.option_with(Feature::Blkio, &key, throttle));
                        let error = error.why(why).todo(text("blkio.disk.todo"));
                        draft.problem_of(Feature::Blkio, &key, error);
                        printed(&throttle.device)
                    }
                    None => printed(&throttle.device),
                };
                let rate = throttle.rate.0;
                // The kernel stores operations in 32 bits: v1 cuts a larger number off.
                if flag.ends_with("iops") && rate > u64::from(u32::MAX) {
                    let error = Error::failed(format!("--{flag} {throttle}"));
                    let error = error.why(text("blkio.iops.why")).todo(text("blkio.iops.todo"));
                    draft.problem_of(Feature::Blkio, &flag.replace('-', "_"), error);
                }
                let mut docker = throttle.device.clone();
                docker.push(format!(":{}", throttle.rate.docker()));
                let docker = format!("--device-{flag} {}", quote(docker));
                let mut intent =
                    intent(host, Controller::Io, "blkio.throttle.why", format!("{flag} {throttle}"), docker);
                intent.v1 = vec![Setting::shown_as(v1, format!("{disk} {rate}"), None)];
                intent.v2 = vec![Setting::shown_as("io.max", format!("{disk} {v2}={rate}"), None)];
                draft.intent(intent);
            }
        }
    }

    fn plan_weight(&self, weight: u64, host: &Host, draft: &mut Draft) {
        if !(10..=1000).contains(&weight) {
            let error = Error::failed(draft.option_with(Feature::Blkio, "weight", weight));
            let error = error.why(text("blkio.range.why")).todo(text("blkio.range.todo"));
            draft.problem_of(Feature::Blkio, "weight", error);
        }
        let docker = format!("--blkio-weight {weight}");
        let mut intent = intent(host, Controller::Io, "blkio.weight.why", format!("weight {weight}"), docker);
        intent.v1 = vec![Setting::new("blkio.bfq.weight", weight)];
        // The weights of iocost are 1 to 10000, those of BFQ 1 to 1000.
        intent.v2 = match host.weighers.first() {
            Some((_, "bfq")) => vec![default_weight("io.bfq.weight", weight)],
            _ => vec![default_weight("io.weight", 1 + weight.saturating_sub(10) * 9999 / 990)],
        };
        let by: Vec<String> = host.weighers.iter().map(|(disk, by)| format!("{disk} ({by})")).collect();
        intent.note = Some(match by.is_empty() {
            true => text("blkio.weight.idle"),
            false => text_with("blkio.weight.by", &[("disks", &by.join(", "))]),
        });
        intent.is_idle = by.is_empty();
        draft.intent(intent);
    }
}

/// A weight in cgroup v2. Its file can also have weights for single devices, so the kernel shows this one as `default
/// N`.
fn default_weight(file: &str, weight: u64) -> Setting {
    Setting::shown_as(file, weight, Some(format!("default {weight}")))
}

/// What to observe. A process on each side reads these files.
pub fn observe(process: &str) -> Vec<Observation> {
    let file = |v1, v2| cgroup::file(process, Controller::Io, v1, v2);
    vec![
        cgroup::membership(process, Controller::Io),
        file("blkio.throttle.read_bps_device", "io.max"),
        file("blkio.throttle.write_bps_device", "io.weight"),
        bytes(process),
    ]
}

/// The bytes that the cgroup has read and written, on all disks together.
fn bytes(process: &str) -> Observation {
    let is_counted = |field: &&str| field.starts_with("rbytes=") || field.starts_with("wbytes=");
    let sum = |content: &str| match content.lines().rev().find_map(|line| line.strip_prefix("Total ")) {
        Some(total) => total.trim().parse().unwrap_or(0),
        None => content
            .split_whitespace()
            .filter(is_counted)
            .filter_map(|field| field.split('=').nth(1)?.parse::<u64>().ok())
            .sum::<u64>(),
    };
    cgroup::counter(process, Controller::Io, "blkio.throttle.io_service_bytes", "io.stat", |content| {
        format!("{} bytes", sum(content))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_throttle_names_a_device_and_a_rate() {
        let of = |throttle: &str| Throttle::read(throttle.into()).map(|one| (one.device, one.rate.0));
        assert_eq!(of("/dev/vda=1MiB"), Ok(("/dev/vda".into(), 1 << 20)));
        assert_eq!(of("8:0=100"), Ok(("8:0".into(), 100)));
        assert_eq!(of("/dev/vda:1mb"), Ok(("/dev/vda".into(), 1 << 20)), "docker's form");
        for wrong in ["", "/dev/vda", "=1", "/dev/vda=", "/dev/vda=fast", "/dev/vda=0", "8:0"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }
}
