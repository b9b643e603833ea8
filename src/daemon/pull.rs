//! POST /images/create and /images/NAME/push: images from a registry and to one. `sandbox pull` prints lines, and the client gets
//! each as JSON.

use std::ffi::OsString;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use hyper::body::Bytes;
use serde_json::{Value, json};

use super::Daemon;
use super::answer::{Answered, ApiError, json_answer, line, stream};
use super::archive::error_line;
use super::command::{Streaming, Words, words};
use super::images::full_name;
use super::private_file::PrivateFile;
use super::request::ApiRequest;
use super::settings::flag;
use crate::image::reference::{DOCKER, Reference};
use crate::text::text;

/// A file with what the header X-Registry-Auth has. Without a password, the file has none: those of the user that runs the daemon
/// are not for its clients.
fn password_file(request: &ApiRequest, registry: &str) -> Answered<PrivateFile> {
    let given =
        request.headers.get("x-registry-auth").map(hyper::header::HeaderValue::as_bytes).unwrap_or_default();
    let login = read_login(given)?;
    let mut auths = serde_json::Map::new();
    if let Some((user, password)) = login {
        let own = if registry == DOCKER { "https://index.docker.io/v1/" } else { registry };
        auths.insert(own.to_owned(), json!({ "auth": STANDARD.encode(format!("{user}:{password}")) }));
    }
    PrivateFile::of(json!({ "auths": auths }).to_string().as_bytes())
}

/// The user and the password in the header: base64 of JSON.
fn read_login(given: &[u8]) -> Answered<Option<(String, String)>> {
    let given = String::from_utf8_lossy(given);
    let given = given.trim().trim_end_matches('=');
    if given.is_empty() {
        return Ok(None);
    }
    let wrong = || ApiError::bad(text("daemon.auth.form"));
    let padded = format!("{given}{}", "=".repeat((4 - given.len() % 4) % 4));
    let json = URL_SAFE.decode(&padded).or_else(|_| STANDARD.decode(&padded)).map_err(|_| wrong())?;
    let login: Value = serde_json::from_slice(&json).map_err(|_| wrong())?;
    let of = |name: &str| login[name].as_str().filter(|value| !value.is_empty()).map(str::to_owned);
    Ok(of("username").zip(of("password")))
}

/// Pulls an image, or makes one of an archive.
pub(super) async fn create(daemon: Arc<Daemon>, request: ApiRequest) -> Answered {
    if request.query.get("fromSrc").is_some() {
        return import(daemon, request).await;
    }
    let name = full_name(&request, "fromImage")?;
    let reference: Reference = name.parse().map_err(|why: String| ApiError::bad(why))?;
    let auth = password_file(&request, &reference.registry)?;
    let mut words = words(&["pull"]);
    words.push(auth.flag("authfile"));
    if let Some(platform) = request.query.get("platform") {
        words.push(flag("platform", platform));
    }
    words.extend(of_all_tags(&reference));
    words.extend([OsString::from("--"), name.into()]);
    // The last line is the name, which the client prints itself.
    let name = reference.to_string();
    relayed(&daemon, &request, words, auth, move |line| pull_line(line, &name)).await
}

/// Pushes an image.
pub(super) async fn push(daemon: Arc<Daemon>, request: ApiRequest) -> Answered {
    let name = match request.query.get("tag") {
        Some(tag) => format!("{}:{tag}", request.name()),
        None => request.name(),
    };
    let reference: Reference = name.parse().map_err(|why: String| ApiError::bad(why))?;
    let auth = password_file(&request, &reference.registry)?;
    let mut words = words(&["push"]);
    words.push(auth.flag("authfile"));
    words.extend(of_all_tags(&reference));
    words.extend([OsString::from("--"), name.into()]);
    relayed(&daemon, &request, words, auth, push_line).await
}

/// A name without a tag means all tags of the repository: the client adds `latest` itself.
fn of_all_tags(reference: &Reference) -> Option<OsString> {
    (reference.tag.is_none() && reference.digest.is_none()).then(|| "--all-tags".into())
}

/// Executes a command, and sends each line that it prints. A command that fails before its second line has an answer with that
/// error.
async fn relayed(
    daemon: &Daemon,
    request: &ApiRequest,
    words: Words,
    auth: PrivateFile,
    translate: impl Fn(&str) -> Vec<Value> + Send + 'static,
) -> Answered {
    let mut streaming = Streaming::start(daemon, request.number, words, None).await?;
    // The first line is only what was asked for.
    let mut rest = Vec::new();
    let has_more = |rest: &[u8]| rest.iter().filter(|byte| **byte == b'\n').count() > 1;
    while !has_more(&rest) {
        match streaming.next().await {
            Some(Ok(part)) => rest.extend_from_slice(&part),
            Some(Err(error)) => return Err(of_registry(error)),
            None => break,
        }
    }
    streaming.first = Some(Bytes::new());
    let (sender, answer) = stream("application/json");
    tokio::spawn(async move {
        let _auth = auth;
        while let Some(part) = streaming.next().await {
            let part = match part {
                Ok(part) => part,
                Err(error) => {
                    let _ = sender.send(line(&error_line(&error))).await;
                    return;
                }
            };
            rest.extend_from_slice(&part);
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let written: Vec<u8> = rest.drain(..=end).collect();
                let written = String::from_utf8_lossy(&written);
                for value in translate(written.trim_end()) {
                    if sender.send(line(&value)).await.is_err() {
                        return;
                    }
                }
            }
        }
    });
    Ok(answer)
}

/// The error of a registry. What it does not have, or does not show without a password, is not found.
fn of_registry(error: ApiError) -> ApiError {
    let is_absent =
        ["not found", "unknown", "denied", "unauthorized"].iter().any(|word| error.message.contains(word));
    let status = if is_absent { hyper::StatusCode::NOT_FOUND } else { error.status };
    ApiError { status, ..error }
}

/// A line of `sandbox pull` as the client gets it: `ID: what` belongs to a layer.
fn pull_line(line: &str, name: &str) -> Vec<Value> {
    if line == name {
        return Vec::new();
    }
    match layer_of(line) {
        Some((id, status)) => vec![json!({ "status": status, "progressDetail": {}, "id": id })],
        None => match line.split_once(": Pulling from ") {
            Some((by, from)) => vec![json!({ "status": format!("Pulling from {from}"), "id": by })],
            None => vec![json!({ "status": line })],
        },
    }
}

/// A line of `sandbox push`.
fn push_line(line: &str) -> Vec<Value> {
    if let Some((id, status)) = layer_of(line) {
        return vec![json!({ "status": status, "progressDetail": {}, "id": id })];
    }
    let mut values = vec![json!({ "status": line })];
    // The last line: `TAG: digest: sha256:... size: N`.
    if let Some((tag, rest)) = line.split_once(": digest: ")
        && let Some((digest, size)) = rest.split_once(" size: ")
    {
        let size: u64 = size.trim().parse().unwrap_or_default();
        values.push(json!({ "progressDetail": {}, "aux": { "Tag": tag, "Digest": digest, "Size": size } }));
    }
    values
}

/// The layer that a line is about: 12 hexadecimal digits before a colon.
fn layer_of(line: &str) -> Option<(&str, &str)> {
    let (id, status) = line.split_once(": ")?;
    (id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some((id, status))
}

/// Makes an image of an archive of files.
async fn import(daemon: Arc<Daemon>, mut request: ApiRequest) -> Answered {
    let query = &request.query;
    if query.get("fromSrc") != Some("-") {
        return Err(ApiError::absent(&text("daemon.what.importurl")));
    }
    let mut words = words(&["import"]);
    for change in query.all("changes") {
        words.push(flag("change", &change));
    }
    if let Some(message) = query.get("message") {
        words.push(flag("message", message));
    }
    words.extend([OsString::from("--"), "-".into()]);
    if query.get("repo").is_some() {
        words.push(full_name(&request, "repo")?.into());
    }
    let body = request.body.take();
    let mut importing = Streaming::begin(&daemon, request.number, words, body)?;
    let mut printed = Vec::new();
    let mut imported = Ok(());
    while let Some(part) = importing.next().await {
        imported = imported.and(part.map(|part| printed.extend_from_slice(&part)));
    }
    importing.drained().await;
    imported?;
    let id = String::from_utf8_lossy(&printed).trim().to_owned();
    Ok(json_answer(hyper::StatusCode::OK, &json!({ "status": id })))
}

/// Checks a password, as `docker login` asks for it. The client stores it, not the daemon.
pub(super) async fn login(daemon: &Daemon, request: &mut ApiRequest) -> Answered {
    let body = request.json().await?;
    let of = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    let (user, password, server) = (of("username"), of("password"), of("serveraddress"));
    if user.is_empty() || password.is_empty() {
        return Err(ApiError::bad(text("daemon.auth.form")));
    }
    let bare = server.trim_start_matches("https://").trim_start_matches("http://");
    let host = match bare.split('/').next().unwrap_or_default() {
        "" | "index.docker.io" => DOCKER,
        host => host,
    };
    // `sandbox login` stores the password only if the registry accepts it. Here it is stored for nobody.
    let file = PrivateFile::absent()?;
    let mut words = words(&["login", "--password-stdin"]);
    words.push(flag("username", &user));
    words.push(file.flag("authfile"));
    words.extend([OsString::from("--"), host.into()]);
    let done = super::command::run_with(daemon, request.number, words, Some(password.into_bytes())).await;
    drop(file);
    done.map_err(|mut error| {
        // If the registry was not reached, the password may be right.
        if error.message.contains(&text("registry.password")) {
            error.status = hyper::StatusCode::UNAUTHORIZED;
        }
        error
    })?;
    super::answer::ok(&json!({ "Status": "Login Succeeded", "IdentityToken": "" }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_read_in_both_forms_of_base64() {
        let of = |text: &str| read_login(text.as_bytes()).map_err(|error| error.status.as_u16());
        assert_eq!(of(""), Ok(None));
        assert_eq!(of("e30="), Ok(None));
        let json = r#"{"username":"me","password":"p?>"}"#;
        let login = Ok(Some(("me".to_owned(), "p?>".to_owned())));
        assert_eq!(of(&URL_SAFE.encode(json)), login);
        assert_eq!(of(&STANDARD.encode(json)), login);
        assert_eq!(of("%"), Err(400));
    }

    #[test]
    fn a_line_about_a_layer_has_its_id() {
        assert_eq!(
            push_line("0123456789ab: Pushed"),
            [json!({"status": "Pushed", "progressDetail": {}, "id": "0123456789ab"})]
        );
        let last = push_line("1: digest: sha256:00 size: 5");
        assert_eq!(last[1]["aux"], json!({"Tag": "1", "Digest": "sha256:00", "Size": 5}));
        let from = pull_line("1: Pulling from library/x", "docker.io/library/x:1");
        assert_eq!(from, [json!({"status": "Pulling from library/x", "id": "1"})]);
        assert!(pull_line("docker.io/library/x:1", "docker.io/library/x:1").is_empty());
    }
}
