//! Finds the disk that a user means. A cgroup limits a whole disk, named by MAJ:MIN. Users name a device, a partition
//! or a file.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use nix::sys::stat::{major, minor};

use crate::observe::hierarchy::{Version, hierarchies};
use crate::observe::{file, mountinfo};
use crate::text::{printed, text_with, word};

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Its major number.
    pub major: u64,
    /// Its minor number.
    pub minor: u64,
    /// Its name below /sys/block.
    pub name: String,
}

impl std::fmt::Display for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

impl Disk {
    /// The disk that `name` means: `MAJ:MIN`, a block device, or a file, which means the disk with that file. A
    /// partition means its whole disk, because the kernel accepts only whole disks.
    ///
    /// # Errors
    /// A message: there is no such file or device, or it is on no disk.
    pub fn find(name: impl AsRef<OsStr>) -> Result<Disk, String> {
        let name = name.as_ref();
        let parse = |name: &OsStr| {
            let (major, minor) = name.to_str()?.split_once(':')?;
            Some((major.parse().ok()?, minor.parse().ok()?))
        };
        let (major, minor) = match parse(name) {
            Some(numbers) => numbers,
            None => device_of(Path::new(name))
                .map_err(|error| message("blkio.disk.nofile", name, &crate::error::io_text(&error)))?,
        };
        Disk::of(major, minor).ok_or_else(|| message("blkio.disk.none", name, &format!("{major}:{minor}")))
    }

    /// The whole disk of a block device. In sysfs, the directory of a partition is in the directory of its disk.
    fn of(major: u64, minor: u64) -> Option<Disk> {
        let mut directory = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()?;
        if directory.join("partition").exists() {
            directory.pop();
        }
        let numbers = file::read_text(directory.join("dev")).ok()?;
        let (major, minor) = numbers.trim().split_once(':')?;
        let name = printed(directory.file_name()?);
        Some(Disk { major: major.parse().ok()?, minor: minor.parse().ok()?, name })
    }
}

/// The disks on which weights have an effect, each with the mechanism: the I/O scheduler BFQ, or iocost, which only
/// v2 has.
pub fn weighted(is_v2: bool) -> Vec<(String, &'static str)> {
    // Only the root cgroup has io.cost.qos.
    let v2 =
        hierarchies("/proc/self").into_iter().find(|hierarchy| is_v2 && hierarchy.version == Version::V2);
    let costs = v2.map(|hierarchy| file::read_text(hierarchy.mount.join("io.cost.qos")).unwrap_or_default());
    let costs = costs.unwrap_or_default();
    let disks = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let weighted = disks.filter_map(|disk| {
        let read = |file| file::read_text(disk.path().join(file)).unwrap_or_default();
        let numbers = read("dev");
        let has_iocost =
            |line: &str| line.starts_with(&format!("{} ", numbers.trim())) && line.contains("enable=1");
        let mechanism = match read("queue/scheduler").contains("[bfq]") {
            true => "bfq",
            false if is_v2 && costs.lines().any(has_iocost) => "iocost",
            false => return None,
        };
        Some((printed(disk.file_name()), mechanism))
    });
    weighted.collect()
}

/// The device number (major, minor) of a block device, or of the disk with a file. A filesystem on several devices
/// or on none has a device number that is not a disk's. Then its source in the mount table may be a block device.
fn device_of(path: &Path) -> std::io::Result<(u64, u64)> {
    let metadata = fs::metadata(path)?;
    if metadata.file_type().is_block_device() {
        return Ok((major(metadata.rdev()), minor(metadata.rdev())));
    }
    let number = (major(metadata.dev()), minor(metadata.dev()));
    if number.0 != 0 {
        return Ok(number);
    }
    let table = mountinfo::read("/proc/self").unwrap_or_default();
    let source = mountinfo::mounts(&table).filter(|mount| mount.device == number).find_map(|mount| {
        let source = fs::metadata(&*mount.source).ok()?;
        source.file_type().is_block_device().then(|| (major(source.rdev()), minor(source.rdev())))
    });
    Ok(source.unwrap_or(number))
}

fn message(key: &str, name: &OsStr, reason: &str) -> String {
    text_with(key, &[("device", &word(&printed(name))), ("reason", reason)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_means_no_disk_is_refused() {
        assert!(Disk::find("/no/such/file").is_err());
        assert!(Disk::find("/proc/version").is_err(), "/proc is on no disk");
        assert!(Disk::find("4095:7").is_err());
    }

    #[test]
    fn a_file_a_device_and_its_numbers_mean_the_same_disk() {
        // Any disk will do: the test uses the one with the root directory.
        let Ok(disk) = Disk::find("/") else { return eprintln!("SKIP: / is on no disk here") };
        assert_eq!(Disk::find(disk.to_string()), Ok(disk.clone()));
        let device = format!("/dev/{}", disk.name);
        if Path::new(&device).exists() {
            assert_eq!(Disk::find(&device), Ok(disk));
        }
    }
}
