//! Stores and removes passwords, in the form that podman and Docker read.
//!
//! The file is podman's: it is below `$XDG_RUNTIME_DIR`, so it ends with the session. `$REGISTRY_AUTH_FILE` or a flag
//! names another one, such as `~/.docker/config.json`.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::client::{Ask, RegistryClient, unexpected};
use super::credentials::{DOCKER_KEY, Login, files, is_key_of, of_session};
use super::endpoint::Endpoint;
use super::transport::{Content, HttpTransport};
use super::{RegistryOptions, TellAll};
use crate::error::{Error, ExitKind, Result, io_text};
use crate::host::token::token;
use crate::image::reference::DOCKER;
use crate::text::{printed, text, text_with};

/// Asks a registry whether a password is right, and stores it. Returns the file.
///
/// # Errors
/// The registry cannot be reached or does not accept it; the file cannot be written.
pub fn login(registry: &str, login: &Login, options: &RegistryOptions, tell: TellAll<'_>) -> Result<PathBuf> {
    let options = RegistryOptions { login: Some(login.clone()), ..options.clone() };
    let transport = HttpTransport::new(options.clone());
    let endpoint = Endpoint::registry(registry, &options)?;
    let asked = RegistryClient::connect(&transport, endpoint, "pull", tell).and_then(|client| {
        let url = client.url("");
        let why = "registry.explain.version";
        client.retry(&|_| (), || {
            client.send(&Ask {
                method: "GET",
                url: url.clone(),
                headers: Vec::new(),
                content: Content::None,
                why,
            })
        })
    });
    let answer = asked.map_err(|failure| failure.error)?;
    match answer.status {
        200 => {}
        401 | 403 => {
            let error = Error { what: text("registry.password"), ..unexpected(answer).error };
            return Err(error);
        }
        _ => return Err(unexpected(answer).error),
    }
    let path = file(&options);
    tell(&format!("write(<{}.new>); rename(\"{0}.new\", \"{0}\")", printed(&path)), "registry.explain.store");
    change(&path, |auths| {
        auths.retain(|key, _| !is_key_of(key, registry));
        let key = if registry == DOCKER { DOCKER_KEY } else { registry };
        auths.insert(key.to_owned(), json!({ "auth": login.encoded() }));
    })?;
    Ok(path)
}

/// Removes the password of a registry, or all, from the files. Returns whether there was one.
///
/// # Errors
/// A file cannot be read or written.
pub fn logout(registry: Option<&str>, options: &RegistryOptions, tell: TellAll<'_>) -> Result<bool> {
    let mut was_there = false;
    for path in files(options.auth_file.as_deref()) {
        let auths = read(&path)?.get("auths").and_then(Value::as_object).cloned().unwrap_or_default();
        let is_it = |key: &str| registry.is_none_or(|registry| is_key_of(key, registry));
        if !auths.keys().any(|key| is_it(key)) {
            continue;
        }
        was_there = true;
        tell(
            &format!("write(<{}.new>); rename(\"{0}.new\", \"{0}\")", printed(&path)),
            "registry.explain.forget",
        );
        change(&path, |auths| auths.retain(|key, _| !is_it(key)))?;
    }
    Ok(was_there)
}

/// The file to which passwords are written.
fn file(options: &RegistryOptions) -> PathBuf {
    let variable = || std::env::var_os("REGISTRY_AUTH_FILE").map(PathBuf::from);
    options.auth_file.clone().or_else(variable).unwrap_or_else(of_session)
}

fn unwritten(path: &Path, why: String) -> Error {
    Error::new(ExitKind::Refused, text_with("registry.authfile", &[("path", &printed(path))])).why(why)
}

/// What the file says. It is kept as it is, but for what is changed.
fn read(path: &Path) -> Result<Map<String, Value>> {
    match fs::read(path) {
        Err(error)
            if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) =>
        {
            Ok(Map::new())
        }
        Err(error) => Err(unwritten(path, io_text(&error))),
        Ok(bytes) if bytes.is_empty() => Ok(Map::new()),
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
            let values = [("line", &*error.line().to_string()), ("column", &error.column().to_string())];
            unwritten(path, text_with("registry.authfile.json", &values))
        }),
    }
}

/// Changes the passwords of a file. It is replaced as a whole, and only its owner can read it.
fn change(path: &Path, change: impl FnOnce(&mut Map<String, Value>)) -> Result<()> {
    // The file may be a symbolic link to another place, which stays.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut all = read(path)?;
    let auths = all.entry("auths").or_insert_with(|| json!({}));
    let Some(auths) = auths.as_object_mut() else {
        return Err(unwritten(path, text_with("registry.authfile.json", &[("line", "1"), ("column", "1")])));
    };
    change(auths);
    let failed = |error: std::io::Error| unwritten(path, io_text(&error));
    if let Some(directory) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
    }
    let mut new = path.to_owned().into_os_string();
    new.push(format!(".{:08x}", token()));
    let written =
        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new).and_then(|mut file| {
            let text = serde_json::to_string_pretty(&all).unwrap_or_default() + "\n";
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            // The file of another user stays that user's.
            if let Ok(former) = fs::metadata(path) {
                let _ = std::os::unix::fs::fchown(&file, Some(former.uid()), Some(former.gid()));
            }
            fs::rename(&new, path)
        });
    written.map_err(|error| {
        let _ = fs::remove_file(&new);
        failed(error)
    })
}
