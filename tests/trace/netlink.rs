//! Messages of rtnetlink(7) in the form in which a plan prints them. An attribute that the form does not have is printed as
//! the library decodes it, and so differs from any plan.

use std::collections::HashMap;

use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::AddressAttribute;
use netlink_packet_route::link::{
    InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind, InfoVeth, LinkAttribute, LinkInfo,
    LinkMessage,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteProtocol, RouteScope, RouteType,
};

/// The device for which each process has asked last. `sandbox` asks for its index before it changes a device.
#[derive(Default)]
pub(crate) struct Asked(HashMap<String, String>);

impl Asked {
    /// A message that this process has sent. None if it only asks.
    pub(crate) fn message(&mut self, pid: &str, sent: &[u8]) -> Option<String> {
        let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(sent).expect("a message");
        let NetlinkPayload::InnerMessage(message) = message.payload else { panic!("{sent:?}") };
        let device = self.0.get(pid).cloned().unwrap_or_default();
        let text = match &message {
            RouteNetlinkMessage::GetLink(link) => {
                self.0.extend(name(link).map(|name| (pid.to_owned(), name)));
                return None;
            }
            RouteNetlinkMessage::NewLink(link) => new_link(link, &device),
            RouteNetlinkMessage::DelLink(_) => Some(format!("RTM_DELLINK {device}")),
            RouteNetlinkMessage::NewAddress(address) => {
                let prefix = address.header.prefix_len;
                match address.attributes.as_slice() {
                    [AddressAttribute::Local(local), AddressAttribute::Address(peer)] if local == peer => {
                        Some(format!("RTM_NEWADDR {local}/{prefix} dev {device}"))
                    }
                    _ => None,
                }
            }
            RouteNetlinkMessage::NewRoute(route) => {
                let is_default = route.header.destination_prefix_length == 0
                    && route.header.table == RouteHeader::RT_TABLE_MAIN
                    && route.header.scope == RouteScope::Universe
                    && route.header.kind == RouteType::Unicast
                    && route.header.protocol == RouteProtocol::Static;
                match route.attributes.as_slice() {
                    [RouteAttribute::Gateway(RouteAddress::Inet(gateway))] if is_default => {
                        Some(format!("RTM_NEWROUTE default via {gateway} proto static"))
                    }
                    _ => None,
                }
            }
            _ => None,
        };
        let text = text.unwrap_or_else(|| format!("{message:?}"));
        Some(format!("send(<netlink>, {{{text}}})"))
    }
}

fn name(link: &LinkMessage) -> Option<String> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    })
}

/// A hardware address as ip(8) prints it.
fn hardware(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

fn new_link(link: &LinkMessage, asked: &str) -> Option<String> {
    use LinkAttribute::{Address, Controller, IfAlias, IfName, LinkInfo as Info};
    match link.attributes.as_slice() {
        [IfName(name), Address(address), Info(info)] if *info == [LinkInfo::Kind(InfoKind::Bridge)] => {
            Some(format!("RTM_NEWLINK bridge {name} address {}", hardware(address)))
        }
        [IfAlias(alias)] => Some(format!("RTM_NEWLINK {asked} alias {alias:?}")),
        [Info(info)] if *info == isolated() => Some(format!("RTM_NEWLINK {asked}, isolated")),
        [IfName(name), rest @ .., Info(info)] => {
            let master = match rest {
                [] => String::new(),
                [Controller(_)] => format!(" master {asked}"),
                _ => return None,
            };
            let [LinkInfo::Kind(InfoKind::Veth), LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer)))] =
                info.as_slice()
            else {
                return None;
            };
            let peer = match peer.attributes.as_slice() {
                [IfName(peer), LinkAttribute::NetNsPid(_)] => format!("{peer} in netns of PID"),
                [IfName(peer), LinkAttribute::NetNsPid(_), Address(address)] => {
                    format!("{peer} address {} in netns of PID", hardware(address))
                }
                _ => return None,
            };
            Some(format!("RTM_NEWLINK veth {name}{master}, peer {peer}"))
        }
        _ => None,
    }
}

fn isolated() -> Vec<LinkInfo> {
    vec![
        LinkInfo::PortKind(InfoPortKind::Bridge),
        LinkInfo::PortData(InfoPortData::BridgePort(vec![InfoBridgePort::Isolated(true)])),
    ]
}
