//! The devices controller, checked by which devices the kernel lets a process open.

mod support;

use support::limits::may;
use support::{run, stdout, text};

#[test]
fn what_is_denied_cannot_be_opened_and_the_rest_can() {
    if !may("what_is_denied_cannot_be_opened_and_the_rest_can", "devices") {
        return;
    }
    let script =
        "for d in null zero full urandom kmsg; do (: <\"/dev/$d\") 2>/dev/null && echo $d; done; true";
    let opened = |flags: &[&str]| {
        let line = [&["devices", "-q"], flags, &["--", "sh", "-c", script]].concat();
        stdout(&line).split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(opened(&[]), "null zero full urandom", "docker's usual devices");
    assert_eq!(opened(&["--deny", "/dev/zero rw"]), "null full urandom");
    assert_eq!(opened(&["--deny", "a", "--allow", "c 1:3 rw"]), "null");
    assert_eq!(opened(&["--allow", "a", "--deny", "c 1:5"]), opened(&["--allow", "a"]).replace("zero ", ""));
}

#[test]
fn a_hole_in_what_is_allowed_is_refused_where_it_would_not_bite() {
    if !may("a_hole_in_what_is_allowed_is_refused_where_it_would_not_bite", "devices") {
        return;
    }
    let output = run(&["devices", "-q", "--deny", "/dev/zero", "--", "true"]);
    let error = text(&output.stderr);
    if support::limits::is_v2(&support::limits::group(std::process::id(), "devices")) {
        assert_eq!(output.status.code(), Some(0), "a program carries it: {error}");
    } else {
        assert_eq!(output.status.code(), Some(125));
        assert!(error.contains("`c *:* m`"), "{error}");
    }
}
