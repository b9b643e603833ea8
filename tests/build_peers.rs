//! Images that `sandbox build` and buildah make of the same Dockerfile: equal files and equal configs.
//!
//! A directory in `tests/build_peers` is a context. Beside its Dockerfile there can be:
//!
//! | file | what it is |
//! |---|---|
//! | `prepare.sh` | makes the files that a checkout cannot have: owners, modes, links, archives |
//! | `flags` | flags of `build` for both |
//! | `expected` | what buildah 1.28 does not know, written from Docker's reference: the image is compared with this |
//!
//! The Dockerfiles of tests/dockerfiles are compared too. Where buildah is known to be different, [`DIFFERENT`] has the reason.
#![cfg(feature = "images")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use support::image::digest;
use support::kept::KeptHome;
use support::{is_root, repository, sample, skip, text};

const VOLUMES: &str = "buildah makes the directories of VOLUME";
const SET_ID: &str =
    "buildah clears the set-user-ID bits when it changes the owner; Docker sets the mode after the owner";
const MOUNT_POINT: &str = "buildah leaves mount points in the layer";
const RANGE: &str = "buildah keeps a range of ports as one name; Docker has a name for each port";
const CASE: &str = "buildah keeps the case of a protocol";

/// A Dockerfile, a path or a key of the config, and why buildah is different there.
const DIFFERENT: &[(&str, &str, &str)] = &[
    ("arg-scopes", "other", VOLUMES),
    ("arg-scopes", "set/v", VOLUMES),
    ("arg-scopes", "WorkingDir", "buildah keeps a slash at the end"),
    ("copy-owners", "a/sub", SET_ID),
    ("copy-owners", "a/sub/s", SET_ID),
    ("copy-owners", "b/sub", SET_ID),
    ("copy-owners", "b/sub/s", SET_ID),
    ("copy-owners", "srv/there/sub", SET_ID),
    ("copy-owners", "srv/there/sub/s", SET_ID),
    (
        "dockerfiles.arg-before-from",
        "second",
        "buildah 1.28 gives a stage no build argument of the stage that it begins with; BuildKit does",
    ),
    ("dockerfiles.escape-directive", "Env", "buildah takes the backslash in a value for an escape"),
    ("dockerfiles.php-health", "Cmd", "buildah does not use SHELL for CMD"),
    ("dockerfiles.python-pip", "root/.cache", MOUNT_POINT),
    ("dockerfiles.ruby-forms", "Env", "buildah moves a changed variable to the end"),
    (
        "links-and-holes",
        "four",
        "buildah's vfs copies all files; an overlay copies a linked file of a lower layer",
    ),
    ("links-and-holes", "tree/one", "as four"),
    ("links-and-holes", "tree/two", "as four"),
    ("metadata", "data/file", "buildah discards what a step writes in a volume; BuildKit keeps it"),
    ("metadata", "more data", VOLUMES),
    ("metadata", "x", VOLUMES),
    ("metadata", "y", VOLUMES),
    ("metadata", "ExposedPorts 80/TCP", CASE),
    ("metadata", "ExposedPorts 80/tcp", CASE),
    ("nested-mounts", "c", MOUNT_POINT),
    ("nested-mounts", "c/inner", MOUNT_POINT),
    ("nested-mounts", "c/scratch", MOUNT_POINT),
    ("run-mounts", "nested", "buildah writes through a bind mount with rw into the context"),
    ("run-mounts", "mnt", MOUNT_POINT),
    ("run-mounts", "run/secrets", MOUNT_POINT),
    ("run-mounts", "var/cache", MOUNT_POINT),
    ("shells", "ExposedPorts 6000/tcp", RANGE),
    ("shells", "ExposedPorts 6001/tcp", RANGE),
    ("shells", "ExposedPorts 6002/tcp", RANGE),
    ("shells", "ExposedPorts 6000-6002/tcp", RANGE),
    ("symlinks", "real/tofile", "buildah replaces a link at the destination; Docker follows it"),
];

/// Contexts of tests/dockerfiles that are not built here, and why.
const NOT_BUILT: &[(&str, &str)] = &[
    ("dockerfiles/add-archive", "its test writes the archive; add-archives is compared"),
    ("dockerfiles/here-documents", "buildah 1.28 does not know them"),
    ("dockerfiles/metadata", "buildah runs its ONBUILD to mount it"),
    ("dockerfiles/onbuild", "buildah runs its ONBUILD to mount it"),
];

/// The programs of the base image.
const PROGRAMS: &str = "sh bash ls cat id stat find sort mkdir chmod chown ln cp touch tar grep sed head env printenv dd du \
    sha256sum rm mv test pwd sleep wc tr readlink true false mknod tail";

/// The directories of the base image, which are not compared with `expected`.
const BASE: &str = "usr bin lib lib64 dev proc sys etc run root var tmp";

/// The time of files that are older than the build.
const OLD: i64 = 1_577_836_800;

/// The parts of a config that both write.
const KEYS: &str =
    "User ExposedPorts Env Entrypoint Cmd Volumes WorkingDir Labels StopSignal Healthcheck OnBuild Shell";

fn sh(directory: &Path, script: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new("sh");
    command.args(["-ec", &format!("umask 022\n{script}"), "sh"]).args(arguments).current_dir(directory);
    command.output().unwrap()
}

fn done(directory: &Path, script: &str, arguments: &[&str]) -> String {
    let output = sh(directory, script, arguments);
    assert!(output.status.success(), "{script}: {} {}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout).trim().to_owned()
}

/// What is known of each file: kind, mode, owner, content, its first name, and the time if it is old.
fn files(root: &Path) -> BTreeMap<String, String> {
    let mut paths = Vec::new();
    let mut left = vec![PathBuf::new()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(root.join(&directory)).unwrap().map(Result::unwrap) {
            let path = directory.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                left.push(path.clone());
            }
            paths.push(path);
        }
    }
    paths.sort_by(|one, other| one.as_os_str().as_bytes().cmp(other.as_os_str().as_bytes()));
    let mut firsts: BTreeMap<u64, String> = BTreeMap::new();
    let mut all = BTreeMap::new();
    for path in paths {
        let (whole, name) = (root.join(&path), path.display().to_string());
        let found = whole.symlink_metadata().unwrap();
        let kind = found.file_type();
        let mut about = vec![
            match () {
                () if kind.is_dir() => "d",
                () if kind.is_file() => "f",
                () if kind.is_symlink() => "l",
                () if kind.is_fifo() => "p",
                () => "device",
            }
            .to_owned(),
        ];
        about.extend((!kind.is_symlink()).then(|| format!("{:o}", found.mode() & 0o7777)));
        about.push(format!("{}:{}", found.uid(), found.gid()));
        if kind.is_file() {
            let digest = digest(&fs::read(&whole).unwrap());
            about.push(format!("{} {}", found.len(), &digest["sha256:".len()..][..16]));
        }
        if kind.is_symlink() {
            about.push(format!("-> {}", fs::read_link(&whole).unwrap().display()));
        }
        if !kind.is_dir() {
            match firsts.get(&found.ino()) {
                Some(first) => about.push(format!("= {first}")),
                None => drop(firsts.insert(found.ino(), name.clone())),
            }
            // That of a directory is the time of its last change, of which the order is not told.
            about.push(if found.mtime() > OLD { "new".to_owned() } else { found.mtime().to_string() });
        }
        all.insert(name, about.join(" "));
    }
    all
}

/// The config by key. A map has a key for each of its own.
fn config(config: &Value) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for key in KEYS.split(' ') {
        match &config[key] {
            Value::Null => {}
            Value::Object(map) if key != "Healthcheck" => {
                let own = map.iter().filter(|(name, _)| *name != "io.buildah.version");
                all.extend(own.map(|(name, value)| (format!("{key} {name}"), value.to_string())));
            }
            Value::Object(map) => {
                let sorted: BTreeMap<_, _> = map.iter().collect();
                all.insert(key.to_owned(), serde_json::to_string(&sorted).unwrap());
            }
            Value::String(word) if word.is_empty() => {}
            Value::Array(list) if list.is_empty() => {}
            other => drop(all.insert(key.to_owned(), other.to_string())),
        }
    }
    all
}

/// What two have that is not equal.
fn differences(name: &str, own: &BTreeMap<String, String>, other: &BTreeMap<String, String>) -> Vec<String> {
    let is_known = |key: &str| DIFFERENT.iter().any(|(of, known, _)| *of == name && *known == key);
    let keys: std::collections::BTreeSet<_> = own.keys().chain(other.keys()).collect();
    let shown = |value: Option<&String>| value.cloned().unwrap_or_else(|| "nothing".to_owned());
    keys.into_iter()
        .filter(|key| !is_known(key) && own.get(*key) != other.get(*key))
        .map(|key| format!("{name}: {key}: {}, and buildah: {}", shown(own.get(key)), shown(other.get(key))))
        .collect()
}

struct Builders {
    home: KeptHome,
    work: PathBuf,
    /// The command of buildah with its storage.
    buildah: String,
}

impl Builders {
    /// Makes the base image for both. An error says why buildah cannot work here.
    fn new() -> Result<Builders, String> {
        let home = KeptHome::new();
        let work = home.around().to_owned();
        let programs: Vec<&str> = PROGRAMS.split_whitespace().collect();
        home.out(&[&["image", "from-host", "host:1"], &programs[..]].concat());
        let accounts =
            "mkdir base; cd base; mkdir etc tmp run root proc sys dev var; chmod 1777 tmp; chmod 700 root
            printf '%s\\n' root:x:0:0::/root:/bin/sh web:x:101:102::/home/web:/bin/sh nobody:x:65534:65534::/:/bin/sh >etc/passwd
            printf '%s\\n' root:x:0: staff:x:50:web web:x:102: >etc/group
            touch etc/hosts etc/resolv.conf etc/hostname; find . -exec touch -h -d @1000000000 {} +";
        done(&work, accounts, &[]);
        let dockerfile = "FROM host:1\nCOPY . /\n\
            ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nCMD [\"sh\"]\n";
        fs::write(work.join("Dockerfile"), dockerfile).unwrap();
        let (file, base) = (work.join("Dockerfile"), work.join("base"));
        let words = ["build", "-q", "--network", "none", "-t", "lab:1", "-f", file.to_str().unwrap()];
        home.out(&[&words[..], &[base.to_str().unwrap()]].concat());
        home.out(&["save", "-o", work.join("base.tar").to_str().unwrap(), "lab:1"]);
        fs::write(work.join("policy.json"), r#"{"default":[{"type":"insecureAcceptAnything"}]}"#).unwrap();
        let at = |name: &str| work.join(name).display().to_string();
        let buildah = format!(
            "b() {{ c=$1; shift; case $c in pull|bud|from) set -- --signature-policy {} \"$@\";; esac
                buildah --root {} --runroot {} --storage-driver vfs \"$c\" \"$@\"; }}\n",
            at("policy.json"),
            at("buildah"),
            at("buildah-run")
        );
        let tried = sh(
            &work,
            &format!("{buildah} b pull -q docker-archive:base.tar; mkdir try; printf 'FROM lab:1\\nRUN true\\n' >try/Dockerfile
                b bud --isolation chroot --layers=false -q -t try try"),
            &[],
        );
        match tried.status.success() {
            true => Ok(Builders { home, work, buildah }),
            false => Err(text(&tried.stderr).split_whitespace().collect::<Vec<_>>().join(" ")),
        }
    }

    fn sandbox(&self, name: &str, context: &Path, flags: &[&str]) -> BTreeMap<String, String> {
        let archive = self.work.join(format!("{name}.tar"));
        let output = format!("type=tar,dest={}", archive.display());
        let words =
            [&["build", "-q", "--network", "none", "-t", name, "-o", &output], flags, &["."]].concat();
        let built = self.home.command(&words).current_dir(context).output().unwrap();
        assert!(built.status.success(), "{name}: {}", text(&built.stderr));
        let unpack = "mkdir $1; tar -C $1 --numeric-owner --xattrs --xattrs-include='*' -xpf $2";
        let directory = format!("{name}.files");
        done(&self.work, unpack, &[&directory, archive.to_str().unwrap()]);
        let mut all = files(&self.work.join(directory));
        let inspected: Value = serde_json::from_str(&self.home.out(&["image", "inspect", name])).unwrap();
        all.append(&mut config(&inspected[0]["Config"]));
        all
    }

    fn buildah(&self, name: &str, context: &Path, flags: &[&str]) -> BTreeMap<String, String> {
        let build = format!(
            "{} name=$1; shift; b bud --isolation chroot --layers=false --format docker -q -t $name \"$@\" .",
            self.buildah
        );
        done(context, &build, &[&[name], flags].concat());
        let mount = format!("{} c=$(b from --pull-never $1); b mount $c", self.buildah);
        let mut all = files(Path::new(&done(&self.work, &mount, &[name])));
        let inspect = format!("{} b inspect --type image $1", self.buildah);
        let inspected: Value = serde_json::from_str(&done(&self.work, &inspect, &[name])).unwrap();
        all.append(&mut config(&inspected["Docker"]["config"]));
        all
    }
}

/// What a file `expected` has: a line a file, and the config.
fn expected(written: &str) -> BTreeMap<String, String> {
    let at = written.find("{\n").unwrap();
    let lines = written[..at].lines().map(|line| line.split_once(": ").unwrap());
    let mut all: BTreeMap<_, _> =
        lines.map(|(name, about)| (name.to_owned(), about.trim().to_owned())).collect();
    all.append(&mut config(&serde_json::from_str(&written[at..]).unwrap()));
    all
}

#[test]
fn images_are_equal_to_those_of_buildah() {
    let name = "images_are_equal_to_those_of_buildah";
    let has = |program: &str| sh(Path::new("/"), "command -v $1", &[program]).status.success();
    if !is_root() {
        return skip(name, "machine: buildah keeps the owners of files only as root");
    }
    if let Some(program) = ["buildah", "tar", "xz", "bzip2", "zstd"].into_iter().find(|program| !has(program))
    {
        return skip(name, &format!("machine: there is no {program}"));
    }
    let builders = match Builders::new() {
        Ok(builders) => builders,
        Err(why) => return skip(name, &format!("machine: buildah cannot build here: {why}")),
    };
    let contexts = |of: &str| fs::read_dir(repository().join(of)).unwrap().map(|entry| entry.unwrap().path());
    let is_alike = |path: &PathBuf| !NOT_BUILT.iter().any(|(name, _)| path.ends_with(name));
    let all = contexts("tests/build_peers").chain(contexts("tests/dockerfiles").filter(is_alike));
    let mut all: Vec<PathBuf> = all.collect();
    all.sort();
    let mut wrong = Vec::new();
    for directory in sample(5, all) {
        let name = directory.file_name().unwrap().to_str().unwrap();
        // Both directories have some of the same names.
        let name = if directory.parent().unwrap().ends_with("dockerfiles") {
            &format!("dockerfiles.{name}")
        } else {
            name
        };
        let context = builders.work.join(format!("{name}.context"));
        let (from, to) = (directory.to_str().unwrap(), context.to_str().unwrap());
        let prepare = "cp -rP \"$1\" \"$2\"; cd \"$2\"; rm -f flags expected expected.txt; chown -R 0:0 .
            chmod -R u=rwX,go=rX .; find . -exec touch -h -d @1000000000 {} +
            if [ -f prepare.sh ]; then sh prepare.sh; rm prepare.sh; fi";
        done(&builders.work, prepare, &[from, to]);
        let flags = fs::read_to_string(directory.join("flags")).unwrap_or_default();
        let flags: Vec<&str> = flags.split_whitespace().collect();
        let mut own = builders.sandbox(name, &context, &flags);
        let other = match fs::read_to_string(directory.join("expected")) {
            Ok(written) => {
                let base: Vec<&str> = BASE.split(' ').collect();
                own.retain(|path, _| !base.contains(&path.split('/').next().unwrap()));
                expected(&written)
            }
            Err(_) => builders.buildah(name, &context, &flags),
        };
        wrong.extend(differences(name, &own, &other));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
