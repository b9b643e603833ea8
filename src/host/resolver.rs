//! The tree that a command will see, known before it's made: which file of today a path of tomorrow means. So a typing
//! error is found before anything is done, also where the path leads through a bind, another root, or symbolic links
//! in it, which the kernel will follow inside the new root and not from ours.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// How many symbolic links the kernel follows before it says ELOOP. path_resolution(7)
const LINKS: usize = 40;

/// A root and what will be mounted in it. The default is the tree as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    root: Option<PathBuf>,
    /// Where, and which file of today will be seen there; none in an empty filesystem. The last one covers the others.
    mounts: Vec<(PathBuf, Option<PathBuf>)>,
}

/// One path of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The path in the tree, no symbolic link left in it.
    pub inside: PathBuf,
    /// The file of today that will be seen there; it may be missing. None: it lies in an empty filesystem.
    pub today: Option<PathBuf>,
}

impl Tree {
    /// A tree with another root.
    pub fn of(root: Option<&Path>) -> Tree {
        Tree { root: root.map(Path::to_owned), mounts: Vec::new() }
    }

    /// Something of today will be seen at `place`, which [`Tree::locate`] gave.
    pub fn bind(&mut self, place: &Place, source: &Path) {
        // Links in a source lead where they lead today.
        let source = source.canonicalize().unwrap_or_else(|_| source.to_owned());
        self.mounts.push((place.inside.clone(), Some(source)));
    }

    /// `place` will be empty.
    pub fn empty(&mut self, place: &Place) {
        self.mounts.push((place.inside.clone(), None));
    }

    /// Whether it is the tree as it is today: then the kernel may be asked instead.
    pub fn is_of_today(&self) -> bool {
        self.root.is_none() && self.mounts.is_empty()
    }

    /// Where a path of this tree leads. A relative one begins at the working folder, or at `/` under another root.
    pub fn locate(&self, path: &Path) -> Place {
        let mut at = PathBuf::from("/");
        let mut ahead: VecDeque<OsString> = VecDeque::new();
        push_front(&mut ahead, path);
        if path.is_relative()
            && self.root.is_none()
            && let Ok(folder) = std::env::current_dir()
        {
            push_front(&mut ahead, &folder);
        }
        let mut links = 0;
        while let Some(name) = ahead.pop_front() {
            if name == ".." {
                at.pop();
                continue;
            }
            at.push(name);
            let target = self.today(&at).and_then(|today| today.read_link().ok());
            let Some(target) = target.filter(|_| links < LINKS) else { continue };
            links += 1;
            at.pop();
            if target.is_absolute() {
                at = PathBuf::from("/");
            }
            push_front(&mut ahead, &target);
        }
        Place { today: self.today(&at), inside: at }
    }

    /// The file of today behind a path without links.
    fn today(&self, path: &Path) -> Option<PathBuf> {
        let letters = path.as_os_str().as_bytes();
        for (target, source) in self.mounts.iter().rev() {
            // Most differ in their letters already, which costs less to see than where the parts begin.
            if letters.starts_with(target.as_os_str().as_bytes())
                && let Ok(rest) = path.strip_prefix(target)
            {
                return source.as_ref().map(|source| join(source, rest));
            }
        }
        let rest = OsStr::from_bytes(letters.strip_prefix(b"/").unwrap_or(letters));
        Some(self.root.as_ref().map_or_else(|| path.to_owned(), |root| join(root, Path::new(rest))))
    }
}

/// `folder/rest`, without the slash that joining nothing would add: a file bound on a file is no folder.
fn join(folder: &Path, rest: &Path) -> PathBuf {
    if rest.as_os_str().is_empty() { folder.to_owned() } else { folder.join(rest) }
}

/// The parts of `path` before those that are already ahead.
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
        let tree = Tree::of(Some(Path::new("/r")));
        assert_eq!(tree.locate(Path::new("/../../etc/x")).today, Some("/r/etc/x".into()));
        assert_eq!(tree.locate(Path::new("etc")).today, Some("/r/etc".into()));
    }

    #[test]
    fn binds_and_empty_filesystems_cover_what_is_there() {
        let mut tree = Tree::of(Some(Path::new("/r")));
        tree.bind(&tree.locate(Path::new("/usr")), Path::new("/usr"));
        assert_eq!(tree.locate(Path::new("/usr/share")).today, Some("/usr/share".into()));
        tree.empty(&tree.locate(Path::new("/usr/share")));
        assert_eq!(tree.locate(Path::new("/usr/share/doc")).today, None);
        assert_eq!(tree.locate(Path::new("/etc")).today, Some("/r/etc".into()));
    }

    #[test]
    fn links_are_followed_inside() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("usr/bin")).unwrap();
        std::os::unix::fs::symlink("/usr/bin", folder.path().join("bin")).unwrap();
        let tree = Tree::of(Some(folder.path()));
        let place = tree.locate(Path::new("/bin/sh"));
        assert_eq!(place.inside, Path::new("/usr/bin/sh"));
        assert_eq!(place.today, Some(folder.path().join("usr/bin/sh")));
        // A relative one leads on from the folder that it lies in.
        std::os::unix::fs::symlink("bin", folder.path().join("usr/tools")).unwrap();
        assert_eq!(tree.locate(Path::new("/usr/tools/sh")).inside, Path::new("/usr/bin/sh"));
    }

    #[test]
    fn a_relative_path_begins_at_the_working_folder() {
        let mut tree = Tree::default();
        tree.bind(&Place { inside: "/nowhere".into(), today: None }, Path::new("/etc"));
        let here = std::env::current_dir().unwrap();
        assert_eq!(tree.locate(Path::new("./Cargo.toml")).inside, here.join("Cargo.toml"));
    }
}
