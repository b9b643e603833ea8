//! What a lesson must have. The mistakes have the file and the line, for authors.

use unicode_width::UnicodeWidthStr;

use super::data::{CHECKER, Exercise, ExerciseKind, Predicate, SUBJECT, Sought, ValueSource};
use super::pack::{LANGUAGES, Lesson, Pack, path_of};
use super::picture;
use super::text::{CodeBlock, ExerciseText, LessonText, Passage, Prose, Quiz, Section, mistake};
use crate::error::Mistake;
use crate::feature::Purpose;
use crate::observe::hierarchy::Version;
use crate::text::text_with;

/// The version of the format.
const FORMAT: u32 = 1;

/// The maximum width of a line of a console block, in columns: that of a terminal.
const COLUMNS: usize = 80;

/// The number of hints of an exercise, from vague to nearly the solution.
const HINTS: usize = 3;

/// The values that a message of a failed check can have, apart from those of the student.
pub(super) const SEEN: [&str; 7] = ["pid", "comm", "seen", "count", "expected", "other", "answer"];

/// Adds the mistakes of a pack. `content` returns the text of a file.
pub(super) fn pack(pack: &Pack, content: &dyn Fn(&str) -> String, mistakes: &mut Vec<Mistake>) {
    if pack.head.format != FORMAT {
        mistakes.push(Mistake::whole("pack.yaml", text_with("lesson.lint.format", &[("format", "1")])));
    }
    if !is_name_of_pack(&pack.head.name) {
        let file = content("pack.yaml");
        let what = text_with("lesson.lint.packname", &[("name", &pack.head.name)]);
        mistakes.push(mistake(&file, "pack.yaml", line_of(&file, ["name"].into_iter()), what));
    }
    for part in pack.head.parts.iter().filter(|part| pack.lesson(&part.first).is_none()) {
        let what = text_with("lesson.lint.part", &[("name", &part.first)]);
        mistakes.push(Mistake::whole("pack.yaml", what));
    }
    for lesson in &pack.lessons {
        for language in lesson.texts.keys() {
            let file = path_of(lesson, language);
            let data_file = format!("exercises/{:02}-{}.yaml", lesson.number, lesson.name);
            let mut linter = Linter {
                lesson,
                content: content(&file),
                file,
                data: content(&data_file),
                data_file,
                mistakes: Vec::new(),
                of_data: Vec::new(),
            };
            linter.check(pack, &lesson.texts[language]);
            mistakes.append(&mut linter.mistakes);
            // Each language finds those of the data.
            for what in std::mem::take(&mut linter.of_data) {
                if !mistakes.contains(&what) {
                    mistakes.push(what);
                }
            }
        }
        same_in_all_languages(lesson, content, mistakes);
        for language in LANGUAGES.iter().skip(1).filter(|language| is_in(pack, language)) {
            if !lesson.texts.contains_key(*language) {
                let file = path_of(lesson, language);
                mistakes.push(Mistake::whole(&file, text_with("lesson.lint.missing", &[])));
            }
        }
    }
}

/// Whether a pack is in a language: its title is, or a lesson.
fn is_in(pack: &Pack, language: &str) -> bool {
    pack.head.title.contains_key(language)
        || pack.lessons.iter().any(|lesson| lesson.texts.contains_key(language))
}

/// The mistakes of one lesson in one language.
struct Linter<'a> {
    lesson: &'a Lesson,
    content: String,
    file: String,
    data: String,
    data_file: String,
    mistakes: Vec<Mistake>,
    of_data: Vec<Mistake>,
}

impl Linter<'_> {
    fn wrong(&mut self, line: usize, key: &str, values: &[(&str, &str)]) {
        self.mistakes.push(mistake(&self.content, &self.file, line, text_with(key, values)));
    }

    fn wrong_data(&mut self, key: &str, values: &[(&str, &str)]) {
        let line = line_of(&self.data, values.iter().map(|(_, name)| *name));
        self.of_data.push(mistake(&self.data, &self.data_file, line, text_with(key, values)));
    }

    fn check(&mut self, pack: &Pack, text: &LessonText) {
        let front = &text.front;
        if front.format != FORMAT || self.lesson.data.format != FORMAT {
            self.wrong(2, "lesson.lint.format", &[("format", "1")]);
        }
        if !(1..=3).contains(&front.difficulty) {
            self.wrong(2, "lesson.lint.difficulty", &[]);
        }
        for need in &front.needs {
            if !pack.lessons.iter().any(|known| known.name == *need && known.number < self.lesson.number) {
                self.wrong(2, "lesson.lint.need", &[("name", need)]);
            }
        }
        for (marker, kind) in Prose::ALL {
            if !text
                .sections
                .iter()
                .any(|section| matches!(section, Section::Prose(known, _) if *known == kind))
            {
                self.wrong(1, "lesson.lint.section", &[("marker", marker)]);
            }
        }
        if text.quizzes().next().is_none() {
            self.wrong(1, "lesson.lint.section", &[("marker", "question NAME")]);
        }
        if !(2..=4).contains(&text.exercises().count()) {
            self.wrong(1, "lesson.lint.exercises", &[]);
        }
        for (marker, passage) in text.passages() {
            if passage.markdown.is_empty() {
                self.wrong(passage.line, "lesson.lint.empty", &[("marker", &marker)]);
            }
            passage.blocks().iter().for_each(|block| self.check_block(block));
            self.check_pictures(pack, passage);
        }
        text.quizzes().for_each(|quiz| self.check_quiz(quiz));
        for (name, source) in &self.lesson.data.values {
            self.check_value(&[("value", name)], source);
        }
        for name in self.lesson.data.questions.keys() {
            if !text.quizzes().any(|quiz| quiz.name == *name) {
                self.wrong_data("lesson.lint.nosuch", &[("what", "question"), ("name", name)]);
            }
        }
        for exercise in text.exercises() {
            match self.lesson.data.exercises.get(&exercise.name) {
                Some(data) => {
                    self.check_exercise(exercise, data);
                    self.check_data(&exercise.name, data);
                    self.check_told(exercise, data);
                }
                None => self.wrong(exercise.line, "lesson.lint.nodata", &[("name", &exercise.name)]),
            }
        }
        for name in self.lesson.data.exercises.keys() {
            if !text.exercises().any(|exercise| exercise.name == *name) {
                self.wrong_data("lesson.lint.nosuch", &[("what", "exercise"), ("name", name)]);
            }
        }
    }

    /// The words after the fence of a `console` block.
    fn check_block(&mut self, block: &CodeBlock) {
        let Some((kind, words)) = block.words.split_first() else { return };
        if kind != "console" {
            return;
        }
        for word in words {
            let feature =
                word.strip_prefix("needs=").map(|name| serde_yaml::from_str::<Purpose>(name).is_ok());
            if !feature.unwrap_or(["root", "user", "recorded"].contains(&word.as_str())) {
                self.wrong(block.line, "lesson.lint.word", &[("word", word)]);
            }
        }
        if !block.code.starts_with("$ ") {
            self.wrong(block.line + 1, "lesson.lint.prompt", &[]);
        }
        for (index, line) in block.code.lines().enumerate() {
            let columns = line.width();
            if columns > COLUMNS {
                let count = columns.to_string();
                self.wrong(block.line + 1 + index, "lesson.lint.wide", &[("count", &count)]);
            }
        }
    }

    /// The pictures that a text names.
    fn check_pictures(&mut self, pack: &Pack, passage: &Passage) {
        for named in picture::named_in(&passage.markdown) {
            let (line, values) = (passage.line + named.line, [("path", named.path.as_str())]);
            if named.file().is_none_or(|file| !pack.pictures.contains_key(file)) {
                self.wrong(line, "lesson.lint.picture", &values);
            }
            if named.text.trim().is_empty() || named.caption.trim().is_empty() {
                self.wrong(line, "lesson.lint.picture.text", &values);
            }
            if !named.is_alone {
                self.wrong(line, "lesson.lint.picture.alone", &values);
            }
        }
    }

    fn check_quiz(&mut self, quiz: &Quiz) {
        let name = quiz.name.as_str();
        if quiz.options.len() < 2 {
            self.wrong(quiz.line, "lesson.lint.options", &[("name", name)]);
        }
        let Some(right) = self.lesson.data.questions.get(name) else {
            return self.wrong(quiz.line, "lesson.lint.nodata", &[("name", name)]);
        };
        if !quiz.options.iter().any(|(letter, _)| letter == right) {
            self.wrong(quiz.line, "lesson.lint.nooption", &[("name", name), ("letter", &right.to_string())]);
        }
        for (letter, _) in &quiz.options {
            if letter != right && !quiz.replies.contains_key(letter) {
                self.wrong(
                    quiz.line,
                    "lesson.lint.noreply",
                    &[("name", name), ("letter", &letter.to_string())],
                );
            }
        }
        for letter in quiz.replies.keys() {
            if letter == right || !quiz.options.iter().any(|(known, _)| known == letter) {
                self.wrong(
                    quiz.line,
                    "lesson.lint.reply",
                    &[("name", name), ("letter", &letter.to_string())],
                );
            }
        }
    }

    fn check_exercise(&mut self, exercise: &ExerciseText, data: &Exercise) {
        let name = exercise.name.as_str();
        if exercise.hints.len() != HINTS {
            self.wrong(exercise.line, "lesson.lint.hints", &[("name", name), ("count", &HINTS.to_string())]);
        }
        if exercise.passed.markdown.is_empty() {
            self.wrong(exercise.line, "lesson.lint.nopassed", &[("name", name)]);
        }
        let messages = messages_of(data);
        for message in messages.iter().filter(|message| **message != SUBJECT) {
            if !exercise.fails.contains_key(*message) {
                self.wrong(exercise.line, "lesson.lint.nofails", &[("name", name), ("check", message)]);
            }
        }
        for (check, passage) in &exercise.fails {
            if !messages.contains(&check.as_str()) {
                self.wrong(passage.line, "lesson.lint.fails", &[("name", name), ("check", check)]);
            }
            self.check_values(passage, data, &SEEN);
        }
        let others = [&exercise.task, &exercise.passed].into_iter().chain(&exercise.hints);
        others.for_each(|passage| self.check_values(passage, data, &[]));
    }

    /// Each `{name}` of a passage must be a value.
    fn check_values(&mut self, passage: &Passage, data: &Exercise, more: &[&str]) {
        for name in placeholders(&passage.markdown) {
            let is_known = data.values.contains_key(&name)
                || self.lesson.data.values.contains_key(&name)
                || more.contains(&name.as_str());
            if !is_known {
                self.wrong(passage.line, "lesson.lint.value", &[("name", &name)]);
            }
        }
    }

    /// The source of a value of the student.
    fn check_value(&mut self, names: &[(&str, &str)], source: &ValueSource) {
        let key = match source {
            ValueSource::Number([first, last]) if first > last => "lesson.lint.range",
            ValueSource::Choice(all) if all.is_empty() => "lesson.lint.choice",
            ValueSource::Word(beginning) if !is_plain_word(beginning) => "lesson.lint.plain",
            _ => return,
        };
        self.wrong_data(key, names);
    }

    /// The learner must know each value that a check uses: from the task, or from a file of the exercise.
    fn check_told(&mut self, exercise: &ExerciseText, data: &Exercise) {
        let files =
            data.files.iter().filter_map(|file| self.lesson.files.get(&format!("{}/{file}", exercise.name)));
        let files = files.map(|content| String::from_utf8_lossy(content).into_owned());
        let told: Vec<String> = [exercise.task.markdown.clone()].into_iter().chain(files).collect();
        let told = placeholders(&told.concat());
        // The values are in strings of many types. All of these have Debug.
        let mut used = placeholders(&format!("{:?} {:?} {:?}", data.subject, data.others, data.checks));
        used.sort_unstable();
        used.dedup();
        let is_value =
            |name: &String| data.values.contains_key(name) || self.lesson.data.values.contains_key(name);
        let missing: Vec<String> =
            used.into_iter().filter(|name| is_value(name) && !told.contains(name)).collect();
        for name in missing {
            self.wrong(exercise.line, "lesson.lint.untold", &[("name", &exercise.name), ("value", &name)]);
        }
    }

    fn check_data(&mut self, name: &str, data: &Exercise) {
        let values = [("name", name)];
        for (value, source) in &data.values {
            self.check_value(&[("name", name), ("value", value)], source);
        }
        let is_empty = |sought: &Sought| sought.process.first().is_none_or(String::is_empty);
        if data.subject.iter().chain(data.others.values()).any(is_empty) {
            self.wrong_data("lesson.lint.noargument", &values);
        }
        let is_prediction = data.kind == ExerciseKind::Predict;
        if data.weight == 0 {
            self.wrong_data("lesson.lint.weight", &values);
        }
        let is_whole = match is_prediction {
            true => data.measure.is_some() && data.subject.is_none() && data.checks.is_empty(),
            false => data.measure.is_none() && data.subject.is_some() && !data.checks.is_empty(),
        };
        if !is_whole {
            let key = if is_prediction { "lesson.lint.predict" } else { "lesson.lint.checks" };
            self.wrong_data(key, &values);
        }
        if data.wrong.is_empty() {
            self.wrong_data("lesson.lint.nowrong", &values);
        }
        let messages = messages_of(data);
        for (wrong, answer) in &data.wrong {
            let values = [("name", name), ("wrong", wrong.as_str()), ("check", &answer.fails)];
            if !messages.contains(&answer.fails.as_str()) {
                self.wrong_data("lesson.lint.nocheck", &values);
            }
            let answers = [&answer.answer, &answer.answer_run].into_iter().flatten().count();
            if answer.run.is_some() == is_prediction || answers != usize::from(is_prediction) {
                self.wrong_data("lesson.lint.wrong", &values);
            }
        }
        for file in &data.files {
            if !self.lesson.files.contains_key(&format!("{name}/{file}")) {
                self.wrong_data("lesson.lint.nofile", &[("name", name), ("file", file)]);
            }
            let others = self.lesson.data.exercises.iter().filter(|(other, _)| *other != name);
            if others.clone().any(|(_, other)| other.files.contains(file)) {
                self.wrong_data("lesson.lint.twofiles", &[("name", name), ("file", file)]);
            }
        }
        for check in &data.checks {
            if matches!(check.expect, Predicate::ByVersion(_)) && check.fact.controller().is_none() {
                self.wrong_data("lesson.lint.version", &[("name", name), ("check", &check.name)]);
            }
            let mut processes = vec![&check.of];
            processes.extend(
                [Version::V1, Version::V2]
                    .iter()
                    .filter_map(|version| check.expect.in_version(*version).other()),
            );
            for process in processes {
                if ![SUBJECT, CHECKER].contains(&process.as_str()) && !data.others.contains_key(process) {
                    self.wrong_data("lesson.lint.process", &[("name", name), ("process", process)]);
                }
            }
        }
    }
}

/// Whether the name of a pack can be that of a directory, and can be printed.
fn is_name_of_pack(name: &str) -> bool {
    !name.trim().is_empty() && !name.starts_with('.') && !name.contains(|c: char| c == '/' || c.is_control())
}

/// Whether a text can be in a command line, a hostname and the name of an image as it is.
fn is_plain_word(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    text.as_bytes().first().is_some_and(u8::is_ascii_lowercase) && text.bytes().all(is_plain)
}

/// The line of a file of data, from 1, that these names lead to: that of an exercise, and in it that of its check. A name
/// that is not there is left out.
fn line_of<'a>(data: &str, names: impl Iterator<Item = &'a str>) -> usize {
    let lines: Vec<&str> = data.lines().collect();
    let is_in_word = |character: char| character.is_alphanumeric() || "-_".contains(character);
    let mut found = 0;
    for name in names.filter(|name| !name.is_empty()) {
        let is_key =
            |line: &&str| line.trim_start().strip_prefix(name).is_some_and(|rest| rest.starts_with(':'));
        let has_it = |line: &&str| line.split(|character| !is_in_word(character)).any(|word| word == name);
        let after = &lines[found.min(lines.len())..];
        if let Some(index) = after.iter().position(is_key).or_else(|| after.iter().position(has_it)) {
            found += index;
        }
    }
    found + 1
}

/// The names of the messages of an exercise: of its checks, or of the wrong answers of a prediction; and that of a
/// subject that is not there.
fn messages_of(data: &Exercise) -> Vec<&str> {
    match data.kind {
        ExerciseKind::Predict => {
            let own = data.wrong.values().map(|wrong| wrong.fails.as_str());
            own.chain(["answer"]).collect()
        }
        _ => data.checks.iter().map(|check| check.name.as_str()).chain([SUBJECT]).collect(),
    }
}

/// The names in braces of a text: `{seconds}`. Every passage is searched for them whenever a pack is read, so this is no
/// regular expression, which took most of that time.
pub(super) fn placeholders(text: &str) -> Vec<String> {
    let is_name = |name: &&str| {
        name.starts_with(|first: char| first.is_ascii_lowercase())
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    let in_braces = text.split('{').skip(1).filter_map(|after| Some(after.split_once('}')?.0));
    in_braces.filter(is_name).map(str::to_owned).collect()
}

/// All languages have the same markers in the same order, the same code blocks and the same values. Only what `sandbox`
/// prints in a block may differ, because it prints in the learner's language.
fn same_in_all_languages(lesson: &Lesson, content: &dyn Fn(&str) -> String, mistakes: &mut Vec<Mistake>) {
    let Some(first) = lesson.texts.get(LANGUAGES[0]) else {
        let file = path_of(lesson, LANGUAGES[0]);
        return mistakes.push(Mistake::whole(&file, text_with("lesson.lint.missing", &[])));
    };
    for language in LANGUAGES.iter().skip(1) {
        let Some(text) = lesson.texts.get(*language) else { continue };
        let file = path_of(lesson, language);
        let content = content(&file);
        let mut wrong = |line: usize, key: &str, values: &[(&str, &str)]| {
            mistakes.push(mistake(&content, &file, line, text_with(key, values)));
        };
        let (a, b) = (&first.front, &text.front);
        if (a.minutes, a.difficulty, &a.needs, &a.features, &a.docker)
            != (b.minutes, b.difficulty, &b.needs, &b.features, &b.docker)
        {
            wrong(2, "lesson.lint.same.front", &[]);
        }
        let (ours, theirs) = (text.passages(), first.passages());
        let markers =
            |all: &[(String, &Passage)]| all.iter().map(|(marker, _)| marker.clone()).collect::<Vec<_>>();
        if markers(&ours) != markers(&theirs) {
            let differs = ours.iter().zip(&theirs).find(|(own, other)| own.0 != other.0);
            let (line, expected) = differs.map_or((1, ""), |(own, other)| (own.1.line, other.0.as_str()));
            wrong(line, "lesson.lint.same.markers", &[("marker", expected)]);
            continue;
        }
        for (quiz, other) in text.quizzes().zip(first.quizzes()) {
            let letters = |quiz: &Quiz| quiz.options.iter().map(|(letter, _)| *letter).collect::<Vec<_>>();
            if letters(quiz) != letters(other) {
                wrong(quiz.line, "lesson.lint.same.options", &[]);
            }
        }
        for ((_, own), (_, other)) in ours.iter().zip(&theirs) {
            let blocks = |passage: &Passage| passage.blocks().iter().map(in_any_language).collect::<Vec<_>>();
            if blocks(own) != blocks(other) {
                wrong(own.line, "lesson.lint.same.blocks", &[]);
            }
            let pictures = |passage: &Passage| {
                let named = picture::named_in(&passage.markdown);
                named.into_iter().map(|named| named.path).collect::<Vec<_>>()
            };
            if pictures(own) != pictures(other) {
                wrong(own.line, "lesson.lint.same.pictures", &[]);
            }
            let names = |passage: &Passage| {
                let mut names = placeholders(&passage.markdown);
                names.sort_unstable();
                names.dedup();
                names
            };
            if names(own) != names(other) {
                wrong(own.line, "lesson.lint.same.values", &[]);
            }
        }
    }
}

/// The parts of a block that all languages share: its words, and its code. If a command of it is `sandbox`, that is only
/// the commands.
fn in_any_language(block: &CodeBlock) -> (Vec<String>, Vec<String>) {
    let is_command = |line: &&str| line.starts_with("$ ") || line.starts_with("> ");
    let prints_sentences = block.words.first().is_some_and(|word| word == "console") && block.calls_sandbox();
    let lines = block.code.lines().filter(|line| !prints_sentences || is_command(line));
    (block.words.clone(), lines.map(str::to_owned).collect())
}
