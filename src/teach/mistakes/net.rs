//! Mistakes with the net namespace.

use super::{Contrast, MistakeEntry};
use crate::config::spec::Spec;
use crate::error::Result;
use crate::feature::Feature::{Net, Uts};
use crate::namespaces::net::Lo;
use crate::teach::demo::net::{LOOPBACK, abstract_name, connect_unix, exchange, short_answer, stack};
use crate::teach::demo::{Stage, one_line};

pub(super) const MISTAKES: &[MistakeEntry] = &[("lo-down", lo_down), ("abstract", abstract_socket)];

/// Running a server on 127.0.0.1 in a net namespace whose lo is still down.
fn lo_down(stage: &mut Stage<'_>) -> Result<Contrast> {
    let mut contrast = Contrast::new(Net, "lo-down");
    for (lo, is_right) in [(Lo::Up, true), (Lo::Down, false)] {
        let inside = stack(stage, lo)?;
        let exchange = exchange(&inside, &inside, LOOPBACK)?;
        let add = if is_right { Contrast::right } else { Contrast::wrong };
        contrast = add(contrast, "INSIDE", exchange.connect.to_string(), short_answer(exchange.connected));
        contrast = add(contrast, "INSIDE", exchange.receive.to_string(), short_answer(exchange.received));
    }
    Ok(contrast)
}

/// Sharing the host's net namespace, for speed or convenience: the host's abstract sockets can then be reached.
fn abstract_socket(stage: &mut Stage<'_>) -> Result<Contrast> {
    let mut contrast = Contrast::new(Net, "abstract");
    let outside = stage.outside(Net)?;
    let name = abstract_name(stage, &outside)?;
    for (kind, is_right) in [(Net, true), (Uts, false)] {
        let inside = stage.start(&Spec::of(kind), kind)?;
        let (connect, answer) = connect_unix(&inside, &name)?;
        let add = if is_right { Contrast::right } else { Contrast::wrong };
        contrast = add(
            contrast,
            "INSIDE",
            "/proc/self/ns/net".to_owned(),
            one_line(inside.link("/proc/self/ns/net")?),
        );
        contrast = add(contrast, "INSIDE", connect.to_string(), short_answer(answer));
    }
    let link = one_line(outside.link("/proc/self/ns/net")?);
    Ok(contrast.right("OUTSIDE", "/proc/self/ns/net", &link).wrong("OUTSIDE", "/proc/self/ns/net", link))
}
