//! Resolves a path in the container to the file on the host, before the container exists.
//!
//! So a wrong path is reported before anything is made. The path can lead through bind mounts, another root
//! directory, and symbolic links. The kernel will follow such links in the new root, not in the root of the host.

pub mod layer;

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// The maximum number of symbolic links that the kernel follows. Then it fails with ELOOP. path_resolution(7)
const MAX_LINKS: usize = 40;

/// A root directory, and what will be mounted in it. The default is the host's root as it is now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolver {
    /// The root directory, or the layers of an overlay, the topmost first. None: the host's root.
    layers: Vec<PathBuf>,
    /// Each mount point, and the file on the host that is mounted on it; none for an empty filesystem. A later mount
    /// covers an earlier one.
    mounts: Vec<(PathBuf, Option<PathBuf>)>,
}

/// A path that was resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The path in the container, without symbolic links.
    pub container: PathBuf,
    /// The file on the host; it may be missing. None: the path is in an empty filesystem, an upper layer hides it, or it
    /// leads through more symbolic links than the kernel follows.
    pub host: Option<PathBuf>,
}

impl Resolver {
    /// Another root directory.
    pub fn new(root: Option<&Path>) -> Resolver {
        Resolver { layers: root.into_iter().map(Path::to_owned).collect(), mounts: Vec::new() }
    }

    /// An overlay of these directories, the topmost first.
    pub fn of_layers(layers: Vec<PathBuf>) -> Resolver {
        Resolver { layers, mounts: Vec::new() }
    }

    /// `source`, a path on the host, will be mounted on `target`, which [`Resolver::resolve`] returned.
    pub fn bind(&mut self, target: &Resolved, source: &Path) {
        // Symbolic links in the source are followed on the host.
        let source = source.canonicalize().unwrap_or_else(|_| source.to_owned());
        self.mounts.push((target.container.clone(), Some(source)));
    }

    /// An empty filesystem will be mounted on `target`.
    pub fn empty(&mut self, target: &Resolved) {
        self.mounts.push((target.container.clone(), None));
    }

    /// Whether nothing changes: paths in the container are those of the host, and the kernel can resolve them itself.
    pub fn is_unchanged(&self) -> bool {
        self.layers.is_empty() && self.mounts.is_empty()
    }

    /// Resolves a path. A relative one starts at the working directory, or at `/` of another root.
    pub fn resolve(&self, path: &Path) -> Resolved {
        self.walk(path).0
    }

    /// As [`Resolver::resolve`], and whether the way goes through `..`, in the path itself or in a symbolic link.
    fn walk(&self, path: &Path) -> (Resolved, bool) {
        let mut at = PathBuf::from("/");
        let mut ahead: VecDeque<OsString> = VecDeque::new();
        push_front(&mut ahead, path);
        if path.is_relative()
            && self.layers.is_empty()
            && let Ok(directory) = std::env::current_dir()
        {
            push_front(&mut ahead, &directory);
        }
        let (mut links, mut climbs) = (0, false);
        while let Some(name) = ahead.pop_front() {
            if name == ".." {
                climbs = true;
                at.pop();
                continue;
            }
            at.push(name);
            let target = self.on_host(&at).and_then(|file| file.read_link().ok());
            let Some(target) = target else { continue };
            links += 1;
            if links > MAX_LINKS {
                return (Resolved { container: at, host: None }, climbs);
            }
            at.pop();
            if target.is_absolute() {
                at = PathBuf::from("/");
            }
            push_front(&mut ahead, &target);
        }
        (Resolved { host: self.on_host(&at), container: at }, climbs)
    }

    /// The bind mount that contains a path of the container: its mount point, and the file on the host. None if the path
    /// is in the root itself or in an empty filesystem. The path must have no symbolic links.
    pub fn bind_with(&self, path: &Path) -> Option<(&Path, &Path)> {
        let (target, source) = self.mounts.iter().rev().find(|(target, _)| path.starts_with(target))?;
        Some((target, source.as_deref()?))
    }

    /// The file on the host for a path in the container that has no symbolic links.
    pub(super) fn on_host(&self, path: &Path) -> Option<PathBuf> {
        self.place(path).map(|(base, rest)| join(base, rest))
    }

    /// Whether a path of the container is in one of the mounts, and not in the root itself. The path must have no symbolic
    /// links.
    pub fn is_in_mount(&self, path: &Path) -> bool {
        self.mounts.iter().any(|(target, _)| path.starts_with(target))
    }

    /// The directory or file on the host that is mounted at or above a path in the container, and the rest of the path
    /// below it. The path has no symbolic links. None: it is in an empty filesystem, or an upper layer hides it.
    pub(super) fn place<'a>(&'a self, path: &'a Path) -> Option<(&'a Path, &'a Path)> {
        let bytes = path.as_os_str().as_bytes();
        for (target, source) in self.mounts.iter().rev() {
            // Bytes are compared first, because that is cheaper than to split both paths into components.
            if bytes.starts_with(target.as_os_str().as_bytes())
                && let Ok(rest) = path.strip_prefix(target)
            {
                return source.as_ref().map(|source| (source.as_path(), rest));
            }
        }
        let rest = Path::new(OsStr::from_bytes(bytes.strip_prefix(b"/").unwrap_or(bytes)));
        match self.layers.as_slice() {
            [] => Some((Path::new("/"), rest)),
            [root] => Some((root, rest)),
            layers => layer::showing(layers, rest).map(|layer| (layer, rest)),
        }
    }
}

/// The same file of the host by a path without `..`. While a new root is mounted on `/`, the kernel goes from `/dev/..` to the new
/// root, and not to that of the host. In /proc, a link can lead to a file that has no path here.
pub fn without_parents(path: &Path) -> PathBuf {
    match Resolver::default().walk(path) {
        (Resolved { host: Some(host), .. }, true) if !path.starts_with("/proc") => host,
        _ => path.to_owned(),
    }
}

/// `directory/rest`. Joining an empty path would add a slash, which a file mounted on a file must not have.
fn join(directory: &Path, rest: &Path) -> PathBuf {
    if rest.as_os_str().is_empty() { directory.to_owned() } else { directory.join(rest) }
}

/// Puts the components of `path` before those that are still to be resolved.
fn push_front(ahead: &mut VecDeque<OsString>, path: &Path) {
    let parts = path.components().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    for part in parts.rev() {
        ahead.push_front(part.as_os_str().to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_below_its_root() {
        let resolver = Resolver::new(Some(Path::new("/r")));
        assert_eq!(resolver.resolve(Path::new("/../../etc/x")).host, Some("/r/etc/x".into()));
        assert_eq!(resolver.resolve(Path::new("etc")).host, Some("/r/etc".into()));
    }

    #[test]
    fn binds_and_empty_filesystems_cover_what_is_there() {
        let mut resolver = Resolver::new(Some(Path::new("/r")));
        resolver.bind(&resolver.resolve(Path::new("/usr")), Path::new("/usr"));
        assert_eq!(resolver.resolve(Path::new("/usr/share")).host, Some("/usr/share".into()));
        resolver.empty(&resolver.resolve(Path::new("/usr/share")));
        assert_eq!(resolver.resolve(Path::new("/usr/share/doc")).host, None);
        assert_eq!(resolver.resolve(Path::new("/etc")).host, Some("/r/etc".into()));
    }

    #[test]
    fn symbolic_links_are_followed_in_the_new_root() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(directory.path().join("usr/bin")).unwrap();
        std::os::unix::fs::symlink("/usr/bin", directory.path().join("bin")).unwrap();
        let resolver = Resolver::new(Some(directory.path()));
        let resolved = resolver.resolve(Path::new("/bin/sh"));
        assert_eq!(resolved.container, Path::new("/usr/bin/sh"));
        assert_eq!(resolved.host, Some(directory.path().join("usr/bin/sh")));
        // A relative link starts at the directory that contains it.
        std::os::unix::fs::symlink("bin", directory.path().join("usr/tools")).unwrap();
        assert_eq!(resolver.resolve(Path::new("/usr/tools/sh")).container, Path::new("/usr/bin/sh"));
    }

    #[test]
    fn a_path_of_the_host_gets_no_parents() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path().canonicalize().unwrap();
        std::fs::create_dir(directory.join("a")).unwrap();
        std::os::unix::fs::symlink("../b", directory.join("a/link")).unwrap();
        std::os::unix::fs::symlink("b", directory.join("plain")).unwrap();
        for (written, expected) in [("a/../b", "b"), ("a/link", "b"), ("plain", "plain"), ("a", "a")] {
            assert_eq!(without_parents(&directory.join(written)), directory.join(expected), "{written}");
        }
        assert_eq!(without_parents(Path::new("/proc/self/../self")), Path::new("/proc/self/../self"));
    }

    #[test]
    fn a_relative_path_starts_at_the_working_directory() {
        let mut resolver = Resolver::default();
        resolver.bind(&Resolved { container: "/nowhere".into(), host: None }, Path::new("/etc"));
        let here = std::env::current_dir().unwrap();
        assert_eq!(resolver.resolve(Path::new("./Cargo.toml")).container, here.join("Cargo.toml"));
    }
}
