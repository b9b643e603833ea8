//! Edges of images: registries that refuse a mount, helpers that misbehave, a HOME that several commands make, marks of deleted files
//! that hide nothing, archives without an end.
//!
//! Judged by what the registry of the test has heard, by the files that a container sees, and by the files of the store.
//!
//! Other inputs of the same kind as the ones here:
//! - a token server that gives a token for one of two scopes only; a registry that answers a mount with 404 or 405.
//! - a directory that is opaque below one that is new; a whiteout before and after the opaque mark.
#![cfg(feature = "images")]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::image::{Image, Layer, digest, programs};
use support::kept::KeptHome;
use support::lab::ran_with_loopback;
use support::registry::{Honest, Liar, not_pulled, pulled, pulls, whole_answer};
use support::{feed, is_root, text};

fn load(home: &KeptHome, image: &Image, names: &[&str]) {
    let output = feed(&mut home.command(&["load", "-q"]), image.docker(names));
    assert!(output.status.success(), "{}", text(&output.stderr));
}

fn run(home: &KeptHome, image: &str, script: &str) -> String {
    home.out(&["run", "--rm", "--network", "none", image, "sh", "-c", script])
}

#[test]
fn a_mount_that_is_refused_becomes_an_upload() {
    if ran_with_loopback("a_mount_that_is_refused_becomes_an_upload") {
        return;
    }
    for status in [401, 403, 404, 405] {
        let home = KeptHome::new();
        let tokens =
            Liar::start(|_, stream| drop(stream.write_all(&whole_answer(200, &[], b"{\"token\":\"t\"}"))));
        let challenge = format!("Bearer realm=\"http://127.0.0.1:{}/token\",service=\"s\"", tokens.port);
        let registry = Liar::start(move |heard, stream| {
            let is_mount = heard.target.contains("mount=");
            let wants = whole_answer(401, &[("WWW-Authenticate", &challenge)], b"");
            let _ = stream.write_all(&match (heard.header("authorization"), heard.method.as_str()) {
                (None, _) => wants,
                (_, "HEAD") => whole_answer(404, &[], b""),
                (_, "POST") if is_mount && status == 401 => wants,
                (_, "POST") if is_mount => whole_answer(status, &[], b""),
                (_, "POST") => whole_answer(202, &[("Location", "/upload?id=1")], b""),
                _ => whole_answer(201, &[], b""),
            });
        });
        let (first, second) = (registry.name("a/x:1"), registry.name("b/y:1"));
        let image = Image::of(&[Layer::new().file("a", &"a".repeat(9000))]);
        load(&home, &image, &[&first, &second]);
        let printed = pulled(&home, &["push", &first]);
        let mounts = || registry.heard().iter().filter(|heard| heard.target.contains("mount=")).count();
        // The other name was never pushed.
        assert_eq!(mounts(), 0);
        let shown = |field: &str| {
            let mut all: Vec<String> =
                home.out(&["images", "--digests", "--format", field]).lines().map(str::to_owned).collect();
            all.sort();
            all
        };
        let sent = registry
            .heard()
            .into_iter()
            .find(|heard| heard.method == "PUT" && heard.target.contains("manifests"));
        let stored = digest(&sent.unwrap().body);
        assert!(printed.contains(&stored), "{printed}");
        let (name, other) = (registry.name("a/x"), registry.name("b/y"));
        assert_eq!(
            shown("{{.Repository}} {{.Digest}}"),
            [format!("{name} {stored}"), format!("{other} <none>")]
        );
        let digests = || {
            let about: Value = serde_json::from_str(&home.out(&["image", "inspect", &first])).unwrap();
            about[0]["RepoDigests"].clone()
        };
        assert_eq!(digests(), json!([format!("{name}@{stored}")]));
        // A further name of the same repository is there too, one of another repository is not.
        home.out(&["tag", &first, &registry.name("a/x:2")]);
        home.out(&["tag", &first, "local"]);
        assert_eq!(digests(), json!([format!("{name}@{stored}")]));
        pulled(&home, &["push", &second]);
        assert!(mounts() > 0);
        let asked = tokens.heard();
        let has_both = |heard: &support::registry::Heard| {
            heard.target.contains("scope=repository%3Ab%2Fy%3Apull%2Cpush")
                && heard.target.contains("scope=repository%3Aa%2Fx%3Apull&")
        };
        assert!(asked.iter().any(has_both), "{asked:?}");
        assert_eq!(digests(), json!([format!("{name}@{stored}"), format!("{other}@{stored}")]));
        // By that digest, the image has a name here.
        home.out(&["image", "inspect", &format!("{other}@{stored}")]);
    }
}

#[test]
fn helpers_are_read_as_docker_reads_them_and_within_limits() {
    if ran_with_loopback("helpers_are_read_as_docker_reads_them_and_within_limits") {
        return;
    }
    let home = KeptHome::new();
    let good = Honest::of(&Image::of(&[Layer::new().file("a", "a")]).oci("v1"));
    let registry = Liar::start(move |heard, stream| {
        let _ = stream.write_all(&match heard.header("authorization") {
            Some("Basic bWU6c2VjcmV0") if heard.target == "/v2/" => whole_answer(200, &[], b"{}"),
            Some("Basic bWU6c2VjcmV0") => good.right(heard),
            _ => whole_answer(401, &[("WWW-Authenticate", "Basic realm=\"x\"")], b""),
        });
    });
    let at = |path: &str| home.around().join(path);
    for directory in ["bin", ".docker", "run/containers"] {
        fs::create_dir_all(at(directory)).unwrap();
    }
    for (name, script) in [
        ("lower", r#"echo '{"username":"me","SECRET":"secret","ServerURL":"x"}'"#),
        (
            "large",
            "while :; do echo 0123456789012345678901234567890123456789012345678901234567890123456789; done",
        ),
        ("slow", r#"sleep 7; echo '{"Username":"me","Secret":"secret"}'"#),
    ] {
        let path = at(&format!("bin/docker-credential-{name}"));
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:{}", at("bin").display(), std::env::var("PATH").unwrap());
    let host = format!("127.0.0.1:{}", registry.port);
    let pull = |config: &str| {
        fs::write(at(".docker/config.json"), config).unwrap();
        let output =
            pulls(&home, &["pull", "-q", &registry.name("x:1")]).env("PATH", &path).output().unwrap();
        let words = text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
        (output.status.success(), words)
    };
    let auths = json!({ &*host: { "auth": "bWU6c2VjcmV0" } });
    for config in [
        json!({ "credsStore": "", "auths": auths }),
        json!({ "credHelpers": { &*host: "" }, "auths": auths }),
        json!({ "credHelpers": { &*host: "" }, "credsStore": "lower" }),
        json!({ "credsStore": "lower" }),
    ] {
        assert_eq!(pull(&config.to_string()), (true, String::new()), "{config}");
    }
    for config in [json!({ "credsStore": "" }).to_string(), " \n\t ".to_owned()] {
        let (is_done, words) = pull(&config);
        assert!(!is_done && words.contains("pull access denied"), "{config}: {words}");
    }
    let (is_done, words) = pull(r#"{ "credsStore": "large" }"#);
    assert!(
        !is_done && words.contains("docker-credential-large") && words.contains("more than 1 MiB"),
        "{words}"
    );
    let (is_done, words) = pull(r#"{ "credsStore": "slow" }"#);
    assert!(
        is_done && words == "sandbox: still waiting for the credential helper docker-credential-slow",
        "{words}"
    );
    // A file of white space is one without passwords, to which a login adds one.
    fs::write(at("run/containers/auth.json"), "\n").unwrap();
    fs::write(at(".docker/config.json"), "").unwrap();
    let output = feed(&mut pulls(&home, &["login", "-u", "me", "--password-stdin", &host]), "secret");
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(pull("").0);
}

#[test]
fn several_commands_may_make_home_together() {
    let image = Image::of(&[programs(&["sh"])]);
    let archive = image.docker(&["x:1"]);
    for _ in 0..6 {
        let home = KeptHome::new();
        let file = home.around().join("archive");
        fs::write(&file, &archive).unwrap();
        let file = file.to_str().unwrap();
        let start = |words: &[&str]| {
            let mut command = home.command(words);
            (words.join(" "), command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
        };
        let started = [
            start(&["load", "-qi", file]),
            start(&["volume", "create", "one"]),
            start(&["import", file, "y:1"]),
            start(&["images"]),
            start(&["load", "-qi", file]),
            start(&["volume", "create", "two"]),
            start(&["load", "-qi", file]),
            start(&["ps", "-a"]),
        ];
        for (words, process) in started {
            let output = process.wait_with_output().unwrap();
            assert!(output.status.success(), "{words}: {}", text(&output.stderr));
        }
        let layout = fs::read_to_string(home.path().join("images/oci-layout")).unwrap();
        assert_eq!(layout, "{\"imageLayoutVersion\":\"1.0.0\"}\n");
        let names =
            fs::read_dir(home.path().join("images")).unwrap().flatten().map(|entry| entry.file_name());
        let left: Vec<_> = names.filter(|name| name.to_string_lossy().contains(".new")).collect();
        assert!(left.is_empty(), "{left:?}");
        assert_eq!(home.out(&["images", "-q", "--no-trunc", "x"]), image.id());
    }
}

#[test]
fn a_mark_that_hides_nothing_leaves_no_name() {
    let home = KeptHome::new();
    let low = programs(&["sh", "ls", "stat"])
        .directory("old")
        .file("old/a", "a")
        .directory("old/sub")
        .file("old/sub/a", "a")
        .directory("merged")
        .file("merged/a", "a")
        .file("file", "x");
    let top = Layer::new()
        .directory("new")
        .file("new/.wh.x", "")
        .file("new/y", "y")
        .file("made/in/.wh.z", "")
        .directory("old")
        .file("old/.wh.a", "")
        .directory("old/sub")
        .file("old/sub/.wh.a", "")
        .file("old/.wh..wh..opq", "")
        .file("old/b", "b")
        .file("merged/.wh.a", "")
        .file("merged/.wh.never", "")
        .file(".wh.file", "")
        .directory("file")
        .file("file/.wh.x", "");
    let image = Image {
        config: json!({ "config": { "Env": ["PATH=/bin", "A=1", "A=2"] } }),
        ..Image::of(&[low, top])
    };
    load(&home, &image, &["x"]);
    let script = "for d in new made made/in old old/sub merged file; do echo $d: $(ls -A /$d 2>&1); ls -lA /$d >/dev/null; done";
    let listed = run(&home, "x", script);
    assert_eq!(listed, "new: y\nmade: in\nmade/in:\nold: b sub\nold/sub:\nmerged:\nfile:");
    let times = run(&home, "x", "stat -c %Y /new /old /old/sub /file");
    assert_eq!(times, ["1000000000"; 4].join("\n"));
    // Of a variable that the image has twice, the last value counts.
    assert_eq!(run(&home, "x", "echo $A"), "2");
    home.out(&["image", "verify", "x"]);
}

#[test]
fn a_new_volume_gets_what_the_image_has() {
    let home = KeptHome::new();
    let is_root = is_root();
    let mut low = programs(&["sh", "ls"])
        .directory("data")
        .directory("data/sub")
        .file("data/sub/a", "a")
        .hard_link("data/b", "data/sub/a")
        .symlink("data/link", "nowhere")
        .entry(b"data/fifo", b'6', b"", b"", |header| header.set_mode(0o640));
    if is_root {
        low = low.entry(b"data/null", b'3', b"", b"", |header| {
            header.set_mode(0o606);
            header.set_device_major(1).unwrap();
            header.set_device_minor(3).unwrap();
        });
    }
    let top = Layer::new().file("data/other", "o").hard_link("data/more", "data/other");
    load(
        &home,
        &Image { config: json!({ "config": { "Env": ["PATH=/bin"] } }), ..Image::of(&[low, top]) },
        &["x"],
    );
    home.out(&["run", "--rm", "--network", "none", "-v", "vol:/data", "x", "sh", "-c", "ls /data"]);
    let data = home.path().join("volumes/vol/_data");
    let about = |name: &str| fs::symlink_metadata(data.join(name)).unwrap();
    for (one, other) in [("sub/a", "b"), ("other", "more")] {
        assert_eq!((about(one).ino(), about(one).nlink()), (about(other).ino(), 2), "{one} {other}");
    }
    assert!(about("fifo").file_type().is_fifo() && about("fifo").mode() & 0o7777 == 0o640);
    for name in ["link", "fifo", "b"] {
        assert_eq!(about(name).mtime(), 1_000_000_000, "{name}");
    }
    if is_root {
        let null = about("null");
        assert!(null.file_type().is_char_device() && null.rdev() == 0x103 && null.mode() & 0o7777 == 0o606);
    }
}

#[test]
fn an_archive_ends_where_it_ends() {
    let home = KeptHome::new();
    let archive = Layer::new().file("a", "a").tar();
    let blob = |id: &str| {
        let about: Value = serde_json::from_str(&home.out(&["image", "inspect", id])).unwrap();
        let layer = about[0]["RootFS"]["Layers"][0].as_str().unwrap()[7..].to_owned();
        fs::read(home.path().join("images/blobs/sha256").join(layer)).unwrap()
    };
    let import = |from: &Path| {
        let mut from = fs::File::open(from).unwrap();
        let mut child = home
            .command(&["import", "--platform", "linux/arm/v6", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut to = child.stdin.take().unwrap();
        to.write_all(&archive).unwrap();
        // Until the command has read enough.
        let mut buffer = [0; 65536];
        let start = Instant::now();
        loop {
            let count = from.read(&mut buffer).unwrap();
            if count == 0 || to.write_all(&buffer[..count]).is_err() {
                break;
            }
            assert!(start.elapsed() < Duration::from_secs(60), "it reads without an end");
        }
        drop(to);
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        text(&output.stdout).trim().to_owned()
    };
    let words = home.around().join("words");
    fs::write(&words, "words\n".repeat(1_000_000)).unwrap();
    let found = blob(&import(&words));
    assert_eq!(found, archive);
    let zeros = blob(&import(Path::new("/dev/zero")));
    assert!(zeros.starts_with(&archive) && zeros.len() <= archive.len() + (2 << 20), "{}", zeros.len());
    let id = import(Path::new("/dev/null"));
    assert_eq!(blob(&id), archive);
    let about: Value = serde_json::from_str(&home.out(&["image", "inspect", &id])).unwrap();
    assert_eq!((&about[0]["Architecture"], &about[0]["Variant"]), (&json!("arm"), &json!("v6")));
    // What tar(1) writes is kept byte by byte.
    let file = home.around().join("f.tar");
    let made = Command::new("tar").arg("-cf").arg(&file).arg("-C").arg(home.around()).arg("words").status();
    assert!(made.unwrap().success());
    assert_eq!(blob(&home.out(&["import", file.to_str().unwrap()])), fs::read(&file).unwrap());
}

#[test]
fn names_are_found_by_patterns_of_docker() {
    let home = KeptHome::new();
    let long = "a".repeat(60);
    load(&home, &Image::of(&[Layer::new().file("a", "a")]), &["team/tool:1.2", &long]);
    let listed = |pattern: &str| {
        let format = ["images", "--format", "{{.Repository}}", "--filter"];
        home.out(&[&format[..], &[&format!("reference={pattern}")]].concat())
    };
    for pattern in ["team/t[a-p]ol", "[^u]eam/*", "team/tool:1.?", r"team/\tool"] {
        assert_eq!(listed(pattern), "team/tool", "{pattern}");
    }
    let start = Instant::now();
    assert_eq!(listed(&("*a".repeat(30) + "*b")), "");
    assert!(start.elapsed() < Duration::from_secs(5));
    for wrong in ["reference=[", "reference=a[", r"reference=a\"] {
        let message = home.refused(&["images", "--filter", wrong], 1);
        assert!(message.contains("syntax error in pattern"), "{message}");
    }
    home.refused(&["rmi", "none"], 1);
    let output = home.command(&["rmi", "-f", "none", "team/tool:1.2"]).output().unwrap();
    assert!(
        output.status.success() && text(&output.stderr).contains("none:latest"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(listed("team/*"), "");
}

#[test]
fn an_index_may_lead_to_another_one() {
    if ran_with_loopback("an_index_may_lead_to_another_one") {
        return;
    }
    let home = KeptHome::new();
    let good = Honest::of(&Image::of(&[Layer::new().file("a", "a")]).oci("v1"));
    let media = "application/vnd.oci.image.index.v1+json";
    for (depth, is_good) in [(1, true), (3, true), (5, false), (40, false)] {
        let mut nested = good.clone();
        for _ in 0..depth {
            let inner = json!({
                "mediaType": nested.media_type, "digest": digest(&nested.manifest), "size": nested.manifest.len(),
            });
            let index = json!({ "schemaVersion": 2, "mediaType": media, "manifests": [inner] });
            nested.blobs.insert(digest(&nested.manifest), nested.manifest.clone());
            (nested.manifest, nested.media_type) = (index.to_string().into_bytes(), media.to_owned());
        }
        let outer = digest(&nested.manifest);
        let registry = Liar::start(move |heard, stream| {
            let last = heard.target.rsplit('/').next().unwrap();
            let inner = nested.blobs.get(last).filter(|_| heard.target.contains("/manifests/"));
            let _ = stream.write_all(&match inner {
                Some(bytes) => whole_answer(200, &[("Content-Type", media_type(bytes))], bytes),
                None => nested.right(heard),
            });
        });
        let name = registry.name("x:1");
        if is_good {
            pulled(&home, &["pull", "-q", &name]);
            assert_eq!(home.out(&["images", "--digests", "--format", "{{.Digest}}", &name]), outer);
        } else {
            let message = not_pulled(&home, &["pull", "-q", &name]);
            assert!(message.contains("is in too many other indexes"), "{message}");
        }
    }
    let all = home.out(&["images", "-q"]);
    home.out(&[&["image", "verify"][..], &all.lines().collect::<Vec<_>>()].concat());
}

fn media_type(document: &[u8]) -> &'static str {
    let read: Value = serde_json::from_slice(document).unwrap();
    match read["manifests"].is_array() {
        true => "application/vnd.oci.image.index.v1+json",
        false => "application/vnd.oci.image.manifest.v1+json",
    }
}
