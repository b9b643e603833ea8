//! The course: lessons as Markdown, exercises as data, checked by what the kernel shows. `docs/lessons.md` describes the
//! format for authors.
//!
//! A pack is a directory of lessons. The pack of the project is compiled in ([`shipped`]); `--pack DIR` reads another
//! one, of the same layout ([`pack`]). A lesson is its text ([`text`]), in each language, and the data of its exercises
//! ([`data`]), which the languages share, and pictures ([`picture`]). [`lint`] finds what they lack.
//!
//! [`check`] finds the process that a learner has made, reads facts about it from the kernel ([`fact`], with `files`, `mounts`,
//! `cgroup`, `relatives` and `container`), and compares them (`predicate`); an answer to a prediction is compared with what is measured (`answer`). Values differ per student ([`seed`]). [`here`] finds what cannot be done on this machine. [`pace`]
//! scales waits to the machine. [`trial`] proves for authors that an exercise fails untouched, passes when
//! it is solved, and answers each wrong solution. [`skeleton`] writes a new lesson to begin with.

pub mod advice;
mod answer;
mod cgroup;
pub mod check;
mod container;
pub mod data;
pub mod fact;
mod files;
pub mod grade;
pub mod here;
pub mod lint;
mod mounts;
pub mod pace;
pub mod pack;
pub mod picture;
pub mod place;
mod predicate;
pub mod progress;
mod relatives;
#[cfg(test)]
mod schema;
pub mod script;
pub mod seed;
pub mod shipped;
pub mod skeleton;
pub mod text;
pub mod trial;
