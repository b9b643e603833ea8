//! The page of the course: its lessons with their order, and a picture of it.

use super::lesson::{difficulty, link};
use super::{Edition, Writer, file_name, message, order};
use crate::render::svg::escape;
use crate::teach::course::pack::Lesson;
use crate::text::{text, text_with};

/// The document.
pub(super) fn page(edition: &Edition<'_>) -> String {
    let pack = edition.pack;
    let mut writer = Writer::new(edition);
    let title = escape(pack.title(edition.language));
    let mut body = format!("<header>\n<h1>{title}</h1>\n");
    if edition.is_instructor {
        body.push_str(&format!("<p class=\"edition\">{}</p>\n", message("lesson.page.instructor")));
    }
    body.push_str(&writer.html(&text("lesson.page.course.about")));
    body.push_str("</header>\n<main>\n");
    body.push_str(&writer.heading(2, "lesson.page.order"));
    body.push_str(&order::picture(edition, writer.pictures));
    body.push_str(&writer.heading(2, "lesson.page.lessons"));
    body.push_str(&table(edition));
    let values = [("title", pack.title(edition.language)), ("version", env!("CARGO_PKG_VERSION"))];
    let footer = escape(&text_with("lesson.page.footer", &values));
    body.push_str(&format!("</main>\n<footer><p>{footer}</p></footer>\n"));
    edition.document(&title, &body)
}

/// The lessons, one in each row, and the sum.
fn table(edition: &Edition<'_>) -> String {
    let heads = [
        message("lesson.page.head.lesson"),
        message("lesson.page.head.minutes"),
        message("lesson.page.head.difficulty"),
        message("lesson.page.head.needs"),
        message("lesson.page.head.exercises"),
    ];
    let heads: String = heads.iter().map(|head| format!("<th scope=\"col\">{head}</th>")).collect();
    let mut out = format!("<div class=\"wide\"><table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n");
    let exercises = |lesson: &Lesson| lesson.data.exercises.len();
    let weight =
        |lesson: &Lesson| lesson.data.exercises.values().map(|data| u64::from(data.weight)).sum::<u64>();
    for lesson in &edition.pack.lessons {
        let front = &lesson.text(edition.language).front;
        let needs: Vec<String> = front.needs.iter().map(|need| link(edition, need)).collect();
        out.push_str(&format!(
            "<tr><td><a href=\"{}\">{}. {}</a></td><td class=\"number\">{}</td><td>{}</td><td>{}</td>\
             <td class=\"number\">{}</td></tr>\n",
            file_name(lesson),
            lesson.number,
            escape(&front.title),
            front.minutes,
            difficulty(front.difficulty),
            needs.join(", "),
            exercises(lesson),
        ));
    }
    let all = &edition.pack.lessons;
    let minutes: u64 = all.iter().map(|lesson| u64::from(lesson.text(edition.language).front.minutes)).sum();
    out.push_str(&format!(
        "</tbody>\n<tfoot><tr><td>{}</td><td class=\"number\">{minutes}</td><td></td><td>{}</td>\
         <td class=\"number\">{}</td></tr></tfoot>\n</table></div>\n",
        message("lesson.page.sum"),
        match edition.is_instructor {
            true => {
                let weight = all.iter().map(weight).sum::<u64>().to_string();
                escape(&text_with("lesson.page.exercise.weight", &[("weight", &weight)]))
            }
            false => String::new(),
        },
        all.iter().map(exercises).sum::<usize>()
    ));
    out
}
