//! A request, taken apart: its path without the version, what its query and its body say.

use std::collections::BTreeMap;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::answer::{Answered, ApiError};
use super::served::StreamPlace;
use crate::text::{printed, text_with};

/// The maximum size of a body with JSON.
const MAX_JSON: usize = 4 << 20;

/// How long a client may take to send the next part of such a body.
const BODY: Duration = Duration::from_secs(120);

/// A request of which the route is known.
pub(super) struct ApiRequest {
    /// Its number, for the trace.
    pub(super) number: u64,
    /// The version of the API that it is written for.
    pub(super) version: ApiVersion,
    /// The parts of the path that match `*` in the route: names.
    pub(super) names: Vec<String>,
    /// The query.
    pub(super) query: RequestQuery,
    pub(super) headers: HeaderMap,
    /// The body, if the route does not read it as it comes.
    pub(super) whole: Answered<Bytes>,
    /// The body of a route that does.
    pub(super) body: Option<Incoming>,
    /// The connection, if the client asks to take it over.
    pub(super) upgrade: Option<hyper::upgrade::OnUpgrade>,
    /// The connection itself, which a handler can take away from hyper. None: it is over TLS.
    pub(super) stream: Option<StreamPlace>,
    /// The place of this connection among all. It is free again when the last copy is dropped.
    pub(super) permit: Permit,
}

/// The right to have a connection.
pub(super) type Permit = std::sync::Arc<tokio::sync::OwnedSemaphorePermit>;

/// A version of the API: 1.44 is (1, 44).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ApiVersion(pub(super) u32, pub(super) u32);

impl ApiVersion {
    /// The newest one.
    pub(super) const NEWEST: ApiVersion = ApiVersion(1, 44);
    /// The oldest one.
    pub(super) const OLDEST: ApiVersion = ApiVersion(1, 24);

    /// Reads `1.44`.
    pub(super) fn parse(written: &str) -> Option<ApiVersion> {
        let (major, minor) = written.split_once('.')?;
        Some(ApiVersion(major.parse().ok()?, minor.parse().ok()?))
    }

    /// The version in front of a path, and the rest: `/v1.44/info`. A path without one is for the newest.
    pub(super) fn of_path(path: &str) -> Answered<(ApiVersion, &str)> {
        let first = path.strip_prefix("/v").and_then(|rest| rest.split_once('/'));
        let Some((version, _)) =
            first.filter(|(version, _)| version.starts_with(|c: char| c.is_ascii_digit()))
        else {
            return Ok((ApiVersion::NEWEST, path));
        };
        let rest = &path[2 + version.len()..];
        let values = |limit: ApiVersion| {
            [("version", printed(version)), ("limit", limit.to_string())].map(|(name, value)| (name, value))
        };
        let refused = |key: &str, limit: ApiVersion| {
            let values = values(limit);
            let values: Vec<(&str, &str)> =
                values.iter().map(|(name, value)| (*name, value.as_str())).collect();
            ApiError::bad(text_with(key, &values))
        };
        match ApiVersion::parse(version) {
            None => Err(refused("daemon.version.form", ApiVersion::NEWEST)),
            Some(asked) if asked > ApiVersion::NEWEST => {
                Err(refused("daemon.version.new", ApiVersion::NEWEST))
            }
            Some(asked) if asked < ApiVersion::OLDEST => {
                Err(refused("daemon.version.old", ApiVersion::OLDEST))
            }
            Some(asked) => Ok((asked, rest)),
        }
    }
}

impl std::fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl ApiRequest {
    /// The first name in the path.
    pub(super) fn name(&self) -> String {
        self.names.first().cloned().unwrap_or_default()
    }

    /// The body as JSON. An empty one is null.
    pub(super) async fn json(&mut self) -> Answered<Value> {
        let bytes = self.whole.clone()?;
        let kind = self.headers.get(CONTENT_TYPE).map(|kind| String::from_utf8_lossy(kind.as_bytes()));
        let kind = kind.unwrap_or_default();
        // A web page can send a body of some other types, such as a form, to any address.
        let is_json =
            kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"));
        let is_nothing = kind.is_empty() && bytes.is_empty();
        if !is_json && !is_nothing {
            let kind = printed(&*kind);
            return Err(ApiError::bad(format!(
                "unsupported Content-Type header ({kind}): must be 'application/json'"
            )));
        }
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes)
            .map(super::keys::known_keys)
            .map_err(|error| ApiError::bad(text_with("daemon.body.json", &[("why", &error.to_string())])))
    }

    /// Reads a body to its end. The rest of one that is too large is read too: otherwise the kernel would report an error to a
    /// client that still sends, in place of the answer.
    pub(super) async fn whole(mut body: Incoming) -> Answered<Bytes> {
        let mut whole = Vec::new();
        // A client that stops in the middle is waited for no longer than this.
        loop {
            let refused = || {
                let values = [("size", &*(MAX_JSON >> 20).to_string())];
                ApiError::bad(text_with("daemon.body.large", &values))
            };
            let part = tokio::time::timeout(BODY, body.frame()).await.map_err(|_| refused())?;
            let Some(part) = part else { return Ok(Bytes::from(whole)) };
            let Ok(frame) = part else { return Err(refused()) };
            whole.extend_from_slice(&frame.into_data().unwrap_or_default());
            if whole.len() > MAX_JSON {
                ApiRequest::drain(body).await;
                return Err(refused());
            }
        }
    }

    /// Reads the rest of the body, so that a client that still sends it gets the answer.
    pub(super) async fn drain(body: Incoming) {
        let mut body = body;
        while let Some(Ok(_)) = body.frame().await {}
    }

    /// The next part of a body. None: it has ended.
    ///
    /// # Errors
    /// The client has left in the middle.
    pub(super) async fn part(body: &mut Incoming) -> Result<Option<Bytes>, hyper::Error> {
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame?.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}

/// The query of a request.
#[derive(Debug, Clone, Default)]
pub(super) struct RequestQuery {
    pairs: Vec<(String, String)>,
}

impl RequestQuery {
    /// Reads `all=1&limit=2`.
    pub(super) fn parse(written: &str) -> RequestQuery {
        let pairs = written.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(&name.replace('+', " ")), decoded(&value.replace('+', " ")))
        });
        RequestQuery { pairs: pairs.collect() }
    }

    /// The value of a parameter. None: there is none, or it is empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.pairs.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str());
        found.filter(|value| !value.is_empty())
    }

    /// All values of a parameter.
    pub(super) fn all(&self, name: &str) -> Vec<String> {
        self.pairs.iter().filter(|(own, _)| own == name).map(|(_, value)| value.clone()).collect()
    }

    /// A truth value, as Docker reads it.
    pub(super) fn is(&self, name: &str) -> bool {
        let value = self.get(name).unwrap_or_default().to_ascii_lowercase();
        !["", "0", "no", "false", "none"].contains(&value.as_str())
    }

    /// A number.
    pub(super) fn number<T: std::str::FromStr>(&self, name: &str) -> Answered<Option<T>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let wrong =
            |_| ApiError::bad(text_with("daemon.number", &[("name", name), ("value", &printed(value))]));
        value.parse().map(Some).map_err(wrong)
    }

    /// The filters: `{"label": ["a=b"]}`, or as older clients write it, `{"label": {"a=b": true}}`.
    pub(super) fn filters(&self) -> Answered<Filters> {
        let Some(written) = self.get("filters") else { return Ok(Filters::new()) };
        let wrong = || ApiError::bad(text_with("daemon.filters", &[("filters", &printed(written))]));
        let value: Value = serde_json::from_str(written).map_err(|_| wrong())?;
        let mut filters = Filters::new();
        for (name, values) in value.as_object().ok_or_else(wrong)? {
            let values = match values {
                Value::Array(all) => all.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect(),
                Value::Object(all) => all
                    .iter()
                    .filter(|(_, is)| is.as_bool() != Some(false))
                    .map(|(one, _)| one.clone())
                    .collect(),
                _ => return Err(wrong()),
            };
            filters.insert(name.clone(), values);
        }
        Ok(filters)
    }
}

/// Filters, by name.
pub(super) type Filters = BTreeMap<String, Vec<String>>;

/// Refuses a filter that is not known.
pub(super) fn known_filters(filters: &Filters, known: &[&str]) -> Answered<()> {
    match filters.keys().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(ApiError::bad(format!("invalid filter '{}'", printed(name)))),
        None => Ok(()),
    }
}

/// The value of a filter that is true or false. None: it is not asked for.
pub(super) fn truth_filter(filters: &Filters, name: &str) -> Answered<Option<bool>> {
    let Some(values) = filters.get(name) else { return Ok(None) };
    let has = |words: [&str; 2]| values.iter().any(|value| words.contains(&value.as_str()));
    match (has(["1", "true"]), has(["0", "false"])) {
        (true, false) => Ok(Some(true)),
        (false, true) => Ok(Some(false)),
        _ => {
            let values = printed(values.join(" "));
            Err(ApiError::bad(format!("invalid filter '{name}=[{values}]'")))
        }
    }
}

/// A part of a path or a query, percent-decoded.
pub(super) fn decoded(written: &str) -> String {
    percent_decode_str(written).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_may_have_a_version() {
        let read = |path| ApiVersion::of_path(path).map_err(|error| error.status.as_u16());
        assert_eq!(read("/v1.41/info"), Ok((ApiVersion(1, 41), "/info")));
        assert_eq!(read("/info"), Ok((ApiVersion::NEWEST, "/info")));
        assert_eq!(read("/volumes/x"), Ok((ApiVersion::NEWEST, "/volumes/x")));
        assert_eq!(read("/v1.45/info"), Err(400));
        assert_eq!(read("/v1.23/info"), Err(400));
        assert_eq!(read("/v1/info"), Err(400));
    }

    #[test]
    fn a_query_has_two_forms_of_filters() {
        let query = RequestQuery::parse(
            "all=1&x=%2Fa+b&filters=%7B%22label%22%3A%5B%22a%3Db%22%5D%2C%22name%22%3A%7B%22x%22%3Atrue%7D%7D",
        );
        assert!(query.is("all") && !query.is("none"));
        assert_eq!(query.get("x"), Some("/a b"));
        let filters = query.filters().unwrap();
        assert_eq!((&filters["label"], &filters["name"]), (&vec!["a=b".to_owned()], &vec!["x".to_owned()]));
        assert!(RequestQuery::parse("filters=x").filters().is_err());
    }
}
