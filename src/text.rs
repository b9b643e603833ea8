//! The messages: the texts that `sandbox` prints, by key. They are in files of their own, apart from the code.
//!
//! A file of messages has lines `key = text`, which are continued on indented lines. A continued line with `| ` before it
//! is a line of its own: such texts are lines for a shell, and lists. `{name}` is replaced by a value. `#` begins a
//! comment. A message is searched in the files when it is needed, because most runs print no message at all.
//!
//! English has all messages. A message that another language lacks is printed in English.

mod language;
mod printed;
#[cfg(test)]
mod translated;
mod width;

pub(crate) use self::language::Language;
pub(crate) use self::printed::{
    is_unsafe, printed, printed_in_colour, printed_json, printed_lines, without_bad_bytes,
};
pub(crate) use self::width::{cut, cut_start, gap, join, may_break, pad, wrap};
use crate::feature::features;

/// A file of messages: its name, and its content.
type MessageFile = (&'static str, &'static str);

macro_rules! messages {
    ($($kind:ident { $($about:literal, $feature:ident, $name:ident, $directory:ident, $page:literal, $also:tt;)* })*) => {
        /// The messages in English: a file for each feature, and the others.
        const ENGLISH: &[MessageFile] = &[
            $($((stringify!($name), include_str!(concat!("../messages/en/", stringify!($name), ".txt"))),)*)*
            ("build", include_str!("../messages/en/build.txt")),
            ("common", include_str!("../messages/en/common.txt")),
            ("compare", include_str!("../messages/en/compare.txt")),
            ("completions", include_str!("../messages/en/completions.txt")),
            ("container", include_str!("../messages/en/container.txt")),
            ("daemon", include_str!("../messages/en/daemon.txt")),
            ("demo", include_str!("../messages/en/demo.txt")),
            ("docker", include_str!("../messages/en/docker.txt")),
            ("dockerfile", include_str!("../messages/en/dockerfile.txt")),
            ("doctor", include_str!("../messages/en/doctor.txt")),
            ("enter", include_str!("../messages/en/enter.txt")),
            ("exec", include_str!("../messages/en/exec.txt")),
            ("gc", include_str!("../messages/en/gc.txt")),
            ("habit", include_str!("../messages/en/habit.txt")),
            ("home", include_str!("../messages/en/home.txt")),
            ("image", include_str!("../messages/en/image.txt")),
            ("join", include_str!("../messages/en/join.txt")),
            ("ledger", include_str!("../messages/en/ledger.txt")),
            ("lesson", include_str!("../messages/en/lesson.txt")),
            ("limits", include_str!("../messages/en/limits.txt")),
            ("man", include_str!("../messages/en/man.txt")),
            ("registry", include_str!("../messages/en/registry.txt")),
            ("rootfs", include_str!("../messages/en/rootfs.txt")),
            ("run", include_str!("../messages/en/run.txt")),
            ("runas", include_str!("../messages/en/runas.txt")),
            ("spec", include_str!("../messages/en/spec.txt")),
            ("storage", include_str!("../messages/en/storage.txt")),
            ("stream", include_str!("../messages/en/stream.txt")),
            ("sysctls", include_str!("../messages/en/sysctls.txt")),
            ("terminal", include_str!("../messages/en/terminal.txt")),
            ("untrusted", include_str!("../messages/en/untrusted.txt")),
            ("verify", include_str!("../messages/en/verify.txt")),
            ("volume", include_str!("../messages/en/volume.txt")),
        ];

        /// The messages in Chinese: what demonstrations, views and lessons print.
        const CHINESE: &[MessageFile] = &[
            $($((stringify!($name), include_str!(concat!("../messages/zh/", stringify!($name), ".txt"))),)*)*
            ("build", include_str!("../messages/zh/build.txt")),
            ("common", include_str!("../messages/zh/common.txt")),
            ("compare", include_str!("../messages/zh/compare.txt")),
            ("container", include_str!("../messages/zh/container.txt")),
            ("demo", include_str!("../messages/zh/demo.txt")),
            ("doctor", include_str!("../messages/zh/doctor.txt")),
            ("enter", include_str!("../messages/zh/enter.txt")),
            ("exec", include_str!("../messages/zh/exec.txt")),
            ("habit", include_str!("../messages/zh/habit.txt")),
            ("join", include_str!("../messages/zh/join.txt")),
            ("lesson", include_str!("../messages/zh/lesson.txt")),
            ("limits", include_str!("../messages/zh/limits.txt")),
            ("rootfs", include_str!("../messages/zh/rootfs.txt")),
            ("run", include_str!("../messages/zh/run.txt")),
            ("runas", include_str!("../messages/zh/runas.txt")),
            ("stream", include_str!("../messages/zh/stream.txt")),
            ("sysctls", include_str!("../messages/zh/sysctls.txt")),
            ("terminal", include_str!("../messages/zh/terminal.txt")),
            ("verify", include_str!("../messages/zh/verify.txt")),
        ];
    };
}
features!(messages);

/// The message of `key`, which must exist. A debug build panics if it does not.
pub(crate) fn text(key: &str) -> String {
    let found = text_if_any(key);
    debug_assert!(found.is_some(), "there is no message {key:?}");
    found.unwrap_or_else(|| key.to_owned())
}

/// The message of `key`, if there is one.
pub(crate) fn text_if_any(key: &str) -> Option<String> {
    let translated = match Language::current() {
        Language::En => None,
        Language::Zh => find_in(CHINESE, key),
    };
    translated.or_else(|| in_english(key))
}

/// The message of `key` in English, if there is one. Lines for a shell have no translation.
fn in_english(key: &str) -> Option<String> {
    find_in(ENGLISH, key)
}

/// The message of `key` about options that were given by flags. If they come from a spec, it is the message of
/// `key.spec`, if there is one: that has keys in place of flags.
pub(crate) fn text_of_options(are_flags: bool, key: &str) -> String {
    let of_spec = || text_if_any(&format!("{key}.spec"));
    Some(()).filter(|()| !are_flags).and_then(|()| of_spec()).unwrap_or_else(|| text(key))
}

/// The message of `key`, with each `{name}` replaced. A value may come from outside the program, so control characters
/// in it are escaped.
pub(crate) fn text_with(key: &str, values: &[(&str, &str)]) -> String {
    let fill = |message: String, (name, value): &(&str, &str)| {
        message.replace(&format!("{{{name}}}"), &printed_lines(value))
    };
    values.iter().fold(text(key), fill)
}

/// A word from outside, as a sentence names it: in quotes if it could not be seen.
pub(crate) fn word(word: &str) -> String {
    if word.trim().is_empty() { format!("{word:?}") } else { word.to_owned() }
}

/// The first names of a list, at most `most` of them, and how many there are beyond those.
pub(crate) fn first_of(names: &[String], most: usize) -> String {
    let first = names[..names.len().min(most)].join(", ");
    match names.len().saturating_sub(most) {
        0 => first,
        more => text_with("run.more", &[("names", &first), ("count", &more.to_string())]),
    }
}

/// The message of `key` in these files. A key begins with the name of its file.
fn find_in(files: &[MessageFile], key: &str) -> Option<String> {
    let own = key.split('.').next()?;
    let (_, content) = files.iter().find(|(name, _)| *name == own)?;
    find(content, key)
}

/// The message of `key` in one file.
fn find(file: &str, key: &str) -> Option<String> {
    let mut lines = file.lines();
    let first = lines.find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix('='))?;
    let rest = lines.take_while(|line| line.starts_with(char::is_whitespace)).map(str::trim);
    let mut text = first.trim().to_owned();
    for part in rest.filter(|part| !part.is_empty()) {
        let (gap, part) = match part.strip_prefix("| ") {
            Some(line) => ("\n", line),
            None => (gap(text.chars().last(), part.chars().next()), part),
        };
        if !text.is_empty() {
            text.push_str(gap);
        }
        text.push_str(part);
    }
    Some(text)
}

/// All messages, for tests.
#[cfg(test)]
pub(crate) fn all_messages() -> Vec<String> {
    ENGLISH.iter().flat_map(|(_, file)| keys(file)).map(text).collect()
}

/// The keys of a file of messages.
#[cfg(test)]
fn keys(file: &str) -> Vec<&str> {
    file.lines()
        .filter(|line| !line.starts_with(char::is_whitespace) && !line.starts_with('#'))
        .filter_map(|line| Some(line.split_once('=')?.0.trim()))
        .collect()
}

/// The files of the code, for tests.
#[cfg(test)]
pub(crate) fn sources() -> Vec<std::path::PathBuf> {
    let mut directories = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
    let mut files = Vec::new();
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).expect("a directory of the code") {
            let path = entry.expect("an entry").path();
            if path.is_dir() { directories.push(path) } else { files.push(path) }
        }
    }
    files
}

/// The words that no text for a reader may have, because there is a standard term for each.
#[cfg(test)]
pub(crate) mod plain {
    use std::sync::LazyLock;

    use regex_lite::Regex;

    /// Patterns, each with the term to write instead.
    const BANNED: &[(&str, &str)] = &[
        (r"folders?", "directory"),
        (r"cables?", "veth pair"),
        (r"leash", "parent-death signal"),
        (r"walls?", "isolation, protection"),
        (r"shut", "undumpable; closed"),
        (r"hand(s|ed)? down", "enable a controller, delegate"),
        (r"h(eld|olds?) against", "compares with"),
        (r"own (pid|mnt|mount|net|network|uts|ipc|user|cgroup|time) namespace", "new ... namespace"),
        (r"one's own", "new"),
        (r"today|tomorrow", "host, container"),
        (r"spellings?", "cgroup v1, cgroup v2"),
        (r"whoever", "a process that"),
        (r"(is|are|was|were) told", "gets, receives"),
        (r"(lies|lay) (in|on|over|below|behind)", "is, is mounted on"),
        (r"stands (in|on|for|over|above|below|here|twice)", "is"),
        (r"so (many|much|deep|long)", "maximum, limit"),
        (r"as good", "idempotent"),
        (r"taken? back", "reclaim"),
        (r"signs?", "character"),
        (r"file systems?", "filesystem"),
        (r"processors?", "CPU"),
        (r"(process|its|own|outer) numbers?", "PID"),
    ];

    static WORDS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
        let word = |pattern: &str| Regex::new(&format!(r"(?i)\b({pattern})\b")).expect(pattern);
        BANNED.iter().map(|(pattern, instead)| (word(pattern), *instead)).collect()
    });

    /// The banned words in `text`, each with the term to write instead.
    pub(crate) fn banned_in(text: &str) -> Vec<String> {
        let found = |(word, instead): &(Regex, &str)| {
            word.find(text).map(|found| format!("{:?} in {text:?}: write {instead:?}", found.as_str()))
        };
        WORDS.iter().filter_map(found).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feature::{Feature, Purpose};
    use crate::teach::demo;
    use crate::teach::ledger::ThingKind;

    #[test]
    fn continued_lines_are_joined_with_one_space() {
        assert_eq!(find("a = b\nk.e.y = one\n    two\nz = y\n", "k.e.y"), Some("one two".into()));
        assert_eq!(find("k.e.yy = no\n", "k.e.y"), None);
        assert_eq!(find("k =\n    | one\n    | two\n    more\n", "k"), Some("one\ntwo more".into()));
        assert_eq!(find("k = 一个，\n    PID\n    和进\n    程\n", "k"), Some("一个，PID 和进程".into()));
    }

    #[test]
    fn no_message_has_a_banned_word() {
        let texts = ENGLISH.iter().flat_map(|(_, file)| keys(file)).map(text);
        let banned: Vec<String> = texts.flat_map(|text| plain::banned_in(&text)).collect();
        assert!(banned.is_empty(), "{banned:#?}");
        assert_eq!(plain::banned_in("The folder lies behind a wall.").len(), 3);
    }

    #[test]
    fn no_key_is_defined_twice() {
        let mut all: Vec<&str> = ENGLISH.iter().flat_map(|(_, file)| keys(file)).collect();
        all.sort_unstable();
        let twice: Vec<_> = all.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
        assert!(twice.is_empty(), "{twice:?}");
    }

    /// The last parts of the keys of steps and problems.
    const PARTS: [&str; 6] = [".why", ".cannot", ".todo", ".note", ".what", ".hint"];

    /// The string literals of the code, outside of its tests, that match a pattern.
    fn literals(pattern: &str) -> Vec<String> {
        let literal = regex_lite::Regex::new(pattern).unwrap();
        let mut found = Vec::new();
        for file in sources() {
            let code = std::fs::read_to_string(file).unwrap();
            let tested = code.find("#[cfg(test)]\nmod tests").unwrap_or(code.len());
            found.extend(literal.captures_iter(&code[..tested]).map(|found| found[1].to_owned()));
        }
        found
    }

    /// The keys that the code certainly uses: arguments of `text`, reasons and remedies, and keys that are made from
    /// names.
    fn wanted() -> Vec<String> {
        let mut wanted = literals(r#"\btext(?:_with)?\(\s*"([a-z]+\.[a-zA-Z0-9.-]+)""#);
        let all = literals(r#""([a-z]+\.[a-z0-9.-]+)""#);
        wanted.extend(all.into_iter().filter(|key| PARTS.iter().any(|part| key.ends_with(part))));
        let reasons: Vec<String> = wanted.iter().filter(|key| key.ends_with(".why")).cloned().collect();
        // The reason of a step has a `.cannot` beside it. The reason of a problem has a remedy instead.
        wanted.extend(reasons.iter().map(|why| why.replace(".why", ".cannot")).filter(|key| {
            text_if_any(&key.replace(".cannot", ".todo")).is_none() && !key.starts_with("doctor.")
        }));
        // The help of each subcommand ends with an example.
        wanted.extend(
            crate::cli::definition()
                .get_subcommands()
                .filter(|sub| !sub.is_hide_set())
                .map(|sub| crate::cli::key_of(sub.get_name(), "example")),
        );
        for kind in ThingKind::ALL {
            wanted.extend(["title", "about"].map(|part| format!("ledger.{part}.{}", kind.name())));
        }
        wanted.extend(["card", "processes", "calls", "new"].map(|of| format!("demo.calls.{of}")));
        for feature in Feature::WITH_SUBCOMMAND {
            wanted.push(format!("{feature}.view.meaning"));
            if feature.is_namespace() {
                wanted.push(format!("{feature}.docker"));
            }
            for card in demo::names(*feature) {
                wanted.extend(["claim", "verdict"].map(|part| format!("{feature}.card.{card}.{part}")));
                // The lines for a shell can differ between cgroup v1 and v2.
                let repeat = format!("{feature}.card.{card}.repeat");
                match text_if_any(&repeat) {
                    Some(_) => wanted.push(repeat),
                    None => wanted.extend(["v1", "v2"].map(|version| format!("{repeat}.{version}"))),
                }
            }
            wanted.extend(demo::PARTS.map(|part| format!("{feature}.demo.{part}")));
        }
        let purposes = Feature::WITH_SUBCOMMAND.iter().copied().map(Purpose::Feature);
        for purpose in purposes.chain([Purpose::Container]) {
            wanted.push(format!("{purpose}.next"));
            for (name, _) in crate::teach::mistakes::list(purpose) {
                let parts = ["mistake", "lesson", "wrong", "right"];
                wanted.extend(parts.map(|part| format!("{purpose}.break.{name}.{part}")));
            }
        }
        for name in ["cache-order", "secret-in-layer", "rm-in-next-layer"] {
            wanted.extend(["mistake", "lesson"].map(|part| format!("build.break.{name}.{part}")));
        }
        wanted
    }

    /// A message is searched only in the file that its key begins with.
    #[test]
    fn every_key_begins_with_the_name_of_its_file() {
        for (name, file) in ENGLISH.iter().chain(CHINESE) {
            let others: Vec<&str> =
                keys(file).into_iter().filter(|key| key.split('.').next() != Some(*name)).collect();
            assert!(others.is_empty(), "{name}: {others:?}");
        }
    }

    #[test]
    fn every_key_in_the_code_has_a_message() {
        let missing: Vec<String> = wanted().into_iter().filter(|key| text_if_any(key).is_none()).collect();
        assert!(missing.is_empty(), "{missing:#?}");
    }

    #[test]
    fn every_message_is_used_by_the_code() {
        let mut wanted = wanted();
        wanted.extend(literals(r#""([a-z]+\.[a-z0-9.-]+)""#));
        // How cgroup v1 and v2 differ for a limit: `.versions` beside `.why`. What an errno means for one step:
        // `time.offset.ERANGE` beside `time.offset.why`.
        let of_a_step =
            |key: &str| key.ends_with(".versions") && wanted.contains(&key.replace(".versions", ".why"));
        let means_an_errno = |key: &str| {
            // What to do then, and the command for it: `.todo` and `.command` below the errno.
            let meaning = key.strip_suffix(".todo").or(key.strip_suffix(".command")).unwrap_or(key);
            let (step, last) = meaning.rsplit_once('.').unwrap_or_default();
            last.starts_with('E') && wanted.contains(&format!("{step}.why"))
        };
        let unused: Vec<&str> = ENGLISH
            .iter()
            .flat_map(|(_, file)| keys(file))
            // `net.both.todo.spec` beside `net.both.todo`: the same for options of a spec. `.user`: the same for an
            // ordinary user.
            .filter(|key| {
                let of = key.strip_suffix(".spec").or(key.strip_suffix(".user")).unwrap_or(key);
                let is_known = wanted.iter().any(|known| known == key || known == of);
                !is_known && !means_an_errno(of) && !of_a_step(of)
            })
            .collect();
        assert!(unused.is_empty(), "{unused:#?}");
    }
}
