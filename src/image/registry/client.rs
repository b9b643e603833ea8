//! Requests to one registry: with its authentication, its redirects, and further attempts.
//!
//! A credential is sent only to the registry's own server. No redirect gets it, not even one to the same server.

use std::time::Duration;

use serde::Deserialize;

use super::TellAll;
use super::authorize::Authorizer;
use super::challenge::challenges;
use super::credentials::{self, Credential};
use super::endpoint::Endpoint;
use super::transport::{Content, HttpExchange, HttpFailure, HttpTransport, RegistryAnswer, Tried};
use super::url::{Scheme, Url};
use crate::error::{Error, ExitKind};
use crate::text::{printed, text, text_with, word};

/// The maximum number of redirects of a request.
const MAX_REDIRECTS: usize = 5;

/// The longest time between two attempts. Also if a server asks for more.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// A registry, and what it knows of the caller.
pub(super) struct RegistryClient<'c> {
    pub(super) transport: &'c HttpTransport,
    pub(super) endpoint: Endpoint,
    scheme: Scheme,
    authorizer: Authorizer,
    /// What is asked for in tokens: `pull` or `pull,push`.
    actions: &'static str,
    tell: TellAll<'c>,
}

/// A request to a registry.
pub(super) struct Ask<'a> {
    pub(super) method: &'static str,
    pub(super) url: Url,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) content: Content<'a>,
    /// The key of the message with its reason.
    pub(super) why: &'static str,
}

impl<'c> RegistryClient<'c> {
    /// Finds out how a server is spoken to. Only to one on this machine, or to one that is insecure as the user says, it
    /// may be HTTP without TLS.
    ///
    /// # Errors
    /// The server cannot be reached; the credentials of the user cannot be read.
    pub(super) fn connect(
        transport: &'c HttpTransport,
        endpoint: Endpoint,
        actions: &'static str,
        tell: TellAll<'c>,
    ) -> Tried<RegistryClient<'c>> {
        let options = transport.options();
        let found = match options.login.as_ref().filter(|_| !endpoint.is_mirror) {
            Some(login) => Some((Credential::Login(login.clone()), "--creds".to_owned())),
            None => credentials::find(&endpoint.registry, &endpoint.repository, options)?,
        };
        found.iter().for_each(|(_, from)| tell(&format!("read({from})"), "registry.explain.credentials"));
        let authorizer = Authorizer::new(found.map(|(credential, _)| credential));
        let of_host = |scheme| {
            let wrong = || HttpFailure::lasting(Error::new(ExitKind::Refused, text("image.name.registry")));
            Url::of(scheme, &endpoint.host, "/v2/").ok_or_else(wrong)
        };
        let secure = of_host(Scheme::Https)?;
        let mut scheme = Scheme::Https;
        if endpoint.is_insecure || secure.is_loopback() {
            let speaks_tls = transport.speaks_tls(&secure, endpoint.is_insecure)?;
            let result = if speaks_tls { "200" } else { "-1" };
            tell(&format!("GET {} = {result}", secure.shown()), "registry.explain.probe");
            if !speaks_tls {
                scheme = Scheme::Http;
            }
        }
        Ok(RegistryClient { transport, endpoint, scheme, authorizer, actions, tell })
    }

    /// The address of a path below `/v2/` on this server.
    pub(super) fn url(&self, path: &str) -> Url {
        let target = format!("/v2/{path}");
        // The same host was read before.
        Url::of(self.scheme, &self.endpoint.host, &target).unwrap_or(Url {
            scheme: self.scheme,
            host: String::new(),
            port: 0,
            target,
        })
    }

    /// The address of a path of the repository.
    pub(super) fn of_repository(&self, path: &str) -> Url {
        self.url(&format!("{}/{path}", self.endpoint.repository))
    }

    fn scope(&self) -> String {
        match self.endpoint.repository.as_str() {
            "" => String::new(),
            repository => format!("repository:{repository}:{}", self.actions),
        }
    }

    /// Sends a request and follows its redirects. 401 is answered once; so a token that is too old is replaced.
    ///
    /// # Errors
    /// There is no answer, or one that says that the server cannot answer now.
    pub(super) fn send(&self, ask: &Ask<'_>) -> Tried<RegistryAnswer> {
        self.send_with_scope(ask, &self.scope())
    }

    /// As [`RegistryClient::send`], with a token that is also for reading another repository.
    ///
    /// # Errors
    /// As [`RegistryClient::send`].
    pub(super) fn send_with_other(&self, ask: &Ask<'_>, repository: &str) -> Tried<RegistryAnswer> {
        self.send_with_scope(ask, &format!("{} repository:{repository}:pull", self.scope()))
    }

    fn send_with_scope(&self, ask: &Ask<'_>, scope: &str) -> Tried<RegistryAnswer> {
        let mut has_answered = false;
        loop {
            let is_own = ask.url.is_same_origin(&self.url(""));
            let authorization = self.authorizer.header(scope).filter(|_| is_own);
            let answer = self.follow(ask, authorization)?;
            let is_asked = answer.status == 401 && answer.url == ask.url && is_own;
            if !is_asked || has_answered {
                return busy(answer);
            }
            let headers = answer.headers.get_all("www-authenticate");
            let asked = challenges(headers.iter().filter_map(|header| header.to_str().ok()));
            let by = (&self.endpoint, &ask.url);
            if !self.authorizer.answer(self.transport, by, &asked, scope, self.tell)? {
                return busy(answer);
            }
            has_answered = true;
        }
    }

    fn follow(&self, ask: &Ask<'_>, authorization: Option<String>) -> Tried<RegistryAnswer> {
        let mut url = ask.url.clone();
        let mut authorization = authorization;
        for _ in 0..=MAX_REDIRECTS {
            let headers = ask.headers.clone().into_iter();
            let headers = headers.chain(authorization.take().map(|value| ("authorization", value))).collect();
            let content = match &ask.content {
                Content::None => Content::None,
                Content::Bytes(bytes) => Content::Bytes(bytes),
                Content::File(file, length) => Content::File(file, *length),
            };
            let exchange = HttpExchange { method: ask.method, url: &url, headers, content };
            let answer = self.transport.exchange(&exchange, self.is_insecure(&url))?;
            let about = match (answer.media_type(), answer.length()) {
                ("", _) => String::new(),
                (media_type, None) => format!(" {}", printed(media_type)),
                (media_type, Some(length)) => format!(" {}, {length} bytes", printed(media_type)),
            };
            let is_redirect =
                matches!(answer.status, 301 | 302 | 303 | 307 | 308) && matches!(ask.method, "GET" | "HEAD");
            let why = if is_redirect { "registry.explain.redirect" } else { ask.why };
            (self.tell)(&format!("{} {} = {}{about}", ask.method, url.shown(), answer.status), why);
            if !is_redirect {
                return Ok(answer);
            }
            let location = answer.header("location").unwrap_or_default();
            let next = url.join(location).filter(|next| self.may_follow(&url, next));
            url = next.ok_or_else(|| {
                let values = [("url", &*printed(url.shown())), ("location", &word(&printed(location)))];
                HttpFailure::lasting(Error::new(ExitKind::Refused, text_with("registry.redirect", &values)))
            })?;
        }
        let values = [("url", &*printed(ask.url.shown())), ("most", &MAX_REDIRECTS.to_string())];
        Err(HttpFailure::lasting(Error::new(ExitKind::Refused, text_with("registry.redirects", &values))))
    }

    /// Whether a redirect may be followed: never from TLS to a connection without it.
    pub(super) fn may_follow(&self, from: &Url, to: &Url) -> bool {
        match to.scheme {
            Scheme::Https => true,
            Scheme::Http => from.scheme == Scheme::Http && (to.is_loopback() || self.is_insecure(to)),
        }
    }

    fn is_insecure(&self, url: &Url) -> bool {
        let is_own = url.host == self.url("").host;
        self.transport.options().insecure(self.endpoint.is_insecure && is_own)
    }

    /// Tells a step.
    pub(super) fn tell(&self, call: &dyn std::fmt::Display, why: &str) {
        (self.tell)(call, why);
    }

    /// Does something again as long as another attempt may succeed. `waits` is told how long it waits.
    pub(super) fn retry<T>(
        &self,
        waits: &dyn Fn(Duration),
        mut attempt: impl FnMut() -> Tried<T>,
    ) -> Tried<T> {
        let options = self.transport.options();
        let mut done = 0;
        loop {
            let failure = match attempt() {
                Ok(result) => return Ok(result),
                Err(failure) => failure,
            };
            let Some(least) = failure.again.filter(|_| done < options.retries) else { return Err(failure) };
            let least = Duration::from_secs(least.into());
            let wait = options.retry_delay.saturating_mul(1 << done.min(6)).max(least).min(MAX_WAIT);
            done += 1;
            let call = format!("nanosleep({:.1} s)", wait.as_secs_f64());
            (self.tell)(&format!("{call} after: {}", failure.error), "registry.explain.retry");
            waits(wait);
            std::thread::sleep(wait);
        }
    }
}

/// The error of a server that cannot answer now.
fn busy(answer: RegistryAnswer) -> Tried<RegistryAnswer> {
    if !matches!(answer.status, 408 | 425 | 429 | 500..=599) {
        return Ok(answer);
    }
    let asked = answer.header("retry-after").and_then(|seconds| seconds.trim().parse::<u32>().ok());
    // A longer time makes no difference: nobody waits longer than MAX_WAIT.
    let least = asked.map_or(0, |asked| u16::try_from(asked).unwrap_or(u16::MAX));
    Err(HttpFailure { again: Some(least), ..unexpected(answer) })
}

/// The error of an answer with a status that is none of success. The registry's own words are the reason.
pub(super) fn unexpected(answer: RegistryAnswer) -> HttpFailure {
    #[derive(Deserialize)]
    struct Errors {
        errors: Vec<OneError>,
    }
    #[derive(Deserialize)]
    struct OneError {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let (status, url) = (answer.status, answer.url.shown());
    let values = [("url", &*printed(&url)), ("status", &status.to_string())];
    let error = Error::new(ExitKind::Refused, text_with("registry.answer", &values));
    let said = answer.document(Duration::from_secs(5)).ok();
    let said = said.and_then(|bytes| serde_json::from_slice::<Errors>(&bytes).ok());
    let reasons = said.into_iter().flat_map(|said| said.errors).take(3);
    HttpFailure::lasting(reasons.fold(error, |error, one| {
        let cut = |text: &str| printed(text.chars().take(200).collect::<String>());
        error.why(format!("{}: {}", cut(&one.code), cut(&one.message)))
    }))
}
