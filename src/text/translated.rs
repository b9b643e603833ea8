//! Tests of the translations: which messages a language must have, and what a translation must keep.

use std::collections::BTreeSet;

use regex_lite::Regex;
use unicode_width::UnicodeWidthChar;

use super::{CHINESE, ENGLISH, MessageFile, find_in, keys};

/// The keys that must be translated: what demonstrations, views and lessons print. A picture of which only a part is
/// translated must not appear.
const NEEDED: &[&str] = &[
    // Demonstrations and mistakes.
    r"^[a-z]+\.demo\.",
    r"^[a-z]+\.card\.[a-z0-9-]+\.(claim|verdict)$",
    r"^[a-z]+\.break\.[a-z0-9-]+\.(mistake|lesson)$",
    r"^[a-z]+\.who\.",
    r"\.skip\.",
    r"^ipc\.no(sysv|fork|queue|shm)$",
    r"^user\.(samenumber|ownroot|notmp)$",
    r"^devices\.card\.rules\.v2$",
    r"^blkio\.weight\.(idle|by)$",
    r"^demo\.",
    r"^[a-z]+\.picture(\.|$)",
    r"^common\.(skipped|next|break\.none$)",
    // Views.
    r"(^|\.)view\.",
    r"^common\.(new|added|announce|same)(\.|$)",
    r"^common\.step\.(keys|look)$",
    r"^[a-z]+\.(next|docker)$",
    r"\.versions$",
    r"\.note(\.|$)",
    r"^devices\.lowered$",
    r"^limits\.(lowered|carried|copied|plan\.root|own\.(title|meaning))$",
    r"^run\.returned(\.(with|without|none|own))?$",
    r"^compare\.(shell|caller|two|differ|equal|processes|paths|setns|tree|both|neither|madeby|childof|next)(\.|$)",
    // Lessons.
    r"^lesson\.(title|answer|exercise|export\.done|hint|needs|page|progress\.none|read|recorded|score|solution|state|subject)",
    r"^lesson\.(alldone|list|minutes|nothing|prompt|plain|question\.how|reset\.(question|done|kept|nothing)|stopped|test\.scale$|time$|watch)",
    r"^habit\.welcome\.",
];

/// Keys that match one of [`NEEDED`], but are about a wrong command line or for authors.
const EXCEPT: &[&str] = &[
    r"^demo\.unknown",
    r"^doctor\.",
    r"^lesson\.exercise\.unknown$",
    r"^lesson\.solution\.hints",
    r"^net\.bridge\.why$",
];

/// The keys that are not translated: lines for a shell, and values that are evidence.
const NEVER: &[&str] = &[
    r"^[a-z]+\.card\.[a-z0-9-]+\.repeat(\.v[12])?$",
    r"^limits\.repeat",
    r"\.break\.[a-z0-9-]+\.(wrong|right)$",
    r"\.command$",
    r"^[a-z]+\.example(\.|$)",
    r"^blkio\.(nofile|meanwhile)$",
    r"^cpu\.(beside|alone)$",
    r"^devices\.(usual|program|opens)$",
    r"^limits\.(killed|own\.empty)$",
    r"^memory\.(reached|plot)$",
    r"^pid\.nohandlers$",
    r"^user\.capabilities\.",
];

fn any(patterns: &[&str]) -> impl Fn(&str) -> bool {
    let all: Vec<Regex> = patterns.iter().map(|pattern| Regex::new(pattern).expect(pattern)).collect();
    move |key| all.iter().any(|pattern| pattern.is_match(key))
}

/// The keys of all files of a language.
fn keys_of(language: &'static [MessageFile]) -> BTreeSet<&'static str> {
    language.iter().flat_map(|(_, file)| keys(file)).collect()
}

fn message(language: &[MessageFile], key: &str) -> String {
    find_in(language, key).unwrap_or_default()
}

/// The `{name}`s of a message.
fn placeholders(text: &str) -> BTreeSet<String> {
    let pattern = Regex::new(r"\{[a-zA-Z_]+\}").expect("a pattern");
    pattern.find_iter(text).map(|found| found.as_str().to_owned()).collect()
}

#[test]
fn what_demonstrations_views_and_lessons_print_is_translated() {
    let (english, chinese) = (keys_of(ENGLISH), keys_of(CHINESE));
    let (is_needed, is_except, is_never) = (any(NEEDED), any(EXCEPT), any(NEVER));
    // The reason of a step. The reason of an error has no `.cannot` beside it.
    let is_step =
        |key: &str| key.strip_suffix(".why").is_some_and(|step| english.contains(&*format!("{step}.cannot")));
    let missing: Vec<&&str> = english
        .iter()
        .filter(|key| (is_needed(key) || is_step(key)) && !is_except(key) && !is_never(key))
        .filter(|key| !chinese.contains(*key))
        .collect();
    assert!(missing.is_empty(), "messages/zh lacks {} keys: {missing:#?}", missing.len());
}

#[test]
fn a_translation_has_no_key_that_english_lacks_and_no_line_for_a_shell() {
    let (english, chinese) = (keys_of(ENGLISH), keys_of(CHINESE));
    let unknown: Vec<_> = chinese.difference(&english).collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
    let is_never = any(NEVER);
    let evidence: Vec<_> = chinese.iter().filter(|key| is_never(key)).collect();
    assert!(evidence.is_empty(), "not translated: {evidence:#?}");
    let count: usize = CHINESE.iter().map(|(_, file)| keys(file).len()).sum();
    assert_eq!(count, chinese.len(), "a key is defined twice");
}

#[test]
fn a_translation_keeps_the_placeholders_and_the_lines() {
    for key in keys_of(CHINESE) {
        let (english, chinese) = (message(ENGLISH, key), message(CHINESE, key));
        assert!(!chinese.is_empty(), "{key} is empty");
        assert_eq!(placeholders(&chinese), placeholders(&english), "{key}");
        assert_eq!(chinese.lines().count(), english.lines().count(), "the number of lines of {key}");
    }
}

/// A prompt lists its keys as `b: back`, in Chinese `b：上一张`.
#[test]
fn a_prompt_lists_the_same_keys_in_each_language() {
    let (english, chinese) =
        (Regex::new(r"\w+: ").expect("a pattern"), Regex::new(r"\w+：").expect("a pattern"));
    let keys_in = |pattern: &Regex, text: &str| -> Vec<String> {
        pattern
            .find_iter(text)
            .map(|found| found.as_str().trim_end_matches([':', '：', ' ']).to_owned())
            .collect()
    };
    let prompts = keys_of(CHINESE).into_iter().filter(|key| any(&[r"^demo\.keys", r"^lesson\.prompt"])(key));
    let mut count = 0;
    for key in prompts {
        let listed = keys_in(&english, &message(ENGLISH, key));
        assert_eq!(keys_in(&chinese, &message(CHINESE, key)), listed, "{key}");
        count += listed.len();
    }
    assert!(count >= 15, "{count}");
}

#[test]
fn a_translation_has_characters_of_one_width_only_and_its_own_punctuation() {
    let half = Regex::new(r"[\u{4e00}-\u{9fff}][,;:!?]|[\u{4e00}-\u{9fff}]\.( |$)").expect("a pattern");
    for key in keys_of(CHINESE) {
        let text = message(CHINESE, key);
        let ambiguous: Vec<char> = text.chars().filter(|one| one.width() != one.width_cjk()).collect();
        assert!(ambiguous.is_empty(), "{key} has {ambiguous:?}, whose width depends on the terminal");
        assert!(!half.is_match(&text), "{key} has ASCII punctuation after an ideograph: {text}");
        let wide = "，。；：！？（）、「」";
        let is_wrong = text
            .chars()
            .zip(text.chars().skip(1))
            .any(|(one, other)| (wide.contains(one) && other == ' ') || (one == ' ' && wide.contains(other)));
        assert!(!is_wrong, "{key} has a blank beside full-width punctuation: {text}");
    }
}

/// The files of both languages are those that are compiled in.
#[test]
fn every_file_of_messages_is_compiled_in() {
    for (language, files) in [("en", ENGLISH), ("zh", CHINESE)] {
        let directory = format!("{}/messages/{language}", env!("CARGO_MANIFEST_DIR"));
        for entry in std::fs::read_dir(&directory).expect("a directory of messages") {
            let path = entry.expect("an entry").path();
            let content = std::fs::read_to_string(&path).expect("a file of messages");
            assert!(
                files.iter().any(|(_, known)| *known == content),
                "{} is not compiled in",
                path.display()
            );
        }
    }
}
