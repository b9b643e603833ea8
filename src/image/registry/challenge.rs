//! What a registry wants when it answers 401: the header `WWW-Authenticate` (RFC 9110).

/// One way to be let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A user name and a password with each request.
    Basic,
    /// A token, which another server gives.
    Bearer {
        /// The address of that server.
        realm: String,
        /// What the token is for.
        service: Option<String>,
    },
}

/// All challenges in the headers.
pub(super) fn challenges<'h>(headers: impl Iterator<Item = &'h str>) -> Vec<Challenge> {
    headers.flat_map(of_header).collect()
}

fn of_header(header: &str) -> Vec<Challenge> {
    let mut found = Vec::new();
    let mut rest = header;
    while let Some((scheme, parameters, end)) = next(rest) {
        let value = |name: &str| {
            let found = parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.clone())
        };
        if scheme.eq_ignore_ascii_case("basic") {
            found.push(Challenge::Basic);
        } else if let (true, Some(realm)) = (scheme.eq_ignore_ascii_case("bearer"), value("realm")) {
            found.push(Challenge::Bearer { realm, service: value("service") });
        }
        rest = end;
    }
    found
}

/// A scheme, its parameters, and the rest of the header.
type Scheme<'h> = (&'h str, Vec<(&'h str, String)>, &'h str);

fn next(header: &str) -> Option<Scheme<'_>> {
    let header = header.trim_start_matches([' ', '\t', ',']);
    let end = header.find([' ', '\t', ',']).unwrap_or(header.len());
    let (scheme, mut rest) = header.split_at(end);
    if scheme.is_empty() {
        return None;
    }
    let mut parameters = Vec::new();
    while let Some((key, value, after)) = parameter(rest) {
        parameters.push((key, value));
        rest = after;
    }
    Some((scheme, parameters, rest))
}

/// `KEY=VALUE` or `KEY="VALUE"`. None: the next word is a scheme.
fn parameter(rest: &str) -> Option<(&str, String, &str)> {
    let rest = rest.trim_start_matches([' ', '\t', ',']);
    let (key, after) = rest.split_once('=')?;
    let key = key.trim_end();
    if key.is_empty() || key.contains([' ', ',', '"']) {
        return None;
    }
    let after = after.trim_start();
    let Some(quoted) = after.strip_prefix('"') else {
        let end = after.find([',', ' ']).unwrap_or(after.len());
        return Some((key, after[..end].to_owned(), &after[end..]));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((key, value, &quoted[at + 1..])),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read_as_servers_write_them() {
        let bearer = |realm: &str, service: Option<&str>| Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
        };
        for (header, expected) in [
            (
                r#"Bearer realm="https://a.test/token",service="a, b",scope="repository:x:pull""#,
                vec![bearer("https://a.test/token", Some("a, b"))],
            ),
            (r#"basic realm="x""#, vec![Challenge::Basic]),
            ("Basic", vec![Challenge::Basic]),
            (r#"Negotiate, Bearer realm=x, Basic realm="y""#, vec![bearer("x", None), Challenge::Basic]),
            (r#"Bearer realm="a\"b""#, vec![bearer("a\"b", None)]),
            (r#"Bearer service="x""#, vec![]),
            (r#"Bearer realm="never ends"#, vec![]),
            ("", vec![]),
            (",,= =,\"", vec![]),
        ] {
            assert_eq!(challenges([header].into_iter()), expected, "{header}");
        }
    }
}
