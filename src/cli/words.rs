//! The words of `run` and `create`: which one is the spec or the image, and where the command begins.
//!
//! After the name of an image, every word belongs to the command as it is, also `--help` and `--`. clap would take those that
//! it knows. So a `--` is put behind the image before clap sees the words: after it, clap takes none.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use clap::{Arg, Command};

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

/// The words for clap: with `--` behind the name of an image.
pub(super) fn for_clap(words: &[OsString], definition: &Command) -> Vec<OsString> {
    let mut words = words.to_vec();
    if let Some(place) = image_place(&words, definition) {
        words.insert(place + 1, "--".into());
    }
    words
}

fn image_place(words: &[OsString], definition: &Command) -> Option<usize> {
    let mut subcommand = next_positional(words, 1, definition)?;
    // `container run` has the flags of `run`.
    if words[subcommand] == "container" {
        subcommand = next_positional(words, subcommand + 1, definition)?;
    }
    let name = words[subcommand].to_str().filter(|name| TAKE_IMAGES.contains(name))?;
    let mut own = definition.find_subcommand(name)?.clone();
    // The arguments of a subcommand are defined when it is needed; the global ones come from above.
    own.build();
    for global in definition.get_arguments().filter(|argument| argument.is_global_set()) {
        if own.get_arguments().all(|known| known.get_id() != global.get_id()) {
            own = own.arg(global.clone());
        }
    }
    let place = next_positional(words, subcommand + 1, &own)?;
    (!is_spec(&words[place])).then_some(place)
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
                "sandbox run -e A=b --name web --rm=true a/b:1 -- -q",
            ),
            (
                "sandbox --lang en run -p80:80 --memory-swap -1 x y",
                "sandbox --lang en run -p80:80 --memory-swap -1 x -- y",
            ),
            ("sandbox run --home d --read-only x y", "sandbox run --home d --read-only x -- y"),
            ("sandbox create -v a:/b x y", "sandbox create -v a:/b x -- y"),
            ("sandbox container run --rm x --help", "sandbox container run --rm x -- --help"),
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
        ] {
            assert_eq!(for_clap(&words(same), &definition), words(same));
        }
    }
}
