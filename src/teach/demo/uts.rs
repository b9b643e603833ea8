//! What the uts namespace shows.

use super::{Card, CardEntry, Stage, words};
use crate::error::Result;
use crate::feature::Feature::Uts;
use crate::plan::call::uts::UtsCall as Call;
use crate::teach::agent::Agent;

pub(super) const CARDS: &[CardEntry] =
    &[("copy", copy), ("names", names), ("resolve", resolve), ("kernel", kernel)];

const HOSTNAME: &str = "/proc/sys/kernel/hostname";
const DOMAINNAME: &str = "/proc/sys/kernel/domainname";
const RELEASE: &str = "/proc/sys/kernel/osrelease";
const HOSTS: &str = "/etc/hosts";
const MOUNTS: &str = "/proc/self/ns/mnt";

/// A new namespace begins with a copy: only the link tells it apart.
fn copy(stage: &mut Stage<'_>) -> Result<Card> {
    let outside = stage.outside(Uts)?;
    let inside = stage.start(&crate::config::spec::Spec::of(Uts), Uts)?;
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
    let (outside, inside) = (stage.outside(Uts)?, stage.inside(Uts)?);
    let both = |agent: &Agent| -> Result<String> {
        Ok(format!("{}, {}", words(agent.read(HOSTNAME)?), words(agent.read(DOMAINNAME)?)))
    };
    let before = both(&outside)?;
    let (host, domain) = (Call::SetHostname("aquarium".into()), Call::SetDomainname("lab".into()));
    let answers = (inside.perform(host.clone())?, inside.perform(domain.clone())?);
    let (here, there) = (both(&inside)?, both(&outside)?);
    let holds = answers == (Ok(0), Ok(0)) && here == "aquarium, lab" && there == before;
    Ok(Card::new(Uts, "names")
        .call("INSIDE", host, answers.0)
        .call("INSIDE", domain, answers.1)
        .inside("/proc/sys/kernel/{hostname,domainname}", here)
        .outside("/proc/sys/kernel/{hostname,domainname}", there)
        .holds(holds))
}

/// Names of machines are looked up in files, and on servers that files name: which files those are is not for this
/// namespace to say.
fn resolve(stage: &mut Stage<'_>) -> Result<Card> {
    let (outside, inside) = (stage.outside(Uts)?, stage.inside(Uts)?);
    let name = stage.unique("name");
    let answer = inside.perform(Call::SetHostname(name.clone()))?;
    let hostname = words(inside.read(HOSTNAME)?);
    let hosts = (outside.read(HOSTS)?, inside.read(HOSTS)?);
    let found = hosts.1.clone().map(|hosts| hosts.lines().filter(|line| line.contains(&name)).count());
    let count = found.map_or_else(|errno| format!("({errno:?})"), |found| found.to_string());
    let links = (words(outside.link(MOUNTS)?), words(inside.link(MOUNTS)?));
    let is_unmoved = hosts.0 == hosts.1 && links.0 == links.1 && found.unwrap_or(0) == 0;
    Ok(Card::new(Uts, "resolve")
        .inside(HOSTNAME, &hostname)
        .inside(format!("grep -c {name} {HOSTS}"), count)
        .outside(MOUNTS, links.0)
        .inside(MOUNTS, links.1)
        .holds(answer.is_ok() && hostname == name && is_unmoved))
}

/// What else uname(2) says is the kernel's, and there is one kernel.
fn kernel(stage: &mut Stage<'_>) -> Result<Card> {
    let (outside, inside) = (stage.outside(Uts)?, stage.inside(Uts)?);
    let releases = (words(outside.read(RELEASE)?), words(inside.read(RELEASE)?));
    let holds = releases.0 == releases.1 && !releases.0.starts_with('(');
    Ok(Card::new(Uts, "kernel").outside(RELEASE, releases.0).inside(RELEASE, releases.1).holds(holds))
}
