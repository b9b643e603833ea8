//! What a plan says: the calls of each process, and what is undone at the end.

use std::net::Ipv4Addr;

use sandbox::plan::Call;
use sandbox::plan::call::net::HardwareAddress;
use serde_json::Value;

use crate::kernel::hexadecimal;
use crate::{Item, general, pattern, replace};

/// The calls of one process.
pub(crate) struct Process {
    pub(crate) actor: String,
    pub(crate) calls: Vec<Item>,
}

/// A plan, as `--dry-run --format json` prints it.
pub(crate) struct Planned {
    pub(crate) processes: Vec<Process>,
    /// The calls by which the host may undo its steps.
    pub(crate) undo: Vec<String>,
}

/// Calls of a plan that only wait, read or concern signals. The kernel's side leaves them out too.
const BACKGROUND: [&str; 11] = [
    "close(",
    "mmap(",
    "mremap(",
    "openat2(",
    "pidfd_open(",
    "poll(",
    "recvfrom(",
    "recvmsg(",
    "rt_sigaction(",
    "rt_sigprocmask(",
    "[",
];

impl Planned {
    /// `address` was claimed for the container when it was made.
    pub(crate) fn read(json: &str, address: Option<Ipv4Addr>) -> Planned {
        let plan: Value = serde_json::from_str(json).expect("a plan");
        let mut planned = Planned { processes: Vec::new(), undo: Vec::new() };
        for step in plan["steps"].as_array().unwrap() {
            let actor = step["actor"].as_str().unwrap();
            let call: Call = serde_json::from_value(step["call"]["data"].clone()).expect("a call");
            let text = step["call"]["text"].as_str().unwrap();
            assert_eq!(call.to_string(), text, "the call is the same when it was written and read");
            let calls = calls(&call, text, address);
            match planned.processes.iter_mut().find(|process| process.actor == actor) {
                Some(process) => process.calls.extend(calls),
                None => planned.processes.push(Process { actor: actor.to_owned(), calls }),
            }
            planned.undo.extend(undone(&step["undo"]));
        }
        planned
    }
}

/// The system calls of a step.
fn calls(call: &Call, text: &str, address: Option<Ipv4Addr>) -> Vec<Item> {
    if let (Call::Nftables(table), Some(address)) = (call, address) {
        let sent = hexadecimal(&table.table().bytes(address));
        return vec![Item::must(&general(&format!("send(<nftables>, {sent})")))];
    }
    let (text, remarks) = text.split_once("  [").unwrap_or((text, ""));
    let must = !["if it exists", "if the file exists", "if it is 0", "without the right"]
        .iter()
        .any(|part| remarks.contains(part));
    let is_compared =
        |call: &String| !BACKGROUND.iter().any(|one| call.starts_with(one)) && !call.contains("{RTM_GETLINK");
    let named = |call: String| Item { text: general(&slots(&call, address)), must };
    split(text).into_iter().filter(is_compared).map(named).collect()
}

/// The calls in a text, which are separated by `; `. A string may contain that too.
fn split(text: &str) -> Vec<String> {
    let (mut calls, mut last) = (vec![String::new()], ' ');
    let mut is_string = false;
    for character in text.chars() {
        if character == '"' && last != '\\' {
            is_string = !is_string;
        }
        last = if last == '\\' { ' ' } else { character };
        calls.last_mut().unwrap().push(character);
        if !is_string && calls.last().unwrap().ends_with("); ") {
            let call = calls.last_mut().unwrap();
            call.truncate(call.len() - 2);
            calls.push(String::new());
        }
    }
    calls
}

/// The length of a text in which an address is written.
fn longer(call: &str, address: Ipv4Addr) -> String {
    let length = |found: &regex_lite::Captures<'_>| {
        let length: usize = found[2].parse().unwrap();
        format!("{}{})", &found[1], length - "<address>".len() + address.to_string().len())
    };
    pattern(r#"(write\(.*<address>.*", )([0-9]+)\)"#).replace_all(call, length).into_owned()
}

/// Replaces a slot by what the kernel's side shows: a path in a tree of mounts, without the name of the tree.
fn slots(call: &str, address: Option<Ipv4Addr>) -> String {
    let call = call.replace("<child>", "PID");
    let call = match address {
        Some(address) => longer(&call, address)
            .replace("<address>", &address.to_string())
            .replace("<hardware>", &HardwareAddress::of(address).to_string()),
        None => call,
    };
    let path = |found: &regex_lite::Captures<'_>| match &found[1] {
        path if path.starts_with('/') => format!("<{}>", path.trim_start_matches('/')),
        "netlink" => "<netlink>".to_owned(),
        path => format!("<{}>", path.split_once('/').map_or("", |(_, below)| below)),
    };
    pattern("<([^<>=]*)>").replace_all(&call, path).into_owned()
}

/// The calls that undo a step.
fn undone(undo: &Value) -> Vec<String> {
    let text = |kind: &str, key: &str| undo[kind][key].as_str().map(str::to_owned);
    let mut calls = Vec::new();
    for kind in ["remove_group", "remove_shared_group", "remove_directory"] {
        calls.extend(text(kind, "path").map(|path| format!("rmdir({path:?})")));
    }
    for kind in ["delete_link", "remove_bridge"] {
        calls.extend(text(kind, "name").map(|name| format!("send(<netlink>, {{RTM_DELLINK {name}}})")));
    }
    if text("remove_bridge", "name").is_some() {
        calls.push("write(<proc/sys/net/ipv4/ip_forward>, \"0\", 1)".to_owned());
    }
    calls.extend(text("remove_tables", "comment").map(|_| "send(<nftables>, {NFT_MSG_DELTABLE})".to_owned()));
    calls.iter().map(|call| general(&replace("sbx-n?[0-9a-f]{8}", "<port>", call))).collect()
}
