//! Demonstrations of the net namespace: each namespace has its own devices, addresses, routes, ports and settings.
//!
//! A process in a new net namespace cannot be reached from the network and cannot reach it: its only device is lo,
//! which is down. A veth pair connects it to another namespace. network_namespaces(7)

mod scene;

use std::net::Ipv4Addr;

use nix::errno::Errno;

pub(crate) use self::scene::{LOOPBACK, abstract_name, connect_unix, exchange, short_answer};
use self::scene::{connect_tcp, exchange_on, listen, must_succeed, socket, summary};
use super::{Card, CardEntry, Stage, one_line};
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

/// Starts a process in a new net namespace with lo down or up. The user's flags are ignored.
pub(crate) fn stack(stage: &mut Stage<'_>, lo: Lo) -> Result<Agent> {
    let net = crate::namespaces::net::Net { lo, mount_sys: false, ..Default::default() };
    stage.start(&Spec { net: Some(net), ..Spec::default() }, Net)
}

/// Each namespace has its own devices. A new one has only lo.
fn devices(stage: &mut Stage<'_>) -> Result<Card> {
    let (outside, inside) = (stage.outside(Net)?, stack(stage, Lo::Down)?);
    let links = (one_line(outside.link(LINK)?), one_line(inside.link(LINK)?));
    let out = summary(&outside, DEVICES, device_names)?;
    let within = summary(&inside, DEVICES, device_names)?;
    Ok(Card::new(Net, "devices")
        .outside(LINK, &links.0)
        .inside(LINK, &links.1)
        .outside(DEVICES, out)
        .inside(DEVICES, &within)
        .holds(links.0 != links.1 && within == "lo"))
}

const LINK: &str = "/proc/self/ns/net";

/// Each namespace has its own addresses. A new one has none until lo is up.
fn addresses(stage: &mut Stage<'_>) -> Result<Card> {
    let (outside, inside) = (stage.outside(Net)?, stack(stage, Lo::Down)?);
    let out = summary(&outside, FIB_TRIE, local_addresses)?;
    let before = summary(&inside, FIB_TRIE, local_addresses)?;
    let answer = inside.perform(Link::LinkUp { name: "lo".into() })?;
    let after = summary(&inside, FIB_TRIE, local_addresses)?;
    Ok(Card::new(Net, "addresses")
        .outside(FIB_TRIE, out)
        .inside(FIB_TRIE, &before)
        .inside(LO_UP, short_answer(answer))
        .inside(FIB_TRIE, &after)
        .holds(before == "(none)" && answer.is_ok() && after == "127.0.0.1"))
}

/// The last of the calls that bring lo up. It stands for all of them, because a card has one line for them.
const LO_UP: &str = "ioctl(<socket>, SIOCSIFFLAGS, {\"lo\", IFF_UP|IFF_RUNNING})";

/// Each namespace has its own routes. A new one has none, so connect(2) fails and nothing is sent. 192.0.2.1 is
/// reserved for documentation (RFC 5737).
fn routes(stage: &mut Stage<'_>) -> Result<Card> {
    let (outside, inside) = (stage.outside(Net)?, stack(stage, Lo::Up)?);
    let out = summary(&outside, ROUTES, scene::rows)?;
    let within = summary(&inside, ROUTES, scene::rows)?;
    let (connect, answer) = connect_tcp(&inside, Address::Inet(Ipv4Addr::new(192, 0, 2, 1), 80))?;
    Ok(Card::new(Net, "routes")
        .outside(ROUTES, out)
        .inside(ROUTES, &within)
        .inside(connect, short_answer(answer))
        .holds(within == "0 rows" && answer == Err(Errno::ENETUNREACH)))
}

const DEVICES: &str = "/proc/net/dev";
const FIB_TRIE: &str = "/proc/net/fib_trie";
const ROUTES: &str = "/proc/net/route";

/// A process can reach itself at 127.0.0.1 only when lo is up.
fn lo(stage: &mut Stage<'_>) -> Result<Card> {
    let inside = stack(stage, Lo::Down)?;
    let (listener, port) = listen(&inside, Ipv4Addr::UNSPECIFIED)?;
    let address = Address::Inet(LOOPBACK, port);
    let (down, unreachable) = connect_tcp(&inside, address.clone())?;
    let answer = inside.perform(Link::LinkUp { name: "lo".into() })?;
    let exchange = exchange_on((&inside, listener), &inside, address)?;
    Ok(Card::new(Net, "lo")
        .inside(down, short_answer(unreachable))
        .inside(LO_UP, short_answer(answer))
        .inside(&exchange.connect, short_answer(exchange.connected))
        .inside(&exchange.receive, short_answer(exchange.received))
        .holds(unreachable == Err(Errno::ENETUNREACH) && answer.is_ok() && exchange.is_received()))
}

/// The same port can be bound once in each namespace.
fn ports(stage: &mut Stage<'_>) -> Result<Card> {
    let (outside, inside) = (stage.outside(Net)?, stack(stage, Lo::Up)?);
    let (first, port) = listen(&outside, LOOPBACK)?;
    let address = Address::Inet(LOOPBACK, port);
    let again = SocketCall::Bind(socket(&outside, Domain::Inet)?, address.clone());
    let twice = outside.perform(again.clone())?;
    let other = SocketCall::Bind(socket(&inside, Domain::Inet)?, address.clone());
    let answer = inside.perform(other.clone())?;
    Ok(Card::new(Net, "ports")
        // The call asked for port 0, which means any. The port shown is the one that the kernel chose.
        .outside(SocketCall::Bind(first, address), short_answer(Ok(0)))
        .outside(again, short_answer(twice))
        .inside(other, short_answer(answer))
        .holds(twice == Err(Errno::EADDRINUSE) && answer.is_ok()))
}

/// /proc/net shows the namespace of the process that reads it. Another process's is in /proc/PID/net.
fn files(stage: &mut Stage<'_>) -> Result<Card> {
    let (outside, inside) = (stage.outside(Net)?, stack(stage, Lo::Up)?);
    let link = one_line(outside.link("/proc/net")?);
    let (_, port) = listen(&inside, LOOPBACK)?;
    let path = format!("/proc/{}/net/tcp", inside.pid());
    let state = |table: &str| scene::port_state(table, port);
    let (within, out) = (summary(&inside, TCP, state)?, summary(&outside, TCP, state)?);
    let through = summary(&outside, &path, state)?;
    let holds = within == through && within.ends_with("listens") && out.starts_with("no ");
    Ok(Card::new(Net, "files")
        .outside("/proc/net", &link)
        .inside(TCP, &within)
        .outside(TCP, &out)
        .outside(path, &through)
        .holds(holds && link == "self/net"))
}

const TCP: &str = "/proc/net/tcp";

/// Each namespace has its own settings in /proc/sys/net.
fn sysctl(stage: &mut Stage<'_>) -> Result<Card> {
    let (outside, inside) = (stage.outside(Net)?, stack(stage, Lo::Up)?);
    let before = one_line(outside.read(PORTS)?);
    let wanted = if before == "80" { "81" } else { "80" };
    let write = FileCall::Write { path: PORTS.into(), content: wanted.into() };
    let answer = inside.perform(write.clone())?;
    if answer == Err(Errno::EROFS) {
        return Ok(Card::new(Net, "sysctl").skip("net.skip.readonly"));
    }
    let (within, after) = (one_line(inside.read(PORTS)?), one_line(outside.read(PORTS)?));
    Ok(Card::new(Net, "sysctl")
        .inside(write, short_answer(answer))
        .inside(PORTS, &within)
        .outside(PORTS, &after)
        .holds(answer.is_ok() && within == wanted && before == after))
}

const PORTS: &str = "/proc/sys/net/ipv4/ip_unprivileged_port_start";

/// A sysfs shows the net namespace in which it was mounted, not that of the process that reads it.
fn sysfs(stage: &mut Stage<'_>) -> Result<Card> {
    let (outside, inside) = (stage.outside(Net)?, stack(stage, Lo::Up)?);
    let devices = summary(&inside, DEVICES, device_names)?;
    let listed = |agent: &Agent| {
        let seen = agent.look(Net)?.observations.into_iter().find(|seen| seen.path == SYSFS);
        Ok::<_, Error>(seen.map(|seen| seen.value))
    };
    let (out, within) = (listed(&outside)?, listed(&inside)?);
    let text = |value: &Option<Value>| value.as_ref().map(Value::to_string).unwrap_or_default();
    if !matches!(out, Some(Value::List(_))) {
        return Ok(Card::new(Net, "sysfs").skip("net.skip.nosys"));
    }
    Ok(Card::new(Net, "sysfs")
        .inside(DEVICES, &devices)
        .inside(SYSFS, text(&within))
        .outside(SYSFS, text(&out))
        .holds(devices == "lo" && out == within))
}

const SYSFS: &str = "/sys/class/net";

/// The names of abstract sockets belong to the net namespace.
fn abstract_sockets(stage: &mut Stage<'_>) -> Result<Card> {
    let (outside, inside) = (stage.outside(Net)?, stack(stage, Lo::Up)?);
    let name = abstract_name(stage, &outside)?;
    let (same, reached) = connect_unix(&outside, &name)?;
    let (other, refused) = connect_unix(&inside, &name)?;
    let own = SocketCall::Bind(socket(&inside, Domain::Unix)?, name);
    let bound = inside.perform(own.clone())?;
    Ok(Card::new(Net, "abstract")
        .outside(same, short_answer(reached))
        .inside(other, short_answer(refused))
        .inside(own, short_answer(bound))
        .holds(reached.is_ok() && refused == Err(Errno::ECONNREFUSED) && bound.is_ok()))
}

/// A unix socket with a path can be reached from another net namespace: the mount namespace decides what a path means.
fn path_sockets(stage: &mut Stage<'_>) -> Result<Card> {
    let (outside, inside) = (stage.outside(Net)?, stack(stage, Lo::Up)?);
    // TMPDIR is not used: it may be long, and sun_path holds only 108 bytes. unix(7)
    let path = format!("/tmp/{}", stage.unique("net"));
    let address = Address::Path(path.clone());
    let server = socket(&outside, Domain::Unix)?;
    let bind = SocketCall::Bind(server, address.clone());
    let bound = stage.make_inside(&outside, bind.clone(), Undo::RemoveFile { path: path.into() })?;
    must_succeed(&outside, SocketCall::Listen(server))?;
    let (connect, reached) = connect_unix(&inside, &address)?;
    Ok(Card::new(Net, "path")
        .outside(bind, short_answer(bound))
        .inside(connect, short_answer(reached))
        .holds(bound.is_ok() && reached.is_ok()))
}

/// A veth pair connects two namespaces. With --veth one of them is that of the host. Otherwise both are new ones,
/// which needs no root privileges.
fn veth(stage: &mut Stage<'_>) -> Result<Card> {
    let skip = |reason| Ok(Card::new(Net, "veth").skip(reason));
    if stage.spec.net.as_ref().is_some_and(|net| net.veth) {
        let (outside, inside) = (stage.outside(Net)?, stage.inside(Net)?);
        let Some(veth) = &stage.network.veth else { return skip("net.subnet.why") };
        return connect_over_veth("OUTSIDE", &outside, &veth.name, veth.outside, ("INSIDE", &inside));
    }
    let inside = stack(stage, Lo::Up)?;
    let Ok((second, pid)) = inside.spawn(&[Net])? else { return skip("net.skip.second") };
    let pair = Link::AddVeth {
        name: "sbx0".into(),
        peer: INSIDE.into(),
        pid: Some(pid),
        bridge: None,
        claimed: false,
    };
    if inside.perform(pair)? == Err(Errno::EOPNOTSUPP) {
        return skip("net.pair.EOPNOTSUPP");
    }
    let [own, other] = [1, 2].map(|host| Ipv4Addr::new(10, 0, 0, host));
    for (agent, device, address) in [(&inside, "sbx0", own), (&second, INSIDE, other)] {
        let device = device.to_owned();
        must_succeed(
            agent,
            Link::AddAddress {
                device: device.clone(),
                address: Some(address.into()),
                prefix: PREFIX,
                shared: false,
            },
        )?;
        must_succeed(agent, Link::LinkUp { name: device })?;
    }
    must_succeed(&inside, Link::AwaitCarrier { name: "sbx0".into() })?;
    connect_over_veth("INSIDE", &inside, "sbx0", own, ("INSIDE 2", &second))
}

/// Two namespaces are each connected by a veth pair to a bridge in a third one. The bridge works as a switch: they
/// can reach each other until their ports are isolated.
fn bridge(stage: &mut Stage<'_>) -> Result<Card> {
    let skip = |reason| Ok(Card::new(Net, "bridge").skip(reason));
    let name = String::from("box0");
    let inside = stack(stage, Lo::Up)?;
    let hardware = HardwareAddress::of(Ipv4Addr::new(10, 0, 0, 1));
    let make = Link::AddBridge { name: name.clone(), hardware };
    if inside.perform(make)? == Err(Errno::EOPNOTSUPP) {
        return skip("net.skip.bridge");
    }
    must_succeed(&inside, Link::LinkUp { name: name.clone() })?;
    let mut ends = Vec::new();
    for (port, host) in [("sbx2", 2), ("sbx3", 3)] {
        let Ok((agent, pid)) = inside.spawn(&[Net])? else { return skip("net.skip.second") };
        let pair = Link::AddVeth {
            name: port.into(),
            peer: INSIDE.into(),
            pid: Some(pid),
            bridge: Some(name.clone()),
            claimed: false,
        };
        if inside.perform(pair)? == Err(Errno::EOPNOTSUPP) {
            return skip("net.pair.EOPNOTSUPP");
        }
        let address = Some(Ipv4Addr::new(10, 0, 0, host));
        must_succeed(&inside, Link::LinkUp { name: port.into() })?;
        must_succeed(
            &agent,
            Link::AddAddress {
                device: INSIDE.into(),
                address: address.map(Into::into),
                prefix: 24,
                shared: false,
            },
        )?;
        must_succeed(&agent, Link::LinkUp { name: INSIDE.into() })?;
        must_succeed(&inside, Link::AwaitCarrier { name: port.into() })?;
        ends.push(agent);
    }
    let (server, client, address) = (&ends[0], &ends[1], Ipv4Addr::new(10, 0, 0, 2));
    let before = exchange(server, client, address)?;
    must_succeed(&inside, Link::Isolate { port: "sbx2".into() })?;
    let isolate = Link::Isolate { port: "sbx3".into() };
    must_succeed(&inside, isolate.clone())?;
    let (_, port) = listen(server, address)?;
    let connect = SocketCall::Connect(socket(client, Domain::Inet)?, Address::Inet(address, port));
    let after = client.perform(connect.clone())?;
    Ok(Card::new(Net, "bridge")
        .inside(DEVICES, summary(&inside, DEVICES, device_names)?)
        .seen("INSIDE 3", &before.connect, short_answer(before.connected))
        .inside(isolate, "0")
        .seen("INSIDE 3", connect, short_answer(after))
        .holds(before.is_received() && after.is_err()))
}

/// One side listens on the address of its end of the veth pair, and the other side connects to it.
fn connect_over_veth(
    side: &'static str,
    server: &Agent,
    device: &str,
    address: Ipv4Addr,
    client: (&'static str, &Agent),
) -> Result<Card> {
    let has = |names: &str, device: &str| names.split(' ').any(|name| name == device);
    let server_devices = summary(server, DEVICES, device_names)?;
    let client_devices = summary(client.1, DEVICES, device_names)?;
    let exchange = exchange(server, client.1, address)?;
    let holds = exchange.is_received() && has(&server_devices, device) && has(&client_devices, INSIDE);
    Ok(Card::new(Net, "veth")
        .seen(side, DEVICES, server_devices)
        .seen(client.0, DEVICES, client_devices)
        .seen(client.0, &exchange.connect, short_answer(exchange.connected))
        .seen(client.0, &exchange.receive, short_answer(exchange.received))
        .holds(holds))
}
