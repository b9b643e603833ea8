//! The lessons as HTML pages: each is a complete document that loads nothing, learners get no solutions, teachers get all of
//! them, and no file of another program is replaced.
//!
//! Inputs of this kind: every lesson in each language and edition · one lesson, printed · the values of a student · a pack
//! with text that tries to become markup, pictures with scripts, links that run · a directory with other files, with pages
//! of the other edition, with a learner's progress, with a symbolic link.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use sandbox::teach::course::pack::{LANGUAGES, Pack};
use sandbox::teach::course::seed::{fill, values};
use support::html::Document;
use support::{repository, run, sample, stdout, text};

/// The seed of the values that are examples.
const EXAMPLE: &str = "example";

fn pack() -> &'static Pack {
    static PACK: LazyLock<Pack> = LazyLock::new(read_pack);
    &PACK
}

fn read_pack() -> Pack {
    Pack::in_directory(&repository().join("lessons")).unwrap_or_else(|error| panic!("{error:?}"))
}

/// The pages that an export writes, by the names of their files.
fn exported(arguments: &[&str]) -> BTreeMap<String, String> {
    let directory = tempfile::tempdir().unwrap();
    let mut all = vec!["lesson", "export", "--html", "--to", directory.path().to_str().unwrap()];
    all.extend(arguments);
    let printed = stdout(&all);
    let pages: BTreeMap<String, String> = files(directory.path());
    assert!(printed.contains(directory.path().to_str().unwrap()), "{printed}");
    pages
}

fn files(directory: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    let content = |entry: &fs::DirEntry| fs::read_to_string(entry.path()).unwrap();
    entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), content(&entry))).collect()
}

/// Text as it is written in a page.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[test]
fn every_page_is_a_complete_document_that_loads_nothing() {
    let editions = [&[][..], &["--instructor"]];
    let all = LANGUAGES.into_iter().flat_map(|language| editions.map(|edition| (language, edition)));
    for (language, edition) in sample(2, all) {
        let arguments = [&["--lang", language], edition].concat();
        let pages = exported(&arguments);
        assert_eq!(pages.len(), 1 + pack().lessons.len());
        let names: Vec<&str> = pages.keys().map(String::as_str).collect();
        for (name, page) in sample(2, &pages) {
            let document = Document::read(page).unwrap_or_else(|wrong| panic!("{language} {name}: {wrong}"));
            document.check_links(&names).unwrap_or_else(|wrong| panic!("{language} {name}: {wrong}"));
            let tag = if language == "zh" { "zh-CN" } else { "en" };
            assert!(page.contains(&format!("<html lang=\"{tag}\"")), "{name}");
            assert!(document.pictures >= 1, "{language} {name} has no picture");
        }
        // Every need of every lesson is a link on the page of the course.
        let course = &pages["index.html"];
        for lesson in &pack().lessons {
            let title = escaped(&lesson.text(language).front.title);
            assert!(course.contains(&format!(">{}. {title}</a>", lesson.number)), "{title}");
        }
        if edition.is_empty() {
            assert_eq!(pages, exported(&arguments), "two runs differ");
        }
    }
}

#[test]
fn learners_get_no_solutions_and_teachers_get_all() {
    let pack = pack();
    let learner = exported(&["--lang", "en"]);
    let instructor = exported(&["--lang", "en", "--instructor"]);
    for lesson in sample(4, &pack.lessons) {
        let name = format!("{:02}-{}.html", lesson.number, lesson.name);
        let (theirs, ours) = (&learner[&name], &instructor[&name]);
        let mut secrets = Vec::new();
        for (exercise, data) in &lesson.data.exercises {
            let values = values(EXAMPLE, lesson, exercise, data);
            secrets.push(fill(data.solution.trim_end(), &values));
            secrets.extend(data.measure.iter().map(|script| fill(script.trim_end(), &values)));
            let scripts =
                data.wrong.values().filter_map(|wrong| wrong.run.as_ref().or(wrong.answer_run.as_ref()));
            secrets.extend(scripts.map(|script| fill(script, &values)));
            for (file, content) in &lesson.files {
                let file = file.strip_prefix(&format!("{exercise}/"));
                if file.is_some_and(|file| !data.files.iter().any(|known| known == file)) {
                    secrets.push(fill(&String::from_utf8_lossy(content), &values));
                }
            }
            assert!(
                theirs.contains(&format!("sandbox lesson check {}", lesson.number_of(exercise))),
                "{name} {exercise}"
            );
        }
        for secret in &secrets {
            assert!(!theirs.contains(&escaped(secret)), "{name}: learners see\n{secret}");
            assert!(ours.contains(&escaped(secret)), "{name}: teachers do not see\n{secret}");
        }
        for marker in [
            "✓",
            "class=\"right\"",
            "The right answer is",
            "class=\"instructor-only\"",
            "For the teacher",
            "<h3>Hints",
        ] {
            assert!(!theirs.contains(marker), "{name}: {marker}");
            assert!(ours.contains(marker), "{name}: {marker}");
        }
        // A hint can repeat a sentence of the lesson.
        let passages = lesson.text("en").passages();
        let told = passages.iter().filter(|(marker, _)| {
            !["hint", "fails", "passed", "teacher"].iter().any(|hidden| marker.starts_with(hidden))
        });
        let told: String = told.map(|(_, passage)| passage.markdown.as_str()).collect();
        // The hints, and each message of a failed check, which can have values of the check.
        let exercises = lesson.text("en").exercises().count();
        assert_eq!(ours.matches("<h3>Hints").count(), exercises, "{name}");
        for exercise in lesson.text("en").exercises() {
            let plain = |markdown: &str| {
                markdown
                    .lines()
                    .next()
                    .unwrap()
                    .split(['`', '*', '{', '"', '<', '>', '&'])
                    .next()
                    .map(str::to_owned)
            };
            let texts = exercise.hints.iter().chain(exercise.fails.values()).chain([&exercise.passed]);
            for beginning in
                texts.filter_map(|passage| plain(&passage.markdown)).filter(|text| text.len() > 24)
            {
                let is_told_before = told.contains(beginning.trim());
                assert!(is_told_before || !theirs.contains(beginning.trim()), "{name}: {beginning}");
                assert!(ours.contains(beginning.trim()), "{name}: {beginning}");
            }
        }
        // Every part has its minutes.
        let plan = ours.split("<tbody>").nth(1).unwrap().split("</tbody>").next().unwrap();
        assert_eq!(plan.matches("<tr>").count(), lesson.text("en").sections.len(), "{name}");
        // A heading can have a value of the student.
        assert!(!plan.contains('{'), "{name}: {plan}");
    }
}

#[test]
fn a_page_has_the_values_of_a_student_or_examples() {
    let pack = pack();
    let lesson = pack.lesson("pid").unwrap();
    for (seed, arguments) in [(EXAMPLE, &[][..]), ("k3f", &["--seed", "k3f"])] {
        let page = stdout(&[&["lesson", "export", "pid", "--lang", "en", "--to", "-"], arguments].concat());
        let document = Document::read(&page).unwrap();
        // One page alone has no links to others.
        document.check_links(&[]).unwrap();
        let value = &values(seed, lesson, "three-pids", &lesson.data.exercises["three-pids"])["seconds"];
        assert!(page.contains(&format!("<code>sleep {value}</code>")), "{value}");
        assert_eq!(page.contains("Example values"), seed == EXAMPLE);
        assert_eq!(page.contains("the seed k3f"), seed != EXAMPLE);
    }
}

/// A message without its line breaks.
fn on_one_line(message: &[u8]) -> String {
    text(message).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A copy of the lessons in which a text is replaced.
fn changed(file: &str, from: &str, to: &str) -> tempfile::TempDir {
    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
            let target = to.join(entry.file_name());
            match entry.path().is_dir() {
                true => copy(&entry.path(), &target),
                false => drop(fs::copy(entry.path(), target).unwrap()),
            }
        }
    }
    let directory = tempfile::tempdir().unwrap();
    copy(&repository().join("lessons"), directory.path());
    let path = directory.path().join(file);
    let content = fs::read_to_string(&path).unwrap();
    assert!(content.contains(from), "{file}: {from}");
    fs::write(&path, content.replacen(from, to, 1)).unwrap();
    directory
}

#[test]
fn text_of_a_pack_does_not_become_markup() {
    let instructor: &[&str] = &["--lang", "en", "--instructor"];
    let unchanged = exported(instructor);
    for (file, from, to) in sample(
        2,
        [
            ("en/02-pid.md", "title: PID namespaces", "title: '</title><script>alert(1)</script>\"'"),
            ("pack.yaml", "en: What a container is", "en: '<img src=x onerror=alert(1)>'"),
            ("en/02-pid.md", "docker: --pid", "docker: '<script>'"),
            (
                "en/02-pid.md",
                "## What it is, and why",
                "## <script>alert(1)</script>\n\n<iframe src=//example.org></iframe>\n\n[a](javascript:alert(1))\n",
            ),
            ("en/02-pid.md", "- b) nothing", "- b) <b onclick=alert(1)>nothing</b> [x](JAVASCRIPT:alert(1))"),
            ("exercises/02-pid/forks/forks.c", "#include", "// </pre><script>alert(1)</script>\n#include"),
        ],
    ) {
        let pack = changed(file, from, to);
        // The front matter is the same in all languages.
        if to.starts_with("docker") && file.starts_with("en") {
            let path = pack.path().join("zh/02-pid.md");
            fs::write(&path, fs::read_to_string(&path).unwrap().replacen(from, to, 1)).unwrap();
        }
        let pages = exported(&[&["--pack", pack.path().to_str().unwrap()], instructor].concat());
        let changed: Vec<&String> =
            pages.iter().filter(|(name, page)| unchanged[*name] != **page).map(|(_, page)| page).collect();
        assert!(!changed.is_empty(), "{to}");
        for page in changed {
            Document::read(page).unwrap_or_else(|wrong| panic!("{to}: {wrong}"));
        }
    }
}

#[test]
fn a_picture_that_can_run_or_load_something_is_refused() {
    for (to, said) in sample(
        2,
        [
            ("<script>alert(1)</script>", "an element <script>"),
            ("<image href=\"http://example.org/a.png\"/>", "an element <image>"),
            ("<foreignObject><p/></foreignObject>", "an element <foreignObject>"),
            ("<style>@import 'x'</style>", "an element <style>"),
            ("<rect fill=\"url(http://example.org/a#b)\"/>", "the value of fill"),
            ("<rect style=\"fill: u\\72l(//example.org/a)\"/>", "the value of fill"),
            ("<g><rect></g>", "not an SVG file"),
            ("&amp;<!ENTITY", "not an SVG file"),
        ],
    ) {
        let pack = changed("pictures/pid.svg", "</svg>", &format!("{to}\n</svg>"));
        let output = run(&["lesson", "lint", "--pack", pack.path().to_str().unwrap()]);
        let errors = on_one_line(&output.stderr);
        assert_eq!(output.status.code(), Some(125), "{to}\n{errors}");
        assert!(errors.contains("pictures/pid.svg:") && errors.contains(said), "{to}\n{errors}");
    }
    // Attributes that run something are left out, and declarations of a style are attributes.
    let more = "<rect onload=\"alert(1)\" style=\"fill:#123456;-x-y:1\" x=\"1\"/>\n</svg>";
    let pack = changed("pictures/pid.svg", "</svg>", more);
    let arguments = ["lesson", "export", "pid", "--to", "-", "--pack", pack.path().to_str().unwrap()];
    let page = stdout(&arguments);
    assert!(page.contains("<rect fill=\"#123456\" x=\"1\"></rect>"), "{page}");
    Document::read(&page).unwrap();
    // What a text says about a picture.
    for (from, to, said) in [
        ("../pictures/pid.svg", "../pictures/pit.svg", "the pack has no picture \"../pictures/pit.svg\""),
        (
            "../pictures/pid.svg",
            "http://example.org/pid.svg",
            "the pack has no picture \"http://example.org/pid.svg\"",
        ),
        ("\"Three nested PID namespaces\"", "", "and a caption"),
        ("![Three PID", "Words ![Three PID", "must be a paragraph of its own"),
    ] {
        let pack = changed("en/02-pid.md", from, to);
        let errors = on_one_line(&run(&["lesson", "lint", "--pack", pack.path().to_str().unwrap()]).stderr);
        assert!(errors.contains("en/02-pid.md:1") && errors.contains(said), "{to}\n{errors}");
    }
}

#[test]
fn only_pages_of_the_same_edition_are_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let to = directory.path().join("pages");
    let export = |more: &[&str]| {
        run(&[&["lesson", "export", "--to", to.to_str().unwrap(), "--lang", "en"], more].concat())
    };
    let refused = |more: &[&str], said: &str| {
        let before = files(&to);
        let output = export(more);
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(125), "{errors}");
        assert!(errors.contains(said) && errors.contains("--to DIR"), "{errors}");
        assert_eq!(files(&to), before);
    };
    // A page of somebody else, between pages of ours.
    fs::create_dir(&to).unwrap();
    fs::write(to.join("07-ipc.html"), "mine").unwrap();
    refused(&[], "07-ipc.html");
    fs::remove_file(to.join("07-ipc.html")).unwrap();
    // Other files stay.
    fs::write(to.join("notes.txt"), "mine").unwrap();
    assert!(export(&[]).status.success());
    assert_eq!(fs::read_to_string(to.join("notes.txt")).unwrap(), "mine");
    // Pages of the same edition are replaced, in another language too; those of the other one are not.
    fs::write(to.join("02-pid.html"), fs::read_to_string(to.join("02-pid.html")).unwrap() + "old").unwrap();
    assert!(export(&[]).status.success());
    assert!(!fs::read_to_string(to.join("02-pid.html")).unwrap().ends_with("old"));
    refused(&["--instructor"], "index.html");
    refused(&["pid", "--instructor"], "02-pid.html");
    // A symbolic link is not followed.
    fs::remove_file(to.join("02-pid.html")).unwrap();
    std::os::unix::fs::symlink("index.html", to.join("02-pid.html")).unwrap();
    refused(&["pid"], "02-pid.html");
    fs::remove_file(to.join("02-pid.html")).unwrap();
    // The directory of a learner.
    fs::write(to.join("progress.json"), "{}").unwrap();
    refused(&[], "learner's progress");
    // A file in place of the directory: the call and its error.
    let file = directory.path().join("file");
    fs::write(&file, "mine").unwrap();
    let output = run(&["lesson", "export", "--to", file.to_str().unwrap()]);
    let errors = on_one_line(&output.stderr);
    assert!(output.status.code() == Some(125) && errors.contains("ENOTDIR"), "{errors}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    // Several pages cannot be printed.
    let output = run(&["lesson", "export", "--to", "-"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    assert!(output.stdout.is_empty());
}
