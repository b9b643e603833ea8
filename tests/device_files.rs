//! Device files that `devices: { allow: [PATH] }` names. With a root filesystem of its own, a container has a new /dev,
//! so each of them must appear there.
//!
//! Of this kind: a character device · a block device · one in a subdirectory of /dev · several · one that each container
//! has anyway · a rule by numbers, which has no path · a pattern, a directory, a path that does not exist · an ordinary
//! user, who may not call mknod(2), with `optional: [devices]` · each kind of root · the host's file stays as it is.

mod support;

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use support::{alone, feed, is_root, sandbox, skip, text};

/// The first of these device files that this machine has.
fn existing(paths: &[&'static str]) -> Option<&'static str> {
    paths.iter().copied().find(|path| {
        fs::metadata(path)
            .is_ok_and(|file| file.file_type().is_char_device() || file.file_type().is_block_device())
    })
}

const CHARACTER: &[&str] = &["/dev/fuse", "/dev/kvm", "/dev/loop-control", "/dev/kmsg", "/dev/rtc0"];
const BLOCK: &[&str] = &["/dev/loop0", "/dev/vda", "/dev/sda", "/dev/nvme0n1"];
const BELOW: &[&str] = &["/dev/net/tun", "/dev/mapper/control", "/dev/cpu/0/msr"];

/// The spec of a container that may use these devices.
fn spec(rootfs: &str, rules: &[&str]) -> String {
    let rules: Vec<String> = rules.iter().map(|rule| format!("{rule:?}")).collect();
    format!("{rootfs}\npid:\noptional: [devices]\ndevices: {{ allow: [{}] }}\n", rules.join(", "))
}

fn output(spec: &str, script: &str) -> std::process::Output {
    feed(&mut sandbox(&["run", "-", "-q", "--", "sh", "-c", script]), spec)
}

/// Checks that the container has this device, and that the host's file stays as it is.
fn check(rootfs: &str, device: &str) {
    let before = fs::metadata(device).unwrap();
    let kind = if before.file_type().is_block_device() { 'b' } else { 'c' };
    let script = format!(
        "test -{kind} {device} && stat -c '%t %T' {device}; chmod 777 {device}; rm -f {device}; true"
    );
    let output = output(&spec(rootfs, &[&format!("{device} rw")]), &script);
    let numbers =
        format!("{:x} {:x}", nix::sys::stat::major(before.rdev()), nix::sys::stat::minor(before.rdev()));
    assert_eq!(text(&output.stdout).trim(), numbers, "{device}: {}", text(&output.stderr));
    let after = fs::metadata(device).unwrap();
    assert_eq!((before.mode(), before.uid(), before.ino()), (after.mode(), after.uid(), after.ino()));
}

#[test]
fn a_device_that_is_allowed_by_its_path_is_in_dev() {
    let _alone = alone();
    let found: Vec<&str> = [CHARACTER, BLOCK, BELOW].into_iter().filter_map(existing).collect();
    if found.is_empty() {
        return skip(
            "a_device_that_is_allowed_by_its_path_is_in_dev",
            "machine: /dev has only the usual devices",
        );
    }
    for device in &found {
        check("rootfs: host", device);
    }
    // All of them together, and one that is there anyway.
    let rules: Vec<String> =
        found.iter().chain(&["/dev/null", "/dev/tty"]).map(|path| format!("{path} rw")).collect();
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    let listed = output(&spec("rootfs: host", &rules), &format!("ls {} && : > /dev/null", found.join(" ")));
    assert!(listed.status.success(), "{}", text(&listed.stderr));
    // Without the rule, it is not there.
    let absent = output("rootfs: host\npid:\n", &format!("test ! -e {}", found[0]));
    assert!(absent.status.success(), "{}", text(&absent.stderr));
}

#[test]
fn a_root_directory_gets_the_device_too() {
    let _alone = alone();
    let test = "a_root_directory_gets_the_device_too";
    let Some(device) = existing(CHARACTER) else {
        return skip(test, "machine: /dev has only the usual devices");
    };
    if !Path::new("/bin").is_symlink() {
        return skip(test, "machine: /bin isn't a link to /usr/bin");
    }
    let root = tempfile::tempdir().unwrap();
    for directory in ["usr", "proc", "sys", "dev"] {
        fs::create_dir(root.path().join(directory)).unwrap();
    }
    for name in ["bin", "lib", "lib64"] {
        std::os::unix::fs::symlink(format!("usr/{name}"), root.path().join(name)).unwrap();
    }
    let usr = "mnt: { mounts: [{ type: bind, source: /usr, target: /usr, readonly: true }] }";
    for overlay in ["", "overlay: true\n"] {
        check(&format!("rootfs: {}\n{overlay}{usr}", root.path().display()), device);
    }
    assert_eq!(fs::read_dir(root.path().join("dev")).unwrap().count(), 0);
}

#[test]
fn the_controller_still_decides_what_may_be_opened() {
    let _alone = alone();
    let test = "the_controller_still_decides_what_may_be_opened";
    if !is_root() {
        return skip(test, "machine: a device cgroup takes root; root's run holds it");
    }
    let Some(device) = existing(&["/dev/fuse", "/dev/loop-control"]) else {
        return skip(test, "machine: neither /dev/fuse nor /dev/loop-control");
    };
    let open = |rule: &str, mode: &str| {
        output(&spec("rootfs: host", &[rule]), &format!("exec 3{mode}{device}")).status.success()
    };
    assert!(open(&format!("{device} rw"), "<>"));
    assert!(open(&format!("{device} r"), "<"));
    assert!(!open(&format!("{device} r"), "<>"));
    // A rule by numbers has no path, but root can make the file.
    let found = fs::metadata(device).unwrap().rdev();
    let (major, minor) = (nix::sys::stat::major(found), nix::sys::stat::minor(found));
    let by_numbers = spec("rootfs: host", &[&format!("c {major}:{minor} rw")]);
    let script = format!("test ! -e {device} && mknod {device} c {major} {minor} && exec 3<>{device}");
    assert!(output(&by_numbers, &script).status.success());
}

#[test]
fn what_is_no_device_is_refused_by_name() {
    let _alone = alone();
    for (path, expected) in [
        ("/dev/no-such-device", "exist"),
        ("/dev/loop*", "exist"),
        ("/dev/pts", "no device"),
        ("/etc/passwd", "no device"),
    ] {
        let spec = format!("rootfs: host\ndevices: {{ allow: [\"{path} rw\"] }}\n");
        let output = output(&spec, "true");
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(125), "{error}");
        if is_root() {
            assert!(error.contains(path), "{error}");
            assert!(error.contains(expected) || error.contains("not a device"), "{error}");
        }
    }
}

/// While the new root is mounted on `/`, `/dev/..` is the new root for the kernel, and so is a symbolic link with enough `..`.
#[test]
fn a_path_with_parents_leads_to_the_file_of_the_host() {
    let _alone = alone();
    let test = "a_path_with_parents_leads_to_the_file_of_the_host";
    let Some(device) = existing(CHARACTER) else {
        return skip(test, "machine: /dev has only the usual devices");
    };
    let name = Path::new(device).file_name().unwrap().to_str().unwrap();
    for path in [format!("/dev/../dev/{name}"), format!("/dev/shm/../{name}"), format!("/usr/../dev/{name}")]
    {
        for rules in [vec![format!("{path} rw")], vec![format!("{device} r"), format!("{path} rw")]] {
            let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
            let found = output(&spec("rootfs: host", &rules), &format!("test -c {device}"));
            assert!(found.status.success(), "{rules:?}: {}", text(&found.stderr));
        }
    }
    // The same for any bind mount.
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().canonicalize().unwrap().join("file");
    fs::write(&file, "of the host").unwrap();
    let up = "../".repeat(file.components().count());
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(format!("{up}{}", file.strip_prefix("/").unwrap().display()), &link).unwrap();
    for source in [format!("/usr/..{}", file.display()), link.display().to_string()] {
        let mounts = format!("mnt: {{ mounts: [{{ type: bind, source: {source}, target: /srv/file }}] }}\n");
        let found = output(&format!("rootfs: host\npid:\n{mounts}"), "cat /srv/file");
        assert_eq!(text(&found.stdout), "of the host", "{source}: {}", text(&found.stderr));
    }
}
