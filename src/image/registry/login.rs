//! Stores and removes passwords, in the form that podman and Docker read.
//!
//! The file is podman's: it is below `$XDG_RUNTIME_DIR`, so it ends with the session. `$REGISTRY_AUTH_FILE` or a flag
//! names another one, such as `~/.docker/config.json`. If one of the files names a credential helper for the registry, the helper
//! keeps the password, and no file has it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::client::{Ask, RegistryClient, unexpected};
use super::credentials::{self, AuthFile, Login, files, is_key_of, of_session, server_of};
use super::endpoint::Endpoint;
use super::helper::CredentialHelper;
use super::transport::{Content, HttpTransport};
use super::{RegistryOptions, TellAll};
use crate::error::{Error, ExitKind, Result, io_text};
use crate::host::token::token;
use crate::text::{printed, text, text_with};

/// Where a password is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PasswordPlace {
    /// This file has it.
    File(PathBuf),
    /// This program has it.
    Helper(String),
}

/// Asks a registry whether a password is right, and stores it.
///
/// # Errors
/// The registry cannot be reached or does not accept it; the file cannot be written; the helper fails.
pub fn login(
    registry: &str,
    login: &Login,
    options: &RegistryOptions,
    tell: TellAll<'_>,
) -> Result<PasswordPlace> {
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
    if let Some(helper) = helper(registry, &options)? {
        tell(&format!("execve(\"{helper}\", [..., \"store\"])"), "registry.explain.helper");
        helper.store(server_of(registry), login)?;
        // Otherwise the password that a file has would still be used.
        forget(Some(registry), &options, tell)?;
        return Ok(PasswordPlace::Helper(helper.to_string()));
    }
    let path = file(&options);
    tell_writing(tell, &path, "registry.explain.store");
    change(&path, |auths| {
        auths.retain(|key, _| !is_key_of(key, registry));
        auths.insert(server_of(registry).to_owned(), json!({ "auth": login.encoded() }));
    })?;
    Ok(PasswordPlace::File(path))
}

/// The helper that the first of the files names for a registry.
fn helper(registry: &str, options: &RegistryOptions) -> Result<Option<CredentialHelper>> {
    for path in files(options.auth_file.as_deref()) {
        if let Some(name) = credentials::read(&path)?.as_ref().and_then(|file| file.helper(registry)) {
            return CredentialHelper::named(name, options.note).map(Some);
        }
    }
    Ok(None)
}

fn tell_writing(tell: TellAll<'_>, path: &Path, why: &str) {
    tell(&format!("write(<{}.new>); rename(\"{0}.new\", \"{0}\")", printed(path)), why);
}

/// Removes the password of a registry, or all, from the files and the helpers. Returns whether there was one.
///
/// # Errors
/// A file cannot be read or written; a helper fails.
pub fn logout(registry: Option<&str>, options: &RegistryOptions, tell: TellAll<'_>) -> Result<bool> {
    let mut was_there = false;
    for path in files(options.auth_file.as_deref()) {
        let Some(file) = credentials::read(&path)? else { continue };
        for (helper, server) in kept_by_helpers(&file, registry, options)? {
            let helper = CredentialHelper::named(&helper, options.note)?;
            if helper.get(&server)?.is_some() {
                was_there = true;
                tell(&format!("execve(\"{helper}\", [..., \"erase\"])"), "registry.explain.erase");
                helper.erase(&server)?;
            }
        }
    }
    Ok(forget(registry, options, tell)? || was_there)
}

/// The helpers of a file, each with a server of which it may have the password.
fn kept_by_helpers(
    file: &AuthFile,
    registry: Option<&str>,
    options: &RegistryOptions,
) -> Result<Vec<(String, String)>> {
    if let Some(registry) = registry {
        let helper = file.helper(registry).map(|helper| (helper.to_owned(), server_of(registry).to_owned()));
        return Ok(helper.into_iter().collect());
    }
    let mut all: Vec<(String, String)> = Vec::new();
    for (registry, helper) in file.cred_helpers.iter().filter(|(_, helper)| !helper.is_empty()) {
        all.push((helper.clone(), server_of(registry).to_owned()));
    }
    if let Some(helper) = file.store() {
        let known = CredentialHelper::named(helper, options.note)?.list()?;
        all.extend(known.into_iter().map(|server| (helper.to_owned(), server)));
    }
    Ok(all)
}

/// Removes the password of a registry, or all, from the files. Returns whether there was one.
fn forget(registry: Option<&str>, options: &RegistryOptions, tell: TellAll<'_>) -> Result<bool> {
    let mut was_there = false;
    for path in files(options.auth_file.as_deref()) {
        let auths = read(&path)?.get("auths").and_then(Value::as_object).cloned().unwrap_or_default();
        let is_it = |key: &str| registry.is_none_or(|registry| is_key_of(key, registry));
        if !auths.keys().any(|key| is_it(key)) {
            continue;
        }
        was_there = true;
        tell_writing(tell, &path, "registry.explain.forget");
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
        Ok(bytes) if bytes.iter().all(u8::is_ascii_whitespace) => Ok(Map::new()),
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
    if auths.is_null() {
        *auths = json!({});
    }
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
