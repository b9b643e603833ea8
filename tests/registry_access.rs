//! How `pull` is let in: passwords, tokens, certificates, mirrors; and to whom a password is never sent.
//!
//! Other inputs of the same kind as the ones here:
//! - token servers in other domains, on other ports, below public suffixes; realms that are no addresses.
//! - files of podman and Docker with several registries, repositories, helpers; damaged ones.
#![cfg(feature = "images")]

mod support;

use std::fs;
use std::io::Write;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use support::image::{Image, Layer};
use support::kept::KeptHome;
use support::lab::ran_with_loopback;
use support::registry::{
    DockerRegistry, Heard, Honest, Liar, answer, blobs_are_right, not_pulled, pulled, pulls, whole_answer,
};
use support::{text, write_program};

/// `me:secret`, as bcrypt has it.
const PASSWORD: &str = "me:$2b$04$I9yAIWtwOFXz5k1CXQ2q/.YVWmt4mxcpwAts1p7UmVoa9Gd9zAmIu";

const BASIC: &str = "Basic bWU6c2VjcmV0";

fn honest() -> Honest {
    Honest::of(&Image::of(&[Layer::new().file("a", "a"), Layer::new().file("b", "b")]).oci("v1"))
}

/// A server that wants tokens from this realm, for an image.
fn with_tokens(good: Honest, realm: String, token: impl Fn() -> String + Send + Sync + 'static) -> Liar {
    Liar::start(move |heard, stream| {
        let _ = stream.write_all(&match heard.header("authorization") {
            Some(header) if header == format!("Bearer {}", token()) => good.right(heard),
            _ => {
                let challenge =
                    format!("Bearer realm=\"{realm}\",service=\"s\",scope=\"repository:other:push\"");
                whole_answer(401, &[("WWW-Authenticate", &challenge)], b"")
            }
        });
    })
}

/// Stores `me:secret` for a registry, as podman does.
fn store(home: &KeptHome, registry: &str) {
    let file = home.around().join("run/containers/auth.json");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, json!({ "auths": { registry: { "auth": "bWU6c2VjcmV0" } } }).to_string()).unwrap();
}

#[test]
fn a_password_goes_to_the_registry_and_to_nobody_else() {
    if ran_with_loopback("a_password_goes_to_the_registry_and_to_nobody_else") {
        return;
    }
    let home = KeptHome::new();
    let good = honest();
    // The storage to which blobs are redirected, and a token server on another host.
    let storage = Liar::start({
        let good = good.clone();
        move |heard, stream| {
            let _ = stream.write_all(&good.right(heard));
        }
    });
    let tokens = Liar::start(|_, stream| answer(stream, 200, &[], br#"{"token":"t1","expires_in":60}"#));
    let place = format!("http://{}", storage.name("blobs/"));
    let registry = Liar::start({
        let good = good.clone();
        move |heard, stream| {
            let _ = stream.write_all(&match heard.header("authorization") {
                Some(BASIC) if heard.target.contains("/blobs/") => {
                    let location = format!("{place}{}", heard.target.rsplit('/').next().unwrap());
                    whole_answer(307, &[("Location", &location)], b"")
                }
                Some(BASIC) => good.right(heard),
                _ => whole_answer(401, &[("WWW-Authenticate", "Basic realm=\"x\"")], b""),
            });
        }
    });
    let name = registry.name("x:1");
    let message = not_pulled(&home, &["pull", &name]);
    assert!(message.contains("pull access denied for"), "{message}");
    store(&home, &format!("127.0.0.1:{}", registry.port));
    let output = pulls(&home, &["pull", "--explain", &name]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(!text(&output.stderr).contains("secret") && !text(&output.stderr).contains("bWU6"));
    assert!(storage.heard().len() >= 3, "{:?}", storage.heard());
    assert!(storage.heard().iter().all(|heard| heard.header("authorization").is_none()));
    // The first request has no password: the registry has not asked yet.
    assert_eq!(registry.heard()[1].header("authorization"), None);
    // A token server on another host gets no password, but may give a token.
    let registry = with_tokens(good, format!("http://localhost:{}/token", tokens.port), || "t1".into());
    store(&home, &format!("127.0.0.1:{}", registry.port));
    pulled(&home, &["pull", &registry.name("x:1")]);
    let asked: Vec<Heard> = tokens.heard();
    assert!(asked.iter().all(|heard| heard.header("authorization").is_none()), "{asked:?}");
    assert!(asked.iter().all(|heard| heard.target.contains("scope=repository%3Ax%3Apull")), "{asked:?}");
    assert!(asked.iter().all(|heard| !heard.target.contains("me")), "{asked:?}");
    // One on the same host gets it.
    let good = honest();
    let registry = with_tokens(good, format!("http://127.0.0.1:{}/token", tokens.port), || "t1".into());
    store(&home, &format!("127.0.0.1:{}", registry.port));
    tokens.answers(|_, stream| answer(stream, 200, &[], br#"{"access_token":"t1"}"#));
    pulled(&home, &["pull", &registry.name("x:1")]);
    assert_eq!(tokens.heard()[0].header("authorization"), Some(BASIC));
    for realm in ["http://192.0.2.1/token", "file:///etc/passwd", "", "http://me@127.0.0.1/"] {
        let registry = with_tokens(honest(), realm.to_owned(), || "t1".into());
        store(&home, &format!("127.0.0.1:{}", registry.port));
        let message = not_pulled(&home, &["pull", &registry.name("x:1")]);
        assert!(message.contains("token server that cannot be used"), "{realm}: {message}");
    }
}

#[test]
fn a_token_that_is_too_old_is_replaced() {
    if ran_with_loopback("a_token_that_is_too_old_is_replaced") {
        return;
    }
    let home = KeptHome::new();
    let given = Arc::new(AtomicUsize::new(0));
    let tokens = Liar::start({
        let given = given.clone();
        move |_, stream| {
            let number = given.fetch_add(1, Ordering::SeqCst) + 1;
            answer(stream, 200, &[], format!(r#"{{"token":"t{number}"}}"#).as_bytes());
        }
    });
    // Each token is good for one request.
    let used = Arc::new(AtomicUsize::new(0));
    let realm = format!("http://127.0.0.1:{}/token", tokens.port);
    // One layer, so that no two requests are made at a time.
    let good = Honest::of(&Image::of(&[Layer::new().file("a", "a")]).oci("v1"));
    let registry = Liar::start(move |heard, stream| {
        let number = heard
            .header("authorization")
            .and_then(|header| header.strip_prefix("Bearer t")?.parse().ok())
            .unwrap_or(0);
        let is_new = used.fetch_max(number, Ordering::SeqCst) < number;
        let _ = stream.write_all(&match is_new {
            true => good.right(heard),
            false => {
                let challenge = format!("Bearer realm=\"{realm}\"");
                whole_answer(401, &[("WWW-Authenticate", &challenge)], b"")
            }
        });
    });
    pulled(&home, &["pull", &registry.name("x:1")]);
    assert_eq!(given.load(Ordering::SeqCst), 3);
    // No token at all.
    tokens.answers(|_, stream| answer(stream, 200, &[], br#"{"token":"a\nb"}"#));
    let message = not_pulled(&home, &["pull", &registry.name("y:1")]);
    assert!(message.contains("has no token"), "{message}");
    // A server that gives nobody a token without a password: the advice is to log in.
    for status in [401, 403] {
        tokens.answers(move |_, stream| answer(stream, status, &[], b""));
        let message = not_pulled(&home, &["pull", &registry.name("y:1")]);
        let host = format!("sandbox login 127.0.0.1:{}", registry.port);
        assert!(message.contains("pull access denied for") && message.contains(&host), "{status}: {message}");
    }
    tokens.answers(|_, stream| answer(stream, 403, &[], b""));
    let message = not_pulled(&home, &["pull", "--creds", "me:secret", &registry.name("y:1")]);
    assert!(message.contains("incorrect username or password"), "{message}");
}

#[test]
fn passwords_are_found_where_podman_and_docker_have_them() {
    if ran_with_loopback("passwords_are_found_where_podman_and_docker_have_them") {
        return;
    }
    let home = KeptHome::new();
    let passwords = home.around().join("htpasswd");
    fs::write(&passwords, format!("{PASSWORD}\n")).unwrap();
    let auth = format!("auth:\n  htpasswd: {{ realm: x, path: {} }}\n", passwords.display());
    let registry = DockerRegistry::start(&home.around().join("registry"), &auth, "");
    let layout = Image::of(&[Layer::new().file("a", "a")]).oci("v1");
    let directory = layout.directory(&home.around().join("layout"));
    registry.fill(&directory, "v1", "team/x:1", &["--dest-creds", "me:secret"]);
    let name = registry.name("team/x:1");
    let host = format!("127.0.0.1:{}", registry.port);
    assert!(not_pulled(&home, &["pull", &name]).contains("pull access denied"));
    let message = not_pulled(&home, &["pull", "--creds", "me:wrong", &name]);
    assert!(message.contains("denied"), "{message}");
    let again = |home: &KeptHome, flags: &[&str]| {
        pulled(home, &[&["pull"], flags, &[&*name]].concat());
        home.out(&["rmi", &name]);
    };
    again(&home, &["--creds", "me:secret"]);
    let entry = json!({ "auth": "bWU6c2VjcmV0" });
    // As if the keys were absent.
    let nulls = home.around().join("nulls.json");
    fs::write(&nulls, r#"{"auths":null,"credHelpers":null}"#).unwrap();
    let nulls = nulls.to_str().unwrap();
    let message = not_pulled(&home, &["pull", "--authfile", nulls, &name]);
    assert!(message.contains("pull access denied"), "{message}");
    let login = ["login", "--authfile", nulls, "-u", "me", "--password-stdin", &host];
    let output = support::feed(&mut pulls(&home, &login), "secret");
    assert!(output.status.success(), "{}", text(&output.stderr));
    again(&home, &["--authfile", nulls]);
    let write = |path: &str, content: serde_json::Value| {
        let path = home.around().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content.to_string()).unwrap();
        path
    };
    for (path, content) in [
        ("run/containers/auth.json", json!({ "auths": { &host: entry } })),
        (".config/containers/auth.json", json!({ "auths": { format!("{host}/team"): entry } })),
        (".docker/config.json", json!({ "auths": { format!("https://{host}/v2/"): entry, "other": null } })),
    ] {
        let path = write(path, content);
        again(&home, &[]);
        fs::remove_file(path).unwrap();
    }
    let only = write("only.json", json!({ "auths": { &host: entry } }));
    again(&home, &["--authfile", only.to_str().unwrap()]);
    // The password of another registry, and of a name that only begins so, is not sent.
    for other in ["127.0.0.1:1".to_owned(), format!("{host}/tea"), format!("{host}0")] {
        let path = write("run/containers/auth.json", json!({ "auths": { other: entry } }));
        assert!(not_pulled(&home, &["pull", &name]).contains("denied"));
        fs::remove_file(path).unwrap();
    }
    // A credential helper.
    let helper = home.around().join("bin/docker-credential-test");
    write_program(
        &helper,
        format!(
            "#!/bin/sh\nread server; [ \"$1 $server\" = 'get {host}' ] || {{ echo credentials not found in native keychain; exit 1; }}\n\
                 echo '{{\"ServerURL\":\"x\",\"Username\":\"me\",\"Secret\":\"secret\"}}'\n"
        ),
    );
    let path = format!("{}:{}", home.around().join("bin").display(), std::env::var("PATH").unwrap());
    for content in [json!({ "credsStore": "test" }), json!({ "credHelpers": { &host: "test" } })] {
        let file = write(".docker/config.json", content);
        let output = pulls(&home, &["pull", &name]).env("PATH", &path).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        home.out(&["rmi", &name]);
        fs::remove_file(file).unwrap();
    }
    write(".docker/config.json", json!({ "credsStore": "../evil" }));
    assert!(not_pulled(&home, &["pull", &name]).contains("credential helper"));
    fs::write(home.around().join(".docker/config.json"), "{ \"auths\": { secret").unwrap();
    let message = not_pulled(&home, &["pull", &name]);
    assert!(
        message.contains("config.json: the credentials cannot be read") && !message.contains("secret"),
        "{message}"
    );
}

/// An authority, and certificates that it has signed: `ca.pem`, `server.pem`, `server.key`, `client.pem`, `client.key`.
fn certificates(directory: &std::path::Path) {
    fs::create_dir_all(directory).unwrap();
    let script = r#"
        set -e; cd "$1"
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 30 -subj /CN=ca
        for name in server client; do
            openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $name.key -out $name.csr -subj /CN=$name
            printf 'subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n' > $name.ext
            openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out $name.pem -days 30 -extfile $name.ext
        done"#;
    let output = Command::new("sh").args(["-c", script, "sh"]).arg(directory).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
}

#[test]
fn certificates_are_checked_against_the_authorities_that_the_user_trusts() {
    if ran_with_loopback("certificates_are_checked_against_the_authorities_that_the_user_trusts") {
        return;
    }
    let home = KeptHome::new();
    let own = home.around().join("certs");
    certificates(&own);
    let path = |name: &str| own.join(name).to_str().unwrap().to_owned();
    let tls = |more: &str| {
        format!("  tls: {{ certificate: {}, key: {}{more} }}\n", path("server.pem"), path("server.key"))
    };
    let registry = DockerRegistry::start(&home.around().join("registry"), "", &tls(""));
    let layout = Image::of(&[Layer::new().file("a", "a")]).oci("v1");
    let directory = layout.directory(&home.around().join("layout"));
    registry.fill(&directory, "v1", "x:1", &[]);
    let name = registry.name("x:1");
    let message = not_pulled(&home, &["pull", &name]);
    assert!(message.contains("is not accepted") && message.contains("certs.d"), "{message}");
    pulled(&home, &["pull", "--tls-verify=false", &name]);
    home.out(&["rmi", &name]);
    // As an insecure registry of the first version of registries.conf.
    let conf = home.around().join(".config/containers/registries.conf");
    fs::create_dir_all(conf.parent().unwrap()).unwrap();
    for (insecure, is_pulled) in [("other.example".to_owned(), false), (registry.name(""), true)] {
        fs::write(&conf, format!("[registries.insecure]\nregistries = ['{insecure}']\n")).unwrap();
        assert_eq!(pulls(&home, &["pull", &name]).status().unwrap().success(), is_pulled, "{insecure}");
    }
    fs::remove_file(conf).unwrap();
    home.out(&["rmi", &name]);
    // The advised place.
    let trusted = home.around().join(format!(".config/containers/certs.d/127.0.0.1:{}", registry.port));
    fs::create_dir_all(&trusted).unwrap();
    fs::copy(path("ca.pem"), trusted.join("ca.crt")).unwrap();
    let output = pulls(&home, &["pull", "--explain", &name]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(
        text(&output.stderr).contains(&format!("GET https://127.0.0.1:{}/v2/x/manifests/1", registry.port))
    );
    home.out(&["rmi", &name]);
    // A registry that wants a certificate of the client.
    let wants = tls(&format!(", clientcas: [{}]", path("ca.pem")));
    let strict = DockerRegistry::start(&home.around().join("strict"), "", &wants);
    fs::rename(home.around().join("registry/data"), home.around().join("strict/data")).unwrap();
    let name = strict.name("x:1");
    let flags = ["pull", "--retry", "0", "--cert-dir", own.to_str().unwrap(), &name];
    fs::copy(path("ca.pem"), own.join("ca.crt")).unwrap();
    not_pulled(&home, &flags);
    fs::copy(path("client.pem"), own.join("client.cert")).unwrap();
    pulled(&home, &flags);
    home.out(&["image", "verify", &name]);
    // A certificate to which the key does not belong.
    fs::copy(path("ca.pem"), own.join("client.cert")).unwrap();
    let message = not_pulled(&home, &flags);
    assert!(message.contains("client.cert"), "{message}");
}

#[test]
fn registries_conf_names_mirrors_aliases_and_what_is_blocked() {
    if ran_with_loopback("registries_conf_names_mirrors_aliases_and_what_is_blocked") {
        return;
    }
    let home = KeptHome::new();
    let registry = DockerRegistry::start(&home.around().join("registry"), "", "");
    let layout = Image::of(&[Layer::new().file("a", "a")]).oci("v1");
    let directory = layout.directory(&home.around().join("layout"));
    registry.fill(&directory, "v1", "library/ubuntu:15.10", &[]);
    registry.fill(&directory, "v1", "mirrored/team/x:latest", &[]);
    let conf = home.around().join(".config/containers/registries.conf");
    fs::create_dir_all(conf.parent().unwrap()).unwrap();
    let port = registry.port;
    fs::write(
        &conf,
        format!(
            r#"
            unqualified-search-registries = ["example.org"]
            [[registry]]
            location = "docker.io"
            [[registry.mirror]]
            location = "127.0.0.1:1"
            [[registry.mirror]]
            location = "127.0.0.1:{port}"
            [[registry]]
            prefix = "quay.example/team"
            location = "127.0.0.1:{port}/mirrored/team"
            [[registry]]
            location = "bad.example"
            blocked = true
            [aliases]
            "x" = "quay.example/team/x"
            "#
        ),
    )
    .unwrap();
    // As the seed shows it, from a mirror of docker.io.
    let printed = pulled(&home, &["pull", "ubuntu:15.10"]);
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines[0], "15.10: Pulling from library/ubuntu");
    assert_eq!(
        &lines[lines.len() - 2..],
        ["Status: Downloaded newer image for ubuntu:15.10", "docker.io/library/ubuntu:15.10"]
    );
    let printed = pulled(&home, &["pull", "x"]);
    assert!(printed.ends_with("quay.example/team/x:latest\n"), "{printed}");
    // A layer that no server could unpack here ends the pull: the error of the next server would not be the reason.
    let wrong = Image::of(&[Layer::new().entry(b"a", b'V', b"", b"", |_| ())]).oci("v1");
    registry.fill(&wrong.directory(&home.around().join("wrong")), "v1", "library/wrong:1", &[]);
    let message = not_pulled(&home, &["pull", "wrong:1"]);
    assert!(message.starts_with("sandbox: the layer cannot be unpacked"), "{message}");
    assert!(!message.contains("registry-1.docker.io"), "{message}");
    // Each command knows the image by its alias.
    let inspect = pulls(&home, &["image", "inspect", "x"]).output().unwrap();
    assert!(inspect.status.success(), "{}", text(&inspect.stderr));
    // Where no server has it, the reason of each mirror is printed beside that of the last server.
    let message = not_pulled(&home, &["pull", "ubuntu:none"]);
    let words = message.split_whitespace().collect::<Vec<_>>().join(" ");
    for mirror in ["127.0.0.1:1", &format!("127.0.0.1:{port}")] {
        assert!(words.contains(&format!("{mirror}, a mirror, was asked before")), "{message}");
    }
    let message = not_pulled(&home, &["pull", "bad.example/x"]);
    assert!(message.contains("the registry bad.example is blocked"), "{message}");
    blobs_are_right(&home);
    for (content, line, part) in [
        ("[[registry]\n", "line 1", ""),
        ("[aliases]\ny = 'a.test/y'\nx = 'a.test/x:v1'\n", "line 3", "The alias x is for a.test/x:v1."),
        ("[[registry]]\nlocation = 'https://a.test'\n", "line 1", "https://a.test is an address"),
        ("[[registry]]\nlocation = 5\n", "line 2", ""),
    ] {
        fs::write(&conf, content).unwrap();
        let message = not_pulled(&home, &["pull", "ubuntu:15.10"]);
        let words = message.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("registries.conf cannot be read") && words.contains(line), "{message}");
        assert!(words.contains(part), "{message}");
    }
    // The first version of the format, which podman still reads.
    let first = |list: &str, name: &str| {
        fs::write(
            &conf,
            format!(
                "[registries.search]\nregistries = ['quay.example']\n[registries.{list}]\nregistries = ['{name}']\n"
            ),
        )
    };
    first("block", "bad.example/").unwrap();
    let message = not_pulled(&home, &["pull", "bad.example/x"]);
    assert!(message.contains("the registry bad.example is blocked"), "{message}");
}
