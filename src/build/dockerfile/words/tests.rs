use super::*;

fn value(name: &str) -> Option<String> {
    let value = match name {
        "HOME" => "/home/ada",
        "EMPTY" => "",
        "FILE" => "/srv/app.tar.gz",
        "LIST" => " one  two ",
        "STARS" => "a*b*c",
        "城" => "北京",
        _ => return None,
    };
    Some(value.to_owned())
}

fn expanded(text: &str) -> Result<String, String> {
    expand(text, '\\', &value).map(|expanded| expanded.text).map_err(|error| error.what)
}

#[test]
fn quotes_and_escapes_are_removed() {
    for (written, wanted) in [
        ("plain", "plain"),
        ("a'b c'd", "ab cd"),
        (r"a\'b", "a'b"),
        (r"a\tb", "atb"),
        (r#""a\tb""#, r"a\tb"),
        (r#""a\\tb""#, r"a\tb"),
        (r"'a\\b'", r"a\\b"),
        (r"end\", "end"),
        (r"end\\", r"end\"),
        (r#""it's""#, "it's"),
        (r#"'"'"#, "\""),
        ("'城'墙", "城墙"),
        ("", ""),
    ] {
        assert_eq!(expanded(written).as_deref(), Ok(wanted), "{written}");
    }
    for wrong in ["'a", "\"a", r"'a\'b'", r#""a\""#, "it's", "城'墙"] {
        assert!(expanded(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn variables_are_replaced() {
    for (written, wanted) in [
        ("$HOME/x", "/home/ada/x"),
        ("${HOME}x", "/home/adax"),
        ("a$NOTHING.b", "a.b"),
        ("$.", "$."),
        ("$", "$"),
        ("5$ ", "5$ "),
        ("$1st", "st"),
        ("$@@", "@"),
        ("$$x", "x"),
        (r"\$HOME", "$HOME"),
        (r"\\$HOME", r"\/home/ada"),
        ("'$HOME'", "$HOME"),
        ("\"$HOME\"", "/home/ada"),
        ("\"'$HOME'\"", "'/home/ada'"),
        (r#""\$HOME""#, "$HOME"),
        ("$城市", ""),
        ("${城}", "北京"),
    ] {
        assert_eq!(expanded(written).as_deref(), Ok(wanted), "{written}");
    }
}

#[test]
fn a_value_can_have_a_default_or_be_required() {
    for (written, wanted) in [
        ("${NOTHING:-x}", "x"),
        ("${NOTHING-x}", "x"),
        ("${EMPTY:-x}", "x"),
        ("${EMPTY-x}", ""),
        ("${HOME:-x}", "/home/ada"),
        ("${NOTHING:-}", ""),
        ("${HOME:+x}", "x"),
        ("${EMPTY:+x}", ""),
        ("${EMPTY+x}", "x"),
        ("${NOTHING+x}", ""),
        ("${NOTHING:-$HOME}", "/home/ada"),
        ("${A:-${B:-${HOME}:}}", "/home/ada:"),
        (r"${A:-\$HOME}", "$HOME"),
        (r"${A:-\}}", "}"),
        ("${A:-'}'}", "}"),
        ("${A:-x}}", "x}"),
        ("${A:-x {b}", "x {b"),
        ("${HOME?}", "/home/ada"),
        ("${EMPTY?}", ""),
        ("${1:-x}", "x"),
        ("${#:-x}", "x"),
    ] {
        assert_eq!(expanded(written).as_deref(), Ok(wanted), "{written}");
    }
    for (wrong, what) in [
        ("${NOTHING?}", "NOTHING: it is not set"),
        ("${NOTHING:?give it $HOME}", "NOTHING: give it /home/ada"),
        ("${EMPTY:?}", "EMPTY: it is empty"),
    ] {
        assert_eq!(expanded(wrong).as_deref().map_err(|error| &**error), Err(what), "{wrong}");
    }
}

#[test]
fn a_part_of_a_value_can_be_removed_or_replaced() {
    for (written, wanted) in [
        ("${FILE#*/}", "srv/app.tar.gz"),
        ("${FILE##*/}", "app.tar.gz"),
        ("${FILE%.*}", "/srv/app.tar"),
        ("${FILE%%.*}", "/srv/app"),
        ("${FILE#x}", "/srv/app.tar.gz"),
        ("${FILE#}", "/srv/app.tar.gz"),
        ("${FILE#/???}", "/app.tar.gz"),
        ("${FILE%$EMPTY}", "/srv/app.tar.gz"),
        ("${NOTHING#*}", ""),
        (r"${STARS#a\*}", "b*c"),
        (r"${STARS##*\*}", "c"),
        (r"${STARS%\**}", "a*b"),
        (r"${FILE/app/web}", "/srv/web.tar.gz"),
        (r"${FILE/a/}", "/srv/pp.tar.gz"),
        (r"${FILE//a/A}", "/srv/App.tAr.gz"),
        (r"${FILE//\//:}", ":srv:app.tar.gz"),
        (r"${FILE//./$HOME}", "/srv/app/home/adatar/home/adagz"),
        (r"${FILE/$EMPTY/x}", "x/srv/app.tar.gz"),
        (r"${FILE///}", "/srv/app.tar.gz"),
        (r"${FILE//*/x}", "x"),
        (r"${FILE/s*p/-}", "/-.tar.gz"),
        (r"${FILE//?/x}", "xxxxxxxxxxxxxxx"),
        (r"${FILE//[a]/x}", "/srv/app.tar.gz"),
    ] {
        assert_eq!(expanded(written).as_deref(), Ok(wanted), "{written}");
    }
    for wrong in [r"${FILE#\x}", "${FILE:#x}", "${FILE:%x}", "${FILE//a}", "${FILE//}", "${FILE/a/b"] {
        assert!(expanded(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn an_unknown_form_is_refused() {
    for wrong in
        ["${}", "${", "${{x}", "${:-x}", "${.}", "${x", "${x:", "${x:y}", "${HOME=x}", "${HOME:=x}", "${a b}"]
    {
        assert!(expanded(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn an_error_has_the_place_of_what_is_wrong() {
    let place = |text: &str| expand(text, '\\', &value).map_err(|error| text[error.range].to_owned());
    assert_eq!(place("a ${x:y} b"), Err("${x:y".to_owned()));
    assert_eq!(place("a 'b c"), Err("'b c".to_owned()));
    assert_eq!(place("a ${x:-b c"), Err("${x:-b c".to_owned()));
    assert_eq!(place("a ${x:-${y?}} c"), Err("${y?}".to_owned()));
}

#[test]
fn a_value_with_blanks_is_several_words_without_quotes() {
    let words = |text: &str| expand(text, '\\', &value).expect("an expanded text").words;
    assert_eq!(words("a  b"), ["a", "b"]);
    assert_eq!(words("x${LIST}y"), ["x", "one", "two", "y"]);
    assert_eq!(words("x\"${LIST}\"y"), ["x one  two y"]);
    assert_eq!(words(r"a\ b '' c"), ["a b", "c"]);
    assert_eq!(words("$LIST"), ["one", "two"]);
}

#[test]
fn the_names_that_were_read_are_reported() {
    let names = |text: &str| {
        let expanded = expand(text, '\\', &value).expect("an expanded text");
        let list = |names: BTreeSet<String>| names.into_iter().collect::<Vec<_>>().join(" ");
        (list(expanded.used), list(expanded.missing))
    };
    assert_eq!(names("$HOME ${A:-$FILE} '$B' $EMPTY"), ("EMPTY FILE HOME".into(), "A".into()));
    assert_eq!(names("none"), (String::new(), String::new()));
}

#[test]
fn the_escape_character_can_be_a_backtick() {
    let text = |text| expand(text, '`', &value).map(|expanded| expanded.text);
    assert_eq!(text(r"C:\dir\`$HOME"), Ok(r"C:\dir\$HOME".into()));
    assert_eq!(text(r"\$HOME"), Ok(r"\/home/ada".into()));
    assert_eq!(text("${STARS#a`*}"), Ok("b*c".into()));
}

#[test]
fn work_and_size_have_a_limit() {
    let deep = "${a:-".repeat(60) + &"}".repeat(60);
    assert!(expanded(&deep).is_err());
    let deep = "${a:-".repeat(50) + &"}".repeat(50);
    assert_eq!(expanded(&deep).as_deref(), Ok(""));
    let long = |_: &str| Some("x".repeat(1 << 20));
    assert!(expand(&"$a".repeat(10), '\\', &long).is_err());
    assert!(expand(&format!("\"{}\"", "$a".repeat(10)), '\\', &long).is_err());
    assert!(expand("${a//x*y/z}", '\\', &long).is_err());
    assert!(expand(&format!("${{a#{}}}", "?*".repeat(100)), '\\', &long).is_err());
}
