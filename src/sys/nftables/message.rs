//! What a message consists of, and what the kernel answers. netlink(7)

use libc::{NLA_ALIGNTO, NLA_F_NESTED, NLMSG_ERROR, c_int};

/// Netlink attributes: a length, a type and a value, padded to four bytes. A value may consist of attributes.
#[derive(Debug, Default)]
pub(super) struct NetlinkAttributes(Vec<u8>);

impl NetlinkAttributes {
    /// All of them, as they are sent.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn bytes(&mut self, kind: u16, value: &[u8]) {
        self.0.extend((value.len() as u16 + 4).to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(NLA_ALIGNTO as usize), 0);
    }

    pub(super) fn text(&mut self, kind: u16, value: &str) {
        self.bytes(kind, &[value.as_bytes(), &[0]].concat());
    }

    /// nf_tables takes numbers in network byte order.
    pub(super) fn number(&mut self, kind: u16, value: c_int) {
        self.bytes(kind, &value.to_be_bytes());
    }

    pub(super) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut NetlinkAttributes)) {
        let mut inner = NetlinkAttributes::default();
        fill(&mut inner);
        self.bytes(kind | NLA_F_NESTED as u16, &inner.0);
    }
}

/// A message: struct nlmsghdr, struct nfgenmsg, attributes. `about` is the address family and the resource.
pub(super) fn message(
    sequence: u32,
    kind: c_int,
    flags: c_int,
    about: [c_int; 2],
    attributes: &NetlinkAttributes,
) -> Vec<u8> {
    const HEADERS: usize = 16 + 4;
    let ([family, resource], attributes) = (about, &attributes.0);
    let mut bytes = ((HEADERS + attributes.len()) as u32).to_ne_bytes().to_vec();
    bytes.extend((kind as u16).to_ne_bytes());
    bytes.extend((flags as u16).to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    // The port ID, which is 0 for the kernel.
    bytes.extend(0_u32.to_ne_bytes());
    bytes.extend([family as u8, libc::NFNETLINK_V0 as u8]);
    bytes.extend((resource as u16).to_be_bytes());
    bytes.extend(attributes);
    bytes
}

/// The messages in a datagram: the type and the body of each, which follows struct nlmsghdr.
pub(super) fn messages(mut bytes: &[u8]) -> Vec<(c_int, &[u8])> {
    let mut messages = Vec::new();
    while let [a, b, c, d, kind, other, ..] = *bytes {
        let length = (u32::from_ne_bytes([a, b, c, d]) as usize).max(16);
        let body = bytes.get(16..length).unwrap_or_default();
        messages.push((c_int::from(u16::from_ne_bytes([kind, other])), body));
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    messages
}

/// The attributes in a body: the type and the value of each.
pub(super) fn attributes(mut bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut all = Vec::new();
    while let [a, b, c, d, ..] = *bytes {
        let length = usize::from(u16::from_ne_bytes([a, b]));
        let Some(value) = bytes.get(4..length) else { break };
        all.push((u16::from_ne_bytes([c, d]) & libc::NLA_TYPE_MASK as u16, value));
        bytes = bytes.get(length.next_multiple_of(NLA_ALIGNTO as usize)..).unwrap_or_default();
    }
    all
}

/// A name, without the null byte at its end.
pub(super) fn text(value: &[u8]) -> Vec<u8> {
    value.strip_suffix(b"\0").unwrap_or(value).to_vec()
}

/// The codes of the acknowledgements in a datagram: NLMSG_ERROR, in which 0 means success.
pub(super) fn codes(bytes: &[u8]) -> Vec<i32> {
    let errors = messages(bytes).into_iter().filter(|(kind, _)| *kind == NLMSG_ERROR);
    errors.filter_map(|(_, body)| code(body)).collect()
}

/// The code at the start of the body of NLMSG_ERROR.
pub(super) fn code(body: &[u8]) -> Option<i32> {
    Some(i32::from_ne_bytes(body.get(..4)?.try_into().ok()?))
}
