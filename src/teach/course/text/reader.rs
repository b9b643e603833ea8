//! Reads the text of a lesson.

use super::{ExerciseText, FrontMatter, LessonText, Passage, Prose, Quiz, Section};
use crate::config::spec::yaml;
use crate::error::Mistake;
use crate::text::{text, text_with};
use crate::value::nearest::nearest;

/// A marker: a comment on a line of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Marker {
    word: String,
    name: String,
    line: usize,
}

/// The markers with a name, and those without, apart from those of [`Prose`].
const NAMED: [&str; 4] = ["question", "exercise", "reply", "fails"];
const UNNAMED: [&str; 4] = ["answer", "hint", "passed", TEACHER];

/// The marker of what a teacher should know. It is no section: learners do not see it.
pub(super) const TEACHER: &str = "teacher";

/// Reads the text of a lesson. `file` is its name in the mistakes.
///
/// # Errors
/// All mistakes that can be seen in the text alone.
pub fn read(content: &str, file: &str) -> Result<LessonText, Vec<Mistake>> {
    let reader = Reader { content, file, mistakes: Vec::new() };
    reader.read()
}

/// A mistake at a line of a file.
pub(in crate::teach::course) fn mistake(content: &str, file: &str, line: usize, what: String) -> Mistake {
    let source = content.lines().nth(line.saturating_sub(1)).unwrap_or_default().to_owned();
    let column = 1 + source.len() - source.trim_start().len();
    let length = source.trim().chars().count().max(1);
    Mistake { file: file.into(), line: line.max(1), column, length, source, what, near: None }
}

struct Reader<'a> {
    content: &'a str,
    file: &'a str,
    mistakes: Vec<Mistake>,
}

impl Reader<'_> {
    fn wrong(&mut self, line: usize, what: String) {
        self.mistakes.push(mistake(self.content, self.file, line, what));
    }

    fn read(mut self) -> Result<LessonText, Vec<Mistake>> {
        let Some((front, length)) = front_matter(self.content) else {
            return Err(vec![mistake(self.content, self.file, 1, text("lesson.lint.front"))]);
        };
        let front = yaml::read_document::<FrontMatter>(&front, self.file);
        let mut sections: Vec<Section> = Vec::new();
        let mut teacher: Option<Passage> = None;
        let mut is_code = false;
        // The passage that the lines belong to: the last one of the last section.
        let mut current: Option<Marker> = None;
        for (index, line) in self.content.lines().enumerate().skip(length) {
            let number = index + 1;
            if line.trim_start().starts_with("```") {
                is_code = !is_code;
            }
            let marker = if is_code { None } else { marker_of(line, number) };
            match marker {
                Some(marker) => {
                    if marker.word == TEACHER && marker.name.is_empty() {
                        teacher.get_or_insert_default();
                    } else {
                        self.open(&mut sections, &marker);
                    }
                    current = Some(marker);
                }
                None => match &current {
                    Some(marker) if marker.word == TEACHER => {
                        if let Some(passage) = &mut teacher {
                            passage.push(line, number);
                        }
                    }
                    Some(marker) => put(&mut sections, marker, line, number),
                    None if line.trim().is_empty() => {}
                    None => {
                        self.wrong(number, text("lesson.lint.before"));
                        break;
                    }
                },
            }
        }
        if is_code {
            self.wrong(self.content.lines().count(), text("lesson.lint.fence"));
        }
        sections.iter_mut().for_each(trim);
        teacher.iter_mut().for_each(Passage::trim);
        match front {
            Ok(front) if self.mistakes.is_empty() => Ok(LessonText { front, sections, teacher }),
            Ok(_) => Err(self.mistakes),
            Err(mut mistakes) => {
                mistakes.extend(self.mistakes);
                Err(mistakes)
            }
        }
    }

    /// Adds the section or the passage that a marker begins.
    fn open(&mut self, sections: &mut Vec<Section>, marker: &Marker) {
        let Marker { word, name, line } = marker;
        if NAMED.contains(&word.as_str()) == name.is_empty() {
            let key = if name.is_empty() { "lesson.lint.noname" } else { "lesson.lint.name" };
            return self.wrong(*line, text_with(key, &[("marker", word)]));
        }
        if let Some((_, kind)) = Prose::ALL.iter().find(|(known, _)| known == word) {
            return sections.push(Section::Prose(*kind, Passage::default()));
        }
        match (word.as_str(), sections.last_mut()) {
            ("question", _) => {
                sections.push(Section::Quiz(Quiz { name: name.clone(), line: *line, ..Quiz::default() }));
            }
            ("exercise", _) => {
                let exercise = ExerciseText { name: name.clone(), line: *line, ..ExerciseText::default() };
                sections.push(Section::Exercise(exercise));
            }
            ("answer", Some(Section::Quiz(_))) | ("passed", Some(Section::Exercise(_))) => {}
            ("reply", Some(Section::Quiz(quiz))) => match letter(name) {
                Some(letter) => drop(quiz.replies.insert(letter, Passage::default())),
                None => self.wrong(*line, text("lesson.lint.letter")),
            },
            ("hint", Some(Section::Exercise(exercise))) => exercise.hints.push(Passage::default()),
            ("fails", Some(Section::Exercise(exercise))) => {
                if exercise.fails.insert(name.clone(), Passage::default()).is_some() {
                    self.wrong(
                        *line,
                        text_with("lesson.lint.twice", &[("marker", &format!("{word} {name}"))]),
                    );
                }
            }
            ("answer" | "reply", _) => self.wrong(*line, text("lesson.lint.noquestion")),
            ("hint" | "fails" | "passed", _) => self.wrong(*line, text("lesson.lint.noexercise")),
            _ => {
                let known = || Prose::ALL.iter().map(|(name, _)| *name).chain(NAMED).chain(UNNAMED);
                let mut mistake = mistake(
                    self.content,
                    self.file,
                    *line,
                    text_with(
                        "lesson.lint.marker",
                        &[("marker", word), ("all", &known().collect::<Vec<_>>().join(", "))],
                    ),
                );
                mistake.near = nearest(word, known()).map(str::to_owned);
                self.mistakes.push(mistake);
            }
        }
    }
}

/// The front matter, with an empty line in place of the first `---`, so that its lines keep their numbers; and how many
/// lines it has with both `---`.
fn front_matter(content: &str) -> Option<(String, usize)> {
    let rest = content.strip_prefix("---\n")?;
    let (front, _) = rest.split_once("\n---\n")?;
    Some((format!("\n{front}\n"), front.lines().count() + 2))
}

/// The marker on a line, if the line is a comment.
fn marker_of(line: &str, number: usize) -> Option<Marker> {
    let inner = line.trim().strip_prefix("<!--")?.strip_suffix("-->")?;
    let (word, name) = inner.trim().split_once(' ').unwrap_or((inner.trim(), ""));
    Some(Marker { word: word.to_owned(), name: name.trim().to_owned(), line: number })
}

fn letter(name: &str) -> Option<char> {
    let mut characters = name.chars();
    characters.next().filter(|letter| letter.is_ascii_lowercase() && characters.next().is_none())
}

/// Adds a line to the passage of a marker.
fn put(sections: &mut [Section], marker: &Marker, line: &str, number: usize) {
    let Some(section) = sections.last_mut() else { return };
    match (section, marker.word.as_str()) {
        (Section::Prose(_, passage), _) => passage.push(line, number),
        (Section::Quiz(quiz), "question") => match option(line) {
            Some(option) => quiz.options.push(option),
            // An option can have more than one line.
            None => match quiz.options.last_mut() {
                Some((_, text)) if line.starts_with(' ') => {
                    text.push(' ');
                    text.push_str(line.trim());
                }
                _ => quiz.prompt.push(line, number),
            },
        },
        (Section::Quiz(quiz), "answer") => quiz.answer.push(line, number),
        (Section::Quiz(quiz), _) => {
            if let Some(reply) = letter(&marker.name).and_then(|letter| quiz.replies.get_mut(&letter)) {
                reply.push(line, number);
            }
        }
        (Section::Exercise(exercise), "exercise") => exercise.task.push(line, number),
        (Section::Exercise(exercise), "hint") => {
            if let Some(hint) = exercise.hints.last_mut() {
                hint.push(line, number);
            }
        }
        (Section::Exercise(exercise), "passed") => exercise.passed.push(line, number),
        (Section::Exercise(exercise), _) => {
            if let Some(passage) = exercise.fails.get_mut(&marker.name) {
                passage.push(line, number);
            }
        }
    }
}

/// An option of a question: `- a) text`.
fn option(line: &str) -> Option<(char, String)> {
    let (name, text) = line.strip_prefix("- ")?.split_once(')')?;
    Some((letter(name.trim())?, text.trim().to_owned()))
}

/// Removes the blank lines at the end of each passage.
fn trim(section: &mut Section) {
    match section {
        Section::Prose(_, passage) => passage.trim(),
        Section::Quiz(quiz) => {
            let parts = [&mut quiz.prompt, &mut quiz.answer].into_iter();
            parts.chain(quiz.replies.values_mut()).for_each(Passage::trim);
        }
        Section::Exercise(exercise) => {
            let parts = [&mut exercise.task, &mut exercise.passed].into_iter();
            parts.chain(&mut exercise.hints).chain(exercise.fails.values_mut()).for_each(Passage::trim);
        }
    }
}
