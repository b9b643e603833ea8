//! The command line that the user typed, so that advice can repeat it.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use super::shell::quote_on_one_line;

/// A command line of `sandbox`. Its forms can be pasted into a shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypedCommand {
    words: Vec<OsString>,
    /// The program as sudo(8) finds it, which searches only the directories of root.
    program: OsString,
}

impl TypedCommand {
    /// The command line of this process.
    pub fn of_this_process() -> TypedCommand {
        let words: Vec<OsString> = env::args_os().collect();
        let typed = words.first().cloned().unwrap_or_else(|| "sandbox".into());
        let is_name = !typed.as_encoded_bytes().contains(&b'/');
        let file = env::current_exe().ok().filter(|file| is_name && file.is_file());
        let elsewhere = file.filter(|file| !is_in_roots_path(file));
        TypedCommand { words, program: elsewhere.map_or(typed, Into::into) }
    }

    /// A command line with these words.
    pub fn of(words: &[&str]) -> TypedCommand {
        let program = words.first().copied().unwrap_or_default().into();
        TypedCommand { words: words.iter().map(Into::into).collect(), program }
    }

    /// The subcommand as it was typed, by its name or by an alias. `sandbox` if there is none.
    pub fn subcommand(&self) -> String {
        let place = self.place_of_subcommand();
        place.map_or("sandbox".into(), |place| self.words[place].to_string_lossy().into_owned())
    }

    /// Which of the words is the subcommand.
    fn place_of_subcommand(&self) -> Option<usize> {
        let mut words = self.words.iter().enumerate().skip(1);
        while let Some((place, word)) = words.next() {
            match &*word.to_string_lossy() {
                "--color" => drop(words.next()),
                flag if flag.starts_with('-') => {}
                _ => return Some(place),
            }
        }
        None
    }

    /// The same with another word in place of one: the names of a user's containers mean nothing to root, PIDs do.
    pub fn with_word(mut self, word: &str, other: &str) -> TypedCommand {
        if let Some(found) = self.words.iter_mut().skip(1).find(|typed| **typed == OsStr::new(word)) {
            *found = other.into();
        }
        self
    }

    /// The command line.
    pub fn line(&self) -> String {
        line_of(&self.words)
    }

    /// The command line for root: `sudo sandbox run box.yaml`.
    pub fn as_root(&self) -> String {
        let words: Vec<OsString> = ["sudo".into(), self.program.clone()]
            .into_iter()
            .chain(self.words.iter().skip(1).cloned())
            .collect();
        line_of(&words)
    }

    /// Whether the line means the same for root: one about a container of the caller does not, because root has others.
    pub fn is_for_root(&self) -> bool {
        !["exec", "restart", "start", "update"].contains(&&*self.subcommand())
    }

    /// The command line that prints the plan. Where the typed one has no plan, as `doctor` and `--break` do not, it is
    /// that of `purpose`: a feature, or `run`, which needs a spec.
    pub fn dry_run(&self, purpose: &str) -> Option<String> {
        let flags = self.words.iter().take_while(|word| **word != OsStr::new("--"));
        let is_mistake = flags.into_iter().any(|word| word.to_string_lossy().starts_with("--break"));
        let without_plan =
            ["build", "compare", "create", "doctor", "gc", "restart", "spec", "start", "update", "verify"];
        let subcommand = self.subcommand();
        // A user does not type the commands that `sandbox` executes itself: `__supervise`.
        if is_mistake || subcommand.starts_with("__") || without_plan.contains(&&*subcommand) {
            return (purpose != "run").then(|| format!("sandbox {purpose} --dry-run"));
        }
        Some(self.with_flag("--dry-run"))
    }

    /// The command line with another flag of `sandbox`: before the `--` of COMMAND. Where COMMAND follows an image or a
    /// container, without a `--`, the flag comes directly after the subcommand.
    pub fn with_flag(&self, flag: &str) -> String {
        let mut words = self.words.clone();
        let end = words.iter().position(|word| word == OsStr::new("--")).unwrap_or(words.len());
        let place = match self.place_of_subcommand() {
            Some(place) if ["run", "create", "exec"].contains(&&*self.subcommand()) => place + 1,
            _ => end,
        };
        if !words[..end].iter().any(|word| word == OsStr::new(flag)) {
            words.insert(place, flag.into());
        }
        line_of(&words)
    }
}

fn line_of(words: &[OsString]) -> String {
    words.iter().map(quote_on_one_line).collect::<Vec<_>>().join(" ")
}

/// Whether a program is in a directory in which sudo(8) finds it.
pub fn is_in_roots_path(program: &Path) -> bool {
    let directories = ["/usr/local/bin", "/usr/local/sbin", "/usr/bin", "/usr/sbin", "/bin", "/sbin"];
    program.parent().is_some_and(|directory| directories.iter().any(|known| Path::new(known) == directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_quoted_and_a_flag_comes_before_the_command() {
        let typed = TypedCommand::of(&["sandbox", "memory", "--limit", "64 MB", "--", "sh", "-c", "exit 3"]);
        assert_eq!(typed.as_root(), "sudo sandbox memory --limit '64 MB' -- sh -c 'exit 3'");
        let dry = "sandbox memory --limit '64 MB' --dry-run -- sh -c 'exit 3'";
        assert_eq!(typed.with_flag("--dry-run"), dry);
        let typed = TypedCommand::of(&["sandbox", "run", "a;b.yaml"]);
        assert_eq!(typed.with_flag("--dry-run"), "sandbox run --dry-run 'a;b.yaml'");
        let typed = TypedCommand::of(&["sandbox", "--stable", "exec", "-u", "5", "web", "ls", "-l"]);
        assert_eq!(typed.with_flag("--dry-run"), "sandbox --stable exec --dry-run -u 5 web ls -l");
        let typed =
            TypedCommand::of(&["sandbox", "--color", "never", "--stable", "enter", "web", "--", "web"]);
        assert_eq!(typed.subcommand(), "enter");
        let typed = typed.with_word("web", "4711");
        assert_eq!(typed.line(), "sandbox --color never --stable enter 4711 -- web");
        let typed = TypedCommand::of(&["sandbox", "run", "--dry-run", "b.yaml"]);
        assert_eq!(typed.with_flag("--dry-run"), "sandbox run --dry-run b.yaml");
    }

    #[test]
    fn a_line_without_a_plan_is_not_repeated() {
        for (words, purpose, line) in [
            (&["sandbox", "doctor"][..], "cpu", Some("sandbox cpu --dry-run")),
            (&["sandbox", "verify", "1", "-"], "run", None),
            (&["sandbox", "pid", "--break", "no-fork"], "pid", Some("sandbox pid --dry-run")),
            (&["sandbox", "run", "--break=suid"], "run", None),
            (&["sandbox", "run", "-q", "-"], "run", Some("sandbox run --dry-run -q -")),
            (&["sandbox", "__supervise", "0123"], "run", None),
            (&["sandbox", "create", "-m", "50m", "web", "id"], "memory", Some("sandbox memory --dry-run")),
            (&["sandbox", "start", "web"], "run", None),
            (&["sandbox", "net", "--", "--break"], "net", Some("sandbox net --dry-run -- --break")),
        ] {
            assert_eq!(TypedCommand::of(words).dry_run(purpose).as_deref(), line, "{words:?}");
        }
    }
}
