//! Maps the flags of `docker run` to keys of a spec, to answer a command line that uses them.

use crate::error::Error;
use crate::text::{text, text_with};

/// The value of a flag.
enum Takes {
    /// The flag takes no value.
    Nothing,
    /// One value, which replaces `{}` in the spec.
    Value,
    /// Two values with this character between them, which replace `{a}` and `{b}`.
    Pair(char),
}

use Takes::{Nothing, Pair, Value};

/// The names of each flag, its value, and the key of a spec.
const FLAGS: &[(&[&str], Takes, &str)] = &[
    (&["-m", "--memory"], Value, "memory: { limit: {} }"),
    (&["--memory-reservation"], Value, "memory: { reservation: {} }"),
    // Docker's value is memory and swap together, so it cannot be copied.
    (&["--memory-swap"], Value, "memory: { swap: 0 }"),
    (&["-c", "--cpu-shares"], Value, "cpu: { shares: {} }"),
    (&["--cpus"], Value, "cpu: { cpus: {} }"),
    (&["--cpuset-cpus"], Value, "cpu: { cpuset: \"{}\" }"),
    (&["--blkio-weight"], Value, "blkio: { weight: {} }"),
    (&["--device-read-bps"], Pair(':'), "blkio: { read_bps: { {a}: {b} } }"),
    (&["--device-write-bps"], Pair(':'), "blkio: { write_bps: { {a}: {b} } }"),
    (&["--device-read-iops"], Pair(':'), "blkio: { read_iops: { {a}: {b} } }"),
    (&["--device-write-iops"], Pair(':'), "blkio: { write_iops: { {a}: {b} } }"),
    (&["--device"], Value, "devices: { allow: [\"{} rwm\"] }"),
    (&["--device-cgroup-rule"], Value, "devices: { allow: [\"{}\"] }"),
    (&["--pids-limit"], Value, "pids: { max: {} }"),
    (&["-p", "--publish"], Value, "net: { publish: [\"{}\"] }"),
    (&["--network", "--net"], Value, "net: { mode: {} }"),
    (&["-v", "--volume"], Pair(':'), "mnt: { mounts: [{ type: bind, source: {a}, target: {b} }] }"),
    (&["--mount"], Value, "mnt: { mounts: [{ type: bind, source: /srv, target: /srv }] }"),
    (&["--tmpfs"], Value, "mnt: { mounts: [{ type: tmpfs, target: {} }] }"),
    (&["--read-only"], Nothing, "mnt: { readonly: true }"),
    (&["--hostname"], Value, "uts: { hostname: {} }"),
    (&["--domainname"], Value, "uts: { domainname: {} }"),
    (&["-e", "--env"], Pair('='), "env: { {a}: \"{b}\" }"),
    (&["-w", "--workdir"], Value, "workdir: {}"),
    (&["-u", "--user"], Value, "run_as: \"{}\""),
    (&["--name"], Value, "name: {}"),
    (&["--entrypoint"], Value, "command: [{}]"),
    (&["--init"], Nothing, "init: true"),
    (&["--cap-add"], Value, "capabilities: { keep: [{}] }"),
    (&["--cap-drop"], Value, "capabilities: { keep: [] }"),
    (&["--security-opt"], Value, "no_new_privileges: true"),
    (&["--ulimit"], Pair('='), "rlimits: { {a}: {b} }"),
];

/// The keys of a spec for the flags in `arguments`, those after `run`. None if `refused` is not a flag of Docker.
pub(super) fn answer(arguments: &[String], refused: &str) -> Option<Error> {
    find(refused)?;
    // The arguments after `--` belong to the command.
    let arguments: Vec<&str> =
        arguments.iter().map(String::as_str).take_while(|argument| *argument != "--").collect();
    let keys = arguments.iter().enumerate();
    let keys = keys.filter_map(|(at, argument)| key(argument, arguments.get(at + 1).copied()));
    let keys: Vec<String> = keys.collect();
    let what = text_with("habit.docker.what", &[("flag", refused)]);
    Some(Error::usage(what).why(text("habit.docker.hint")).todo(keys.join("\n")))
}

fn find(flag: &str) -> Option<&'static (&'static [&'static str], Takes, &'static str)> {
    FLAGS.iter().find(|(names, ..)| names.contains(&flag))
}

/// The key of a spec for `-m 64m`, `--memory=64m` or `--memory 64m`.
fn key(argument: &str, next: Option<&str>) -> Option<String> {
    let (flag, own) = match argument.split_once('=') {
        Some((flag, value)) if flag.starts_with("--") => (flag, Some(value)),
        _ => (argument, None),
    };
    let (_, takes, spec) = find(flag)?;
    let value = own.or(next).unwrap_or_default();
    Some(match takes {
        Nothing => (*spec).to_owned(),
        Value if flag.starts_with("--net") && value.starts_with("container:") => {
            put("net: { join: \"{}\" }", "{}", value)
        }
        Value => put(spec, "{}", value),
        Pair(separator) => {
            let (a, b) = value.split_once(*separator).unwrap_or((value, ""));
            put(&put(spec, "{b}", b), "{a}", a)
        }
    })
}

/// Puts a value into a line of YAML. It is quoted where it would mean something else than a string.
fn put(spec: &str, place: &str, value: &str) -> String {
    // JSON is YAML.
    let json = |text: &str| serde_json::Value::from(text).to_string();
    let string = spec.split('"').find(|part| part.contains(place)).filter(|_| spec.contains('"'));
    if let Some(string) = string.filter(|string| spec.contains(&format!("\"{string}\""))) {
        return spec.replace(&format!("\"{string}\""), &json(&string.replace(place, value)));
    }
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "/._-+".contains(character);
    let is_safe = !value.is_empty() && value.chars().all(is_plain);
    spec.replace(place, &if is_safe { value.to_owned() } else { json(value) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::spec::yaml;

    #[test]
    fn each_flag_is_a_key_that_a_spec_can_have() {
        let value = |names: &[&str]| match names[0] {
            "-p" => "8080:80",
            "--network" => "bridge",
            "--device" => "/dev/null",
            "--device-cgroup-rule" => "c 1:3 r",
            "-v" => "/srv:/srv",
            "--tmpfs" | "-w" => "/mnt",
            "--cap-add" => "NET_ADMIN",
            "--ulimit" => "nofile=1024",
            "-e" => "A=b=c",
            name if name.starts_with("--device-") => "/dev/vda:1000",
            _ => "100",
        };
        for (names, ..) in FLAGS {
            for name in *names {
                let key = key(name, Some(value(names))).unwrap();
                yaml::read(&key, name).unwrap_or_else(|mistakes| panic!("{name}: {key}: {mistakes:?}"));
            }
        }
        assert_eq!(key("--memory=64m", None).unwrap(), "memory: { limit: 64m }");
        assert_eq!(
            key("--hostname", Some("a, b: \"c\"\n")).unwrap(),
            r#"uts: { hostname: "a, b: \"c\"\n" }"#
        );
        assert_eq!(key("-e", Some("A=b=c")).unwrap(), "env: { A: \"b=c\" }");
    }
}
