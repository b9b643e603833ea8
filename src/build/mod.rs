//! Builds images from a Dockerfile.
//!
//! | file | what |
//! |---|---|
//! | `dockerfile` | reads a Dockerfile: its lines, its instructions, the variables in its words |
//! | `stages` | what each stage begins with, and which ones are needed |
//! | `options` | what a build is asked for, and what it tells |
//! | `stage_table` | builds stages, several at the same time |
//! | `engine` | executes the instructions of a stage, one after the other |
//! | `stop` | what ends a build early |
//! | `steps` | the instructions that change files |
//! | `configure`, `change` | the instructions that change only the config, in a build and for `--change` of `commit` and `import` |
//! | `scope` | the variables of a stage |
//! | `key` | the keys of the cache |
//! | `container`, `process` | the container of `RUN`, and the process that makes it |
//! | `output_tail` | the end of the output of `RUN`, which is searched for the reason of its failure |
//! | `mounts` | `RUN --mount` |
//! | `secret` | `--secret`, and where its files are while a command has them |
//! | `source`, `context` | where the context comes from, and its files |
//! | `layer_files` | the files of an image or a stage |
//! | `copy`, `copied` | what `COPY` and `ADD` copy, and the layer that they write |
//! | `unpacked` | `ADD` of an archive |
//! | `top_layer` | the layer that a step adds, also one that an earlier build has made with `--link` |
//! | `known_images` | what is known about base images before the build has pulled any of them |
//! | `missed` | why a step is not in the cache, and what is in its layer, for `--explain` |
//! | `mode` | `--chmod` |
//! | `place` | where files are copied to, and that none replaces something of another kind |
//! | `fetched` | `ADD URL` |
//! | `ignore` | `.dockerignore`: which files of the context are left out |

pub mod change;
pub mod configure;
pub mod container;
pub mod context;
pub mod copied;
pub mod copy;
pub mod dockerfile;
pub mod engine;
mod fetched;
pub mod ignore;
pub mod key;
mod known_images;
pub mod layer_files;
mod missed;
pub mod mode;
mod mounts;
pub mod options;
mod output_tail;
mod place;
pub mod process;
pub mod scope;
mod secret;
pub mod source;
pub mod stage_table;
mod stages;
mod steps;
pub mod stop;
mod top_layer;
mod unpacked;
