//! Console blocks of texts: commands after `$ `, and the output that they must print.

use std::path::Path;
use std::process::{Command, Stdio};

use sandbox::render::stable::stable;
use sandbox::value::shell::quote;

use super::{binary, text};

/// A bash script that prints a block again: each command after its prompt, then its output. Lines that begin with `> `
/// continue a command. Background commands are killed at the end of the block.
pub fn script_of(block: &str) -> String {
    let mut script = String::from("exec 2>&1\n");
    let mut lines = block.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(command) = line.strip_prefix("$ ") else { continue };
        let (mut shown, mut command) = (line.to_owned(), command.to_owned());
        while let Some(more) = lines.next_if(|line| line.starts_with("> ")) {
            shown = format!("{shown}\n{more}");
            command = format!("{command}\n{}", &more[2..]);
        }
        script.push_str(&format!("printf '%s\\n' {}\n", quote(shown)));
        script.push_str(&format!("{}\n", command.replace("sudo ", "")));
    }
    script.push_str("exec >/dev/null 2>&1\nkill -KILL $(jobs -p)\nwait\n");
    // A block that was ended too early has left its containers.
    script.push_str("[ ! -e \"$SANDBOX_HOME\" ] || sandbox rm -f $(sandbox ps -aq)\n");
    script
}

/// What a block prints in English.
pub fn printed(block: &str, directory: &Path) -> String {
    printed_in("en", block, directory)
}

/// What a block prints, run in this directory. `sandbox` in it is the binary under test. It ends after two minutes.
pub fn printed_in(language: &str, block: &str, directory: &Path) -> String {
    // A locale that is always there: where one is missing, perl and bash print a warning. They need not know that of LANG.
    let locale: &[(&str, &str)] = match language {
        "en" => &[("LC_ALL", "C")],
        // Other programs print as in English.
        _ => &[
            ("LC_ALL", ""),
            ("LC_MESSAGES", ""),
            ("LANG", "zh_CN.UTF-8"),
            ("LANGUAGE", "en"),
            ("PERL_BADLANG", "0"),
            ("LC_CTYPE", "C"),
            ("LC_COLLATE", "C"),
            ("LC_NUMERIC", "C"),
            ("LC_TIME", "C"),
        ],
    };
    let links = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(binary(), links.path().join("sandbox")).unwrap();
    let path = format!("{}:{}", links.path().display(), std::env::var("PATH").unwrap_or_default());
    let output = Command::new("timeout")
        .args(["-k", "5", "120", "bash", "-c", &script_of(block)])
        .current_dir(directory)
        .envs([("PATH", path.as_str()), ("COLUMNS", "80"), ("NO_COLOR", "1")])
        .envs(locale.iter().copied())
        .env("SANDBOX_HOME", links.path().join("home"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    text(&output.stdout)
}

/// The output without the last line of a card: lessons leave out `Next:`, because it is no step of the lesson.
pub fn without_next(printed: &str) -> String {
    let next = regex_lite::Regex::new(r"\n\n(?:Next:  |下一步：)sandbox [a-z]+ --explain -- bash(?:\n|$)");
    let next = next.expect("a pattern");
    next.replace_all(printed, "\n").into_owned()
}

/// Replaces what changes from run to run. The number of verified values depends on the kernel. The ledger names processes
/// by their PIDs.
pub fn comparable(printed: &str) -> String {
    let printed = without_next(printed);
    let pattern = |text| regex_lite::Regex::new(text).expect("a pattern");
    let printed = pattern(r"\b\d+ (values\b|个值)").replace_all(printed.trim_end(), "N $1");
    stable(&pattern(r"(held by  \S+) \d+").replace_all(&printed, "$1 PID"))
}
