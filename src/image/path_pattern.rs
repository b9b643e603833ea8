//! Patterns of paths: of the sources of `COPY`, as Go's `filepath.Match` reads them, and of `.dockerignore`, which has
//! `**` too.
//!
//! | written | matches |
//! |---|---|
//! | `*` | any characters without `/` |
//! | `?` | one character other than `/` |
//! | `[a-z]`, `[^a-z]` | one character of the set, or one that is not in it |
//! | `\c` | the character itself |
//! | `**` | only in `.dockerignore` and with `--parents`: any number of directories |
//!
//! A name of a file can be any bytes. A byte that is not UTF-8 is one character.

use crate::text::text;

/// What one place of a pattern matches.
#[derive(Debug, Clone, PartialEq, Eq)]
enum PathToken {
    Literal(char),
    /// `?`
    One,
    /// `*`
    Star,
    /// `[...]`: its ranges, and whether it begins with `^`.
    Set(Vec<(char, char)>, bool),
    /// `**/`: nothing, or whole directories.
    Directories,
    /// `**` at the end: everything.
    All,
}

/// A pattern that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern {
    tokens: Vec<PathToken>,
}

impl PathPattern {
    /// Reads a pattern as `filepath.Match` does.
    ///
    /// # Errors
    /// A set is not closed or is empty, or a backslash is the last character.
    pub fn new(pattern: &str) -> Result<PathPattern, String> {
        PathPattern::read(pattern, false)
    }

    /// Reads a pattern of `.dockerignore`, which can have `**`.
    ///
    /// # Errors
    /// As those of [`new`](Self::new).
    pub fn with_directories(pattern: &str) -> Result<PathPattern, String> {
        PathPattern::read(pattern, true)
    }

    fn read(pattern: &str, has_directories: bool) -> Result<PathPattern, String> {
        let mut tokens = Vec::new();
        let mut rest = pattern.chars().peekable();
        while let Some(next) = rest.next() {
            tokens.push(match next {
                '*' if has_directories && rest.next_if_eq(&'*').is_some() => {
                    rest.next_if_eq(&'/');
                    if rest.peek().is_some() { PathToken::Directories } else { PathToken::All }
                }
                '*' => PathToken::Star,
                '?' => PathToken::One,
                '[' => set(&mut rest)?,
                '\\' => PathToken::Literal(rest.next().ok_or_else(|| text("dockerfile.pattern"))?),
                _ => PathToken::Literal(next),
            });
        }
        Ok(PathPattern { tokens })
    }

    /// Whether the whole path matches.
    pub fn matches(&self, path: &[u8]) -> bool {
        // The places in the pattern that the characters up to here can have reached.
        let mut reached = vec![false; self.tokens.len() + 1];
        let mut after = reached.clone();
        self.reach(&mut reached, 0);
        for next in characters(path) {
            after.fill(false);
            for (place, token) in self.tokens.iter().enumerate().filter(|(place, _)| reached[*place]) {
                match token {
                    PathToken::Star if next != Some('/') => self.reach(&mut after, place),
                    PathToken::All => self.reach(&mut after, place),
                    PathToken::Directories => {
                        // In the middle of a directory's name, the rest of the pattern cannot begin.
                        after[place] = true;
                        if next == Some('/') {
                            self.reach(&mut after, place + 1);
                        }
                    }
                    PathToken::One if next != Some('/') => self.reach(&mut after, place + 1),
                    PathToken::Literal(wanted) if next == Some(*wanted) => self.reach(&mut after, place + 1),
                    PathToken::Set(ranges, is_negated) => {
                        let is_in = |next| ranges.iter().any(|(low, high)| (*low..=*high).contains(&next));
                        if next.is_some_and(is_in) != *is_negated {
                            self.reach(&mut after, place + 1);
                        }
                    }
                    _ => {}
                }
            }
            std::mem::swap(&mut reached, &mut after);
            if !reached.contains(&true) {
                return false;
            }
        }
        reached[self.tokens.len()]
    }

    /// Marks a place as reached, and the next one after a token that matches nothing too.
    fn reach(&self, reached: &mut [bool], mut place: usize) {
        reached[place] = true;
        while matches!(
            self.tokens.get(place),
            Some(PathToken::Star | PathToken::Directories | PathToken::All)
        ) {
            place += 1;
            reached[place] = true;
        }
    }
}

/// Whether a name is a pattern: it has a `*`, `?` or `[` that no backslash escapes. As with Docker, any other name is taken as
/// it is, also with a backslash: units of systemd have names as `dev-x\x2dy.swap`.
pub fn has_meta(name: &[u8]) -> bool {
    let mut bytes = name.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'*' | b'?' | b'[' => return true,
            _ => {}
        }
    }
    false
}

/// Whether a pattern matches a whole name. `None`: it is no pattern.
pub fn matches(pattern: &[u8], name: &[u8]) -> Option<bool> {
    PathPattern::new(std::str::from_utf8(pattern).ok()?).ok().map(|pattern| pattern.matches(name))
}

/// Whether the parts of a pattern match those of a path. With `is_deep`, a part `**` is any number of directories, also none.
pub fn matches_parts(wanted: &[&[u8]], path: &[&[u8]], is_deep: bool) -> bool {
    let is_any = |at: usize| is_deep && wanted.get(at).is_some_and(|part| *part == b"**");
    // At the end it is at least one name.
    let skip = |reached: &mut [bool]| {
        for at in 0..wanted.len() {
            if reached[at] && is_any(at) && at + 1 < wanted.len() {
                reached[at + 1] = true;
            }
        }
    };
    let mut reached = vec![false; wanted.len() + 1];
    reached[0] = true;
    skip(&mut reached);
    for part in path {
        let mut after = vec![false; wanted.len() + 1];
        for at in (0..wanted.len()).filter(|at| reached[*at]) {
            if is_any(at) {
                after[at] = true;
                after[at + 1] |= at + 1 == wanted.len();
            } else {
                after[at + 1] |= matches(wanted[at], part) == Some(true);
            }
        }
        skip(&mut after);
        reached = after;
    }
    reached[wanted.len()]
}

/// Sorted paths without those below another one: what is in a directory is copied with it.
pub fn without_nested(mut paths: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    paths.sort();
    paths.dedup();
    let all: std::collections::BTreeSet<Vec<u8>> = paths.iter().cloned().collect();
    let is_nested = |path: &[u8]| {
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        slashes.into_iter().any(|(at, _)| all.contains(&path[..at]))
    };
    paths.retain(|path| !is_nested(path));
    paths
}

/// Reads a set after its `[`.
fn set(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<PathToken, String> {
    let wrong = || text("dockerfile.pattern");
    let is_negated = rest.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        if !ranges.is_empty() && rest.next_if_eq(&']').is_some() {
            return Ok(PathToken::Set(ranges, is_negated));
        }
        let low = member(rest).ok_or_else(wrong)?;
        let high = match rest.next_if_eq(&'-') {
            Some(_) => member(rest).ok_or_else(wrong)?,
            None => low,
        };
        ranges.push((low, high));
    }
}

/// A character in a set. `-` and `]` need a backslash.
fn member(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<char> {
    match rest.next()? {
        '-' | ']' => None,
        '\\' => rest.next(),
        other => Some(other),
    }
}

/// The characters of a name. `None` is a byte that is not UTF-8.
fn characters(path: &[u8]) -> impl Iterator<Item = Option<char>> + '_ {
    path.utf8_chunks()
        .flat_map(|chunk| chunk.valid().chars().map(Some).chain(chunk.invalid().iter().map(|_| None)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str) -> Option<bool> {
        super::matches(pattern.as_bytes(), path.as_bytes())
    }

    #[test]
    fn patterns_are_read_as_go_reads_them() {
        for (pattern, path) in [
            ("", ""),
            ("abc", "abc"),
            ("*", "abc"),
            ("*", ""),
            ("*c", "abc"),
            ("a*", "abc"),
            ("a*/b", "abc/b"),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/f"),
            ("a*b?c*x", "abxbbxdbxebxczzx"),
            ("ab[c]", "abc"),
            ("ab[b-d]", "abc"),
            ("ab[^e-g]", "abc"),
            (r"a\*b", "a*b"),
            ("a?b", "a城b"),
            ("a[^a]b", "a城b"),
            ("[a-城]*", "α"),
            (r"[\]a]", "]"),
            (r"[\-]", "-"),
            (r"[x\-]", "-"),
            ("*x", "xxx"),
            ("[^a]", "/"),
            ("**", "a"),
        ] {
            assert_eq!(matches(pattern, path), Some(true), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("", "a"),
            ("a*", "ab/c"),
            ("a*/b", "a/c/b"),
            ("a?b", "a/b"),
            ("ab[^b-d]", "abc"),
            ("ab[e-g]", "abc"),
            (r"a\*b", "ab"),
            ("a???b", "a城b"),
            ("*x", "xxy"),
            ("**/x", "x"),
            ("a**b", "a/b"),
        ] {
            assert_eq!(matches(pattern, path), Some(false), "{pattern} {path}");
        }
        for wrong in
            ["[", "[^", "[a", "[]a]", "[-]", "[x-]", "[-x]", "[a-b-c]", "a[", r"a\", r"[\", "[^bc", "[]"]
        {
            assert_eq!(matches(wrong, "a"), None, "{wrong}");
        }
    }

    #[test]
    fn two_asterisks_are_any_number_of_directories() {
        let matches = |pattern: &str, path: &str| {
            PathPattern::with_directories(pattern).is_ok_and(|pattern| pattern.matches(path.as_bytes()))
        };
        for (pattern, path) in [
            ("**", "a/b"),
            ("a/**", "a/b/c"),
            ("**/c*", "a/b/cd"),
            ("**/c*", "c"),
            ("a/**/b", "a/b"),
            ("a/**/b", "a/x/y/b"),
        ] {
            assert!(matches(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [("**/c*", "xc"), ("a/**/b", "a/xb"), ("a/**", "a"), ("a**b", "axb")] {
            assert!(!matches(pattern, path), "{pattern} {path}");
        }
    }

    #[test]
    fn two_asterisks_of_parents_are_any_number_of_directories() {
        let parts = |path: &'static str| path.split('/').map(str::as_bytes).collect::<Vec<_>>();
        for (pattern, path, deep, flat) in [
            ("a/**/x", "a/x", true, false),
            ("a/**/x", "a/b/x", true, true),
            ("a/**/x", "a/b/c/x", true, false),
            ("a/**/**/x", "a/x", true, false),
            ("**/*.md", "b.md", true, false),
            ("a/**", "a/b/c", true, false),
            ("a/**", "a", false, false),
            ("a/**/b/**/c", "a/b/b/x/c", true, true),
            ("a/**/b/**/c", "a/b/x/y/c", true, false),
            ("a/**/x", "a/b/y", false, false),
            ("a/**x", "a/b/x", false, false),
        ] {
            assert_eq!(matches_parts(&parts(pattern), &parts(path), true), deep, "{pattern} {path}");
            assert_eq!(matches_parts(&parts(pattern), &parts(path), false), flat, "{pattern} {path}");
        }
        let paths = ["o/p/q/q", "o/p/q", "o/p/qq", "o"].map(|path| path.as_bytes().to_vec());
        assert_eq!(without_nested(paths[..3].to_vec()), [b"o/p/q".to_vec(), b"o/p/qq".to_vec()]);
        assert_eq!(without_nested(paths.to_vec()), [b"o".to_vec()]);
    }

    #[test]
    fn a_byte_that_is_not_utf8_is_one_character() {
        let pattern = PathPattern::new("a?b*").expect("a pattern");
        assert!(pattern.matches(b"a\xffb\xfe\xfd"));
        assert!(!pattern.matches(b"a\xff\xffb"));
    }

    #[test]
    fn many_asterisks_take_no_exponential_time() {
        let pattern = PathPattern::new(&"a*".repeat(200)).expect("a pattern");
        assert!(!pattern.matches(&[&[b'a'; 2000][..], b"/"].concat()));
    }
}
