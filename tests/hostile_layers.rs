//! Layers that try to leave their directory: each kind of entry, under each kind of name, after each preparation.
//!
//! Outside of the layer is a tree of files. None of them may change: no inode, no mode, no owner, no time. The time of the
//! last change of an inode (ctime) shows a change of its attributes too.
//!
//! Other inputs of the same kind as the ones here:
//! - names with `..`, absolute, through links that this layer or a lower one has made; with null bytes, of 5 kB, not UTF-8.
//! - links to such names; entries that replace a link or a directory by something else; whiteouts and opaque marks there.
#![cfg(feature = "images")]

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use support::image::{Layer, gzip};
use support::{binary, is_root, sample};

/// What can be seen of each file of a tree.
fn state_of(directory: &Path) -> Vec<(PathBuf, [i64; 8])> {
    let mut all = Vec::new();
    let mut left = vec![directory.to_owned()];
    while let Some(path) = left.pop() {
        let about = fs::symlink_metadata(&path).unwrap();
        if about.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        let ids =
            [about.ino(), about.mode().into(), about.uid().into(), about.gid().into()].map(u64::cast_signed);
        let [ino, mode, uid, gid] = ids;
        let times = [about.mtime(), about.mtime_nsec(), about.ctime(), about.ctime_nsec()];
        let [mtime, mtime_nsec, ctime, ctime_nsec] = times;
        all.push((path, [ino, mode, uid, gid, mtime, mtime_nsec, ctime, ctime_nsec]));
    }
    all.sort();
    all
}

/// A world of its own: a tree that must not change, a lower layer, and the directory of a layer.
struct World {
    directory: tempfile::TempDir,
}

impl World {
    fn new() -> World {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for name in ["canary", "canary/inner", "lower", "lower/real", "lower/deep", "lower/deep/er"] {
            fs::create_dir(at(name)).unwrap();
        }
        for name in ["canary/file", "canary/inner/file", "canary/program", "lower/file"] {
            fs::write(at(name), name).unwrap();
        }
        symlink("file", at("canary/link")).unwrap();
        symlink(at("canary"), at("lower/out")).unwrap();
        symlink("../../canary", at("lower/up")).unwrap();
        symlink("real", at("lower/in")).unwrap();
        symlink("loop", at("lower/loop")).unwrap();
        World { directory }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Unpacks a layer. Returns the last message of the process.
    fn unpack(&self, archive: &[u8]) -> Value {
        let layer = self.at("layer");
        fs::create_dir(&layer).unwrap();
        let maps = (!is_root()).then(|| {
            let own = |id: u32| json!([{ "inside": 0, "outside": id, "count": 1 }]);
            json!({ "users": own(nix::unistd::getuid().as_raw()), "groups": own(nix::unistd::getgid().as_raw()) })
        });
        let task = json!({ "directory": layer, "work": { "unpack": [self.at("lower")] }, "maps": maps });
        let (own, theirs) = UnixStream::pair().unwrap();
        let file = self.at("archive");
        fs::write(&file, archive).unwrap();
        let mut child = Command::new(binary())
            .args(["__unpack", &task.to_string()])
            .stdin(fs::File::open(&file).unwrap())
            .stdout(OwnedFd::from(theirs))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut message = String::new();
        for line in BufReader::new(&own).lines() {
            message = line.unwrap();
            // The layer below is complete.
            if message == "\"lowers\"" {
                (&own).write_all(b"\n").unwrap();
            }
        }
        let mut errors = String::new();
        child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        assert!(child.wait().unwrap().success() && errors.is_empty(), "{errors}");
        serde_json::from_str(&message).unwrap_or_else(|_| panic!("{message}"))
    }

    fn remove_layer(&self) {
        fs::remove_dir_all(self.at("layer")).unwrap();
    }
}

/// A kind of entry.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    File,
    Directory,
    Symlink,
    HardLink,
    Fifo,
    Device,
    Attribute,
    Whiteout,
    Opaque,
}

const KINDS: [Kind; 9] = [
    Kind::File,
    Kind::Directory,
    Kind::Symlink,
    Kind::HardLink,
    Kind::Fifo,
    Kind::Device,
    Kind::Attribute,
    Kind::Whiteout,
    Kind::Opaque,
];

/// Adds an entry of this kind.
fn add(layer: Layer, kind: Kind, name: &[u8], link: &[u8]) -> Layer {
    let above = |mark: &[u8]| {
        let slash = name.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
        [&name[..slash], mark, &name[slash..]].concat()
    };
    let open = |header: &mut tar::Header| header.set_mode(0o7777);
    match kind {
        Kind::File => layer.entry(name, b'0', b"", b"overwritten", open),
        Kind::Directory => layer.entry(name, b'5', b"", b"", open),
        Kind::Symlink => layer.entry(name, b'2', link, b"", open),
        Kind::HardLink => layer.entry(name, b'1', link, b"", open),
        Kind::Fifo => layer.entry(name, b'6', b"", b"", open),
        Kind::Device => layer.entry(name, b'3', b"", b"", |header| {
            header.set_device_major(1).unwrap();
            header.set_device_minor(3).unwrap();
        }),
        Kind::Attribute => layer
            .pax(&[("SCHILY.xattr.user.new", b"1"), ("SCHILY.xattr.trusted.overlay.redirect", b"/canary")])
            .entry(name, b'0', b"", b"", open),
        Kind::Whiteout => layer.entry(&above(b".wh."), b'0', b"", b"", open),
        Kind::Opaque => {
            let name = [name, b"/.wh..wh..opq"].concat();
            layer.entry(&name, b'0', b"", b"", open)
        }
    }
}

#[test]
fn no_layer_changes_what_is_outside() {
    let world = World::new();
    let canary = world.at("canary").to_str().unwrap().to_owned();
    let outside: Vec<Vec<u8>> = [
        "../canary/file",
        "../../canary/file",
        "a/../../canary/file",
        "./../canary/file",
        "out/file",
        "out/inner/file",
        "up/file",
        "in/../../canary/file",
        "mine/file",
        "mine/inner/new",
        "chain/file",
        "loop/file",
        "out",
        "mine",
        "..",
        ".",
        "/",
        "",
        "file/below",
        "in/new",
        "deep/er/new",
    ]
    .into_iter()
    .map(|name| name.as_bytes().to_vec())
    .chain([
        format!("{canary}/file").into_bytes(),
        format!("/{canary}/new").into_bytes(),
        b"in/\xff\xfe".to_vec(),
        b"mine/".repeat(1000),
        [&b"x".repeat(5000)[..], b"/file"].concat(),
    ])
    .collect();
    // What a layer does before, to `mine`.
    let preparations: [(&str, &dyn Fn(Layer) -> Layer); 6] = [
        ("nothing", &|layer| layer),
        ("an absolute link", &|layer| layer.symlink("mine", &canary)),
        ("a relative link", &|layer| layer.symlink("mine", "../canary").symlink("chain", "mine")),
        ("a link over a directory", &|layer| {
            layer.directory("mine").file("mine/file", "").symlink("mine", &canary)
        }),
        ("a hard link to a link", &|layer| {
            layer.symlink("first", &canary).hard_link("mine", "first").hard_link("chain", "out")
        }),
        ("a link, deleted and made again", &|layer| {
            layer.symlink("mine", &canary).file(".wh.mine", "").symlink("mine", "/proc/self/root")
        }),
    ];
    let mut cases = Vec::new();
    for name in &outside {
        for (at, _) in preparations.iter().enumerate() {
            for kind in KINDS {
                let links: Vec<&[u8]> = match kind {
                    Kind::Symlink | Kind::HardLink => outside.iter().map(Vec::as_slice).step_by(5).collect(),
                    _ => vec![b""],
                };
                cases.extend(links.into_iter().map(|link| (name.clone(), at, kind, link.to_owned())));
            }
        }
    }
    assert!(cases.len() >= 2000, "{}", cases.len());
    let before = state_of(&world.at("canary"));
    let lower = state_of(&world.at("lower"));
    let mut unpacked = 0;
    for (name, at, kind, link) in sample(40, cases) {
        let (preparation, prepare) = preparations[at];
        // What follows goes through what was made.
        let layer = add(prepare(Layer::new()), kind, &name, &link);
        let archive = layer.file("mine/late", "late").directory("out/late").tar();
        let message = world.unpack(&archive);
        let what = format!("{kind:?} {:?} after {preparation}: {message}", String::from_utf8_lossy(&name));
        assert_eq!(state_of(&world.at("canary")), before, "{what}");
        assert_eq!(state_of(&world.at("lower")), lower, "{what}");
        assert!(message.get("unpacked").is_some() || message.get("unreadable").is_some(), "{what}");
        unpacked += u32::from(message.get("unpacked").is_some());
        world.remove_layer();
    }
    // Not everything is refused: most of these names lead to a place in the layer.
    assert!(unpacked > 0);
}

#[test]
fn marks_of_an_overlay_are_not_taken_from_a_layer() {
    let world = World::new();
    for (layer, words) in [
        (
            Layer::new().entry(b"mark", b'3', b"", b"", |header| {
                header.set_device_major(0).unwrap();
                header.set_device_minor(0).unwrap();
            }),
            "0:0",
        ),
        (Layer::new().file("a/.wh.", ""), "marks no file"),
        (Layer::new().file(".wh...", ""), "marks no file"),
        (Layer::new().file(".wh..", ""), "marks no file"),
        (Layer::new().file(".wh.a/b", ""), "marks no file"),
        (Layer::new().file("..", ""), "leaves the layer"),
        (Layer::new().file(".", ""), "is a directory"),
        (Layer::new().pax(&[("path", b"a\0b")]).file("a", ""), "null byte"),
        (Layer::new().hard_link("a", "nothing"), "does not exist"),
        (Layer::new().hard_link("a", "real"), "does not exist or is a directory"),
        (Layer::new().file("loop/a", ""), "leads to itself"),
        (Layer::new().entry(b"s", b'S', b"", b"", |_| ()), "sparse"),
        (
            Layer::new().entry(b"huge", b'0', b"", b"", |header| header.set_size(1 << 50)),
            "ends in the middle",
        ),
        (Layer::new().entry(b"long", b'L', b"", b"", |header| header.set_size(1 << 30)), "more than 1 MiB"),
    ] {
        let message = world.unpack(&layer.tar());
        let why = message["unreadable"].as_str().unwrap_or_else(|| panic!("{words}: {message}"));
        assert!(why.contains(words), "{words}: {why}");
        world.remove_layer();
    }
}

#[test]
fn the_process_has_no_other_root_and_few_capabilities() {
    let world = World::new();
    // It waits for more input.
    let layer = world.at("layer");
    fs::create_dir(&layer).unwrap();
    let maps = (!is_root()).then(|| {
        let own = |id: u32| json!([{ "inside": 0, "outside": id, "count": 1 }]);
        json!({ "users": own(nix::unistd::getuid().as_raw()), "groups": own(nix::unistd::getgid().as_raw()) })
    });
    let task = json!({ "directory": layer, "work": { "unpack": [] }, "maps": maps });
    let (own, theirs) = UnixStream::pair().unwrap();
    let mut child = Command::new(binary())
        .args(["__unpack", &task.to_string()])
        .stdin(Stdio::piped())
        .stdout(OwnedFd::from(theirs))
        .spawn()
        .unwrap();
    let process = PathBuf::from(format!("/proc/{}", child.id()));
    let status = || fs::read_to_string(process.join("status")).unwrap_or_default();
    let field = |name: &str| {
        let status = status();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned();
        line.trim().to_owned()
    };
    support::wait_until("it is confined", || {
        field("CapPrm:").ends_with("000000880000000b") || {
            let permitted = u64::from_str_radix(&field("CapPrm:"), 16).unwrap_or(u64::MAX);
            // CAP_CHOWN, DAC_OVERRIDE, FOWNER, FSETID, MKNOD, SETFCAP; for root also SYS_ADMIN.
            let most = [0, 1, 3, 4, 21, 27, 31].map(|bit| 1_u64 << bit).into_iter().sum::<u64>();
            field("NoNewPrivs:") == "1" && permitted & !most == 0
        }
    });
    if is_root() {
        assert_eq!(fs::read_link(process.join("root")).unwrap(), layer);
    }
    drop(child.stdin.take());
    drop(own);
    child.wait().unwrap();
}

#[test]
fn directories_keep_their_times_however_many_they_are() {
    let world = World::new();
    // Paths of 2.6 kB, and together more than are kept in memory.
    let deep = vec!["x".repeat(200); 13].join("/");
    let mut layer = Layer::new().directory("early").directory("early/old");
    let mut path = String::new();
    for part in deep.split('/') {
        path = if path.is_empty() { part.to_owned() } else { format!("{path}/{part}") };
        layer = layer.directory(&path);
    }
    let count = 7000;
    for number in 0..count {
        layer = layer.directory(&format!("{deep}/{number}"));
    }
    // These change directories whose times were set.
    layer = layer.file("early/old/file", "").file("early/a/b/file", "").file(&format!("{deep}/0/file"), "");
    let message = world.unpack(&layer.tar());
    assert!(message.get("unpacked").is_some(), "{message}");
    let time = |name: &str| fs::symlink_metadata(world.at("layer").join(name)).unwrap().mtime();
    for name in ["early", "early/old", &path, &format!("{deep}/0"), &format!("{deep}/{}", count - 1)] {
        assert_eq!(time(name), 1_000_000_000, "{}", &name[name.len().saturating_sub(10)..]);
    }
}

/// Too many entries are found by their headers, long before that many files are made.
#[test]
fn a_layer_with_too_many_entries_is_refused_before_they_are_made() {
    let world = World::new();
    let part = |first: usize, count: usize| {
        let names = (first..first + count).map(|number| format!("{}/{number}", number % 100));
        let layer = names.fold(Layer::new(), |layer, name| layer.file(&name, ""));
        let mut tar = layer.tar();
        tar.truncate(count * 512);
        gzip(&tar)
    };
    // gzip(1) joins files: the same names again and again behind 30,000 others.
    let mut archive = part(0, 30_000);
    let again = part(0, 10_000);
    (0..98).for_each(|_| archive.extend(&again));
    let message = world.unpack(&archive);
    assert!(message["unreadable"].as_str().unwrap().contains("more than 1000000 entries"), "{message}");
    let directories = fs::read_dir(world.at("layer")).unwrap().flatten();
    let made: usize = directories.map(|one| fs::read_dir(one.path()).unwrap().count()).sum();
    assert!((15_000..30_000).contains(&made), "{made}");
}

#[test]
fn a_hard_link_to_a_lower_layer_has_all_of_the_file() {
    let world = World::new();
    let lower = world.at("lower");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        lower.join("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let mode = |name: &str, mode| {
        fs::set_permissions(lower.join(name), std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    };
    mode("fifo", 0o6755);
    mode("file", 0o6755);
    let flags = rustix::fs::XattrFlags::empty();
    let mut attributes = vec![("user.note", b"x".to_vec())];
    if is_root() {
        // CAP_NET_RAW, as ping has it.
        let capability = [&[1, 0, 0, 2, 0, 0x20][..], &[0; 14]].concat();
        attributes.push(("security.capability", capability));
    }
    // Not every filesystem has them.
    attributes.retain(|(name, value)| rustix::fs::setxattr(lower.join("file"), *name, value, flags).is_ok());
    let old = rustix::fs::Timespec { tv_sec: 1_000, tv_nsec: 5 };
    let times = rustix::fs::Timestamps { last_access: old, last_modification: old };
    let names = ["file", "in", "fifo"];
    for name in names {
        let link = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::utimensat(rustix::fs::CWD, lower.join(name), &times, link).unwrap();
    }
    let layer = names.iter().fold(Layer::new(), |layer, name| layer.hard_link(&format!("new-{name}"), name));
    let message = world.unpack(&layer.tar());
    assert_eq!(message["unpacked"]["counts"]["attributes"], 0, "{message}");
    for name in names {
        let [one, other] = [lower.join(name), world.at("layer").join(format!("new-{name}"))]
            .map(|path| fs::symlink_metadata(path).unwrap());
        let seen = |about: &fs::Metadata| {
            (about.mode(), about.uid(), about.gid(), about.mtime(), about.mtime_nsec(), about.len())
        };
        assert_eq!(seen(&other), seen(&one), "{name}");
    }
    for (name, value) in attributes {
        let mut found = [0; 100];
        let length = rustix::fs::getxattr(world.at("layer/new-file"), name, &mut found).unwrap();
        assert_eq!(found[..length], value, "{name}");
    }
}
