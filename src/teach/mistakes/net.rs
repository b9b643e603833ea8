//! Mistakes with the net namespace.

use super::{Contrast, MistakeEntry};
use crate::config::spec::Spec;
use crate::error::Result;
use crate::feature::Feature::{Net, Uts};
use crate::namespaces::net::Lo;
use crate::teach::demo::net::{HERE, abstract_name, brief, reach, said, stack};
use crate::teach::demo::{Stage, words};

pub(super) const MISTAKES: &[MistakeEntry] = &[("lo-down", lo_down), ("abstract", abstract_socket)];

/// A server on 127.0.0.1 in a namespace whose lo nobody brought up.
fn lo_down(stage: &mut Stage<'_>) -> Result<Contrast> {
    let mut contrast = Contrast::new(Net, "lo-down");
    for (lo, is_right) in [(Lo::Up, true), (Lo::Down, false)] {
        let inside = stack(stage, lo)?;
        let line = said(&inside, &inside, HERE)?;
        let add = if is_right { Contrast::right } else { Contrast::wrong };
        contrast = add(contrast, "INSIDE", line.connect.to_string(), brief(line.connected));
        contrast = add(contrast, "INSIDE", line.receive.to_string(), brief(line.received));
    }
    Ok(contrast)
}

/// A container that shares the host's network, for speed or out of convenience.
fn abstract_socket(stage: &mut Stage<'_>) -> Result<Contrast> {
    let mut contrast = Contrast::new(Net, "abstract");
    let outside = stage.outside(Net)?;
    let name = abstract_name(stage, &outside)?;
    for (kind, is_right) in [(Net, true), (Uts, false)] {
        let inside = stage.start(&Spec::of(kind), kind)?;
        let (connect, answer) = reach(&inside, &name)?;
        let add = if is_right { Contrast::right } else { Contrast::wrong };
        contrast =
            add(contrast, "INSIDE", "/proc/self/ns/net".to_owned(), words(inside.link("/proc/self/ns/net")?));
        contrast = add(contrast, "INSIDE", connect.to_string(), brief(answer));
    }
    let link = words(outside.link("/proc/self/ns/net")?);
    Ok(contrast.right("OUTSIDE", "/proc/self/ns/net", &link).wrong("OUTSIDE", "/proc/self/ns/net", link))
}
