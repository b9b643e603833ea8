//! Demonstrations of the ipc namespace: System V objects and POSIX message queues belong to one namespace.
//!
//! Processes that share these objects can exchange data without any file. In a new ipc namespace a process cannot find
//! the objects of others, and others cannot find its objects. ipc_namespaces(7)

use nix::errno::Errno;

use super::{Card, CardEntry, Stage, answer_text, one_line};
use crate::error::Result;
use crate::feature::Feature::Ipc;
use crate::plan::undo::{Sysv, Undo};
use crate::teach::agent::Agent;
use crate::teach::call::{IpcCall as Call, PathCall};

pub(super) const CARDS: &[CardEntry] = &[
    ("shm", shm),
    ("sem", sem),
    ("msg", msg),
    ("share", share),
    ("exchange", exchange),
    ("queue", queue),
    ("shm-file", shm_file),
];

const LINK: &str = "/proc/self/ns/ipc";

/// Counts the rows of /proc/sysvipc/KIND with this key, in the agent's ipc namespace. None if there is no such file.
fn rows(agent: &Agent, kind: &str, key: i32) -> Result<Option<usize>> {
    let key = key.to_string();
    let is_ours = |line: &&str| line.split_whitespace().next() == Some(&key);
    Ok(agent.read(format!("/proc/sysvipc/{kind}"))?.ok().map(|file| file.lines().filter(is_ours).count()))
}

/// The command that counts the same rows.
fn grep(kind: &str, key: i32) -> String {
    format!("grep -c {key} /proc/sysvipc/{kind}")
}

fn count(rows: Option<usize>) -> String {
    rows.map_or_else(|| "(no such file)".into(), |rows| rows.to_string())
}

/// A shared memory segment that is made outside cannot be found inside.
fn shm(stage: &mut Stage<'_>) -> Result<Card> {
    made_outside(stage, "shm", Sysv::Shm)
}

/// The same for a System V message queue.
fn msg(stage: &mut Stage<'_>) -> Result<Card> {
    made_outside(stage, "msg", Sysv::Msg)
}

fn made_outside(stage: &mut Stage<'_>, name: &'static str, kind: Sysv) -> Result<Card> {
    let card = Card::new(Ipc, name);
    let (outside, inside) = (stage.outside(Ipc)?, stage.inside(Ipc)?);
    let key = stage.unique_key();
    if stage.make(Call::Make { kind, key }, Undo::RemoveSysv { kind, key })?.is_err() {
        return Ok(card.skip("ipc.nosysv"));
    }
    let find = Call::Find { kind, key };
    let (outer, inner) = (outside.perform(find.clone())?, inside.perform(find.clone())?);
    let seen = (rows(&outside, name, key)?, rows(&inside, name, key)?);
    Ok(card
        .outside(grep(name, key), count(seen.0))
        .inside(grep(name, key), count(seen.1))
        .call("INSIDE", find, inner)
        .holds(outer.is_ok() && inner == Err(Errno::ENOENT) && seen == (Some(1), Some(0))))
}

/// The isolation works in both directions: a semaphore set that is made inside cannot be found outside.
fn sem(stage: &mut Stage<'_>) -> Result<Card> {
    let (outside, inside) = (stage.outside(Ipc)?, stage.inside(Ipc)?);
    let (kind, key) = (Sysv::Sem, stage.unique_key());
    let made = inside.perform(Call::Make { kind, key })?;
    let find = Call::Find { kind, key };
    let outer = outside.perform(find.clone())?;
    let seen = (rows(&outside, "sem", key)?, rows(&inside, "sem", key)?);
    Ok(Card::new(Ipc, "sem")
        .inside(grep("sem", key), count(seen.1))
        .outside(grep("sem", key), count(seen.0))
        .call("OUTSIDE", find, outer)
        .holds(made.is_ok() && outer == Err(Errno::ENOENT) && seen == (Some(0), Some(1))))
}

/// Two processes in the same ipc namespace share a segment.
fn share(stage: &mut Stage<'_>) -> Result<Card> {
    let card = Card::new(Ipc, "share");
    let (outside, inside) = (stage.outside(Ipc)?, stage.inside(Ipc)?);
    let key = stage.unique_key();
    let Ok((second, _)) = inside.spawn(&[])? else { return Ok(card.skip("ipc.nofork")) };
    let Ok(id) = inside.perform(Call::Make { kind: Sysv::Shm, key })? else {
        return Ok(card.skip("ipc.nosysv"));
    };
    let (find, poke, peek) = (
        Call::Find { kind: Sysv::Shm, key },
        Call::Poke { id: id as i32, value: 4711 },
        Call::Peek { id: id as i32 },
    );
    let wrote = inside.perform(poke)?;
    let found = second.perform(find.clone())?;
    let read = second.perform(peek.clone())?;
    let outer = outside.perform(find.clone())?;
    let written = wrote.map_or_else(|errno| answer_text(Err(errno)), |_| "4711 (written)".into());
    Ok(card
        .inside(&peek, written)
        .call("INSIDE 2", find.clone(), found)
        .call("INSIDE 2", peek, read)
        .call("OUTSIDE", find, outer)
        .holds(wrote.is_ok() && found == Ok(id) && read == Ok(4711) && outer == Err(Errno::ENOENT)))
}

/// The same for a semaphore set and a message queue: the second process sees what the first one put in.
fn exchange(stage: &mut Stage<'_>) -> Result<Card> {
    let card = Card::new(Ipc, "exchange");
    let inside = stage.inside(Ipc)?;
    let Ok((second, _)) = inside.spawn(&[])? else { return Ok(card.skip("ipc.nofork")) };
    let make = |kind, key| Call::Make { kind, key };
    let set = inside.perform(make(Sysv::Sem, stage.unique_key()))?;
    let queue = inside.perform(make(Sysv::Msg, stage.unique_key()))?;
    let (Ok(set), Ok(queue)) = (set, queue) else { return Ok(card.skip("ipc.nosysv")) };
    let (set, queue) = (set as i32, queue as i32);
    let (raise, value) = (Call::Raise { id: set }, Call::Value { id: set });
    let (put, take) = (Call::Put { id: queue }, Call::Take { id: queue });
    let raised = (inside.perform(raise.clone())?, second.perform(value.clone())?);
    let sent = (inside.perform(put.clone())?, second.perform(take.clone())?);
    Ok(card
        .call("INSIDE", raise, raised.0)
        .call("INSIDE 2", value, raised.1)
        .call("INSIDE", put, sent.0)
        .call("INSIDE 2", take, sent.1)
        .holds(raised == (Ok(0), Ok(1)) && sent == (Ok(0), Ok(3))))
}

/// The same name means a different POSIX message queue in each namespace.
fn queue(stage: &mut Stage<'_>) -> Result<Card> {
    let card = Card::new(Ipc, "queue");
    let (outside, inside) = (stage.outside(Ipc)?, stage.inside(Ipc)?);
    let name = format!("/{}", stage.unique("q"));
    let make = Call::MakeQueue(name.clone());
    if stage.make(make.clone(), Undo::RemoveQueue { name: name.clone() })?.is_err() {
        return Ok(card.skip("ipc.noqueue"));
    }
    let made = inside.perform(make.clone())?;
    let (send, waiting) = (Call::Send(name.clone()), Call::Waiting(name));
    let sent = outside.perform(send.clone())?;
    let lengths = (outside.perform(waiting.clone())?, inside.perform(waiting.clone())?);
    Ok(card
        .call("INSIDE", make, made)
        .call("OUTSIDE", send, sent)
        .call("OUTSIDE", waiting.clone(), lengths.0)
        .call("INSIDE", waiting, lengths.1)
        .holds(made.is_ok() && sent.is_ok() && lengths == (Ok(1), Ok(0))))
}

/// POSIX shared memory is a file in /dev/shm. Files belong to the mount namespace, so an ipc namespace does not hide
/// it.
fn shm_file(stage: &mut Stage<'_>) -> Result<Card> {
    let card = Card::new(Ipc, "shm-file");
    let (outside, inside) = (stage.outside(Ipc)?, stage.inside(Ipc)?);
    let path = format!("/dev/shm/{}", stage.unique("shm"));
    let call = PathCall::Create { path: path.clone().into(), content: "seen\n".into() };
    if stage.make(call, Undo::RemoveFile { path: path.clone().into() })?.is_err() {
        return Ok(card.skip("ipc.noshm"));
    }
    let links = (one_line(outside.link(LINK)?), one_line(inside.link(LINK)?));
    let seen = (one_line(outside.read(&path)?), one_line(inside.read(&path)?));
    let holds = links.0 != links.1 && seen.0 == "seen" && seen.0 == seen.1;
    Ok(card
        .outside(LINK, links.0)
        .inside(LINK, links.1)
        .outside(&path, seen.0)
        .inside(&path, seen.1)
        .holds(holds))
}
