//! The words of `run` and `create`: which one is the spec or the image, and where the command begins.
//!
//! After the name of an image, every word belongs to the command as it is, also `--help` and `--`. clap would take those that
//! it knows. So a `--` is put behind the image before clap sees the words: after it, clap takes none.
//!
//! Two more forms of Docker are none of clap's: `--rm=false`, and `-h NAME` for the hostname.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use clap::{Arg, ArgAction, Command};

/// The subcommands that take an image.
const TAKE_IMAGES: [&str; 2] = ["run", "create"];

/// Whether an argument of `run` names a spec: standard input, a path, or a file with the ending of YAML or JSON. Any other word
/// is the name of an image. What exists is never asked.
pub(super) fn is_spec(argument: &OsStr) -> bool {
    let bytes = argument.as_bytes();
    bytes == b"-"
        || bytes.starts_with(b".")
        || bytes.starts_with(b"/")
        || [&b".yaml"[..], b".yml", b".json"].iter().any(|end| bytes.ends_with(end))
}

/// The words for clap: with `--` behind the name of an image, and without the values of switches.
pub(super) fn for_clap(words: &[OsString], definition: &Command) -> Vec<OsString> {
    let mut words = words.to_vec();
    // The definition of a subcommand is made when it is needed: that takes time.
    let first = next_positional(&words, 1, definition).and_then(|place| words[place].to_str());
    if first.is_some_and(|name| name == "container" || TAKE_IMAGES.contains(&name))
        && let Some((place, own, _)) = subcommand(&words, definition)
        && words[place].to_str().is_some_and(|name| TAKE_IMAGES.contains(&name))
    {
        put_behind_image(&mut words, place + 1, &own);
    }
    if words.iter().any(|word| switched(word).is_some()) { take_switches(words, definition) } else { words }
}

/// Puts `--` behind the image, if there is one. `-h` before a word is the hostname where an image comes after that word.
/// Anywhere else it asks for the help.
fn put_behind_image(words: &mut Vec<OsString>, start: usize, own: &Command) {
    let Some(mut place) = next_positional(words, start, own) else { return };
    while place > start && words[place - 1] == "-h" && !is_spec(&words[place]) {
        words[place - 1] = "--hostname".into();
        match next_positional(words, start, own) {
            Some(next) => place = next,
            None => {
                words[place - 1] = "-h".into();
                return;
            }
        }
    }
    if !is_spec(&words[place]) {
        words.insert(place + 1, "--".into());
    }
}

/// Whether a subcommand at this place has the name of an image, and not a spec.
pub(super) fn has_image(words: &[OsString], place: usize, own: &Command) -> bool {
    next_positional(words, place + 1, own).is_some_and(|image| !is_spec(&words[image]))
}

/// The subcommand of a command line: the place of its name, its definition with the flags that all have, and its whole name, as
/// `container ls`.
pub(super) fn subcommand(words: &[OsString], definition: &Command) -> Option<(usize, Command, String)> {
    let mut place = next_positional(words, 1, definition)?;
    let mut own = definition.find_subcommand(words[place].to_str()?)?.clone();
    // The arguments of a subcommand are defined when it is needed; the global ones come from above.
    own.build();
    let mut path = own.get_name().to_owned();
    // `container run` has the flags of `run`.
    while let Some(next) = next_positional(words, place + 1, &own)
        && let Some(inner) = words[next].to_str().and_then(|name| own.find_subcommand(name)).cloned()
    {
        (place, own) = (next, inner);
        own.build();
        path = format!("{path} {}", own.get_name());
    }
    for global in definition.get_arguments().filter(|argument| argument.is_global_set()) {
        if own.get_arguments().all(|known| known.get_id() != global.get_id()) {
            own = own.arg(global.clone());
        }
    }
    Some((place, own, path))
}

/// A flag with a truth value: what is before the `=`, and the value.
fn switched(word: &OsStr) -> Option<(&str, bool)> {
    let (flag, value) = word.to_str()?.split_once('=')?;
    let is = match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => true,
        "0" | "f" | "F" | "false" | "FALSE" | "False" => false,
        _ => return None,
    };
    flag.starts_with('-').then_some((flag, is))
}

/// Writes `--rm=true` as `--rm`, and leaves `--rm=false` out. clap knows the values of flags that take one; these take none.
fn take_switches(words: Vec<OsString>, definition: &Command) -> Vec<OsString> {
    let Some((place, own, _)) = subcommand(&words, definition) else { return words };
    // Behind these places all words belong to another command.
    let has_command = own.get_arguments().any(Arg::is_trailing_var_arg_set);
    let command = next_positional(&words, place + 1, &own).filter(|_| has_command);
    let dashes = words.iter().position(|word| word == "--");
    let end = command.into_iter().chain(dashes).min().unwrap_or(words.len());
    let is_switch =
        |argument: &Arg| matches!(argument.get_action(), ArgAction::SetTrue | ArgAction::SetFalse);
    let one = |(index, word): (usize, OsString)| {
        let Some((flag, is)) = switched(&word).filter(|_| place < index && index < end) else {
            return Some(word);
        };
        let Some(letters) = flag.strip_prefix('-').filter(|letters| !letters.starts_with('-')) else {
            let known = own.get_arguments().any(|argument| {
                let all = argument.get_long_and_visible_aliases().unwrap_or_default();
                is_switch(argument) && all.contains(&&flag[2..])
            });
            return match known {
                true => is.then(|| flag.into()),
                false => Some(word),
            };
        };
        // Of several letters, the last one has the value. In `-ed=1`, all behind the `e` is the value of -e.
        let is_known = |letter: char| {
            own.get_arguments().any(|argument| is_switch(argument) && argument.get_short() == Some(letter))
        };
        let known = letters.chars().all(is_known);
        match (known, is, letters.len()) {
            (false, ..) => Some(word),
            (true, true, _) => Some(flag.into()),
            (true, false, 1) => None,
            (true, false, _) => Some(flag[..flag.len() - 1].into()),
        }
    };
    words.into_iter().enumerate().filter_map(one).collect()
}

/// The place of the first word that is neither a flag nor the value of one.
fn next_positional(words: &[OsString], start: usize, definition: &Command) -> Option<usize> {
    // A value that may be missing is the next word, unless that is a flag.
    let takes_value = |argument: &Arg, next: Option<&OsString>| {
        let is_flag = next.is_none_or(|next| next.as_bytes().starts_with(b"-"));
        argument.get_action().takes_values()
            && !argument.is_require_equals_set()
            && (!is_flag || argument.get_num_args().is_none_or(|count| count.min_values() > 0))
    };
    let by_long = |name: &[u8]| {
        let has = |argument: &&Arg| {
            let all = argument.get_long_and_visible_aliases().unwrap_or_default();
            all.iter().any(|long| long.as_bytes() == name)
        };
        definition.get_arguments().find(has)
    };
    let by_short =
        |letter: char| definition.get_arguments().find(|argument| argument.get_short() == Some(letter));
    let mut place = start;
    while place < words.len() {
        let word = words[place].as_bytes();
        if word == b"--" {
            return (place + 1 < words.len()).then_some(place + 1);
        }
        if let Some(long) = word.strip_prefix(b"--") {
            let is_alone = !long.contains(&b'=');
            place += usize::from(
                is_alone && by_long(long).is_some_and(|one| takes_value(one, words.get(place + 1))),
            );
        } else if word.len() > 1 && word[0] == b'-' {
            for (index, letter) in word.iter().enumerate().skip(1) {
                match by_short(char::from(*letter)) {
                    Some(argument) if takes_value(argument, words.get(place + 1)) => {
                        place += usize::from(index + 1 == word.len());
                        break;
                    }
                    Some(_) => {}
                    None => break,
                }
            }
        } else {
            return Some(place);
        }
        place += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn what_follows_an_image_is_the_command() {
        let definition = crate::cli::definition();
        for (line, expected) in [
            ("sandbox run alpine", "sandbox run alpine --"),
            ("sandbox run -it alpine sh --help", "sandbox run -it alpine -- sh --help"),
            ("sandbox run -itm 64m alpine -- x", "sandbox run -itm 64m alpine -- -- x"),
            (
                "sandbox run -e A=b --name web --rm=true a/b:1 -q",
                "sandbox run -e A=b --name web --rm a/b:1 -- -q",
            ),
            (
                "sandbox --lang en run -p80:80 --memory-swap -1 x y",
                "sandbox --lang en run -p80:80 --memory-swap -1 x -- y",
            ),
            ("sandbox run --home d --read-only x y", "sandbox run --home d --read-only x -- y"),
            ("sandbox create -v a:/b x y", "sandbox create -v a:/b x -- y"),
            ("sandbox container run --rm x --help", "sandbox container run --rm x -- --help"),
            ("sandbox run -h box alpine", "sandbox run --hostname box alpine --"),
            (
                "sandbox create -it -h box -e A alpine -h",
                "sandbox create -it --hostname box -e A alpine -- -h",
            ),
            ("sandbox run -h one -h box x", "sandbox run --hostname one --hostname box x --"),
            ("sandbox run --rm=true -it=1 -d=false x --rm=true", "sandbox run --rm -it x -- --rm=true"),
            ("sandbox run --rm=false -it=0 --init=false x", "sandbox run -i --init=false x --"),
            ("sandbox ps -a=true --no-trunc=false", "sandbox ps -a"),
            ("sandbox container ls -aq=T", "sandbox container ls -aq"),
            ("sandbox exec -i=true web x -d=true", "sandbox exec -i web x -d=true"),
            ("sandbox run -ed=1 -itd=1 x", "sandbox run -ed=1 -itd x --"),
            ("sandbox run --label a=true -e B=1 x", "sandbox run --label a=true -e B=1 x --"),
        ] {
            assert_eq!(for_clap(&words(line), &definition), words(expected), "{line}");
        }
        for same in [
            "sandbox run ./x y",
            "sandbox run - --rm",
            "sandbox run -m 1g x.yaml -- y",
            "sandbox run --help",
            "sandbox pid x",
            "sandbox container ls x",
            "sandbox run --break suid --dry-run",
            "sandbox run --break suid --format json",
            "sandbox run --break --dry-run",
            "sandbox run -h",
            "sandbox run -h alpine",
            "sandbox run -h ./x y",
            "sandbox rm --none=true x",
        ] {
            assert_eq!(for_clap(&words(same), &definition), words(same));
        }
    }
}
