//! The flags of an instruction: `--name=value`.

use super::read::InstructionFlaw;
use super::split::FlagWord;
use crate::text::{printed, text_with};
use crate::value::nearest::nearest;

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FlagKind {
    /// A text, once.
    Text,
    /// A text, as often as wanted.
    List,
    /// `true`, `false`, or nothing, which is `true`.
    Switch,
}

/// The flags that an instruction has.
pub(super) struct Flags<'a> {
    given: Vec<(&'static str, String, &'a FlagWord)>,
}

impl<'a> Flags<'a> {
    /// Reads flags. `known` are those of the instruction `name`.
    ///
    /// # Errors
    /// A flag is not known, is given twice, or has no value or a wrong one.
    pub(super) fn read(
        name: &str,
        words: &'a [FlagWord],
        known: &[(&'static str, FlagKind)],
    ) -> Result<Flags<'a>, InstructionFlaw> {
        let mut given: Vec<(&'static str, String, &FlagWord)> = Vec::new();
        for word in words {
            let (flag, value) = word.text.split_once('=').map_or((&*word.text, None), |(f, v)| (f, Some(v)));
            let shown = printed(flag);
            let wrong = |what: String| InstructionFlaw::new(word.range.clone(), what);
            let Some((found, kind)) = known.iter().find(|(known, _)| flag.strip_prefix("--") == Some(known))
            else {
                return Err(unknown(name, flag, word, known));
            };
            if *kind != FlagKind::List && given.iter().any(|(before, ..)| before == found) {
                return Err(wrong(text_with("dockerfile.flag.twice", &[("flag", &shown)])));
            }
            let value = match (kind, value) {
                (FlagKind::Switch, None) => "true".to_owned(),
                (FlagKind::Switch, Some(value))
                    if ["true", "false"].contains(&&*value.to_ascii_lowercase()) =>
                {
                    value.to_ascii_lowercase()
                }
                (FlagKind::Switch, Some(_)) => {
                    return Err(wrong(text_with("dockerfile.flag.switch", &[("flag", &shown)])));
                }
                (_, None) => return Err(wrong(text_with("dockerfile.flag.value", &[("flag", &shown)]))),
                (_, Some(value)) => value.to_owned(),
            };
            given.push((found, value, word));
        }
        Ok(Flags { given })
    }

    /// The value of a flag.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.word(name).map(|(value, _)| value.to_owned())
    }

    /// The value of a flag, and the word that it is in.
    pub(super) fn word(&self, name: &str) -> Option<(&str, &'a FlagWord)> {
        self.given.iter().find(|(given, ..)| *given == name).map(|(_, value, word)| (&**value, *word))
    }

    /// All values of a flag.
    pub(super) fn list(&self, name: &str) -> Vec<(String, &'a FlagWord)> {
        let given = self.given.iter().filter(|(given, ..)| *given == name);
        given.map(|(_, value, word)| (value.clone(), *word)).collect()
    }

    /// Whether a switch is on, if it is given.
    pub(super) fn switch(&self, name: &str) -> Option<bool> {
        self.word(name).map(|(value, _)| value == "true")
    }
}

fn unknown(name: &str, flag: &str, word: &FlagWord, known: &[(&'static str, FlagKind)]) -> InstructionFlaw {
    let list: Vec<String> = known.iter().map(|(flag, _)| format!("--{flag}")).collect();
    let flag = printed(flag);
    let what = match &*list {
        [] => text_with("dockerfile.flag.none", &[("name", name), ("flag", &flag)]),
        _ => text_with(
            "dockerfile.flag.unknown",
            &[("name", name), ("flag", &flag), ("known", &list.join(", "))],
        ),
    };
    let near = nearest(&flag, list.iter().map(String::as_str)).map(str::to_owned);
    InstructionFlaw { near, ..InstructionFlaw::new(word.range.clone(), what) }
}
