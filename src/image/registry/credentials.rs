//! The passwords that the user has stored, for podman or Docker.
//!
//!     $REGISTRY_AUTH_FILE                      if it is set, only this one
//!     $XDG_RUNTIME_DIR/containers/auth.json    podman's, until the user logs out; without XDG_RUNTIME_DIR below /run
//!     ~/.config/containers/auth.json           podman's, for ever
//!     $DOCKER_CONFIG/config.json               Docker's; the default is ~/.docker
//!
//! A file may name a credential helper: a program `docker-credential-NAME`, which has the password.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::RegistryOptions;
use super::files::{config_directory, home_directory};
use super::helper::CredentialHelper;
use crate::error::{Error, ExitKind, Result, io_text};
use crate::image::manifest::or_default;
use crate::image::reference::DOCKER;
use crate::text::{printed, text_with};

/// The name of docker.io in Docker's files.
pub(super) const DOCKER_KEY: &str = "https://index.docker.io/v1/";

/// A user name and a password. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The user.
    pub user: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

impl Login {
    /// The value of the header `Authorization`.
    pub(super) fn basic(&self) -> String {
        format!("Basic {}", self.encoded())
    }

    /// As files have it.
    pub(super) fn encoded(&self) -> String {
        STANDARD.encode(format!("{}:{}", self.user, self.password))
    }

    fn decoded(encoded: &str) -> Option<Login> {
        let bytes = STANDARD.decode(encoded.trim()).ok()?;
        let decoded = String::from_utf8(bytes).ok()?;
        let (user, password) = decoded.trim_end_matches('\0').split_once(':')?;
        Some(Login { user: user.to_owned(), password: password.to_owned() })
    }
}

/// What is stored for a registry.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Credential {
    Login(Login),
    /// A token, for which the token server gives other ones.
    Identity(String),
    /// A token that the registry itself takes.
    Registry(String),
}

impl Credential {
    fn of(user: &str, secret: String) -> Credential {
        match user {
            "<token>" => Credential::Identity(secret),
            user => Credential::Login(Login { user: user.to_owned(), password: secret }),
        }
    }
}

/// A file with credentials.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AuthFile {
    // Docker reads null as if the key were absent, and so do other programs that write the file.
    #[serde(default, deserialize_with = "or_default")]
    auths: BTreeMap<String, Option<AuthEntry>>,
    /// The helpers of single registries.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) cred_helpers: BTreeMap<String, String>,
    /// The helper of all other registries.
    pub(super) creds_store: Option<String>,
}

impl AuthFile {
    /// The helper that the file names for this registry alone.
    fn own_helper(&self, registry: &str) -> Option<&str> {
        let helper = self.cred_helpers.get(registry).or_else(|| self.cred_helpers.get(server_of(registry)));
        // An empty name is none, as for Docker.
        helper.map(String::as_str).filter(|helper| !helper.is_empty())
    }

    /// The helper that keeps the password of this registry.
    pub(super) fn helper(&self, registry: &str) -> Option<&str> {
        self.own_helper(registry).or(self.store())
    }

    /// The helper of all registries that have no own one.
    pub(super) fn store(&self) -> Option<&str> {
        self.creds_store.as_deref().filter(|helper| !helper.is_empty())
    }
}

#[derive(Default, Deserialize)]
struct AuthEntry {
    auth: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

impl AuthEntry {
    fn credential(&self) -> Option<Credential> {
        if let Some(token) = self.identitytoken.as_ref().filter(|token| !token.is_empty()) {
            return Some(Credential::Identity(token.clone()));
        }
        if let Some(token) = self.registrytoken.as_ref().filter(|token| !token.is_empty()) {
            return Some(Credential::Registry(token.clone()));
        }
        let written = || Some(Login { user: self.username.clone()?, password: self.password.clone()? });
        self.auth.as_deref().and_then(Login::decoded).or_else(written).map(Credential::Login)
    }
}

/// The credential for a repository of a registry, and where it is from.
///
/// # Errors
/// A file cannot be read; a helper fails.
pub(super) fn find(
    registry: &str,
    repository: &str,
    options: &RegistryOptions,
) -> Result<Option<(Credential, String)>> {
    for path in files(options.auth_file.as_deref()) {
        let Some(file) = read(&path)? else { continue };
        let server = server_of(registry);
        let of_helper = |helper: &str| -> Result<Option<(Credential, String)>> {
            let helper = CredentialHelper::named(helper, options.note)?;
            let found = helper.get(server)?;
            Ok(found.map(|(user, secret)| (Credential::of(&user, secret), helper.to_string())))
        };
        if let Some(helper) = file.own_helper(registry)
            && let Some(found) = of_helper(helper)?
        {
            return Ok(Some(found));
        }
        let whole = format!("{registry}/{repository}");
        let fits = |key: &str| {
            let rest = whole.strip_prefix(key)?;
            (rest.is_empty() || rest.starts_with('/')).then_some(key.len())
        };
        let best = file
            .auths
            .iter()
            .filter_map(|(key, entry)| Some((fits(normal(key))?, entry.as_ref()?.credential()?)));
        if let Some((_, credential)) = best.max_by_key(|(length, _)| *length) {
            return Ok(Some((credential, printed(&path))));
        }
        if let Some(helper) = file.store()
            && let Some(found) = of_helper(helper)?
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The registry of a key: Docker's files have addresses, and call docker.io by its old ones.
fn normal(key: &str) -> &str {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    let key =
        bare.map_or(key, |bare| bare.trim_end_matches('/').trim_end_matches("/v1").trim_end_matches("/v2"));
    match key {
        "index.docker.io" | "registry-1.docker.io" => DOCKER,
        key => key.trim_end_matches('/'),
    }
}

/// How helpers and Docker's files call a registry.
pub(super) fn server_of(registry: &str) -> &str {
    if registry == DOCKER { DOCKER_KEY } else { registry }
}

/// Whether a key of a file is about a registry as a whole.
pub(super) fn is_key_of(key: &str, registry: &str) -> bool {
    normal(key) == normal(registry)
}

/// All files, in the order in which they are read.
pub(super) fn files(chosen: Option<&Path>) -> Vec<PathBuf> {
    let variable = || std::env::var_os("REGISTRY_AUTH_FILE").map(PathBuf::from);
    if let Some(only) = chosen.map(Path::to_owned).or_else(variable) {
        return vec![only];
    }
    let docker = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    let docker = docker.or_else(|| home_directory().map(|home| home.join(".docker")));
    let own = config_directory().map(|directory| directory.join("containers/auth.json"));
    let docker = docker.map(|directory| directory.join("config.json"));
    [Some(of_session()), own, docker].into_iter().flatten().collect()
}

/// podman's file, which ends with the session.
pub(super) fn of_session() -> PathBuf {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    match runtime {
        Some(directory) => directory.join("containers/auth.json"),
        None => format!("/run/containers/{}/auth.json", nix::unistd::geteuid()).into(),
    }
}

/// What a file says. None: there is none for this user.
///
/// # Errors
/// It cannot be read.
pub(super) fn read(path: &Path) -> Result<Option<AuthFile>> {
    let unread = |why: String| {
        Error::new(ExitKind::Refused, text_with("registry.authfile", &[("path", &printed(path))])).why(why)
    };
    match fs::read(path) {
        // A file of another user is not for this one.
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::NotFound
                    | std::io::ErrorKind::PermissionDenied
                    | std::io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(unread(io_text(&error))),
        Ok(bytes) if bytes.iter().all(u8::is_ascii_whitespace) => Ok(None),
        // The text of serde_json's errors has no values of the file.
        Ok(bytes) => match serde_json::from_slice(&bytes) {
            Ok(file) => Ok(Some(file)),
            Err(error) => {
                let values = [("line", &*error.line().to_string()), ("column", &error.column().to_string())];
                Err(unread(text_with("registry.authfile.json", &values)))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_all_tools_name_the_same_registry() {
        for (key, registry) in [
            (DOCKER_KEY, DOCKER),
            ("index.docker.io", DOCKER),
            ("docker.io", DOCKER),
            ("https://a.test", "a.test"),
            ("https://a.test:5000/v2/", "a.test:5000"),
            ("a.test/team", "a.test/team"),
        ] {
            assert_eq!(normal(key), registry, "{key}");
        }
    }

    #[test]
    fn a_password_is_not_printed() {
        let login = Login { user: "me".into(), password: "secret".into() };
        assert!(!format!("{login:?}").contains("secret"));
        assert_eq!(Login::decoded(&login.encoded()), Some(login));
        assert_eq!(Login::decoded("%%%"), None);
    }
}
