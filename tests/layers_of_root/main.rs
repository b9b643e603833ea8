//! A root filesystem of several directories: what the container sees, what is kept, and what stays as it is.
//!
//! Of this kind: two layers and 127 · a file, a directory and a deletion in each place · layers on another filesystem, and
//! read-only ones · an upper layer that is temporary, or kept · a kept one that becomes a layer · the same one with and without a
//! user namespace · files of /etc that the layers have as links, directories, or not at all · mount points · a directory that the
//! kernel would refuse · two containers at once, and one that is killed · a kernel without the option for one more layer.

mod kept;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use support::{alone, binary, feed, is_root, sample, sandbox, skip, text};

/// The variants of a container whose root is an overlay: the overlay is made in different ways.
fn variants() -> &'static [&'static str] {
    if is_root() { &["", "user: { map: auto }", "user: { map: root }"] } else { &[""] }
}

/// Directories for layers, in a directory of their own.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        // A container may be another user outside, who must be able to reach the layers.
        fs::set_permissions(place.0.path(), fs::Permissions::from_mode(0o755)).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn directory(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::DirBuilder::new().recursive(true).mode(0o755).create(&path).unwrap();
        path
    }

    fn file(&self, name: &str, content: &str) {
        self.directory(Path::new(name).parent().unwrap().to_str().unwrap());
        fs::write(self.path(name), content).unwrap();
    }

    /// A layer from which a shell can run, when /usr is bind-mounted in it.
    fn base(&self, name: &str) -> PathBuf {
        let base = self.directory(name);
        self.directory(&format!("{name}/usr"));
        for link in ["bin", "lib", "lib64"] {
            symlink(format!("usr/{link}"), base.join(link)).unwrap();
        }
        base
    }
}

/// The spec of a root with these layers.
fn spec(layers: &[PathBuf], upper: Option<&Path>, more: &str) -> String {
    let quoted = |path: &Path| format!("{:?}", path.to_str().unwrap());
    let layers: Vec<String> = layers.iter().map(|layer| quoted(layer)).collect();
    let upper = upper.map(|upper| format!(", upper: {}", quoted(upper))).unwrap_or_default();
    let usr = "{ type: bind, source: /usr, target: /usr, readonly: true }";
    format!(
        "rootfs: {{ layers: [{}]{upper} }}\npid:\nuts: {{ hostname: box }}\nmnt:\n  mounts:\n  - {usr}\n{more}\n",
        layers.join(", ")
    )
}

fn run(spec: &str, script: &str) -> Output {
    feed(&mut sandbox(&["run", "-", "-q", "--", "sh", "-c", script]), spec)
}

/// The output of a script that must succeed.
fn said(spec: &str, script: &str) -> String {
    let output = run(spec, script);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{spec}\n{script}\n{:?}\n{out}\n{err}", output.status);
    out
}

/// The error of a container that must not start, in one line.
fn refused(spec: &str) -> String {
    let output = run(spec, "true");
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{spec}\n{error}");
    error.replace(" \\\n", " ").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// All below a directory: path, kind, mode, inode, modification time and content.
fn fingerprint(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut left = vec![directory.to_owned()];
    while let Some(path) = left.pop() {
        let about = path.symlink_metadata().unwrap();
        let (mode, inode, time) = (about.mode(), about.ino(), (about.mtime(), about.mtime_nsec()));
        let content = if about.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        found.push(format!("{} {mode:o} {inode} {time:?} {content:?}", path.display()));
        if about.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    found.sort();
    found
}

/// The names below a directory, with `=0:0` for a whiteout and `/` for a directory.
fn tree(directory: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut left = vec![directory.to_owned()];
    while let Some(path) = left.pop() {
        for entry in fs::read_dir(&path).unwrap() {
            let path = entry.unwrap().path();
            let about = path.symlink_metadata().unwrap();
            let name = path.strip_prefix(directory).unwrap().to_str().unwrap().to_owned();
            let is_whiteout = about.mode() & libc::S_IFMT == libc::S_IFCHR && about.rdev() == 0;
            names.push(match () {
                () if about.is_dir() => format!("{name}/"),
                () if is_whiteout => format!("{name}=0:0"),
                () => name,
            });
            if about.is_dir() {
                left.push(path);
            }
        }
    }
    names.sort();
    names
}

fn table() -> String {
    fs::read_to_string("/proc/self/mountinfo").unwrap()
}

/// If /bin is not a link to /usr/bin, programs cannot run from /usr alone.
fn has_usr_alone(test: &str) -> bool {
    let has = Path::new("/bin").is_symlink();
    if !has {
        skip(test, "machine: /bin isn't a link to /usr/bin");
    }
    has
}

#[test]
fn the_first_layer_is_on_top_and_what_a_run_deletes_stays_deleted() {
    if !has_usr_alone("the_first_layer_is_on_top_and_what_a_run_deletes_stays_deleted") {
        return;
    }
    let _alone = alone();
    for variant in sample(2, variants()) {
        let place = Place::new();
        let base = place.base("base");
        for (name, content) in [
            ("base/file", "base"),
            ("base/hidden", "base"),
            ("base/dir/base", ""),
            ("base/gone", "base"),
            ("base/old/file", ""),
            ("middle/file", "middle"),
            ("middle/dir/middle", ""),
            ("middle/hidden/inner", ""),
            ("top/file", "top"),
        ] {
            place.file(name, content);
        }
        // On another filesystem, and for an ordinary user without the right to write.
        let other = tempfile::tempdir_in("/dev/shm").unwrap();
        fs::write(other.path().join("elsewhere"), "shm").unwrap();
        fs::set_permissions(other.path(), fs::Permissions::from_mode(0o555)).unwrap();
        let mut layers = vec![place.path("top"), place.path("middle"), other.path().to_owned(), base.clone()];
        let before = (fingerprint(place.0.path()), fingerprint(other.path()), table());
        let script = "cat /file; ls /dir /hidden; cat /gone /elsewhere; ls /old; echo x > /file";
        let shown = said(&spec(&layers, None, variant), script);
        assert_eq!(shown, "top/dir:\nbase\nmiddle\n\n/hidden:\ninner\nbaseshmfile\n", "{variant}");
        assert_eq!((fingerprint(place.0.path()), fingerprint(other.path()), table()), before, "{variant}");

        fs::set_permissions(other.path(), fs::Permissions::from_mode(0o755)).unwrap();

        // Kept: exactly what the command writes.
        let upper = place.directory("box/upper");
        let kept = spec(&layers, Some(&upper), variant);
        said(&kept, "cat /file > /dev/null; ls / > /dev/null");
        assert_eq!(tree(&upper), Vec::<String>::new(), "{variant}");
        let lowers = [&layers[0], &layers[1], &layers[3]].map(|layer| fingerprint(layer));
        said(
            &kept,
            "rm /gone; rm -r /old; mkdir /old; echo new > /old/new; echo changed > /file; mkdir /etc/mine",
        );
        let written = ["etc/", "etc/mine/", "file", "gone=0:0", "old/", "old/new"];
        assert_eq!(tree(&upper), written, "{variant}");
        let check = "test ! -e /gone && ls /old && cat /file && ls -d /etc/mine";
        let shows = "new\nchanged\n/etc/mine\n";
        assert_eq!(said(&kept, check), shows, "{variant}");
        assert_eq!(tree(&upper), written, "{variant}");
        assert_eq!([&layers[0], &layers[1], &layers[3]].map(|layer| fingerprint(layer)), lowers, "{variant}");
        // A kept upper directory is a layer of another container.
        layers.insert(0, upper.clone());
        assert_eq!(said(&spec(&layers, None, variant), check), shows, "{variant}");
        layers.remove(0);
        // With and without a user namespace, the kernel marks an opaque directory by different attributes.
        for other in variants() {
            assert_eq!(said(&spec(&layers, Some(&upper), other), check), shows, "{variant}, then {other}");
        }
        let about = upper.join("file").metadata().unwrap();
        assert_eq!(about.uid(), fs::metadata(&base).unwrap().uid(), "{variant}: as in a layer");
        assert_eq!(table(), before.2, "{variant}");
    }
}

/// What a layer can have in place of a file of /etc.
const FORMS: [&str; 6] =
    ["nothing", "a file", "a link outside", "a dangling link", "a directory", "a link of /etc"];

#[test]
fn hosts_and_the_like_are_the_containers_own_whatever_the_layers_have() {
    if !has_usr_alone("hosts_and_the_like_are_the_containers_own_whatever_the_layers_have") {
        return;
    }
    let _alone = alone();
    for form in sample(2, FORMS) {
        let place = Place::new();
        let base = place.base("base");
        place.file("outside", "canary");
        for name in ["hosts", "hostname", "resolv.conf"] {
            let file = base.join("etc").join(name);
            match form {
                "nothing" => {}
                "a link of /etc" => {
                    place.file(&format!("base/conf/{name}"), "the layer's");
                    let _ = symlink("/conf", base.join("etc"));
                }
                form => {
                    place.directory("base/etc");
                    match form {
                        "a file" => fs::write(file, "the layer's").unwrap(),
                        "a link outside" => symlink(place.path("outside"), file).unwrap(),
                        "a dangling link" => symlink("../run/none", file).unwrap(),
                        _ => fs::create_dir(file).unwrap(),
                    }
                }
            }
        }
        let before = fingerprint(&base);
        let upper = place.directory("box/upper");
        let script = "cat /etc/hostname; head -n 1 /etc/hosts; tail -n 1 /etc/hosts; test -f /etc/resolv.conf; \
                      cat /etc/resolv.conf; echo more >> /etc/hosts; rm /etc/hosts 2> /dev/null || echo kept";
        for upper in [None, Some(&*upper)] {
            let shown = said(&spec(std::slice::from_ref(&base), upper, "net:"), script);
            let lines: Vec<&str> = shown.lines().collect();
            assert_eq!(lines[..3], ["box", "127.0.0.1\tlocalhost", "127.0.1.1\tbox"], "{form}: {shown}");
            assert_eq!(lines.last(), Some(&"kept"), "{form}: {shown}");
            assert!(!shown.contains("the layer's") && !shown.contains("canary"), "{form}: {shown}");
        }
        assert_eq!(tree(&upper), Vec::<String>::new(), "{form}");
        assert_eq!(fingerprint(&base), before, "{form}");
        assert_eq!(fs::read(place.path("outside")).unwrap(), b"canary", "{form}");
    }
}

#[test]
fn mount_points_are_never_written_to_the_upper_directory() {
    if !has_usr_alone("mount_points_are_never_written_to_the_upper_directory") {
        return;
    }
    let _alone = alone();
    for variant in sample(3, variants()) {
        let place = Place::new();
        let base = place.base("base");
        place.file("base/old/file", "");
        let home = place.directory("base/srv/home");
        fs::set_permissions(&home, fs::Permissions::from_mode(0o750)).unwrap();
        let owner = if is_root() && variant.is_empty() { 1000 } else { 0 };
        if owner > 0 {
            std::os::unix::fs::chown(&home, Some(owner), Some(owner)).unwrap();
        }
        let upper = place.directory("box/upper");
        let mounts = "  - { type: tmpfs, target: /srv/home/a/b }\n  - { type: tmpfs, target: /srv/home/a/b/c }\n  \
                      - { type: bind, source: /etc/passwd, target: /opt/file }\n";
        let spec = spec(&[base], Some(&upper), &format!("{mounts}{variant}"));
        let shown = said(&spec, "stat -c %a:%u /srv/home; ls /srv/home/a/b; test -s /opt/file && echo there");
        assert_eq!(shown, format!("750:{owner}\nc\nthere\n"), "{variant}");
        assert_eq!(tree(&upper), Vec::<String>::new(), "{variant}");
        // A directory that replaced another one is opaque, so a mount point in it would have to be made there.
        said(&spec, "rm -r /old; mkdir /old");
        let below = spec.replace("/opt/file }", "/opt/file }\n  - { type: tmpfs, target: /old/point }");
        let error = refused(&below);
        assert!(error.contains("would stay there") && error.contains("mkdir -p"), "{variant}: {error}");
        assert_eq!(tree(&upper), ["old/"], "{variant}");
        let advice = error.rsplit("create it first: ").next().unwrap();
        assert!(Command::new("sh").args(["-c", advice]).status().unwrap().success(), "{error}");
        said(&below, "true");
    }
}

#[test]
fn what_overlayfs_would_refuse_is_refused_before() {
    let place = Place::new();
    let (a, b) = (place.base("a"), place.directory("b"));
    let (inner, file) = (place.directory("a/inner"), place.path("file"));
    fs::write(&file, "").unwrap();
    let upper = place.directory("box/upper");
    let same = place.path("same");
    symlink(&a, &same).unwrap();
    place.file("mine/upper.work/thesis", "");
    let (mine, missing) = (place.directory("mine/upper"), place.path("missing"));
    let before = fingerprint(place.0.path());
    let two = |one: &Path, other: &Path| spec(&[one.to_owned(), other.to_owned()], None, "");
    let with = |upper: &Path| spec(&[a.clone(), b.clone()], Some(upper), "");
    for (spec, words) in [
        (spec(&[], None, ""), "at least one lower directory"),
        (two(&a, &missing), "must be a directory"),
        (two(&file, &b), "must be a directory"),
        (two(&a, Path::new("/")), "use `rootfs: host`"),
        (two(&a, &a), "the same directory as"),
        (two(&a, &same), "the same directory as"),
        (two(&inner, &a), "It contains"),
        (two(&a, &inner), "It is in"),
        (with(&missing), "mkdir -p"),
        (with(&file), "must be a directory"),
        (with(&a), "the same directory as"),
        (with(&inner), "It is in"),
        (with(place.0.path()), "It contains"),
        (with(&mine), "It has files of something else"),
        (with(&place.path("mine/upper.work")), "It is the work directory of"),
        (with(Path::new("/proc/self/fd")), "125"),
    ] {
        if words == "125" {
            refused(&spec);
            continue;
        }
        let error = refused(&spec);
        assert!(error.contains(words), "{spec}: {error}");
    }
    if is_root() {
        // An overlay is no place for an upper directory.
        let script = format!(
            "mount -t tmpfs tmpfs /mnt && mkdir -p /mnt/u /mnt/w /mnt/o && \
             mount -t overlay -o lowerdir={},upperdir=/mnt/u,workdir=/mnt/w overlay /mnt/o && mkdir /mnt/o/up && \
             exec {} run - -q -- true",
            b.display(),
            binary().display()
        );
        let mut unshared = Command::new("unshare");
        unshared.args(["--mount", "--propagation", "private", "sh", "-c", &script]);
        let error = text(&feed(&mut unshared, with(Path::new("/mnt/o/up"))).stderr);
        assert!(error.contains("filesystem of the type overlay"), "{error}");
    } else {
        fs::set_permissions(&upper, fs::Permissions::from_mode(0o555)).unwrap();
        assert!(refused(&with(&upper)).contains("may not be written"), "{}", upper.display());
        fs::set_permissions(&upper, fs::Permissions::from_mode(0o755)).unwrap();
    }
    assert_eq!(fingerprint(place.0.path()).len(), before.len());
}

/// The lines of a trace with the calls that make an overlay, and the number of fsconfig(2) in it that adds the first layer.
fn first_layer(trace: &str) -> Option<usize> {
    let calls: Vec<&str> = trace.lines().filter(|line| line.contains("fsconfig(")).collect();
    calls.iter().position(|line| line.contains("\"lowerdir+\"")).map(|at| at + 1)
}

#[test]
fn there_can_be_127_layers_on_any_kernel() {
    let test = "there_can_be_127_layers_on_any_kernel";
    if !has_usr_alone(test) {
        return;
    }
    let _alone = alone();
    let place = Place::new();
    // Characters with a meaning in the options of mount(2).
    let mut layers: Vec<PathBuf> = (1..127)
        .map(|number| {
            place.file(&format!("l,{number}:x\\=/who"), &format!("{number}"));
            place.file(&format!("l,{number}:x\\=/of/{number}"), "");
            place.path(&format!("l,{number}:x\\="))
        })
        .collect();
    layers.push(place.base("base"));
    let upper = place.directory("box/up,p:e\\r");
    let whole = spec(&layers, Some(&upper), "");
    let script = "cat /who; ls /of | wc -l; echo >> /lines; wc -l < /lines";
    assert_eq!(said(&whole, script), "1126\n1\n");
    layers.push(place.directory("more"));
    let error = run(&spec(&layers, None, ""), "true");
    assert_eq!(error.status.code(), Some(125));
    assert!(text(&error.stderr).contains("at most 127"), "{}", text(&error.stderr));
    // A kernel before 6.7 does not know `lowerdir+`. There mount(2) is called.
    if !Path::new("/usr/bin/strace").exists() {
        return skip(test, "strace(1) isn't installed");
    }
    let log = place.path("log");
    let traced = |inject: &[&str]| {
        let mut strace = Command::new("strace");
        strace
            .args(["-f", "-qq", "-e", "trace=fsconfig,mount,uname"])
            .args(inject)
            .arg("-o")
            .arg(&log)
            .arg(binary());
        let output = feed(strace.args(["run", "-", "-q", "--", "sh", "-c", script]).current_dir("/"), &whole);
        (text(&output.stdout) + &text(&output.stderr), fs::read_to_string(&log).unwrap())
    };
    let (shown, trace) = traced(&[]);
    assert_eq!(shown, "1126\n2\n");
    let Some(first) = first_layer(&trace) else { panic!("{trace}") };
    // An error there is reported as it is: no other interface is tried.
    let (shown, trace) = traced(&["-e", &format!("inject=fsconfig:error=EINVAL:when={first}")]);
    assert!(shown.contains("fsconfig") && shown.contains("EINVAL"), "{shown}");
    assert!(!trace.contains("mount(\"overlay\""), "{trace}");
    // uname(2) reports 6.1 in place of this machine's release: each name has 65 bytes.
    let names = ["Linux", "host", "6.1.0"].map(|name| format!("{name:\0<65}"));
    let names: String = names.concat().bytes().map(|byte| format!("{byte:02x}")).collect();
    let (shown, trace) = traced(&["-e", &format!("inject=uname:poke_exit=@arg1={names}")]);
    assert_eq!(shown, "1126\n3\n", "{trace}");
    assert!(trace.contains("mount(\"overlay\", \"/\", \"overlay\", MS_NODEV"), "{trace}");
}
