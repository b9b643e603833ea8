//! R6 to R8: the command's user, groups and capabilities.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use rustix::fs::XattrFlags;

use crate::support::{binary, feed, install, is_root, skip, text};
use crate::{directory, has_usr_alone, of, root, run};

/// Runs `sandbox` through a command such as setpriv(1), which changes the caller's user, groups or capabilities.
fn run_after(before: &[&str], program: &Path, spec: &str, command: &[&str]) -> String {
    let words = [before, &[program.to_str().unwrap(), "run", "-", "-q", "--"], command].concat();
    let output = feed(Command::new(words[0]).args(&words[1..]).current_dir("/").env("LC_ALL", "C"), spec);
    text(&output.stdout) + &text(&output.stderr)
}

/// struct vfs_cap_data of version 2, without the effective bit: permitted none, inheritable CAP_NET_RAW.
fn inheritable_net_raw() -> Vec<u8> {
    [0x0200_0000_u32, 0, 1 << 13, 0, 0].iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// The file grants a capability to a process that has it in its inheritable set. No process in the container has it
/// there.
#[test]
fn a_file_with_an_inheritable_capability_gives_nothing() {
    let test = "a_file_with_an_inheritable_capability_gives_nothing";
    if !is_root() {
        return skip(test, "machine: only root gives a file capabilities");
    }
    let directory = directory();
    let cat = install("755", Path::new("/usr/bin/cat"), &directory.path().join("cat"));
    let set = rustix::fs::setxattr(&cat, "security.capability", &inheritable_net_raw(), XattrFlags::empty());
    if set.is_err() {
        return skip(test, "machine: the filesystem of /tmp keeps no capabilities");
    }
    let heir = ["setpriv", "--inh-caps", "+net_raw"];
    let permitted = |spec: &str| {
        let shown = run_after(&heir, &binary(), spec, &[cat.to_str().unwrap(), "/proc/self/status"]);
        let line = shown
            .lines()
            .find_map(|line| line.strip_prefix("CapPrm:\t"))
            .unwrap_or_else(|| panic!("{shown}"));
        u64::from_str_radix(line, 16).unwrap()
    };
    assert_eq!(permitted("run_as: 1000\n"), 1 << 13);
    assert_eq!(permitted("run_as: 1000\ncapabilities: default\n"), 0);
    assert_eq!(permitted("run_as: 1000\nno_new_privileges: true\ncapabilities: default\n"), 0);
}

/// A group can deny its members access to a file: mode 0604. So a caller that is not root may drop no group.
#[test]
fn a_group_that_shuts_out_can_not_be_dropped_by_who_is_no_root() {
    let test = "a_group_that_shuts_out_can_not_be_dropped_by_who_is_no_root";
    if !is_root() {
        return skip(test, "machine: it takes root to be somebody with another group");
    }
    let directory = directory();
    let program = install("755", &binary(), &directory.path().join("sandbox"));
    let secret = directory.path().join("secret");
    fs::write(&secret, "not for the group\n").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o604)).unwrap();
    chown(&secret, Some(0), Some(4)).unwrap();
    let read = ["cat", secret.to_str().unwrap(), "/proc/self/setgroups"];
    let user = |groups| ["setpriv", "--reuid", "1000", "--regid", "1000", groups];
    for spec in
        ["user: { map: root }\nrun_as: 0\n", "user: { map: root }\nrun_as: 0\ncapabilities: default\n"]
    {
        let shown = run_after(&[&user("--groups")[..], &["4"]].concat(), &program, spec, &read);
        assert!(shown.contains("Permission denied") && shown.contains("deny"), "{spec}: {shown}");
        assert!(!shown.contains("not for"), "{spec}: {shown}");
        // A process that is not in the group can read the file.
        let shown = run_after(&user("--clear-groups"), &program, spec, &read);
        assert!(shown.contains("not for the group"), "{spec}: {shown}");
    }
}

/// The image's own /etc/passwd gives every user the ID of root. `sandbox` must not read it.
#[test]
fn the_images_list_of_users_is_not_read() {
    if !has_usr_alone("the_images_list_of_users_is_not_read") {
        return;
    }
    let root = root();
    let words =
        ["1", "01", "1:1", "1000", "4294967296", "2147483648", "-1", "0x0", "1 ", "99999999999999", "web"];
    let line = |word: &&str| format!("{}:x:0:0::/:/bin/sh\n", word.trim());
    fs::write(root.path().join("etc/passwd"), words.iter().map(line).collect::<String>()).unwrap();
    // A program that does read /etc/passwd finds root there.
    let shown = run(&of(root.path(), "", "pid:"), &["id", "-u", "web"]);
    assert_eq!(text(&shown.stdout), "0\n", "{}", text(&shown.stderr));
    for word in words {
        let spec = of(root.path(), "", &format!("pid:\nrun_as: '{word}'"));
        let output = run(&spec, &["cat", "/proc/self/status"]);
        let shown = text(&output.stdout);
        match shown.lines().find_map(|line| line.strip_prefix("Uid:\t")) {
            Some(ids) => {
                assert!(is_root() && output.status.success(), "{word}");
                let first = word.split(':').next().unwrap();
                assert!(ids.split('\t').all(|id| id == first), "{word}: {ids}");
            }
            None => assert_eq!(output.status.code(), Some(125), "{word}: {shown}"),
        }
    }
}
