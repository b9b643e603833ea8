//! The page of a lesson.

use super::schedule::{clock, schedule};
use super::{COURSE, Edition, Writer, facts, file_name, message, tag};
use crate::render::svg::escape;
use crate::teach::course::pack::Lesson;
use crate::teach::course::seed::{StudentValues, fill, lesson_values};
use crate::teach::course::text::{Prose, Quiz, Section};
use crate::text::{text, text_with};

/// The document.
pub(super) fn page(edition: &Edition<'_>, lesson: &Lesson) -> String {
    let text = lesson.text(edition.language);
    let mut writer = Writer::new(edition);
    let title = escape(&text.front.title);
    let mut body = format!("<header>\n{}<h1>{title}</h1>\n", navigation(edition, lesson));
    body.push_str(&facts(&about(edition, lesson)));
    if edition.is_instructor {
        body.push_str(&format!("<p class=\"edition\">{}</p>\n", message("lesson.page.instructor")));
    }
    body.push_str(&writer.html(&start(edition, lesson)).replacen("<p>", "<p class=\"note\">", 1));
    body.push_str("</header>\n");
    // A lesson that lacks this language is in another one.
    let language = match lesson.language(edition.language) {
        own if own == edition.language => String::new(),
        other => format!(" lang=\"{}\"", tag(other)),
    };
    body.push_str(&format!("<main{language}>\n"));
    if edition.is_instructor {
        body.push_str(&writer.plan(lesson));
    }
    let values = lesson_values(edition.seed(), lesson);
    for (index, section) in text.sections.iter().enumerate() {
        let id = format!("part-{}", index + 1);
        body.push_str(&match section {
            Section::Prose(kind, passage) => {
                let class =
                    Prose::ALL.iter().find(|(_, known)| known == kind).map_or("text", |(name, _)| name);
                let html = writer.html(&fill(&passage.markdown, &values));
                format!("<section class=\"{class}\" id=\"{id}\">\n{html}</section>\n")
            }
            Section::Quiz(quiz) => {
                let html = writer.question(lesson, quiz, &values);
                format!("<section class=\"question\" id=\"{id}\">\n{html}</section>\n")
            }
            Section::Exercise(exercise) => {
                let html = writer.exercise(lesson, exercise);
                format!("<section class=\"exercise\" id=\"{id}\">\n{html}</section>\n")
            }
        });
    }
    if !edition.is_instructor {
        body.push_str(&writer.answers(text.quizzes(), &values));
    }
    let values = [("title", edition.pack.title(edition.language)), ("version", env!("CARGO_PKG_VERSION"))];
    body.push_str(&format!(
        "</main>\n<footer><p>{}</p></footer>\n",
        escape(&text_with("lesson.page.footer", &values))
    ));
    edition.document(&format!("{}. {title}", lesson.number), &body)
}

/// Links to the page of the course, and to the lessons before and after this one.
fn navigation(edition: &Edition<'_>, lesson: &Lesson) -> String {
    if !edition.is_whole {
        return String::new();
    }
    let lessons = &edition.pack.lessons;
    let at = lessons.iter().position(|known| known.name == lesson.name).unwrap_or(0);
    let mut items =
        format!("<li><a href=\"{COURSE}\">{}</a></li>", escape(edition.pack.title(edition.language)));
    let neighbours = [at.checked_sub(1), Some(at + 1)].into_iter().zip(["prev", "next"]);
    for (index, relation) in neighbours {
        let Some(other) = index.and_then(|index| lessons.get(index)) else { continue };
        let title = escape(&other.text(edition.language).front.title);
        items.push_str(&format!(
            "<li><a rel=\"{relation}\" href=\"{}\">{}. {title}</a></li>",
            file_name(other),
            other.number
        ));
    }
    format!("<nav aria-label=\"{}\"><ul>{items}</ul></nav>\n", message("lesson.page.course"))
}

/// What is known about a lesson before it is read.
fn about(edition: &Edition<'_>, lesson: &Lesson) -> Vec<String> {
    let front = &lesson.text(edition.language).front;
    let count = edition.pack.lessons.last().map_or(0, |last| last.number).to_string();
    let number = [("number", &*lesson.number.to_string()), ("count", &count)];
    let mut about = vec![
        escape(&text_with("lesson.page.number", &number)),
        escape(&text_with("lesson.page.minutes", &[("minutes", &front.minutes.to_string())])),
        difficulty(front.difficulty),
    ];
    if !front.needs.is_empty() {
        let needs = front.needs.iter().map(|need| link(edition, need)).collect::<Vec<_>>().join(", ");
        about.push(format!("{} {needs}", message("lesson.page.needs")));
    }
    if !front.features.is_empty() {
        let names: Vec<&str> = front.features.iter().map(|feature| feature.name()).collect();
        about.push(escape(&text_with("lesson.page.features", &[("features", &names.join(", "))])));
    }
    if let Some(flag) = &front.docker {
        about.push(format!("Docker: <code>{}</code>", escape(flag)));
    }
    about
}

/// How difficult a lesson is.
pub(super) fn difficulty(difficulty: u8) -> String {
    match difficulty {
        0 | 1 => message("lesson.page.difficulty.1"),
        2 => message("lesson.page.difficulty.2"),
        _ => message("lesson.page.difficulty.3"),
    }
}

/// A link to another lesson, or its name where there is no page for it.
pub(super) fn link(edition: &Edition<'_>, name: &str) -> String {
    match edition.pack.lesson(name).filter(|_| edition.is_whole) {
        Some(lesson) => format!("<a href=\"{}\">{}</a>", file_name(lesson), escape(name)),
        None => escape(name),
    }
}

/// How to begin, as Markdown: the page is for reading, and the exercises are done in a terminal.
fn start(edition: &Edition<'_>, lesson: &Lesson) -> String {
    let start = text_with("lesson.page.start", &[("name", &lesson.name)]);
    let values = match edition.seed {
        Some(seed) => text_with("lesson.page.values.seed", &[("seed", seed)]),
        None => text("lesson.page.values.example"),
    };
    crate::text::join(&[start, values])
}

impl Writer<'_> {
    /// For teachers: what to know, and when each part begins.
    fn plan(&mut self, lesson: &Lesson) -> String {
        let mut out = String::new();
        if let Some(notes) = &lesson.text(self.edition.language).teacher {
            out.push_str(&format!("<section class=\"notes\">\n{}</section>\n", self.html(&notes.markdown)));
        }
        out.push_str("<section class=\"notes\">\n");
        out.push_str(&self.heading(2, "lesson.page.plan"));
        out.push_str(&format!(
            "<p>{}</p>\n<div class=\"wide\"><table><thead><tr><th scope=\"col\">{}</th><th scope=\"col\">{}</th>\
             <th scope=\"col\">{}</th></tr></thead><tbody>\n",
            message("lesson.page.plan.about"),
            message("lesson.page.plan.from"),
            message("lesson.page.plan.minutes"),
            message("lesson.page.plan.part")
        ));
        for part in schedule(lesson, self.edition.language, self.edition.seed()) {
            out.push_str(&format!(
                "<tr><td class=\"number\">{}</td><td class=\"number\">{}</td><td><a href=\"#part-{}\">{}</a></td></tr>\n",
                clock(part.from),
                match part.minutes {
                    0 => "&lt; 1".to_owned(),
                    minutes => minutes.to_string(),
                },
                part.index + 1,
                escape(&part.title)
            ));
        }
        out.push_str("</tbody></table></div>\n</section>\n");
        out
    }

    /// A question. Learners open the explanation; on paper it is at the end. Teachers see the right answer at once.
    fn question(&mut self, lesson: &Lesson, quiz: &Quiz, values: &StudentValues) -> String {
        let mut out = self.html(&fill(&quiz.prompt.markdown, values));
        let right = lesson.data.questions.get(&quiz.name).filter(|_| self.edition.is_instructor);
        let options = quiz.options.iter().map(|(letter, option)| {
            let mark = if Some(letter) == right { " ✓" } else { "" };
            format!("- **{letter})** {}{mark}\n", fill(option, values))
        });
        out.push_str(&format!(
            "<div class=\"options\">\n{}</div>\n",
            self.html(&options.collect::<String>())
        ));
        match right {
            Some(letter) => {
                let right = text_with("lesson.answer.is", &[("right", &letter.to_string())]);
                out.push_str(&format!("<p class=\"right\">{}</p>\n", escape(&right)));
                out.push_str(&self.explanation(quiz, values));
            }
            None => {
                let (answer, paper) = (message("lesson.page.answer"), message("lesson.page.answer.paper"));
                out.push_str(&format!("<details class=\"answer\"><summary>{answer}</summary>\n"));
                out.push_str(&self.explanation(quiz, values));
                out.push_str(&format!("</details>\n<p class=\"on-paper\">{paper}</p>\n"));
            }
        }
        out
    }

    /// The explanation of a question, and why each wrong option is wrong.
    fn explanation(&mut self, quiz: &Quiz, values: &StudentValues) -> String {
        let mut out = self.html(&fill(&quiz.answer.markdown, values));
        for (letter, reply) in &quiz.replies {
            out.push_str(&format!("<p class=\"wrong\">{letter})</p>\n"));
            out.push_str(&self.html(&fill(&reply.markdown, values)));
        }
        out
    }

    /// All explanations again, for a page that is printed: there, nothing can be opened.
    fn answers<'q>(&mut self, quizzes: impl Iterator<Item = &'q Quiz>, values: &StudentValues) -> String {
        let mut out = String::from("<section class=\"on-paper\">\n");
        out.push_str(&self.heading(2, "lesson.page.answers"));
        for (index, quiz) in quizzes.enumerate() {
            let values_of = [("number", &*(index + 1).to_string())];
            self.level = 3;
            out.push_str(&format!(
                "<h3>{}</h3>\n",
                escape(&text_with("lesson.page.answers.question", &values_of))
            ));
            out.push_str(&self.explanation(quiz, values));
        }
        out + "</section>\n"
    }
}
