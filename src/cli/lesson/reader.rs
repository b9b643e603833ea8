//! Reads a lesson with the learner: on a terminal page by page, with its questions asked before the evidence; in a pipe
//! all at once.

use std::ffi::OsString;
use std::io::IsTerminal;

use super::exercises::print;
use super::{Course, ask, is_interactive, lesson_named};
use crate::cli::paging::{between_paragraphs, pages};
use crate::error::{Error, Result};
use crate::render::lesson::{self as text_of, LessonView};
use crate::render::{self, paint};
use crate::teach::course::advice::{text, text_with};
use crate::teach::course::data::ExerciseKind;
use crate::teach::course::here::{Here, reasons};
use crate::teach::course::pace::Pace;
use crate::teach::course::pack::Lesson;
use crate::teach::course::seed;
use crate::teach::course::text::{Quiz, Section};
use crate::text::{Language, printed};
use crate::value::nearest::nearest;

/// The maximum height of a page, with the line that asks for a key.
const HEIGHT: usize = 24;

/// The words that learners type after `lesson`, for a word that is nearly one of them.
const ACTIONS: [&str; 9] =
    ["list", "start", "next", "check", "answer", "hint", "solution", "reset", "progress"];

/// What the learner typed after a page.
pub(super) enum PageTurn {
    Next,
    Back,
    Quit,
    Other(String),
}

impl Course {
    /// Continues where the learner stopped.
    pub(super) fn resume(&mut self) -> Result<u8> {
        match self.current().cloned() {
            Some(lesson) if self.learner.seen(&lesson).is_read && self.learner.has_done(&lesson) => {
                self.next()
            }
            Some(lesson) => {
                let seen = self.learner.seen(&lesson);
                let from = if seen.is_read { self.first_open(&lesson) } else { seen.section };
                self.read(&lesson, from)
            }
            None => self.start(None),
        }
    }

    /// The section of the first exercise that has not passed.
    fn first_open(&self, lesson: &Lesson) -> usize {
        let mut sections = lesson.text(self.language).sections.iter();
        let is_open = |section: &Section| match section {
            Section::Exercise(exercise) => !self.learner.has_passed(lesson, &exercise.name),
            _ => false,
        };
        sections.position(is_open).unwrap_or(0)
    }

    /// Starts a lesson from its beginning.
    pub(super) fn start(&mut self, name: Option<&str>) -> Result<u8> {
        let lesson = match name {
            Some(name) => {
                lesson_named(&self.pack, name, |near| format!("sandbox lesson start {near}"))?.clone()
            }
            None => {
                let first = self.pack.lessons.first().cloned();
                first.ok_or_else(|| Error::failed(text("lesson.nolessons")))?
            }
        };
        self.read(&lesson, 0)
    }

    /// Starts a lesson whose name or number was typed in place of an action.
    pub(super) fn start_named(&mut self, words: &[OsString]) -> Result<u8> {
        let word = words.first().map(printed).unwrap_or_default();
        if self.pack.lesson(&word).is_some() && words.len() == 1 {
            return self.start(Some(&word));
        }
        let lessons = self.pack.lessons.iter().map(|lesson| lesson.name.as_str());
        let near = nearest(&word, lessons.chain(ACTIONS));
        let line = match near {
            _ if self.pack.lesson(&word).is_some() => format!("sandbox lesson start {word}"),
            Some(near) => format!("sandbox lesson {near}"),
            None => "sandbox lesson list".to_owned(),
        };
        Err(Error::usage(text_with("lesson.action.unknown", &[("name", &word)])).paste(line))
    }

    /// Starts the next lesson that is not done.
    pub(super) fn next(&mut self) -> Result<u8> {
        let current = self.current();
        let number = current.map_or(0, |lesson| lesson.number);
        let is_open = |lesson: &&Lesson| !self.learner.has_done(lesson);
        let mut later = self.pack.lessons.iter().filter(|lesson| lesson.number > number);
        let next = later.find(is_open).or_else(|| self.pack.lessons.iter().find(is_open)).cloned();
        match next {
            Some(lesson) => self.read(&lesson, 0),
            None => {
                render::out(&(text("lesson.alldone") + "\n"));
                Ok(0)
            }
        }
    }

    /// Records the answer to a question of the current lesson, and explains it.
    pub(super) fn answer(&mut self, question: &str, letter: char) -> Result<u8> {
        let current = self.current();
        let all: Vec<&Lesson> = current.into_iter().chain(&self.pack.lessons).collect();
        let found = all.iter().find_map(|lesson| {
            let quiz = lesson.text(self.language).quizzes().find(|quiz| quiz.name == question)?;
            Some(((*lesson).clone(), quiz.clone()))
        });
        let Some((lesson, quiz)) = found else {
            let names = all.iter().flat_map(|lesson| lesson.text(self.language).quizzes());
            let near = nearest(question, names.map(|quiz| quiz.name.as_str()).collect::<Vec<_>>());
            let error = Error::usage(text_with("lesson.question.unknown", &[("name", question)]));
            return Err(match near {
                Some(near) => error.paste(format!("sandbox lesson answer {near} {letter}")),
                None => error.paste("sandbox lesson list"),
            });
        };
        if !quiz.options.iter().any(|(known, _)| *known == letter) {
            let letters: Vec<String> = quiz.options.iter().map(|(letter, _)| letter.to_string()).collect();
            let values = [("letter", &*letter.to_string()), ("letters", &letters.join(", "))];
            let first = letters.first().map_or("a", String::as_str);
            return Err(Error::usage(text_with("lesson.question.letter", &values))
                .paste(format!("sandbox lesson answer {} {first}", quiz.name)));
        }
        self.record_answer(&lesson, &quiz, letter)?;
        let right = lesson.data.questions.get(&quiz.name).copied().unwrap_or(letter);
        let values = seed::lesson_values(&self.learner.progress.seed, &lesson);
        print(&text_of::answer(&quiz, right, Some(letter), &values, self.view()));
        Ok(0)
    }

    /// The first answer counts: it was given before the evidence.
    fn record_answer(&mut self, lesson: &Lesson, quiz: &Quiz, letter: char) -> Result<()> {
        self.learner.change(|progress| {
            progress.of(lesson).answers.entry(quiz.name.clone()).or_insert(letter);
        })
    }

    /// Shows a lesson from a section on.
    fn read(&mut self, lesson: &Lesson, from: usize) -> Result<u8> {
        self.learner.change(|progress| {
            progress.current = Some(lesson.key());
            progress.of(lesson);
        })?;
        self.learner.renew(&self.pack.lessons)?;
        self.learner.prepare(lesson)?;
        let mut tried = Here::look();
        let here = tried.lesson(lesson)?;
        let features = &lesson.text(self.language).front.features;
        let works = !features.iter().any(|feature| here.recorded.contains(feature));
        let view = LessonView { works, lacking: &here.recorded, ..self.view() };
        print(&text_of::title(&self.pack, lesson, self.language, &here, &self.open_needs(lesson), view));
        // The commands that a lesson advises have no --lang.
        if self.chosen.is_some_and(|language| language != Language::of_locale()) {
            print(&[text("lesson.title.language")]);
        }
        match is_interactive() {
            true => self.read_pages(lesson, from, &mut tried, view),
            false => self.read_all(lesson, &mut tried, view),
        }
    }

    fn read_all(&mut self, lesson: &Lesson, here: &mut Here, view: LessonView<'_>) -> Result<u8> {
        let text = lesson.text(self.language).clone();
        let values = seed::lesson_values(&self.learner.progress.seed, lesson);
        for section in &text.sections {
            print(&[String::new()]);
            print(&self.lines(lesson, section, here, view)?);
            if let Section::Quiz(quiz) = section {
                let right = lesson.data.questions.get(&quiz.name).copied().unwrap_or(' ');
                let given = self.learner.seen(lesson).answers.get(&quiz.name).copied();
                // Without an answer, the explanation would follow the question at once.
                match given {
                    None => print(&[text_with("lesson.question.how", &[("name", &quiz.name)])]),
                    given => {
                        print(&[String::new()]);
                        print(&text_of::answer(quiz, right, given, &values, view));
                    }
                }
            }
        }
        Ok(0)
    }

    /// The lines of a section.
    fn lines(
        &self,
        lesson: &Lesson,
        section: &Section,
        here: &mut Here,
        view: LessonView<'_>,
    ) -> Result<Vec<String>> {
        let values = seed::lesson_values(&self.learner.progress.seed, lesson);
        Ok(match section {
            Section::Prose(_, passage) => text_of::passage(passage, &values, view),
            Section::Quiz(quiz) => text_of::question(quiz, &values, view),
            Section::Exercise(exercise) => {
                let chosen = self.known(lesson, exercise)?;
                let obstacle = reasons(&here.obstacles(lesson, &chosen.data)?);
                let directory = printed(self.learner.work(lesson));
                text_of::exercise(
                    &chosen.number,
                    exercise,
                    &chosen.data,
                    obstacle.as_deref(),
                    &directory,
                    &chosen.values,
                    view,
                )
            }
        })
    }

    fn read_pages(
        &mut self,
        lesson: &Lesson,
        from: usize,
        here: &mut Here,
        view: LessonView<'_>,
    ) -> Result<u8> {
        let sections = lesson.text(self.language).sections.clone();
        let mut at = from.min(sections.len().saturating_sub(1));
        while let Some(section) = sections.get(at) {
            self.learner.change(|progress| progress.of(lesson).section = at)?;
            let lines = self.lines(lesson, section, here, view)?;
            match self.read_section(lesson, section, &lines, view)? {
                PageTurn::Back => at = at.saturating_sub(1),
                PageTurn::Quit => {
                    render::out(&(text("lesson.stopped") + "\n"));
                    return Ok(0);
                }
                _ => at += 1,
            }
        }
        self.learner.change(|progress| {
            let of_lesson = progress.of(lesson);
            (of_lesson.is_read, of_lesson.section) = (true, 0);
        })?;
        let key = if self.learner.has_done(lesson) { "lesson.read.done" } else { "lesson.read.open" };
        render::out(&(text_with(key, &[("name", &lesson.name)]) + "\n"));
        Ok(0)
    }

    /// Shows one section, and returns what comes next.
    fn read_section(
        &mut self,
        lesson: &Lesson,
        section: &Section,
        lines: &[String],
        view: LessonView<'_>,
    ) -> Result<PageTurn> {
        match turn_pages(lines, matches!(section, Section::Prose(..))) {
            PageTurn::Next => {}
            turn => return Ok(turn),
        }
        match section {
            Section::Prose(..) => Ok(PageTurn::Next),
            Section::Quiz(quiz) => {
                let letters: Vec<String> =
                    quiz.options.iter().map(|(letter, _)| letter.to_string()).collect();
                loop {
                    let prompt = text_with("lesson.prompt.answer", &[("letters", &letters.join(", "))]);
                    match asked(&prompt) {
                        PageTurn::Other(answer) if letters.contains(&answer) => {
                            let letter = answer.chars().next().unwrap_or(' ');
                            self.record_answer(lesson, quiz, letter)?;
                            let right = lesson.data.questions.get(&quiz.name).copied().unwrap_or(letter);
                            let values = seed::lesson_values(&self.learner.progress.seed, lesson);
                            let lines = text_of::answer(quiz, right, Some(letter), &values, view);
                            return Ok(turn_pages(&lines, true));
                        }
                        // `b` can be the letter of an option. Without an answer, the lesson does not go on.
                        PageTurn::Back if letters.contains(&"b".to_owned()) => {
                            self.record_answer(lesson, quiz, 'b')?;
                            let right = lesson.data.questions.get(&quiz.name).copied().unwrap_or('b');
                            let values = seed::lesson_values(&self.learner.progress.seed, lesson);
                            return Ok(turn_pages(
                                &text_of::answer(quiz, right, Some('b'), &values, view),
                                true,
                            ));
                        }
                        turn @ (PageTurn::Quit | PageTurn::Back) => return Ok(turn),
                        _ => {
                            let values = [("letters", &*letters.join(", "))];
                            print(&[text_with("lesson.prompt.letters", &values)]);
                        }
                    }
                }
            }
            Section::Exercise(exercise) => {
                let chosen = self.known(lesson, exercise)?;
                let is_prediction = chosen.data.kind == ExerciseKind::Predict;
                let prompt = if is_prediction { "lesson.prompt.predict" } else { "lesson.prompt.exercise" };
                loop {
                    match asked(&text(prompt)) {
                        PageTurn::Other(word) if word == "c" => {
                            self.check_once(&chosen, None, Pace::new(None))?;
                        }
                        PageTurn::Other(word) if word == "h" => self.print_hint(&chosen)?,
                        PageTurn::Other(answer) if is_prediction && is_number(&answer) => {
                            self.check_once(&chosen, Some(&answer), Pace::new(None))?;
                        }
                        PageTurn::Other(_) => print(&[text("lesson.prompt.keys")]),
                        turn => return Ok(turn),
                    }
                }
            }
        }
    }
}

/// Prints lines page by page. The last page is followed by a prompt only if `asks_at_end`.
pub(super) fn turn_pages(lines: &[String], asks_at_end: bool) -> PageTurn {
    // Between two paragraphs there is an empty line, but none in a block of code.
    let pages = pages(lines, height(), paint::width(), between_paragraphs);
    let mut at = 0;
    while let Some(page) = pages.get(at) {
        print(&[String::new()]);
        print(page);
        if at + 1 == pages.len() && !asks_at_end {
            return PageTurn::Next;
        }
        match asked(&text("lesson.prompt")) {
            PageTurn::Back if at > 0 => at -= 1,
            turn @ (PageTurn::Back | PageTurn::Quit) => return turn,
            _ => at += 1,
        }
    }
    PageTurn::Next
}

/// Whether this is one number or several: an answer to a prediction, and no key.
fn is_number(answer: &str) -> bool {
    answer.split_whitespace().all(|word| word.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Asks, and reads a line.
fn asked(prompt: &str) -> PageTurn {
    match ask(&paint::faint(prompt).to_string()).as_deref() {
        None | Some("q") => PageTurn::Quit,
        Some("") => PageTurn::Next,
        Some("b") => PageTurn::Back,
        Some(other) => PageTurn::Other(other.to_owned()),
    }
}

/// The height of a page without its prompt and the empty line before it.
fn height() -> usize {
    let rows = match std::io::stdout().is_terminal() {
        true => {
            rustix::termios::tcgetwinsize(std::io::stdout()).map_or(HEIGHT, |size| usize::from(size.ws_row))
        }
        false => HEIGHT,
    };
    let rows = if rows == 0 { HEIGHT } else { rows };
    rows.clamp(8, HEIGHT) - 3
}
