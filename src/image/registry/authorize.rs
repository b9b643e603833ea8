//! How a registry is given what it wants: a password, or a token that another server gives for it.
//!
//! A password is sent to the registry itself, and to a token server that is on the same host or in the same domain. So
//! a registry cannot get the password of another one, and neither can a server that pretends to be the registry. The
//! list of public suffixes defines a domain: `a.github.io` and `b.github.io` are different domains.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;

use super::TellAll;
use super::challenge::Challenge;
use super::credentials::Credential;
use super::endpoint::Endpoint;
use super::transport::{Content, HttpExchange, HttpFailure, HttpTransport, RegistryAnswer, Tried};
use super::url::{Scheme, Url};
use crate::error::{Error, ExitKind};
use crate::text::{printed, text, text_with};

/// What a token server may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// The password.
    Password,
    /// Only a request for a token without a password.
    Nothing,
    /// No request at all.
    Refused,
}

/// What is sent with requests, by their scope.
pub(super) struct Authorizer {
    credential: Option<Credential>,
    headers: Mutex<HashMap<String, String>>,
}

impl Authorizer {
    pub(super) fn new(credential: Option<Credential>) -> Authorizer {
        Authorizer { credential, headers: Mutex::default() }
    }

    /// The value of `Authorization` for a scope. None: nothing is wanted so far.
    pub(super) fn header(&self, scope: &str) -> Option<String> {
        self.headers.lock().unwrap_or_else(PoisonError::into_inner).get(scope).cloned()
    }

    /// Answers challenges. `false`: there is nothing to answer with.
    ///
    /// # Errors
    /// The token server cannot be trusted or reached, or gives no token.
    pub(super) fn answer(
        &self,
        transport: &HttpTransport,
        (endpoint, asked): (&Endpoint, &Url),
        challenges: &[Challenge],
        scope: &str,
        tell: TellAll<'_>,
    ) -> Tried<bool> {
        let bearer = challenges.iter().find_map(|challenge| match challenge {
            Challenge::Bearer { realm, service } => Some((realm, service.as_deref())),
            Challenge::Basic => None,
        });
        let header = match (bearer, &self.credential) {
            // It is no answer if the registry has refused it already.
            (Some(_), Some(Credential::Registry(token))) => {
                Some(format!("Bearer {token}")).filter(|header| self.header(scope).as_ref() != Some(header))
            }
            (Some((realm, service)), _) => {
                self.token(transport, (endpoint, asked), (realm, service), scope, tell)?
            }
            (None, Some(Credential::Login(login))) if challenges.contains(&Challenge::Basic) => {
                tell(
                    &format!("Authorization: Basic <{}:...>", printed(&login.user)),
                    "registry.explain.basic",
                );
                Some(login.basic())
            }
            _ => None,
        };
        let is_new = header.is_some();
        let mut headers = self.headers.lock().unwrap_or_else(PoisonError::into_inner);
        header.map(|header| headers.insert(scope.to_owned(), header));
        Ok(is_new)
    }

    /// Asks for a token. None: nobody gets one without a password, and there is none.
    fn token(
        &self,
        transport: &HttpTransport,
        (endpoint, asked): (&Endpoint, &Url),
        (realm, service): (&str, Option<&str>),
        scope: &str,
        tell: TellAll<'_>,
    ) -> Tried<Option<String>> {
        let refused = || {
            let values = [("host", &*printed(asked.authority())), ("realm", &printed(realm))];
            HttpFailure::lasting(Error::new(ExitKind::Refused, text_with("registry.realm", &values)))
        };
        let url = Url::parse(realm).ok_or_else(refused)?;
        let credential = match trust(asked, &url, endpoint.is_insecure) {
            Trust::Refused => return Err(refused()),
            Trust::Password => self.credential.as_ref(),
            Trust::Nothing => {
                if self.credential.is_some() {
                    tell(&printed(url.shown()), "registry.explain.untrusted");
                }
                None
            }
        };
        let mut query: Vec<(&str, &str)> = Vec::new();
        match credential {
            // In a form, one parameter has all scopes. In an address, each has its own.
            Some(Credential::Identity(_)) if !scope.is_empty() => query.push(("scope", scope)),
            _ => query.extend(scope.split_whitespace().map(|scope| ("scope", scope))),
        }
        query.extend(service.map(|service| ("service", service)));
        // The certificates of a token server are always checked, unless the command line says otherwise.
        let is_insecure = transport.options().insecure(endpoint.is_insecure && url.host == asked.host);
        let answer = match credential {
            Some(Credential::Identity(token)) => {
                query.extend([
                    ("grant_type", "refresh_token"),
                    ("client_id", "sandbox"),
                    ("refresh_token", token),
                ]);
                let form = encoded(&query);
                let headers = vec![("content-type", "application/x-www-form-urlencoded".to_owned())];
                let content = Content::Bytes(form.as_bytes());
                transport
                    .exchange(&HttpExchange { method: "POST", url: &url, headers, content }, is_insecure)?
            }
            credential => {
                let login = match credential {
                    Some(Credential::Login(login)) => Some(login),
                    _ => None,
                };
                query.extend(login.map(|login| ("account", &*login.user)));
                let url = url.with_query(&encoded(&query));
                let headers = login.map(|login| ("authorization", login.basic())).into_iter().collect();
                transport.exchange(
                    &HttpExchange { method: "GET", url: &url, headers, content: Content::None },
                    is_insecure,
                )?
            }
        };
        let status = answer.status;
        let method = if matches!(credential, Some(Credential::Identity(_))) { "POST" } else { "GET" };
        tell(
            &format!("{method} {} = {status} {}", url.shown(), printed(answer.media_type())),
            "registry.explain.token",
        );
        // The registry's own answer is the error then: it wants a login.
        if self.credential.is_none() && matches!(status, 401 | 403) {
            return Ok(None);
        }
        read_token(answer, transport).map(Some).map_err(|failure| match status {
            401 | 403 if credential.is_some() => {
                let error = Error::new(ExitKind::Refused, text("registry.password"));
                HttpFailure::lasting(
                    error.why(text_with("registry.password.reason", &[("host", &printed(url.authority()))])),
                )
            }
            _ => failure,
        })
    }
}

/// The header with the token of an answer.
fn read_token(answer: RegistryAnswer, transport: &HttpTransport) -> Tried<String> {
    #[derive(Deserialize)]
    struct Token {
        token: Option<String>,
        access_token: Option<String>,
    }
    let (status, shown) = (answer.status, answer.url.shown());
    let failed = |why: String| {
        Error::new(ExitKind::Refused, text_with("registry.token", &[("url", &printed(&shown))])).why(why)
    };
    let wrong_status = || failed(text_with("registry.status", &[("status", &status.to_string())]));
    match status {
        200 => {}
        408 | 429 | 500..=599 => return Err(HttpFailure::passing(wrong_status())),
        _ => return Err(wrong_status().into()),
    }
    let bytes = answer.document(transport.options().timeout)?;
    let token = serde_json::from_slice::<Token>(&bytes).ok();
    let token = token.and_then(|token| token.token.or(token.access_token));
    let is_plain = |token: &String| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    match token.filter(is_plain) {
        Some(token) => Ok(format!("Bearer {token}")),
        None => Err(failed(text("registry.token.none")).into()),
    }
}

/// What the token server `realm` may be sent for the registry `asked`.
fn trust(asked: &Url, realm: &Url, is_insecure: bool) -> Trust {
    let is_safe = realm.scheme == Scheme::Https
        || (asked.scheme == Scheme::Http && (realm.is_loopback() || is_insecure));
    if !is_safe {
        return Trust::Refused;
    }
    let is_same_domain = domain(&asked.host).is_some_and(|own| Some(own) == domain(&realm.host));
    if asked.host == realm.host || is_same_domain { Trust::Password } else { Trust::Nothing }
}

/// The part of a host name that one owner has. None: it is an address, or a public suffix.
fn domain(host: &str) -> Option<&str> {
    let is_address = host.starts_with('[') || host.parse::<IpAddr>().is_ok();
    if is_address { None } else { psl::domain_str(host.trim_end_matches('.')) }
}

/// The parts of a query.
pub(super) fn encoded(parts: &[(&str, &str)]) -> String {
    let encode = |value: &str| {
        let byte = |byte: u8| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        };
        value.bytes().map(byte).collect::<String>()
    };
    parts.iter().map(|(key, value)| format!("{key}={}", encode(value))).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_stays_in_its_domain() {
        let trust = |asked: &str, realm: &str, is_insecure: bool| {
            super::trust(&Url::parse(asked).unwrap(), &Url::parse(realm).unwrap(), is_insecure)
        };
        for (asked, realm) in [
            ("https://registry-1.docker.io/v2/", "https://auth.docker.io/token"),
            ("https://a.test:5000/", "https://a.test/token"),
            ("https://r.a.co.uk/", "https://auth.a.co.uk/"),
            ("http://127.0.0.1:5000/", "http://127.0.0.1:5001/token"),
            ("http://localhost:5000/", "https://localhost/"),
        ] {
            assert_eq!(trust(asked, realm, false), Trust::Password, "{asked} {realm}");
        }
        for (asked, realm) in [
            ("https://a.test/", "https://evil.test/"),
            ("https://a.github.io/", "https://b.github.io/"),
            ("https://a.co.uk/", "https://b.co.uk/"),
            ("https://10.0.0.1/", "https://11.0.0.1/"),
            ("https://registry/", "https://other/"),
            ("https://a.test/", "https://a.test.evil.org/"),
            ("http://127.0.0.1:5000/", "http://127.0.0.2:5000/"),
            ("https://com/", "https://a.com/"),
        ] {
            assert_eq!(trust(asked, realm, false), Trust::Nothing, "{asked} {realm}");
        }
        for (asked, realm) in [
            ("https://a.test/", "http://a.test/"),
            ("https://a.test/", "http://127.0.0.1/"),
            ("http://127.0.0.1/", "http://a.test/"),
        ] {
            assert_eq!(trust(asked, realm, false), Trust::Refused, "{asked} {realm}");
        }
        assert_eq!(trust("http://a.test/", "http://a.test/", true), Trust::Password);
    }
}
