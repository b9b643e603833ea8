//! What the uts namespace shows.

use super::{Card, Entry, Stage, words};
use crate::error::Result;
use crate::feature::Feature::Uts;
use crate::plan::call::uts::Uts as Call;

pub(super) const CARDS: &[Entry] =
    &[("copy", copy), ("hostname", hostname), ("domain", domain), ("resolver", resolver), ("kernel", kernel)];

const HOSTNAME: &str = "/proc/sys/kernel/hostname";
const DOMAINNAME: &str = "/proc/sys/kernel/domainname";
const RELEASE: &str = "/proc/sys/kernel/osrelease";
const HOSTS: &str = "/etc/hosts";

/// A name that no machine has.
const NAME: &str = "sandbox-aquarium";

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

/// What is set inside stays inside, and is what uname(2) says there: the node's name.
fn hostname(stage: &mut Stage<'_>) -> Result<Card> {
    let (outside, inside) = (stage.outside(Uts)?, stage.inside(Uts)?);
    let before = words(outside.read(HOSTNAME)?);
    let set = Call::SetHostname(NAME.into());
    let answer = inside.perform(set.clone())?;
    let (file, node) = (words(inside.read(HOSTNAME)?), words(inside.node()?));
    let after = words(outside.read(HOSTNAME)?);
    let holds = answer.is_ok() && file == NAME && node == NAME && before == after && after != NAME;
    Ok(Card::new(Uts, "hostname")
        .call("INSIDE", set, answer)
        .inside(HOSTNAME, file)
        .inside("uname().nodename", node)
        .outside(HOSTNAME, after)
        .holds(holds))
}

/// The other name. It is NIS's, which hardly anyone has: (none).
fn domain(stage: &mut Stage<'_>) -> Result<Card> {
    let (outside, inside) = (stage.outside(Uts)?, stage.inside(Uts)?);
    let before = words(outside.read(DOMAINNAME)?);
    let set = Call::SetDomainname(NAME.into());
    let answer = inside.perform(set.clone())?;
    let (file, after) = (words(inside.read(DOMAINNAME)?), words(outside.read(DOMAINNAME)?));
    let holds = answer.is_ok() && file == NAME && before == after && after != NAME;
    Ok(Card::new(Uts, "domain")
        .call("INSIDE", set, answer)
        .inside(DOMAINNAME, file)
        .outside(DOMAINNAME, after)
        .holds(holds))
}

/// Names are resolved by files (and by servers that files name), and which files those are is the mnt namespace's matter.
fn resolver(stage: &mut Stage<'_>) -> Result<Card> {
    let (outside, inside) = (stage.outside(Uts)?, stage.inside(Uts)?);
    let answer = inside.perform(Call::SetHostname(NAME.into()))?;
    let named = words(inside.read(HOSTNAME)?);
    let hosts = (outside.read(HOSTS)?, inside.read(HOSTS)?);
    let lines = hosts
        .1
        .as_ref()
        .map_err(|errno| *errno)
        .map(|file| file.lines().filter(|line| line.contains(NAME)).count());
    let count = lines.map_or_else(|errno| format!("({errno:?})"), |lines| lines.to_string());
    let links = (words(outside.link("/proc/self/ns/mnt")?), words(inside.link("/proc/self/ns/mnt")?));
    let holds = answer.is_ok()
        && named == NAME
        && lines.unwrap_or(0) == 0
        && hosts.0 == hosts.1
        && links.0 == links.1;
    Ok(Card::new(Uts, "resolver")
        .inside(HOSTNAME, named)
        .inside(format!("grep -c {NAME} {HOSTS}"), count)
        .outside("/proc/self/ns/mnt", links.0)
        .inside("/proc/self/ns/mnt", links.1)
        .holds(holds))
}

/// What else uname(2) says is the kernel's, and there is one kernel.
fn kernel(stage: &mut Stage<'_>) -> Result<Card> {
    let (outside, inside) = (stage.outside(Uts)?, stage.inside(Uts)?);
    let releases = (words(outside.read(RELEASE)?), words(inside.read(RELEASE)?));
    let holds = releases.0 == releases.1 && !releases.0.starts_with('(');
    Ok(Card::new(Uts, "kernel").outside(RELEASE, releases.0).inside(RELEASE, releases.1).holds(holds))
}
