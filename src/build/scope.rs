//! The variables of a stage, and what their names stand for in its instructions.
//!
//! A variable of `ENV` is in the image and hides one of `ARG` with the same name. A variable of `ARG` is known from its instruction
//! to the end of the stage, and in each stage that begins with it. Its value is that of `--build-arg`, else its default, else, if it is
//! declared before the first `FROM` too, the value from there, else the one that it has already.

use std::collections::BTreeMap;

use serde_json::Value;

use super::dockerfile::words::{self, Expanded};
use super::dockerfile::{Argument, Heredoc, Placed, SourceText};
use crate::error::Result;
use crate::image::manifest::Platform;

/// The arguments that need no `ARG`, because many machines reach other ones only by a proxy.
pub const PROXIES: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// The variables of a stage.
#[derive(Debug, Clone, Default)]
pub struct BuildScope {
    /// The values of `--build-arg`.
    given: BTreeMap<String, String>,
    /// What is declared before the first `FROM`, and the platform.
    global: BTreeMap<String, String>,
    /// What the stage has declared so far. None: without a value.
    declared: BTreeMap<String, Option<String>>,
}

impl BuildScope {
    /// The variables before the first `FROM`.
    pub fn new(given: &BTreeMap<String, String>) -> BuildScope {
        let here = Platform::here();
        let whole = here.to_string();
        let mut global = BTreeMap::new();
        for prefix in ["BUILD", "TARGET"] {
            global.insert(format!("{prefix}PLATFORM"), whole.clone());
            global.insert(format!("{prefix}OS"), here.os.clone());
            global.insert(format!("{prefix}ARCH"), here.architecture.clone());
            global.insert(format!("{prefix}VARIANT"), here.variant.clone().unwrap_or_default());
        }
        BuildScope { given: given.clone(), global, declared: BTreeMap::new() }
    }

    /// Declares a variable before the first `FROM`.
    pub fn declare_global(&mut self, argument: &Argument, default: Option<String>) {
        if let Some(value) = self.given.get(&argument.name).cloned().or(default) {
            self.global.insert(argument.name.clone(), value);
        }
    }

    /// Declares a variable of the stage. Returns its value.
    pub fn declare(&mut self, name: &str, default: Option<String>) -> Option<String> {
        let given = self.given.get(name).cloned();
        let before = || self.declared.get(name).cloned().flatten();
        let value = given.or(default).or_else(|| self.global.get(name).cloned()).or_else(before);
        self.declared.insert(name.to_owned(), value.clone());
        value
    }

    /// What the stage has declared. None: without a value.
    pub fn declared(&self) -> &BTreeMap<String, Option<String>> {
        &self.declared
    }

    /// The stage begins with another one, and has what that has declared.
    pub fn inherit(&mut self, declared: BTreeMap<String, Option<String>>) {
        self.declared.extend(declared);
    }

    /// The value of a variable in `FROM`.
    pub fn global(&self, name: &str) -> Option<String> {
        self.global.get(name).cloned()
    }

    /// The value of a variable in an instruction of the stage.
    pub fn value(&self, config: &Value, name: &str) -> Option<String> {
        environment(config).get(name).cloned().or_else(|| self.declared.get(name).cloned().flatten())
    }

    /// The build arguments that a command sees, apart from the proxies.
    pub fn visible(&self, config: &Value) -> BTreeMap<String, String> {
        let environment = environment(config);
        let with_value = |(name, value): (&String, &Option<String>)| Some((name.clone(), value.clone()?));
        let mut all: BTreeMap<String, String> = self.declared.iter().filter_map(with_value).collect();
        all.retain(|name, _| !environment.contains_key(name));
        all
    }

    /// The proxies that were given and not declared. They are no part of the image and of the key.
    pub fn proxies(&self) -> BTreeMap<String, String> {
        let is_proxy = |name: &str| PROXIES.contains(&name) && !self.declared.contains_key(name);
        self.given
            .iter()
            .filter(|(name, _)| is_proxy(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }

    /// Expands a word of an instruction.
    ///
    /// # Errors
    /// The word is wrong: with its place.
    pub fn expand<T>(
        &self,
        (source, escape): (&SourceText, char),
        config: &Value,
        placed: &Placed<T>,
        word: &str,
    ) -> Result<Expanded> {
        expand((source, escape), placed, word, &|name| self.value(config, name))
    }
}

/// Expands a word with these variables.
///
/// # Errors
/// As [`BuildScope::expand`].
pub fn expand<T>(
    (source, escape): (&SourceText, char),
    placed: &Placed<T>,
    word: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Expanded> {
    words::expand(word, escape, lookup).map_err(|error| source.error(&placed.place_of(word), error.what))
}

/// Expands the content of a here-document. Its escape character is always a backslash, as with BuildKit.
///
/// # Errors
/// As [`BuildScope::expand`].
pub fn expand_content(
    source: &SourceText,
    heredoc: &Heredoc,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Expanded> {
    words::expand_content(&heredoc.content, '\\', lookup)
        .map_err(|error| source.error(&heredoc.place_of(source, &error.range), error.what))
}

/// The environment in a config.
pub fn environment(config: &Value) -> BTreeMap<String, String> {
    let all = config["config"]["Env"].as_array().into_iter().flatten().filter_map(Value::as_str);
    all.filter_map(|variable| variable.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}
