//! The upper layer of a container that stays: what it has written is there until `rm`.
//!
//! Judged by what the container sees after a stop, and by the files in HOME.
//!
//! Other inputs of the same kind as the ones here:
//! - a root filesystem that is a directory with `overlay: true`, several layers, or an image; with and without a user namespace;
//!   with additional mounts, with a read-only root, with a command of another user.
//! - files that are written, changed, deleted and replaced by directories; of other owners; deeper than a path may be.
//! - `rm` that is killed at any moment; HOME on a filesystem where overlayfs has no upper directory.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use support::kept::KeptHome;
use support::{is_root, skip, text};

/// A directory with the programs of this machine, and files to change and delete.
fn base(around: &Path) -> PathBuf {
    let base = around.join("base");
    fs::create_dir_all(base.join("usr")).unwrap();
    for name in ["bin", "lib", "lib64"] {
        std::os::unix::fs::symlink(format!("usr/{name}"), base.join(name)).unwrap();
    }
    fs::create_dir_all(base.join("data/old")).unwrap();
    fs::write(base.join("data/old/file"), "lower").unwrap();
    fs::write(base.join("gone"), "lower").unwrap();
    fs::set_permissions(&base, fs::Permissions::from_mode(0o751)).unwrap();
    base
}

/// A spec with an overlay of that directory.
fn spec(home: &KeptHome, rootfs: &str, keys: &str, script: &str) -> String {
    if !home.around().join("base").exists() {
        base(home.around());
    }
    let file = home.around().join("upper.yaml");
    let script = serde_json::to_string(script).unwrap();
    let usr = "mnt: {bind: [{source: /usr, target: /usr}], mounts: [{type: tmpfs, target: /made/here}]}";
    fs::write(&file, format!("{rootfs}\n{usr}\npid:\n{keys}\ncommand: [sh, -c, {script}]\n")).unwrap();
    file.to_str().unwrap().to_owned()
}

/// The paths of what is below a directory.
fn below(directory: &Path) -> BTreeSet<String> {
    let list = Command::new("find").arg(".").current_dir(directory).output().unwrap();
    text(&list.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn what_a_container_has_written_is_there_until_rm() {
    let home = KeptHome::new();
    let all_keys: &[&str] = if is_root() { &["", "user: {map: root}"] } else { &["user: {map: root}"] };
    for rootfs in ["rootfs: ./base\noverlay: true", "rootfs: {layers: [./base]}"] {
        for keys in all_keys {
            let script = "echo x >> /note; rm -f /gone; rm -rf /data/old; mkdir -p /data/old/new; \
                          : > /made/here/file; wc -l < /note; test -e /gone || ls /data/old";
            let id = home.out(&["create", "--name", "box", &spec(&home, rootfs, keys, script)]);
            let upper = home.container("box").join("upper");
            assert_eq!(upper.metadata().unwrap().mode() & 0o7777, 0o751, "the mode of the root below");
            assert_eq!(below(&upper).len(), 1);
            for lines in 1..=3 {
                assert_eq!(home.out(&["start", "-a", "box"]), format!("{lines}\nnew"), "{rootfs} {keys}");
            }
            // Nothing of ours is there: no mount point, no /proc, no /etc/hosts.
            let written = [".", "./note", "./gone", "./data", "./data/old", "./data/old/new"];
            assert_eq!(below(&upper), written.map(str::to_owned).into());
            assert_eq!(fs::read_to_string(upper.join("note")).unwrap(), "x\nx\nx\n");
            assert!(home.around().join("base/gone").exists());
            let sizes = home.out(&["ps", "-as", "--format", "{{.Size}}"]);
            assert!(sizes.starts_with("6B (virtual "), "{sizes}");
            assert!(home.out(&["ps", "-as"]).lines().next().unwrap().trim_end().ends_with("SIZE"));
            assert!(home.out(&["ps", "-a", "--format", "json"]).contains("\"Size\":\"0B\""));
            assert_eq!(home.out(&["rm", "box"]), "box");
            assert!(!home.path().join("containers").join(id).exists());
            home.is_empty();
        }
    }
}

#[test]
fn a_directory_of_the_user_is_never_removed() {
    let home = KeptHome::new();
    fs::create_dir(home.around().join("changes")).unwrap();
    let rootfs = "rootfs: {layers: [./base], upper: ./changes}";
    let file = spec(&home, rootfs, "user: {map: root}", "echo x > /note");
    home.out(&["run", "--keep", "--name", "box", &file]);
    assert!(!home.container("box").join("upper").exists());
    assert_eq!(home.out(&["ps", "-as", "--format", "{{.Size}}"]), "0B (virtual 33B)");
    home.out(&["rm", "box"]);
    assert_eq!(fs::read_to_string(home.around().join("changes/note")).unwrap(), "x\n");
    // A directory without an overlay is the root itself, and stays too.
    let file = spec(&home, "rootfs: ./base", "user: {map: root}", "echo x > /note");
    for name in ["proc", "sys", "dev", "made", "made/here"] {
        fs::create_dir(home.around().join("base").join(name)).unwrap();
    }
    home.out(&["run", "--keep", "--rm", &file]);
    assert!(home.around().join("base/note").exists());
    home.is_empty();
    Command::new("chmod").args(["-R", "u+rwx"]).arg(home.around()).status().unwrap();
}

#[test]
fn what_a_killed_rm_has_left_is_removed_by_the_next_command() {
    let home = KeptHome::new();
    let script = "mkdir -p /a/b; echo x > /a/b/c; chmod 0 /a/b /a";
    let file = spec(&home, "rootfs: {layers: [./base]}", "user: {map: root}", script);
    for left in [".rm-", ".new-"] {
        let id = home.out(&["create", "--name", "box", &file]);
        home.out(&["start", "-a", "box"]);
        let containers = home.path().join("containers");
        let moved = containers.join(format!("{left}{id}"));
        fs::rename(containers.join(&id), &moved).unwrap();
        assert!(moved.join("upper/a").exists());
        assert_eq!(home.out(&["ps", "-aq"]), "");
        assert!(!moved.exists());
        home.is_empty();
    }
}

#[test]
fn files_of_other_owners_are_measured_and_removed() {
    let test = "files_of_other_owners_are_measured_and_removed";
    if !is_root() {
        return skip(test, "machine: only root can lend ranges; the run as root holds it");
    }
    if !Path::new("/usr/bin/newuidmap").exists() {
        return skip(test, "newuidmap(1) isn't installed");
    }
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    base(directory.path());
    Command::new("chown").args(["-R", "1000:1000"]).arg(at("base")).status().unwrap();
    fs::write(
        at("box.yaml"),
        "name: box\nrootfs: {layers: [./base]}\npid:\nuser: { map: auto }\n\
         mnt: {bind: [{source: /usr, target: /usr}]}\n\
         command: [sh, -c, 'mkdir -p /own/deep; echo 12345 >> /own/deep/file; wc -c < /own/deep/file; \
         chown -R 7:8 /own; chmod -R go= /own']\n",
    )
    .unwrap();
    fs::write(at("lent"), "1000:100000:65536\n").unwrap();
    fs::create_dir(at("user")).unwrap();
    std::os::unix::fs::chown(at("user"), Some(1000), Some(1000)).unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let script = "cp \"$BINARY\" sandbox && mount --bind lent /etc/subuid && mount --bind lent /etc/subgid && \
                  exec setpriv --reuid=1000 --regid=1000 --clear-groups sh -c './sandbox run --keep box.yaml && \
                  ./sandbox start -a box && stat -c %u user/home/containers/*/upper/own && \
                  ./sandbox ps -as --format {{.Size}} && ./sandbox rm box && ls -A user/home/containers'";
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script])
        .current_dir(directory.path())
        .env("BINARY", support::binary())
        .env("HOME", at("user"))
        .env("SANDBOX_HOME", at("user/home"))
        .env_remove("XDG_RUNTIME_DIR")
        .output()
        .unwrap();
    let expected = "6\n12\n100006\n12B (virtual 45B)\nbox\n";
    assert_eq!(text(&output.stdout), expected, "{}", text(&output.stderr));
}
