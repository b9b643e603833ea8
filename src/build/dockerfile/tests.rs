use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};

use super::*;

/// The directories of the cases: each has a `Dockerfile`, and `result` or `error`.
fn cases() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dockerfile");
    let entries = fs::read_dir(directory).expect("the directory of the cases");
    let mut cases: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    cases.sort();
    cases
}

/// The mistakes as a compiler prints them.
fn shown(mistakes: &[Mistake]) -> String {
    let one = |mistake: &Mistake| {
        let near = mistake.near.as_ref().map(|near| format!(" {near}?")).unwrap_or_default();
        let gap: String = mistake.source.chars().take(mistake.column - 1).map(|_| ' ').collect();
        let place = format!("{}:{}", mistake.line, mistake.column);
        let carets = "^".repeat(mistake.length);
        format!("{place}: {}\n  {}\n  {gap}{carets}{near}\n", mistake.what, mistake.source)
    };
    mistakes.iter().map(one).collect()
}

/// What was read: a line for each instruction with its place, without the fields that have no value.
fn read(parsed: &Dockerfile) -> String {
    let empty = regex_lite::Regex::new(r"\b[a-z_]+: (?:None|\[\]|false)(?:, )?").expect("a pattern");
    let line = |placed: &Span, value: String| {
        let (line, column) = parsed.source.position(placed.start);
        let short = empty.replace_all(&value, "").replace(",  }", " }").replace(", }", " }");
        format!("{line}:{column} {short}\n")
    };
    let mut out = format!("{:?}\n", parsed.directives);
    out.extend(parsed.arguments.iter().map(|placed| line(&placed.span, format!("{:?}", placed.value))));
    for stage in &parsed.stages {
        out.push_str(&line(&stage.from.span, format!("{:?}", stage.from.value)));
        out.extend(stage.steps.iter().map(|step| line(&step.span, format!("{:?}", step.value))));
    }
    if !parsed.warnings.is_empty() {
        out.push_str(&format!("warnings:\n{}", shown(&parsed.warnings)));
    }
    out
}

#[test]
fn each_case_is_read_as_its_result_says() {
    let update = std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always");
    let mut differ = Vec::new();
    for case in cases() {
        let bytes = fs::read(case.join("Dockerfile")).expect("a Dockerfile");
        let (file, found) = match parse("Dockerfile", &bytes) {
            Ok(parsed) => ("result", read(&parsed)),
            Err(error) => ("error", shown(&error.mistakes)),
        };
        if update {
            fs::write(case.join(file), &found).expect("a file of the case");
        }
        let wanted = fs::read_to_string(case.join(file)).unwrap_or_default();
        if wanted != found {
            differ.push(format!("{}/{file}\n{found}", case.display()));
        }
    }
    // To accept them: INSTA_UPDATE=always cargo test --lib dockerfile
    assert!(differ.is_empty(), "{}", differ.join("\n"));
    assert!(cases().len() >= 40);
}

fn steps(text: &str) -> Vec<Instruction> {
    let parsed = parse("x", format!("FROM a\n{text}").as_bytes()).expect("a Dockerfile");
    parsed.stages[0].steps.iter().map(|step| step.value.clone()).collect()
}

fn mistake(bytes: &[u8]) -> (usize, usize, String) {
    let error = parse("x", bytes).expect_err("a mistake");
    let first = &error.mistakes[0];
    (first.line, first.column, first.what.clone())
}

fn script(step: &Instruction) -> Option<RunScript<'_>> {
    match step {
        Instruction::Run(run) => Some(run.script()),
        _ => None,
    }
}

#[test]
fn line_ends_of_windows_are_no_part_of_a_text() {
    let unix = "# escape=`\nFROM a\nRUN one `\n  two\nRUN <<EOF\nx\n\ny\nEOF\nCMD [\"z\"]\n";
    let windows = format!("\u{feff}{}", unix.replace('\n', "\r\n"));
    let values = |text: &str| {
        let parsed = parse("x", text.as_bytes()).expect("a Dockerfile");
        let steps = &parsed.stages[0].steps;
        steps.iter().map(|step| format!("{} {:?}", step.text, script(&step.value))).collect::<Vec<_>>()
    };
    assert_eq!(values(&windows), values(unix));
    assert_eq!(values(&windows)[1], "RUN <<EOF Some(Shell(\"x\\n\\ny\\n\"))");
}

#[test]
fn run_executes_its_here_documents() {
    let script = |text: &str| format!("{:?}", script(&steps(text)[0]).expect("RUN"));
    assert_eq!(script("RUN a  b"), r#"Shell("a  b")"#);
    assert_eq!(script("RUN [\"a\", \"b\"]"), r#"Exec(["a", "b"])"#);
    assert_eq!(script("RUN <<EOF\na\nb\nEOF"), r#"Shell("a\nb\n")"#);
    assert_eq!(script("RUN --network=none <<-'EOF'\n\ta\n\tEOF"), r#"Shell("a\n")"#);
    assert_eq!(script("RUN <<x\n#!/bin/cat\na\nx"), r##"File { name: "x", content: "#!/bin/cat\na\n" }"##);
    assert_eq!(script("RUN cat <<A - <<-B\n1\nA\n\t2\n\tB"), r#"Shell("cat <<A - <<-B\n1\nA\n\t2\nB")"#);
    assert_eq!(script("RUN <<EOF\nEOF"), r#"Shell("")"#);
}

#[test]
fn bytes_that_are_not_text_are_accepted_in_comments_only() {
    assert!(parse("x", b"# Ren\xe9\nFROM a\nRUN b \\\n # \xff\n c\n").is_ok());
    assert_eq!(mistake(b"FROM a\nRUN b\xffc\n"), (2, 6, "this byte is not UTF-8".into()));
    assert_eq!(mistake(b"FROM a\nRUN <<EOF\na\n\xff\nEOF\n"), (4, 1, "this byte is not UTF-8".into()));
    assert_eq!(mistake(b"FROM a\nRUN b \\\n \0\n"), (3, 2, "a null character".into()));
    assert_eq!(mistake(b"FROM a\nCMD [\"\\u0000\"]\n"), (2, 5, "a null character".into()));
    assert_eq!(mistake(b"\xff\xfeF\0R\0").2, "the file is UTF-16: a Dockerfile must be UTF-8");
}

#[test]
fn size_and_count_have_a_limit() {
    let line = "RUN x\n".repeat(10_001);
    assert_eq!(mistake(format!("FROM a\n{line}").as_bytes()).0, 10_001);
    assert!(parse("x", format!("FROM a\nRUN {}", "x".repeat(MAX_SIZE)).as_bytes()).is_err());
    // At most 50 are reported.
    let wrong = "RUM x\n".repeat(9_000);
    let error = parse("x", format!("FROM a\n{wrong}").as_bytes()).expect_err("mistakes");
    assert_eq!(error.mistakes.len(), MAX_MISTAKES);
}

/// Each of these would take minutes if a line were read again and again.
#[test]
fn a_large_file_takes_no_quadratic_time() {
    let fill = |part: &str| part.repeat(MAX_SIZE / 8 / part.len());
    for body in [
        format!("RUN {}", fill("a \\\n")),
        format!("RUN {}", fill("# \\\n")),
        format!("RUN x \\\n{}", fill("\n")),
        format!("ENV {}", fill("a=b ")),
        format!("RUN {}", fill("<< ")),
        format!("RUN {}", fill("<<a ")),
        format!("RUN {}", fill("${")),
        format!("COPY {}", fill("--x ")),
        format!("COPY {}", fill("--exclude=x ")),
        format!("COPY {}/", fill("<<a ")),
        format!("CMD {}", fill("[")),
        format!("RUN <<EOF\n{}", fill("x\n")),
        format!("RUN --mount={}", fill("ro,")),
        format!("HEALTHCHECK --interval={} CMD x", fill("1s")),
        fill("FROM a\n"),
        fill("RUM a\n"),
        fill("RUN [\n"),
    ] {
        let _ = parse("x", format!("FROM a\n{body}\n").as_bytes());
    }
}

#[test]
fn a_trigger_is_one_instruction() {
    let text = |written: &str| trigger("ONBUILD", written).map(|step| step.text).map_err(|error| error.what);
    assert_eq!(text("RUN a \\\n b"), Ok("RUN a  b".into()));
    for wrong in ["", "RUN a\nRUN b", "FROM a", "RUM a", "RUN <<EOF\n"] {
        assert!(trigger("ONBUILD", wrong).is_err(), "{wrong}");
    }
    // What is kept in the config is read again.
    let steps = steps("ONBUILD RUN <<-A cat <<B\n\tx\nA\ny\nB");
    let [Instruction::Onbuild(kept)] = &*steps else { panic!("a trigger") };
    let again = trigger("ONBUILD", &kept.text).expect("an instruction");
    assert_eq!(script(&again.value), script(&kept.instruction));
}

#[test]
fn a_word_that_cannot_be_expanded_is_shown_in_its_line() {
    let parsed = parse("x", b"FROM a\nENV a=1 \\\n    b=${c:y} \\\n    d=2\n").expect("a Dockerfile");
    let step = &parsed.stages[0].steps[0];
    let Instruction::Env(list) = &step.value else { panic!("ENV") };
    let error = words::expand(&list[1].value, '\\', &|_| None).expect_err("an unknown form");
    let error = parsed.word_error(step, &list[1].value, &error);
    let Mistake { line, column, length, source, .. } = &error.mistakes[0];
    assert_eq!((*line, *column, *length, &**source), (3, 7, 5, "    b=${c:y} \\"));
}

/// What random texts are made of.
const PARTS: &[&str] = &[
    "FROM ",
    "RUN ",
    "COPY ",
    "ENV ",
    "ARG ",
    "ONBUILD ",
    "HEALTHCHECK ",
    "CMD ",
    "SHELL ",
    "VOLUME ",
    "#",
    "--",
    "# escape=`",
    "--mount=",
    "type=cache,",
    "target=/x,",
    "--from=",
    "=",
    "a",
    "b c",
    "城",
    "\u{a0}",
    "\r",
    "\n",
    "\n",
    "\\\n",
    "`\n",
    "\\",
    "`",
    "'",
    "\"",
    "$",
    "${",
    "}",
    "${A:-",
    "${b#",
    "${b%%*",
    "${b//",
    "/",
    "?",
    "*",
    "[",
    "]",
    "[\"a\"]",
    "<<",
    "<<-",
    "<<EOF",
    "\nEOF\n",
    "EOF",
    "<<'E F'",
    "3<<E",
    "\t",
    " ",
    ",",
    ":",
    "1s",
    "\0",
    "\u{feff}",
];

fn seeded() -> Config {
    Config { cases: 2000, rng_seed: RngSeed::Fixed(16), failure_persistence: None, ..Config::default() }
}

proptest! {
    #![proptest_config(seeded())]

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse("x", &bytes);
    }

    #[test]
    fn no_text_makes_it_panic(parts in prop::collection::vec(prop::sample::select(PARTS), 0..30)) {
        let text = parts.concat();
        let _ = trigger("x", &text);
        let value = |name: &str| (name != "A").then(|| "a*/b c".to_owned());
        let _ = words::expand(&text, '\\', &value);
        let _ = mount::RunMount::read(&text, &mut |value| Ok(value.to_owned()));
        if let Ok(parsed) = parse("x", format!("FROM a\n{text}").as_bytes()) {
            for step in &parsed.stages[0].steps {
                let end = step.inner(&(0..step.text.len())).end;
                prop_assert!(end <= parsed.source.text().len() && parsed.source.position(end).0 > 1);
                let _ = script(&step.value);
            }
        }
    }
}
