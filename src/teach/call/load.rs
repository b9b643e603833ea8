//! Work that reaches a limit: on memory, CPU time, a disk, device files, or processes.
//!
//! Each call has a fixed amount of work, so it always ends. A demonstration needs no other program to cause load.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::sys::wait::waitpid;
use serde::{Deserialize, Serialize};

use crate::error::errno;
use crate::plan::call::c_string;
use crate::sys::clone::{Cloned, clone3};
use crate::text::printed;

/// One MiB.
const MIB: usize = 1 << 20;

/// The calls of this family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoadCall {
    /// Allocates anonymous memory with mmap(2) and writes to each page.
    Allocate {
        /// The number of MiB.
        mib: usize,
        /// Whether the memory is kept until the process ends. Otherwise it is freed before the call returns.
        keep: bool,
    },
    /// write(2): writes blocks to an existing file.
    Fill {
        /// The path of the file.
        #[serde(with = "crate::value::bytes")]
        path: PathBuf,
        /// The size of a block, in KiB.
        block: usize,
        /// The number of blocks.
        blocks: usize,
        /// Whether to use O_DIRECT, which bypasses the page cache.
        direct: bool,
        /// Milliseconds to wait after each block, so that the usage can be watched as it grows.
        pause: u64,
    },
    /// read(2): reads a whole file in blocks, with O_DIRECT.
    ReadAll {
        /// The path of the file.
        #[serde(with = "crate::value::bytes")]
        path: PathBuf,
        /// The size of a block, in KiB.
        block: usize,
    },
    /// Computes for some time.
    Spin {
        /// The time in milliseconds.
        milliseconds: u64,
    },
    /// sched_setaffinity(2): from now on runs only on this CPU.
    Pin(usize),
    /// fork(2), several times. Each child only waits, and all are killed at the end. Returns the number of children,
    /// or the errno of the first fork that failed.
    Fork {
        /// The number of children.
        count: usize,
    },
    /// open(2) for reading, used on device files.
    Open {
        /// The file.
        #[serde(with = "crate::value::bytes")]
        path: PathBuf,
    },
    /// mknod(2) of a character device, mode 0600.
    MakeNode {
        /// The path of the file.
        #[serde(with = "crate::value::bytes")]
        path: PathBuf,
        /// The major number.
        major: u64,
        /// The minor number.
        minor: u64,
    },
}

impl fmt::Display for LoadCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadCall::Allocate { mib, .. } => {
                write!(f, "mmap(NULL, {}, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0)", mib * MIB)
            }
            LoadCall::Fill { path, block, blocks, direct, .. } => {
                let flags = if *direct { "  [O_DIRECT]" } else { "" };
                write!(f, "write(<{}>, \"\", {}) x {blocks}{flags}", printed(path), block << 10)
            }
            LoadCall::ReadAll { path, block } => {
                write!(f, "read(<{}>, \"\", {}) to its end  [O_DIRECT]", printed(path), block << 10)
            }
            LoadCall::Spin { milliseconds } => write!(f, "computes for {milliseconds} ms"),
            LoadCall::Pin(cpu) => write!(f, "sched_setaffinity(0, 128, [{cpu}])"),
            LoadCall::Fork { count } => write!(f, "fork() x {count}"),
            LoadCall::Open { path } => write!(f, "open({}, O_RDONLY)", c_string(path)),
            LoadCall::MakeNode { path, major, minor } => {
                write!(f, "mknod({}, S_IFCHR|0600, makedev({major}, {minor}))", c_string(path))
            }
        }
    }
}

impl LoadCall {
    /// Does the work.
    pub(super) fn perform(&self) -> Result<i64, Errno> {
        match self {
            LoadCall::Allocate { mib, keep } => Ok(allocate(*mib, *keep)),
            LoadCall::Fill { path, block, blocks, direct, pause } => {
                fill(path, block << 10, *blocks, *direct, *pause).map_err(errno)
            }
            LoadCall::ReadAll { path, block } => read_all(path, block << 10).map_err(errno),
            LoadCall::Spin { milliseconds } => {
                spin(Duration::from_millis(*milliseconds));
                Ok(0)
            }
            LoadCall::Pin(cpu) => pin(*cpu).map(|()| 0),
            LoadCall::Fork { count } => fork(*count),
            LoadCall::Open { path } => File::open(path).map(|_| 0).map_err(errno),
            LoadCall::MakeNode { path, major, minor } => {
                mknod(path, SFlag::S_IFCHR, Mode::from_bits_truncate(0o600), makedev(*major, *minor))
                    .map(|()| 0)
            }
        }
    }
}

/// Allocates 1 MiB at a time, so that the usage of the cgroup can be watched as it grows.
fn allocate(mib: usize, keep: bool) -> i64 {
    let mut chunks: Vec<Vec<u8>> = Vec::new();
    for _ in 0..mib {
        // Filled with ones, not zeros: zeroed memory is not charged before it is written to.
        chunks.push(std::hint::black_box(vec![1; MIB]));
        std::thread::sleep(Duration::from_millis(12));
    }
    if keep {
        // The demonstration needs memory that stays allocated until its process ends.
        chunks.leak();
    }
    mib as i64
}

fn fill(path: &Path, block: usize, blocks: usize, direct: bool, pause: u64) -> io::Result<i64> {
    let mut file = open(path, OpenOptions::new().write(true), direct)?;
    let buffer = AlignedBuffer::new(block);
    let mut written = 0;
    for _ in 0..blocks {
        file.write_all(buffer.bytes())?;
        written += block;
        if pause > 0 {
            std::thread::sleep(Duration::from_millis(pause));
        }
    }
    Ok(written as i64)
}

fn read_all(path: &Path, block: usize) -> io::Result<i64> {
    let mut file = open(path, OpenOptions::new().read(true), true)?;
    let mut buffer = AlignedBuffer::new(block);
    let mut total = 0;
    loop {
        match io::Read::read(&mut file, buffer.bytes_mut())? {
            0 => return Ok(total),
            length => total += length as i64,
        }
    }
}

fn open(path: &Path, options: &mut OpenOptions, direct: bool) -> io::Result<File> {
    options.custom_flags(if direct { libc::O_DIRECT } else { 0 }).open(path)
}

/// A buffer for O_DIRECT, which requires an aligned address. open(2), NOTES
struct AlignedBuffer {
    bytes: Vec<u8>,
    start: usize,
    length: usize,
}

impl AlignedBuffer {
    const ALIGNMENT: usize = 4096;

    fn new(length: usize) -> AlignedBuffer {
        let bytes = vec![b'x'; length + AlignedBuffer::ALIGNMENT];
        let start = bytes.as_ptr().align_offset(AlignedBuffer::ALIGNMENT).min(AlignedBuffer::ALIGNMENT);
        AlignedBuffer { bytes, start, length }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.length]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.length]
    }
}

fn spin(time: Duration) {
    let begin = Instant::now();
    let mut value = 1_u64;
    while begin.elapsed() < time {
        for _ in 0..10_000 {
            value = std::hint::black_box(value.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
    }
}

fn pin(cpu: usize) -> Result<(), Errno> {
    let mut cpus = nix::sched::CpuSet::new();
    cpus.set(cpu)?;
    nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &cpus)
}

/// The children only wait for a signal, so they use no CPU time. A parent-death signal ends them with their parent.
/// There is a pause after each fork, so that the count can be watched as it grows.
fn fork(count: usize) -> Result<i64, Errno> {
    let mut children = Vec::new();
    let outcome = loop {
        if children.len() == count {
            break Ok(count as i64);
        }
        match clone3(0, None) {
            Ok(Cloned::Child) => {
                let _ = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL);
                loop {
                    nix::unistd::pause();
                }
            }
            Ok(Cloned::Parent(pid, _)) => {
                children.push(pid);
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(errno) => break Err(errno),
        }
    };
    for child in children {
        let _ = nix::sys::signal::kill(child, nix::sys::signal::Signal::SIGKILL);
        let _ = waitpid(child, None);
    }
    outcome
}
