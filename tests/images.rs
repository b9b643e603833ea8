//! Images: load, images, tag, rmi, and a spec whose root filesystem is an image.
//!
//! Judged by what a container sees of its files, by the files in HOME, and by Docker's words. The images are made in code.
//!
//! Other inputs of the same kind as the ones here:
//! - archives of docker, podman, skopeo, buildah and bazel; compressed by gzip and zstd; with several images and names.
//! - layers with whiteouts before and after what they delete, with links across layers, without entries for directories.
//! - a command that is killed at any moment; two commands at once; a full disk; blobs that are damaged on the disk.
#![cfg(feature = "images")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use support::image::{Image, Layer, digest, gzip, programs};
use support::kept::KeptHome;
use support::{feed, is_root, sample, skip, text};

/// Loads an archive from standard input.
fn load(home: &KeptHome, archive: &[u8]) -> String {
    let output = feed(&mut home.command(&["load"]), archive);
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).trim_end_matches('\n').to_owned()
}

/// The message of an archive that is refused.
fn refused(home: &KeptHome, archive: &[u8]) -> String {
    let output = feed(&mut home.command(&["load"]), archive);
    let message = text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(output.status.code(), Some(1), "{message}");
    message
}

/// What a container of an image prints.
fn run_with(home: &KeptHome, image: &str, keys: &str, script: &str) -> String {
    let file = home.around().join("image.yaml");
    let script = serde_json::to_string(script).unwrap();
    let env = "env: { PATH: /bin }\n";
    fs::write(&file, format!("rootfs: {image}\n{env}{keys}command: [sh, -c, {script}]\n")).unwrap();
    home.out(&["run", "-q", file.to_str().unwrap()])
}

fn run(home: &KeptHome, image: &str, script: &str) -> String {
    run_with(home, image, "", script)
}

/// All files below a directory, with their sizes.
fn files(directory: &Path) -> BTreeMap<PathBuf, u64> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let about = entry.metadata().unwrap();
        if about.is_dir() {
            all.extend(files(&entry.path()));
        }
        all.insert(entry.path(), if about.is_dir() { 0 } else { about.len() });
    }
    all
}

#[test]
fn an_image_is_loaded_listed_run_and_removed() {
    let home = KeptHome::new();
    assert_eq!(home.out(&["images"]), "REPOSITORY   TAG       IMAGE ID   CREATED   SIZE");
    let base = programs(&["sh", "cat"]).file("etc/motd", "hello");
    let image = Image::of(&[base]);
    assert_eq!(
        load(&home, &image.docker(&["ubuntu:15.10", "quay.io/a/b"])),
        "Loaded image: ubuntu:15.10\nLoaded image: quay.io/a/b:latest"
    );
    assert_eq!(run(&home, "ubuntu:15.10", "cat /etc/motd; echo > /new"), "hello");
    // The layer was not changed.
    assert_eq!(run(&home, "docker.io/library/ubuntu:15.10", "test -e /new || echo absent"), "absent");
    let id = image.id();
    let short = &id["sha256:".len()..][..12];
    let list = home.out(&["images"]);
    let lines: Vec<Vec<&str>> = list.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]);
    let row = lines.iter().find(|row| row[0] == "ubuntu").unwrap();
    assert_eq!((row[1], row[2], &row[4..6]), ("15.10", short, &["years", "ago"][..]));
    assert_eq!(run(&home, &format!("quay.io/a/b@{}", manifest(&home)), "echo yes"), "yes");
    assert_eq!(run(&home, short, "echo yes"), "yes");
    assert_eq!(home.out(&["rmi", "ubuntu:15.10"]), "Untagged: ubuntu:15.10");
    let removed = home.out(&["rmi", "quay.io/a/b"]);
    let layer = digest(&image.layers[0]);
    assert_eq!(removed, format!("Untagged: quay.io/a/b:latest\nDeleted: {id}\nDeleted: {layer}"));
    assert!(home.refused(&["rmi", "ubuntu:15.10"], 1).contains("No such image: ubuntu:15.10"));
    let left: Vec<PathBuf> =
        files(&home.path().join("images/blobs")).into_keys().filter(|path| path.is_file()).collect();
    assert_eq!(left, Vec::<PathBuf>::new());
    assert!(files(&home.path().join("layers")).keys().all(|path| path.is_dir()), "only directories of maps");
}

/// The digest of the only manifest.
fn manifest(home: &KeptHome) -> String {
    let index: Value =
        serde_json::from_slice(&fs::read(home.path().join("images/index.json")).unwrap()).unwrap();
    index["manifests"][0]["digest"].as_str().unwrap().to_owned()
}

/// Docker and podman read layers of each of these, although OCI has types for two only.
#[test]
fn layers_of_all_compressions_are_unpacked() {
    let home = KeptHome::new();
    let plain = Layer::new().file("a", &"content ".repeat(1000)).tar();
    for program in ["gzip", "zstd", "xz", "bzip2"] {
        if Command::new(program).arg("--version").output().is_err() {
            skip("layers_of_all_compressions_are_unpacked", &format!("no {program}"));
            continue;
        }
        let compressed = feed(Command::new(program).arg("-c"), &plain).stdout;
        assert!(compressed.len() < plain.len() / 10, "{program}");
        let rootfs = serde_json::json!({ "rootfs": { "type": "layers", "diff_ids": [digest(&plain)] } });
        let image = Image { layers: vec![compressed], config: rootfs };
        let name = format!("{program}:1");
        assert_eq!(load(&home, &image.docker(&[&name])), format!("Loaded image: {name}"));
        home.out(&["image", "verify", &name]);
        assert!(home.out(&["image", "which", &name, "/a"]).contains("/a"), "{program}");
        // Otherwise the next image would take the layer that this one has unpacked.
        home.out(&["rmi", &name]);
    }
}

#[test]
fn archives_of_all_kinds_are_loaded() {
    let home = KeptHome::new();
    let image = Image::of(&[Layer::new().file("a", "a"), Layer::new().file("b", "b")]);
    let layout = image.oci("localhost:5000/a:1");
    let id = format!("Loaded image ID: {}", image.id());
    assert_eq!(load(&home, &image.docker(&[])), id);
    assert_eq!(load(&home, &layout.archive()), "Loaded image: localhost:5000/a:1");
    assert_eq!(load(&home, &gzip(&layout.archive())), "Loaded image: localhost:5000/a:1");
    assert_eq!(load(&home, &image.oci("latest").archive()), id);
    let directory = layout.directory(&home.around().join("layout"));
    assert_eq!(home.out(&["load", "-i", directory.to_str().unwrap()]), "Loaded image: localhost:5000/a:1");
    let file = home.around().join("image.tar");
    fs::write(&file, layout.archive()).unwrap();
    assert_eq!(home.out(&["load", "--input", file.to_str().unwrap()]), "Loaded image: localhost:5000/a:1");
    // Both manifests have the same config, so it is one image.
    let ids = home.out(&["images", "-q", "--no-trunc"]);
    assert!(ids.lines().all(|line| line == image.id()), "{ids}");
    // An index of several platforms: the one of this machine.
    let architecture = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
    let mut several = layout.clone();
    let mut inner = several.index["manifests"][0].clone();
    inner["platform"] = serde_json::json!({ "os": "linux", "architecture": architecture });
    let mut other = inner.clone();
    other["platform"]["architecture"] = "s390x".into();
    other["digest"] = digest(b"not here").into();
    let index =
        serde_json::json!({ "schemaVersion": 2, "manifests": [other, inner] }).to_string().into_bytes();
    several.index["manifests"][0] = serde_json::json!({
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "digest": digest(&index),
        "size": index.len(),
        "annotations": { "io.containerd.image.name": "docker.io/library/several:1" },
    });
    several.blobs.push(index);
    assert_eq!(load(&home, &several.archive()), "Loaded image: several:1");
}

#[test]
fn a_container_sees_what_the_layers_make_together() {
    let home = KeptHome::new();
    let base = programs(&["sh", "cat", "ls", "stat"])
        .directory("data")
        .file("data/kept", "1")
        .file("data/gone", "1")
        .file("data/replaced", "1")
        .directory("hidden")
        .file("hidden/old", "1")
        .directory("again")
        .file("again/old", "1")
        .directory("usr/lib64")
        .symlink("mylib", "usr/lib64")
        .entry(b"shared", b'5', b"", b"", |header| {
            header.set_mode(0o1777);
            header.set_mtime(5);
        })
        .entry(b"secret", b'0', b"", b"x", |header| header.set_mode(0o4711));
    let upper = Layer::new()
        // No entry for data and shared: they stay as they are.
        .file("data/.wh.gone", "")
        .file("data/replaced", "2")
        .file("shared/new", "2")
        // The order of entries in a layer does not matter.
        .file("hidden/new", "2")
        .file("hidden/.wh..wh..opq", "")
        .file(".wh.again", "")
        .directory("again")
        .file("again/new", "2")
        // Through the link of the lower layer.
        .file("mylib/so", "2")
        // To a file of the lower layer.
        .hard_link("data/linked", "data/kept")
        .file("data/same", "3")
        .hard_link("data/same2", "./data/same");
    let top = Layer::new().file("data/.wh.linked", "").file(".wh..wh.plnk", "");
    load(&home, &Image::of(&[base, upper, top]).docker(&["layers"]));
    let script = "cd /; ls data; cat data/replaced; ls hidden again usr/lib64; stat -c '%a %Y' shared; stat -c %a secret; \
                  stat -c %h data/same; ls -d mylib/so; cat shared/new";
    let expected = "kept\nreplaced\nsame\nsame2\n2again:\nnew\n\nhidden:\nnew\n\nusr/lib64:\nso\n1777 5\n4711\n2\nmylib/so\n2";
    let mut keys = vec![""];
    if is_root() {
        // The overlay is made in a user namespace, and its layers by root.
        keys.push("user: { map: [{ inside: 0, outside: 100000, count: 65536 }] }\n");
    }
    for keys in keys {
        assert_eq!(run_with(&home, "layers", keys, script), expected, "{keys}");
    }
    // A lower layer whose root is opaque hides all below.
    let opaque = [
        Layer::new().file("old", ""),
        programs(&["sh", "ls"]).file(".wh..wh..opq", ""),
        Layer::new().file("new", ""),
    ];
    load(&home, &Image::of(&opaque).docker(&["opaque"]));
    assert_eq!(
        run(&home, "opaque", "cd /; ls -d old new 2>&1 | while read line; do echo $line; done; true")
            .lines()
            .last(),
        Some("new")
    );
}

#[test]
fn owners_attributes_and_devices_are_kept_as_far_as_the_user_may() {
    let home = KeptHome::new();
    let owned = |header: &mut tar::Header| {
        header.set_uid(7);
        header.set_gid(8);
    };
    let layer = programs(&["sh", "stat"])
        .entry(b"owned", b'0', b"", b"", owned)
        .entry(b"null", b'3', b"", b"", |header| {
            header.set_device_major(1).unwrap();
            header.set_device_minor(3).unwrap();
        })
        .entry(b"fifo", b'6', b"", b"", |_| ())
        .pax(&[
            ("SCHILY.xattr.user.mine", b"1"),
            ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
            ("SCHILY.xattr.user.overlay.opaque", b"y"),
        ])
        .directory("attributes")
        .file("attributes/file", "");
    let image = Image::of(&[Layer::new().directory("attributes").file("attributes/lower", ""), layer]);
    let output = feed(&mut home.command(&["load"]), image.docker(&["owners"]));
    let losses = text(&output.stderr);
    assert!(losses.contains("2 extended attributes were left out"), "{losses}");
    assert_eq!(losses.contains("1 device files were left out"), !is_root(), "{losses}");
    assert_eq!(losses.contains("1 files belong to root"), !is_root(), "{losses}");
    let owner = if is_root() { "7 8" } else { "0 0" };
    // The attributes of the layer did not make its directory opaque.
    assert_eq!(
        run(&home, "owners", "stat -c '%u %g' /owned; stat -c %F /fifo /attributes/lower"),
        format!("{owner}\nfifo\nregular empty file")
    );
    if is_root() {
        // A device of a layer exists, and cannot be opened.
        assert_eq!(
            run(&home, "owners", "stat -c %F /null; (echo > /null) 2>/dev/null || echo denied"),
            "character special file\ndenied"
        );
    }
}

#[test]
fn a_user_with_subordinate_ids_gets_all_owners() {
    let test = "a_user_with_subordinate_ids_gets_all_owners";
    if !is_root() {
        return skip(test, "machine: only root can lend ranges; the run as root holds it");
    }
    if !Path::new("/usr/bin/newuidmap").exists() {
        return skip(test, "newuidmap(1) isn't installed");
    }
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let owned = |header: &mut tar::Header| {
        header.set_uid(7);
        header.set_gid(7);
        header.set_mode(0o700);
    };
    let layer = programs(&["sh", "stat"]).entry(b"dir", b'5', b"", b"", owned).entry(
        b"dir/file",
        b'0',
        b"",
        b"",
        owned,
    );
    fs::write(at("image.tar"), Image::of(&[layer]).docker(&["owned"])).unwrap();
    let spec = "rootfs: owned\nuser: { map: auto }\nenv: { PATH: /bin }\ncommand: [stat, -c, '%u:%g', /dir, /dir/file]\n";
    fs::write(at("image.yaml"), spec).unwrap();
    fs::write(at("lent"), "1000:100000:65536\n").unwrap();
    fs::create_dir(at("user")).unwrap();
    std::os::unix::fs::chown(at("user"), Some(1000), Some(1000)).unwrap();
    fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let script = "cp \"$BINARY\" sandbox && mount --bind lent /etc/subuid && mount --bind lent /etc/subgid && \
                  exec setpriv --reuid=1000 --regid=1000 --clear-groups sh -c './sandbox load -q -i image.tar && \
                  ./sandbox run -q image.yaml && \
                  ./sandbox run --rm --network none -u 7 owned stat -L -c %u:%g /proc/self && ./sandbox rmi owned && find user/home/layers -name files'";
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script])
        .current_dir(directory.path())
        .env("BINARY", support::binary())
        .env("HOME", at("user"))
        .env("SANDBOX_HOME", at("user/home"))
        .env_remove("XDG_RUNTIME_DIR")
        .output()
        .unwrap();
    let printed = text(&output.stdout);
    // What belongs to other IDs is removed too, in the user namespace that maps them.
    let expected =
        format!("Loaded image: owned\n7:7\n7:7\n7:0\nUntagged: owned:latest\nDeleted: {}", "sha256:");
    let expected = expected.replacen("Loaded image: owned", "Loaded image: owned:latest", 1);
    assert!(
        printed.starts_with(&expected) && !printed.contains("files"),
        "{printed} {}",
        text(&output.stderr)
    );
}

#[test]
fn names_are_moved_and_removed() {
    let home = KeptHome::new();
    let (one, two) = (Image::of(&[Layer::new().file("a", "1")]), Image::of(&[Layer::new().file("a", "2")]));
    load(&home, &one.docker(&["a:1"]));
    assert_eq!(home.out(&["tag", "a:1", "localhost:5000/b"]), "");
    load(&home, &two.docker(&["a:1"]));
    let names = |filter: &[&str]| {
        let rows = home.out(&[&["images", "--format", "json", "--no-trunc"], filter].concat());
        let rows = rows.lines().map(|row| serde_json::from_str::<Value>(row).unwrap());
        let field = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
        let mut all: Vec<_> = rows
            .map(|row| (field(&row, "Repository") + ":" + &field(&row, "Tag"), field(&row, "ID")))
            .collect();
        all.sort();
        all
    };
    let name = |name: &str, image: &Image| (name.to_owned(), image.id());
    assert_eq!(names(&[]), [name("a:1", &two), name("localhost:5000/b:latest", &one)]);
    // The last name of an image is taken: it stays without one.
    home.out(&["tag", "a:1", "localhost:5000/b"]);
    assert_eq!(
        names(&[]),
        [name("<none>:<none>", &one), name("a:1", &two), name("localhost:5000/b:latest", &two)]
    );
    assert_eq!(names(&["--filter", "dangling=true"]), [name("<none>:<none>", &one)]);
    assert_eq!(names(&["--filter", "reference=localhost:5000/*"]), [name("localhost:5000/b:latest", &two)]);
    assert_eq!(names(&["a"]), [name("a:1", &two)]);
    let refused = home.refused(&["rmi", &two.id()], 1);
    assert!(refused.contains("must be forced") && refused.contains("sandbox rmi -f"), "{refused}");
    assert!(home.out(&["rmi", "-f", &two.id()[7..20]]).contains("Untagged: a:1\n"));
    assert_eq!(home.out(&["rmi", &one.id()]).lines().next(), Some(&*format!("Deleted: {}", one.id())));
    for (arguments, words) in [
        (&["tag", "nothing", "b"][..], "No such image: nothing:latest"),
        (&["tag", "nothing", "B"], "must be lowercase"),
        (&["tag", "nothing", "../b"], "invalid reference format"),
        (&["images", "--filter", "color=red"], "dangling=true"),
        (&["load", "-i", "/no/such/file"], "ENOENT"),
    ] {
        let message = home.refused(arguments, 1);
        assert!(message.contains(words), "{arguments:?}: {message}");
    }
    let file = home.around().join("image.yaml");
    fs::write(&file, "rootfs: nothing:1\ncommand: [sh]\n").unwrap();
    assert!(home.refused(&["run", file.to_str().unwrap()], 125).contains("No such image: nothing:1"));
    assert!(home.refused(&["create", file.to_str().unwrap()], 125).contains("No such image: nothing:1"));
}

#[test]
fn an_image_that_a_container_has_stays() {
    let home = KeptHome::new();
    let image = Image::of(&[programs(&["sh", "sleep"])]);
    load(&home, &image.docker(&["box"]));
    let file = home.around().join("image.yaml");
    fs::write(&file, "rootfs: box\nenv: { PATH: /bin }\ncommand: [sleep, '600']\n").unwrap();
    home.out(&["run", "-d", "--name", "sleeper", file.to_str().unwrap()]);
    assert!(home.out(&["ps"]).lines().last().unwrap().contains(" box "), "its image is its name");
    let refused = home.refused(&["rmi", "-f", "box"], 1);
    assert!(refused.contains("cannot be forced"), "{refused}");
    home.out(&["stop", "-t", "0", "sleeper"]);
    assert!(home.refused(&["rmi", "box"], 1).contains("must force"));
    // The name goes, and the layers stay as long as the container does.
    assert!(!home.out(&["rmi", "-f", "box"]).contains(&digest(&image.layers[0])));
    home.out(&["start", "sleeper"]);
    assert_eq!(home.status("sleeper"), "running");
    home.out(&["rm", "-f", "sleeper"]);
    load(&home, &Image::of(&[Layer::new()]).docker(&["other"]));
    assert!(home.out(&["rmi", "other"]).contains(&digest(&image.layers[0])));
}

#[test]
fn a_wrong_archive_leaves_nothing() {
    let home = KeptHome::new();
    load(&home, &Image::of(&[Layer::new().file("a", "1")]).docker(&["a"]));
    let before = files(&home.path());
    let image = Image::of(&[Layer::new().file("a", "2"), Layer::new().file("b", "2")]);
    let layout = image.oci("b");
    let changed = |change: &dyn Fn(&mut support::image::Layout)| {
        let mut layout = layout.clone();
        change(&mut layout);
        layout.archive()
    };
    // A blob under the name of another one.
    let lying = {
        let mut layout = layout.clone();
        let name = |bytes: &[u8]| format!("blobs/sha256/{}", digest(bytes).replace("sha256:", ""));
        let (layer, rest) = (layout.blobs.remove(0), layout.archive());
        let member = Layer::new().entry(name(&layer).as_bytes(), b'0', b"", &gzip(b"another"), |_| ()).tar();
        [&member[..member.len() - 1024], &rest[..]].concat()
    };
    let mut no_layer = Image::of(&[Layer::new()]);
    no_layer.layers[0] = b"no archive at all".repeat(100);
    let mut other_ids = Image::of(&[Layer::new().file("x", "")]);
    other_ids.config = serde_json::json!({ "rootfs": { "type": "layers", "diff_ids": [digest(b"other")] } });
    let deep = format!("{{\"x\":{}", "[".repeat(200_000));
    for (archive, words) in [
        (lying, "its digest is"),
        (changed(&|layout| drop(layout.blobs.remove(0))), "is missing"),
        (changed(&|layout| layout.index["manifests"][0]["size"] = 5.into()), "bytes, not 5"),
        (changed(&|layout| layout.index["manifests"][0]["size"] = (1_u64 << 40).into()), "more than 4 MiB"),
        (
            changed(&|layout| layout.index["manifests"][0]["digest"] = "sha256:../../x".into()),
            "invalid digest",
        ),
        (changed(&|layout| layout.index["manifests"] = Value::Array(vec![])), "has no images"),
        (changed(&|layout| layout.index = Value::Null), "expected an object, found null"),
        (Layer::new().file("index.json", &deep).tar(), "more than 128 levels"),
        (Layer::new().file("manifest.json", &" ".repeat(5 << 20)).tar(), "more than 4 MiB"),
        (Layer::new().file("etc/passwd", "").tar(), "the files of a machine"),
        (no_layer.docker(&["b"]), "It is no tar archive"),
        (other_ids.docker(&["b"]), "The config names"),
        (b"<html>".repeat(1000), "It is no tar archive"),
        (Vec::new(), "there is no image"),
        (gzip(&vec![0; 300 << 20]), ""),
    ] {
        let message = refused(&home, &archive);
        assert!(message.contains(words), "{words}: {message}");
        assert_eq!(files(&home.path()), before, "{words}");
    }
    // Cut at any byte. Only the padding at the end may be missing.
    let whole = layout.archive();
    let end = whole.iter().rposition(|byte| *byte != 0).unwrap();
    for at in sample(16, (0..200).map(|part| part * end / 200)) {
        refused(&home, &whole[..at]);
        assert_eq!(files(&home.path()), before, "cut at {at}");
    }
}

#[test]
fn a_killed_load_leaves_nothing_that_stays() {
    let home = KeptHome::new();
    let image = Image::of(&[
        Layer::new().file("a", &"x".repeat(3 << 20)),
        Layer::new().file("b", &"y".repeat(1 << 20)),
    ]);
    let file = home.around().join("image.tar");
    fs::write(&file, image.oci("killed:1").archive()).unwrap();
    for delay in sample(10, 0..60_u64) {
        let mut child = home
            .command(&["load", "-i", file.to_str().unwrap()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(delay * 2));
        let _ = child.kill();
        child.wait().unwrap();
        // What is listed is whole.
        for name in home.out(&["images", "-q"]).lines() {
            assert!(image.id()["sha256:".len()..].starts_with(name));
        }
        assert_eq!(home.out(&["load", "-i", file.to_str().unwrap()]), "Loaded image: killed:1");
        assert!(home.out(&["rmi", "killed:1"]).contains("Deleted: "));
        let left = files(&home.path());
        let stays = ["oci-layout", "index.json", "events"];
        let is_left = |path: &&PathBuf| path.is_file() && !stays.iter().any(|name| path.ends_with(name));
        assert_eq!(left.keys().find(is_left), None, "killed after {delay}");
        assert!(left.keys().all(|path| !path.to_string_lossy().contains("/.new-")), "{left:#?}");
    }
}

#[test]
fn two_commands_at_once_lose_no_name() {
    let home = KeptHome::new();
    load(&home, &Image::of(&[Layer::new().file("a", "1")]).docker(&["a"]));
    let tags: Vec<String> = (0..20).map(|number| format!("b:{number}")).collect();
    let children: Vec<_> = tags.iter().map(|tag| home.command(&["tag", "a", tag]).spawn().unwrap()).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(home.out(&["images", "-q", "b"]).lines().count(), tags.len());
}

#[test]
fn each_step_is_explained() {
    let home = KeptHome::new();
    let archive = Image::of(&[Layer::new().file("a", "1")]).docker(&["a"]);
    let explained = |arguments: &[&str], input: &[u8]| {
        let output = feed(&mut home.command(&[arguments, &["--explain"]].concat()), input);
        assert!(output.status.success());
        text(&output.stderr)
    };
    for (arguments, input, steps) in [
        (
            &["load"][..],
            &archive[..],
            &["read(<archive>)", "__unpack", "syncfs(", "blobs/sha256/", "index.json"][..],
        ),
        (&["images"], b"", &["read("]),
        (&["tag", "a", "b"], b"", &["docker.io/library/b:latest"]),
        (&["rmi", "a"], b"", &["rename("]),
        (&["rmi", "b"], b"", &["unlinkat("]),
    ] {
        let told = explained(arguments, input);
        for step in steps {
            assert!(told.contains(step), "{arguments:?} {step}: {told}");
        }
    }
}

#[test]
fn other_tools_read_the_store_and_write_it() {
    let home = KeptHome::new();
    let Ok(tool) = Command::new("skopeo").arg("--version").output() else {
        return skip("other_tools_read_the_store_and_write_it", "skopeo is not installed");
    };
    assert!(tool.status.success());
    let image = Image::of(&[programs(&["sh", "cat"]).file("etc/motd", "hello")]);
    load(&home, &image.docker(&["ubuntu:15.10"]));
    let layout = format!("oci:{}/images", home.path().display());
    let tmp = home.around().display();
    let skopeo = |from: &str, to: &str| {
        let output =
            Command::new("skopeo").args(["copy", "--insecure-policy", "-q", from, to]).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
    };
    skopeo(
        &format!("{layout}:docker.io/library/ubuntu:15.10"),
        &format!("docker-archive:{tmp}/out.tar:mine:2"),
    );
    skopeo(&format!("docker-archive:{tmp}/out.tar"), &format!("oci-archive:{tmp}/again.tar:quay.io/mine:3"));
    assert_eq!(home.out(&["load", "-i", &format!("{tmp}/out.tar")]), "Loaded image: mine:2");
    assert_eq!(home.out(&["load", "-i", &format!("{tmp}/again.tar")]), "Loaded image: quay.io/mine:3");
    assert_eq!(run(&home, "quay.io/mine:3", "cat /etc/motd"), "hello");
    // What it adds to the store itself is an image too.
    skopeo(&format!("docker-archive:{tmp}/out.tar"), &format!("{layout}:localhost/added:4"));
    assert_eq!(run(&home, "localhost/added:4", "cat /etc/motd"), "hello");
    assert!(home.out(&["images"]).contains("localhost/added"));
    for name in ["ubuntu:15.10", "mine:2", "quay.io/mine:3"] {
        home.out(&["rmi", name]);
    }
    assert_eq!(run(&home, "localhost/added:4", "cat /etc/motd"), "hello");
}

#[test]
fn what_an_image_is_made_of_is_shown_and_checked() {
    let home = KeptHome::new();
    let mut image = Image::of(&[Layer::new().file("a", "12345"), Layer::new().file("b", "1")]);
    let step = |by: &str, empty: bool| serde_json::json!({ "created": "2015-10-22T21:00:00Z", "created_by": by, "empty_layer": empty });
    image.config = serde_json::json!({
        "history": [step("ADD a /", false), step("CMD [\"sh\"]", true), step("COPY b /", false)],
        "config": { "Cmd": ["sh"], "Labels": { "a": "b" } },
    });
    let layout = image.oci("made:1");
    load(&home, &layout.archive());
    let history = home.out(&["history", "made:1"]);
    let lines: Vec<&str> = history.lines().collect();
    assert!(lines[0].starts_with("IMAGE ") && lines[1].starts_with(&image.id()[7..19]), "{history}");
    assert!(
        lines[1].contains("COPY b /") && lines[1].contains(" 1B") && lines[2].contains(" 0B"),
        "{history}"
    );
    assert!(
        lines[3].starts_with("<missing>") && lines[3].contains("ADD a /") && lines[3].contains(" 5B"),
        "{history}"
    );
    let inspected: Value = serde_json::from_str(&home.out(&["image", "inspect", "made:1"])).unwrap();
    assert_eq!(inspected[0]["Id"], image.id().as_str());
    assert_eq!(inspected[0]["RepoTags"], serde_json::json!(["made:1"]));
    assert_eq!(inspected[0]["Config"]["Labels"]["a"], "b");
    assert_eq!(inspected[0]["RootFS"]["Layers"][1], digest(&image.layers[1]).as_str());
    let tree = home.out(&["image", "tree", "made:1"]);
    let chain = digest(format!("{} {}", digest(&image.layers[0]), digest(&image.layers[1])).as_bytes());
    for words in [&chain, &image.id(), &digest(&layout.blobs[0]), "ADD a /", "layer 2: 1B"] {
        assert!(tree.contains(words), "{words}: {tree}");
    }
    let good = home.out(&["image", "verify", "made:1"]);
    assert_eq!(good.matches("good").count(), 6, "{good}");
    // Unpacked files that were changed, added or removed on the disk are found.
    let layers = home.path().join("layers");
    let find = |name: &str| {
        let find = Command::new("find").arg(&layers).args(["-path", &format!("*/files/{name}")]).output();
        std::path::PathBuf::from(text(&find.unwrap().stdout).trim_end())
    };
    let (file, root) = (find("a"), find("a").parent().unwrap().to_owned());
    let changes: [(&str, &dyn Fn()); 3] = [
        ("a name, type, mode", &|| fs::write(&file, "changed").unwrap()),
        ("are there", &|| fs::write(root.join("new"), "").unwrap()),
        ("are there", &|| {
            [root.join("new"), file.clone()].iter().for_each(|path| fs::remove_file(path).unwrap())
        }),
    ];
    for (words, change) in changes {
        change();
        let output = home.run(&["image", "verify", "made:1"]);
        let printed = text(&output.stdout);
        assert!(output.status.code() == Some(1) && printed.contains(words), "{words}: {printed}");
    }
    // A blob that was changed on the disk is found, and not saved.
    let blob = home.path().join("images/blobs/sha256").join(&digest(&layout.blobs[1])[7..]);
    let mut bytes = fs::read(&blob).unwrap();
    bytes.push(0);
    fs::write(&blob, &bytes).unwrap();
    let output = home.run(&["image", "verify", "made:1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("another digest than its name"), "{}", text(&output.stdout));
    let file = home.around().join("out.tar");
    home.refused(&["save", "-o", file.to_str().unwrap(), "made:1"], 1);
    assert!(!file.exists() && !home.around().join("out.tar.new").exists());
    let manifest = home.path().join("images/blobs/sha256").join(&manifest(&home)[7..]);
    fs::write(&manifest, "{}").unwrap();
    for arguments in
        [&["image", "verify", "made:1"][..], &["history", "made:1"], &["image", "inspect", "made:1"]]
    {
        let message = home.refused(arguments, 1);
        assert!(message.contains("it has another digest"), "{arguments:?}: {message}");
    }
}

#[test]
fn what_is_saved_is_loaded_again() {
    let (home, other) = (KeptHome::new(), KeptHome::new());
    let image = Image::of(&[programs(&["sh", "cat"]).file("etc/motd", "hello"), Layer::new().file("b", "")]);
    load(&home, &image.oci("localhost/saved:1").archive());
    home.out(&["tag", "localhost/saved:1", "second"]);
    let saved = home.run(&["save", "localhost/saved:1", "second"]);
    assert!(saved.status.success(), "{}", text(&saved.stderr));
    assert_eq!(
        home.run(&["image", "save", "localhost/saved:1", "second"]).stdout,
        saved.stdout,
        "the same bytes"
    );
    assert_eq!(load(&other, &saved.stdout), "Loaded image: localhost/saved:1\nLoaded image: second:latest");
    assert_eq!(run(&other, "second", "cat /etc/motd"), "hello");
    assert_eq!(manifest(&other), manifest(&home));
    let by_id = home.run(&["save", &image.id()]).stdout;
    other.out(&["rmi", "-f", &image.id()]);
    assert_eq!(load(&other, &by_id), format!("Loaded image ID: {}", image.id()));
    if Command::new("skopeo").arg("--version").output().is_err() {
        return skip("what_is_saved_is_loaded_again", "skopeo is not installed");
    }
    let file = home.around().join("saved.tar");
    fs::write(&file, &saved.stdout).unwrap();
    for from in ["docker-archive", "oci-archive"] {
        let name = if from == "oci-archive" { ":localhost/saved:1" } else { ":second:latest" };
        let from = format!("{from}:{}{name}", file.display());
        let output = Command::new("skopeo").args(["inspect", "--config", &from]).output().unwrap();
        assert!(text(&output.stdout).contains(&digest(&image.layers[1])), "{from}: {}", text(&output.stderr));
    }
}

#[test]
fn the_store_is_private() {
    let home = KeptHome::new();
    load(&home, &Image::of(&[Layer::new().file("a", "1")]).docker(&["a"]));
    for directory in ["images", "images/blobs/sha256", "images/ingest", "layers"] {
        let mode = fs::metadata(home.path().join(directory)).unwrap().mode() & 0o7777;
        assert_eq!(mode, 0o700, "{directory}");
    }
}
