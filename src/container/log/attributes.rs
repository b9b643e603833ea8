//! What each line of a log says about its container besides: the options `labels`, `env` and their regular expressions. `logs
//! --details` prints it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use regex_lite::Regex;

use super::super::record::ContainerRecord;

/// The attributes of a container's log. The options were checked when the container was made.
pub fn attributes(record: &ContainerRecord) -> BTreeMap<String, String> {
    let option = |name: &str| record.log_written.get(name).map(String::as_str);
    let variables: Vec<(String, String)> =
        record.config.process.env.iter().flatten().filter_map(pair).collect();
    let labels =
        record.labels.iter().filter(|(name, _)| chosen(name, option("labels"), option("labels-regex")));
    let variables = variables.iter().filter(|(name, _)| chosen(name, option("env"), option("env-regex")));
    let labels = labels.map(|(name, value)| (name.clone(), value.clone()));
    labels.chain(variables.cloned()).collect()
}

/// A variable as text.
fn pair(variable: &OsString) -> Option<(String, String)> {
    let variable = String::from_utf8_lossy(variable.as_bytes()).into_owned();
    variable.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()))
}

/// Whether a name is in a list with commas, or matches an expression.
fn chosen(name: &str, list: Option<&str>, expression: Option<&str>) -> bool {
    let is_listed = list.is_some_and(|list| list.split(',').any(|one| one == name));
    let expression = expression.filter(|expression| !expression.is_empty());
    is_listed
        || expression.and_then(|written| Regex::new(written).ok()).is_some_and(|found| found.is_match(name))
}

/// The attributes as `logs --details` prints them: `NAME=VALUE,NAME=VALUE`, escaped as in the query of an address.
pub(super) fn details(attributes: &BTreeMap<String, String>) -> String {
    let pairs = attributes.iter().map(|(name, value)| format!("{}={}", escaped(name), escaped(value)));
    pairs.collect::<Vec<_>>().join(",")
}

fn escaped(text: &str) -> String {
    let one = |byte: u8| match byte {
        b' ' => "+".to_owned(),
        b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}
