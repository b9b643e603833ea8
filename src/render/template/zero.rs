//! What a template finds where a document has nothing. Docker fills a template with a value of a Go type, in which each field
//! exists: a field that the JSON leaves out has the zero value of its type there, and a nil map is printed as `map[]`.

use serde_json::{Map, Value};

/// The fields of a config that the JSON may leave out, each with the value that `json` prints for it.
const STRINGS: [&str; 4] = ["StopSignal", "MacAddress", "Hostname", "Domainname"];
const BOOLS: [&str; 2] = ["ArgsEscaped", "NetworkDisabled"];
const NULLS: [&str; 5] = ["ExposedPorts", "Healthcheck", "OnBuild", "Shell", "StopTimeout"];

/// The fields that are maps of Go, where the document may have any key.
const MAPS: [&str; 13] = [
    "Annotations",
    "Attributes",
    "Containers",
    "DriverOpts",
    "ExposedPorts",
    "Labels",
    "Networks",
    "Options",
    "PortBindings",
    "Ports",
    "StorageOpt",
    "Sysctls",
    "Tmpfs",
];

/// The same for fields whose name alone does not say it: the name of the part that has the field, and its own.
const MAPS_OF: [[&str; 2]; 3] = [["LogConfig", "Config"], ["GraphDriver", "Data"], ["Config", "Volumes"]];

/// The fields that are lists, and those that are pointers, where their names are found with null.
const LISTS: [&str; 28] = [
    "Binds",
    "BlkioDeviceReadBps",
    "BlkioDeviceReadIOps",
    "BlkioDeviceWriteBps",
    "BlkioDeviceWriteIOps",
    "BlkioWeightDevice",
    "CapAdd",
    "CapDrop",
    "Cmd",
    "DeviceCgroupRules",
    "DeviceRequests",
    "Devices",
    "Dns",
    "DnsOptions",
    "DnsSearch",
    "Entrypoint",
    "Env",
    "ExecIDs",
    "ExtraHosts",
    "GroupAdd",
    "Links",
    "Manifests",
    "Mounts",
    "OnBuild",
    "SecurityOpt",
    "Shell",
    "Ulimits",
    "VolumesFrom",
];
const POINTERS: [&str; 15] = [
    "ClusterVolume",
    "ContainerConfig",
    "Health",
    "Healthcheck",
    "ImageManifestDescriptor",
    "Init",
    "MemorySwappiness",
    "OomKillDisable",
    "PidsLimit",
    "Platform",
    "SizeRootFs",
    "SizeRw",
    "StopTimeout",
    "Storage",
    "UsageData",
];

/// The other parts: a field that each has, and the fields that its JSON may leave out.
const OTHERS: [(&str, &[(&str, Zero)]); 4] = [
    (
        "RestartCount",
        &[
            ("ImageManifestDescriptor", Zero::Null),
            ("SizeRootFs", Zero::Null),
            ("SizeRw", Zero::Null),
            ("Storage", Zero::Null),
        ],
    ),
    ("BlkioWeight", &[("KernelMemory", Zero::Number), ("KernelMemoryTCP", Zero::Number)]),
    ("RootFS", &[("ContainerConfig", Zero::Null), ("Manifests", Zero::Null), ("OsVersion", Zero::Text)]),
    ("Options", &[("ClusterVolume", Zero::Null), ("Status", Zero::Null), ("UsageData", Zero::Null)]),
];

/// The zero value of a type of Go.
#[derive(Debug, Clone, Copy)]
enum Zero {
    Null,
    Number,
    Text,
}

impl Zero {
    fn value(self) -> Value {
        match self {
            Zero::Null => Value::Null,
            Zero::Number => 0.into(),
            Zero::Text => String::new().into(),
        }
    }
}

/// Whether the part of a document at this place is a map of Go. Its keys are no fields.
pub(super) fn is_map(path: &[String]) -> bool {
    let Some((name, above)) = path.split_last() else { return false };
    let above = above.last().map(String::as_str).unwrap_or_default();
    MAPS.contains(&name.as_str()) || MAPS_OF.contains(&[above, name])
}

/// The value of a field that a part of a document lacks. None: its type has no such field. `place` is the path of that part.
pub(super) fn of_missing(place: &[String], part: &Map<String, Value>, name: &str) -> Option<Value> {
    if is_map(place) {
        return Some(Value::Null);
    }
    let is_config = part.contains_key("Entrypoint");
    let is_state = part.contains_key("OOMKilled");
    match name {
        _ if is_config && STRINGS.contains(&name) => Some(String::new().into()),
        _ if is_config && BOOLS.contains(&name) => Some(false.into()),
        _ if is_config && NULLS.contains(&name) => Some(Value::Null),
        "Health" if is_state => Some(Value::Null),
        _ => {
            let (_, fields) = OTHERS.iter().find(|(has, _)| part.contains_key(*has))?;
            fields.iter().find(|(field, _)| *field == name).map(|(_, zero)| zero.value())
        }
    }
}

/// How the null of a field is printed. None: the type of the field is not known.
pub(super) fn printed_null(name: &str) -> Option<&'static str> {
    match name {
        "Volumes" | "Status" => Some("map[]"),
        _ if MAPS.contains(&name) => Some("map[]"),
        _ if LISTS.contains(&name) => Some("[]"),
        _ if POINTERS.contains(&name) => Some("<nil>"),
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
            "Actor": { "Attributes": { "a": "1" } },
            "HostConfig": {
                "LogConfig": { "Config": { "max-size": "1k" } }, "Sysctls": null,
                "PidsLimit": null, "Devices": null, "Init": null,
            },
            "NetworkSettings": { "Networks": { "bridge": { "IPAddress": "10.0.0.2" } }, "Ports": {} },
            "GraphDriver": { "Data": null },
            "Box": { "RestartCount": 0, "HostConfig": { "BlkioWeight": 0 } },
            "Image": { "RootFS": {} },
            "Volume": { "Options": null },
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
            // The keys of a map are no fields, also where the map is the dot or a variable.
            (
                "{{.Actor.Attributes.exitCode}} {{with .Actor.Attributes}}{{.none}} {{.a}}{{end}} {{$x := .Actor}}{{$x.Attributes.b}}",
                "<no value> <no value> 1 <no value>",
            ),
            (
                "{{.HostConfig.LogConfig.Config.x}} {{.HostConfig.Sysctls.x}} {{.NetworkSettings.Networks.x}}",
                "<no value> <no value> <no value>",
            ),
            ("{{with .NetworkSettings.Ports.x}}y{{else}}n{{end}}{{.GraphDriver.Data.x}}", "n<no value>"),
            ("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", "10.0.0.2"),
            (
                "{{.HostConfig.PidsLimit}} {{.HostConfig.Devices}} {{$x := .HostConfig}}{{$x.Init}}",
                "<nil> [] <nil>",
            ),
            ("{{.Box.SizeRw}} {{.Box.Storage}} {{.Box.HostConfig.KernelMemory}}", "<nil> <nil> 0"),
            ("{{.Image.Manifests}} {{.Image.OsVersion}}|{{.Image.ContainerConfig}}", "[] |<nil>"),
            ("{{.Volume.Status}} {{.Volume.UsageData}}", "map[] <nil>"),
            // As JSON they are what the document has.
            ("{{json .Config.Labels}} {{json .Config.ExposedPorts}}", "null null"),
            ("{{json .Other.Config}}", r#"{"Entrypoint":null,"Labels":{"a":"1"}}"#),
        ] {
            let filled = Template::parse(template).and_then(|template| template.fill(&value));
            assert_eq!(filled.as_deref(), Ok(expected), "{template}");
        }
        for wrong in [
            "{{.Config.Nothing}}",
            "{{.State.Nothing}}",
            "{{.Config.Healthcheck.Test}}",
            "{{.Shell}}",
            "{{.Box.Manifests}}",
            "{{.Volume.SizeRw}}",
            "{{range .NetworkSettings.Networks}}{{.Nothing}}{{end}}",
            "{{.NetworkSettings.Networks.bridge.Nothing}}",
        ] {
            let filled = Template::parse(wrong).and_then(|template| template.fill(&value));
            assert!(filled.is_err(), "{wrong}: {filled:?}");
        }
    }
}
