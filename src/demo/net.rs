//! What the net namespace shows.

mod scene;

use std::net::Ipv4Addr;

pub(crate) use self::scene::{HERE, abstract_name, reach, said};
use self::scene::{Line, listening, outcome, socket, tcp};
use super::{Card, Entry, Stage, words};
use crate::error::Result;
use crate::exec::agent::Agent;
use crate::feature::Feature::Net;
use crate::namespaces::net::{INSIDE, Lo};
use crate::observe::proc::{DEVICES, FIB_TRIE, device_names, local_addresses};
use crate::plan::call::file::File;
use crate::plan::call::net::Net as Link;
use crate::plan::call::socket::{Address, Domain, Socket};
use crate::plan::undo::Undo;
use crate::spec::Spec;

pub(super) const CARDS: &[Entry] = &[
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
];

/// A new stack, as the kernel makes it or with lo up, whatever flags the user gave.
pub(crate) fn stack(stage: &mut Stage<'_>, lo: Lo) -> Result<Agent> {
    let net = crate::namespaces::net::Net { lo, veth: false };
    stage.start(&Spec { net: Some(net), ..Spec::default() }, Net)
}

/// The devices of each side.
fn devices(stage: &mut Stage<'_>) -> Result<Card> {
    let (outside, inside) = (stage.outside(Net)?, stack(stage, Lo::Down)?);
    let links = (words(outside.link("/proc/self/ns/net")?), words(inside.link("/proc/self/ns/net")?));
    let names = |agent: &Agent| {
        Ok::<_, crate::error::Error>(words(agent.read(DEVICES)?.map(|table| device_names(&table))))
    };
    let (out, within) = (names(&outside)?, names(&inside)?);
    Ok(Card::new(Net, "devices")
        .outside("/proc/self/ns/net", &links.0)
        .inside("/proc/self/ns/net", &links.1)
        .outside(DEVICES, out)
        .inside(DEVICES, &within)
        .holds(links.0 != links.1 && within == "lo"))
}

/// The addresses of each side: none inside, until lo is up.
fn addresses(stage: &mut Stage<'_>) -> Result<Card> {
    let (outside, inside) = (stage.outside(Net)?, stack(stage, Lo::Down)?);
    let read = |agent: &Agent| {
        Ok::<_, crate::error::Error>(words(agent.read(FIB_TRIE)?.map(|trie| local_addresses(&trie))))
    };
    let (out, before) = (read(&outside)?, read(&inside)?);
    let up = Link::LinkUp { name: "lo".into() };
    let answer = inside.perform(up.clone())?;
    let after = read(&inside)?;
    Ok(Card::new(Net, "addresses")
        .outside(FIB_TRIE, out)
        .inside(FIB_TRIE, &before)
        .call("INSIDE", up, answer)
        .inside(FIB_TRIE, &after)
        .holds(before == "(none)" && answer.is_ok() && after == "127.0.0.1"))
}

/// The routes of each side. 192.0.2.1 is an address of documentation (RFC 5737), and nothing is sent.
fn routes(stage: &mut Stage<'_>) -> Result<Card> {
    let (outside, inside) = (stage.outside(Net)?, stack(stage, Lo::Up)?);
    let rows = |agent: &Agent| {
        let table = agent.read(ROUTES)?;
        Ok::<_, crate::error::Error>(words(table.map(|table| scene::rows(&table))))
    };
    let (out, within) = (rows(&outside)?, rows(&inside)?);
    let socket = socket(&inside, Domain::Inet)?;
    let connect = Socket::Connect(socket, Address::Inet(Ipv4Addr::new(192, 0, 2, 1), 80));
    let answer = inside.perform(connect.clone())?;
    Ok(Card::new(Net, "routes")
        .outside(ROUTES, out)
        .inside(ROUTES, &within)
        .call("INSIDE", connect, answer)
        .holds(within == "0 rows" && answer == Err(nix::errno::Errno::ENETUNREACH)))
}

const ROUTES: &str = "/proc/net/route";

/// lo down, then up.
fn lo(stage: &mut Stage<'_>) -> Result<Card> {
    let inside = stack(stage, Lo::Down)?;
    let (_, port) = listening(&inside, Ipv4Addr::UNSPECIFIED)?;
    let (down, unreachable) = tcp(&inside, Address::Inet(HERE, port))?;
    let up = Link::LinkUp { name: "lo".into() };
    let answer = inside.perform(up.clone())?;
    let line = said(&inside, &inside, HERE)?;
    let holds = unreachable == Err(nix::errno::Errno::ENETUNREACH) && answer.is_ok() && line.heard();
    Ok(Card::new(Net, "lo")
        .call("INSIDE", down, unreachable)
        .call("INSIDE", up, answer)
        .call("INSIDE", line.connect, line.connected)
        .call("INSIDE", line.receive, line.received)
        .holds(holds))
}

/// One port, bound once in each namespace.
fn ports(stage: &mut Stage<'_>) -> Result<Card> {
    let (outside, inside) = (stage.outside(Net)?, stack(stage, Lo::Up)?);
    let (first, port) = listening(&outside, HERE)?;
    let here = Address::Inet(HERE, port);
    let again = Socket::Bind(socket(&outside, Domain::Inet)?, here.clone());
    let twice = outside.perform(again.clone())?;
    let other = Socket::Bind(socket(&inside, Domain::Inet)?, here.clone());
    let answer = inside.perform(other.clone())?;
    Ok(Card::new(Net, "ports")
        .call("OUTSIDE", Socket::Bind(first, here), Ok(0))
        .call("OUTSIDE", again, twice)
        .call("INSIDE", other, answer)
        .holds(twice == Err(nix::errno::Errno::EADDRINUSE) && answer.is_ok()))
}

/// /proc/net answers for its reader; another process's is below its number.
fn files(stage: &mut Stage<'_>) -> Result<Card> {
    let (outside, inside) = (stage.outside(Net)?, stack(stage, Lo::Up)?);
    let link = words(outside.link("/proc/net")?);
    let (_, port) = listening(&inside, HERE)?;
    let path = format!("/proc/{}/net/tcp", inside.pid());
    let is_listed = |agent: &Agent, path: &str| {
        let table = agent.read(path)?;
        Ok::<_, crate::error::Error>(words(table.map(|table| scene::listed(&table, port))))
    };
    let (within, out) = (is_listed(&inside, TCP)?, is_listed(&outside, TCP)?);
    let through = is_listed(&outside, &path)?;
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
    let before = words(outside.read(PORT_START)?);
    let wanted = if before == "80" { "81" } else { "80" };
    let write = File::Write { path: PORT_START.into(), content: wanted.into() };
    let answer = inside.perform(write.clone())?;
    let card = Card::new(Net, "sysctl");
    if answer == Err(nix::errno::Errno::EROFS) {
        return Ok(card.skip("net.skip.readonly"));
    }
    let (within, after) = (words(inside.read(PORT_START)?), words(outside.read(PORT_START)?));
    Ok(card
        .call("INSIDE", write, answer)
        .inside(PORT_START, &within)
        .outside(PORT_START, &after)
        .holds(answer.is_ok() && within == wanted && before == after && before != within))
}

const PORT_START: &str = "/proc/sys/net/ipv4/ip_unprivileged_port_start";

/// What /sys lists was settled when it was mounted.
fn sysfs(stage: &mut Stage<'_>) -> Result<Card> {
    let (outside, inside) = (stage.outside(Net)?, stack(stage, Lo::Up)?);
    let socket = socket(&outside, Domain::Inet)?;
    let _ = socket;
    let read = |agent: &Agent| Ok::<_, crate::error::Error>(agent.look(Net)?.observations);
    let value = |seen: &[crate::observe::Observation], path: &str| {
        seen.iter().find(|one| one.path == path).map(|one| one.value.to_string()).unwrap_or_default()
    };
    let (out, within) = (read(&outside)?, read(&inside)?);
    let sys = (value(&out, SYSFS), value(&within, SYSFS));
    let dev = value(&within, DEVICES);
    Ok(Card::new(Net, "sysfs")
        .inside(DEVICES, &dev)
        .inside(SYSFS, &sys.1)
        .outside(SYSFS, &sys.0)
        .holds(dev == "lo" && sys.0 == sys.1))
}

const SYSFS: &str = "/sys/class/net";

/// Names of abstract sockets belong to the network namespace.
fn abstract_sockets(stage: &mut Stage<'_>) -> Result<Card> {
    let (outside, inside) = (stage.outside(Net)?, stack(stage, Lo::Up)?);
    let name = abstract_name(stage, &outside)?;
    let (same, reached) = reach(&outside, &name)?;
    let (other, refused) = reach(&inside, &name)?;
    // The name is still free inside.
    let own = Socket::Bind(socket(&inside, Domain::Unix)?, name);
    let bound = inside.perform(own.clone())?;
    Ok(Card::new(Net, "abstract")
        .call("OUTSIDE", same, reached)
        .call("INSIDE", other, refused)
        .call("INSIDE", own, bound)
        .holds(reached.is_ok() && refused == Err(nix::errno::Errno::ECONNREFUSED) && bound.is_ok()))
}

/// A socket that is a file is found by its path: the mount's business.
fn path_sockets(stage: &mut Stage<'_>) -> Result<Card> {
    let (outside, inside) = (stage.outside(Net)?, stack(stage, Lo::Up)?);
    let path = std::env::temp_dir().join(stage.unique("net"));
    let address = Address::Path(path.to_string_lossy().into_owned());
    let server = socket(&outside, Domain::Unix)?;
    let bind = Socket::Bind(server, address.clone());
    let bound = stage.make_by(&outside, bind.clone(), Undo::RemoveFile { path })?;
    outcome(&outside, Socket::Listen(server))?;
    let (connect, reached) = reach(&inside, &address)?;
    Ok(Card::new(Net, "path")
        .call("OUTSIDE", bind, bound)
        .call("INSIDE", connect, reached)
        .holds(bound.is_ok() && reached.is_ok()))
}

/// A cable: to the outside where --veth asks for it, else between two namespaces of our own, which anyone may lay.
fn veth(stage: &mut Stage<'_>) -> Result<Card> {
    if stage.spec.net.as_ref().is_some_and(|net| net.veth) {
        let (outside, inside) = (stage.outside(Net)?, stage.inside(Net)?);
        let Some(cable) = stage.host.cable.clone() else {
            return Ok(Card::new(Net, "veth").skip("net.subnet.why"));
        };
        return talk(("OUTSIDE", &outside, &cable.name, cable.outside), ("INSIDE", &inside));
    }
    let inside = stack(stage, Lo::Up)?;
    let Ok((second, number)) = inside.spawn(&[Net])? else {
        return Ok(Card::new(Net, "veth").skip("net.skip.second"));
    };
    let pair = Link::AddVeth { name: "sbx0".into(), peer: INSIDE.into(), pid: Some(number) };
    let [own, other] = [Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2)];
    if inside.perform(pair)? == Err(nix::errno::Errno::EOPNOTSUPP) {
        return Ok(Card::new(Net, "veth").skip("net.pair.EOPNOTSUPP"));
    }
    for (agent, device, address) in [(&inside, "sbx0", own), (&second, INSIDE, other)] {
        let device = device.to_owned();
        outcome(agent, Link::AddAddress { device: device.clone(), address, prefix: 30 })?;
        outcome(agent, Link::LinkUp { name: device })?;
    }
    talk(("INSIDE", &inside, "sbx0", own), ("INSIDE 2", &second))
}

/// One side listens on its end, the other calls; each end names the other's number.
fn talk(server: (&'static str, &Agent, &str, Ipv4Addr), client: (&'static str, &Agent)) -> Result<Card> {
    let (side, agent, _, address) = server;
    let names = |agent: &Agent| {
        Ok::<_, crate::error::Error>(words(agent.read(DEVICES)?.map(|table| device_names(&table))))
    };
    let (here, there) = (names(agent)?, names(client.1)?);
    let line: Line = said(agent, client.1, address)?;
    let holds = line.heard() && here.contains(server.2) && there.contains(INSIDE);
    Ok(Card::new(Net, "veth")
        .seen(side, DEVICES, here)
        .seen(client.0, DEVICES, there)
        .call(client.0, line.connect, line.connected)
        .call(client.0, line.receive, line.received)
        .holds(holds))
}
