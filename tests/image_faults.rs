//! Images: what a review has found, each as a kind of input.
//!
//! Other inputs of the same kind as the ones here:
//! - archives with many or long names, with many images, with one image many times.
//! - `save -o` where something else than a regular file is, and where a killed command has left something.
//! - two commands that change the names and the files of images at once.
#![cfg(feature = "images")]

mod support;

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::{Value, json};
use support::image::{Image, Layer, Layout, digest};
use support::kept::KeptHome;
use support::{feed, is_root, text};

/// Loads an archive. Returns standard output, or the message in one line.
fn load(home: &KeptHome, archive: &[u8]) -> Result<String, String> {
    let output = feed(&mut home.command(&["load"]), archive);
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ")),
    }
}

fn small() -> Image {
    Image::of(&[Layer::new().file("a", "a")])
}

#[test]
fn save_replaces_regular_files_only() {
    let home = KeptHome::new();
    load(&home, &small().docker(&["one"])).unwrap();
    let place = home.around().join("place");
    fs::create_dir(&place).unwrap();
    let at = |name: &str| place.join(name).to_str().unwrap().to_owned();
    let is_archive = |name: &str| {
        let bytes = fs::read(at(name)).unwrap();
        assert_eq!(load(&home, &bytes).as_deref(), Ok("Loaded image: one:latest\n"), "{name}");
    };
    home.out(&["save", "-o", &at("new.tar"), "one"]);
    is_archive("new.tar");
    // The file itself is replaced, and the link to it stays.
    fs::write(at("target.tar"), "old").unwrap();
    fs::set_permissions(at("target.tar"), fs::Permissions::from_mode(0o600)).unwrap();
    symlink("target.tar", at("link.tar")).unwrap();
    symlink(at("link.tar"), at("second.tar")).unwrap();
    // What a former version of this command has left does not matter.
    fs::write(at("target.tar.new"), "left").unwrap();
    home.out(&["save", "-o", &at("second.tar"), "one"]);
    is_archive("target.tar");
    assert_eq!(fs::read_link(at("link.tar")).unwrap().to_str(), Some("target.tar"));
    assert_eq!(fs::metadata(at("target.tar")).unwrap().mode() & 0o777, 0o600);
    // Everything else is refused.
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, at("fifo"), kind, 0o600.into(), 0).unwrap();
    fs::create_dir(at("directory")).unwrap();
    let _socket = UnixListener::bind(at("socket")).unwrap();
    symlink("nothing", at("dangling")).unwrap();
    symlink("fifo", at("to-fifo")).unwrap();
    let mut others = vec!["fifo", "directory", "socket", "dangling", "to-fifo"];
    if is_root() {
        let (kind, number) = (rustix::fs::FileType::CharacterDevice, rustix::fs::makedev(1, 3));
        let made = rustix::fs::mknodat(rustix::fs::CWD, at("null"), kind, 0o666.into(), number);
        others.extend(made.is_ok().then_some("null"));
    }
    let names = || {
        let mut names: Vec<_> =
            fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = names();
    for name in others {
        let about = |path: &str| fs::symlink_metadata(path).map(|about| (about.ino(), about.mode())).unwrap();
        let old = about(&at(name));
        let message = home.refused(&["save", "-o", &at(name), "one"], 1);
        assert!(message.contains("must be a regular file"), "{name}: {message}");
        assert_eq!(about(&at(name)), old, "{name}");
    }
    let message = home.refused(&["save", "-o", &at("none/x.tar"), "one"], 1);
    assert!(message.contains("ENOENT") && message.contains("openat("), "{message}");
    assert_eq!(names(), before, "nothing is left");
}

#[test]
fn names_in_an_archive_are_limited() {
    let home = KeptHome::new();
    let image = small().docker(&["one"]);
    let image = &image[..image.len() - 1024];
    let with = |more: Layer| [&more.tar()[..more.tar().len() - 1024], image].concat();
    let name = |length: usize| "n".repeat(length);
    assert!(load(&home, &with(Layer::new().file(&name(4096), ""))).is_ok());
    let long = load(&home, &with(Layer::new().file(&name(4097), ""))).unwrap_err();
    let link = load(&home, &with(Layer::new().symlink("link", &name(4097)))).unwrap_err();
    let many =
        (0..4200).fold(Layer::new(), |layer, number| layer.file(&format!("{}{number}", name(4000)), ""));
    let many = load(&home, &with(many)).unwrap_err();
    for message in [long, link, many] {
        assert!(message.contains("16 MiB"), "{message}");
    }
}

/// A layout with these descriptors.
fn layout(blobs: Vec<Vec<u8>>, manifests: Vec<Value>) -> Layout {
    Layout { blobs, index: json!({ "schemaVersion": 2, "manifests": manifests }) }
}

#[test]
fn images_in_an_archive_are_limited_and_read_once() {
    let home = KeptHome::new();
    let mut image = small();
    image.config = json!({ "author": "x".repeat(1 << 20) });
    let one = image.oci("");
    let descriptor = one.index["manifests"][0].clone();
    // All of them together would be gigabytes.
    let same = layout(one.blobs.clone(), vec![descriptor.clone(); 5000]);
    assert_eq!(load(&home, &same.archive()), Ok(format!("Loaded image ID: {}\n", image.id())));
    let named = |count: usize| {
        let named = |number: usize| {
            let mut named = descriptor.clone();
            named["annotations"] = json!({ "org.opencontainers.image.ref.name": format!("n:{number}") });
            named
        };
        layout(one.blobs.clone(), (0..count).map(named).collect())
    };
    assert_eq!(load(&home, &named(10).archive()).unwrap().lines().count(), 10);
    let message = load(&home, &named(1001).archive()).unwrap_err();
    assert!(message.contains("more than 1000 images or names"), "{message}");
    // Different manifests with the same large config.
    let mut blobs = one.blobs.clone();
    let manifest: Value = serde_json::from_slice(blobs.last().unwrap()).unwrap();
    let mut manifests = Vec::new();
    for number in 0..40 {
        let mut other = manifest.clone();
        other["annotations"] = json!({ "number": number.to_string() });
        let other = other.to_string().into_bytes();
        let mut descriptor = descriptor.clone();
        descriptor["digest"] = digest(&other).into();
        descriptor["size"] = other.len().into();
        manifests.push(descriptor);
        blobs.push(other);
    }
    let message = load(&home, &layout(blobs, manifests).archive()).unwrap_err();
    assert!(message.contains("32 MiB"), "{message}");
}

/// The lock of this HOME that all commands take to change names of images.
fn lock_of_names(home: &KeptHome) -> PathBuf {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    let path = home.path();
    let hash = path.as_os_str().as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, step);
    let name = format!("images-{hash:016x}.lock");
    let uid = nix::unistd::geteuid();
    let login = PathBuf::from(format!("/run/user/{uid}"));
    let is_own = fs::metadata(&login).is_ok_and(|found| found.uid() == uid.as_raw());
    match (is_root(), is_own) {
        (true, _) => PathBuf::from("/run/sandbox").join(name),
        (false, true) => login.join("sandbox").join(name),
        (false, false) => PathBuf::from(format!("/tmp/sandbox-{uid}")).join(name),
    }
}

#[test]
fn an_image_that_was_removed_meanwhile_gets_no_name() {
    let home = KeptHome::new();
    load(&home, &small().docker(&["one"])).unwrap();
    let path = lock_of_names(&home);
    let mode = if is_root() { 0o711 } else { 0o700 };
    // A command that ends at this moment removes an empty directory.
    let open = || {
        let _ = fs::DirBuilder::new().mode(mode).create(path.parent().unwrap());
        fs::File::options().write(true).create(true).truncate(false).mode(0o600).open(&path).ok()
    };
    let lock = std::iter::repeat_with(open).find_map(|lock| lock).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let mut tag = home.command(&["tag", "one", "two"]);
    let tag = tag.stderr(Stdio::piped()).spawn().unwrap();
    // It has found the image, and waits for the lock.
    support::wait_until("it waits", || {
        let open = fs::read_dir(format!("/proc/{}/fd", tag.id())).unwrap().flatten();
        open.flat_map(|entry| fs::read_link(entry.path())).any(|file| file == path)
    });
    // What `rmi` does when it has the lock before.
    let images = home.path().join("images");
    fs::write(images.join("index.json"), json!({ "schemaVersion": 2, "manifests": [] }).to_string()).unwrap();
    for blob in fs::read_dir(images.join("blobs/sha256")).unwrap() {
        fs::remove_file(blob.unwrap().path()).unwrap();
    }
    drop(lock);
    let output = tag.wait_with_output().unwrap();
    let message = text(&output.stderr);
    assert!(!output.status.success() && message.contains("No such image: one"), "{message}");
    assert_eq!(home.out(&["images", "-q"]), "");
}

#[test]
fn a_name_of_another_tool_is_the_same_name() {
    let home = KeptHome::new();
    load(&home, &small().docker(&["one"])).unwrap();
    let other = Image::of(&[Layer::new().file("b", "b")]);
    load(&home, &other.docker(&["other"])).unwrap();
    // skopeo writes only the tag, others a name without a registry.
    for foreign in ["v1", "v1:latest", "docker.io/v1", "library/v1:latest"] {
        let index = home.path().join("images/index.json");
        let mut all: Value = serde_json::from_slice(&fs::read(&index).unwrap()).unwrap();
        let mut added = all["manifests"][0].clone();
        added["annotations"] = json!({ "org.opencontainers.image.ref.name": foreign });
        all["manifests"].as_array_mut().unwrap().push(added);
        fs::write(&index, all.to_string()).unwrap();
        home.out(&["tag", "other", "v1:latest"]);
        let list = home.out(&["images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"]);
        let named: Vec<&str> = list.lines().filter(|line| line.starts_with("v1:")).collect();
        assert_eq!(named, [format!("v1:latest {}", other.id())], "{foreign}: {list}");
    }
}

#[test]
fn an_archive_with_very_many_files_leaves_none() {
    let home = KeptHome::new();
    let many = (0..10_500).fold(Layer::new(), |layer, number| layer.file(&format!("more/{number}"), ""));
    let image = small().docker(&["one"]);
    let more = many.tar();
    let archive = [&more[..more.len() - 1024], &image].concat();
    assert_eq!(load(&home, &archive), Ok("Loaded image: one:latest\n".to_owned()));
    assert_eq!(fs::read_dir(home.path().join("images/ingest")).unwrap().count(), 0);
}

/// The names in all directories of layers, without those of ID maps.
fn layers(home: &KeptHome) -> Vec<String> {
    let names = |path: PathBuf| fs::read_dir(path).into_iter().flatten().flatten();
    let top = home.path().join("layers");
    let all = names(top).flat_map(|entry| {
        let name = entry.file_name().into_string().unwrap();
        match name.starts_with("users") {
            true => names(entry.path()).map(|entry| entry.file_name().into_string().unwrap()).collect(),
            false => vec![name],
        }
    });
    all.collect()
}

#[test]
fn a_layer_is_removed_without_the_lock() {
    let home = KeptHome::new();
    load(&home, &small().docker(&["one"])).unwrap();
    let chain_id = layers(&home).remove(0);
    let directory = |name: &str| {
        let top = home.path().join("layers");
        let inner = fs::read_dir(&top).unwrap().flatten().map(|entry| entry.path().join(name));
        [top.join(name)].into_iter().chain(inner).find(|path| path.exists()).unwrap()
    };
    let place = directory(&chain_id).parent().unwrap().to_owned();
    // Another command is removing this one: it has renamed it, and has its lock.
    let own = place.join(".rm-other");
    fs::create_dir(&own).unwrap();
    fs::set_permissions(&own, fs::Permissions::from_mode(0o700)).unwrap();
    let lock = fs::File::open(&own).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    home.out(&["rmi", "one"]);
    assert_eq!(layers(&home), [".rm-other"]);
    // Meanwhile images can be loaded.
    load(&home, &small().docker(&["one"])).unwrap();
    // The command was killed.
    drop(lock);
    home.out(&["rmi", "one"]);
    assert_eq!(layers(&home), Vec::<String>::new());
}
