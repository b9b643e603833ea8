//! `ADD URL`: a file of a server. It becomes a file of the image, and its content a part of the key of the cache.

use std::fs::File;
use std::io::Write;

use super::dockerfile::{CopyFiles, Instruction, Placed};
use super::engine::{ImageBuilder, placed_at};
use super::steps::now;
use crate::error::Result;
use crate::image::digest::Digest;
use crate::image::registry::{RegistryOptions, fetch};
use crate::text::{printed, text, text_with};

/// A file that was fetched. Nothing else has it: it has no name.
pub struct FetchedSource {
    /// The last part of the address. Empty: there is none.
    pub name: Vec<u8>,
    /// The content.
    pub file: File,
    /// Its size in bytes.
    pub size: u64,
    /// When it was changed.
    pub mtime: (i64, u32),
}

/// Whether a source of `ADD` is an address.
pub(super) fn is_url(source: &str) -> bool {
    source.starts_with("http://") || source.starts_with("https://")
}

/// Whether a source is an address of any kind, and no path.
pub(super) fn has_scheme(source: &str) -> bool {
    let is_scheme = |scheme: &str| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.chars().all(|next| next.is_ascii_alphanumeric() || "+-.".contains(next))
    };
    source.split_once("://").is_some_and(|(scheme, _)| is_scheme(scheme)) || is_git(source)
}

/// Whether a source of `ADD` is a git repository. An address can have a branch and a directory after its path.
pub(super) fn is_git(source: &str) -> bool {
    let path = source.split(['#', '?']).next().unwrap_or_default();
    ["git://", "ssh://"].iter().any(|start| source.starts_with(start))
        || is_of_scp(source)
        || (is_url(source) && path.trim_end_matches('/').ends_with(".git"))
}

/// `USER@HOST:PATH`: the address of a git repository in the form of scp(1).
fn is_of_scp(source: &str) -> bool {
    let address = source.split_once(':').map(|(address, _)| address);
    let Some((user, host)) = address.and_then(|address| address.split_once('@')) else { return false };
    let is_name = |name: &str, others: &str| {
        !name.is_empty() && name.chars().all(|next| next.is_ascii_alphanumeric() || others.contains(next))
    };
    is_name(user, "-_") && is_name(host, "-.")
}

impl ImageBuilder<'_> {
    /// Fetches the sources of `ADD` that are addresses.
    pub(super) fn fetch_all(
        &self,
        step: &Placed<Instruction>,
        files: &CopyFiles,
        urls: &[String],
        checksum: Option<&str>,
    ) -> Result<Vec<FetchedSource>> {
        let wrong = |word: &str, what: String| self.source().0.error(&step.place_of(word), what);
        let written = files.checksum.as_deref().unwrap_or_default();
        let digest = checksum.map(|digest| {
            let what = || text_with("build.add.checksum.form", &[("checksum", &printed(digest))]);
            digest.parse::<Digest>().map_err(|_| wrong(written, what()))
        });
        let digest = digest.transpose()?;
        if digest.is_some() && (urls.len() != 1 || files.sources.len() != 1) {
            return Err(wrong(written, text("build.add.checksum.url")));
        }
        urls.iter().map(|url| self.fetch(step, url, digest.as_ref())).collect()
    }

    fn fetch(&self, step: &Placed<Instruction>, url: &str, wanted: Option<&Digest>) -> Result<FetchedSource> {
        (self.tell)(&format!("GET {}", printed(url)), "registry.explain.fetch");
        let (source, ingest, stops) = (self.source().0, self.inputs.ingest, self.inputs.stops);
        let mut blob = ingest.blob()?;
        let mut take = |bytes: &[u8]| {
            stops.check()?;
            blob.write_all(bytes).map_err(|error| ingest.unwritten(&error))
        };
        let fetched = fetch::fetch(url, &RegistryOptions::default(), &|_, _| (), &mut take);
        let fetched = fetched.map_err(|error| placed_at(source, &step.place_of(url), error))?;
        let staged = ingest.staged(blob);
        let file = ingest.open(&staged)?;
        // The open file is enough.
        ingest.discard(&staged);
        if let Some(wanted) = wanted.filter(|wanted| **wanted != staged.digest) {
            let values = [("wanted", &*wanted.to_string()), ("found", &staged.digest.to_string())];
            return Err(source.error(&step.place_of(url), text_with("build.add.checksum", &values)));
        }
        let mtime = fetched.modified.map_or_else(now, |seconds| (seconds, 0));
        Ok(FetchedSource { name: fetch::file_name(url).unwrap_or_default(), file, size: staged.size, mtime })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_repositories_are_known_by_their_addresses() {
        for git in [
            "git://host/x",
            "ssh://user@host/x",
            "git@host:x",
            "user_1@host.example:x/y.git#main",
            "https://host/x.git",
            "https://host/x.git?ref=v1#dir",
        ] {
            assert!(is_git(git) && has_scheme(git), "{git}");
        }
        for other in
            ["https://host/x.gitignore", "https://host/x", "git@host/x", "a/b@host:x", "@host:x", "a@:x"]
        {
            assert!(!is_git(other), "{other}");
        }
        assert!(has_scheme("ftp://host/x") && !has_scheme("a/b://c") && !has_scheme("git@host/x"));
    }
}
