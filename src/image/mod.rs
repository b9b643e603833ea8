//! Images: what they are, where they are kept, and how their layers become a root filesystem.
//!
//! # What it is
//!
//! An image is a document, the manifest. It names a config (how to run the image) and a list of layers (tar archives
//! with files), each by its digest: the SHA-256 of its bytes. So a digest names one content, for ever, and an image is
//! copied and checked piece by piece. The relation between image and container is that of class and object.
//!
//! # Where it is kept
//!
//!     HOME/images/                      an OCI image layout: oci-layout, index.json, blobs/sha256/...
//!     HOME/layers/[MAP/]CHAIN-ID/       an unpacked layer: files/ and about.json. It is complete, or it does not exist
//!
//! | file | what |
//! |---|---|
//! | `reference` | the names of images: `ubuntu:15.10` is `docker.io/library/ubuntu:15.10` |
//! | `digest` | the names of contents |
//! | `manifest` | the documents: index, manifest, config |
//! | `store` | the image layout in HOME, its names and its blobs |
//! | `layer` | unpacks a layer, in a process that can reach nothing else |
//! | `registry` | downloads an image from a registry |
//! | `rootfs` | the directories of an image's layers, for an overlay |
//! | `contents` | what each layer has at a path |
//! | `differences` | what two images differ in |
//! | `extract` | copies files between an archive and a directory of the host |
//! | `import` | an image of an archive of files |
//! | `path_pattern`, `pattern` | patterns of paths, and of names of images |
//! | `save` | writes images to an archive |
//! | `history` | how an image was made |
//! | `verify` | computes every digest again |
//! | `from_host` | an image of this machine's own programs |
//! | `new_image` | an image on its way into the store |
//! | `archive` | reads an image from an archive or a directory |
//! | `entries` | reads a tar archive, entry by entry |
//! | `tar_writer` | writes a tar archive |
//! | `decompress` | gzip, zstd, xz and bzip2, with limits |
//! | `sparse` | files with holes |

pub mod archive;
pub mod contents;
pub mod decompress;
pub mod differences;
pub mod digest;
pub mod entries;
pub mod extract;
pub mod from_host;
pub mod history;
pub mod import;
pub mod inspected;
pub mod layer;
pub mod manifest;
pub mod new_image;
pub mod path_pattern;
pub mod pattern;
pub mod platform;
pub mod reference;
pub mod registry;
pub mod rootfs;
pub mod save;
mod sparse;
pub mod store;
pub mod tar_writer;
pub mod verify;

use std::fmt::Display;

/// Where the steps are told: each with its call, and the key of the message with its reason.
pub type Tell<'t> = &'t dyn Fn(&dyn Display, &str);
