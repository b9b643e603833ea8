//! R3 to R5: links in a hostile root, swapped while the root is set up, and mounts on the kernel's filesystems.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::support::{sample, sandbox, text};
use crate::{directory, has_usr_alone, of, root, run, said};

/// Acts as another container that shares the directory. It swaps two names as fast as it can.
struct Exchanger {
    ends: std::sync::Arc<AtomicBool>,
    thread: Option<JoinHandle<u64>>,
}

impl Exchanger {
    fn start(one: PathBuf, other: PathBuf) -> Exchanger {
        let ends = std::sync::Arc::new(AtomicBool::new(false));
        let end = ends.clone();
        let thread = std::thread::spawn(move || {
            let mut times = 0;
            while !end.load(Ordering::Relaxed) {
                renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).unwrap();
                times += 1;
                // It pauses now and then, so that a start can also find either state for a while. The number is odd: after an
                // even one, it would always be the first state, and on a busy machine others run only in these pauses.
                if times % 63 == 0 {
                    std::thread::sleep(Duration::from_micros(200));
                }
            }
            times
        });
        Exchanger { ends, thread: Some(thread) }
    }

    /// Whether a lookup through the name leads to the canary's directory at some time. This shows that the race can be
    /// lost.
    fn leads_out(path: &Path, canary: &Path) -> bool {
        let end = Instant::now() + Duration::from_secs(5);
        while Instant::now() < end {
            if path.canonicalize().is_ok_and(|found| found == canary) {
                return true;
            }
        }
        false
    }

    fn end(mut self) -> u64 {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

fn table() -> String {
    fs::read_to_string("/proc/self/mountinfo").unwrap()
}

/// Whether nothing was created or mounted in a directory on the host.
fn is_untouched(canary: &Path) -> bool {
    fs::read_dir(canary).unwrap().count() == 0 && !table().contains(&*canary.to_string_lossy())
}

/// No link below the root's own /dev is followed: the new /dev is mounted on it.
#[test]
fn links_below_dev_are_covered_and_masks_are_of_the_null_device() {
    if !has_usr_alone("links_below_dev_are_covered_and_masks_are_of_the_null_device") {
        return;
    }
    let (root, canary) = (root(), directory());
    let target = canary.path().join("file");
    fs::write(&target, "as it was").unwrap();
    symlink(&target, root.path().join("dev/null")).unwrap();
    symlink("/proc/sys/kernel", root.path().join("dev/pts")).unwrap();
    assert_eq!(fs::read_to_string(root.path().join("dev/null")).unwrap(), "as it was", "a path leads there");
    let script =
        "stat -L -c %t:%T /dev/null; echo gone > /dev/null; stat -f -c %T /dev/pts; cat /proc/self/mountinfo";
    for more in ["pid:", "pid:\noverlay: true"] {
        let shown = said(&of(root.path(), "", more), script);
        assert!(shown.starts_with("1:3\ndevpts\n"), "{shown}");
        let files = [" /proc/kcore ", " /proc/keys ", " /proc/timer_list "];
        let masks = shown.lines().filter(|line| files.iter().any(|file| line.contains(file)));
        let masks: Vec<&str> = masks.filter_map(|line| line.split(' ').nth(3)).collect();
        assert!(!masks.is_empty() && masks.iter().all(|of| *of == "/null"), "{shown}");
    }
    assert_eq!(fs::read_to_string(&target).unwrap(), "as it was");
}

#[test]
fn a_directory_of_the_root_may_be_exchanged_for_a_link_at_any_moment() {
    if !has_usr_alone("a_directory_of_the_root_may_be_exchanged_for_a_link_at_any_moment") {
        return;
    }
    let canary = directory();
    let outside = canary.path().canonicalize().unwrap();
    let mut begun = 0;
    for name in ["dev", "proc", "sys"] {
        let root = root();
        let (place, link) = (root.path().join(name), root.path().join("link"));
        symlink(&outside, &link).unwrap();
        let exchanger = Exchanger::start(place.clone(), link);
        assert!(Exchanger::leads_out(&place, &outside), "no look by a path went outside: nothing was shown");
        for _ in sample(4, 0..40) {
            let script = "cat /proc/self/mountinfo; stat -L -c %t:%T /dev/null";
            let output = run(&of(root.path(), "", "pid:\nnet:"), &["sh", "-c", script]);
            let (shown, error) = (text(&output.stdout), text(&output.stderr));
            // The mounts are in that root, wherever the directory was moved meanwhile. A mount that had followed the
            // link would have stayed in the old root.
            if shown.contains(" - ") {
                let kinds = ["proc", "sysfs", "devpts"].map(|kind| shown.contains(&format!(" - {kind} ")));
                assert_eq!(kinds, [true; 3], "{name}: {shown}");
            }
            match output.status.code() {
                // /dev was the link when it was opened: the root is refused.
                Some(125) => {}
                Some(0) => {
                    assert!(shown.ends_with("1:3\n"), "{name}: {shown}");
                    begun += 1;
                }
                // The names were swapped after the start had begun. The mount moved with its directory, and the name
                // does not resolve in the container.
                Some(1) => assert!(error.contains("No such file"), "{name}: {error}"),
                other => panic!("{name}: {other:?} {error}"),
            }
            assert!(is_untouched(&outside), "{name}");
        }
        assert!(exchanger.end() > 1000);
    }
    assert!(begun > 0, "each of them was refused");
}

/// The mount point is in a directory that is shared with another container.
#[test]
fn the_place_of_a_mount_may_be_exchanged_for_a_link_at_any_moment() {
    if !has_usr_alone("the_place_of_a_mount_may_be_exchanged_for_a_link_at_any_moment") {
        return;
    }
    let (volume, canary, root) = (directory(), directory(), root());
    let outside = canary.path().canonicalize().unwrap();
    let (place, link) = (volume.path().join("place"), volume.path().join("link"));
    fs::create_dir(&place).unwrap();
    symlink(&outside, &link).unwrap();
    let mounts = format!(
        "  - {{ type: bind, source: {}, target: /srv }}\n  - {{ type: tmpfs, target: /srv/place/made }}\n\
         \x20 - {{ type: bind, source: /usr/bin, target: /srv/place/made }}\n",
        volume.path().display()
    );
    // With a temporary overlay, a missing mount point is created. Through the link it would be created on the host.
    let spec = of(root.path(), &mounts, "pid:\noverlay: true");
    let exchanger = Exchanger::start(place.clone(), link);
    assert!(Exchanger::leads_out(&place, &outside), "no look by a path went outside: nothing was shown");
    let mut begun = 0;
    for _ in sample(4, 0..200) {
        let shown = run(&spec, &["cat", "/proc/self/mountinfo"]);
        if shown.status.success() {
            begun += 1;
            let shown = text(&shown.stdout);
            // The mount has the requested source. The other container decides where in that root it is.
            let name = outside.file_name().unwrap().to_str().unwrap();
            let shown_of = shown.lines().filter_map(|line| line.split(' ').nth(3));
            assert!(!shown_of.into_iter().any(|of| of.ends_with(name)), "{shown}");
        } else {
            assert_eq!(shown.status.code(), Some(125), "{}", text(&shown.stderr));
        }
        assert!(is_untouched(&outside));
    }
    assert!(exchanger.end() > 1000);
    assert!(begun > 0, "each of them was refused");
}

/// A mount there could replace the kernel's own files, to which `sandbox` also writes.
#[test]
fn nothing_is_mounted_over_the_kernels_files() {
    if !has_usr_alone("nothing_is_mounted_over_the_kernels_files") {
        return;
    }
    let (root, source) = (root(), directory());
    symlink("proc/self", root.path().join("link")).unwrap();
    let targets = [
        "/proc",
        "/proc/self",
        "/proc/sys",
        "/proc/self/attr",
        "/sys",
        "/sys/fs",
        "/dev",
        "/link/attr",
        "/srv/../proc",
    ];
    for target in targets {
        for mount in [
            format!("  - {{ type: tmpfs, target: {target} }}\n"),
            format!("  - {{ type: bind, source: {}, target: {target} }}\n", source.path().display()),
        ] {
            let output = run(&of(root.path(), &mount, "pid:"), &["true"]);
            let error = text(&output.stderr);
            assert_eq!(output.status.code(), Some(125), "{mount} {error}");
            assert!(error.contains("files of the kernel"), "{mount} {error}");
        }
    }
    // The kernel itself allows these mounts.
    let script = "mount -t tmpfs none /proc && mount --bind /tmp /sys && ls /proc | wc -l";
    let output = sandbox(&["mnt", "-q", "--", "sh", "-c", script]).output().unwrap();
    assert_eq!(text(&output.stdout), "0\n", "{}", text(&output.stderr));
}
