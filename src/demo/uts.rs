//! What the uts namespace shows.

use super::{Card, Entry, Stage, words};
use crate::error::Result;
use crate::feature::Feature::Uts;
use crate::plan::call::uts::Uts as Call;

pub(super) const CARDS: &[Entry] = &[("copy", copy), ("names", names)];

const HOSTNAME: &str = "/proc/sys/kernel/hostname";
const DOMAINNAME: &str = "/proc/sys/kernel/domainname";

/// A new namespace begins with a copy: only the link tells it apart.
fn copy(stage: &mut Stage<'_>) -> Result<Card> {
    let outside = stage.outside(Uts)?;
    let inside = stage.start(&crate::spec::Spec::of(Uts), Uts)?;
    let links = (words(outside.link("/proc/self/ns/uts")?), words(inside.link("/proc/self/ns/uts")?));
    let hostnames = (words(outside.read(HOSTNAME)?), words(inside.read(HOSTNAME)?));
    Ok(Card::new(Uts, "copy")
        .outside("/proc/self/ns/uts", &links.0)
        .inside("/proc/self/ns/uts", &links.1)
        .outside(HOSTNAME, &hostnames.0)
        .inside(HOSTNAME, &hostnames.1)
        .holds(links.0 != links.1 && hostnames.0 == hostnames.1))
}

/// What is set inside stays inside: both names.
fn names(stage: &mut Stage<'_>) -> Result<Card> {
    let outside = stage.outside(Uts)?;
    let inside = stage.inside(Uts)?;
    let before = words(outside.read(HOSTNAME)?);
    let set = Call::SetHostname("aquarium".into());
    let answer = inside.perform(set.clone())?;
    let domain = inside.perform(Call::SetDomainname("lab".into()))?;
    let seen = (words(inside.read(HOSTNAME)?), words(inside.read(DOMAINNAME)?));
    let after = words(outside.read(HOSTNAME)?);
    let holds =
        answer.is_ok() && domain.is_ok() && seen == ("aquarium".into(), "lab".into()) && before == after;
    Ok(Card::new(Uts, "names")
        .call("INSIDE", set, answer)
        .inside(format!("{HOSTNAME}, domainname"), format!("{}, {}", seen.0, seen.1))
        .outside(HOSTNAME, after)
        .holds(holds))
}
