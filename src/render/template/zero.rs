//! What a template finds where a document has nothing. Docker fills a template with a value of a Go type, in which each field
//! exists: a field that the JSON leaves out has the zero value of its type there, and a nil map is printed as `map[]`.

use serde_json::{Map, Value};

/// The fields of a config that the JSON may leave out, each with the value that `json` prints for it.
const STRINGS: [&str; 4] = ["StopSignal", "MacAddress", "Hostname", "Domainname"];
const BOOLS: [&str; 2] = ["ArgsEscaped", "NetworkDisabled"];
const NULLS: [&str; 5] = ["ExposedPorts", "Healthcheck", "OnBuild", "Shell", "StopTimeout"];

/// The fields that are maps, and those that are lists, where their names are found with null.
const MAPS: [&str; 8] =
    ["ExposedPorts", "Labels", "Volumes", "Options", "PortBindings", "Ports", "Sysctls", "Tmpfs"];
const LISTS: [&str; 14] = [
    "Binds",
    "CapAdd",
    "CapDrop",
    "Cmd",
    "Dns",
    "Entrypoint",
    "Env",
    "ExecIDs",
    "ExtraHosts",
    "GroupAdd",
    "OnBuild",
    "SecurityOpt",
    "Shell",
    "VolumesFrom",
];

/// The value of a field that a part of a document lacks. None: its type has no such field. `above` is the name of that part.
pub(super) fn of_missing(above: Option<&str>, part: &Map<String, Value>, name: &str) -> Option<Value> {
    // The key of a map, which is no field.
    if above == Some("Labels") {
        return Some(Value::Null);
    }
    let is_config = part.contains_key("Entrypoint");
    let is_state = part.contains_key("OOMKilled");
    match name {
        _ if is_config && STRINGS.contains(&name) => Some(String::new().into()),
        _ if is_config && BOOLS.contains(&name) => Some(false.into()),
        _ if is_config && NULLS.contains(&name) => Some(Value::Null),
        "Health" if is_state => Some(Value::Null),
        _ => None,
    }
}

/// How the null of a field is printed. None: the type of the field is not known.
pub(super) fn printed_null(name: &str) -> Option<&'static str> {
    match name {
        _ if MAPS.contains(&name) => Some("map[]"),
        _ if LISTS.contains(&name) => Some("[]"),
        "Health" | "Healthcheck" | "StopTimeout" => Some("<nil>"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::render::template::Template;

    #[test]
    fn what_a_document_leaves_out_has_a_zero_value() {
        let value = json!({
            "Config": { "Entrypoint": null, "Labels": null, "Volumes": null, "Cmd": null },
            "State": { "OOMKilled": false },
            "Other": { "Config": { "Entrypoint": null, "Labels": { "a": "1" } } },
        });
        for (template, expected) in [
            ("{{.Config.ExposedPorts}} {{.Config.Labels}} {{.Config.Volumes}}", "map[] map[] map[]"),
            ("{{.Config.Shell}} {{.Config.Cmd}} {{.Config.Entrypoint}}", "[] [] []"),
            ("{{.Config.Healthcheck}} {{.State.Health}}|{{.Config.StopSignal}}|", "<nil> <nil>||"),
            (
                "{{if .Config.ExposedPorts}}yes{{else}}no{{end}}{{if .State.Health}}yes{{else}}no{{end}}",
                "nono",
            ),
            ("{{range .Config.Volumes}}x{{end}}{{with .Config}}{{.ExposedPorts}}{{end}}", "map[]"),
            ("{{index .Config.Labels \"x\"}}|{{index .Other.Config.Labels \"x\"}}|", "||"),
            (
                "{{.Config.Labels.x}} {{.Other.Config.Labels.x}} {{.Other.Config.Labels.a}}",
                "<no value> <no value> 1",
            ),
            ("{{len .Config.Labels}} {{join .Config.Cmd \" \"}}|", "0 |"),
            // As JSON they are what the document has.
            ("{{json .Config.Labels}} {{json .Config.ExposedPorts}}", "null null"),
            ("{{json .Other.Config}}", r#"{"Entrypoint":null,"Labels":{"a":"1"}}"#),
        ] {
            let filled = Template::parse(template).and_then(|template| template.fill(&value));
            assert_eq!(filled.as_deref(), Ok(expected), "{template}");
        }
        for wrong in
            ["{{.Config.Nothing}}", "{{.State.Nothing}}", "{{.Config.Healthcheck.Test}}", "{{.Shell}}"]
        {
            let filled = Template::parse(wrong).and_then(|template| template.fill(&value));
            assert!(filled.is_err(), "{wrong}: {filled:?}");
        }
    }
}
