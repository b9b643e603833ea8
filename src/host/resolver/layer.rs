//! What a layer of an overlay shows and what it hides, as overlayfs reads it.
//!
//! A file hides one of the same name in the layers below it. A directory is merged with those below it, unless it is opaque.
//! A whiteout hides a name and has nothing in its place. overlayfs.rst of the kernel

use std::fs::Metadata;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// The attributes of an opaque directory. An overlay that is made in a user namespace writes and reads the second one.
pub const OPAQUE: [&str; 2] = ["trusted.overlay.opaque", "user.overlay.opaque"];

/// What a layer says about a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerEntry {
    /// The layer has a file there.
    File,
    /// The layer says nothing: the layers below decide.
    None,
    /// The layer hides what the layers below have there, and has nothing itself.
    Hidden,
}

/// What a layer says about a path in it. The path has no symbolic links.
pub fn look(layer: &Path, path: &Path) -> LayerEntry {
    let mut at = layer.to_owned();
    let mut is_opaque = false;
    let mut parts = path.components().peekable();
    while let Some(part) = parts.next() {
        at.push(part);
        match at.symlink_metadata() {
            Ok(found) if is_whiteout(&found) => return LayerEntry::Hidden,
            Ok(_) if parts.peek().is_none() => return LayerEntry::File,
            Ok(found) if !found.is_dir() => return LayerEntry::Hidden,
            Ok(_) => is_opaque |= is_opaque_directory(&at),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return if is_opaque { LayerEntry::Hidden } else { LayerEntry::None };
            }
            // Who opens the path gets the same error, and reports it.
            Err(_) => return LayerEntry::File,
        }
    }
    LayerEntry::File
}

/// The topmost layer that has a file at this path. If none has one, the topmost layer. None: a layer hides it.
pub(super) fn showing<'a>(layers: &'a [impl AsRef<Path>], path: &Path) -> Option<&'a Path> {
    for layer in layers {
        match look(layer.as_ref(), path) {
            LayerEntry::File => return Some(layer.as_ref()),
            LayerEntry::Hidden => return None,
            LayerEntry::None => {}
        }
    }
    layers.first().map(AsRef::as_ref)
}

/// Whether a file is a whiteout: a character device with the number 0:0.
fn is_whiteout(found: &Metadata) -> bool {
    found.file_type().is_char_device() && found.rdev() == 0
}

fn is_opaque_directory(directory: &Path) -> bool {
    OPAQUE.iter().any(|name| {
        let mut value = [0; 1];
        rustix::fs::lgetxattr(directory, *name, &mut value).is_ok_and(|length| length == 1 && value == *b"y")
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_layer_shows_hides_or_says_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let layer = directory.path();
        fs::create_dir_all(layer.join("opaque/below")).unwrap();
        fs::create_dir(layer.join("merged")).unwrap();
        fs::write(layer.join("file"), "").unwrap();
        let has_attributes =
            rustix::fs::lsetxattr(layer.join("opaque"), OPAQUE[1], b"y", rustix::fs::XattrFlags::empty())
                .is_ok();
        let look = |path: &str| super::look(layer, Path::new(path));
        assert_eq!(look(""), LayerEntry::File);
        assert_eq!(
            (look("file"), look("file/x"), look("merged")),
            (LayerEntry::File, LayerEntry::Hidden, LayerEntry::File)
        );
        assert_eq!((look("merged/x"), look("other/x")), (LayerEntry::None, LayerEntry::None));
        if has_attributes {
            assert_eq!((look("opaque/x"), look("opaque/below")), (LayerEntry::Hidden, LayerEntry::File));
            assert_eq!(look("opaque/below/x"), LayerEntry::Hidden);
        }
        let layers = [layer.join("merged"), layer.to_owned()];
        assert_eq!(showing(&layers, Path::new("file")), Some(layer));
        assert_eq!(showing(&layers, Path::new("none")), Some(&*layers[0]));
        assert_eq!(showing(&layers, Path::new("file/x")), None);
    }
}
