//! POST /build: an image from a Dockerfile. The body is the context, and `sandbox build` reads it from standard input.

use std::sync::Arc;

use hyper::StatusCode;
use serde_json::{Value, json};

use super::Daemon;
use super::answer::{Answered, ApiError, line, ok, stream};
use super::archive::{WholeLines, error_line};
use super::command::{Streaming, Words, blocking, run, words};
use super::request::{ApiRequest, RequestQuery};
use super::settings::flag;
use crate::image::store::ImageStore;
use crate::text::{printed, text, text_with};

/// The parameters that ask for something if they are true, and the flags of `sandbox build` for them.
const SWITCHES: [(&str, &str); 4] =
    [("nocache", "--no-cache"), ("pull", "--pull"), ("q", "--quiet"), ("squash", "--squash")];

/// The parameters with a value, and the flags for them. `build` refuses some of these by name. Clients send 0 for none.
const VALUES: [(&str, &str); 16] = [
    ("t", "tag"),
    ("dockerfile", "file"),
    ("target", "target"),
    ("networkmode", "network"),
    ("platform", "platform"),
    ("extrahosts", "add-host"),
    ("memory", "memory"),
    ("memswap", "memory-swap"),
    ("cpushares", "cpu-shares"),
    ("cpusetcpus", "cpuset-cpus"),
    ("cpusetmems", "cpuset-mems"),
    ("cpuperiod", "cpu-period"),
    ("cpuquota", "cpu-quota"),
    ("cgroupparent", "cgroup-parent"),
    ("isolation", "isolation"),
    ("shmsize", "shm-size"),
];

/// Parameters whose value is a list as JSON, and the flags for them, which `build` refuses by name.
const LISTS: [(&str, &str); 3] =
    [("ulimits", "ulimit"), ("securityopt", "security-opt"), ("cachefrom", "cache-from")];

/// Parameters whose value is a map as JSON, and the flags for each of its entries.
const MAPS: [(&str, &str); 2] = [("buildargs", "build-arg"), ("labels", "label")];

/// The command line of a request.
fn command_line(query: &RequestQuery) -> Answered<Words> {
    if query.get("version") == Some("2") {
        return Err(ApiError::new(hyper::StatusCode::NOT_IMPLEMENTED, text("daemon.buildkit")));
    }
    if query.get("remote").is_some_and(|remote| !remote.is_empty()) {
        return Err(ApiError::absent(&text("daemon.what.remote")));
    }
    let mut all = words(&["build"]);
    all.extend(SWITCHES.iter().filter(|(name, _)| query.is(name)).map(|(_, flag)| (*flag).into()));
    for (name, own) in VALUES {
        // Of most parameters, the first one counts.
        let most = if ["t", "extrahosts"].contains(&name) { usize::MAX } else { 1 };
        let given =
            query.all(name).into_iter().take(most).filter(|value| !["", "0"].contains(&value.as_str()));
        all.extend(given.map(|value| flag(own, &value)));
    }
    for (name, own) in LISTS {
        let written = query.get(name).filter(|written| !["", "null", "[]"].contains(written));
        all.extend(written.map(|written| flag(own, written)));
    }
    for (name, own) in MAPS {
        let written = query.get(name).filter(|written| !written.is_empty());
        let Some(written) = written else { continue };
        let wrong = || ApiError::bad(text_with("daemon.parameter.map", &[("name", name)]));
        let map: serde_json::Map<String, Value> = serde_json::from_str(written).map_err(|_| wrong())?;
        for (key, value) in map {
            match value {
                Value::String(value) => all.push(flag(own, &format!("{key}={value}"))),
                // A variable that the client does not have.
                Value::Null => {}
                _ => return Err(wrong()),
            }
        }
    }
    all.extend(words(&["--", "-"]));
    Ok(all)
}

/// Builds an image.
pub(super) async fn build(daemon: Arc<Daemon>, mut request: ApiRequest) -> Answered {
    let body = request.body.take();
    let all = match command_line(&request.query) {
        Ok(all) => all,
        Err(error) => {
            // The client sends all of its context before it reads the answer.
            if let Some(body) = body {
                ApiRequest::drain(body).await;
            }
            return Err(error);
        }
    };
    // Before its first output, an error is one of the Dockerfile or of the request.
    let started = Streaming::start(&daemon, request.number, all, body).await;
    let mut building = started.map_err(|error| match error.status {
        StatusCode::INTERNAL_SERVER_ERROR | StatusCode::BAD_REQUEST => {
            ApiError::bad(in_dockers_words(without_place(error.message)))
        }
        _ => error,
    })?;
    let (sender, answer) = stream("application/json");
    tokio::spawn(async move {
        let mut lines = WholeLines::default();
        while let Some(part) = building.next().await {
            let values = match part {
                Ok(part) => {
                    let values = lines.of(&part);
                    let mut all = Vec::new();
                    for value in values {
                        // The ID comes before the last lines: clients look for these at the end.
                        if let Some(id) = built(value["stream"].as_str().and_then(named)).await {
                            all.push(json!({ "aux": { "ID": id } }));
                        }
                        all.push(value);
                    }
                    all
                }
                Err(error) => of_failure(&ApiError { message: without_place(error.message), ..error }),
            };
            for value in values {
                if sender.send(line(&value)).await.is_err() {
                    return;
                }
            }
        }
        if let Some(rest) = lines.end() {
            let _ = sender.send(line(&rest)).await;
        }
    });
    Ok(answer)
}

/// The message about a base image that cannot be pulled, without its place in the Dockerfile: it stands between what has failed and why.
fn without_place(message: String) -> String {
    let place = format!(": {}", text("build.place"));
    let Some((before, after)) = message.split_once(&place) else { return message };
    // The place is FILE:LINE:COLUMN, and the name of a file can have blanks.
    match (before.rsplit_once(' '), after.is_empty() || after.starts_with(": ")) {
        (Some((what, at)), true) if at.split(':').rev().take(2).all(|part| part.parse::<u32>().is_ok()) => {
            format!("{what}{after}")
        }
        _ => message,
    }
}

/// The message about an instruction that is not known, as Docker words it. Any other message stays as it is.
fn in_dockers_words(message: String) -> String {
    let found = message.split_once(": the instruction ").and_then(|(place, rest)| {
        let (name, _) = rest.split_once(" is not known")?;
        // The place is FILE:LINE:COLUMN.
        let line: u64 = place.rsplit(':').nth(1)?.parse().ok()?;
        Some(format!("dockerfile parse error line {line}: unknown instruction: {name}"))
    });
    found.unwrap_or(message)
}

/// Removes the cache of builds.
pub(super) async fn prune(daemon: Arc<Daemon>, request: ApiRequest) -> Answered {
    let mut line = words(&["builder", "prune", "--force", "--all"]);
    let filters = request.query.filters()?;
    // `docker system prune --filter label=X` asks for it. No part of the cache has a label.
    if filters.contains_key("label") {
        return ok(&json!({ "CachesDeleted": [], "SpaceReclaimed": 0 }));
    }
    for (name, values) in filters {
        match name.as_str() {
            "until" | "unused-for" => {
                line.extend(values.iter().map(|value| flag("filter", &format!("{name}={value}"))));
            }
            // Each of it is without that label.
            "label!" => {}
            other => {
                let values = [("filter", &*printed(other))];
                return Err(ApiError::absent(&text_with("daemon.what.prunefilter", &values)));
            }
        }
    }
    let printed = run(&daemon, request.number, line).await?;
    let printed = String::from_utf8_lossy(&printed);
    let freed = printed.split_whitespace().next_back().and_then(bytes).unwrap_or_default();
    ok(&json!({ "CachesDeleted": [], "SpaceReclaimed": freed }))
}

/// Reads a size as it is printed for people: `1.98MB`.
fn bytes(written: &str) -> Option<u64> {
    let units = [("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("B", 1.0)];
    let (number, unit) = units.iter().find_map(|(end, unit)| Some((written.strip_suffix(end)?, unit)))?;
    number.parse::<f64>().ok().map(|number| (number * unit) as u64)
}

/// The image that a line names: by its short ID, or with `-q` by its ID.
fn named(line: &str) -> Option<String> {
    let short = line.strip_prefix("Successfully built ");
    let named = short.or_else(|| Some(line).filter(|line| line.starts_with("sha256:")))?;
    Some(named.trim().to_owned())
}

/// The ID of the image that was built.
async fn built(named: Option<String>) -> Option<String> {
    let named = named?;
    blocking(move || Ok(ImageStore::open()?.find(&named)?.id.to_string())).await.ok()
}

/// A command that failed: what it has printed to standard error, and Docker's sentence.
fn of_failure(error: &ApiError) -> Vec<Value> {
    let message = &error.message;
    let Some(at) = message.rfind("The command '") else {
        return vec![error_line(error)];
    };
    let (printed, sentence) = message.split_at(at);
    let code = sentence.split_once("returned a non-zero code: ").map(|(_, rest)| rest);
    let digits = |rest: &str| rest.chars().take_while(char::is_ascii_digit).collect::<String>();
    let code: Option<u8> = code.and_then(|rest| digits(rest).parse().ok());
    let mut values = Vec::new();
    if !printed.is_empty() {
        values.push(json!({ "stream": format!("{}\n", printed.trim_end_matches([':', ' '])) }));
    }
    values.push(match code {
        Some(code) => {
            let end = sentence.find("code: ").map_or(sentence.len(), |at| at + 6 + code.to_string().len());
            let sentence = &sentence[..end];
            json!({ "errorDetail": { "code": code, "message": sentence }, "error": sentence })
        }
        None => json!({ "errorDetail": { "message": sentence }, "error": sentence }),
    });
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::command::typed;

    #[test]
    fn a_request_is_a_command_line() {
        let of = |query: &str| command_line(&RequestQuery::parse(query)).map(|line| typed(&line));
        let line = of(
            "t=a%3A1&t=b&dockerfile=Dockerfile&nocache=1&buildargs=%7B%22A%22%3A%22-x%22%2C%22B%22%3Anull%7D&memory=0",
        );
        let expected = "sandbox build --no-cache --tag=a:1 --tag=b --file=Dockerfile --build-arg=A=-x -- -";
        assert_eq!(line.ok().as_deref(), Some(expected));
        assert_eq!(of("memory=64&rm=1&q=1").ok().as_deref(), Some("sandbox build --quiet --memory=64 -- -"));
        for (wrong, status) in [("version=2", 501), ("remote=git%3A%2F%2Fx", 501), ("labels=%5B%5D", 400)] {
            assert_eq!(of(wrong).map_err(|error| error.status.as_u16()), Err(status), "{wrong}");
        }
    }

    #[test]
    fn an_instruction_that_is_not_known_has_dockers_words() {
        let words = in_dockers_words(
            "Dockerfile: one mistake Dockerfile:2:1: the instruction FOO is not known 2 | FOO".into(),
        );
        assert_eq!(words, "dockerfile parse error line 2: unknown instruction: FOO");
        assert_eq!(in_dockers_words("x:1:1: other".into()), "x:1:1: other");
        assert_eq!(in_dockers_words("x 3 | grep ^x".into()), "x 3 | grep ^x");
    }

    #[test]
    fn the_cause_of_a_failed_pull_has_no_place_in_the_file() {
        let place = text("build.place");
        let of = |message: String| without_place(message);
        let failed = of(format!("manifest for x:1 not found Dockerfile:1:6: {place}: manifest unknown"));
        assert_eq!(failed, "manifest for x:1 not found: manifest unknown");
        assert_eq!(of(format!("x is not here f:2:6: {place}")), "x is not here");
        for other in [format!("RUN echo {place}"), "x: y".to_owned(), format!("a b: {place}: c")] {
            assert_eq!(of(other.clone()), other);
        }
    }

    #[test]
    fn a_failed_command_has_its_status() {
        let error =
            ApiError::failed("oh no: The command '/bin/sh -c x' returned a non-zero code: 3: f:2:1 names it");
        let values = of_failure(&error);
        assert_eq!(values[0]["stream"], "oh no\n");
        assert_eq!(values[1]["errorDetail"]["code"], 3);
        assert_eq!(values[1]["error"], "The command '/bin/sh -c x' returned a non-zero code: 3");
        assert_eq!(of_failure(&ApiError::failed("x"))[0]["error"], "x");
    }
}
