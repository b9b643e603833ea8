//! R8: a container that has mounted filesystems whose server never answers. `sandbox` looks for users, programs and
//! directories there, and must not wait for ever.

use std::process::{Child, Command, Stdio};

use crate::support::running::Running;
use crate::support::{alone, binary, skip, text};

/// Mounts a FUSE filesystem on each of these paths, and never reads a request. A file is mounted on a file.
const SILENT: &str = r#"exec perl -e '$^F = 99; for (@ARGV) {
    open(my $f, "+<", "/dev/fuse") or die; push @all, $f;
    my ($path, $kind, $options) = ($_, "fuse", sprintf("fd=%d,rootmode=%o,user_id=%d,group_id=0", fileno($f), -d $_ ? 040000 : 0100644, $>));
    syscall(165, $kind, $path, $kind, 0, $options) == 0 or die "$_ $!" } exec "/usr/bin/sleep", "60"' "#;

fn start(words: &[&str]) -> Child {
    let program = binary();
    let mut command = Command::new("timeout");
    command.args([&["30", program.to_str().unwrap()], words].concat()).current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn files_that_never_answer_are_not_waited_for() {
    let _alone = alone();
    if std::fs::File::options().read(true).write(true).open("/dev/fuse").is_err()
        || !cfg!(target_arch = "x86_64")
    {
        return skip("files_that_never_answer_are_not_waited_for", "machine: /dev/fuse cannot be opened");
    }
    let places = "/etc/passwd /etc/hostname /usr/local/sbin /srv";
    let container = Running::of("mnt:\nnet:\npid:\n", &format!("{SILENT}{places}"));
    let (name, joined) = (&*container.name, format!("container:{}", container.name));
    let spec = container.directory.path().join("joins.yaml");
    std::fs::write(&spec, "rootfs: host\ncommand: ['true']\n").unwrap();
    let all: [&[&str]; 5] = [
        &["exec", "-q", "-u", "bin", name, "/bin/true"],
        &["exec", "-q", name, "true"],
        &["exec", "-q", "-w", "/srv/x", name, "/bin/true"],
        &["enter", "-q", name, "--", "true"],
        &["run", "-q", "--network", &joined, spec.to_str().unwrap()],
    ];
    let started = all.map(start);
    for (words, child) in all.iter().zip(started) {
        let ended = child.wait_with_output().unwrap();
        let shown = text(&ended.stderr);
        assert_eq!(ended.status.code(), Some(125), "{words:?} {shown}");
        assert!(shown.contains("have not answered after 5 seconds"), "{words:?} {shown}");
    }
    // The control: what needs none of these files starts.
    let control = start(&["exec", "-q", name, "/bin/true"]).wait_with_output().unwrap();
    assert_eq!(control.status.code(), Some(0), "{}", text(&control.stderr));
}
