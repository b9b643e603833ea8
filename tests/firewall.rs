//! The tables of nf_tables, as nft(8) sees them. Inputs of the same kind: both tables of a container on the bridge;
//! forwarding off and on before; the tables that `sandbox` creates, those that nft creates from the text of the plan, and
//! those that the commands by hand create.

mod support;

use std::path::Path;

use sandbox::plan::call::net::HardwareAddress;
use support::lab::from_lab;
use support::skip;

/// The address that the first container gets.
const ADDRESS: &str = "10.111.0.2";

/// The tables of a plan in the syntax of nft, with the address filled in. With `all`, also the rules that have a condition.
fn tables(plan: &str, all: bool) -> Vec<String> {
    let plan: serde_json::Value = serde_json::from_str(plan).unwrap();
    let steps = plan["steps"].as_array().unwrap();
    let texts = steps.iter().map(|step| step["call"]["text"].as_str().unwrap());
    let hardware = HardwareAddress::of(ADDRESS.parse().unwrap()).to_string();
    let filled = |text: &str| {
        let (table, remarks) =
            text.strip_prefix("send(<nftables>, {NFT_MSG_NEWTABLE ")?.split_once("})").unwrap();
        let mut table = table.replace("<address>", ADDRESS).replace("<hardware>", &hardware);
        for conditional in remarks.split("[`").skip(1).filter(|_| !all) {
            let (rule, _) = conditional.split_once("` only if ").unwrap();
            assert!(table.contains(rule), "{text}");
            table = table.replace(&format!(" {rule};"), "");
        }
        Some(table)
    };
    texts.filter_map(filled).collect()
}

/// What `nft list ruleset` prints, with each table on one line.
fn listed(ruleset: &str) -> Vec<String> {
    let mut flat = String::new();
    for line in ruleset.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match line {
            line if line.ends_with('{') => flat.push_str(&format!("{line} ")),
            line => flat.push_str(&format!("{}; ", line.trim_end_matches(';'))),
        }
    }
    flat.split_inclusive("}; }; ").map(|table| table.trim().trim_end_matches(';').to_owned()).collect()
}

/// The name of the port differs on each run.
fn without_port(tables: &[String]) -> Vec<String> {
    let port = regex_lite::Regex::new("sbx-n?[0-9a-f]{8}").unwrap();
    let mut tables: Vec<String> =
        tables.iter().map(|table| port.replace_all(table, "<port>").into_owned()).collect();
    tables.sort();
    tables
}

/// The part of an output between two headings `== NAME`.
fn section<'a>(output: &'a str, name: &str) -> &'a str {
    let (_, rest) = output.split_once(&format!("== {name}\n")).unwrap_or_else(|| panic!("{name}: {output}"));
    rest.split("== ").next().unwrap()
}

#[test]
fn nft_lists_the_tables_that_the_plan_prints() {
    let test = "nft_lists_the_tables_that_the_plan_prints";
    if !["/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft"].iter().any(|path| Path::new(path).exists()) {
        return skip(test, "nft(8) isn't installed");
    }
    let with_neighbours = "run /run/with.yaml";
    for (forwarding, command, count) in
        [("0", "net --mode bridge", 2), ("1", "net --mode bridge", 2), ("0", with_neighbours, 3)]
    {
        let shown = from_lab(&format!(
            r#"PATH=$PATH:/usr/sbin:/sbin; echo {forwarding} > /proc/sys/net/ipv4/ip_forward
            printf 'net: {{ mode: bridge, neighbours: true }}\n' > /run/with.yaml
            echo == plan; $S {command} --dry-run --format json -- true
            echo; echo == hand; $S {command} --dry-run -- true
            $S {command} -q -- sleep 60 & until_true 'nft list ruleset | grep -q "type filter hook ingress"'
            echo == made; nft list ruleset; kill $!; wait; echo == left; nft list ruleset"#
        ));
        let (plan, made) = (section(&shown, "plan"), section(&shown, "made"));
        let planned = tables(plan, forwarding == "0");
        assert_eq!(planned.len(), count, "{shown}");
        assert_eq!(without_port(&listed(made)), without_port(&planned), "{shown}");
        assert_eq!(section(&shown, "left"), "", "{shown}");

        // nft accepts the text, and makes the same of it: in another network namespace, where a device has the port's name.
        let port = regex_lite::Regex::new("sbx-n?[0-9a-f]{8}").unwrap();
        let port_of = |text: &str| port.find(text).expect("a port").as_str().to_owned();
        let hand = section(&shown, "hand");
        let by_hand: Vec<&str> =
            hand.lines().map(str::trim).filter(|line| line.starts_with("nft ")).collect();
        let hardware = HardwareAddress::of(ADDRESS.parse().unwrap());
        let again = from_lab(&format!(
            r#"PATH=$PATH:/usr/sbin:/sbin; ip link add {} type dummy; ip link add {} type dummy
            nft -f - <<'END'
{}
END
            echo == text; nft list ruleset; nft flush ruleset
            address={ADDRESS} hardware={hardware}
            {}
            echo == hand; nft list ruleset"#,
            port_of(plan),
            port_of(hand),
            planned.join("\n"),
            by_hand.join("\n")
        ));
        assert_eq!(
            listed(section(&again, "text")),
            listed(made)
                .iter()
                .map(|table| { table.replace(&port_of(made), &port_of(plan)) })
                .collect::<Vec<_>>(),
            "{again}"
        );
        // By hand, tables have no comment, and the rule with a condition is left out.
        let comment = regex_lite::Regex::new(r#" comment "[^"]*";"#).unwrap();
        let planned: Vec<String> =
            tables(plan, false).iter().map(|table| comment.replace(table, "").into_owned()).collect();
        assert_eq!(without_port(&listed(section(&again, "hand"))), without_port(&planned), "{again}");
    }
}

/// A chain of another program that drops what is forwarded is found, and the rules that are printed let the packets through. Of
/// this kind: Docker's and ufw's chains, of the families ip and inet; a policy accept, another hook, a rule that is there already.
#[test]
fn a_chain_that_drops_what_is_forwarded_is_named_with_the_rules_that_help() {
    let test = "a_chain_that_drops_what_is_forwarded_is_named_with_the_rules_that_help";
    if !["/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft"].iter().any(|path| Path::new(path).exists()) {
        return skip(test, "nft(8) isn't installed");
    }
    let shown = from_lab(
        r#"PATH=$PATH:/usr/sbin:/sbin
        nft 'table ip filter { chain FORWARD { type filter hook forward priority 0; policy accept; }; chain INPUT { type filter hook input priority 0; policy drop; }; }'
        echo == accept; $S net --mode bridge --dry-run -- true 2>&1
        nft 'chain ip filter FORWARD { policy drop; }'
        nft 'table inet other { chain f { type filter hook forward priority 5; policy drop; }; }'
        echo == drop; $S net --mode bridge --dry-run -- true 2>&1
        export SANDBOX_HOME=/run/home; $S image from-host tool true cat >/dev/null
        echo == hosts; $S run --rm tool cat /etc/hosts 2>/dev/null
        echo == create; $S create tool true 2>&1
        echo == run; $S run -d --rm tool true 2>&1
        echo == doctor; $S doctor 2>&1
        nft insert rule ip filter FORWARD iifname sandbox0 accept
        nft insert rule ip filter FORWARD oifname sandbox0 ct state established,related accept
        echo == one; $S net --mode bridge --dry-run -- true 2>&1"#,
    );
    let rules = |place: &str| {
        [
            format!("nft insert rule {place} iifname sandbox0 accept"),
            format!("nft insert rule {place} oifname sandbox0 ct state established,related accept"),
        ]
    };
    let (first, other) = (rules("ip filter FORWARD"), rules("inet other f"));
    // Each rule can be pasted: it is a line of its own, and where that is too long, the shell joins its parts.
    let joined = |part: &str| {
        let continued = regex_lite::Regex::new(r" \\\n\s+").unwrap();
        let text = continued.replace_all(section(&shown, part), " ").into_owned();
        text.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>()
    };
    let has = |part: &str, rules: &[String]| rules.iter().all(|rule| joined(part).contains(rule));
    // Other containers reach a server that listens on its own name.
    let hosts = section(&shown, "hosts");
    assert!(hosts.lines().last().unwrap().starts_with(&format!("{ADDRESS}\t")), "{shown}");
    assert!(!section(&shown, "accept").contains("insert rule"), "{shown}");
    for part in ["drop", "create", "run", "doctor"] {
        assert!(has(part, &first) && has(part, &other), "{part}: {shown}");
    }
    assert!(!has("one", &first) && has("one", &other), "{shown}");
}
