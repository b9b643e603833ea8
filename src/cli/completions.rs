//! Completion scripts for shells. They also complete the names of cards, mistakes, keys, lessons and running
//! containers.

use clap::builder::PossibleValuesParser;
use clap::{Args, Command};
use clap_complete::Shell;

use super::explain::{ExplainArg, ExplainedStep};
use crate::config::spec::{schema, shipped};
use crate::container::store::ContainerStore;
use crate::error::Result;
use crate::feature::{Feature, Purpose};
use crate::host::containers;
use crate::render;
use crate::teach::course::pack::Pack;
use crate::teach::{demo, mistakes};

/// The flags of `completions`.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
    #[command(flatten)]
    explain: ExplainArg,
}

const STEPS: [ExplainedStep; 1] = [("write(1, <script>)", "completions.explain")];

/// Prints a completion script.
pub(super) fn completions(args: &CompletionsArgs) -> Result<u8> {
    args.explain.steps(&STEPS);
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut with_values(visible()), "sandbox", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    render::out(&match args.shell {
        Shell::Bash => script.replace("_sandbox() {", "_sandbox_words() {") + BASH,
        Shell::Zsh => zsh(&script),
        Shell::Fish => script + FISH,
        _ => script,
    });
    Ok(0)
}

/// Prints the names of the caller's containers, those that run and those that stay, one on each line. The scripts call it.
pub(super) fn names() -> Result<u8> {
    let mut names = containers::running_names()?;
    names.extend(ContainerStore::open()?.all_names()?);
    names.sort_unstable();
    names.dedup();
    render::out(&names.iter().map(|name| format!("{name}\n")).collect::<String>());
    Ok(0)
}

/// The definition, complete, without what is hidden: clap's scripts would offer it.
fn visible() -> Command {
    let whole = super::definition();
    let subcommands = whole.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()).cloned();
    let mut visible = Command::new("sandbox")
        .disable_help_subcommand(true)
        .version(env!("CARGO_PKG_VERSION"))
        .args(whole.get_arguments().cloned())
        .subcommands(subcommands);
    visible.build();
    visible
}

/// The definition, with the values that a flag accepts. The parser itself does not have them: it would list them in the
/// help, and refuse a wrong one without the nearest name.
fn with_values(mut command: Command) -> Command {
    let mistakes_of =
        |purpose: Purpose| mistakes::list(purpose).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    // clap takes names that live as long as the program. It ends when the script is printed.
    let forever = |name: &str| -> &'static str { Box::leak(name.to_owned().into_boxed_str()) };
    for feature in Feature::WITH_SUBCOMMAND.iter().copied() {
        let cards = demo::names(feature).into_iter().chain(["list"]).collect();
        command = command.mut_subcommand(feature.name(), |subcommand| {
            let subcommand = with(subcommand, "mistake", mistakes_of(feature.into()));
            with(subcommand, "demo", cards)
        });
    }
    let schema = schema::schema();
    let keys = schema["properties"]
        .as_object()
        .into_iter()
        .flat_map(|keys| keys.keys())
        .map(|key| forever(key))
        .collect();
    let purposes = shipped::ALL.iter().map(|spec| spec.purpose).chain(["list"]).collect();
    let outputs = schema::OUTPUTS.iter().map(|(name, _)| *name).collect();
    let pages = command.get_subcommands().map(|subcommand| forever(subcommand.get_name()));
    let pages = pages.collect();
    // The names of the built-in lessons. A pack with mistakes has none, and a test reads the built-in one.
    let course = Pack::shipped().ok();
    let lessons = || course.iter().flat_map(|pack| &pack.lessons);
    let lesson_names: Vec<_> = lessons().map(|lesson| forever(&lesson.name)).collect();
    let exercises: Vec<_> =
        lessons().flat_map(|lesson| lesson.data.exercises.keys()).map(|name| forever(name)).collect();
    let questions: Vec<_> =
        lessons().flat_map(|lesson| lesson.data.questions.keys()).map(|name| forever(name)).collect();
    #[cfg(feature = "images")]
    {
        let mistakes = super::build::mistake_names();
        command = command.mut_subcommand("build", |build| with(build, "mistake", mistakes));
    }
    command
        .mut_subcommand("lesson", |lesson| {
            let of_lessons = |action: Command| with(action, "lesson", lesson_names.clone());
            let of_exercises = |action: Command| with(action, "exercise", exercises.clone());
            lesson
                .mut_subcommand("start", of_lessons)
                .mut_subcommand("reset", of_lessons)
                .mut_subcommand("export", of_lessons)
                .mut_subcommand("check", |check| of_exercises(of_lessons(check)))
                .mut_subcommand("hint", of_exercises)
                .mut_subcommand("solution", of_exercises)
                .mut_subcommand("answer", |answer| with(answer, "question", questions.clone()))
                .mut_subcommand("test", |test| with(test, "lessons", lesson_names.clone()))
        })
        .mut_subcommand("run", |run| {
            with(with(run, "mistake", mistakes_of(Purpose::Container)), "without", keys)
        })
        .mut_subcommand("spec", |spec| {
            spec.mut_subcommand("init", |init| with(init, "purpose", purposes))
                .mut_subcommand("schema", |schema| with(schema, "what", outputs))
        })
        .mut_subcommand("man", |man| with(man, "command", pages))
}

/// The subcommand, with the values of one of its arguments. An argument without any value stays as it is.
fn with(subcommand: Command, argument: &str, values: Vec<&'static str>) -> Command {
    match values.is_empty() {
        true => subcommand,
        false => {
            subcommand.mut_arg(argument, |argument| argument.value_parser(PossibleValuesParser::new(values)))
        }
    }
}

/// clap completes the words of the definition. The rest is asked for when it is needed.
const BASH: &str = r#"
_sandbox() {
    _sandbox_words "$@"
    local word=${COMP_WORDS[COMP_CWORD]} at
    for at in "${COMP_WORDS[@]:2:COMP_CWORD-2}"; do
        case ${COMP_WORDS[1]} in
            compare | start | stop | restart | kill | wait | rm | inspect) ;;
            *) [[ $at == -* ]] || return 0 ;;
        esac
    done
    case ${COMP_WORDS[1]} in
        exec | enter | verify | compare | start | stop | restart | kill | wait | rm | inspect | rename | logs | attach | port | top)
            [[ $word == -* ]] || COMPREPLY+=($(compgen -W "$("${COMP_WORDS[0]}" __names 2>/dev/null)" -- "$word"))
            ;;
    esac
}
"#;

const FISH: &str = r#"
complete -c sandbox -n "__fish_seen_subcommand_from exec enter verify compare start stop restart kill wait rm inspect rename logs attach port top" -a "(sandbox __names 2>/dev/null)"
"#;

/// The script for zsh. `_sandbox_names` completes the arguments that name a container.
fn zsh(script: &str) -> String {
    const NAMES: &str = "_sandbox_names() {\n    compadd -- ${(f)\"$(sandbox __names 2>/dev/null)\"}\n}\n\n";
    let lines = script.lines().map(|line| {
        let targets = ["target", "first", "second", "container", "containers", "objects"];
        let is_target = targets.iter().any(|name| {
            ["':", "'::", "'*::"].iter().any(|start| line.starts_with(&format!("{start}{name} -- ")))
        });
        let line = if is_target { line.replace(":_default'", ":_sandbox_names'") } else { line.to_owned() };
        line + "\n"
    });
    let script: String = lines.collect();
    match script.find("_sandbox() {") {
        Some(at) => format!("{}{NAMES}{}", &script[..at], &script[at..]),
        None => script,
    }
}
