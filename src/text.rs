//! The catalogue: prose that people read, keyed by feature and step, apart from the code that shows it.
//!
//! A catalogue is a text file: `key = words`, continued on indented lines; `{name}` stands for a value; `#` is a comment.
//! It is searched, not parsed into a map: a run that prints nothing pays nothing for it.

/// The English catalogue, one file per feature.
const ENGLISH: &[&str] = &[
    include_str!("../lessons/en/common.txt"),
    include_str!("../lessons/en/pid.txt"),
    include_str!("../lessons/en/mnt.txt"),
    include_str!("../lessons/en/net.txt"),
    include_str!("../lessons/en/uts.txt"),
    include_str!("../lessons/en/ipc.txt"),
    include_str!("../lessons/en/user.txt"),
    include_str!("../lessons/en/cgroup.txt"),
    include_str!("../lessons/en/time.txt"),
    include_str!("../lessons/en/doctor.txt"),
];

/// The words behind `key`. A key that is missing prints as itself; a test holds that none is.
pub(crate) fn text(key: &str) -> String {
    ENGLISH.iter().find_map(|file| find(file, key)).unwrap_or_else(|| key.to_owned())
}

/// The words behind `key`, with each `{name}` replaced.
pub(crate) fn text_with(key: &str, values: &[(&str, &str)]) -> String {
    values.iter().fold(text(key), |words, (name, value)| words.replace(&format!("{{{name}}}"), value))
}

fn find(file: &str, key: &str) -> Option<String> {
    let mut lines = file.lines();
    let first = lines.find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix('='))?;
    let rest = lines.take_while(|line| line.starts_with(char::is_whitespace)).map(str::trim);
    let words: Vec<&str> =
        std::iter::once(first.trim()).chain(rest).filter(|part| !part.is_empty()).collect();
    Some(words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(file: &str) -> Vec<&str> {
        file.lines()
            .filter(|line| !line.starts_with(char::is_whitespace) && !line.starts_with('#'))
            .filter_map(|line| Some(line.split_once('=')?.0.trim()))
            .collect()
    }

    #[test]
    fn continued_lines_are_joined_with_one_space() {
        assert_eq!(find("a = b\nk.e.y = one\n    two\nz = y\n", "k.e.y"), Some("one two".into()));
        assert_eq!(find("k.e.yy = no\n", "k.e.y"), None);
    }

    #[test]
    fn no_key_stands_twice() {
        let mut all: Vec<&str> = ENGLISH.iter().flat_map(|file| keys(file)).collect();
        all.sort_unstable();
        let twice: Vec<_> = all.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
        assert!(twice.is_empty(), "{twice:?}");
    }
}
