//! `--format json`: valid JSON on standard output, nothing else there, and only documented keys.
//!
//! Inputs of this kind: every feature with --show-proc, --explain, --dry-run, --print-spec, --break (the list and each
//! mistake), --demo (the list and a card), the whole demonstration; each of them with --stable; `run`, `enter`,
//! `compare`, `verify`, `gc`, `doctor`, `ledger`, `spec check`, `spec init --for list`. Where there is nothing to print as JSON, or
//! an error: a text on standard error, and an empty standard output or valid JSON.

mod support;

use std::fs;

use serde_json::Value;
use support::kept::KeptHome;
use support::{alone, feed, repository, run, sample, sandbox, stdout, text};

const FEATURES: [&str; 13] = [
    "pid", "mnt", "net", "uts", "ipc", "user", "cgroup", "time", "memory", "cpu", "blkio", "devices", "pids",
];

/// The schema that `sandbox spec schema NAME` prints.
fn schema(name: &str) -> Value {
    serde_json::from_str(&stdout(&["spec", "schema", name])).expect(name)
}

/// Whether `value` has only what `schema` says: types, required keys, and no other keys. `whole` has the definitions.
fn check(value: &Value, schema: &Value, whole: &Value, place: &str) {
    if let Some(name) = schema["$ref"].as_str().and_then(|to| to.strip_prefix("#/$defs/")) {
        return check(value, &whole["$defs"][name], whole, place);
    }
    let own = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let types: Vec<&str> = match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    };
    let fits = types.contains(&own) || (own == "integer" && types.contains(&"number"));
    assert!(types.is_empty() || fits, "{place} is {value}, expected {types:?}");
    if let (Value::Object(map), Some(properties)) = (value, schema["properties"].as_object()) {
        for (key, value) in map {
            let known = properties.get(key).unwrap_or_else(|| panic!("{place}.{key} is in no schema"));
            check(value, known, whole, &format!("{place}.{key}"));
        }
        for key in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            assert!(map.contains_key(key), "{place} has no {key}: {value}");
        }
    }
    for (index, value) in value.as_array().into_iter().flatten().enumerate() {
        check(value, &schema["items"], whole, &format!("{place}[{index}]"));
    }
}

/// Runs `sandbox` with `--format json`, also with `--stable`, and checks what it prints.
fn checked(arguments: &[&str], name: &str) -> Vec<Value> {
    let whole = schema(name);
    let mut printed = Vec::new();
    for more in [&["--format", "json"][..], &["--stable", "--format", "json"]] {
        let arguments = [arguments, more].concat();
        let output = run(&arguments);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        if out.is_empty() {
            // A limit that cannot be set here, or a namespace that cannot be created.
            assert!(err.starts_with("sandbox: ") && !output.status.success(), "{arguments:?}: {err}");
            continue;
        }
        let value: Value =
            serde_json::from_str(&out).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {out}"));
        assert!([Some(0), Some(77)].contains(&output.status.code()), "{arguments:?}: {err}");
        check(&value, &whole, &whole, &format!("{arguments:?}"));
        printed.push(value);
    }
    printed
}

#[test]
fn every_mode_of_every_feature_is_valid_json() {
    let _alone = alone();
    for feature in sample(2, FEATURES) {
        checked(&[feature, "--show-proc"], "view");
        assert_eq!(checked(&[feature, "--dry-run"], "plan").len(), 2, "{feature}");
        assert_eq!(checked(&[feature, "--break"], "names").len(), 2, "{feature}");
        let cards = checked(&[feature, "--demo", "list"], "names");
        let names: Vec<&Value> = cards[0].as_array().unwrap().iter().map(|card| &card["name"]).collect();
        // `list` asks for this list, so no card can have that name.
        assert!(!names.is_empty() && !names.contains(&&Value::from("list")), "{feature}");
        let spec = stdout(&[feature, "--print-spec", "--format", "json"]);
        assert!(serde_json::from_str::<Value>(&spec).unwrap()[feature].is_object(), "{spec}");
    }
}

#[test]
fn demonstrations_steps_and_mistakes_are_valid_json() {
    let _alone = alone();
    for feature in sample(2, ["pid", "mnt", "uts", "ipc", "user", "cgroup", "devices"]) {
        for printed in checked(&[feature, "--explain", "--show-proc"], "explained") {
            assert!(printed["explained"][0]["call"].is_string() && printed["view"].is_object(), "{printed}");
            check(&printed["view"], &schema("view"), &schema("view"), feature);
        }
        let names = stdout(&[feature, "--demo", "list"]);
        let first = names.lines().next().unwrap();
        checked(&[feature, "--demo", first], "cards");
        checked(&[feature, "--demo", first, "--explain"], "explained");
        let mistakes = stdout(&[feature, "--break", "--format", "json"]);
        for mistake in serde_json::from_str::<Vec<Value>>(&mistakes).unwrap() {
            let name = mistake["name"].as_str().unwrap();
            checked(&[feature, "--break", name], "contrast");
        }
    }
    checked(&["uts"], "cards");
    checked(&["mnt", "--break", "chroot", "--explain"], "explained");
    assert_eq!(checked(&["run", "--break"], "names").len(), 2);
}

/// With a typed command, standard output belongs to it. The view is on standard error.
#[test]
fn the_view_of_a_command_is_json_beside_its_output() {
    let _alone = alone();
    let spec = repository().join("lessons/specs/hostname.yaml");
    let spec = spec.to_str().unwrap();
    for more in
        [&["--show-proc"][..], &["--show-proc", "--stable"], &["--explain"], &["--explain", "--show-proc"]]
    {
        let name = if more.contains(&"--explain") { "explained" } else { "view" };
        for before in [&["uts"][..], &["pid"], &["run", spec]] {
            let output = run(&[before, more, &["--format", "json", "--", "echo", "mine"]].concat());
            assert_eq!(text(&output.stdout), "mine\n", "{before:?} {more:?}: {}", text(&output.stderr));
            let value: Value = serde_json::from_slice(&output.stderr)
                .unwrap_or_else(|error| panic!("{before:?} {more:?}: {error}: {}", text(&output.stderr)));
            check(&value, &schema(name), &schema(name), name);
        }
    }
    // What the container does not have is in the document too.
    for (more, name) in
        [(&["--show-proc"][..], "view"), (&["--explain"], "explained"), (&["--without", "uts"], "returned")]
    {
        let spec =
            "uts:\nmemory: { limit: 64m }\npids: { max: 9 }\noptional: [memory, pids]\ncommand: [\"true\"]\n";
        let mut command = sandbox(&[&["run", "--format", "json"], more, &["-"]].concat());
        let output = feed(&mut command, spec);
        let value: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{more:?}: {}{}", text(&output.stdout), text(&output.stderr)));
        check(&value, &schema(name), &schema(name), name);
    }
    checked(&["run", spec, "--dry-run"], "plan");
    for arguments in [&["run", spec][..], &["uts", "--", "true"], &["enter", "1", "--", "true"]] {
        let split = arguments.iter().position(|word| *word == "--").unwrap_or(arguments.len());
        let output = run(&[&arguments[..split], &["--format", "json"], &arguments[split..]].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty() && text(&output.stderr).contains("--show-proc"), "{arguments:?}");
    }
    assert_eq!(run(&["uts", "--step", "--format", "json"]).status.code(), Some(2));
}

/// Without COMMAND on the command line, standard output is the JSON. The command of the spec runs all the same, and prints
/// to standard error. Of this kind: --show-proc, --explain, both, --stable, --without · a command that prints, that has a
/// new terminal, that closes its output, that fails · as `enter` without COMMAND, whose command is sh.
#[test]
fn without_a_typed_command_standard_output_is_json() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let spec = |name: &str, more: &str, command: &str| {
        let path = directory.path().join(format!("{name}.yaml"));
        fs::write(&path, format!("name: {name}\nuts: {{ hostname: box }}\n{more}command: {command}\n"))
            .unwrap();
        path.to_str().unwrap().to_owned()
    };
    let specs = [
        (spec("prints", "", "[sh, -c, 'echo mine; exit 3']"), 3),
        (spec("terminal", "tty: true\n", "[sh, -c, 'echo mine; exit 4']"), 4),
        (spec("reopens", "user: { map: root }\n", "[sh, -c, 'echo mine > /dev/stdout; exec >&-']"), 0),
    ];
    for (more, name) in [
        (&["--show-proc"][..], "view"),
        (&["--show-proc", "--stable"], "view"),
        (&["--explain"], "explained"),
        (&["--explain", "--show-proc"], "explained"),
        (&["--without", "uts", "-q"], "returned"),
        (&["--without", "uts"], "returned"),
    ] {
        for (spec, status) in &specs {
            let output = run(&[&["run", spec], more, &["--format", "json"]].concat());
            let (out, err) = (text(&output.stdout), text(&output.stderr));
            assert_eq!(output.status.code(), Some(*status), "{spec} {more:?}: {err}");
            assert!(err.contains("mine"), "{spec} {more:?}: {err}");
            if more.contains(&"-q") {
                assert_eq!(out, "", "{spec}");
                continue;
            }
            let value: Value =
                serde_json::from_str(&out).unwrap_or_else(|error| panic!("{spec} {more:?}: {error}: {out}"));
            check(&value, &schema(name), &schema(name), name);
        }
    }
    let output = run(&["run", &specs[0].0, "--without", "uts", "--show-proc", "--format", "json"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{}", text(&output.stderr));
    let sleeps = spec("sleeps", "", "[sleep, '60']");
    let mut child = support::sandbox(&["run", "-q", &sleeps]).spawn().unwrap();
    let pid = support::child_named(child.id(), "sleep").to_string();
    let mut enter = support::sandbox(&["enter", &pid, "--show-proc", "--format", "json"]);
    let output = support::feed(&mut enter, "echo mine\n");
    child.kill().unwrap();
    child.wait().unwrap();
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    check(&value, &schema("view"), &schema("view"), "enter");
    assert!(text(&output.stderr).contains("mine"), "{}", text(&output.stderr));
}

#[test]
fn the_other_subcommands_are_valid_json() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (good, bad, other) = (path("good.yaml"), path("bad.yaml"), path("other.yaml"));
    let spec = |hostname: &str| {
        format!("name: json-test\nuts: {{ hostname: {hostname} }}\ncommand: [sleep, '60']\n")
    };
    fs::write(&good, spec("box")).unwrap();
    fs::write(&other, spec("other")).unwrap();
    fs::write(&bad, "utss: {}\nuts: { hostnam: x }\n").unwrap();
    checked(&["doctor"], "doctor");
    checked(&["doctor", "--lessons"], "lessons");
    checked(&["gc"], "removed");
    let home = path("lessons");
    let graded = run(&["lesson", "--dir", &home, "check", "--all", "--lesson", "look", "--report", "json"]);
    let grade: Value = serde_json::from_slice(&graded.stdout).unwrap();
    check(&grade, &self::schema("grade"), &self::schema("grade"), "grade");
    assert_eq!(grade["exercises"].as_array().unwrap().len(), 3, "{grade}");
    checked(&["spec", "init", "--for", "list"], "names");
    let schema = schema("checked");
    let output = run(&["spec", "check", &good, &bad, &path("none"), "--format", "json"]);
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    check(&value, &schema, &schema, "check");
    assert_eq!(output.status.code(), Some(125));
    assert_eq!(
        (&value[0]["good"], &value[1]["good"], &value[2]["good"]),
        (&true.into(), &false.into(), &false.into())
    );
    assert_eq!(
        (&value[1]["mistakes"][0]["line"], &value[1]["mistakes"][1]["line"]),
        (&1.into(), &2.into()),
        "{value}"
    );
    let mut child = support::sandbox(&["run", "-q", &good]).spawn().unwrap();
    let pid = support::child_named(child.id(), "sleep").to_string();
    checked(&["compare", &pid], "comparison");
    let config = &checked(&["run", "--print-config", &good], "config")[0];
    assert_eq!((&config["name"], &config["environment"]["root"]), (&"json-test".into(), &Value::Null));
    checked(&["enter", &pid, "--dry-run"], "plan");
    let verified = checked(&["verify", "json-test", &good], "verified");
    assert_eq!((&verified[0]["holds"], verified.len()), (&true.into(), 2));
    let output = run(&["verify", "json-test", &other, "--format", "json"]);
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&value["holds"], output.status.code()), (&false.into(), Some(125)), "{value}");
    assert!(value["differences"][0]["wanted"].as_str().unwrap().contains("other"), "{value}");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn the_ledger_is_valid_json_whether_something_is_new_or_not() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("before");
    let file = file.to_str().unwrap();
    let recorded = checked(&["ledger", "start", file], "recorded");
    assert!(recorded[0]["recorded"]["mounts"].as_u64().unwrap() > 0, "{recorded:?}");
    let mut child = sandbox(&["uts", "-q", "--", "sleep", "60"]).spawn().unwrap();
    support::child_named(child.id(), "sleep");
    for more in [&["--ours"][..], &["--stable"]] {
        let output = run(&[&["ledger", "diff", file, "--format", "json"], more].concat());
        let value: Value = serde_json::from_slice(&output.stdout).unwrap();
        check(&value, &schema("ledger"), &schema("ledger"), "ledger");
        assert_eq!(output.status.code(), Some(1), "{value}");
        assert!(!value["new"].as_array().unwrap().is_empty(), "{value}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

/// `stats` and `events` print a line of JSON for each container and each event. Of this kind: a container that runs, that was
/// never started, that has ended; events of `exec`, which have the command too, and of a removed container.
#[test]
fn lines_of_stats_and_events_are_valid_json() {
    let home = KeptHome::new();
    let id = home.sleeper("web");
    let ended = home.spec("", "true");
    home.out(&["create", "--name", "ended", &ended]);
    let lines = |arguments: &[&str], name: &str| {
        let schema = schema(name);
        let printed = home.out(arguments);
        let lines: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        lines.iter().for_each(|line| check(line, &schema, &schema, name));
        lines
    };
    for more in [&[][..], &["--no-trunc"]] {
        let rows = lines(&[&["stats", "-a", "--no-stream", "--format", "json"], more].concat(), "stats");
        assert_eq!(rows.len(), 2, "{rows:?}");
        let web = rows.iter().find(|row| row["Name"] == "web").unwrap();
        assert!(id.starts_with(web["ID"].as_str().unwrap()), "{web}");
    }
    home.out(&["exec", "web", "true"]);
    home.out(&["rename", "ended", "late"]);
    home.out(&["rm", "-f", "web", "late"]);
    let events = lines(&["events", "--since", "1h", "--until", "0s", "--format", "json"], "events");
    let actions: Vec<&str> = events.iter().map(|event| event["Action"].as_str().unwrap()).collect();
    for action in ["create", "start", "exec_create: true", "exec_die", "rename", "die", "destroy"] {
        assert!(actions.contains(&action), "{action}: {actions:?}");
    }
}

/// Of this kind: one image and two, a path that is there, that was deleted, whose links lead in a circle; no difference.
#[cfg(feature = "images")]
#[test]
fn what_is_said_of_images_is_valid_json() {
    let home = KeptHome::new();
    home.out(&["image", "from-host", "tool", "sh", "rm", "ln"]);
    for (name, dockerfile) in [
        ("one", "FROM tool\nENV A=1\nRUN echo 1 > /file; ln -s b /a; ln -s a /b\n"),
        ("other", "FROM one\nRUN rm /file\n"),
    ] {
        let made = support::feed(
            &mut home.command(&["build", "-q", "--network", "none", "-t", name, "-"]),
            dockerfile,
        );
        assert!(made.status.success(), "{}", text(&made.stderr));
    }
    let said = |arguments: &[&str], status: i32, name: &str| {
        let schema = schema(name);
        let output = home.run(&[&["image"], arguments, &["--format", "json"]].concat());
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {}", text(&output.stderr));
        let value: Value = serde_json::from_slice(&output.stdout).unwrap();
        check(&value, &schema, &schema, name);
        value
    };
    let trees = said(&["tree", "one", "other"], 0, "image-tree");
    assert_eq!(
        (trees[0]["image"].as_str(), trees[1]["steps"][3]["layer"]["number"].as_u64()),
        (Some("one:latest"), Some(3))
    );
    let layers = trees[1]["steps"].as_array().unwrap().iter().filter(|step| !step["layer"].is_null());
    assert_eq!(layers.count(), 3, "{trees}");
    let verified = said(&["verify", "one"], 0, "image-verified");
    assert!(
        verified[0]["parts"].as_array().unwrap().iter().all(|part| part["wrong"].is_null()),
        "{verified}"
    );
    let which = said(&["which", "other", "file"], 1, "image-which");
    let changes: Vec<&Value> =
        which["layers"].as_array().unwrap().iter().map(|layer| &layer["change"]).collect();
    assert_eq!(
        (&which["from"], changes),
        (&Value::Null, vec![&Value::from("deletes"), &Value::from("has"), &Value::Null])
    );
    assert_eq!(said(&["which", "one", "/file"], 0, "image-which")["layers"][0]["file"]["kind"], "file");
    assert!(said(&["which", "one", "/a/x"], 1, "image-which")["path"].is_null());
    let differences = said(&["diff", "one", "other"], 0, "image-diff");
    assert_eq!(
        (differences[0]["path"].as_str(), differences[0]["change"].as_str()),
        (Some("/file"), Some("deleted"))
    );
    assert_eq!(said(&["diff", "one", "one"], 0, "image-diff"), Value::Array(Vec::new()));
}

#[test]
fn every_schema_can_be_printed_and_describes_itself() {
    for name in stdout(&["spec", "schema", "list"]).lines() {
        let schema = schema(name);
        assert!(
            schema["$schema"].is_string() && !schema["description"].as_str().unwrap_or("spec").is_empty(),
            "{name}"
        );
    }
    assert_eq!(run(&["spec", "schema", "veiw"]).status.code(), Some(2));
    assert!(text(&run(&["spec", "schema", "veiw"]).stderr).contains("sandbox spec schema view"));
}
