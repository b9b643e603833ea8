//! What two images differ in.

use std::collections::BTreeMap;

use super::contents::{ImageContents, ImagePath};

/// How two images differ at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageDifference {
    /// Only the second one has it.
    Added,
    /// Only the first one has it.
    Deleted,
    /// Both have it: the keys of the messages about what differs.
    Changed(Vec<&'static str>),
}

/// The differences between two images, in the order of the paths. Times are not compared.
pub fn differences(one: &ImageContents, other: &ImageContents) -> Vec<(ImagePath, ImageDifference)> {
    let mut found: BTreeMap<ImagePath, ImageDifference> = BTreeMap::new();
    for (path, file) in one.files() {
        match other.at(path) {
            None => {
                found.insert(path.clone(), ImageDifference::Deleted);
            }
            Some((_, new)) if new != file => {
                let parts = [
                    (file.kind != new.kind, "image.diff.kind"),
                    (file.content != new.content || file.size != new.size, "image.diff.content"),
                    (file.link != new.link, "image.diff.link"),
                    (file.mode != new.mode, "image.diff.mode"),
                    (file.owner != new.owner, "image.diff.owner"),
                    (file.device != new.device, "image.diff.device"),
                    (file.attributes != new.attributes, "image.diff.attributes"),
                ];
                let parts = parts.into_iter().filter(|(differs, _)| *differs).map(|(_, key)| key);
                found.insert(path.clone(), ImageDifference::Changed(parts.collect()));
            }
            Some(_) => {}
        }
    }
    for (path, _) in other.files() {
        if one.at(path).is_none() {
            found.insert(path.clone(), ImageDifference::Added);
        }
    }
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::contents::tests::image;

    #[test]
    fn two_images_are_compared_path_by_path() {
        let one = image(&[&["a=1", "b=1", "c->x", "d=1", "h=1", "g==h"]]);
        let other = image(&[&["a=1", "b=2", "c->y", "e=1", "h=1", "g=1"]]);
        let found = differences(&one, &other);
        let found: Vec<(&str, &ImageDifference)> =
            found.iter().map(|(path, difference)| (str::from_utf8(path).unwrap(), difference)).collect();
        let changed = |key| ImageDifference::Changed(vec![key]);
        assert_eq!(
            found,
            [
                ("b", &changed("image.diff.content")),
                ("c", &changed("image.diff.link")),
                ("d", &ImageDifference::Deleted),
                ("e", &ImageDifference::Added),
            ]
        );
        assert_eq!(differences(&one, &one), []);
    }
}
