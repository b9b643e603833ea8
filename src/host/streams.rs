//! The pipes among the standard descriptors of the caller.

use rustix::fs::{FileType, fstat, fstatfs};
use rustix::stdio::{stderr, stdin, stdout};

/// The magic number of the filesystem of pipe(2). A pipe with a name (fifo(7)) belongs to another one. linux/magic.h
const PIPEFS_MAGIC: i128 = 0x5049_5045;

/// A standard descriptor that is a pipe, with or without a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandardPipe {
    /// 0, 1, 2, or both 1 and 2, as with `2>&1`.
    pub descriptors: Vec<i32>,
    /// Its owner.
    pub owner: u32,
    /// It is a file in a directory. A pipe without a name is gone when its last descriptor is closed, and so its owner and
    /// its mode may be changed. A terminal, a file or a named pipe would stay changed.
    pub is_named: bool,
}

impl StandardPipe {
    /// Looks at the three descriptors.
    pub fn gather() -> Vec<StandardPipe> {
        let mut output: Option<(u64, usize)> = None;
        let mut pipes: Vec<StandardPipe> = Vec::new();
        for (descriptor, file) in [(0, stdin()), (1, stdout()), (2, stderr())] {
            let Ok(stat) = fstat(file) else { continue };
            if FileType::from_raw_mode(stat.st_mode) != FileType::Fifo {
                continue;
            }
            let is_named =
                fstatfs(file).is_ok_and(|filesystem| i128::from(filesystem.f_type) != PIPEFS_MAGIC);
            match output {
                Some((inode, place)) if inode == stat.st_ino => pipes[place].descriptors.push(descriptor),
                _ => {
                    if descriptor != 0 {
                        output = Some((stat.st_ino, pipes.len()));
                    }
                    let owner = stat.st_uid;
                    pipes.push(StandardPipe { descriptors: vec![descriptor], owner, is_named });
                }
            }
        }
        pipes
    }
}
