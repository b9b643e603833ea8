//! Builds images from a Dockerfile.
//!
//! | file | what |
//! |---|---|
//! | `dockerfile` | reads a Dockerfile: its lines, its instructions, the variables in its words |
//! | `ignore` | `.dockerignore`: which files of the context are left out |
//! | `pattern` | patterns of paths |

pub mod dockerfile;
pub mod ignore;
pub mod pattern;
