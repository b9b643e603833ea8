//! Which disk is meant: cgroups limit whole disks, known by MAJ:MIN, where people name a device, a partition or a file.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use nix::sys::stat::{major, minor};

use crate::observe::hierarchy::{Version, hierarchies};
use crate::observe::{file, mountinfo};
use crate::text::text_with;

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
    /// The disk behind `words`: `MAJ:MIN`, a block device, or a file, which means the disk that it lies on. Of a partition
    /// the whole disk: the kernel takes no other.
    ///
    /// # Errors
    /// In words: there is no such file, no such device, or no disk behind it.
    pub fn find(words: &str) -> Result<Disk, String> {
        let of_numbers = |words: &str| {
            let (major, minor) = words.split_once(':')?;
            Some((major.parse().ok()?, minor.parse().ok()?))
        };
        let (major, minor) = match of_numbers(words) {
            Some(numbers) => numbers,
            None => numbers_of(Path::new(words))
                .map_err(|error| said("blkio.disk.nofile", words, &error.to_string()))?,
        };
        Disk::of(major, minor).ok_or_else(|| said("blkio.disk.none", words, &format!("{major}:{minor}")))
    }

    /// The whole disk of a block device, by the directory that sysfs has for it: a partition's lies in its disk's.
    fn of(major: u64, minor: u64) -> Option<Disk> {
        let mut directory = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()?;
        if directory.join("partition").exists() {
            directory.pop();
        }
        let numbers = file::read_text(directory.join("dev")).ok()?;
        let (major, minor) = numbers.trim().split_once(':')?;
        let name = directory.file_name()?.to_string_lossy().into_owned();
        Some(Disk { major: major.parse().ok()?, minor: minor.parse().ok()?, name })
    }
}

/// The disks that something shares out by weight here, and by what: BFQ as a disk's scheduler, or iocost, which only v2 has.
pub fn weighers(is_v2: bool) -> Vec<(String, &'static str)> {
    // Only the root of the hierarchy has this file.
    let v2 =
        hierarchies("/proc/self").into_iter().find(|hierarchy| is_v2 && hierarchy.version == Version::V2);
    let costs = v2.map(|hierarchy| file::read_text(hierarchy.mount.join("io.cost.qos")).unwrap_or_default());
    let costs = costs.unwrap_or_default();
    let disks = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let by = disks.filter_map(|disk| {
        let read = |file| file::read_text(disk.path().join(file)).unwrap_or_default();
        let numbers = read("dev");
        let is_counted =
            |line: &str| line.starts_with(&format!("{} ", numbers.trim())) && line.contains("enable=1");
        let by = match read("queue/scheduler").contains("[bfq]") {
            true => "bfq",
            false if is_v2 && costs.lines().any(is_counted) => "iocost",
            false => return None,
        };
        Some((disk.file_name().to_string_lossy().into_owned(), by))
    });
    by.collect()
}

/// The numbers of the device itself, or of the one that a file lies on. A filesystem over several devices, or over none, has
/// a number of its own that is no disk's: its source in the mount table may be one.
fn numbers_of(path: &Path) -> std::io::Result<(u64, u64)> {
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

fn said(key: &str, words: &str, reason: &str) -> String {
    text_with(key, &[("device", words), ("reason", reason)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_disk_is_refused_in_words() {
        assert!(Disk::find("/no/such/file").is_err());
        assert!(Disk::find("/proc/version").is_err(), "/proc lies on no disk");
        assert!(Disk::find("4095:7").is_err());
    }

    #[test]
    fn a_file_a_device_and_its_numbers_mean_the_same_disk() {
        // Which disks there are is this machine's business: any one that a file lies on will do.
        let Ok(disk) = Disk::find("/") else { return eprintln!("SKIP: / lies on no disk here") };
        assert_eq!(Disk::find(&disk.to_string()), Ok(disk.clone()));
        let device = format!("/dev/{}", disk.name);
        if Path::new(&device).exists() {
            assert_eq!(Disk::find(&device), Ok(disk));
        }
    }
}
