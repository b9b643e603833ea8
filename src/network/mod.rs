//! What leads out of a network namespace: a bridge to the outside, and ports that are published there.
//!
//! | file | what |
//! |---|---|
//! | `bridge` | the bridge that all containers share, a cable from it into each, and what may pass |
//! | `ports` | a port out here that leads to one inside, by a relay: no bridge needed, no firewall, no root |

pub mod bridge;
pub mod ports;
