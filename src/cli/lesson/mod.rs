//! `sandbox lesson`: the course in the terminal.

mod author;
mod exercises;
mod explain;
mod export;
mod reader;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use self::author::{NewArgs, TestArgs};
use self::exercises::CheckArgs;
use self::export::ExportArgs;
use crate::error::{Error, Result};
use crate::exec::signals::Signals;
use crate::render::lesson::{self as text_of, LessonView};
use crate::render::markdown::Look;
use crate::render::paint::{self, Color, Stream, decide};
use crate::render::{self};
use crate::teach::course::advice::{advised, keep_places, text, text_with};
use crate::teach::course::pace::Pace;
use crate::teach::course::pack::{Lesson, Pack};
use crate::teach::course::progress::{self, Learner};
use crate::text::{Language, printed};
use crate::value::nearest::nearest;
use crate::value::shell::quote;

/// The arguments of `lesson`.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct LessonArgs {
    /// For screen readers: no tables, and nothing is said by its position
    #[arg(long, global = true)]
    plain: bool,
    /// Read the lessons from this directory, in place of the built-in ones
    #[arg(long, global = true, value_name = "DIR")]
    pack: Option<PathBuf>,
    /// The directory of your progress and your files [default: SANDBOX_LESSONS, or ~/sandbox-lessons]
    #[arg(long, global = true, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// First print what the action reads, starts and writes, in order, on standard error
    #[arg(long, global = true)]
    explain: bool,
    #[command(subcommand)]
    action: Option<LessonAction>,
}

#[derive(Debug, Subcommand)]
enum LessonAction {
    /// List the lessons, and what you have done
    List,
    /// Start a lesson from its beginning
    Start {
        /// The name or the number; the default is the first lesson
        #[arg(value_name = "LESSON")]
        lesson: Option<String>,
        /// The seed of your values, given by a teacher
        #[arg(long, value_name = "SEED", value_parser = NonEmptyStringValueParser::new())]
        seed: Option<String>,
    },
    /// Start the next lesson that is not done
    Next,
    /// Check an exercise by what the kernel reports; the exit status is 0 if it passes, otherwise 1
    Check(CheckArgs),
    /// Answer a question
    Answer {
        /// The name of the question
        #[arg(value_name = "QUESTION")]
        question: String,
        /// The letter of the option
        #[arg(value_name = "LETTER")]
        letter: char,
    },
    /// Print the next hint of an exercise
    Hint {
        /// The exercise: a name or a number such as 2.1; the default is the first that has not passed
        #[arg(value_name = "EXERCISE")]
        exercise: Option<String>,
    },
    /// Print the solution of an exercise, after all hints
    Solution {
        /// The exercise
        #[arg(value_name = "EXERCISE")]
        exercise: Option<String>,
        /// Print it at once
        #[arg(long)]
        yes: bool,
    },
    /// Remove the files and the progress of a lesson, or of all
    Reset {
        /// The lesson
        #[arg(value_name = "LESSON")]
        lesson: Option<String>,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Print what you have done
    Progress {
        #[command(flatten)]
        output: super::output::FormatArgs,
    },
    /// Write the lessons as pages for a browser and for paper; `--instructor` adds the solutions and notes for teachers
    Export(ExportArgs),
    /// Write the skeleton of a new lesson into the pack of --pack, or of this directory, for authors
    New(NewArgs),
    /// Read all lessons and print every mistake with its file and line, for authors
    Lint,
    /// Try exercises, for authors: untouched they fail, solved they pass, and each wrong answer gets its own message
    Test(TestArgs),
    /// A lesson to start
    #[command(external_subcommand)]
    Lesson(Vec<OsString>),
}

impl LessonArgs {
    /// How many words stand in place of an action: the name of a lesson, and what follows it.
    pub(super) fn words(&self) -> usize {
        match &self.action {
            Some(LessonAction::Lesson(words)) => words.len(),
            _ => 0,
        }
    }
}

/// The flag of what waits for scripts.
#[derive(Debug, Args)]
#[group(skip)]
struct PaceArgs {
    /// Multiply the times that scripts may take, for a slow machine; the default is measured
    #[arg(long, value_name = "FACTOR", value_parser = factor)]
    time_scale: Option<f64>,
}

impl PaceArgs {
    fn pace(&self) -> Pace {
        Pace::new(self.time_scale)
    }
}

/// A factor of times: a number from 0.1 to 1000.
fn factor(text: &str) -> std::result::Result<f64, String> {
    let number = text.parse().ok().filter(|number| (0.1..=1000.0).contains(number));
    number.ok_or_else(|| crate::text::text("lesson.time.factor"))
}

/// What every action needs.
struct Course {
    pack: Pack,
    learner: Learner,
    /// The code of the language of the texts.
    language: &'static str,
    /// The language of `--lang`.
    chosen: Option<Language>,
    is_plain: bool,
}

/// Performs the action. `chosen` is the language of `--lang`.
pub(super) fn run(color: Color, chosen: Option<Language>, args: &LessonArgs) -> Result<u8> {
    perform(color, chosen, args).map_err(|error| {
        let todo = error.todo.iter().cloned().map(advised).collect();
        Error { todo, ..error }
    })
}

fn perform(color: Color, chosen: Option<Language>, args: &LessonArgs) -> Result<u8> {
    decide(if args.plain { Color::Never } else { color }, Stream::Out);
    let root = args.pack.as_deref();
    if let Some(
        action
        @ (LessonAction::New(_) | LessonAction::Lint | LessonAction::Test(_) | LessonAction::Export(_)),
    ) = &args.action
        && args.explain
    {
        explain::print(&explain::without_learner(action, root));
    }
    if let Some(LessonAction::New(new)) = &args.action {
        return author::create(root, new);
    }
    if let Some(LessonAction::Lint) = &args.action {
        return Ok(author::lint(&Pack::linted(root)?, root));
    }
    keep_places(root, args.dir.as_deref());
    let pack = Pack::in_directory_or_shipped(root)?;
    match &args.action {
        Some(LessonAction::Test(test)) => return author::test(&pack, test),
        Some(LessonAction::Export(export)) => return export::run(&pack, Language::current().code(), export),
        _ => {}
    }
    let seed = match &args.action {
        Some(LessonAction::Start { seed, .. }) => seed.as_deref(),
        _ => None,
    };
    let learner = Learner::open(progress::directory(args.dir.as_deref())?, seed)?;
    let language = Language::current().code();
    let mut course = Course { pack, learner, language, chosen, is_plain: args.plain };
    if args.explain {
        explain::print(&course.steps(args.action.as_ref(), root)?);
    }
    match &args.action {
        None => course.resume(),
        Some(LessonAction::Start { lesson, .. }) => course.start(lesson.as_deref()),
        Some(LessonAction::Lesson(words)) => course.start_named(words),
        Some(LessonAction::Next) => course.next(),
        Some(LessonAction::List) => {
            course.list();
            Ok(0)
        }
        Some(LessonAction::Check(check)) => course.check(check),
        Some(LessonAction::Answer { question, letter }) => course.answer(question, *letter),
        Some(LessonAction::Hint { exercise }) => course.hint(exercise.as_deref()),
        Some(LessonAction::Solution { exercise, yes }) => course.solution(exercise.as_deref(), *yes),
        Some(LessonAction::Reset { lesson, yes }) => course.reset(lesson.as_deref(), *yes),
        Some(LessonAction::Progress { output }) => {
            course.print_progress(output.is_json());
            Ok(0)
        }
        Some(LessonAction::Lint | LessonAction::Test(_) | LessonAction::Export(_) | LessonAction::New(_)) => {
            Ok(0)
        }
    }
}

/// The lesson of this name or number. `advice` is the command for the nearest name.
fn lesson_named<'a>(pack: &'a Pack, name: &str, advice: fn(&str) -> String) -> Result<&'a Lesson> {
    pack.lesson(name).ok_or_else(|| {
        let near = nearest(name, pack.lessons.iter().map(|lesson| lesson.name.as_str()));
        let error = Error::usage(text_with("lesson.unknown", &[("name", name)]));
        error.paste(near.map_or_else(|| "sandbox lesson list".to_owned(), advice))
    })
}

/// Whether a person is at the terminal: then there are pages and questions.
fn is_interactive() -> bool {
    std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
}

/// Asks a question on the terminal. None at the end of the input, and after Ctrl-C. A check blocks signals, so they are
/// read here.
fn ask(prompt: &str) -> Option<String> {
    render::out(&format!("{} ", prompt.trim_end()));
    let signals = Signals::block().ok()?;
    let input = std::io::stdin();
    loop {
        let mut ready =
            [PollFd::new(input.as_fd(), PollFlags::POLLIN), PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return None,
        }
        if signals.next_end().is_some() {
            render::out("\n");
            return None;
        }
        if ready[0].any() == Some(true) {
            break;
        }
    }
    let mut line = String::new();
    match std::io::stdin().read_line(&mut line) {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(line.trim().to_lowercase()),
    }
}

impl Course {
    /// The lesson of this pack that was read last.
    fn current(&self) -> Option<&Lesson> {
        self.pack.lesson_of(self.learner.progress.current.as_deref()?)
    }

    /// How texts are shown where everything works.
    fn view(&self) -> LessonView<'static> {
        let look = Look { width: paint::width().min(80), is_plain: self.is_plain };
        LessonView { look, is_root: nix::unistd::geteuid().is_root(), works: true, lacking: &[] }
    }

    fn list(&self) {
        let state = |lesson: &Lesson| {
            let passed =
                lesson.data.exercises.keys().filter(|name| self.learner.has_passed(lesson, name)).count();
            let of = lesson.data.exercises.len();
            match self.learner.has_done(lesson) {
                true => text("lesson.state.done"),
                false => format!("{passed}/{of}"),
            }
        };
        let needs = |lesson: &Lesson| self.open_needs(lesson);
        let list = text_of::list(&self.pack, self.language, self.is_plain, state, needs);
        // The examples are lessons of this pack.
        let needed = self.pack.lessons.iter().find_map(|lesson| needs(lesson).into_iter().next());
        let legend =
            needed.map(|needed| crate::text::text_with("lesson.list.legend", &[("name", needed.as_str())]));
        let one = self.pack.lessons.get(1).or(self.pack.lessons.first());
        let one = one.map_or("", |lesson| lesson.name.as_str());
        let lines: Vec<String> = list
            .lines()
            .map(str::to_owned)
            .chain([String::new()])
            .chain(legend)
            .chain([text_with("lesson.list.next", &[("name", one)])])
            .collect();
        match is_interactive() && !paint::fits_terminal(lines.len()) {
            true => drop(reader::turn_pages(&lines, false)),
            false => exercises::print(&lines),
        }
    }

    /// The lessons that this one builds on, and that are not done.
    fn open_needs(&self, lesson: &Lesson) -> Vec<String> {
        let needs = lesson.text(self.language).front.needs.iter();
        let is_open =
            |name: &&String| self.pack.lesson(name).is_some_and(|needed| !self.learner.has_done(needed));
        needs.filter(is_open).cloned().collect()
    }

    fn print_progress(&self, is_json: bool) {
        if is_json {
            return render::print_json(Stream::Out, &self.learner.progress);
        }
        let mut lines = String::new();
        for lesson in &self.pack.lessons {
            let (seen, text) = (self.learner.seen(lesson), lesson.text(self.language));
            if seen == Default::default() {
                continue;
            }
            lines.push_str(&format!("{}. {}\n", lesson.number, text.front.title));
            for quiz in text.quizzes() {
                let right = lesson.data.questions.get(&quiz.name);
                if let Some(given) = seen.answers.get(&quiz.name) {
                    let key = if Some(given) == right { "lesson.state.right" } else { "lesson.state.wrong" };
                    lines.push_str(&format!("   {}: {} {given}\n", quiz.name, crate::text::text(key)));
                }
            }
            for exercise in text.exercises() {
                let done = seen.exercises.get(&exercise.name).cloned().unwrap_or_default();
                let values = [("tries", &*done.tries.to_string()), ("hints", &done.hints.to_string())];
                lines.push_str(&format!(
                    "   {} {}: {}{}\n",
                    lesson.number_of(&exercise.name),
                    exercise.name,
                    text_of::state(done.passed.is_some()),
                    if done.tries > 0 { text_with("lesson.state.tries", &values) } else { String::new() },
                ));
            }
        }
        if lines.is_empty() {
            lines = text("lesson.progress.none") + "\n";
        }
        render::out(&lines);
    }

    fn reset(&mut self, name: Option<&str>, yes: bool) -> Result<u8> {
        let directory = printed(&self.learner.directory);
        let lessons = match name {
            Some(name) => {
                vec![lesson_named(&self.pack, name, |near| format!("sandbox lesson reset {near}"))?.clone()]
            }
            None => self.pack.lessons.clone(),
        };
        if !yes {
            if !is_interactive() {
                let again = match name {
                    Some(name) => format!("sandbox lesson reset {} --yes", quote(name)),
                    None => "sandbox lesson reset --yes".to_owned(),
                };
                return Err(Error::usage(text("lesson.reset.ask")).paste(again));
            }
            let what = name.unwrap_or(&directory);
            let answer = ask(&text_with("lesson.reset.question", &[("what", what)]));
            if !answer.is_some_and(|answer| answer.starts_with('y')) {
                return Ok(1);
            }
        }
        let mut is_something = false;
        for lesson in lessons {
            let is_there = self.learner.progress.lessons.contains_key(&lesson.key());
            let work = self.learner.work(&lesson);
            if !is_there && !work.exists() {
                continue;
            }
            is_something = true;
            let key = match self.learner.reset(&lesson)? {
                true => "lesson.reset.done",
                false => "lesson.reset.kept",
            };
            render::out(&(text_with(key, &[("name", &lesson.name), ("path", &printed(&work))]) + "\n"));
        }
        if !is_something {
            render::out(&(text("lesson.reset.nothing") + "\n"));
        }
        let pack = &self.pack;
        match self.learner.progress.lessons.keys().all(|key| pack.has_key(key)) {
            true if name.is_none() => self.learner.forget()?,
            // The progress in other packs stays.
            _ if name.is_none() => {
                self.learner.change(|progress| progress.lessons.retain(|key, _| !pack.has_key(key)))?;
            }
            _ => {}
        }
        Ok(0)
    }
}
