//! Work that meets a limit: memory, processor time, a disk, device files, processes. Each ends by itself and is bounded
//! by what it's told. A demonstration needs no other program for it.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::sys::wait::waitpid;
use serde::{Deserialize, Serialize};

use crate::error::errno;
use crate::plan::call::c_string;
use crate::sys::clone::{Cloned, clone3};

/// One MiB.
const MIB: usize = 1 << 20;

/// The calls of this family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoadCall {
    /// mmap(2), and a byte written to each page: so many MiB of anonymous memory.
    Allocate {
        /// How much.
        mib: usize,
        /// Kept until the process ends, else given back at once.
        keep: bool,
    },
    /// write(2) of so many MiB to a file that is there, in blocks.
    Fill {
        /// Where.
        path: String,
        /// The size of a block, in KiB.
        block: usize,
        /// How many.
        blocks: usize,
        /// By O_DIRECT, past the page cache; else into it.
        direct: bool,
        /// Between two of them so many milliseconds, so that it can be watched.
        pause: u64,
    },
    /// read(2) of a whole file in blocks, by O_DIRECT.
    Drain {
        /// Where.
        path: String,
        /// The size of a block, in KiB.
        block: usize,
    },
    /// Computes for so long.
    Spin {
        /// How long.
        milliseconds: u64,
    },
    /// sched_setaffinity(2): runs on this processor alone.
    Pin(usize),
    /// fork(2) up to so many times, each child only waiting: how many there came to be. The errno of the first that
    /// didn't; all are ended again.
    Fork {
        /// How many.
        most: usize,
    },
    /// open(2), for reading: what a device file's opening gives.
    Open {
        /// Which file.
        path: String,
    },
    /// mknod(2) of a character device, mode 0600.
    MakeNode {
        /// Where.
        path: String,
        /// Its major number.
        major: u64,
        /// Its minor number.
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
                write!(f, "write(<{path}>, \"\", {}) x {blocks}{flags}", block << 10)
            }
            LoadCall::Drain { path, block } => {
                write!(f, "read(<{path}>, \"\", {}) to its end  [O_DIRECT]", block << 10)
            }
            LoadCall::Spin { milliseconds } => write!(f, "computes for {milliseconds} ms"),
            LoadCall::Pin(cpu) => write!(f, "sched_setaffinity(0, 128, [{cpu}])"),
            LoadCall::Fork { most } => write!(f, "fork() x {most}"),
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
            LoadCall::Drain { path, block } => drain(path, block << 10).map_err(errno),
            LoadCall::Spin { milliseconds } => {
                spin(Duration::from_millis(*milliseconds));
                Ok(0)
            }
            LoadCall::Pin(cpu) => pin(*cpu).map(|()| 0),
            LoadCall::Fork { most } => fork(*most),
            LoadCall::Open { path } => File::open(path).map(|_| 0).map_err(errno),
            LoadCall::MakeNode { path, major, minor } => {
                mknod(path.as_str(), SFlag::S_IFCHR, Mode::from_bits_truncate(0o600), makedev(*major, *minor))
                    .map(|()| 0)
            }
        }
    }
}

/// In pieces, so that the group's usage can be watched as it grows.
fn allocate(mib: usize, keep: bool) -> i64 {
    let mut held: Vec<Vec<u8>> = Vec::new();
    for _ in 0..mib {
        // Not zeroes: of those the kernel has one page for all.
        held.push(std::hint::black_box(vec![1; MIB]));
        std::thread::sleep(Duration::from_millis(12));
    }
    if keep {
        std::mem::forget(held);
    }
    mib as i64
}

fn fill(path: &str, block: usize, blocks: usize, direct: bool, pause: u64) -> io::Result<i64> {
    let mut file = open(path, OpenOptions::new().write(true), direct)?;
    let buffer = Aligned::of(block);
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

fn drain(path: &str, block: usize) -> io::Result<i64> {
    let mut file = open(path, OpenOptions::new().read(true), true)?;
    let mut buffer = Aligned::of(block);
    let mut all = 0;
    loop {
        match io::Read::read(&mut file, buffer.bytes_mut())? {
            0 => return Ok(all),
            some => all += some as i64,
        }
    }
}

fn open(path: &str, options: &mut OpenOptions, direct: bool) -> io::Result<File> {
    options.custom_flags(if direct { libc::O_DIRECT } else { 0 }).open(path)
}

/// O_DIRECT takes buffers that begin where a block of the disk could: open(2).
struct Aligned {
    whole: Vec<u8>,
    start: usize,
    length: usize,
}

impl Aligned {
    const TO: usize = 4096;

    fn of(length: usize) -> Aligned {
        let whole = vec![b'x'; length + Aligned::TO];
        let start = whole.as_ptr().align_offset(Aligned::TO).min(Aligned::TO);
        Aligned { whole, start, length }
    }

    fn bytes(&self) -> &[u8] {
        &self.whole[self.start..self.start + self.length]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.whole[self.start..self.start + self.length]
    }
}

fn spin(time: Duration) {
    let begin = Instant::now();
    let mut number = 1_u64;
    while begin.elapsed() < time {
        for _ in 0..10_000 {
            number = std::hint::black_box(number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
    }
}

fn pin(cpu: usize) -> Result<(), Errno> {
    let mut one = nix::sched::CpuSet::new();
    one.set(cpu)?;
    nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &one)
}

/// The children wait for a signal that ends them: they hold no processor and end with their parent. Slowly, so that it can
/// be watched.
fn fork(most: usize) -> Result<i64, Errno> {
    let mut children = Vec::new();
    let outcome = loop {
        if children.len() == most {
            break Ok(most as i64);
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
