//! Builds images from a Dockerfile.
//!
//! | file | what |
//! |---|---|
//! | `dockerfile` | reads a Dockerfile: its lines, its instructions, the variables in its words |
//! | `stages` | what each stage begins with, and which ones are needed |
//! | `options` | what a build is asked for, and what it tells |
//! | `engine` | executes the instructions, one after the other |
//! | `steps` | the instructions that change files |
//! | `configure` | the instructions that change only the config |
//! | `scope` | the variables of a stage |
//! | `key` | the keys of the cache |
//! | `container`, `process` | the container of `RUN`, and the process that makes it |
//! | `mounts` | `RUN --mount` |
//! | `source`, `context` | where the context comes from, and its files |
//! | `layer_files` | the files of an image or a stage |
//! | `copy`, `copied` | what `COPY` and `ADD` copy, and the layer that they write |
//! | `ignore` | `.dockerignore`: which files of the context are left out |
//! | `pattern` | patterns of paths |

pub mod configure;
pub mod container;
pub mod context;
pub mod copied;
pub mod copy;
pub mod dockerfile;
pub mod engine;
pub mod ignore;
pub mod key;
pub mod layer_files;
mod mounts;
pub mod options;
pub mod pattern;
pub mod process;
pub mod scope;
pub mod source;
mod stages;
mod steps;
