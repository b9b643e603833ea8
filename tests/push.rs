//! `push`, `login`, `logout` and `search`, with a real registry of Docker and with one of the test.
//!
//! Judged by what skopeo reads from the registry, by the files with passwords, and by Docker's words.
//!
//! Other inputs of the same kind as the ones here:
//! - images with layers that the registry has in another repository; with one layer twice; with plain and zstd layers.
//! - registries that send an upload to another host; tokens that end in the middle.
#![cfg(feature = "images")]

mod support;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::{Value, json};
use support::image::{Image, Layer};
use support::kept::KeptHome;
use support::lab::ran_with_loopback;
use support::registry::{
    DockerRegistry, Liar, answer, blobs_are_right, not_pulled, pulled, pulls, whole_answer,
};
use support::{feed, text};

/// `me:secret`, as bcrypt has it.
const PASSWORD: &str = "me:$2b$04$I9yAIWtwOFXz5k1CXQ2q/.YVWmt4mxcpwAts1p7UmVoa9Gd9zAmIu";

fn load(home: &KeptHome, names: &[&str]) -> Image {
    let image = Image::of(&[Layer::new().file("a", &"a".repeat(100_000)), Layer::new().file("b", "b")]);
    let output = feed(&mut home.command(&["load"]), image.docker(names));
    assert!(output.status.success(), "{}", text(&output.stderr));
    image
}

#[test]
fn an_image_is_pushed_and_skopeo_reads_it() {
    if ran_with_loopback("an_image_is_pushed_and_skopeo_reads_it") {
        return;
    }
    let home = KeptHome::new();
    let registry = DockerRegistry::start(&home.around().join("registry"), "", "");
    let name = registry.name("team/x:1");
    let image = load(&home, &[&name]);
    let printed = pulled(&home, &["push", &name]);
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines[0], format!("The push refers to repository [{}]", registry.name("team/x")));
    assert_eq!(printed.matches(": Pushed\n").count(), 2, "{printed}");
    assert!(lines.last().unwrap().starts_with("1: digest: sha256:"), "{printed}");
    let output = Command::new("skopeo")
        .args(["inspect", "--raw", "--tls-verify=false", &format!("docker://{name}")])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let manifest: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(manifest["config"]["digest"], json!(image.id()));
    // Plain layers are compressed. skopeo compares each blob with its digest, and what it unpacks with the config.
    for layer in manifest["layers"].as_array().unwrap() {
        let media_type = layer["mediaType"].as_str().unwrap();
        assert!(media_type.ends_with("+gzip") || media_type.ends_with(".gzip"), "{manifest}");
        assert!(layer["size"].as_u64().unwrap() < 2000, "{manifest}");
    }
    let copy = home.around().join("copy");
    let output = Command::new("skopeo")
        .args([
            "--insecure-policy",
            "copy",
            "--quiet",
            "--src-tls-verify=false",
            "--dest-decompress",
            "--remove-signatures",
        ])
        .args([format!("docker://{name}"), format!("dir:{}", copy.display())])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    for layer in &image.layers {
        assert_eq!(&fs::read(copy.join(&support::image::digest(layer)[7..])).unwrap(), layer);
    }
    // What is there is not sent again; another repository of the registry gives its blobs.
    let again = pulled(&home, &["push", &name]);
    assert_eq!(again.matches(": Layer already exists\n").count(), 2, "{again}");
    let other = registry.name("other/y:1");
    home.out(&["tag", &name, &other]);
    let output = pulls(&home, &["push", "--explain", &other]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let told = text(&output.stderr);
    assert!(
        told.contains("blobs/uploads/?... = 201")
            && !told.contains("PUT http://127.0.0.1:1/v2/other/y/blobs"),
        "{told}"
    );
    // And back, in another HOME.
    let second = KeptHome::new();
    pulled(&second, &["pull", "-q", &other]);
    assert_eq!(second.out(&["images", "-q", "--no-trunc"]), image.id());
    second.out(&["image", "verify", &other]);
    blobs_are_right(&second);
    let message = not_pulled(&home, &["push", &registry.name("no/such")]);
    assert!(message.contains("An image does not exist locally with the tag"), "{message}");
}

#[test]
fn all_tags_of_a_repository_are_pushed_and_no_other_image() {
    if ran_with_loopback("all_tags_of_a_repository_are_pushed_and_no_other_image") {
        return;
    }
    let home = KeptHome::new();
    let registry = DockerRegistry::start(&home.around().join("registry"), "", "");
    let names = ["x:1", "x:2", "xy:1"].map(|name| registry.name(name));
    load(&home, &names.each_ref().map(String::as_str));
    let message = not_pulled(&home, &["push", "-a", &names[0]]);
    assert!(message.contains("a name with a tag cannot be used with --all-tags"), "{message}");
    let printed = pulled(&home, &["push", "-a", &registry.name("x")]);
    assert!(printed.contains("\n1: digest: ") && printed.contains("\n2: digest: "), "{printed}");
    let tags = |repository: &str| {
        let name = format!("docker://{}", registry.name(repository));
        let output =
            Command::new("skopeo").args(["list-tags", "--tls-verify=false", &name]).output().unwrap();
        let found: Option<Value> = serde_json::from_slice(&output.stdout).ok();
        let mut tags: Vec<Value> = found?["Tags"].as_array()?.clone();
        tags.sort_by_key(Value::to_string);
        Some(tags)
    };
    assert_eq!(tags("x"), Some(vec![json!("1"), json!("2")]));
    assert_eq!(tags("xy"), None);
}

#[test]
fn an_upload_to_another_host_gets_no_password() {
    if ran_with_loopback("an_upload_to_another_host_gets_no_password") {
        return;
    }
    let home = KeptHome::new();
    let storage = Liar::start(|_, stream| answer(stream, 201, &[], b""));
    let place = format!("http://localhost:{}/upload?id=1", storage.port);
    let registry = Liar::start(move |heard, stream| {
        let _ = stream.write_all(&match (heard.header("authorization"), heard.method.as_str()) {
            (None, _) => whole_answer(401, &[("WWW-Authenticate", "Basic realm=\"x\"")], b""),
            (_, "HEAD") => whole_answer(404, &[], b""),
            (_, "POST") => whole_answer(202, &[("Location", &place)], b""),
            _ => whole_answer(201, &[], b""),
        });
    });
    let name = registry.name("x:1");
    load(&home, &[&name]);
    let message = not_pulled(&home, &["push", &name]);
    assert!(message.contains("denied"), "{message}");
    pulled(&home, &["push", "--creds", "me:secret", &name]);
    let sent = storage.heard();
    assert_eq!(sent.len(), 3, "two layers and the config");
    for heard in sent {
        assert_eq!((heard.method.as_str(), heard.header("authorization")), ("PUT", None));
        assert!(heard.target.starts_with("/upload?id=1&digest=sha256:"), "{}", heard.target);
        let digest = support::image::digest(&heard.body);
        assert!(heard.target.ends_with(&digest), "{} {digest}", heard.target);
    }
    // The manifest comes last.
    assert_eq!(
        registry.heard().last().map(|heard| heard.target.clone()).as_deref(),
        Some("/v2/x/manifests/1")
    );
}

#[test]
fn a_password_is_stored_after_the_registry_has_accepted_it() {
    if ran_with_loopback("a_password_is_stored_after_the_registry_has_accepted_it") {
        return;
    }
    let home = KeptHome::new();
    let passwords = home.around().join("htpasswd");
    fs::write(&passwords, format!("{PASSWORD}\n")).unwrap();
    let auth = format!("auth:\n  htpasswd: {{ realm: x, path: {} }}\n", passwords.display());
    let registry = DockerRegistry::start(&home.around().join("registry"), &auth, "");
    let host = format!("127.0.0.1:{}", registry.port);
    let name = registry.name("x:1");
    load(&home, &[&name]);
    assert!(not_pulled(&home, &["push", &name]).contains("denied"));
    let login = |flags: &[&str], password: &str| {
        feed(
            &mut pulls(&home, &[&["login", "-u", "me", "--password-stdin"], flags, &[&*host]].concat()),
            password,
        )
    };
    let wrong = login(&[], "wrong\n");
    assert_eq!(wrong.status.code(), Some(1));
    assert!(text(&wrong.stderr).contains("incorrect username or password"), "{}", text(&wrong.stderr));
    let file = home.around().join("run/containers/auth.json");
    assert!(!file.exists());
    // What else is in the file stays.
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, r#"{"auths":{"a.test":{"auth":"eDp5"}},"other":1}"#).unwrap();
    let right = login(&[], "secret\n");
    assert_eq!((text(&right.stdout).as_str(), right.status.code()), ("Login Succeeded\n", Some(0)));
    let stored: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(stored["auths"][&host]["auth"], json!("bWU6c2VjcmV0"));
    assert_eq!((&stored["auths"]["a.test"]["auth"], &stored["other"]), (&json!("eDp5"), &json!(1)));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    pulled(&home, &["push", &name]);
    // skopeo reads the same file.
    let output = Command::new("skopeo")
        .args([
            "inspect",
            "--tls-verify=false",
            "--authfile",
            file.to_str().unwrap(),
            &format!("docker://{name}"),
        ])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let done = pulled(&home, &["logout", &host]);
    assert_eq!(done, format!("Removing login credentials for {host}\n"));
    let stored: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(stored["auths"], json!({ "a.test": { "auth": "eDp5" } }));
    assert_eq!(pulled(&home, &["logout", &host]), format!("Not logged in to {host}\n"));
    assert!(not_pulled(&home, &["pull", &name]).contains("denied"));
}

/// A credential helper that a file names keeps the password, and no file has it. Of this kind: for all registries, for one
/// registry, a helper that fails, one that does not exist.
#[test]
fn a_credential_helper_keeps_the_password() {
    if ran_with_loopback("a_credential_helper_keeps_the_password") {
        return;
    }
    let home = KeptHome::new();
    let registry = Liar::start(|heard, stream| match heard.header("authorization") {
        Some("Basic bWU6c2VjcmV0") => answer(stream, 200, &[], b""),
        _ => answer(stream, 401, &[("WWW-Authenticate", "Basic realm=\"x\"")], b""),
    });
    let host = format!("127.0.0.1:{}", registry.port);
    let at = |name: &str| home.around().join(name);
    fs::create_dir_all(at("bin")).unwrap();
    fs::create_dir_all(at(".docker")).unwrap();
    let kept = at("kept");
    let helper = format!(
        "#!/bin/sh\ncase $1 in\nstore) cat > '{0}' ;;\nerase) cat > '{0}.erased'; rm '{0}' ;;\n\
         list) echo '{{\"{host}\": \"me\"}}' ;;\n\
         get) [ -e '{0}' ] && cat '{0}' || {{ echo 'credentials not found in native keychain'; exit 1; }} ;;\nesac\n",
        kept.display()
    );
    fs::write(at("bin/docker-credential-test"), helper).unwrap();
    fs::write(at("bin/docker-credential-bad"), "#!/bin/sh\necho no keyring\nexit 1\n").unwrap();
    for name in ["bin/docker-credential-test", "bin/docker-credential-bad"] {
        fs::set_permissions(at(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:{}", at("bin").display(), std::env::var("PATH").unwrap());
    let file = at("run/containers/auth.json");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    for config in [json!({ "credsStore": "test" }), json!({ "credHelpers": { &*host: "test" } })] {
        fs::write(at(".docker/config.json"), config.to_string()).unwrap();
        // A password that a file has from an earlier login is removed: it would be used first.
        let old = json!({ "auths": { &*host: { "auth": "b2xkOm9sZA==" }, "a.test": { "auth": "eDp5" } } });
        fs::write(&file, old.to_string()).unwrap();
        let arguments = ["login", "--explain", "-u", "me", "--password-stdin", &host];
        let output = feed(pulls(&home, &arguments).env("PATH", &path), "secret");
        let told = text(&output.stderr);
        assert_eq!(text(&output.stdout), "Login Succeeded\n", "{told}");
        assert!(
            told.contains("docker-credential-test keeps the password") && told.contains("\"store\""),
            "{told}"
        );
        let stored: Value = serde_json::from_slice(&fs::read(&kept).unwrap()).unwrap();
        assert_eq!(stored, json!({ "ServerURL": host, "Username": "me", "Secret": "secret" }));
        let auths: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        assert_eq!(auths["auths"], json!({ "a.test": { "auth": "eDp5" } }));
        assert_eq!(fs::read_to_string(at(".docker/config.json")).unwrap(), config.to_string());
        // It is used: without it, the registry refuses.
        let output =
            pulls(&home, &["pull", "-q", &registry.name("x:1")]).env("PATH", &path).output().unwrap();
        assert!(!text(&output.stderr).contains("denied"), "{}", text(&output.stderr));
        let logout = |arguments: &[&str]| {
            let output = pulls(&home, arguments).env("PATH", &path).output().unwrap();
            text(&output.stdout)
        };
        assert_eq!(logout(&["logout", &host]), format!("Removing login credentials for {host}\n"));
        assert_eq!(fs::read_to_string(at("kept.erased")).unwrap().trim_end(), host);
        assert_eq!(logout(&["logout", &host]), format!("Not logged in to {host}\n"));
        // All of them.
        fs::write(&kept, stored.to_string()).unwrap();
        logout(&["logout", "--all"]);
        assert!(!kept.exists());
    }
    for (helper, words) in [
        ("bad", "no keyring"),
        ("none", "the credential helper has failed"),
        ("../bad", "not that of a program"),
    ] {
        fs::write(at(".docker/config.json"), json!({ "credsStore": helper }).to_string()).unwrap();
        let arguments = ["login", "-u", "me", "--password-stdin", &host];
        let output = feed(pulls(&home, &arguments).env("PATH", &path), "secret");
        let message = text(&output.stderr);
        assert!(output.status.code() == Some(1) && message.contains(words), "{helper}: {message}");
    }
}

#[test]
fn search_prints_what_the_index_has() {
    if ran_with_loopback("search_prints_what_the_index_has") {
        return;
    }
    let home = KeptHome::new();
    let results = json!({ "num_results": 3, "results": [
        { "name": "httpd", "description": "The Apache HTTP Server Project\nand more than forty-five characters", "star_count": 4000, "is_official": true, "is_automated": false },
        { "name": "me/httpd", "description": "mine", "star_count": 2, "is_official": false, "is_automated": true },
        { "name": "evil/\u{1b}[31mhttpd", "description": null },
    ]});
    let mut good = results.clone();
    good["results"].as_array_mut().unwrap().pop();
    let index = Liar::start(move |_, stream| answer(stream, 200, &[], good.to_string().as_bytes()));
    let term = index.name("httpd");
    assert_eq!(
        pulled(&home, &["search", &term]),
        "NAME       DESCRIPTION                                     STARS     OFFICIAL\n\
         httpd      The Apache HTTP Server Project and more than…   4000      [OK]\n\
         me/httpd   mine                                            2         \n"
    );
    assert!(
        index.heard().iter().any(|heard| heard.target == "/v1/search?q=httpd&n=25"),
        "{:?}",
        index.heard()
    );
    assert_eq!(
        pulled(&home, &["search", "--format", "{{.Name}}", "-f", "is-official=true", &term]),
        "httpd\n"
    );
    assert_eq!(pulled(&home, &["search", "--format", "{{.Name}}", "-f", "stars=3", &term]), "httpd\n");
    assert_eq!(pulled(&home, &["search", "--limit", "1", "--format", "{{.Name}}", &term]), "httpd\n");
    assert!(not_pulled(&home, &["search", "-f", "x=1", &term]).contains("invalid filter"));
    index.answers(|_, stream| answer(stream, 200, &[], b"<html>"));
    not_pulled(&home, &["search", &term]);
}
