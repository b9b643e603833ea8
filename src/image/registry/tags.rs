//! The tags of a repository: `GET /v2/NAME/tags/list`. A long list comes in pages, each with the address of the next one.

use serde::Deserialize;

use super::client::{Ask, RegistryClient, unexpected};
use super::endpoint::Endpoint;
use super::pull::denied;
use super::transport::{Content, HttpFailure, HttpTransport, Tried};
use super::url::Url;
use super::{RegistryOptions, TellAll};
use crate::error::{Error, ExitKind, Result};
use crate::image::manifest::read_json;
use crate::image::reference::{Reference, is_tag};
use crate::text::{printed, text, text_with};

/// The maximum number of pages, against a registry whose list never ends.
const MAX_PAGES: usize = 1000;

/// The maximum number of tags.
const MAX_TAGS: usize = 100_000;

/// All tags of a repository, in the order of the registry.
///
/// # Errors
/// No server has the repository; the list is not what it should be.
pub fn tags(reference: &Reference, options: &RegistryOptions, tell: TellAll<'_>) -> Result<Vec<String>> {
    let transport = HttpTransport::new(options.clone());
    let mut failed = None;
    for endpoint in Endpoint::all(reference, false, options)? {
        let host = endpoint.host.clone();
        let found = RegistryClient::connect(&transport, endpoint, "pull", tell)
            .and_then(|client| list(&client, reference));
        match found {
            Ok(tags) => return Ok(tags),
            Err(failure) => {
                tell(&format!("{host}: {}", failure.error), "registry.explain.mirror");
                failed = Some(failure.error);
            }
        }
    }
    Err(failed.unwrap_or_else(|| Error::new(ExitKind::Refused, text("image.name.registry"))))
}

fn list(client: &RegistryClient<'_>, reference: &Reference) -> Tried<Vec<String>> {
    #[derive(Deserialize)]
    struct TagPage {
        // A repository whose tags were all removed has `null`.
        #[serde(default)]
        tags: Option<Vec<String>>,
    }
    let lie = |key: &str, values: &[(&str, &str)]| {
        let what = text_with("registry.lie", &[("host", &printed(&client.endpoint.host))]);
        HttpFailure::lasting(Error::new(ExitKind::Refused, what).why(text_with(key, values)))
    };
    let mut all = Vec::new();
    let mut next = Some(client.of_repository("tags/list"));
    for _ in 0..MAX_PAGES {
        let Some(url) = next.take() else { return Ok(all) };
        let (bytes, following) = client.retry(&|_| (), || {
            let answer = client.send(&Ask {
                method: "GET",
                url: url.clone(),
                headers: vec![("accept", "application/json".to_owned())],
                content: Content::None,
                why: "registry.explain.tags",
            })?;
            match answer.status {
                200 => {}
                401 | 403 | 404 => return Err(denied(answer, reference)),
                _ => return Err(unexpected(answer)),
            }
            let following = answer.header("link").and_then(next_page).map(str::to_owned);
            Ok((answer.document(client.transport.options().timeout)?, following))
        })?;
        let page: TagPage = read_json(&bytes, &url.shown())?;
        for tag in page.tags.unwrap_or_default() {
            if !is_tag(&tag) {
                return Err(lie("registry.lie.tag", &[("tag", &printed(tag))]));
            }
            all.push(tag);
        }
        // Another server would get the credentials of this one.
        let join = |link: String| url.join(&link).filter(|joined: &Url| joined.is_same_origin(&url));
        next = following
            .map(|link| {
                join(link.clone()).ok_or_else(|| lie("registry.lie.link", &[("link", &printed(link))]))
            })
            .transpose()?;
        if all.len() > MAX_TAGS {
            break;
        }
    }
    match next {
        None => Ok(all),
        Some(_) => Err(lie("registry.lie.endless", &[("count", &all.len().to_string())])),
    }
}

/// The address of the next page in the header `Link` of RFC 8288: `</v2/NAME/tags/list?last=x&n=2>; rel="next"`.
fn next_page(header: &str) -> Option<&str> {
    header.split(',').find_map(|link| {
        let (address, about) = link.trim().strip_prefix('<')?.split_once('>')?;
        let is_next = about.split(';').any(|part| matches!(part.trim(), "rel=\"next\"" | "rel=next"));
        is_next.then_some(address)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_in_a_header() {
        assert_eq!(
            next_page("</v2/a/tags/list?last=x&n=2>; rel=\"next\""),
            Some("/v2/a/tags/list?last=x&n=2")
        );
        assert_eq!(next_page("</first>; rel=\"first\", </b>;rel=next"), Some("/b"));
        for other in ["", "/b; rel=\"next\"", "</b>", "</b>; rel=\"prev\"", "</b; rel=\"next\""] {
            assert_eq!(next_page(other), None, "{other}");
        }
    }
}
