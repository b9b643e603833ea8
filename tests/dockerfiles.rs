//! Twenty Dockerfiles of kinds that public projects have, in tests/dockerfiles: each with the files and the config of its image.
//!
//! `expected.txt` beside a Dockerfile lists what the image has besides its base image: kind, mode, owner, content. tests/build_peers.rs
//! compares the images with those that buildah builds.
//!
//!     SANDBOX_UPDATE=1 cargo test --test dockerfiles     writes expected.txt anew
//!
//! Other inputs of the same kind as the ones here:
//! - the Dockerfiles of real projects, with the base images that they name.
#![cfg(feature = "images")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::build::{PATH, base, build};
use support::image::{Layer, digest};
use support::kept::KeptHome;
use support::{is_root, sample};

/// A file of an image: everything except its time.
type Tree = BTreeMap<String, String>;

fn all() -> Vec<String> {
    let entries = fs::read_dir(support::repository().join("tests/dockerfiles")).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names.len(), 20, "{names:?}");
    names
}

/// Copies a context. A checkout can have other modes.
fn copied(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    fs::set_permissions(to, fs::Permissions::from_mode(0o755)).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (name, path) = entry.map(|entry| (entry.file_name(), entry.path())).unwrap();
        let target = to.join(&name);
        if path.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&path).unwrap(), &target).unwrap();
        } else if path.is_dir() {
            copied(&path, &target);
        } else if name != "expected.txt" {
            fs::write(&target, fs::read(&path).unwrap()).unwrap();
            let mode = if name.to_string_lossy().ends_with(".sh") { 0o755 } else { 0o644 };
            fs::set_permissions(&target, fs::Permissions::from_mode(mode)).unwrap();
        }
    }
}

fn prepared(home: &KeptHome, name: &str) -> PathBuf {
    let to = home.around().join(name);
    copied(&support::repository().join("tests/dockerfiles").join(name), &to);
    if name == "add-archive" {
        let layer = Layer::new().directory("bin").file("bin/program", "p\n").symlink("link", "bin/program");
        let layer = layer.directory("etc").hard_link("etc/hard", "bin/program").file("etc/config", "c\n");
        fs::write(to.join("rootfs.tar"), layer.tar()).unwrap();
    }
    to
}

/// The files in an archive.
fn tree(archive: &Path) -> Tree {
    let mut archive = tar::Archive::new(fs::File::open(archive).unwrap());
    let mut all = Tree::new();
    let mut contents: BTreeMap<String, String> = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().display().to_string();
        let path = path.trim_start_matches("./").trim_matches('/').to_owned();
        if path.is_empty() {
            continue;
        }
        let header = entry.header().clone();
        let link = entry.link_name().unwrap().map(|link| link.display().to_string());
        let owner = format!("{}:{}", header.uid().unwrap(), header.gid().unwrap());
        let mode = header.mode().unwrap() & 0o7777;
        let described = match header.entry_type() {
            tar::EntryType::Directory => format!("directory {mode:04o} {owner}"),
            tar::EntryType::Symlink => format!("link {owner} -> {}", link.unwrap()),
            // All names of a file are equal.
            tar::EntryType::Link => contents[link.unwrap().trim_start_matches("./")].clone(),
            _ => {
                let mut bytes = Vec::new();
                std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
                format!("file {mode:04o} {owner} {}", &digest(&bytes)[7..19])
            }
        };
        contents.insert(path.clone(), described.clone());
        all.insert(path, described);
    }
    all
}

/// What an image has besides another one, and the other way round.
fn differences(base: &Tree, tree: &Tree) -> Vec<String> {
    let added = tree.iter().filter(|(path, described)| base.get(*path) != Some(*described));
    let removed = base.keys().filter(|path| !tree.contains_key(*path));
    let mut lines: Vec<String> = added.map(|(path, described)| format!("{path}: {described}")).collect();
    lines.extend(removed.map(|path| format!("{path}: removed")));
    lines.sort();
    lines
}

/// The parts of a config that every builder writes, without those that are empty.
fn config(of: &Value) -> Value {
    let names = [
        "User",
        "ExposedPorts",
        "Env",
        "Entrypoint",
        "Cmd",
        "Volumes",
        "WorkingDir",
        "Labels",
        "StopSignal",
        "Healthcheck",
        "OnBuild",
        "Shell",
    ];
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    };
    let parts = names.iter().map(|name| ((*name).to_owned(), of[*name].clone()));
    parts.filter(|(_, value)| !is_empty(value)).collect::<serde_json::Map<_, _>>().into()
}

struct Lab {
    home: KeptHome,
    base: Tree,
    /// The tree of an image without files.
    none: Tree,
}

impl Lab {
    fn new() -> Lab {
        let home = KeptHome::new();
        let accounts = |layer: Layer| {
            layer
                .file("etc/passwd", "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n")
                .file("etc/group", "root:x:0:\n")
        };
        base(&home, "lab:1", accounts, json!({ "Env": [PATH] }));
        let lab = Lab { home, base: Tree::new(), none: Tree::new() };
        let directory = support::build::context(&lab.home, "base", "FROM lab:1\nLABEL a=b\n", &[]);
        let base = lab.built(&directory).0;
        Lab { base, ..lab }
    }

    /// The files and the config of the image of a context.
    fn built(&self, context: &Path) -> (Tree, Value) {
        let archive = self.home.around().join("image.tar");
        let output = format!("type=tar,dest={}", archive.display());
        build(&self.home, &["-t", "built", "-o", &output, context.to_str().unwrap()]);
        let inspected: Value = serde_json::from_str(&self.home.out(&["image", "inspect", "built"])).unwrap();
        (tree(&archive), config(&inspected[0]["Config"]))
    }

    fn below(&self, context: &Path) -> &Tree {
        let dockerfile = fs::read_to_string(context.join("Dockerfile")).unwrap();
        let last = dockerfile.lines().rfind(|line| line.to_lowercase().starts_with("from ")).unwrap();
        if last.ends_with("scratch") { &self.none } else { &self.base }
    }
}

#[test]
fn each_dockerfile_gives_the_expected_image() {
    let lab = Lab::new();
    for name in sample(4, all()) {
        let context = prepared(&lab.home, &name);
        let (tree, config) = lab.built(&context);
        let mut found = differences(lab.below(&context), &tree);
        found.push(serde_json::to_string_pretty(&config).unwrap());
        let found = found.join("\n") + "\n";
        let path = support::repository().join("tests/dockerfiles").join(&name).join("expected.txt");
        if std::env::var_os("SANDBOX_UPDATE").is_some_and(|value| value == "1") {
            fs::write(&path, &found).unwrap();
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(without_owners(&found), without_owners(&expected), "{name}");
    }
}

/// With one ID, all files belong to root.
fn without_owners(listed: &str) -> String {
    if is_root() {
        return listed.to_owned();
    }
    let is_owner = |word: &&str| {
        word.split_once(':')
            .is_some_and(|(uid, gid)| uid.parse::<u32>().is_ok() && gid.parse::<u32>().is_ok())
    };
    let line = |line: &str| line.split(' ').filter(|word| !is_owner(word)).collect::<Vec<_>>().join(" ");
    listed.lines().map(line).collect::<Vec<_>>().join("\n")
}
