//! The blkio controller, checked by the kernel's own files.

mod support;

use std::os::unix::fs::MetadataExt;

use support::limits::{group, is_v2, may, says};
use support::{run, sandbox, wait_until};

#[test]
fn the_kernel_has_the_values_for_the_disk_of_a_file() {
    if !may("the_kernel_has_the_values_for_the_disk_of_a_file", "blkio") {
        return;
    }
    // The device of `/`. sysfs shows whether it is a whole disk or a partition.
    let device = std::fs::metadata("/").unwrap().dev();
    let (major, minor) = (nix::sys::stat::major(device), nix::sys::stat::minor(device));
    let sysfs = format!("/sys/dev/block/{major}:{minor}");
    if !std::path::Path::new(&sysfs).exists() {
        return support::skip(
            "the_kernel_has_the_values_for_the_disk_of_a_file",
            "machine: / lies on no disk",
        );
    }
    let mut directory = std::fs::canonicalize(sysfs).unwrap();
    if directory.join("partition").exists() {
        directory.pop();
    }
    let disk = std::fs::read_to_string(directory.join("dev")).unwrap().trim().to_owned();
    let flags = ["blkio", "-q", "--write-bps", "/=3MiB", "--read-iops", "/=50", "--", "sleep", "60"];
    let mut child = sandbox(&flags).spawn().unwrap();
    let command = support::child_named(child.id(), "sleep");
    let group = group(command, "blkio");
    if is_v2(&group) {
        assert_eq!(says(&group, "", "io.max"), format!("{disk} rbps=max wbps=3145728 riops=50 wiops=max"));
    } else {
        assert_eq!(says(&group, "blkio.throttle.write_bps_device", ""), format!("{disk} 3145728"));
        assert_eq!(says(&group, "blkio.throttle.read_iops_device", ""), format!("{disk} 50"));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // A command of another test may be the one that removes it; and on a busy machine, one command may not wait long enough
    // for the end of the processes.
    wait_until("the cgroup is removed", || {
        assert!(run(&["uts", "--dry-run"]).status.success());
        !group.exists()
    });
}
