//! Builds images from a Dockerfile.
//!
//! | file | what |
//! |---|---|
//! | `dockerfile` | reads a Dockerfile: its lines, its instructions, the variables in its words |

pub mod dockerfile;
