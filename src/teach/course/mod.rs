//! The course: lessons as Markdown, exercises as data, checked by what the kernel shows. `docs/lessons.md` describes the
//! format for authors.
//!
//! A pack is a directory of lessons. The pack of the project is compiled in ([`shipped`]); `--pack DIR` reads another
//! one, of the same layout ([`pack`]). A lesson is its text ([`text`]), in each language, and the data of its exercises
//! ([`data`]), which the languages share. [`lint`] finds what the two lack.

pub mod data;
pub mod lint;
pub mod pack;
pub mod shipped;
pub mod text;
