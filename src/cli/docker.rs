//! The flags of `docker run`, which are keys of a spec here.

use crate::error::Error;
use crate::text::{text, text_with};

/// How a flag reads its value.
enum Takes {
    /// None.
    Nothing,
    /// One, `{}` in the words of the spec.
    Value,
    /// Two with this sign between them, `{a}` and `{b}`.
    Pair(char),
}

use Takes::{Nothing, Pair, Value};

/// Names, what follows, and what it is in a spec.
const FLAGS: &[(&[&str], Takes, &str)] = &[
    (&["-m", "--memory"], Value, "memory: { limit: {} }"),
    (&["--memory-reservation"], Value, "memory: { reservation: {} }"),
    // docker's is the sum of both.
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

/// What stands in a spec for the flags of this line, after `run`; none where `refused` isn't one of docker's.
pub(super) fn answer(words: &[String], refused: &str) -> Option<Error> {
    find(refused)?;
    // What comes behind `--` is the command's own.
    let words: Vec<&str> = words.iter().map(String::as_str).take_while(|word| *word != "--").collect();
    let keys = words.iter().enumerate().filter_map(|(at, word)| key(word, words.get(at + 1).copied()));
    let keys: Vec<String> = keys.collect();
    let what = text_with("habit.docker.what", &[("flag", refused)]);
    Some(Error::usage(what).why(text("habit.docker.hint")).todo(keys.join("\n")))
}

fn find(flag: &str) -> Option<&'static (&'static [&'static str], Takes, &'static str)> {
    FLAGS.iter().find(|(names, ..)| names.contains(&flag))
}

/// What `-m 64m`, `--memory=64m` or `--memory` `64m` is in a spec.
fn key(word: &str, next: Option<&str>) -> Option<String> {
    let (flag, own) = match word.split_once('=') {
        Some((flag, value)) if flag.starts_with("--") => (flag, Some(value)),
        _ => (word, None),
    };
    let (_, takes, words) = find(flag)?;
    let value = own.or(next).unwrap_or_default();
    Some(match takes {
        Nothing => (*words).to_owned(),
        Value => words.replacen("{}", value, 1),
        Pair(sign) => {
            let (a, b) = value.split_once(*sign).unwrap_or((value, ""));
            words.replace("{a}", a).replace("{b}", b)
        }
    })
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
        assert_eq!(key("-e", Some("A=b=c")).unwrap(), "env: { A: \"b=c\" }");
    }
}
