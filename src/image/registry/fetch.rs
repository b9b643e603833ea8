//! One file from a server, for `ADD URL` of a build.

use std::io::Read;
use std::time::Duration;

use percent_encoding::percent_decode_str;

use super::client::unexpected;
use super::transport::{Content, HttpExchange, HttpFailure, HttpTransport, RegistryAnswer, Tried, cut};
use super::url::{Scheme, Url};
use super::{RegistryOptions, TellAll};
use crate::error::{Error, ExitKind, Result};
use crate::text::{printed, text_with, word};

/// The maximum number of redirects.
const MAX_REDIRECTS: usize = 10;

/// The months as HTTP writes them.
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A file that was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedFile {
    /// When the server says that it was changed, in seconds since 1970.
    pub modified: Option<i64>,
}

/// The last part of the path of an address, percent-decoded: `na%20me` is `na me`. None: it has none, or no file can have this
/// name.
pub fn file_name(url: &str) -> Option<Vec<u8>> {
    let path: Vec<u8> = percent_decode_str(Url::parse(url)?.path()).collect();
    // A slash that was written as %2F is a separator too, so the name contains none.
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let is_name = !matches!(name, b"" | b"." | b"..") && !name.contains(&0);
    is_name.then(|| name.to_vec())
}

/// Gives the bytes of a file of a server to `take`.
///
/// # Errors
/// The address is wrong; the server cannot be reached, or does not have the file; those of `take`.
pub fn fetch(
    written: &str,
    options: &RegistryOptions,
    tell: TellAll<'_>,
    take: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<FetchedFile> {
    let wrong =
        || Error::new(ExitKind::Refused, text_with("registry.fetch.url", &[("url", &printed(written))]));
    let url = Url::parse(written).ok_or_else(wrong)?;
    let transport = HttpTransport::new(options.clone());
    let mut done = 0;
    let answer = loop {
        match follow(&transport, &url, tell) {
            Ok(answer) => break answer,
            // Another attempt may succeed.
            Err(failure) if failure.again.is_some() && done < options.retries => {
                let wait = options.retry_delay.saturating_mul(1 << done.min(6));
                let wait = wait.max(Duration::from_secs(failure.again.unwrap_or_default().into()));
                std::thread::sleep(wait.min(Duration::from_secs(60)));
                done += 1;
            }
            Err(failure) => return Err(failure.error),
        }
    };
    let (shown, length) = (answer.url.shown(), answer.length());
    let modified = answer.header("last-modified").and_then(seconds_of);
    let mut reader = answer.reader(options.timeout);
    let (mut buffer, mut copied) = (vec![0; 64 << 10], 0);
    loop {
        let count = reader.read(&mut buffer).map_err(|error| cut(&shown, &error).error)?;
        if count == 0 {
            break;
        }
        take(&buffer[..count])?;
        copied += count as u64;
    }
    match length.is_none_or(|length| length == copied) {
        true => Ok(FetchedFile { modified }),
        false => Err(cut(&shown, &std::io::ErrorKind::UnexpectedEof.into()).error),
    }
}

fn follow(transport: &HttpTransport, start: &Url, tell: TellAll<'_>) -> Tried<RegistryAnswer> {
    let mut url = start.clone();
    for _ in 0..=MAX_REDIRECTS {
        let exchange = HttpExchange { method: "GET", url: &url, headers: Vec::new(), content: Content::None };
        let answer = transport.exchange(&exchange, false)?;
        tell(&format!("GET {} = {}", url.shown(), answer.status), "registry.explain.fetch");
        if matches!(answer.status, 301 | 302 | 303 | 307 | 308) {
            let location = answer.header("location").unwrap_or_default();
            // Never from TLS to a connection without it.
            let next =
                url.join(location).filter(|next| next.scheme == Scheme::Https || url.scheme == Scheme::Http);
            url = next.ok_or_else(|| {
                let values = [("url", &*printed(url.shown())), ("location", &word(&printed(location)))];
                HttpFailure::lasting(Error::new(ExitKind::Refused, text_with("registry.redirect", &values)))
            })?;
            continue;
        }
        return match answer.status {
            200 => Ok(answer),
            408 | 425 | 429 | 500..=599 => Err(HttpFailure { again: Some(0), ..unexpected(answer) }),
            _ => Err(unexpected(answer)),
        };
    }
    let values = [("url", &*printed(start.shown())), ("most", &MAX_REDIRECTS.to_string())];
    Err(HttpFailure::lasting(Error::new(ExitKind::Refused, text_with("registry.redirects", &values))))
}

/// The seconds since 1970 of a time of HTTP: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn seconds_of(written: &str) -> Option<i64> {
    let parts: Vec<&str> = written.split_once(", ")?.1.split(' ').collect();
    let [day, month, year, time, "GMT"] = parts[..] else { return None };
    let month = MONTHS.iter().position(|known| *known == month)? as i64 + 1;
    let (day, year): (i64, i64) = (day.parse().ok()?, year.parse().ok()?);
    let clock: Vec<i64> = time.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let [hours, minutes, seconds] = clock[..] else { return None };
    let is_valid = (1..=31).contains(&day) && (1970..=9999).contains(&year);
    // The year begins in March, so that the leap day is its last one.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    is_valid.then_some((days - 719_468) * 86_400 + hours * 3600 + minutes * 60 + seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_http_is_read() {
        assert_eq!(seconds_of("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(seconds_of("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(seconds_of("Thu, 29 Feb 2024 12:00:00 GMT"), Some(1_709_208_000));
        for wrong in ["", "now", "Sun, 6 Nov 1994", "Sun, 06 Foo 1994 08:49:37 GMT"] {
            assert_eq!(seconds_of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_name_is_the_last_part_of_the_path() {
        let name = |url: &str| file_name(url).map(|name| String::from_utf8_lossy(&name).into_owned());
        for (url, wanted) in [
            ("https://example.org/a/b.tar.gz?x=1", Some("b.tar.gz")),
            ("https://example.org/na%20me.txt", Some("na me.txt")),
            ("https://example.org/100%.txt", Some("100%.txt")),
            ("https://example.org/a%2fb", Some("b")),
            ("https://example.org/a%2F..%2f", None),
            ("https://example.org/%2e%2e", None),
            ("https://example.org/a%00", None),
            ("https://example.org/", None),
            ("https://example.org/a/..", None),
        ] {
            assert_eq!(name(url).as_deref(), wanted, "{url}");
        }
    }
}
