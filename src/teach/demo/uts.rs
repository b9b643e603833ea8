//! Demonstrations of the uts namespace: it has its own hostname and NIS domain name.
//!
//! A container can have a hostname without changing that of the host. Nothing else depends on it: how names are
//! resolved is decided by files, which belong to the mount namespace. uts_namespaces(7)

use super::{Card, CardEntry, Stage, one_line};
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

/// A new namespace begins with a copy of both names. Only the link in /proc/self/ns differs.
fn copy(stage: &mut Stage<'_>) -> Result<Card> {
    let outside = stage.outside(Uts)?;
    let inside = stage.start(&crate::config::spec::Spec::of(Uts), Uts)?;
    let links = (one_line(outside.link("/proc/self/ns/uts")?), one_line(inside.link("/proc/self/ns/uts")?));
    let hostnames = (one_line(outside.read(HOSTNAME)?), one_line(inside.read(HOSTNAME)?));
    Ok(Card::new(Uts, "copy")
        .outside("/proc/self/ns/uts", &links.0)
        .inside("/proc/self/ns/uts", &links.1)
        .outside(HOSTNAME, &hostnames.0)
        .inside(HOSTNAME, &hostnames.1)
        .holds(links.0 != links.1 && hostnames.0 == hostnames.1))
}

/// Both names can be set inside without changing those outside.
fn names(stage: &mut Stage<'_>) -> Result<Card> {
    let (outside, inside) = (stage.outside(Uts)?, stage.inside(Uts)?);
    let both = |agent: &Agent| -> Result<(String, String)> {
        Ok((one_line(agent.read(HOSTNAME)?), one_line(agent.read(DOMAINNAME)?)))
    };
    let before = both(&outside)?;
    let (host, domain) = (Call::SetHostname("aquarium".into()), Call::SetDomainname("lab".into()));
    let answers = (inside.perform(host.clone())?, inside.perform(domain.clone())?);
    let (inner, outer) = (both(&inside)?, both(&outside)?);
    let is_set = (&*inner.0, &*inner.1) == ("aquarium", "lab");
    let holds = answers == (Ok(0), Ok(0)) && is_set && outer == before;
    Ok(Card::new(Uts, "names")
        .call("INSIDE", host, answers.0)
        .call("INSIDE", domain, answers.1)
        .inside(HOSTNAME, inner.0)
        .inside(DOMAINNAME, inner.1)
        .outside(HOSTNAME, outer.0)
        .outside(DOMAINNAME, outer.1)
        .holds(holds))
}

/// Setting a hostname does not make it resolvable. Names are resolved by /etc/hosts and by the servers in
/// /etc/resolv.conf, and a uts namespace does not change these files.
fn resolve(stage: &mut Stage<'_>) -> Result<Card> {
    let (outside, inside) = (stage.outside(Uts)?, stage.inside(Uts)?);
    let name = "no-such-name".to_owned();
    let answer = inside.perform(Call::SetHostname(name.clone().into()))?;
    let hostname = one_line(inside.read(HOSTNAME)?);
    let hosts = (outside.read(HOSTS)?, inside.read(HOSTS)?);
    let found = hosts.1.clone().map(|hosts| hosts.lines().filter(|line| line.contains(&name)).count());
    let count = found.map_or_else(|errno| format!("({errno:?})"), |found| found.to_string());
    let links = (one_line(outside.link(MOUNTS)?), one_line(inside.link(MOUNTS)?));
    let is_unmoved = hosts.0 == hosts.1 && links.0 == links.1 && found.unwrap_or(0) == 0;
    Ok(Card::new(Uts, "resolve")
        .inside(HOSTNAME, &hostname)
        .inside(format!("grep -c {name} {HOSTS}"), count)
        .outside(MOUNTS, links.0)
        .inside(MOUNTS, links.1)
        .holds(answer.is_ok() && hostname == name && is_unmoved))
}

/// The other values of uname(2) describe the kernel, which all namespaces share.
fn kernel(stage: &mut Stage<'_>) -> Result<Card> {
    let (outside, inside) = (stage.outside(Uts)?, stage.inside(Uts)?);
    let releases = (one_line(outside.read(RELEASE)?), one_line(inside.read(RELEASE)?));
    let holds = releases.0 == releases.1 && !releases.0.starts_with('(');
    Ok(Card::new(Uts, "kernel").outside(RELEASE, releases.0).inside(RELEASE, releases.1).holds(holds))
}
