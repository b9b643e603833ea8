//! rtnetlink(7): creates, finds and removes network devices (links), and gives them addresses and routes. Nothing here
//! is unsafe.

use std::net::{IpAddr, Ipv4Addr};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind, InfoVeth, LinkAttribute, LinkInfo,
    LinkMessage, State,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;

use crate::error::errno;

/// A network device, as the kernel describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    index: u32,
    hardware_address: Vec<u8>,
    alias: Option<String>,
    kind: Option<String>,
    is_up: bool,
}

impl Link {
    /// Whether it can send packets: its operational state (RFC 2863) is "up". netdevice(7), IFF_RUNNING
    pub(crate) fn is_up(&self) -> bool {
        self.is_up
    }

    /// Its hardware address.
    pub(crate) fn hardware_address(&self) -> &[u8] {
        &self.hardware_address
    }

    /// Its kind: `veth`, `bridge`. A device without one is no virtual device that a user has made: `lo`, a card.
    pub(crate) fn kind(&self) -> Option<&str> {
        self.kind.as_deref()
    }

    /// Its alias: a text that the kernel stores with the device (IFLA_IFALIAS).
    pub(crate) fn alias(&self) -> Option<&str> {
        self.alias.as_deref()
    }

    /// Identifies the device among all others, also those with the same name in other network namespaces. The kernel
    /// gives each veth device a random hardware address.
    pub(crate) fn identity(&self) -> String {
        let namespace = std::fs::read_link("/proc/self/ns/net").unwrap_or_default();
        let bytes: Vec<String> = self.hardware_address.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{} {} {}", namespace.display(), self.index, bytes.join(":"))
    }
}

/// RTM_NEWLINK: creates a veth pair, with one device here and the other in the network namespace of process `pid`. With
/// `bridge` the device here becomes a port of that bridge. With `hardware` the other device gets that hardware address.
///
/// # Errors
/// EEXIST: the name is in use. EPERM: no CAP_NET_ADMIN here or there. EOPNOTSUPP: a kernel without veth. ENODEV: no
/// such bridge.
pub(crate) fn add_veth(
    name: &str,
    peer: &str,
    pid: u32,
    bridge: Option<&str>,
    hardware: Option<[u8; 6]>,
) -> Result<(), Errno> {
    let mut other = LinkMessage::default();
    other.attributes = vec![LinkAttribute::IfName(peer.to_owned()), LinkAttribute::NetNsPid(pid)];
    let mut link = LinkMessage::default();
    link.attributes = vec![LinkAttribute::IfName(name.to_owned())];
    if let Some(bridge) = bridge {
        let bridge = find_link(bridge).ok_or(Errno::ENODEV)?;
        link.attributes.push(LinkAttribute::Controller(bridge.index));
    }
    other.attributes.extend(hardware.map(|address| LinkAttribute::Address(address.to_vec())));
    link.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(other))),
    ]));
    acknowledged(RouteNetlinkMessage::NewLink(link), NLM_F_CREATE | NLM_F_EXCL)
}

/// RTM_NEWLINK: creates a bridge with this hardware address. Without one, a bridge takes the lowest address of its
/// ports. When its address then changes, hosts that have the old one in their ARP tables cannot reach it for a while.
///
/// # Errors
/// EEXIST: the name is in use. EPERM: no CAP_NET_ADMIN here. EOPNOTSUPP: a kernel without bridges.
pub(crate) fn add_bridge(name: &str, address: [u8; 6]) -> Result<(), Errno> {
    let mut link = LinkMessage::default();
    link.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::Address(address.to_vec()),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]),
    ];
    acknowledged(RouteNetlinkMessage::NewLink(link), NLM_F_CREATE | NLM_F_EXCL)
}

/// RTM_NEWLINK of an existing port: the bridge forwards no packet from it to another isolated port
/// (IFLA_BRPORT_ISOLATED, Linux 4.18).
///
/// # Errors
/// ENODEV: no such device. EPERM: no CAP_NET_ADMIN here.
pub(crate) fn isolate_port(name: &str) -> Result<(), Errno> {
    change(
        name,
        LinkAttribute::LinkInfo(vec![
            LinkInfo::PortKind(InfoPortKind::Bridge),
            LinkInfo::PortData(InfoPortData::BridgePort(vec![InfoBridgePort::Isolated(true)])),
        ]),
    )
}

/// RTM_NEWLINK of an existing device: sets its alias.
///
/// # Errors
/// ENODEV: no such device. EPERM: no CAP_NET_ADMIN here.
pub(crate) fn set_alias(name: &str, alias: &str) -> Result<(), Errno> {
    change(name, LinkAttribute::IfAlias(alias.to_owned()))
}

fn change(name: &str, attribute: LinkAttribute) -> Result<(), Errno> {
    let mut link = LinkMessage::default();
    link.header.index = find_link(name).ok_or(Errno::ENODEV)?.index;
    link.attributes = vec![attribute];
    acknowledged(RouteNetlinkMessage::NewLink(link), 0)
}

/// RTM_NEWROUTE: the default route, to `gateway`. There must be a route to the gateway already.
///
/// # Errors
/// ENETUNREACH: no route to the gateway. EEXIST: there is a default route. EPERM: no CAP_NET_ADMIN here.
pub(crate) fn add_default_route(gateway: Ipv4Addr) -> Result<(), Errno> {
    let mut route = RouteMessage::default();
    route.header.address_family = AddressFamily::Inet;
    route.header.table = RouteHeader::RT_TABLE_MAIN;
    route.header.protocol = RouteProtocol::Static;
    route.header.scope = RouteScope::Universe;
    route.header.kind = RouteType::Unicast;
    route.attributes = vec![RouteAttribute::Gateway(RouteAddress::Inet(gateway))];
    acknowledged(RouteNetlinkMessage::NewRoute(route), NLM_F_CREATE | NLM_F_EXCL)
}

/// RTM_NEWADDR: an address. When the device is up, the kernel adds the route to the address's network.
///
/// # Errors
/// ENODEV: no such device. EEXIST: it has that address. EPERM: no CAP_NET_ADMIN here. EACCES: IPv6 is disabled on the
/// device. EOPNOTSUPP: a kernel without IPv6.
pub(crate) fn add_address(device: &str, address: IpAddr, prefix: u8) -> Result<(), Errno> {
    let link = find_link(device).ok_or(Errno::ENODEV)?;
    let mut message = AddressMessage::default();
    message.header.family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.prefix_len = prefix;
    message.header.index = link.index;
    // For IPv4 the kernel expects both: our own address (LOCAL), and that of the peer (ADDRESS), which is the same if
    // there is no peer.
    message.attributes = vec![AddressAttribute::Local(address), AddressAttribute::Address(address)];
    acknowledged(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL)
}

/// RTM_DELLINK: removes a device. The kernel removes the peer of a veth device with it.
///
/// # Errors
/// ENODEV: no such device. EPERM: no CAP_NET_ADMIN here.
pub(crate) fn delete_link(name: &str) -> Result<(), Errno> {
    let mut link = LinkMessage::default();
    link.header.index = find_link(name).ok_or(Errno::ENODEV)?.index;
    acknowledged(RouteNetlinkMessage::DelLink(link), 0)
}

/// RTM_GETLINK: the device of this name in the caller's network namespace.
pub(crate) fn find_link(name: &str) -> Option<Link> {
    let mut message = LinkMessage::default();
    message.attributes = vec![LinkAttribute::IfName(name.to_owned())];
    match ask(RouteNetlinkMessage::GetLink(message), 0) {
        Ok(NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link))) => {
            let address = link.attributes.iter().find_map(|attribute| match attribute {
                LinkAttribute::Address(bytes) => Some(bytes.clone()),
                _ => None,
            });
            let alias = link.attributes.iter().find_map(|attribute| match attribute {
                LinkAttribute::IfAlias(alias) => Some(alias.clone()),
                _ => None,
            });
            let kind = link.attributes.iter().find_map(|attribute| match attribute {
                LinkAttribute::LinkInfo(all) => all.iter().find_map(|info| match info {
                    LinkInfo::Kind(kind) => Some(kind.to_string()),
                    _ => None,
                }),
                _ => None,
            });
            let is_up = link.attributes.contains(&LinkAttribute::OperState(State::Up));
            let hardware_address = address.unwrap_or_default();
            Some(Link { index: link.header.index, hardware_address, alias, kind, is_up })
        }
        _ => None,
    }
}

fn acknowledged(message: RouteNetlinkMessage, flags: u16) -> Result<(), Errno> {
    match ask(message, flags | NLM_F_ACK)? {
        // An acknowledgement is an error message with code 0.
        NetlinkPayload::Error(error) => match error.raw_code() {
            0 => Ok(()),
            code => Err(Errno::from_raw(-code)),
        },
        _ => Err(Errno::EPROTO),
    }
}

/// Sends one message and returns its answer. Each message has a new socket: a socket stays in the network namespace in
/// which it was made.
fn ask(message: RouteNetlinkMessage, flags: u16) -> Result<NetlinkPayload<RouteNetlinkMessage>, Errno> {
    let socket = Socket::new(NETLINK_ROUTE).map_err(errno)?;
    socket.connect(&SocketAddr::new(0, 0)).map_err(errno)?;
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | flags;
    let mut request = NetlinkMessage::new(header, NetlinkPayload::from(message));
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    socket.send(&bytes, 0).map_err(errno)?;
    // The kernel answers before send(2) returns, so there is nothing to wait for.
    let (answer, _) = socket.recv_from_full().map_err(errno)?;
    NetlinkMessage::deserialize(&answer).map(|answer| answer.payload).map_err(|_| Errno::EPROTO)
}
