//! `pull`: images from a real registry of Docker, which skopeo has filled.
//!
//! Judged by Docker's words, by the files in HOME, and by what a container of the image prints.
//!
//! Other inputs of the same kind as the ones here:
//! - registries of other makers, and those in the cloud, which redirect to storage services.
//! - images by tag, by digest and by both; of one platform and of several; with layers that other images have too.
#![cfg(feature = "images")]

mod support;

use std::fs;
use std::io::Write;

use serde_json::{Value, json};
use support::image::{Image, Layer, Layout, digest, programs};
use support::kept::KeptHome;
use support::lab::ran_with_loopback;
use support::registry::{
    DockerRegistry, Honest, Liar, blobs_are_right, not_pulled, pulled, pulls, whole_answer,
};
use support::{is_root, text};

/// An image with three layers, and its layout in a directory.
fn image(home: &KeptHome) -> (Image, Layout, std::path::PathBuf) {
    let layers = [
        programs(&["sh", "cat"]).file("etc/motd", "hello"),
        Layer::new().file("b", "b"),
        Layer::new().file("c", "c"),
    ];
    let image = Image::of(&layers);
    let layout = image.oci("v1");
    let directory = layout.directory(&home.around().join("layout"));
    (image, layout, directory)
}

fn manifest_of(layout: &Layout) -> String {
    layout.index["manifests"][0]["digest"].as_str().unwrap().to_owned()
}

#[test]
fn an_image_is_pulled_as_docker_prints_it() {
    if ran_with_loopback("an_image_is_pulled_as_docker_prints_it") {
        return;
    }
    let home = KeptHome::new();
    let registry = DockerRegistry::start(&home.around().join("registry"), "", "");
    let (image, layout, directory) = image(&home);
    registry.fill(&directory, "v1", "team/tool:latest", &["--preserve-digests"]);
    let name = registry.name("team/tool");
    let digest_of_manifest = manifest_of(&layout);
    let manifest: Value =
        serde_json::from_slice(layout.blobs.iter().find(|blob| digest(blob) == digest_of_manifest).unwrap())
            .unwrap();
    let ids: Vec<String> = manifest["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| layer["digest"].as_str().unwrap()[7..19].to_owned())
        .collect();
    let printed = pulled(&home, &["pull", &name]);
    let mut lines: Vec<&str> = printed.lines().collect();
    assert_eq!(&lines[..2], ["Using default tag: latest", "latest: Pulling from team/tool"]);
    let end = [
        format!("Digest: {digest_of_manifest}"),
        format!("Status: Downloaded newer image for {name}:latest"),
        format!("{name}:latest"),
    ];
    assert_eq!(lines.split_off(lines.len() - 3), end);
    for id in &ids {
        for state in ["Pulling fs layer", "Download complete", "Pull complete"] {
            assert!(lines.contains(&&*format!("{id}: {state}")), "{printed}");
        }
    }
    assert_eq!(lines.len(), 2 + 3 * ids.len(), "{printed}");
    assert_eq!(home.out(&["images", "-q", "--no-trunc"]), image.id());
    assert_eq!(blobs_are_right(&home), 5);
    home.out(&["image", "verify", &name]);
    if is_root() {
        let spec = home.around().join("image.yaml");
        fs::write(&spec, format!("rootfs: '{name}'\nenv: {{ PATH: /bin }}\ncommand: [cat, /etc/motd]\n"))
            .unwrap();
        assert_eq!(home.out(&["run", "-q", spec.to_str().unwrap()]), "hello");
    }
    // Nothing is downloaded again.
    let again = pulled(&home, &["pull", &name]);
    assert!(again.contains(&format!("Status: Image is up to date for {name}:latest\n")), "{again}");
    assert!(again.contains(&format!("{}: Already exists", ids[0])), "{again}");
    // -q prints the name only, also by digest.
    let by_digest = format!("{name}@{digest_of_manifest}");
    assert_eq!(pulled(&home, &["pull", "-q", &by_digest]), format!("{by_digest}\n"));
    assert_eq!(pulled(&home, &["pull", "-q", &format!("{name}:latest")]), format!("{name}:latest\n"));
    let json: Value = serde_json::from_str(&pulled(&home, &["pull", "--format", "json", &name])).unwrap();
    assert_eq!((&json["Digest"], &json["ID"]), (&json!(digest_of_manifest), &json!(image.id())));
    let message = not_pulled(&home, &["pull", &registry.name("team/tool:nope")]);
    assert!(message.contains("manifest for") && message.contains("manifest unknown"), "{message}");
    let message = not_pulled(&home, &["pull", &registry.name("no/such")]);
    assert!(message.contains("not found"), "{message}");
    // What `rmi` leaves.
    home.out(&["rmi", &by_digest]);
    home.out(&["rmi", &name]);
    assert_eq!(blobs_are_right(&home), 0);
}

#[test]
fn each_step_is_told_with_its_reason() {
    if ran_with_loopback("each_step_is_told_with_its_reason") {
        return;
    }
    let home = KeptHome::new();
    let registry = DockerRegistry::start(&home.around().join("registry"), "", "");
    let (_, _, directory) = image(&home);
    registry.fill(&directory, "v1", "tool:1", &[]);
    let output = pulls(&home, &["pull", "--explain", &registry.name("tool:1")]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let told = text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    for step in [
        format!(
            "GET http://127.0.0.1:{}/v2/tool/manifests/1 = 200 application/vnd.oci.image.manifest.v1+json",
            registry.port
        ),
        "The name leads to a document".to_owned(),
        "A layer is an archive of files".to_owned(),
        "rename(<partial>, \"blobs/sha256/".to_owned(),
        "A process of its own unpacks the layer".to_owned(),
        "rename(\"index.json.new\", \"index.json\")".to_owned(),
    ] {
        assert!(told.contains(&step), "{step}\n{told}");
    }
}

#[test]
fn all_formats_of_images_are_pulled() {
    if ran_with_loopback("all_formats_of_images_are_pulled") {
        return;
    }
    let home = KeptHome::new();
    let registry = DockerRegistry::start(&home.around().join("registry"), "", "");
    let (image, layout, directory) = image(&home);
    // Docker's media types.
    registry.fill(&directory, "v1", "docker:1", &["--format", "v2s2"]);
    pulled(&home, &["pull", &registry.name("docker:1")]);
    // An index: the image of this machine, or the one that is asked for.
    let mut several = layout.clone();
    let other =
        Image { config: json!({ "architecture": "s390x" }), ..Image::of(&[Layer::new().file("z", "z")]) };
    let other_layout = other.oci("");
    several.blobs.extend(other_layout.blobs.clone());
    let architecture = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
    let inner = |layout: &Layout, architecture: &str| {
        let mut inner = layout.index["manifests"][0].clone();
        inner["platform"] = json!({ "os": "linux", "architecture": architecture });
        inner.as_object_mut().unwrap().remove("annotations");
        inner
    };
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [inner(&other_layout, "s390x"), inner(&layout, architecture)],
    });
    let index = index.to_string().into_bytes();
    several.index["manifests"][0] = json!({
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "digest": digest(&index),
        "size": index.len(),
        "annotations": { "org.opencontainers.image.ref.name": "v1" },
    });
    several.blobs.push(index.clone());
    let at = several.directory(&home.around().join("several"));
    registry.fill(&at, "v1", "several:1", &["--all"]);
    let name = registry.name("several:1");
    let id = |home: &KeptHome, name: &str| {
        home.out(&["images", "-q", "--no-trunc", name]).lines().next().unwrap_or_default().to_owned()
    };
    let printed = pulled(&home, &["pull", &name]);
    assert!(printed.contains(&format!("Digest: {}\n", digest(&index))), "{printed}");
    assert_eq!(id(&home, &name), image.id());
    // The name with the digest of the index means the image too.
    let repository = registry.name("several");
    home.out(&["image", "inspect", &format!("{repository}@{}", digest(&index))]);
    pulled(&home, &["pull", "--platform", "linux/s390x", &name]);
    assert_eq!(id(&home, &name), other.id());
    let message = not_pulled(&home, &["pull", "--platform", "linux/riscv64", &name]);
    assert!(
        message.contains("no matching manifest for linux/riscv64") && message.contains("linux/s390x"),
        "{message}"
    );
    let message = not_pulled(&home, &["pull", "--platform", "linux/s390x", &registry.name("docker:1")]);
    assert!(message.contains("does not match the specified platform"), "{message}");
    home.out(&["image", "verify", &name, &registry.name("docker:1")]);
    blobs_are_right(&home);
}

/// Other programs than Go's name architectures as `uname -m` does. containerd takes them for the same.
#[test]
fn an_architecture_has_other_names_in_an_index_and_in_a_config() {
    if ran_with_loopback("an_architecture_has_other_names_in_an_index_and_in_a_config") {
        return;
    }
    let home = KeptHome::new();
    let here = std::env::consts::ARCH;
    let (small, capitals) = match here {
        "x86_64" => ("x86-64", "AMD64"),
        _ => ("aarch64", "ARM64"),
    };
    for (os, architecture, others) in [
        ("linux", here, ["s390x", "armhf"]),
        ("linux", small, ["i386", "riscv64"]),
        ("Linux", capitals, ["armel", "ppc64le"]),
    ] {
        let image = |name: &str, architecture: &str| {
            let config = json!({ "architecture": architecture, "os": os });
            Image { config, ..Image::of(&[Layer::new().file("name", name)]) }
        };
        let all: Vec<(Image, &str)> = others
            .iter()
            .chain([&architecture])
            .map(|architecture| (image(architecture, architecture), *architecture))
            .collect();
        let of_each: Vec<Honest> = all.iter().map(|(image, _)| Honest::of(&image.oci("x"))).collect();
        let entries: Vec<Value> = of_each
            .iter()
            .zip(&all)
            .map(|(one, (_, architecture))| {
                json!({ "mediaType": one.media_type, "digest": digest(&one.manifest), "size": one.manifest.len(),
                    "platform": { "os": os, "architecture": architecture } })
            })
            .collect();
        let media = "application/vnd.oci.image.index.v1+json";
        let index = json!({ "schemaVersion": 2, "mediaType": media, "manifests": entries }).to_string();
        let registry = Liar::start(move |heard, stream| {
            let last = heard.target.rsplit('/').next().unwrap();
            let has = |one: &&Honest| digest(&one.manifest) == last || one.blobs.contains_key(last);
            let _ = stream.write_all(&match of_each.iter().find(has) {
                Some(one) => one.right(heard),
                None => whole_answer(200, &[("Content-Type", media)], index.as_bytes()),
            });
        });
        let name = registry.name("x:1");
        let id = || home.out(&["images", "-q", "--no-trunc", &name]);
        let output = pulls(&home, &["pull", &name]).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{}", text(&output.stderr));
        assert_eq!(id(), all[2].0.id(), "{architecture}");
        // It runs here, so nothing is said about another platform.
        let told = home.run(&["create", "--network", "none", "--name", "web", &name, "/x"]);
        assert!(told.status.success() && told.stderr.is_empty(), "{}", text(&told.stderr));
        home.out(&["rm", "web"]);
        home.out(&[
            "create",
            "--network",
            "none",
            "--name",
            "web",
            "--platform",
            &format!("linux/{here}"),
            &name,
            "/x",
        ]);
        home.out(&["rm", "web"]);
        for (number, other) in others.iter().enumerate() {
            pulled(&home, &["pull", "-q", "--platform", &format!("linux/{other}"), &name]);
            assert_eq!(id(), all[number].0.id(), "{other}");
        }
    }
}

/// An index of several images of the architecture arm, and what a name of each platform leads to.
#[test]
fn an_entry_of_an_index_is_found_by_its_platform() {
    if ran_with_loopback("an_entry_of_an_index_is_found_by_its_platform") {
        return;
    }
    let home = KeptHome::new();
    let image = |name: &str| {
        let config = json!({ "architecture": "arm", "os": "linux" });
        Image { config, ..Image::of(&[Layer::new().file("name", name)]) }
    };
    let images = ["v5", "v6", "v7", "unnamed"].map(image);
    let mut honest = Honest::of(&images[0].oci("x"));
    let mut manifests = Vec::new();
    let mut by_digest = Vec::new();
    for (image, variant) in images.iter().zip([Some("v5"), Some("v6"), Some("v7"), None]) {
        let one = Honest::of(&image.oci("x"));
        honest.blobs.extend(one.blobs.clone());
        let mut entry = json!({ "mediaType": one.media_type, "digest": digest(&one.manifest), "size": one.manifest.len() });
        if let Some(variant) = variant {
            entry["platform"] = json!({ "os": "linux", "architecture": "arm", "variant": variant });
        }
        manifests.push(entry);
        by_digest.push((digest(&one.manifest), one));
    }
    let media = "application/vnd.oci.image.index.v1+json";
    let index = json!({ "schemaVersion": 2, "mediaType": media, "manifests": manifests }).to_string();
    let registry = Liar::start(move |heard, stream| {
        let last = heard.target.rsplit('/').next().unwrap();
        let inner = by_digest.iter().find(|(digest, _)| digest == last);
        let _ = stream.write_all(&match inner {
            Some((_, one)) => one.right(heard),
            None if last == "1" => whole_answer(200, &[("Content-Type", media)], index.as_bytes()),
            None => honest.right(heard),
        });
    });
    let name = registry.name("x:1");
    for (platform, wanted) in [
        ("linux/arm", 2),
        ("Linux/ARM/v7", 2),
        ("linux/armhf", 2),
        ("linux/arm/6", 1),
        ("arm", 2),
        ("linux/arm/v5", 0),
    ] {
        pulled(&home, &["pull", "-q", "--platform", platform, &name]);
        assert_eq!(home.out(&["images", "-q", "--no-trunc", &name]), images[wanted].id(), "{platform}");
    }
    // No entry names this machine's platform. One names none: it is taken, and its config says what it is for.
    let output = pulls(&home, &["pull", &name]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(home.out(&["images", "-q", "--no-trunc", &name]), images[3].id());
    assert!(text(&output.stderr).contains("WARNING: the image is for linux/arm"), "{}", text(&output.stderr));
    let message = not_pulled(&home, &["pull", "--platform", "linux/x86_64", &name]);
    assert!(message.contains("wanted linux/amd64, actual: linux/arm"), "{message}");
    for wrong in ["linux/", "nothing", "linux/a b"] {
        assert_eq!(
            pulls(&home, &["pull", "--platform", wrong, &name]).status().unwrap().code(),
            Some(125),
            "{wrong}"
        );
    }
}

/// What a registry may have besides images for Linux.
#[test]
fn what_is_no_image_for_this_system_is_not_pulled() {
    if ran_with_loopback("what_is_no_image_for_this_system_is_not_pulled") {
        return;
    }
    let home = KeptHome::new();
    let windows = Image { config: json!({ "os": "windows" }), ..Image::of(&[Layer::new().file("a", "w")]) };
    let mut chart = Honest::of(&Image::of(&[Layer::new().file("a", "c")]).oci("x"));
    let helm = "application/vnd.cncf.helm.config.v1+json";
    chart.manifest =
        text(&chart.manifest).replace("application/vnd.oci.image.config.v1+json", helm).into_bytes();
    let empty = json!({ "schemaVersion": 2, "manifests": [] }).to_string().into_bytes();
    let media_type = "application/vnd.oci.image.index.v1+json".to_owned();
    let empty = Honest { manifest: empty, media_type, blobs: chart.blobs.clone() };
    for (honest, words) in [
        (Honest::of(&windows.oci("x")), "image operating system \"windows\" cannot be used on this platform"),
        (chart, "It is no container image: the media type of its config is application/vnd.cncf.helm.config"),
        (empty, "The index of 127.0.0.1"),
    ] {
        let registry = Liar::start(move |heard, stream| {
            let _ = stream.write_all(&honest.right(heard));
        });
        let message = not_pulled(&home, &["pull", &registry.name("x:1")]);
        assert!(message.contains(words), "{message}");
        assert_eq!(home.out(&["images", "-q"]), "");
    }
}

#[test]
fn all_tags_are_pulled() {
    if ran_with_loopback("all_tags_are_pulled") {
        return;
    }
    let home = KeptHome::new();
    let registry = DockerRegistry::start(&home.around().join("registry"), "", "");
    let (_, layout, directory) = image(&home);
    for tag in ["1", "2"] {
        registry.fill(&directory, "v1", &format!("team/tool:{tag}"), &["--preserve-digests"]);
    }
    let name = registry.name("team/tool");
    let printed = pulled(&home, &["pull", "-a", &name]);
    let digest = format!("Digest: {}", manifest_of(&layout));
    // A registry may list its tags in any order.
    for tag in ["1", "2"] {
        assert!(printed.contains(&format!("{tag}: Pulling from team/tool\n")), "{printed}");
    }
    assert_eq!(printed.matches(&format!("\n{digest}\n")).count(), 2, "{printed}");
    let end = format!("\nStatus: Downloaded newer image for {name}\n{name}\n");
    assert!(printed.ends_with(&end) && printed.matches("Status:").count() == 1, "{printed}");
    assert_eq!(home.out(&["images", "-q", &name]).lines().count(), 2);
    let again = pulled(&home, &["pull", "--all-tags", &name]);
    assert!(again.contains(&format!("Status: Image is up to date for {name}\n")), "{again}");
    assert_eq!(pulled(&home, &["pull", "-a", "-q", &name]), format!("{name}\n"));
    let rows = pulled(&home, &["pull", "-a", "--format", "{{.Name}}", &name]);
    let mut rows: Vec<&str> = rows.lines().collect();
    rows.sort();
    assert_eq!(rows, [format!("{name}:1"), format!("{name}:2")]);
    let output = pulls(&home, &["pull", "-a", &format!("{name}:1")]).output().unwrap();
    assert!(
        text(&output.stderr).contains("tag can't be used with --all-tags/-a"),
        "{}",
        text(&output.stderr)
    );
    assert!(not_pulled(&home, &["pull", "-a", &registry.name("no/such")]).contains("not found"));
}

/// A long list of tags comes in pages. Of this kind: a page on another server, that repeats for ever, that is no list, tags that
/// are none.
#[test]
fn the_pages_of_a_list_of_tags_are_read_to_the_end() {
    if ran_with_loopback("the_pages_of_a_list_of_tags_are_read_to_the_end") {
        return;
    }
    let home = KeptHome::new();
    let (_, layout, _) = image(&home);
    let honest = Honest::of(&layout);
    let page = |tags: &[String], next: Option<&str>| {
        let body = json!({ "name": "x", "tags": tags }).to_string();
        let link = next.map(|next| format!("<{next}>; rel=\"next\"")).unwrap_or_default();
        whole_answer(200, &[("Content-Type", "application/json"), ("Link", &link)], body.as_bytes())
    };
    let registry = Liar::start(move |heard, stream| {
        let answer = match heard.target.as_str() {
            "/v2/x/tags/list" => page(&["one".into()], Some("/v2/x/tags/list?last=one&n=1")),
            "/v2/x/tags/list?last=one&n=1" => page(&["two".into()], None),
            _ => honest.right(heard),
        };
        let _ = stream.write_all(&answer);
    });
    let name = registry.name("x");
    let rows = pulled(&home, &["pull", "-a", "--format", "{{.Name}}", &name]);
    assert_eq!(rows, format!("{name}:one\n{name}:two\n"));
    let tags: Vec<String> = (0..20_000).map(|number| format!("t{number}")).collect();
    let lies: [(Vec<u8>, &str); 5] = [
        (page(&["a".into()], Some("http://127.0.0.1:1/v2/x/tags/list")), "on another server"),
        (page(&tags, Some("/v2/x/tags/list?again")), "does not end"),
        (page(&["../../etc".into()], None), "it is no tag"),
        (whole_answer(200, &[], b"<html>"), "x/tags/list"),
        (page(&[], None), "has no tags"),
    ];
    for (lie, words) in lies {
        registry.answers(move |_, stream| {
            let _ = stream.write_all(&lie);
        });
        let message = not_pulled(&home, &["pull", "-a", "--retry", "0", &name]);
        assert!(message.contains(words), "{words}: {message}");
    }
}

#[test]
fn on_a_terminal_each_layer_has_a_line_that_is_drawn_again() {
    if ran_with_loopback("on_a_terminal_each_layer_has_a_line_that_is_drawn_again") {
        return;
    }
    let home = KeptHome::new();
    let registry = DockerRegistry::start(&home.around().join("registry"), "", "");
    let (_, _, directory) = image(&home);
    registry.fill(&directory, "v1", "x:1", &[]);
    let name = registry.name("x:1");
    let command = pulls(&home, &["pull", &name]);
    let line = format!("'{}' pull {name}", command.get_program().to_str().unwrap());
    let mut script = std::process::Command::new("script");
    script.args(["-qec", &line, "/dev/null"]).stdin(std::process::Stdio::null());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => script.env(name, value),
            None => script.env_remove(name),
        };
    }
    let output = script.env("TERM", "xterm").output().unwrap();
    let printed = text(&output.stdout);
    assert!(output.status.success(), "{printed}");
    // The last state of each layer stays once.
    assert_eq!(printed.matches(": Pull complete\r\n").count(), 3, "{printed:?}");
    assert!(printed.contains("Status: Downloaded newer image for"), "{printed:?}");
    assert!(!printed.contains(": Download complete\r\n") || printed.contains("\x1b["), "{printed:?}");
}
