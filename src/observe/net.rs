//! Readers of the network files of a process's namespace, /proc/PID/net. proc_pid_net(5)

use super::proc::{refusal, seen};
use super::{Observation, Value, file};

/// The network devices of a process's namespace, by name.
pub fn devices(process: &str) -> Observation {
    part(format!("{process}/net/dev"), device_names)
}

/// The names in a table of devices, in the kernel's order: below two lines of headings, up to the colon. procfs's table of
/// devices has no order.
pub fn device_names(table: &str) -> String {
    let names = table.lines().skip(2).filter_map(|line| Some(line.split_once(':')?.0.trim()));
    names.collect::<Vec<_>>().join(" ")
}

/// The IPv4 addresses of a process's namespace: fib_trie is the kernel's only file that has them in words.
pub fn addresses(process: &str) -> Observation {
    part(format!("{process}/net/fib_trie"), local_addresses)
}

/// The local addresses of a fib_trie: a leaf `|-- ADDRESS`, and below it `/32 host LOCAL`.
pub fn local_addresses(trie: &str) -> String {
    let (mut found, mut leaf) = (Vec::new(), "");
    for line in trie.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address;
        } else if line == "/32 host LOCAL" && !found.contains(&leaf) {
            found.push(leaf);
        }
    }
    if found.is_empty() { "(none)".into() } else { found.join(" ") }
}

/// What `part` makes of a file.
fn part(path: String, part: impl Fn(&str) -> String) -> Observation {
    let value = match file::read_text(&path) {
        Ok(content) => Value::Is(part(&content)),
        Err(error) => refusal(&error),
    };
    seen(&path, value)
}
