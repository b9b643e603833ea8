//! A hostile image has a symbolic link `dev` to a directory on the host. If the tool mounts on the path `dev` of the
//! new root, the mount ends up in that directory on the host.
//!
//! Checking the path first does not help: the directory can be replaced by a link between the check and the mount.
//! openat2(2) with RESOLVE_IN_ROOT resolves all links with the new root as `/`. The mount is then attached to the
//! descriptor it returns.
//!
//! Everything here is in a mount namespace that ends with the process, also the directory that stands for the host.

use crate::config::spec::Spec;
use crate::error::Result;
use crate::feature::Feature::Mnt;
use crate::feature::Purpose::Container;
use crate::plan::call::detached::{Attributes, DetachedMountCall};
use crate::plan::slots::Held;
use crate::teach::call::{DemoCall, PathCall};
use crate::teach::demo::mnt::scene::{self, MOUNTINFO};
use crate::teach::demo::{Stage, answer_text};
use crate::teach::mistakes::Contrast;

const ROOT: &str = "/tmp/root";
const OUTSIDE: &str = "/tmp/outside";

pub(super) fn attack(stage: &mut Stage<'_>) -> Result<Contrast> {
    let mut contrast = Contrast::new(Container, "symlink-mount");
    let directory = |path: &str| DemoCall::from(PathCall::MakeDirectory { path: path.into() });
    let link = DetachedMountCall::MakeLink { at: Held::Root, path: "dev".into(), target: OUTSIDE.into() };
    for is_right in [true, false] {
        let inside = stage.start(&Spec::of(Mnt), Container)?;
        let root = DetachedMountCall::Open { path: ROOT.into(), to: Held::Root };
        scene::build(
            &inside,
            &[scene::tmpfs("/tmp"), directory(ROOT), directory(OUTSIDE), root.into(), link.clone().into()],
        )?;
        let (source, answer) = if is_right {
            let (kind, options) = ("tmpfs".into(), vec![]);
            let make = DetachedMountCall::Make {
                kind,
                options,
                attributes: Attributes::NO_SUID,
                at_once: false,
                to: Held::Mount,
            };
            scene::build(&inside, &[make.into()])?;
            let attach = DetachedMountCall::Attach { mount: Held::Mount, at: Held::Root, path: "dev".into() };
            ("openat2(<root>, \"dev\", RESOLVE_IN_ROOT)".to_owned(), inside.perform(attach)?)
        } else {
            let mount = scene::tmpfs(&format!("{ROOT}/dev"));
            (mount.to_string(), inside.perform(mount)?)
        };
        contrast = contrast.showed(is_right, "SANDBOX", source, answer_text(answer)).showed(
            is_right,
            "OUTSIDE",
            format!("{MOUNTINFO}, {OUTSIDE}"),
            scene::mounted(&inside, OUTSIDE)?,
        );
    }
    Ok(contrast)
}
