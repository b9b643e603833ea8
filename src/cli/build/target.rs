//! `build --output`: what was built, as files outside of the store.
//!
//! | form | what is written |
//! |---|---|
//! | `DIR`, `type=local,dest=DIR` | the files of the image, into a directory |
//! | `-`, `type=tar,dest=FILE` | the files of the image, as an archive |
//! | `type=oci,dest=FILE`, `type=docker,dest=FILE` | the image, as `save` writes it |

use std::fs;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use crate::build::options::BuildOptions;
use crate::cli::image::output_file::OutputFile;
use crate::error::{Error, ExitKind, Result, io_text};
use crate::image::layer::{self, LayerReading};
use crate::image::reference::Reference;
use crate::image::store::{ImageStore, StoredImage};
use crate::image::{Tell, rootfs, save};
use crate::render;
use crate::text::{printed, text_with};
use crate::value::csv;

/// Where the result goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BuildTarget {
    kind: TargetKind,
    /// `-`: standard output.
    dest: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TargetKind {
    Local,
    Tar,
    /// Both have an archive that each other's tools read.
    Image,
}

impl BuildTarget {
    /// Reads the value of the flag.
    ///
    /// # Errors
    /// It has another form.
    pub(super) fn read(written: &str) -> Result<BuildTarget> {
        let wrong = || Error::usage(text_with("build.output.form", &[("output", &printed(written))]));
        let fields = csv::fields(written.as_ref()).ok_or_else(wrong)?;
        // As with buildx: one field that does not name its type is a directory, also if its name has `=`.
        if fields == [written] && !written.starts_with("type=") {
            let kind = if written == "-" { TargetKind::Tar } else { TargetKind::Local };
            return Some(BuildTarget { kind, dest: written.into() })
                .filter(|_| !written.is_empty())
                .ok_or_else(wrong);
        }
        let (mut kind, mut dest) = (None, None);
        for (key, value) in csv::pairs(written).ok_or_else(wrong)? {
            match (&*key, &*value) {
                ("type", "local") => kind = Some(TargetKind::Local),
                ("type", "tar") => kind = Some(TargetKind::Tar),
                ("type", "oci" | "docker") => kind = Some(TargetKind::Image),
                ("dest", dest_of) if !dest_of.is_empty() => dest = Some(PathBuf::from(dest_of)),
                _ => return Err(wrong()),
            }
        }
        let kind = kind.ok_or_else(wrong)?;
        let dest = dest.or_else(|| (kind != TargetKind::Local).then(|| "-".into())).ok_or_else(wrong)?;
        Ok(BuildTarget { kind, dest })
    }

    /// Whether it is written to standard output, which then has nothing else.
    pub(super) fn is_output(&self) -> bool {
        self.dest == Path::new("-") && self.kind != TargetKind::Local
    }

    /// Writes the result.
    ///
    /// # Errors
    /// It cannot be read or written.
    pub(super) fn write(
        &self,
        store: &ImageStore,
        (image, names): (&StoredImage, &[Reference]),
        options: &BuildOptions,
        tell: Tell<'_>,
    ) -> Result<()> {
        match self.kind {
            TargetKind::Image => {
                tell(&"read(<blobs>); write(<archive>)", "image.explain.save");
                let images = [(image.clone(), names.to_vec())];
                self.to_file(|output| save::save(store, &images, &mut BufWriter::new(output)))
            }
            TargetKind::Tar => {
                let (directories, lock) =
                    rootfs::directories(store, &image.descriptor, options.maps.as_ref(), tell)?;
                tell(&"execve(\"/proc/self/exe\", [\"sandbox\", \"__unpack\", ...])", "build.explain.output");
                let written = self.to_file(|output| {
                    layer::read(LayerReading::Files, &directories, options.maps.as_ref(), output)
                });
                lock.release();
                written
            }
            TargetKind::Local => {
                let (directories, lock) =
                    rootfs::directories(store, &image.descriptor, options.maps.as_ref(), tell)?;
                tell(&"execve(\"/proc/self/exe\", [\"sandbox\", \"__unpack\", ...])", "build.explain.output");
                let written = self.write_directory(&directories, options);
                lock.release();
                written
            }
        }
    }

    fn to_file(&self, write: impl FnOnce(fs::File) -> Result<()>) -> Result<()> {
        use std::os::fd::AsFd;
        if self.is_output() {
            let output = io::stdout().as_fd().try_clone_to_owned();
            return write(fs::File::from(output.map_err(|error| self.unwritten(&error))?));
        }
        let file = OutputFile::create(&self.dest)?;
        write(file.to_write()?)?;
        file.finish()
    }

    /// The files go through a pipe from one process, which can reach only the layers, to another one, which can reach only the
    /// directory.
    fn write_directory(&self, directories: &[PathBuf], options: &BuildOptions) -> Result<()> {
        fs::create_dir_all(&self.dest).map_err(|error| self.unwritten(&error))?;
        let into = fs::canonicalize(&self.dest).map_err(|error| self.unwritten(&error))?;
        let (input, output) = io::pipe().map_err(|error| self.unwritten(&error))?;
        let maps = options.maps.as_ref();
        std::thread::scope(|threads| {
            let filled = threads.spawn(|| layer::fill(input, &[into], maps));
            let read = layer::read(LayerReading::Files, directories, maps, output);
            let filled = filled.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            let filled = filled.map_err(|error| {
                let what = text_with("build.output.files", &[("path", &printed(&self.dest))]);
                Error { what, ..error }
            });
            // If the directory cannot be written, the other process has lost its reader.
            let counts = filled?;
            read?;
            if counts.owners > 0 {
                let count = counts.owners.to_string();
                render::note(&text_with("build.output.owners", &[("count", &count)]));
            }
            Ok(())
        })
    }

    fn unwritten(&self, error: &io::Error) -> Error {
        let what = text_with("build.output.cannot", &[("path", &printed(&self.dest))]);
        Error::new(ExitKind::Refused, what).why(io_text(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_docker_are_read() {
        let read = |written: &str| {
            BuildTarget::read(written).ok().map(|target| (target.kind, target.dest.display().to_string()))
        };
        assert_eq!(read("out"), Some((TargetKind::Local, "out".into())));
        assert_eq!(read("-"), Some((TargetKind::Tar, "-".into())));
        assert_eq!(read("type=tar,dest=x.tar"), Some((TargetKind::Tar, "x.tar".into())));
        assert_eq!(read("type=oci,dest=-"), Some((TargetKind::Image, "-".into())));
        assert_eq!(read("./a=b"), Some((TargetKind::Local, "./a=b".into())));
        assert_eq!(read("TYPE=local,\"Dest=o,11\""), Some((TargetKind::Local, "o,11".into())));
        for wrong in [
            "",
            "type=local",
            "a,dest=x",
            "a,b",
            "type=local,\"dest=x",
            "type=image,dest=x",
            "type=tar,dest=",
            "type=tar,x",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
