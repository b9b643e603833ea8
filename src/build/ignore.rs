//! `.dockerignore`: which files of the context are left out.
//!
//! Each line is a pattern. A line with `!` before it is an exception from the lines above. A pattern that matches a
//! directory matches everything below. The last line that matches decides.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::dockerfile::SourceText;
use crate::error::Result;
use crate::image::path_pattern::PathPattern;
use crate::text::text;

/// The name of the file in the context.
pub const NAME: &str = ".dockerignore";

/// The maximum size of the file, in bytes.
pub const MAX_SIZE: usize = 1 << 20;

/// The file that has precedence over that of the context: `FILE.dockerignore`, beside the Dockerfile.
pub fn beside(dockerfile: &Path) -> PathBuf {
    let mut name = dockerfile.file_name().map(OsString::from).unwrap_or_default();
    name.push(NAME);
    dockerfile.with_file_name(name)
}

/// The rules of a `.dockerignore`, or the patterns of `COPY --exclude`.
#[derive(Debug, Clone, Default)]
pub struct IgnoreRules {
    rules: Vec<IgnoreRule>,
}

#[derive(Debug, Clone)]
struct IgnoreRule {
    is_exception: bool,
    pattern: String,
    form: RuleForm,
}

/// Most patterns are simple, and are compared without the steps of a general one.
#[derive(Debug, Clone)]
enum RuleForm {
    Exact,
    /// `dir/**`: everything that begins with this.
    Prefix(String),
    /// `**/name`: everything that ends with this. Docker accepts `**name` too.
    Suffix(String),
    General(PathPattern),
}

impl IgnoreRules {
    /// Reads the file. `name` is what errors call it.
    ///
    /// # Errors
    /// A pattern is wrong, or the file is too large.
    pub fn parse(name: &str, bytes: &[u8]) -> Result<IgnoreRules> {
        if bytes.len() > MAX_SIZE {
            return Err(SourceText::new(name, "").whole(text("dockerfile.large")));
        }
        let decoded = String::from_utf8_lossy(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes));
        let (mut rules, mut at) = (Vec::new(), 0);
        for line in decoded.split_inclusive('\n') {
            let span = at..at + line.trim_end().len();
            at += line.len();
            if line.starts_with('#') {
                continue;
            }
            let rule =
                IgnoreRule::read(line).map_err(|what| SourceText::new(name, &decoded).error(&span, what))?;
            rules.extend(rule);
        }
        Ok(IgnoreRules { rules })
    }

    /// The rules of a list of patterns.
    ///
    /// # Errors
    /// A pattern is wrong: why.
    pub fn of<'a>(patterns: impl IntoIterator<Item = &'a str>) -> std::result::Result<IgnoreRules, String> {
        let rules: std::result::Result<Vec<_>, String> = patterns.into_iter().map(IgnoreRule::read).collect();
        Ok(IgnoreRules { rules: rules?.into_iter().flatten().collect() })
    }

    /// Whether there is no rule.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether a path is left out. It is relative to the context, without `./`.
    pub fn is_ignored(&self, path: &[u8]) -> bool {
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        let ends: Vec<usize> = slashes.map(|(at, _)| at).chain([path.len()]).collect();
        let is_match = |rule: &&IgnoreRule| ends.iter().any(|end| rule.matches(&path[..*end]));
        // The last rule that matches the path or a directory above it.
        self.rules.iter().rev().find(is_match).is_some_and(|rule| !rule.is_exception)
    }

    /// Whether nothing below a directory that is left out can be an exception, so it need not be read.
    pub fn can_skip(&self, directory: &[u8]) -> bool {
        !self.rules.iter().any(|rule| rule.is_exception && rule.can_match_below(directory))
    }
}

impl IgnoreRule {
    /// Reads a line. `None`: it is blank.
    fn read(line: &str) -> std::result::Result<Option<IgnoreRule>, String> {
        let written = line.trim();
        if written.is_empty() {
            return Ok(None);
        }
        let (is_exception, written) = match written.strip_prefix('!') {
            Some("") => return Err(text("dockerfile.ignore.exception")),
            Some(rest) => (true, rest.trim()),
            None => (false, written),
        };
        let cleaned = cleaned(written);
        let pattern =
            cleaned.strip_prefix('/').filter(|rest| !rest.is_empty()).unwrap_or(&cleaned).to_owned();
        let general = PathPattern::with_directories(&pattern)?;
        let is_plain = |part: &str| !part.contains(['*', '?', '[', ']', '\\']);
        let form = if is_plain(&pattern) {
            RuleForm::Exact
        } else if let Some(suffix) = pattern.strip_prefix("**").filter(|rest| is_plain(rest)) {
            RuleForm::Suffix(suffix.to_owned())
        } else if let Some(prefix) = pattern.strip_suffix("**").filter(|rest| is_plain(rest)) {
            RuleForm::Prefix(prefix.to_owned())
        } else {
            RuleForm::General(general)
        };
        Ok(Some(IgnoreRule { is_exception, pattern, form }))
    }

    fn matches(&self, path: &[u8]) -> bool {
        match &self.form {
            RuleForm::Exact => path == self.pattern.as_bytes(),
            RuleForm::Prefix(prefix) => path.starts_with(prefix.as_bytes()),
            RuleForm::Suffix(suffix) => {
                path.ends_with(suffix.as_bytes())
                    || suffix.strip_prefix('/').is_some_and(|name| path == name.as_bytes())
            }
            RuleForm::General(pattern) => pattern.matches(path),
        }
    }

    /// Whether the pattern can match a path below this directory. False only if the parts without wildcards differ.
    fn can_match_below(&self, directory: &[u8]) -> bool {
        let mut parts = self.pattern.split('/');
        for wanted in directory.split(|byte| *byte == b'/') {
            match parts.next() {
                // A pattern of a directory above matches everything below.
                None => return true,
                Some(part) if part.contains(['*', '?', '[', '\\']) => return true,
                Some(part) if part.as_bytes() != wanted => return false,
                Some(_) => {}
            }
        }
        true
    }
}

/// The shortest form of a path: without `.`, `..` after a name, and slashes that are doubled or at the end. As Go's
/// `filepath.Clean`.
fn cleaned(path: &str) -> String {
    let is_absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if is_absolute => {}
            _ => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (is_absolute, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ignored(file: &str, path: &str) -> bool {
        IgnoreRules::parse(NAME, file.as_bytes()).expect("rules").is_ignored(path.as_bytes())
    }

    #[test]
    fn a_pattern_matches_a_path_and_everything_below() {
        for (file, path) in [
            ("a", "a"),
            ("a", "a/b/c"),
            ("a/", "a"),
            ("/a/b", "a/b/c"),
            ("./a//b/../c/", "a/c"),
            ("*", "a/b"),
            ("*.log", "x.log"),
            ("*/temp*", "a/temporary.txt"),
            ("*/*/temp*", "a/b/temp"),
            ("temp?", "tempa"),
            ("**", "a/b"),
            ("a/**", "a/b"),
            ("**/b", "b"),
            ("**/b", "x/y/b/c"),
            ("**b", "x/ab"),
            ("**/*.go", "x/y/z.go"),
            ("a/**/b", "a/x/b"),
            (r"a\*b", "a*b"),
            ("[ab].txt", "a.txt"),
            ("  a  ", "a"),
            ("a b", "a b"),
            ("\u{feff}a", "a"),
            ("a\r\nb\r\n", "b"),
            ("名", "名/x"),
        ] {
            assert!(ignored(file, path), "{file:?} {path}");
        }
        for (file, path) in [
            ("a", "b/a"),
            ("a", "ab"),
            ("*.log", "a/x.log"),
            ("#a", "#a"),
            ("# a", "a"),
            (".", "a"),
            ("/", "a"),
            ("../a", "a"),
            ("*/b", "b"),
            ("a/**", "a"),
            ("**/*.go", "x/y.gon"),
            ("**b", "ba"),
            ("", "a"),
        ] {
            assert!(!ignored(file, path), "{file:?} {path}");
        }
    }

    #[test]
    fn the_last_line_that_matches_decides() {
        assert!(!ignored("*.md\n!README.md\n", "README.md"));
        assert!(ignored("*.md\n!README.md\n", "other.md"));
        assert!(!ignored("*.md\n!README*.md\nREADME-secret.md\n", "README-open.md"));
        assert!(ignored("*.md\n!README*.md\nREADME-secret.md\n", "README-secret.md"));
        assert!(!ignored("*.md\nREADME-secret.md\n!README*.md\n", "README-secret.md"));
        assert!(!ignored("*\n! a/b\n", "a/b/c"));
        assert!(ignored("*\n!a/b\n", "a/c"));
        assert!(!ignored("a/*\n!a/b\na/b/c\n", "a/b/d"));
        assert!(ignored("a/*\n!a/b\na/b/c\n", "a/b/c/d"));
        assert!(!ignored("!a\n", "a"));
        assert!(ignored("!a\na\n", "a"));
    }

    #[test]
    fn a_directory_is_read_if_an_exception_can_be_below() {
        let skips = |file: &str, directory: &str| {
            IgnoreRules::parse(NAME, file.as_bytes()).expect("rules").can_skip(directory.as_bytes())
        };
        assert!(skips("a", "a"));
        assert!(skips("a\n!b/c", "a"));
        assert!(!skips("a\n!a/b/c", "a"));
        assert!(!skips("*\n!**/c", "a"));
        assert!(!skips("*\n!*/c", "a"));
        assert!(skips("*\n!b", "a"));
    }

    #[test]
    fn a_wrong_pattern_is_reported_with_its_place() {
        for (file, line) in [("a\n[\n", 2), ("!\n", 1), ("a\n\n  b\\\n", 3)] {
            let error = IgnoreRules::parse("x.dockerignore", file.as_bytes()).expect_err("a mistake");
            assert_eq!(error.mistakes[0].line, line, "{file:?}");
        }
        assert!(IgnoreRules::of(["a", "[b"]).is_err());
        assert!(!IgnoreRules::of(["a"]).expect("rules").is_empty());
    }

    #[test]
    fn the_file_beside_a_dockerfile_is_named_after_it() {
        assert_eq!(beside(Path::new("x/Dockerfile")), Path::new("x/Dockerfile.dockerignore"));
        assert_eq!(beside(Path::new("prod.Dockerfile")), Path::new("prod.Dockerfile.dockerignore"));
    }
}
