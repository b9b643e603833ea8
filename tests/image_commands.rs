//! The commands around images: templates and filters of `images`, `image which`, `image diff`, `image prune`, `system df`, `import`.
//!
//! Judged by the archives of the layers that the test made, by the files in HOME, and by Docker's words.
//!
//! Other inputs of the same kind as the ones here:
//! - paths through links of lower layers, deleted and made again, below opaque directories; names that are not UTF-8.
//! - images with the same layers, with several names, with none, with containers that run or have ended.
//! - archives that are compressed, empty, damaged, or that leave their directory.
#![cfg(feature = "images")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use support::image::{Image, Layer, Layout, digest, gzip, programs};
use support::kept::KeptHome;
use support::{feed, text};

fn load(home: &KeptHome, image: &Image, names: &[&str]) {
    let output = feed(&mut home.command(&["load", "-q"]), image.docker(names));
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn prune_takes_filters() {
    let home = KeptHome::new();
    for (number, name) in ["a", "b", "c"].into_iter().enumerate() {
        let created = format!("201{number}-10-22T21:00:00Z");
        load(
            &home,
            &with_config(&[Layer::new().file("file", name)], &created, json!({ "team": name })),
            &[name],
        );
    }
    let left = || {
        let mut names: Vec<String> =
            home.out(&["images", "--format", "{{.Repository}}"]).lines().map(str::to_owned).collect();
        names.sort();
        names
    };
    for (filters, wanted) in [
        (&["--filter", "label=team=b"][..], &["a", "b", "c"][..]),
        (&["-a", "--filter", "label=team=b"], &["a", "c"]),
        (&["-a", "--filter", "until=2011-01-01", "--filter", "label!=team"], &["a", "c"]),
        (&["--filter", "dangling=false", "--filter", "until=2011-01-01"], &["c"]),
    ] {
        home.out(&[&["image", "prune", "-f"], filters].concat());
        assert_eq!(left(), wanted, "{filters:?}");
    }
    assert!(home.refused(&["image", "prune", "-f", "--filter", "reference=c"], 1).contains("reference=c"));
    home.out(&["rmi", "--no-prune", "c"]);
    assert!(left().is_empty());
}

/// The same image may have its layers packed in two ways, which are two manifests.
#[test]
fn an_image_with_two_manifests_is_listed_once() {
    let home = KeptHome::new();
    let image = Image::of(&[Layer::new().file("file", "x")]);
    let list = || home.out(&["images", "--format", "{{.Repository}} {{.ID}}"]);
    let expected = format!("twice {}", &image.id()[7..19]);
    for archive in [image.oci("twice:latest").archive(), image.docker(&["twice"]), image.docker(&[])] {
        let output = feed(&mut home.command(&["load", "-q"]), archive);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert_eq!(list(), expected);
    }
    home.out(&["image", "verify", "twice"]);
    home.out(&["rmi", "twice"]);
    assert_eq!(list(), "");
}

#[test]
fn an_image_for_another_platform_is_refused() {
    let home = KeptHome::new();
    let mut image = Image::of(&[Layer::new().file("file", "x")]);
    image.config = json!({ "architecture": "s390x", "os": "linux" });
    let load =
        |platform: &str| feed(&mut home.command(&["load", "--platform", platform]), image.docker(&["ibm"]));
    let output = load("linux/arm64");
    assert!(text(&output.stderr).contains("no image for linux/arm64"), "{output:?}");
    assert_eq!((output.status.code(), home.out(&["images", "-q"])), (Some(1), String::new()));
    assert!(load("linux/s390x").status.success());
    let file = home.around().join("image.tar");
    let save = |platform| ["save", "--platform", platform, "-o", file.to_str().unwrap(), "ibm"];
    assert!(home.refused(&save("linux/arm64"), 1).contains("linux/arm64"));
    home.out(&save("linux/s390x"));
}

/// Standard output of a command with this status.
fn with_status(home: &KeptHome, arguments: &[&str], status: i32) -> String {
    let output = home.run(arguments);
    assert_eq!(output.status.code(), Some(status), "{arguments:?} {}", text(&output.stderr));
    text(&output.stdout).trim_end().to_owned()
}

fn with_config(layers: &[Layer], created: &str, labels: Value) -> Image {
    let mut image = Image::of(layers);
    image.config = json!({ "created": created, "config": { "Labels": labels } });
    image
}

#[test]
fn images_and_history_take_templates_and_filters() {
    let home = KeptHome::new();
    let layer = |text: &str| Layer::new().file("file", text);
    let old = with_config(&[layer("1")], "2015-10-22T21:00:00Z", json!({ "team": "a" }));
    let new = with_config(&[layer("22")], "2016-10-22T21:00:00Z", json!({ "team": "b", "x": "" }));
    load(&home, &old, &["old:1"]);
    load(&home, &new, &["new:1", "new:2"]);
    let lines = |arguments: &[&str]| {
        let mut lines: Vec<String> =
            home.out(&[&["images"], arguments].concat()).lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let named = ["--format", "{{.Repository}}:{{.Tag}}"];
    for (filter, wanted) in [
        ("label=team", &["new:1", "new:2", "old:1"][..]),
        ("label=team=a", &["old:1"]),
        ("label=x", &["new:1", "new:2"]),
        ("label=team=c", &[]),
        ("before=new:1", &["old:1"]),
        ("since=old:1", &["new:1", "new:2"]),
        ("reference=*:2", &["new:2"]),
        ("until=2016-01-01", &["old:1"]),
        ("until=1h", &["new:1", "new:2", "old:1"]),
        ("label!=x", &["old:1"]),
        ("dangling=true", &[]),
        ("dangling=false", &["new:1", "new:2", "old:1"]),
    ] {
        assert_eq!(lines(&[&named[..], &["--filter", filter]].concat()), wanted, "{filter}");
    }
    assert_eq!(lines(&[&named[..], &["-f", "label=team=b", "-f", "reference=*:1"]].concat()), ["new:1"]);
    assert_eq!(
        lines(&[&named[..], &["-f", "reference=new:2", "-f", "reference=old"]].concat()),
        ["new:2", "old:1"]
    );
    assert_eq!(
        lines(&["old", "--format", "table {{.Repository}}\\t{{.ID}}\\t{{.CreatedAt}}"]),
        [
            "REPOSITORY   IMAGE ID       CREATED AT".to_owned(),
            format!("old          {}   2015-10-22 21:00:00 +0000 UTC", &old.id()[7..19])
        ]
    );
    let json: Value = serde_json::from_str(&home.out(&["images", "old", "--format", "json"])).unwrap();
    let keys: Vec<&String> = json.as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        [
            "Containers",
            "CreatedAt",
            "CreatedSince",
            "Digest",
            "ID",
            "Repository",
            "SharedSize",
            "Size",
            "Tag",
            "UniqueSize"
        ]
    );
    assert_eq!(json["Size"], "1B");
    assert!(lines(&["--digests", "old"])[0].starts_with("REPOSITORY   TAG       DIGEST  "));
    assert_eq!(home.out(&["images", "-aq", "--no-trunc", "old"]), old.id());
    assert_eq!(
        home.out(&["history", "--format", "{{.ID}} {{.Size}}", "old:1"]),
        format!("{} 1B", &old.id()[7..19])
    );
    assert_eq!(home.out(&["history", "--format", "table {{.Size}}", "old:1"]), "SIZE\n1B");
    let digits = "2015-10-22T21:00:00.123456789Z";
    let mut exact = with_config(&[layer("3")], digits, json!({}));
    exact.config["history"] = json!([{ "created": digits, "created_by": "x" }]);
    load(&home, &exact, &["exact"]);
    let table = home.out(&["history", "-H=false", "--no-trunc", "old:1"]);
    let columns: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(columns[0], ["IMAGE", "CREATED", "AT", "CREATED", "BY", "SIZE", "COMMENT"]);
    assert_eq!(home.out(&["history", "--format", "{{.CreatedAt}}", "exact"]), "2015-10-22T21:00:00Z");
    for (flags, expected) in [(&["-H"][..], "1B"), (&["-H=false"], "1"), (&["--human=false"], "1")] {
        let words = [&["history", "--format", "{{.Size}}"], flags, &["old:1"]].concat();
        assert_eq!(home.out(&words), expected, "{flags:?}");
    }
    for (arguments, status, words) in [
        (&["images", "--format", "{{.Nothing}}"][..], 1, "Nothing"),
        (&["images", "--format", "{{"], 1, "--format"),
        (&["history", "--format", "{{", "old:1"], 1, "--format"),
        (&["images", "--filter", "label"], 1, "label=KEY"),
    ] {
        let message = home.refused(arguments, status);
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn a_path_comes_from_a_layer_and_others_hide_it() {
    let home = KeptHome::new();
    let layers = [
        Layer::new().directory("etc").file("etc/motd", "1").file("etc/gone", "1").symlink("bin", "usr/bin"),
        Layer::new().file("etc/motd", "22").directory("opaque").file("opaque/old", "1"),
        Layer::new().file("etc/.wh.gone", "").file("opaque/.wh..wh..opq", "").file("bin/tool", "tool"),
    ];
    load(&home, &Image::of(&layers), &["image"]);
    assert_eq!(
        with_status(&home, &["image", "which", "image", "/etc/motd"], 0),
        "/etc/motd comes from layer 2\n  layer 3: no entry\n  layer 2: file, mode 0644, owner 0:0, 2B\n  layer 1: file, mode 0644, \
         owner 0:0, 1B, hidden by layer 2"
    );
    assert_eq!(
        with_status(&home, &["image", "which", "image", "etc/gone"], 1),
        "/etc/gone is not in the image\n  layer 3: a whiteout, which deletes it\n  layer 2: no entry\n  layer 1: file, mode 0644, \
         owner 0:0, 1B, hidden by layer 3"
    );
    let old = with_status(&home, &["image", "which", "image", "/opaque/old"], 1);
    assert!(old.contains("layer 3: hides it, because it replaces or empties a directory above"), "{old}");
    let tool = with_status(&home, &["image", "which", "image", "/bin/tool"], 0);
    assert!(
        tool.starts_with("/bin/tool leads to /usr/bin/tool\n/usr/bin/tool comes from layer 3\n"),
        "{tool}"
    );
    let link = with_status(&home, &["image", "which", "image", "/bin"], 0);
    assert!(link.contains("layer 1: symbolic link, mode 0644, owner 0:0 -> usr/bin"), "{link}");
    assert!(
        with_status(&home, &["image", "which", "image", "/nothing"], 1)
            .contains("/nothing is not in the image")
    );
    for root in ["/", ".", "/etc/.."] {
        let printed = with_status(&home, &["image", "which", "image", root], 0);
        assert!(printed.contains("/ is the root directory"), "{root}: {printed}");
    }
    assert!(home.refused(&["image", "which", "nothing", "/"], 1).contains("No such image"));
}

#[test]
fn two_images_differ_path_by_path() {
    let home = KeptHome::new();
    let base =
        || Layer::new().directory("etc").file("etc/same", "1").file("etc/changed", "1").file("etc/gone", "1");
    let upper = Layer::new()
        .file("etc/changed", "2")
        .file("etc/.wh.gone", "")
        .entry(b"etc/same", b'0', b"", b"1", |header| {
            header.set_mode(0o600);
            header.set_mtime(7);
        })
        .file("new\u{1b}", "");
    load(&home, &Image::of(&[base()]), &["one"]);
    load(&home, &Image::of(&[base(), upper]), &["two"]);
    let changes = home.out(&["image", "diff", "one", "two"]);
    assert_eq!(changes, "C /etc/changed  (content)\nD /etc/gone\nC /etc/same  (mode)\nA /new\\x1b");
    let back = home.out(&["image", "diff", "two", "one"]);
    assert!(back.contains("A /etc/gone\n") && back.contains("D /new"), "{back}");
    assert_eq!(home.out(&["image", "diff", "one", "one"]), "");
}

#[test]
fn an_archive_of_files_becomes_an_image() {
    let home = KeptHome::new();
    let files = programs(&["sh", "cat"]).file("etc/motd", "hello").tar();
    let import = |archive: &[u8], arguments: &[&str]| {
        let output = feed(&mut home.command(&[&["import"], arguments].concat()), archive);
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout).trim().to_owned()
    };
    let changes = ["-c", "CMD [\"sh\", \"-c\", \"cat /etc/motd\"]", "--change", "ENV A=1", "-m", "by a test"];
    let id = import(&gzip(&files), &[&changes[..], &["-", "mine:1"]].concat());
    let about: Value = serde_json::from_str(&home.out(&["image", "inspect", "mine:1"])).unwrap();
    assert_eq!(about[0]["Id"], id.as_str());
    let config = &about[0]["Config"];
    assert_eq!((&config["Cmd"], &config["Env"]), (&json!(["sh", "-c", "cat /etc/motd"]), &json!(["A=1"])));
    let small = Layer::new().file("file", "small").tar();
    for (program, changes, part, wanted) in [
        ("xz", &["-c", "ONBUILD RUN echo x"][..], "OnBuild", json!(["RUN echo x"])),
        (
            "bzip2",
            &["-c", "HEALTHCHECK --retries=2 CMD true"],
            "Healthcheck",
            json!({ "Test": ["CMD-SHELL", "true"], "Retries": 2 }),
        ),
    ] {
        let other = import(
            &feed(Command::new(program).arg("-c"), &small).stdout,
            &[changes, &["-", program]].concat(),
        );
        let about: Value = serde_json::from_str(&home.out(&["image", "inspect", &other])).unwrap();
        assert_eq!(about[0]["Config"][part], wanted);
        assert_eq!(about[0]["RootFS"]["Layers"], json!([digest(&small)]), "{program}");
        // The archive of an image too.
        let image = Image::of(&[Layer::new().file("by", program)]);
        let packed =
            feed(Command::new(program).arg("-c"), image.docker(&[&format!("{program}:image")])).stdout;
        let loaded = feed(&mut home.command(&["load", "-q"]), packed);
        assert!(loaded.status.success(), "{program}: {}", text(&loaded.stderr));
        assert_eq!(home.out(&["images", "-q", "--no-trunc", &format!("{program}:image")]), image.id());
    }
    // In the store it is not compressed, so the blob and the layer have the same digest.
    assert_eq!(about[0]["RootFS"]["Layers"], json!([digest(&files)]));
    assert_eq!(fs::read(home.path().join("images/blobs/sha256").join(&digest(&files)[7..])).unwrap(), files);
    assert_eq!(home.out(&["history", "--format", "{{.Comment}}", "mine:1"]), "by a test");
    let spec = home.around().join("spec.yaml");
    fs::write(&spec, "rootfs: mine:1\nenv: { PATH: /bin }\ncommand: [cat, /etc/motd]\n").unwrap();
    assert_eq!(home.out(&["run", "-q", spec.to_str().unwrap()]), "hello");
    // From a file, without a name: what tar(1) writes.
    fs::create_dir(home.around().join("tree")).unwrap();
    fs::write(home.around().join("tree/file"), "x").unwrap();
    let archive = home.around().join("tree.tar");
    let tar = Command::new("tar")
        .arg("-cf")
        .arg(&archive)
        .arg("-C")
        .arg(home.around().join("tree"))
        .arg(".")
        .status();
    assert!(tar.unwrap().success());
    let other = home.out(&["import", archive.to_str().unwrap()]);
    assert_eq!(home.out(&["images", "-q", "--no-trunc", "--filter", "dangling=true"]), other);
    assert!(home.out(&["image", "which", &other, "/file"]).contains("from layer 1"));
    let before = home.out(&["images", "-q"]).lines().count();
    for (archive, arguments, words) in [
        (vec![b'x'; 600], &["-", "bad"][..], "It is no tar archive"),
        (files[..700].to_vec(), &["-", "bad"], "ends in the middle"),
        (Layer::new().file("../out", "x").tar(), &["-", "bad"], "leaves the layer"),
        (files.clone(), &["-c", "RUN ls", "-", "bad"], "instructions that change it"),
        (files.clone(), &["-c", "from y", "-", "bad"], "FROM does not change the config"),
        (files.clone(), &["-", "Bad"], "lowercase"),
        (Vec::new(), &["/no/such/file", "bad"], "ENOENT"),
    ] {
        let output = feed(&mut home.command(&[&["import"], arguments].concat()), archive);
        let message = text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(output.status.code(), Some(1), "{arguments:?} {message}");
        assert!(message.contains(words), "{words}: {message}");
    }
    assert_eq!(home.out(&["images", "-q"]).lines().count(), before);
    assert!(fs::read_dir(home.path().join("images/ingest")).unwrap().next().is_none());
}

#[test]
fn what_nobody_needs_is_counted_and_removed() {
    let home = KeptHome::new();
    let shared = programs(&["sh", "sleep"]);
    let used = Image::of(&[shared.clone(), Layer::new().file("a", "1")]);
    let free = Image::of(&[shared, Layer::new().file("b", &"2".repeat(2000))]);
    load(&home, &used, &["used:1"]);
    load(&home, &free, &["free:1", "free:2"]);
    let spec = home.around().join("spec.yaml");
    fs::write(&spec, "rootfs: used:1\npid:\nenv: { PATH: /bin }\ncommand: [sleep, '600']\n").unwrap();
    home.out(&["create", "--name", "box", spec.to_str().unwrap()]);
    let rows =
        home.out(&["system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Active}} {{.Reclaimable}}"]);
    let rows: Vec<&str> = rows.lines().collect();
    assert_eq!(rows[0], "Images 2 1 2kB (0%)");
    assert!(rows[1].starts_with("Containers 1 0 "), "{rows:?}");
    assert_eq!(rows[2], "Local Volumes 0 0 0B");
    assert!(home.out(&["system", "df"]).starts_with("TYPE            TOTAL     ACTIVE    SIZE"));
    home.out(&["volume", "create", "data"]);
    let verbose = home.out(&["system", "df", "-v"]);
    for words in [
        "Images space usage:\n\nREPOSITORY   TAG       IMAGE ID",
        "SHARED SIZE   UNIQUE SIZE   CONTAINERS\n",
        "\n\nContainers space usage:\n\nCONTAINER ID   IMAGE     COMMAND",
        "\n\nLocal Volumes space usage:\n\nVOLUME NAME   LINKS     SIZE\ndata          0         0B",
    ] {
        assert!(verbose.contains(words), "{words}: {verbose}");
    }
    let verbose: Value =
        serde_json::from_str(&home.out(&["system", "df", "-v", "--format", "json"])).unwrap();
    let images = verbose["Images"].as_array().unwrap();
    let row = |tag: &str| images.iter().find(|row| row["Repository"] == tag).unwrap();
    assert_eq!((&row("free")["UniqueSize"], &row("free")["Containers"]), (&"2kB".into(), &"0".into()));
    assert_eq!((&row("used")["UniqueSize"], &row("used")["Containers"]), (&"1B".into(), &"1".into()));
    assert_eq!(row("used")["SharedSize"], row("free")["SharedSize"]);
    assert_eq!(images.len(), 3, "one for each name: {images:?}");
    assert_eq!(verbose["Containers"][0]["Names"], "box");
    home.out(&["volume", "rm", "data"]);
    // Without a name: dangling.
    home.out(&["tag", "used:1", "free:2"]);
    let pruned = |arguments: &[&str]| home.out(&[&["image", "prune", "-f"], arguments].concat());
    assert_eq!(pruned(&[]), "Total reclaimed space: 0B");
    let question = feed(&mut home.command(&["image", "prune", "-a"]), "n\n");
    assert!(text(&question.stdout).contains("Are you sure you want to continue? [y/N]"), "{question:?}");
    let all = pruned(&["-a"]);
    for line in
        ["Deleted Images:", "untagged: free:1", &format!("deleted: {}", free.id()), "Total reclaimed space: "]
    {
        assert!(all.contains(line), "{line}: {all}");
    }
    // A container is made from an image with the name used:1, so both of its names stay.
    assert_eq!(home.out(&["images", "-q"]).lines().count(), 2);
    let blob = |image: &Image, at: usize| {
        home.path().join("images/blobs/sha256").join(&digest(&image.layers[at])[7..])
    };
    assert!(blob(&used, 0).exists() && blob(&used, 1).exists() && !blob(&free, 1).exists());
    assert_eq!(home.out(&["image", "verify", "used:1"]).matches("good").count(), 6);
    home.out(&["rm", "box"]);
    assert!(pruned(&["-a"]).contains("untagged: used:1"));
    assert_eq!(home.out(&["images", "-q"]), "");
    assert!(fs::read_dir(home.path().join("images/blobs/sha256")).unwrap().next().is_none());
}

/// `rmi` removes directories whose modes deny their owner to look into them, or to change them. Of this kind: each of r, w, x
/// missing, empty or with files and directories below, one in another.
#[test]
fn directories_that_deny_their_owner_are_removed() {
    let home = KeptHome::new();
    let closed = |layer: Layer, name: &str, mode: u32| {
        layer.entry(name.as_bytes(), b'5', b"", b"", |header| header.set_mode(mode))
    };
    let mut layer = Layer::new();
    for mode in [0o000, 0o111, 0o222, 0o333, 0o444, 0o555, 0o666] {
        let top = format!("d{mode:o}");
        layer = layer.file(&format!("{top}/below/file"), "1").file(&format!("{top}/file"), "2");
        for name in [format!("{top}/empty"), format!("{top}/below"), top] {
            layer = closed(layer, &name, mode);
        }
    }
    load(&home, &Image::of(&[closed(layer, "./", 0o555)]), &["closed:1"]);
    assert!(home.out(&["rmi", "closed:1"]).contains("Deleted: "));
    let left = |directory: &Path| -> Vec<PathBuf> {
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    for path in left(&home.path().join("layers")) {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("users") && left(&path).is_empty(), "{}", path.display());
    }
}

/// An entry of very many levels, and a whiteout and a hard link at that depth, are looked up in a short time: without a test of
/// the time, because machines differ. A slow look-up of each level through each level above took a minute.
#[test]
fn paths_of_many_levels_are_unpacked() {
    let home = KeptHome::new();
    let deep = "dd/".repeat(300);
    let low = Layer::new().directory(&deep).file(&format!("{deep}file"), "1");
    let top =
        Layer::new().file(&format!("{deep}.wh.file"), "").file(&format!("{}e/new", "dd/".repeat(299)), "2");
    load(&home, &Image::of(&[low, top]), &["deep:1"]);
    let which = |path: String, status: i32| with_status(&home, &["image", "which", "deep:1", &path], status);
    assert!(which(format!("/{}e/new", "dd/".repeat(299)), 0).contains("layer 2"));
    which(format!("/{deep}file"), 1);
    home.out(&["rmi", "deep:1"]);
}

/// What the layers are that a container needs may be unknown. Then the commands that remove images remove nothing.
#[test]
fn where_a_container_cannot_be_read_no_image_loses_its_name() {
    let home = KeptHome::new();
    load(&home, &Image::of(&[Layer::new().file("file", "a")]), &["used"]);
    load(&home, &Image::of(&[Layer::new().file("file", "b")]), &["other"]);
    home.out(&["create", "--name", "box", "used", "/file"]);
    let config = home.container("box").join("config.json");
    let whole = fs::read(&config).unwrap();
    fs::write(&config, "{").unwrap();
    let before = home.out(&["images"]);
    for command in [&["rmi", "other"][..], &["image", "prune", "-af"], &["builder", "prune", "-f"]] {
        let output = home.run(command);
        assert_eq!(output.status.code(), Some(1), "{command:?} {}", text(&output.stdout));
        assert_eq!(text(&output.stdout), "", "{command:?}");
        assert_eq!(home.out(&["images"]), before, "{command:?}");
    }
    fs::write(&config, whole).unwrap();
    assert!(home.out(&["rmi", "other"]).starts_with("Untagged: other:latest\nDeleted: sha256:"));
    home.out(&["rm", "box"]);
}

/// An index of an archive, as `docker buildx` and others write it.
fn indexed(layout: &Layout, platform: Option<Value>) -> Layout {
    let mut inner = layout.index["manifests"][0].clone();
    inner.as_object_mut().unwrap().remove("annotations");
    let mut other = inner.clone();
    other["platform"] = json!({ "os": "linux", "architecture": "s390x" });
    other["digest"] = digest(b"nothing").into();
    match platform {
        Some(platform) => inner["platform"] = platform,
        None => drop(inner.as_object_mut().unwrap().remove("platform")),
    }
    let media = "application/vnd.oci.image.index.v1+json";
    let index = json!({ "schemaVersion": 2, "mediaType": media, "manifests": [other, inner] });
    let index = index.to_string().into_bytes();
    let mut indexed = layout.clone();
    indexed.index["manifests"][0] = json!({
        "mediaType": media,
        "digest": digest(&index),
        "size": index.len(),
        "annotations": { "org.opencontainers.image.ref.name": "index:latest" },
    });
    indexed.blobs.push(index);
    indexed
}

#[test]
fn what_is_no_image_for_containers_is_refused_by_what_it_is() {
    let home = KeptHome::new();
    let load = |archive: &[u8]| {
        let output = feed(&mut home.command(&["load", "-q"]), archive);
        (output.status.code(), text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let image = Image::of(&[Layer::new().file("a", "a")]);
    // The entry of an index need not say what it is for. Its config does.
    assert_eq!(load(&indexed(&image.oci("x"), None).archive()), (Some(0), String::new()));
    assert_eq!(home.out(&["images", "-q", "--no-trunc", "index"]), image.id());
    let (status, message) =
        load(&indexed(&image.oci("x"), Some(json!({ "os": "linux", "architecture": "riscv64" }))).archive());
    assert!(status == Some(1) && message.contains("only for linux/s390x, linux/riscv64"), "{message}");
    let windows = Image { config: json!({ "os": "windows" }), ..Image::of(&[Layer::new().file("a", "w")]) };
    for archive in [windows.docker(&["w"]), windows.oci("w:1").archive()] {
        let (status, message) = load(&archive);
        let wanted = "image operating system \"windows\" cannot be used on this platform";
        assert!(status == Some(1) && message.contains(wanted), "{message}");
    }
    // A chart of Helm.
    let mut chart = image.oci("chart:1");
    let name = chart.index["manifests"][0]["digest"].clone();
    let manifest = chart.blobs.iter_mut().find(|blob| digest(blob) == name).unwrap();
    let text = text(manifest)
        .replace("application/vnd.oci.image.config.v1+json", "application/vnd.cncf.helm.config.v1+json");
    *manifest = text.into_bytes();
    chart.index["manifests"][0]["digest"] = digest(manifest).into();
    chart.index["manifests"][0]["size"] = manifest.len().into();
    let (status, message) = load(&chart.archive());
    let wanted =
        "It is no container image: the media type of its config is application/vnd.cncf.helm.config.v1+json.";
    assert!(status == Some(1) && message.contains(wanted), "{message}");
}
