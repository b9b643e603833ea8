//! Reads the output of strace(1) with `-f`.

use std::collections::HashMap;

/// A call that has returned.
pub struct Traced {
    pub pid: String,
    /// The call as strace prints it, without the result.
    pub call: String,
    /// What follows ` = `.
    pub result: String,
}

/// All calls that have returned, in the order in which they returned.
pub fn calls(trace: &str) -> Vec<Traced> {
    let mut unfinished: HashMap<&str, &str> = HashMap::new();
    let mut all = Vec::new();
    for line in trace.lines() {
        let (pid, rest) = line.split_once(' ').expect("a pid before each call");
        let rest = rest.trim_start();
        let whole = if let Some(begun) = rest.strip_suffix(" <unfinished ...>") {
            unfinished.insert(pid, begun);
            continue;
        } else if rest.starts_with("<... ") {
            let end = rest.split_once(" resumed>").map_or("", |(_, end)| end);
            unfinished.remove(pid).unwrap_or_default().to_owned() + end
        } else {
            rest.to_owned()
        };
        if let Some((call, result)) = whole.rsplit_once(" = ") {
            all.push(Traced {
                pid: pid.to_owned(),
                call: call.trim_end().to_owned(),
                result: result.to_owned(),
            });
        }
    }
    all
}

/// The processes of a trace, in the order in which they appear.
pub fn processes(trace: &str) -> Vec<String> {
    let mut order: Vec<String> = Vec::new();
    for pid in trace.lines().filter_map(|line| line.split(' ').next()) {
        if order.iter().all(|known| known != pid) {
            order.push(pid.to_owned());
        }
    }
    order
}
