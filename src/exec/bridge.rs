//! Taking the bridge away that all containers share, with the last of them.

use std::fs::{self, File};
use std::io;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use rustix::fs::{FlockOperation, flock};

use crate::plan::call::bridge::{FORWARD, FORWARDED, NETWORK, address_of};
use crate::sys::netlink::{self, Link};

/// A bridge of ours: its hardware address says so.
pub(super) fn find(name: &str) -> Option<Link> {
    netlink::find_link(name).filter(|link| address_of(link.hardware_address()).is_some())
}

/// Removes it, if no other run uses it: each of them holds a shared lock on the network that it lies in. Forwarding first:
/// what it was before is only known as long as the bridge is there.
///
/// A child inherits the lock, up to its execve. That of a run that was killed is being killed too, but may need a moment for
/// it: who tidies up after such a run has `patience`.
pub(super) fn remove(name: &str, patience: Duration) -> io::Result<()> {
    let deadline = Instant::now() + patience;
    let last = File::open(NETWORK)?;
    loop {
        match flock(&last, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::AGAIN) if Instant::now() < deadline => {}
            locked => break locked?,
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let bridge = find(name).ok_or(Errno::ENODEV)?;
    if bridge.alias() == Some(FORWARDED) {
        fs::write(FORWARD, "0")?;
    }
    Ok(netlink::delete_link(name)?)
}
