//! Searches the index of Docker Hub, or of another host, as old registries have it: `GET /v1/search?q=TERM`.

use serde::Deserialize;

use super::authorize::encoded;
use super::client::{Ask, RegistryClient, unexpected};
use super::endpoint::Endpoint;
use super::transport::{Content, HttpTransport};
use super::{RegistryOptions, TellAll};
use crate::error::{Error, ExitKind, Result};
use crate::image::manifest::{or_default, read_json};
use crate::image::reference::DOCKER;
use crate::text::text;

/// The host with the index of Docker Hub.
const INDEX: &str = "index.docker.io";

/// A repository that was found.
///
/// A value may be null, which for Docker is the same as none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct FoundRepository {
    /// Its name.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// What its owner says about it.
    #[serde(deserialize_with = "or_default")]
    pub description: String,
    /// How many like it.
    #[serde(deserialize_with = "or_default")]
    pub star_count: u64,
    /// Whether it is one of Docker's own selection.
    #[serde(deserialize_with = "or_default")]
    pub is_official: bool,
    /// Whether it was built by Docker Hub.
    #[serde(deserialize_with = "or_default")]
    pub is_automated: bool,
}

/// Searches for a term: `TERM`, or `HOST[:PORT]/TERM`.
///
/// # Errors
/// The host cannot be reached, or has no index.
pub fn search(
    written: &str,
    limit: usize,
    options: &RegistryOptions,
    tell: TellAll<'_>,
) -> Result<Vec<FoundRepository>> {
    #[derive(Deserialize)]
    struct SearchAnswer {
        #[serde(default, deserialize_with = "or_default")]
        results: Vec<FoundRepository>,
    }
    let (host, term) = match written.split_once('/') {
        Some((host, term)) if host.contains(['.', ':']) || host == "localhost" => (host, term),
        _ => (INDEX, written),
    };
    let (host, term) = if host == DOCKER { (INDEX, term) } else { (host, term) };
    if term.is_empty() {
        return Err(Error::new(ExitKind::Refused, text("registry.search.term")));
    }
    let transport = HttpTransport::new(options.clone());
    let endpoint = Endpoint::registry(host, options)?;
    let query = encoded(&[("q", term), ("n", &limit.to_string())]);
    let found = RegistryClient::connect(&transport, endpoint, "pull", tell).and_then(|client| {
        client.retry(&|_| (), || {
            let mut url = client.url("");
            url.target = format!("/v1/search?{query}");
            let headers = vec![("accept", "application/json".to_owned())];
            let why = "registry.explain.search";
            let answer = client.send(&Ask { method: "GET", url, headers, content: Content::None, why })?;
            if answer.status != 200 {
                return Err(unexpected(answer));
            }
            answer.document(options.timeout)
        })
    });
    let bytes = found.map_err(|failure| failure.error)?;
    let found: SearchAnswer = read_json(&bytes, host)?;
    Ok(found.results.into_iter().take(limit).collect())
}
