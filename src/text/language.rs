//! The language of what is printed. It is set once, at the start of the program.

use std::sync::{PoisonError, RwLock};

/// A language of the messages and of the lessons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Language {
    /// English.
    En,
    /// Chinese. Help and errors stay English.
    Zh,
}

/// The language of this run.
static CURRENT: RwLock<Language> = RwLock::new(Language::En);

impl Language {
    /// All languages. The first one has all messages and all lessons.
    pub(crate) const ALL: [Language; 2] = [Language::En, Language::Zh];

    /// The code of ISO 639: `en`, as `--lang` takes it, and as the directories of the texts are named.
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Language::En => "en",
            Language::Zh => "zh",
        }
    }

    /// The language of this run.
    pub(crate) fn current() -> Language {
        *CURRENT.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the language of this run.
    pub(crate) fn set(self) {
        *CURRENT.write().unwrap_or_else(PoisonError::into_inner) = self;
    }

    /// The language of the user's locale. The first variable that is set and not empty counts, as in locale(7).
    pub(crate) fn of_locale() -> Language {
        let values = ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().filter_map(std::env::var_os);
        let locale = values.into_iter().find(|value| !value.is_empty()).unwrap_or_default();
        Language::of(&locale.to_string_lossy())
    }

    /// The language of a locale such as `zh_CN.UTF-8`. Where there is no translation, it is English.
    fn of(locale: &str) -> Language {
        let code = locale.split(['_', '.', '@', '-']).next().unwrap_or_default();
        Language::ALL.into_iter().find(|language| language.code() == code).unwrap_or(Language::En)
    }
}

#[cfg(test)]
mod tests {
    use super::Language::{self, En, Zh};

    #[test]
    fn a_locale_begins_with_its_language() {
        let found =
            ["zh_CN.UTF-8", "zh", "zh-Hans", "zh_TW@x", "en_GB.UTF-8", "C", "C.UTF-8", "de_DE", "", "zha_CN"]
                .map(Language::of);
        assert_eq!(found, [Zh, Zh, Zh, Zh, En, En, En, En, En, En]);
    }
}
