//! An exercise on the page of a lesson. Learners get the task, their files and the command that checks it. Teachers also get
//! the hints, the solution, and each message.

use std::collections::BTreeSet;
use std::path::Path;

use super::markdown::block;
use super::{Writer, facts, message};
use crate::render::svg::escape;
use crate::teach::course::check::Attempt;
use crate::teach::course::data::{Exercise, ExerciseKind, Privilege, SUBJECT};
use crate::teach::course::pace::Pace;
use crate::teach::course::pack::Lesson;
use crate::teach::course::seed::{StudentValues, fill, values};
use crate::teach::course::text::ExerciseText;
use crate::text::{text, text_with};

impl Writer<'_> {
    /// The exercise.
    pub(super) fn exercise(&mut self, lesson: &Lesson, exercise: &ExerciseText) -> String {
        // A pack without this data is refused when it is read.
        let Some(data) = lesson.data.exercises.get(&exercise.name) else { return String::new() };
        let values = values(self.edition.seed(), lesson, &exercise.name, data);
        let number = lesson.number_of(&exercise.name);
        let mut out = self.html(&fill(&exercise.task.markdown, &values));
        out.push_str(&facts(&about(data, &number)));
        let attempt = Attempt {
            lesson,
            name: &exercise.name,
            exercise: data,
            values: &values,
            directory: Path::new(""),
            answer: None,
            pace: Pace::default(),
        };
        for (name, content) in attempt.files(true) {
            out.push_str(&file(name, &content));
        }
        let named = [("number", number.as_str())];
        let check = match data.kind {
            ExerciseKind::Predict => text_with("lesson.page.exercise.predict", &named),
            _ => text_with("lesson.page.exercise.check", &named),
        };
        out.push_str(&self.html(&check));
        if !values.is_empty() && self.edition.seed.is_none() {
            let list = values.iter().map(|(name, value)| format!("{name} = {value}"));
            let list = [("values", &*list.collect::<Vec<_>>().join(", "))];
            out.push_str(&format!(
                "<p class=\"note\">{}</p>\n",
                escape(&text_with("lesson.page.exercise.values", &list))
            ));
        }
        if self.edition.is_instructor {
            out.push_str("<div class=\"instructor-only\">\n");
            out.push_str(&self.solution(exercise, data, &attempt));
            out.push_str(&self.messages(exercise, data, &attempt));
            out.push_str("</div>\n");
        }
        out
    }

    /// The hints, one solution, and what follows after passing.
    fn solution(&mut self, exercise: &ExerciseText, data: &Exercise, attempt: &Attempt<'_>) -> String {
        let values = attempt.values;
        let mut out = self.heading(3, "lesson.page.hints");
        out.push_str("<ol>\n");
        for hint in &exercise.hints {
            out.push_str(&format!("<li>{}</li>\n", self.html(&fill(&hint.markdown, values))));
        }
        out.push_str("</ol>\n");
        out.push_str(&self.heading(3, "lesson.page.solution"));
        out.push_str(&block("sh", &fill(&data.solution, values)));
        for (name, content) in attempt.material_of(&data.solution) {
            out.push_str(&file(name, &content));
        }
        if let Some(measure) = &data.measure {
            out.push_str(&self.heading(3, "lesson.page.measure"));
            out.push_str(&block("sh", &fill(measure, values)));
            for (name, content) in attempt.material_of(measure) {
                out.push_str(&file(name, &content));
            }
        }
        out.push_str(&self.heading(3, "lesson.page.passed"));
        out.push_str(&self.html(&fill(&exercise.passed.markdown, values)));
        out
    }

    /// The well-known wrong answers with their messages, and the messages of the other checks.
    fn messages(&mut self, exercise: &ExerciseText, data: &Exercise, attempt: &Attempt<'_>) -> String {
        let values = attempt.values;
        let mut out = self.heading(3, "lesson.page.wrong");
        out.push_str(&format!("<p>{}</p>\n", message("lesson.page.wrong.braces")));
        let mut shown = BTreeSet::new();
        for (name, wrong) in &data.wrong {
            shown.insert(wrong.fails.as_str());
            out.push_str(&format!("<h4>{}</h4>\n", escape(name)));
            if let Some(answer) = &wrong.answer {
                let answer = [("answer", &*fill(answer, values))];
                out.push_str(&format!(
                    "<p>{}</p>\n",
                    escape(&text_with("lesson.page.wrong.answer", &answer))
                ));
            }
            for script in wrong.run.iter().chain(&wrong.answer_run) {
                out.push_str(&block("sh", &fill(script, values)));
                // A file of the solution is shown there.
                for (name, content) in attempt.material_of(script) {
                    if !data.solution.contains(name) {
                        out.push_str(&file(name, &content));
                    }
                }
            }
            out.push_str(&self.quote(&message_of(&wrong.fails, exercise, data, values)));
        }
        self.level = 3;
        let others: Vec<_> =
            exercise.fails.iter().filter(|(name, _)| !shown.contains(name.as_str())).collect();
        if !others.is_empty() {
            out.push_str(&self.heading(3, "lesson.page.messages"));
            for (name, passage) in others {
                out.push_str(&format!("<h4>{}</h4>\n", escape(name)));
                out.push_str(&self.quote(&fill(&passage.markdown, values)));
            }
        }
        self.level = 3;
        out
    }

    fn quote(&mut self, markdown: &str) -> String {
        format!("<blockquote>\n{}</blockquote>\n", self.html(markdown))
    }
}

/// The message with this name: that of a check, or the one about a subject that does not run.
fn message_of(name: &str, exercise: &ExerciseText, data: &Exercise, values: &StudentValues) -> String {
    if let Some(passage) = exercise.fails.get(name) {
        return fill(&passage.markdown, values);
    }
    match &data.subject {
        Some(subject) if name == SUBJECT => {
            let command = fill(&subject.process.join(" "), values);
            text_with("lesson.subject.none", &[("command", &command)])
        }
        _ => text("lesson.answer.none"),
    }
}

/// What is known about an exercise before it is done.
fn about(data: &Exercise, number: &str) -> Vec<String> {
    let kind = match data.kind {
        ExerciseKind::Make => text("lesson.page.kind.make"),
        ExerciseKind::Program => text("lesson.page.kind.program"),
        ExerciseKind::Repair => text("lesson.page.kind.repair"),
        ExerciseKind::Predict => text("lesson.page.kind.predict"),
    };
    let mut about = vec![
        text_with("lesson.page.exercise.number", &[("number", number)]),
        kind,
        text_with("lesson.page.exercise.weight", &[("weight", &data.weight.to_string())]),
    ];
    if data.privilege == Privilege::Root {
        about.push(text("lesson.page.exercise.root"));
    }
    if !data.features.is_empty() {
        let names: Vec<&str> = data.features.iter().map(|feature| feature.name()).collect();
        about.push(text_with("lesson.page.features", &[("features", &names.join(", "))]));
    }
    if !data.programs.is_empty() {
        about.push(text_with("lesson.page.programs", &[("programs", &data.programs.join(", "))]));
    }
    about.iter().map(|fact| escape(fact)).collect()
}

/// A file, with its name above it.
fn file(name: &str, content: &[u8]) -> String {
    let content = match std::str::from_utf8(content) {
        Ok(content) => block("text", content),
        Err(_) => format!("<p>{}</p>\n", message("lesson.page.binary")),
    };
    format!(
        "<figure class=\"file\">\n<figcaption><code>{}</code></figcaption>\n{content}</figure>\n",
        escape(name)
    )
}
