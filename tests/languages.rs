//! Two languages: what demonstrations, mistakes, views, comparisons and lessons print in Chinese. The evidence is that of the
//! English run, nothing else stays English, and every line fits 80 columns.
//!
//! Of this kind: every feature with a demonstration, its view and its mistakes; `--explain`; a comparison; a container;
//! every lesson; the locale, `--lang`, a wrong `--lang`; JSON; narrow terminals.

mod support;

use std::path::Path;
use std::sync::LazyLock;

use regex_lite::Regex;
use sandbox::render::stable::stable;
use support::terminal::Terminal;
use support::{alone, binary, fits, limits, run, sample, sandbox, stdout, text};
use unicode_width::UnicodeWidthStr;

/// The features whose demonstrations make no cgroup.
const NAMESPACES: [&str; 8] = ["pid", "mnt", "net", "uts", "ipc", "user", "cgroup", "time"];

/// The features that limit something.
const LIMITS: [&str; 5] = ["memory", "cpu", "blkio", "devices", "pids"];

/// The ideographs, which no English text has.
fn is_chinese(text: &str) -> bool {
    text.chars().any(|character| ('\u{4e00}'..='\u{9fff}').contains(&character))
}

/// Whether a line has evidence: it begins with the name of the process that saw it; or it has a numbered call.
fn is_evidence(line: &str) -> bool {
    static SIDE: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(
            r"^([A-Z]{3,}( \d)?  +\S|[A-Z]{3,} \d /|          = | *\d+  (OUTSIDE|INSIDE|HELPER|RELAY) )",
        )
        .unwrap()
    });
    SIDE.is_match(line)
}

/// The lines that are English sentences, outside of evidence and of lines for a shell.
fn english(text: &str) -> Vec<&str> {
    let words =
        Regex::new(r"\b(the|is|are|has|have|only|this|that|its|cannot|new|inside|outside|Next|why)\b")
            .unwrap();
    let is_english = |line: &&str| !is_evidence(line) && !is_chinese(line) && words.is_match(line);
    without_shell(text).filter(is_english).collect()
}

/// The lines that are not for a shell.
fn without_shell(text: &str) -> impl Iterator<Item = &str> {
    let mut is_shell = false;
    text.lines().filter(move |line| {
        is_shell = SHELL.contains(line) || (is_shell && line.starts_with("  "));
        !is_shell
    })
}

/// The text without lines for a shell: those of a limit have paths of any length.
fn prose(text: &str) -> String {
    without_shell(text).collect::<Vec<_>>().join("\n")
}

/// What is above lines for a shell.
const SHELL: [&str; 4] = ["Repeat it:", "自己动手重现：", "在 shell 中：", "手工完成同样的事："];

/// The evidence of each card, with names for numbers, and the lines for a shell. The marks before them are in the
/// language of the run.
fn evidence(shown: &str) -> Vec<String> {
    let of_card = |card: String| {
        let mut is_shell = false;
        let is_kept = |line: &&str| {
            let is_below = is_shell && line.starts_with("   ");
            is_shell = SHELL[..2].contains(line) || is_below;
            is_below || is_evidence(line) && !line.starts_with("WRONG") && !line.starts_with("RIGHT")
        };
        card.lines().filter(is_kept).map(str::to_owned).collect::<Vec<_>>()
    };
    shown.split("\n\n").map(stable).flat_map(of_card).collect()
}

/// The arguments, with the language.
fn in_chinese<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [&arguments[..1], &["--lang", "zh"], &arguments[1..]].concat()
}

#[test]
fn the_flag_wins_over_the_locale() {
    let shown = |variables: &[(&str, &str)], arguments: &[&str]| {
        let mut command = sandbox(arguments);
        command.env_remove("LANG").env_remove("LC_ALL").env_remove("LC_MESSAGES");
        command.envs(variables.iter().copied());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        is_chinese(&text(&output.stdout))
    };
    let card = ["uts", "--dry-run"];
    assert!(!shown(&[], &card));
    for locale in ["zh_CN.UTF-8", "zh_TW.UTF-8", "zh"] {
        assert!(shown(&[("LANG", locale)], &card), "{locale}");
    }
    for locale in ["C", "C.UTF-8", "POSIX", "en_US.UTF-8", "de_DE.UTF-8", "zha", "nonsense", ""] {
        assert!(!shown(&[("LANG", locale)], &card), "{locale}");
    }
    let zh = "zh_CN.UTF-8";
    assert!(!shown(&[("LC_ALL", "C"), ("LC_MESSAGES", zh), ("LANG", zh)], &card));
    assert!(!shown(&[("LC_ALL", ""), ("LC_MESSAGES", "en_GB"), ("LANG", zh)], &card));
    assert!(shown(&[("LC_ALL", ""), ("LC_MESSAGES", ""), ("LANG", zh)], &card));
    assert!(shown(&[("LC_ALL", zh), ("LANG", "C")], &card));
    assert!(!shown(&[("LANG", zh)], &["uts", "--lang", "en", "--dry-run"]));
    assert!(shown(&[("LC_ALL", "C")], &["--lang", "zh", "uts", "--dry-run"]));
    // Without arguments, there is only the locale.
    assert!(shown(&[("LANG", zh)], &[]) && !shown(&[], &[]));
    for wrong in ["fr", "ZH", "", "zh_CN"] {
        let output = run(&["uts", "--lang", wrong, "--dry-run"]);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains("--lang") && error.contains("en, zh"), "{error}");
    }
}

#[test]
fn json_is_the_same_in_every_language() {
    let json = |arguments: &[&str], locale: &str| {
        let output = sandbox(arguments).env("LC_ALL", locale).output().unwrap();
        text(&output.stdout)
    };
    for arguments in [
        &["uts", "--stable", "--format", "json"][..],
        &["uts", "--dry-run", "--stable", "--format", "json"],
        &["uts", "--show-proc", "--explain", "--stable", "--format", "json"],
        &["uts", "--break", "no-namespace", "--stable", "--format", "json"],
        &["uts", "--break", "--format", "json"],
    ] {
        let english = json(arguments, "C");
        assert!(english.starts_with(['{', '[']) && !is_chinese(&english), "{english}");
        assert_eq!(json(arguments, "zh_CN.UTF-8"), english);
        assert_eq!(json(&in_chinese(arguments), "C"), english);
    }
}

#[test]
fn a_demonstration_has_the_same_evidence_in_both_languages() {
    let _alone = alone();
    for feature in sample(4, NAMESPACES) {
        let (english_run, chinese) = (stdout(&[feature]), stdout(&[feature, "--lang", "zh"]));
        assert_eq!(evidence(&chinese), evidence(&english_run), "{feature}");
        assert!(evidence(&chinese).len() > 10, "{chinese}");
        assert_eq!(english(&chinese), [""; 0], "{feature}");
        fits(&chinese, 80, 400);
        let count = english_run.matches("\nholds  ").count();
        assert!(count > 2 && chinese.matches("\n成立  ").count() == count, "{chinese}");
        let summary = stdout(&[feature, "--explain", "--lang", "zh"]);
        fits(&summary, 80, 60);
        assert_eq!(english(&summary), [""; 0], "{feature}");
    }
    let may = |of: &&str| limits::may("a_demonstration_has_the_same_evidence", of);
    for feature in sample(5, LIMITS).into_iter().filter(may) {
        let chinese = stdout(&[feature, "--lang", "zh"]);
        assert_eq!(english(&chinese), [""; 0], "{feature}");
        fits(&prose(&chinese), 80, 400);
    }
}

/// The reasons below the system calls of a card, and of a plan.
#[test]
fn the_reason_of_each_step_is_in_chinese() {
    for arguments in
        [&["uts", "--demo", "names", "--explain"][..], &["pid", "--dry-run"], &["net", "--dry-run"]]
    {
        let shown = stdout(&in_chinese(arguments));
        assert_eq!(english(&shown), [""; 0], "{arguments:?}");
        fits(&shown, 80, 400);
        let reasons = shown.lines().filter(|line| line.starts_with("             ") && is_chinese(line));
        assert!(reasons.count() > 5, "{shown}");
    }
}

#[test]
fn the_columns_of_a_view_are_aligned() {
    let _alone = alone();
    for feature in sample(3, NAMESPACES) {
        let chinese = stdout(&[feature, "--show-proc", "--lang", "zh"]);
        let english_run = stdout(&[feature, "--show-proc"]);
        fits(&chinese, 80, 24);
        assert_eq!(english(&chinese), [""; 0], "{feature}");
        let mark = Regex::new(r" (==|!=|\?\?) ").unwrap();
        let columns = |shown: &str| -> Vec<usize> {
            let rows = shown.lines().filter(|line| line.starts_with("   /"));
            rows.filter_map(|line| Some(line[..mark.find(line)?.start()].width())).collect()
        };
        let found = columns(&chinese);
        assert_eq!(found.len(), columns(&english_run).len(), "{chinese}");
        assert!(found.len() > 1 && found.windows(2).all(|pair| pair[0] == pair[1]), "{chinese}");
        // The value of INSIDE is below its heading.
        let heading = chinese.lines().find(|line| line.starts_with("   路径")).unwrap();
        let column = heading[..heading.find("INSIDE").unwrap()].width();
        let own = format!("/proc/self/ns/{feature} ");
        let row = chinese.lines().find(|line| line.contains(&own)).unwrap();
        assert_eq!(row[..row.rfind(&format!("{feature}:[")).unwrap()].width(), column, "{chinese}");
        for columns in ["30", "50", "72"] {
            let output =
                sandbox(&[feature, "--show-proc", "--lang", "zh"]).env("COLUMNS", columns).output().unwrap();
            assert!(is_chinese(&text(&output.stdout)));
        }
    }
}

#[test]
fn a_mistake_has_the_same_evidence_in_both_languages() {
    let _alone = alone();
    let mistakes = [("uts", "no-namespace"), ("pid", "no-fork"), ("user", "no-map"), ("mnt", "shared")];
    for (feature, mistake) in sample(2, mistakes) {
        let arguments = [feature, "--break", mistake];
        let (english_run, chinese) = (run(&arguments), run(&in_chinese(&arguments)));
        let (english_run, chinese) = (text(&english_run.stdout), text(&chinese.stdout));
        assert_eq!(evidence(&chinese), evidence(&english_run), "{feature}");
        assert_eq!(english(&chinese), [""; 0], "{chinese}");
        let commands = |shown: &str, names: [&str; 2]| -> Vec<String> {
            let of =
                |name: &str| shown.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()));
            names.iter().filter_map(|name| of(name)).collect()
        };
        let typed = commands(&english_run, ["WRONG ", "RIGHT "]);
        assert!(typed.len() == 2 && commands(&chinese, ["错误 ", "正确 "]) == typed, "{chinese}");
        fits(&chinese, 80, 24);
        let list = stdout(&[feature, "--break", "--lang", "zh"]);
        assert!(list.lines().all(is_chinese), "{list}");
        fits(&list, 80, 24);
    }
    let list = stdout(&["run", "--break", "--lang", "zh"]);
    assert!(list.lines().count() > 8 && list.lines().all(is_chinese), "{list}");
    fits(&list, 80, 24);
}

#[test]
fn a_comparison_and_a_container_are_shown_in_chinese() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let spec = directory.path().join("box.yaml");
    std::fs::write(&spec, "uts: { hostname: box }\npid:\ncommand: [\"true\"]\n").unwrap();
    let spec = spec.to_str().unwrap();
    let pid = std::process::id().to_string();
    for arguments in sample(
        2,
        [
            &["compare", &pid, &pid][..],
            &["compare", "--all", &pid, &pid],
            &["run", spec, "--show-proc"],
            &["run", spec, "--explain"],
            &["run", spec, "--dry-run"],
            &["run", spec, "--without", "pid"],
        ],
    ) {
        let output = run(&in_chinese(arguments));
        let shown = text(&output.stdout) + &text(&output.stderr);
        assert!(output.status.success() && is_chinese(&shown), "{arguments:?} {shown}");
        assert_eq!(english(&shown), [""; 0], "{arguments:?}");
        // A command line to paste is not broken.
        fits(shown.split("手工完成").next().unwrap(), 80, 400);
    }
}

/// `lesson` with a directory of its own.
fn lesson(directory: &Path, arguments: &[&str]) -> String {
    let output =
        sandbox(&[&["lesson"], arguments].concat()).env("SANDBOX_LESSONS", directory).output().unwrap();
    assert!(matches!(output.status.code(), Some(0 | 1)), "{arguments:?} {}", text(&output.stderr));
    text(&output.stdout)
}

/// The evidence that is the same in every language: the commands, and what other programs than `sandbox` print.
fn common<'a>(code: &[&'a str]) -> Vec<&'a str> {
    let mut is_own = false;
    let is_evidence = |line: &&&str| {
        let command = line.trim_start().strip_prefix("$ ");
        is_own = command.map_or(is_own, |command| command.contains("sandbox"));
        command.is_some() || !is_own
    };
    code.iter().filter(is_evidence).map(|line| line.trim()).collect()
}

/// The lines of code of a lesson: those with the prompt of a shell, and what follows them.
fn code(shown: &str) -> Vec<&str> {
    let mut is_code = false;
    let of_code = |line: &&str| {
        let is_start = line.trim_start().starts_with("$ ");
        is_code = is_start || (is_code && !line.is_empty());
        is_code
    };
    shown.lines().filter(of_code).collect()
}

#[test]
fn a_lesson_has_the_same_evidence_in_both_languages() {
    let directory = tempfile::tempdir().unwrap();
    let list = lesson(directory.path(), &["--lang", "zh", "list"]);
    fits(&list, 80, usize::MAX);
    let is_lesson = |line: &&str| line.trim_start().starts_with(|first: char| first.is_ascii_digit());
    let names = list.lines().filter(is_lesson).filter_map(|line| line.split_whitespace().nth(1));
    let lessons: Vec<&str> = names.collect();
    assert!(lessons.len() >= 19, "{list}");
    // Each title begins in the same column.
    let widths: Vec<usize> = list
        .lines()
        .filter(|line| line.contains(" 分钟"))
        .map(|line| {
            let from = line.find(" 分钟").unwrap();
            line[..from + " 分钟".len()].width()
                + line[from + " 分钟".len()..].chars().take_while(|one| *one == ' ').count()
        })
        .collect();
    assert!(widths.windows(2).all(|pair| pair[0] == pair[1]), "{list}");
    for name in sample(4, lessons) {
        let english_run = lesson(directory.path(), &["start", name]);
        let chinese = lesson(directory.path(), &["--lang", "zh", "start", name]);
        let code_lines = code(&chinese);
        assert_eq!(common(&code_lines), common(&code(&english_run)), "{name}");
        for line in chinese.lines() {
            let is_code = code_lines.contains(&line);
            assert!(line.width() <= 80 || is_code, "{name}: {} columns: {line}", line.width());
            let start = line.trim_start().chars().next().unwrap_or(' ');
            assert!(!"，。、；：？！）」".contains(start), "{name}: {line}");
            assert!(!line.contains("。 ") && !line.contains("， "), "{name}: {line}");
        }
    }
    for arguments in [&["hint"][..], &["progress"], &["check"], &["answer", "kill-init", "a"], &["next"]] {
        let chinese = lesson(directory.path(), &[&["--lang", "zh"], arguments].concat());
        let evidence = code(&chinese);
        let rest: Vec<&str> = english(&chinese).into_iter().filter(|line| !evidence.contains(line)).collect();
        assert!(is_chinese(&chinese) && rest.is_empty(), "{arguments:?} {rest:?}");
        fits(&chinese, 80, 400);
    }
}

/// The commands that a lesson advises have no `--lang`. So a lesson that is read in another language than that of the
/// locale says how to keep it.
#[test]
fn a_lesson_says_how_its_language_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let start = |locale: &str, language: &[&str]| {
        let mut command = sandbox(&[&["lesson", "start", "look"], language].concat());
        let output = command.env("SANDBOX_LESSONS", directory.path()).env("LC_ALL", locale).output().unwrap();
        text(&output.stdout)
    };
    for (locale, language) in [("C", "zh"), ("zh_CN.UTF-8", "en")] {
        let alias = format!("alias sandbox='sandbox --lang {language}'");
        let shown = start(locale, &["--lang", language]);
        assert_eq!(shown.lines().filter(|line| line.ends_with(&alias)).count(), 1, "{shown}");
        assert!(!start(locale, &[]).contains("alias"));
    }
    assert!(!start("C", &["--lang", "en"]).contains("alias"));
    // In bash, the line does what it says.
    let script = "shopt -s expand_aliases\nalias sandbox='sandbox --lang zh'\nsandbox lesson list";
    let path = binary().parent().unwrap().to_owned();
    let path = format!("{}:{}", path.display(), std::env::var("PATH").unwrap());
    let mut command = std::process::Command::new("bash");
    command
        .args(["-c", script])
        .env("PATH", path)
        .env("LC_ALL", "C")
        .env("SANDBOX_LESSONS", directory.path());
    assert!(is_chinese(&text(&command.output().unwrap().stdout)));
}

/// On a terminal: the keys between two cards, and between two pages of a lesson.
#[test]
fn the_keys_are_explained_in_chinese() {
    let program = binary();
    let directory = tempfile::tempdir().unwrap();
    let of = format!("SANDBOX_LESSONS={}", directory.path().display());
    let start = |arguments: &[&str]| {
        let words = [
            &["-u", "LC_ALL", "-u", "LC_MESSAGES", "LANG=zh_CN.UTF-8", &of, program.to_str().unwrap()][..],
            arguments,
        ]
        .concat();
        Terminal::of("/usr/bin/env".as_ref(), &words)
    };
    let mut terminal = start(&["uts"]);
    assert!(is_chinese(&terminal.wait_for("Enter：下一张   q：退出")));
    terminal.press("\n");
    terminal.wait_for("Enter：下一张   b：上一张   q：退出   e：系统调用");
    terminal.press("e");
    assert!(is_chinese(&terminal.wait_for("q：退出")));
    terminal.press("q");
    terminal.end();
    let mut terminal = start(&["lesson", "start", "uts"]);
    terminal.wait_for("Enter：下一页   b：上一页   q：退出 >");
    terminal.press("q\n");
    let (status, rest) = terminal.end();
    assert!(status.success() && rest.contains("从这里继续：sandbox lesson"), "{rest}");
}
