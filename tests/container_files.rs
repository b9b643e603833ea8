//! `diff`, `export`, `commit` and `cp`: what a container has written, its files as an archive, an image of it, and copies in both
//! directions.
//!
//! Judged by the archives that are written, by the layer in HOME, and by what a container of the new image sees.
//!
//! Other inputs of the same kind as the ones here:
//! - files, directories, links, hard links, pipes, sockets; added, changed, deleted, replaced by another kind; emptied directories.
//! - owners of a user with subordinate IDs, extended attributes, set-user-ID modes, long names, names that are not UTF-8.
//! - containers that were never started, that run, that have ended; of an image, of directories, of the host.
#![cfg(feature = "images")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use support::image::{Image, Layer, programs};
use support::kept::KeptHome;
use support::{feed, is_root, text};

/// The names in an archive, with the type, the permissions, and the content or the target.
fn entries(archive: &[u8]) -> BTreeMap<String, (u8, u32, String)> {
    let mut all = BTreeMap::new();
    for entry in tar::Archive::new(archive).entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = text(&entry.path_bytes()).trim_end_matches('/').to_owned();
        let header = entry.header().clone();
        let mut content = entry.link_name_bytes().map(|name| text(&name)).unwrap_or_default();
        if header.entry_type() == tar::EntryType::Regular {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            content = text(&bytes[..bytes.len().min(100)]);
        }
        let about = (header.entry_type().as_byte(), header.mode().unwrap(), content);
        assert_eq!(all.insert(name.clone(), about), None, "{name}");
    }
    all
}

/// A kept container of an image with a lower and an upper layer, which runs this script and then sleeps.
fn container(home: &KeptHome, script: &str) {
    let base = programs(&["sh", "sleep", "ln", "rm", "mkdir", "chmod", "mkfifo", "touch", "cat", "ls"])
        .directory("data")
        .file("data/kept", "1")
        .file("data/gone", "1")
        .file("data/changed", "1")
        .directory("emptied")
        .file("emptied/one", "1")
        .file("emptied/two", "1")
        .directory("replaced")
        .file("replaced/inside", "1");
    let second = Layer::new().file("data/second", "2").file("data/.wh.kept", "");
    let output = feed(&mut home.command(&["load", "-q"]), Image::of(&[base, second]).docker(&["base:1"]));
    assert!(output.status.success(), "{}", text(&output.stderr));
    let spec = home.around().join("box.yaml");
    let command = serde_json::to_string(&format!("{script}; echo ready; exec sleep 600")).unwrap();
    fs::write(&spec, format!("rootfs: base:1\npid:\nenv: {{ PATH: /bin }}\ncommand: [sh, -ec, {command}]\n"))
        .unwrap();
    home.out(&["run", "-d", "--name", "box", spec.to_str().unwrap()]);
    support::wait_until("the script has ended", || home.out(&["logs", "box"]).contains("ready"));
}

const SCRIPT: &str = "cd /; echo 2 > data/changed; rm data/gone; echo new > data/new; ln data/new data/hard; ln -s new data/link; \
    rm -r emptied; mkdir emptied; touch emptied/three; rm -r replaced; echo file > replaced; mkfifo pipe; mkdir -p a/b; touch a/b/c; \
    chmod 4711 data/new";

const CHANGES: [&str; 15] = [
    "A /a",
    "A /a/b",
    "A /a/b/c",
    "C /data",
    "C /data/changed",
    "D /data/gone",
    "A /data/hard",
    "A /data/link",
    "A /data/new",
    "C /emptied",
    "D /emptied/one",
    "A /emptied/three",
    "D /emptied/two",
    "A /pipe",
    "C /replaced",
];

#[test]
fn what_a_container_has_changed_is_listed() {
    let home = KeptHome::new();
    container(&home, SCRIPT);
    let changes = |state: &str| {
        let printed = home.out(&["diff", "box"]);
        assert_eq!(printed.lines().collect::<Vec<_>>(), CHANGES, "{state}");
    };
    changes("running");
    home.out(&["stop", "-t", "0", "box"]);
    changes("stopped");
    assert!(home.refused(&["diff", "nothing"], 1).contains("No such container"));
    let explained = home.run(&["diff", "--explain", "box"]);
    let explained = text(&explained.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    for words in ["upper", "/layers/", "__unpack", "which no container changes"] {
        assert!(explained.contains(words), "{words}: {explained}");
    }
    // A container of this machine's files has no layer.
    let host = home.spec("", "true");
    home.out(&["create", "--name", "host", &host]);
    for command in ["diff", "export", "commit"] {
        assert!(home.refused(&[command, "host"], 1).contains("no layer of its own"), "{command}");
    }
}

#[test]
fn all_files_are_exported() {
    let home = KeptHome::new();
    container(&home, SCRIPT);
    let running = home.run(&["export", "box"]);
    assert!(running.status.success(), "{}", text(&running.stderr));
    home.out(&["stop", "-t", "0", "box"]);
    let file = home.around().join("out.tar");
    home.out(&["export", "-o", file.to_str().unwrap(), "box"]);
    let stopped = fs::read(&file).unwrap();
    assert_eq!(entries(&stopped), entries(&running.stdout));
    let all = entries(&stopped);
    let is = |name: &str, kind: u8, content: &str| {
        let (own, _, found) = &all[name];
        assert_eq!((*own, found.trim_end()), (kind, content), "{name}");
    };
    is("data/changed", b'0', "2");
    is("data/second", b'0', "2");
    is("data/link", b'2', "new");
    is("data/new", b'1', "data/hard");
    is("data/hard", b'0', "new");
    is("replaced", b'0', "file");
    is("pipe", b'6', "");
    is("emptied/three", b'0', "");
    assert_eq!(all["data/hard"].1, 0o4711);
    for gone in ["data/gone", "data/kept", "emptied/one", "replaced/inside", "proc", "dev", "etc/hosts"] {
        assert!(!all.contains_key(gone), "{gone}");
    }
    // It is an image again, with one layer.
    home.out(&["import", "-c", "ENV PATH=/bin", file.to_str().unwrap(), "again:1"]);
    let spec = home.around().join("again.yaml");
    fs::write(&spec, "rootfs: again:1\nenv: { PATH: /bin }\ncommand: [ls, /data, /emptied]\n").unwrap();
    let listed = home.out(&["run", "-q", spec.to_str().unwrap()]);
    assert_eq!(listed, "/data:\nchanged\nhard\nlink\nnew\nsecond\n\n/emptied:\nthree");
    assert!(home.refused(&["export", "-o", "/no/such/directory/x", "box"], 1).contains("ENOENT"));
}

#[test]
fn a_container_becomes_a_layer_of_an_image() {
    let home = KeptHome::new();
    container(&home, SCRIPT);
    let change = [
        "-c",
        "CMD [\"ls\"]",
        "-c",
        "ONBUILD RUN true",
        "-c",
        "ENV NEW=$PATH:x",
        "-m",
        "a message",
        "-a",
        "an author",
    ];
    let id = home.out(&[&["commit"], &change[..], &["box", "mine:2"]].concat());
    let about: serde_json::Value = serde_json::from_str(&home.out(&["image", "inspect", "mine:2"])).unwrap();
    assert_eq!(about[0]["Id"], id.as_str());
    assert_eq!(about[0]["Author"], "an author");
    assert_eq!(about[0]["Config"]["Cmd"], serde_json::json!(["ls"]));
    assert_eq!(about[0]["Config"]["OnBuild"], serde_json::json!(["RUN true"]));
    let layers = about[0]["RootFS"]["Layers"].as_array().unwrap();
    assert_eq!(layers.len(), 3);
    let history = home.out(&["history", "--format", "{{.CreatedBy}}|{{.Comment}}", "mine:2"]);
    assert!(history.lines().next().unwrap().ends_with("|a message"), "{history}");
    assert!(history.starts_with("sh -ec "), "{history}");
    // The layer has what the container has written, with the marks of a layer.
    let digest = layers[2].as_str().unwrap().trim_start_matches("sha256:");
    let layer = entries(&fs::read(home.path().join("images/blobs/sha256").join(digest)).unwrap());
    let names: Vec<&str> = layer.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "a",
            "a/b",
            "a/b/c",
            "data",
            "data/.wh.gone",
            "data/changed",
            "data/hard",
            "data/link",
            "data/new",
            "emptied",
            "emptied/.wh..wh..opq",
            "emptied/three",
            "pipe",
            "replaced"
        ]
    );
    let spec = home.around().join("mine.yaml");
    let script = "ls /data /emptied; cat /data/new /replaced";
    fs::write(&spec, format!("rootfs: mine:2\nenv: {{ PATH: /bin }}\ncommand: [sh, -c, '{script}']\n"))
        .unwrap();
    let listed = home.out(&["run", "-q", spec.to_str().unwrap()]);
    assert_eq!(listed, "/data:\nchanged\nhard\nlink\nnew\nsecond\n\n/emptied:\nthree\nnew\nfile");
    assert_eq!(home.out(&["image", "verify", "mine:2"]).matches("good").count(), 8);
    // What the diff of the images says is what the diff of the container says, apart from directories.
    let images = home.out(&["image", "diff", "base:1", "mine:2"]);
    let of_images: Vec<&str> = images.lines().map(|line| line.split("  (").next().unwrap()).collect();
    for change in CHANGES.iter().filter(|change| !["C /data", "C /emptied"].contains(change)) {
        assert!(of_images.contains(change), "{change}: {images}");
    }
    // Without a name, and from the image by its ID.
    let other = home.out(&["commit", "box"]);
    assert!(home.out(&["images", "-q", "--no-trunc", "--filter", "dangling=true"]).contains(&other));
    // The image of the container has lost its name meanwhile: its layers decide.
    home.out(&["tag", "mine:2", "base:1"]);
    let third = home.out(&["commit", "box", "third"]);
    let about: serde_json::Value = serde_json::from_str(&home.out(&["image", "inspect", &third])).unwrap();
    assert_eq!(about[0]["RootFS"]["Layers"].as_array().unwrap().len(), 3);
    // A container of directories has no image below.
    let lower = home.around().join("lower");
    support::write_program(&lower.join("bin/x"), "#!/bin/x\n");
    let plain = home.around().join("plain.yaml");
    fs::write(&plain, format!("rootfs: {{ layers: [{}] }}\ncommand: [/bin/x]\n", lower.display())).unwrap();
    home.out(&["create", "--name", "plain", plain.to_str().unwrap()]);
    let message = home.refused(&["commit", "plain", "x"], 1);
    assert!(
        message.contains("not made from an image") && message.contains("| sandbox import -"),
        "{message}"
    );
    assert_eq!(home.out(&["diff", "plain"]), "");
}

/// Only a container with a cgroup can be paused: an ordinary user's has none here.
/// The image runs as the container did.
#[test]
fn an_image_of_a_container_has_its_config() {
    let home = KeptHome::new();
    home.out(&["image", "from-host", "tool", "sh", "id"]);
    // An ordinary user has one ID here.
    let user = if is_root() { "3" } else { "0" };
    let flags = [
        "-l",
        "a=b",
        "-e",
        "FOO=bar",
        "-w",
        "/usr",
        "-u",
        user,
        "--entrypoint",
        "sh",
        "--stop-signal",
        "INT",
    ];
    let create =
        [&["create", "--network", "none", "--name", "box"][..], &flags, &["tool", "-c", "id"]].concat();
    home.out(&create);
    home.out(&["commit", "box", "mine"]);
    let about: serde_json::Value = serde_json::from_str(&home.out(&["image", "inspect", "mine"])).unwrap();
    let config = &about[0]["Config"];
    let wanted = serde_json::json!({
        "Cmd": ["-c", "id"], "Entrypoint": ["sh"], "Labels": {"a": "b"}, "User": user, "WorkingDir": "/usr", "StopSignal": "SIGINT",
    });
    for (key, value) in wanted.as_object().unwrap() {
        assert_eq!(config[key], *value, "{key} {config}");
    }
    let env = config["Env"].to_string();
    assert!(env.contains("FOO=bar") && env.contains("PATH=") && !env.contains("HOSTNAME="), "{env}");
    let pruned = home.out(&["container", "prune", "-f"]);
    assert!(pruned.contains("Total reclaimed space: "), "{pruned}");
}

#[test]
fn a_container_is_paused_while_it_is_committed_unless_the_user_says_no() {
    let home = KeptHome::new();
    container(&home, "echo x > /data/new");
    let pauses = || {
        let format = ["--format", "{{.Action}}", "-f", "container=box"];
        let all = home.out(&[&["events", "--since", "1h", "--until", "0s"], &format[..]].concat());
        all.lines().filter(|action| action.ends_with("pause")).count()
    };
    for refused in ["-p=false", "--pause=false"] {
        home.out(&["commit", refused, "box"]);
        assert_eq!(pauses(), 0, "{refused}");
    }
    match is_root() {
        true => drop(home.out(&["commit", "-p", "box"])),
        false => assert!(home.refused(&["commit", "-p", "box"], 1).contains("cgroup")),
    }
    assert_eq!(pauses(), if is_root() { 2 } else { 0 });
}

#[test]
fn a_link_of_the_container_leads_nowhere_outside() {
    let home = KeptHome::new();
    let secret = home.around().join("secret");
    fs::create_dir(&secret).unwrap();
    fs::write(secret.join("file"), "secret").unwrap();
    let script = format!(
        "cd /; ln -s {0} data/out; ln -s ../../../../..{0} data/up; ln -s /proc/1/root data/magic",
        secret.display()
    );
    container(&home, &script);
    home.out(&["stop", "-t", "0", "box"]);
    let exported = home.run(&["export", "box"]);
    assert!(exported.status.success(), "{}", text(&exported.stderr));
    let all = entries(&exported.stdout);
    assert_eq!(all["data/out"].0, b'2');
    assert!(!all.keys().any(|name| name.contains("file") && name.contains("data/")), "{all:?}");
    home.out(&["commit", "box", "mine"]);
    assert!(!home.out(&["diff", "box"]).contains("file"));
    if is_root() {
        // The owners are those that the container sees, also in a user namespace of root.
        let spec = home.around().join("mapped.yaml");
        let keys = "user: { map: [{ inside: 0, outside: 100000, count: 65536 }] }\nenv: { PATH: /bin }\n";
        fs::write(&spec, format!("rootfs: base:1\n{keys}pid:\ncommand: [sh, -c, 'touch /data/mapped']\n"))
            .unwrap();
        home.out(&["create", "--name", "mapped", spec.to_str().unwrap()]);
        home.out(&["start", "-a", "mapped"]);
        let exported = home.run(&["export", "mapped"]).stdout;
        let mut archive = tar::Archive::new(&exported[..]);
        let mut found = archive.entries().unwrap().map(Result::unwrap);
        let mapped = found.find(|entry| text(&entry.path_bytes()) == "data/mapped").unwrap();
        assert_eq!(mapped.header().uid().unwrap(), 0);
    }
}

/// Runs `cp`. Returns its status and message.
fn cp(home: &KeptHome, arguments: &[&str]) -> (Option<i32>, String) {
    let output = home.run(&[&["cp"], arguments].concat());
    (output.status.code(), text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" "))
}

fn copied(home: &KeptHome, arguments: &[&str]) {
    let (status, message) = cp(home, arguments);
    assert_eq!(status, Some(0), "{arguments:?} {message}");
}

/// Of this kind: what only reads a container, what changes its files, and what makes an image of it.
#[test]
fn what_is_done_with_a_container_has_events() {
    let home = KeptHome::new();
    container(&home, "cd /; echo inside > file");
    let out = home.around().join("out");
    home.out(&["cp", "box:/file", out.to_str().unwrap()]);
    home.out(&["cp", out.to_str().unwrap(), "box:/other"]);
    home.out(&["top", "box"]);
    home.out(&["diff", "box"]);
    home.out(&["export", "-o", out.to_str().unwrap(), "box"]);
    let id = home.out(&["commit", "--pause=false", "-m", "words", "box"]);
    home.refused(&["cp", "box:/missing", out.to_str().unwrap()], 1);
    let format = "{{.Action}} {{.Actor.Attributes.comment}} {{.Actor.Attributes.imageID}}";
    let shown =
        home.out(&["events", "--since", "1h", "--until", "0s", "-f", "type=container", "--format", format]);
    let commit = format!("commit words {id}");
    let other = ["archive-path", "extract-to-dir", "top", "export"]
        .map(|word| format!("{word} <no value> <no value>"));
    let shown: Vec<&str> = shown.lines().skip_while(|line| !line.starts_with("archive")).collect();
    assert_eq!(shown, [&other[..], &[commit]].concat());
}

#[test]
fn files_are_copied_in_both_directions() {
    let home = KeptHome::new();
    container(&home, "cd /; mkdir -p a/b; echo inside > a/b/file; ln -s b a/link; chmod 640 a/b/file");
    let at = |name: &str| home.around().join(name).to_str().unwrap().to_owned();
    fs::create_dir_all(at("tree/inner")).unwrap();
    fs::write(at("tree/inner/file"), "outside").unwrap();
    std::os::unix::fs::symlink("tree", at("outer")).unwrap();
    for state in ["running", "stopped"] {
        let to = |name: &str| at(&format!("{name}-{state}"));
        // A file under another name, into a directory, a tree, the content of a tree, a link itself, and through a link.
        copied(&home, &["box:/a/b/file", &to("file")]);
        assert_eq!(fs::read_to_string(to("file")).unwrap(), "inside\n", "{state}");
        fs::create_dir(to("dir")).unwrap();
        copied(&home, &["box:a/b/file", &to("dir")]);
        copied(&home, &["box:/a", &to("dir")]);
        copied(&home, &["box:/a/link/.", &to("dir")]);
        copied(&home, &["box:/a/link", &to("link")]);
        copied(&home, &["box:/a", &to("new")]);
        for file in ["dir/file", "dir/a/b/file", "new/b/file"] {
            let (name, rest) = file.split_once('/').unwrap();
            assert_eq!(
                fs::read_to_string(format!("{}/{rest}", to(name))).unwrap(),
                "inside\n",
                "{file} {state}"
            );
        }
        assert_eq!(fs::read_link(to("link")).unwrap().to_str(), Some("b"));
        // What a link leads to has the name of the link.
        copied(&home, &["-qL", "box:/a/link", &to("dir")]);
        copied(&home, &["--follow-link", "--quiet", "box:/a/link", &to("followed")]);
        for file in ["dir/link/file", "followed/file"] {
            let (name, rest) = file.split_once('/').unwrap();
            assert_eq!(
                fs::read_to_string(format!("{}/{rest}", to(name))).unwrap(),
                "inside\n",
                "{file} {state}"
            );
        }
        let archive = home.run(&["cp", "-L", "box:/a/link", "-"]).stdout;
        let names: Vec<String> = entries(&archive).into_keys().collect();
        assert!(names.iter().any(|name| name == "link/file"), "{state}: {names:?}");
        assert!(names.iter().all(|name| name == "link" || name.starts_with("link/")), "{state}: {names:?}");
        let archive = home.run(&["cp", "box:/a", "-"]).stdout;
        let names: Vec<String> = entries(&archive).into_keys().collect();
        for name in ["a", "a/b", "a/b/file", "a/link"] {
            assert!(names.iter().any(|own| own == name), "{name} {state}: {names:?}");
        }
        assert!(names.iter().all(|name| name == "a" || name.starts_with("a/")), "{state}: {names:?}");
        // Into the container.
        copied(&home, &[&at("tree"), &format!("box:/tree-{state}")]);
        copied(&home, &[&at("tree"), "box:/a/link"]);
        copied(&home, &["-L", &at("outer"), "box:/emptied"]);
        copied(&home, &[&at("outer"), "box:/data"]);
        copied(&home, &[&format!("{}/.", at("tree")), "box:/emptied"]);
        copied(&home, &[&at("tree/inner/file"), &format!("box:/{state}")]);
        let stream =
            feed(&mut home.command(&["cp", "-", "box:/data"]), Layer::new().file("by-tar", state).tar());
        assert!(stream.status.success(), "{}", text(&stream.stderr));
        let files = entries(&home.run(&["export", "box"]).stdout);
        for (name, content) in [
            (&*format!("tree-{state}/inner/file"), "outside"),
            ("a/b/tree/inner/file", "outside"),
            ("emptied/inner/file", "outside"),
            ("emptied/one", "1"),
            ("emptied/outer/inner/file", "outside"),
            (state, "outside"),
            ("data/by-tar", state),
        ] {
            assert_eq!(files[name].2, content, "{name} {state}");
        }
        assert_eq!((files["emptied/outer"].0, files["data/outer"].0), (b'5', b'2'), "{state}");
        for (arguments, words) in [
            (&["box:/nothing", "x"][..], "Could not find the file /nothing in container box"),
            (&["nothing:/a", "x"], "No such container"),
            (&["/no/such/file", "box:/"], "ENOENT"),
            (&["/etc/passwd", "box:/no/such/directory/x"], "there is no directory"),
            (&["box:/a", "/etc/passwd"], "cannot copy a directory"),
            (&["-", "box:/a/b/file"], "there is no directory"),
        ] {
            let (status, message) = cp(&home, arguments);
            assert_eq!(status, Some(1), "{arguments:?} {message}");
            assert!(message.contains(words), "{arguments:?}: {message}");
        }
        if state == "running" {
            // The container sees it at once, and it belongs to its root.
            assert_eq!(home.out(&["exec", "box", "cat", "/running"]), "outside");
            home.out(&["stop", "-t", "0", "box"]);
        }
    }
    assert_eq!(cp(&home, &["a", "b"]).0, Some(2));
    assert_eq!(cp(&home, &["box:/a", "box:/b"]).0, Some(2));
    let owners = home.run(&["export", "box"]).stdout;
    for entry in tar::Archive::new(&owners[..]).entries().unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.header().uid().unwrap(), 0, "{:?}", entry.path());
    }
    // They are in the upper directory: an image has them too.
    home.out(&["commit", "box", "copied"]);
    assert!(home.out(&["image", "which", "copied", "/stopped"]).contains("from layer 3"));
}

#[test]
fn no_copy_follows_a_link_out() {
    let home = KeptHome::new();
    let at = |name: &str| home.around().join(name);
    fs::create_dir(at("secret")).unwrap();
    fs::write(at("secret/file"), "secret").unwrap();
    let secret = at("secret");
    let script = format!(
        "cd /; ln -s {0} out; ln -s ../../../../../..{0} up; ln -s {0}/file file; mkdir d; echo evil > d/file; ln -s /proc/self/root magic",
        secret.display()
    );
    container(&home, &script);
    fs::write(at("good"), "good").unwrap();
    let good = at("good").to_str().unwrap().to_owned();
    for state in ["running", "stopped"] {
        // A path with such a link leads to a path in the container, which does not exist.
        for path in ["box:/out/file", "box:/up/file", "box:/out/.", "box:/magic/../out/file"] {
            let (status, message) = cp(&home, &[path, at("got").to_str().unwrap()]);
            assert_eq!(status, Some(1), "{path} {state} {message}");
            assert!(!at("got").exists(), "{path} {state}");
        }
        for path in ["box:/out/new", "box:/up/new", "box:/file"] {
            let (status, message) = cp(&home, &[&good, path]);
            assert_eq!(status, Some(1), "{path} {state} {message}");
        }
        // A copy of a link is a link. A later copy over it does not go through it.
        let target = at(&format!("target-{state}"));
        fs::create_dir(&target).unwrap();
        std::os::unix::fs::symlink(&secret, target.join("d")).unwrap();
        let (status, message) = cp(&home, &["box:/d", target.to_str().unwrap()]);
        assert_eq!(status, Some(1), "{state} {message}");
        assert_eq!(fs::read_to_string(at("secret/file")).unwrap(), "secret", "{state}");
        assert_eq!(fs::read_dir(&secret).unwrap().count(), 1, "{state}");
        if state == "running" {
            home.out(&["stop", "-t", "0", "box"]);
        }
    }
}

/// A copy changes the files that it names: it puts no file in the place of a directory, and leaves the mode of its target.
#[test]
fn a_copy_replaces_no_other_kind_and_keeps_the_target() {
    let home = KeptHome::new();
    container(
        &home,
        "cd /; mkdir sticky; mkdir a; chmod 1777 sticky; echo inside > a/file; chmod 755 a; echo x > a/gone",
    );
    let at = |name: &str| home.around().join(name);
    let path = |name: &str| at(name).to_str().unwrap().to_owned();
    fs::create_dir_all(at("tree/file")).unwrap();
    fs::create_dir(at("more")).unwrap();
    for name in ["data", "more/new", "more/.wh.gone"] {
        fs::write(at(name), "outside").unwrap();
    }
    for state in ["running", "stopped"] {
        for (arguments, archive) in [
            (&[&*path("data"), "box:/"][..], None),
            (&["-", "box:/"], Some(Layer::new().file("data", "x").tar())),
            (&["-", "box:/"], Some(Layer::new().directory("a/file").tar())),
            (&[&*format!("{}/.", path("tree")), "box:/a"], None),
        ] {
            let mut command = home.command(&[&["cp"], arguments].concat());
            let output = feed(&mut command, archive.unwrap_or_default());
            assert_eq!(output.status.code(), Some(1), "{arguments:?} {state} {}", text(&output.stderr));
        }
        let files = entries(&home.run(&["export", "box"]).stdout);
        for name in ["data/second", "data/changed", "a/file"] {
            assert_eq!(files[name].0, b'0', "{name} {state}");
        }
        // The name of a mark of a layer is a name like others.
        copied(&home, &[&format!("{}/.", path("more")), "box:/sticky"]);
        copied(&home, &[&path("more/.wh.gone"), "box:/a"]);
        let files = entries(&home.run(&["export", "box"]).stdout);
        assert_eq!(files["sticky"].1, 0o1777, "{state}");
        assert_eq!((&*files["sticky/new"].2, &*files["a/gone"].2), ("outside", "x\n"), "{state}");
        assert_eq!(files["a/.wh.gone"].2, "outside", "{state}");
        let into = at(&format!("into-{state}"));
        fs::create_dir(&into).unwrap();
        fs::set_permissions(&into, fs::Permissions::from_mode(0o1750)).unwrap();
        copied(&home, &["box:/a/.", into.to_str().unwrap()]);
        assert_eq!(fs::metadata(&into).unwrap().mode() & 0o7777, 0o1750, "{state}");
        assert_eq!(fs::read_to_string(into.join("file")).unwrap(), "inside\n", "{state}");
        if state == "running" {
            home.out(&["stop", "-t", "0", "box"]);
        }
    }
}

/// The kernel's filesystems are in the running container only. Some of their files cannot be read, and some have no end.
#[test]
fn the_whole_root_is_copied_without_the_filesystems_of_the_kernel() {
    let home = KeptHome::new();
    container(&home, "cd /; echo inside > file");
    for state in ["running", "stopped"] {
        let output = home.run(&["cp", "box:/", "-"]);
        assert!(output.status.success(), "{state}: {}", text(&output.stderr));
        let files = entries(&output.stdout);
        let names: Vec<&str> = files.keys().map(|name| name.trim_start_matches('/')).collect();
        assert!(names.contains(&"file"), "{state}: {names:?}");
        let is_kernels = |name: &&&str| ["proc/", "sys/", "dev/"].iter().any(|of| name.starts_with(of));
        assert_eq!(names.iter().find(is_kernels), None, "{state}");
        if state == "running" {
            // What is asked for by its own path is copied.
            let own = entries(&home.run(&["cp", "box:/proc/sys/kernel", "-"]).stdout);
            assert!(own.len() > 1, "{own:?}");
            home.out(&["stop", "-t", "0", "box"]);
        }
    }
}

/// What a mount of a stopped container hides is not where the container will look.
#[test]
fn nothing_is_copied_below_a_mount_of_a_stopped_container() {
    let home = KeptHome::new();
    container(&home, "true");
    fs::write(home.around().join("file"), "x").unwrap();
    let file = home.around().join("file").to_str().unwrap().to_owned();
    let words = ["--network", "none", "-v", "named:/data/volume", "-v", "/nameless"];
    home.out(&[&["create", "--name", "mounts"], &words[..], &["base:1", "/bin/sh"]].concat());
    for path in ["/data/volume", "/data/volume/x", "/nameless/x", "data/../nameless/x"] {
        let (status, message) = cp(&home, &[&file, &format!("mounts:{path}")]);
        assert_eq!(status, Some(1), "{path} {message}");
        // Where `..` leads, only the container knows: the layers have no such path.
        assert!(path.contains("..") || message.contains("sandbox start mounts"), "{path} {message}");
        let (status, message) = cp(&home, &[&format!("mounts:{path}"), "-"]);
        assert_eq!(status, Some(1), "{path} {message}");
    }
    copied(&home, &[&file, "mounts:/data/x"]);
}
