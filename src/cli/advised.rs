//! Tests of the command lines of `sandbox` in messages and in the code: the parser accepts each, so none is advised that does
//! not exist.
//!
//! Of this kind: advice, examples, `Next:` lines, hints in a sentence, lines that the code makes from parts. Those that an error
//! prints are executed by tests/advice.rs.

use std::collections::BTreeSet;

use clap::error::ErrorKind;

use crate::text;

/// The command lines of `sandbox` in a text, as words, without the name of the program. A command line begins with the name
/// of a subcommand. It ends where a shell would end it, and where the sentence does.
fn command_lines(text: &str, subcommands: &BTreeSet<String>) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("sandbox ") {
        let is_word =
            !rest[..at].ends_with(|before: char| before.is_alphanumeric() || "-_/.=".contains(before));
        rest = &rest[at + "sandbox ".len()..];
        let words = words(rest);
        let is_line = words.first().is_some_and(|first| subcommands.contains(first) || first == "{}");
        if is_word && is_line {
            all.push(words);
        }
    }
    all
}

/// The words of a command line up to its end. A placeholder, `{name}`, is the word `{}`.
fn words(line: &str) -> Vec<String> {
    let (mut all, mut word, mut quote) = (Vec::new(), String::new(), None);
    let mut is_quoted = false;
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some(open), end) if open == end => quote = None,
            (Some(_), other) => word.push(other),
            (None, '\'' | '"') => (quote, is_quoted) = (Some(character), true),
            (None, '{') => {
                characters.by_ref().take_while(|inside| *inside != '}').for_each(drop);
                word.push_str("{}");
            }
            (None, '`' | ';' | '|' | '>' | '<' | '&' | ')' | '(' | '\n') => break,
            (None, ' ') => {
                let ends = !is_quoted && word.ends_with([',', '.', ':', '?']);
                if ends || characters.peek() == Some(&' ') {
                    break;
                }
                if !word.is_empty() || is_quoted {
                    all.push(std::mem::take(&mut word));
                }
                is_quoted = false;
            }
            (None, other) => word.push(other),
        }
    }
    let word = if is_quoted { &word } else { word.trim_end_matches([',', '.', ':', '?']) };
    if !word.is_empty() || is_quoted {
        all.push(word.to_owned());
    }
    all
}

/// The literals of the code outside of its tests, with `\n` as a line break.
fn literals() -> Vec<String> {
    let literal = regex_lite::Regex::new(r#""((?:[^"\\\n]|\\.)*)""#).unwrap();
    let mut all = Vec::new();
    for file in text::sources() {
        let code = std::fs::read_to_string(&file).unwrap();
        let code = &code[..code.find("#[cfg(test)]").unwrap_or(code.len())];
        for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            all.extend(
                literal.captures_iter(line).map(|found| found[1].replace("\\n", "\n").replace("\\\"", "\"")),
            );
        }
    }
    all
}

#[test]
fn the_parser_accepts_every_advised_line() {
    let definition = super::definition();
    let subcommands: BTreeSet<String> = definition
        .get_subcommands()
        .filter(|sub| !sub.is_hide_set())
        .flat_map(|sub| std::iter::once(sub.get_name()).chain(sub.get_all_aliases()))
        .map(str::to_owned)
        .collect();
    // `service sandbox start` is no command line of ours.
    let texts = text::all_messages().into_iter().chain(literals());
    let texts = texts.map(|text| text.replace("service sandbox", "service"));
    let lines: BTreeSet<Vec<String>> = texts.flat_map(|text| command_lines(&text, &subcommands)).collect();
    assert!(lines.len() >= 60, "{lines:#?}");
    let (mut wrong, mut parser) = (Vec::new(), super::definition());
    for line in &lines {
        // The first placeholder stands for a subcommand, any other for a value of it.
        let mut filled = line.clone();
        for (index, word) in filled.iter_mut().enumerate() {
            *word = word.replace("{}", if index == 0 { "pid" } else { "1" });
        }
        let arguments = std::iter::once("sandbox").chain(filled.iter().map(String::as_str));
        let arguments: Vec<std::ffi::OsString> = arguments.map(Into::into).collect();
        let arguments = super::words::for_clap(&arguments, &definition);
        let accepted = match parser.try_get_matches_from_mut(arguments) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::DisplayHelp => Ok(()),
            Err(error) => Err(error.to_string()),
        };
        if accepted.is_err() || line.iter().any(|word| word.contains("...")) {
            wrong.push((line.join(" "), accepted));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn command_lines_are_found_in_a_text() {
    let subcommands = ["pid", "run", "net", "spec"].map(str::to_owned).into();
    for (text, lines) in [
        ("use sandbox pid.", &["pid"][..]),
        ("sandbox pid -- sh -c 'a; b'   (so)", &["pid|--|sh|-c|a; b"]),
        ("`sandbox run SPEC.yaml`, or sandbox net: both", &["run|SPEC.yaml", "net"]),
        ("sandbox spec init > a; sandbox run a", &["spec|init", "run|a"]),
        ("sandbox net -- sandbox net --veth  and", &["net|--|sandbox|net|--veth", "net|--veth"]),
        ("sandbox has no pid; a sandbox run", &["run"]),
        ("sandbox {feature} --svg FILE", &["{}|--svg|FILE"]),
    ] {
        let found: Vec<String> =
            command_lines(text, &subcommands).iter().map(|line| line.join("|")).collect();
        assert_eq!(found, lines, "{text}");
    }
}
