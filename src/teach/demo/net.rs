//! What the net namespace shows.

mod scene;

use std::net::Ipv4Addr;

use nix::errno::Errno;

pub(crate) use self::scene::{HERE, abstract_name, brief, reach, said};
use self::scene::{listening, outcome, said_on, socket, table, tcp};
use super::{Card, CardEntry, Stage, words};
use crate::config::spec::Spec;
use crate::error::{Error, Result};
use crate::feature::Feature::Net;
use crate::namespaces::net::Lo;
use crate::network::INSIDE;
use crate::network::veth::PREFIX;
use crate::observe::Value;
use crate::observe::net::{device_names, local_addresses};
use crate::plan::call::file::FileCall;
use crate::plan::call::net::{HardwareAddress, NetCall as Link};
use crate::plan::undo::Undo;
use crate::teach::agent::Agent;
use crate::teach::call::SocketCall;
use crate::teach::call::socket::{Address, Domain};

pub(super) const CARDS: &[CardEntry] = &[
    ("devices", devices),
    ("addresses", addresses),
    ("routes", routes),
    ("lo", lo),
    ("ports", ports),
    ("files", files),
    ("sysctl", sysctl),
    ("sysfs", sysfs),
    ("abstract", abstract_sockets),
    ("path", path_sockets),
    ("veth", veth),
    ("bridge", bridge),
];

/// A new stack, as the kernel makes it or with lo up, whatever flags the user gave.
pub(crate) fn stack(stage: &mut Stage<'_>, lo: Lo) -> Result<Agent> {
    let net = crate::namespaces::net::Net { lo, ..Default::default() };
    stage.start(&Spec { net: Some(net), ..Spec::default() }, Net)
}

/// The devices of each side.
fn devices(stage: &mut Stage<'_>) -> Result<Card> {
    let (outside, inside) = (stage.outside(Net)?, stack(stage, Lo::Down)?);
    let links = (words(outside.link(LINK)?), words(inside.link(LINK)?));
    let out = table(&outside, DEVICES, device_names)?;
    let within = table(&inside, DEVICES, device_names)?;
    Ok(Card::new(Net, "devices")
        .outside(LINK, &links.0)
        .inside(LINK, &links.1)
        .outside(DEVICES, out)
        .inside(DEVICES, &within)
        .holds(links.0 != links.1 && within == "lo"))
}

const LINK: &str = "/proc/self/ns/net";

/// The addresses of each side: none inside, until lo is up.
fn addresses(stage: &mut Stage<'_>) -> Result<Card> {
    let (outside, inside) = (stage.outside(Net)?, stack(stage, Lo::Down)?);
    let out = table(&outside, FIB_TRIE, local_addresses)?;
    let before = table(&inside, FIB_TRIE, local_addresses)?;
    let answer = inside.perform(Link::LinkUp { name: "lo".into() })?;
    let after = table(&inside, FIB_TRIE, local_addresses)?;
    Ok(Card::new(Net, "addresses")
        .outside(FIB_TRIE, out)
        .inside(FIB_TRIE, &before)
        .inside(UP, brief(answer))
        .inside(FIB_TRIE, &after)
        .holds(before == "(none)" && answer.is_ok() && after == "127.0.0.1"))
}

/// How bringing lo up is printed where a card has one line for it.
const UP: &str = "ioctl(<socket>, SIOCSIFFLAGS, {\"lo\", IFF_UP|IFF_RUNNING})";

/// The routes of each side. 192.0.2.1 is an address of documentation (RFC 5737), and nothing is sent.
fn routes(stage: &mut Stage<'_>) -> Result<Card> {
    let (outside, inside) = (stage.outside(Net)?, stack(stage, Lo::Up)?);
    let out = table(&outside, ROUTES, scene::rows)?;
    let within = table(&inside, ROUTES, scene::rows)?;
    let (connect, answer) = tcp(&inside, Address::Inet(Ipv4Addr::new(192, 0, 2, 1), 80))?;
    Ok(Card::new(Net, "routes")
        .outside(ROUTES, out)
        .inside(ROUTES, &within)
        .inside(connect, brief(answer))
        .holds(within == "0 rows" && answer == Err(Errno::ENETUNREACH)))
}

const DEVICES: &str = "/proc/net/dev";
const FIB_TRIE: &str = "/proc/net/fib_trie";
const ROUTES: &str = "/proc/net/route";

/// lo down, then up.
fn lo(stage: &mut Stage<'_>) -> Result<Card> {
    let inside = stack(stage, Lo::Down)?;
    let (listener, port) = listening(&inside, Ipv4Addr::UNSPECIFIED)?;
    let here = Address::Inet(HERE, port);
    let (down, unreachable) = tcp(&inside, here.clone())?;
    let answer = inside.perform(Link::LinkUp { name: "lo".into() })?;
    let line = said_on((&inside, listener), &inside, here)?;
    Ok(Card::new(Net, "lo")
        .inside(down, brief(unreachable))
        .inside(UP, brief(answer))
        .inside(&line.connect, brief(line.connected))
        .inside(&line.receive, brief(line.received))
        .holds(unreachable == Err(Errno::ENETUNREACH) && answer.is_ok() && line.heard()))
}

/// One port, bound once in each namespace.
fn ports(stage: &mut Stage<'_>) -> Result<Card> {
    let (outside, inside) = (stage.outside(Net)?, stack(stage, Lo::Up)?);
    let (first, port) = listening(&outside, HERE)?;
    let here = Address::Inet(HERE, port);
    let again = SocketCall::Bind(socket(&outside, Domain::Inet)?, here.clone());
    let twice = outside.perform(again.clone())?;
    let other = SocketCall::Bind(socket(&inside, Domain::Inet)?, here.clone());
    let answer = inside.perform(other.clone())?;
    Ok(Card::new(Net, "ports")
        // The kernel was asked for any port, and gave this one.
        .outside(SocketCall::Bind(first, here), brief(Ok(0)))
        .outside(again, brief(twice))
        .inside(other, brief(answer))
        .holds(twice == Err(Errno::EADDRINUSE) && answer.is_ok()))
}

/// /proc/net answers for its reader; another process's is below its number.
fn files(stage: &mut Stage<'_>) -> Result<Card> {
    let (outside, inside) = (stage.outside(Net)?, stack(stage, Lo::Up)?);
    let link = words(outside.link("/proc/net")?);
    let (_, port) = listening(&inside, HERE)?;
    let path = format!("/proc/{}/net/tcp", inside.pid());
    let state = |table: &str| scene::listed(table, port);
    let (within, out) = (table(&inside, TCP, state)?, table(&outside, TCP, state)?);
    let through = table(&outside, &path, state)?;
    let holds = within == through && within.ends_with("listens") && out.starts_with("no ");
    Ok(Card::new(Net, "files")
        .outside("/proc/net", &link)
        .inside(TCP, &within)
        .outside(TCP, &out)
        .outside(path, &through)
        .holds(holds && link == "self/net"))
}

const TCP: &str = "/proc/net/tcp";

/// The settings below /proc/sys/net are each namespace's own.
fn sysctl(stage: &mut Stage<'_>) -> Result<Card> {
    let (outside, inside) = (stage.outside(Net)?, stack(stage, Lo::Up)?);
    let before = words(outside.read(PORTS)?);
    let wanted = if before == "80" { "81" } else { "80" };
    let write = FileCall::Write { path: PORTS.into(), content: wanted.into() };
    let answer = inside.perform(write.clone())?;
    if answer == Err(Errno::EROFS) {
        return Ok(Card::new(Net, "sysctl").skip("net.skip.readonly"));
    }
    let (within, after) = (words(inside.read(PORTS)?), words(outside.read(PORTS)?));
    Ok(Card::new(Net, "sysctl")
        .inside(write, brief(answer))
        .inside(PORTS, &within)
        .outside(PORTS, &after)
        .holds(answer.is_ok() && within == wanted && before == after))
}

const PORTS: &str = "/proc/sys/net/ipv4/ip_unprivileged_port_start";

/// What /sys lists was settled when it was mounted.
fn sysfs(stage: &mut Stage<'_>) -> Result<Card> {
    let (outside, inside) = (stage.outside(Net)?, stack(stage, Lo::Up)?);
    let devices = table(&inside, DEVICES, device_names)?;
    let listed = |agent: &Agent| {
        let seen = agent.look(Net)?.observations.into_iter().find(|seen| seen.path == SYSFS);
        Ok::<_, Error>(seen.map(|seen| seen.value))
    };
    let (out, within) = (listed(&outside)?, listed(&inside)?);
    let text = |value: &Option<Value>| value.as_ref().map(Value::to_string).unwrap_or_default();
    if !matches!(out, Some(Value::Count(..))) {
        return Ok(Card::new(Net, "sysfs").skip("net.skip.nosys"));
    }
    Ok(Card::new(Net, "sysfs")
        .inside(DEVICES, &devices)
        .inside(SYSFS, text(&within))
        .outside(SYSFS, text(&out))
        .holds(devices == "lo" && out == within))
}

const SYSFS: &str = "/sys/class/net";

/// Names of abstract sockets belong to the network namespace.
fn abstract_sockets(stage: &mut Stage<'_>) -> Result<Card> {
    let (outside, inside) = (stage.outside(Net)?, stack(stage, Lo::Up)?);
    let name = abstract_name(stage, &outside)?;
    let (same, reached) = reach(&outside, &name)?;
    let (other, refused) = reach(&inside, &name)?;
    let own = SocketCall::Bind(socket(&inside, Domain::Unix)?, name);
    let bound = inside.perform(own.clone())?;
    Ok(Card::new(Net, "abstract")
        .outside(same, brief(reached))
        .inside(other, brief(refused))
        .inside(own, brief(bound))
        .holds(reached.is_ok() && refused == Err(Errno::ECONNREFUSED) && bound.is_ok()))
}

/// A socket that is a file is found by its path: the mount's business.
fn path_sockets(stage: &mut Stage<'_>) -> Result<Card> {
    let (outside, inside) = (stage.outside(Net)?, stack(stage, Lo::Up)?);
    // Not below TMPDIR: sun_path has room for 108 bytes only. unix(7)
    let path = format!("/tmp/{}", stage.unique("net"));
    let address = Address::Path(path.clone());
    let server = socket(&outside, Domain::Unix)?;
    let bind = SocketCall::Bind(server, address.clone());
    let bound = stage.make_inside(&outside, bind.clone(), Undo::RemoveFile { path: path.into() })?;
    outcome(&outside, SocketCall::Listen(server))?;
    let (connect, reached) = reach(&inside, &address)?;
    Ok(Card::new(Net, "path")
        .outside(bind, brief(bound))
        .inside(connect, brief(reached))
        .holds(bound.is_ok() && reached.is_ok()))
}

/// A veth pair: to the outside where --veth asks for it, else between two namespaces of our own, which needs no root.
fn veth(stage: &mut Stage<'_>) -> Result<Card> {
    let skip = |reason| Ok(Card::new(Net, "veth").skip(reason));
    if stage.spec.net.as_ref().is_some_and(|net| net.veth) {
        let (outside, inside) = (stage.outside(Net)?, stage.inside(Net)?);
        let Some(veth) = &stage.network.veth else { return skip("net.subnet.why") };
        return talk("OUTSIDE", &outside, &veth.name, veth.outside, ("INSIDE", &inside));
    }
    let inside = stack(stage, Lo::Up)?;
    let Ok((second, number)) = inside.spawn(&[Net])? else { return skip("net.skip.second") };
    let pair = Link::AddVeth {
        name: "sbx0".into(),
        peer: INSIDE.into(),
        pid: Some(number),
        bridge: None,
        claimed: false,
    };
    if inside.perform(pair)? == Err(Errno::EOPNOTSUPP) {
        return skip("net.pair.EOPNOTSUPP");
    }
    let [own, other] = [1, 2].map(|host| Ipv4Addr::new(10, 0, 0, host));
    for (agent, device, address) in [(&inside, "sbx0", own), (&second, INSIDE, other)] {
        let device = device.to_owned();
        outcome(
            agent,
            Link::AddAddress {
                device: device.clone(),
                address: Some(address),
                prefix: PREFIX,
                shared: false,
            },
        )?;
        outcome(agent, Link::LinkUp { name: device })?;
    }
    outcome(&inside, Link::AwaitCarrier { name: "sbx0".into() })?;
    talk("INSIDE", &inside, "sbx0", own, ("INSIDE 2", &second))
}

/// Two namespaces, each connected to a bridge in a third by a veth pair: what a switch does, and what isolated ports leave of it.
fn bridge(stage: &mut Stage<'_>) -> Result<Card> {
    let skip = |reason| Ok(Card::new(Net, "bridge").skip(reason));
    let name = String::from("box0");
    let inside = stack(stage, Lo::Up)?;
    let hardware = HardwareAddress::of(Ipv4Addr::new(10, 0, 0, 1));
    let make = Link::AddBridge { name: name.clone(), hardware };
    if inside.perform(make)? == Err(Errno::EOPNOTSUPP) {
        return skip("net.skip.bridge");
    }
    outcome(&inside, Link::LinkUp { name: name.clone() })?;
    let mut ends = Vec::new();
    for (port, host) in [("sbx2", 2), ("sbx3", 3)] {
        let Ok((agent, number)) = inside.spawn(&[Net])? else { return skip("net.skip.second") };
        let pair = Link::AddVeth {
            name: port.into(),
            peer: INSIDE.into(),
            pid: Some(number),
            bridge: Some(name.clone()),
            claimed: false,
        };
        if inside.perform(pair)? == Err(Errno::EOPNOTSUPP) {
            return skip("net.pair.EOPNOTSUPP");
        }
        let address = Some(Ipv4Addr::new(10, 0, 0, host));
        outcome(&inside, Link::LinkUp { name: port.into() })?;
        outcome(&agent, Link::AddAddress { device: INSIDE.into(), address, prefix: 24, shared: false })?;
        outcome(&agent, Link::LinkUp { name: INSIDE.into() })?;
        outcome(&inside, Link::AwaitCarrier { name: port.into() })?;
        ends.push(agent);
    }
    let (server, client, address) = (&ends[0], &ends[1], Ipv4Addr::new(10, 0, 0, 2));
    let before = said(server, client, address)?;
    outcome(&inside, Link::Isolate { port: "sbx2".into() })?;
    let isolate = Link::Isolate { port: "sbx3".into() };
    outcome(&inside, isolate.clone())?;
    let (_, port) = listening(server, address)?;
    let connect = SocketCall::Connect(socket(client, Domain::Inet)?, Address::Inet(address, port));
    let after = client.perform(connect.clone())?;
    Ok(Card::new(Net, "bridge")
        .inside(DEVICES, table(&inside, DEVICES, device_names)?)
        .seen("INSIDE 3", &before.connect, brief(before.connected))
        .inside(isolate, "0")
        .seen("INSIDE 3", connect, brief(after))
        .holds(before.heard() && after.is_err()))
}

/// One side listens on its device of the veth pair, the other connects.
fn talk(
    side: &'static str,
    server: &Agent,
    device: &str,
    address: Ipv4Addr,
    client: (&'static str, &Agent),
) -> Result<Card> {
    let has = |names: &str, device: &str| names.split(' ').any(|name| name == device);
    let here = table(server, DEVICES, device_names)?;
    let there = table(client.1, DEVICES, device_names)?;
    let line = said(server, client.1, address)?;
    let holds = line.heard() && has(&here, device) && has(&there, INSIDE);
    Ok(Card::new(Net, "veth")
        .seen(side, DEVICES, here)
        .seen(client.0, DEVICES, there)
        .seen(client.0, &line.connect, brief(line.connected))
        .seen(client.0, &line.receive, brief(line.received))
        .holds(holds))
}
