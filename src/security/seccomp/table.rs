//! The system call tables: the number of each name, for each architecture that this kernel can have. The crate syscalls
//! has them, except that of x32. arch/x86/entry/syscalls/*.tbl

use syscalls::{aarch64, arm, x86, x86_64};

use super::profile::{ArgumentTest, Comparison, FilterArchitecture};

/// The architecture of this program.
pub(super) const NATIVE: FilterArchitecture =
    if cfg!(target_arch = "x86_64") { FilterArchitecture::X8664 } else { FilterArchitecture::Aarch64 };

/// The bit of the numbers of x32. Its calls have the same AUDIT_ARCH_* as those of x86_64.
pub(super) const X32_BIT: u32 = 0x4000_0000;

/// The calls of an architecture.
#[derive(Debug)]
pub(super) struct CallTable {
    /// The architecture.
    pub(super) architecture: FilterArchitecture,
    /// AUDIT_ARCH_*.
    pub(super) audit: u32,
    /// Whether its arguments have 32 bits. Those of x32 have more, but libseccomp compares only these.
    pub(super) is_32_bit: bool,
    /// The calls.
    pub(super) calls: Vec<TableCall>,
}

/// A call that a name means.
#[derive(Debug, Clone, Copy)]
pub(super) struct TableCall {
    /// Its name.
    pub(super) name: &'static str,
    /// Its number.
    pub(super) number: u32,
    /// If the call does the work of several ones, the condition of its first argument.
    pub(super) test: Option<ArgumentTest>,
}

impl TableCall {
    fn new(name: &'static str, number: u32) -> TableCall {
        TableCall { name, number, test: None }
    }
}

impl CallTable {
    /// The lowest number.
    pub(super) fn first(&self) -> u32 {
        if self.is_x32() { X32_BIT } else { 0 }
    }

    /// Whether its calls have the AUDIT_ARCH_* of x86_64, and only their numbers differ.
    pub(super) fn is_x32(&self) -> bool {
        self.architecture == FilterArchitecture::X32
    }

    /// The table of x32, if its calls have the same AUDIT_ARCH_* as those of this table.
    pub(super) fn x32_beside(&self) -> Option<CallTable> {
        (self.architecture == FilterArchitecture::X8664).then(x32)
    }
}

macro_rules! calls {
    ($table:ident) => {
        $table::Sysno::iter().map(|call| TableCall::new(call.name(), call.id() as u32))
    };
}

/// The tables of the calls that this kernel may accept.
pub(super) fn all() -> Vec<CallTable> {
    if cfg!(target_arch = "x86_64") {
        vec![native_x86_64(), i386(), x32()]
    } else {
        vec![native_arm(), arm()]
    }
}

fn native_x86_64() -> CallTable {
    let calls = calls!(x86_64).collect();
    CallTable { architecture: FilterArchitecture::X8664, audit: 0xc000_003e, is_32_bit: false, calls }
}

/// The calls of sockets and System V IPC are also reached by socketcall(2) and ipc(2), whose first argument says which of
/// them is meant.
fn i386() -> CallTable {
    let shared = [SOCKETCALL, IPC].into_iter().flat_map(|(number, calls)| {
        calls.iter().map(move |(name, value)| {
            let test = ArgumentTest { index: 0, value: *value, value_two: 0, op: Comparison::Equal };
            TableCall { test: Some(test), ..TableCall::new(name, number) }
        })
    });
    let calls = calls!(x86).chain(shared).collect();
    CallTable { architecture: FilterArchitecture::X86, audit: 0x4000_0003, is_32_bit: true, calls }
}

fn native_arm() -> CallTable {
    let calls = calls!(aarch64).collect();
    CallTable { architecture: FilterArchitecture::Aarch64, audit: 0xc000_00b7, is_32_bit: false, calls }
}

fn arm() -> CallTable {
    let calls = calls!(arm).collect();
    CallTable { architecture: FilterArchitecture::Arm, audit: 0x4000_0028, is_32_bit: true, calls }
}

/// The calls of x86_64 with one more bit. Some have numbers of their own, because their structs have pointers.
fn x32() -> CallTable {
    const OWN: &str = "rt_sigaction rt_sigreturn ioctl readv writev recvfrom sendmsg recvmsg execve ptrace \
        rt_sigpending rt_sigtimedwait rt_sigqueueinfo sigaltstack timer_create mq_notify kexec_load waitid \
        set_robust_list get_robust_list vmsplice move_pages preadv pwritev rt_tgsigqueueinfo recvmmsg sendmmsg \
        process_vm_readv process_vm_writev setsockopt getsockopt io_setup io_submit execveat preadv2 pwritev2";
    let own: Vec<&'static str> = OWN.split_whitespace().collect();
    let number = |call: TableCall| match own.iter().position(|name| *name == call.name) {
        Some(place) => TableCall { number: X32_BIT + 512 + place as u32, ..call },
        None => TableCall { number: X32_BIT + call.number, ..call },
    };
    let calls = calls!(x86_64).map(number).collect();
    CallTable { architecture: FilterArchitecture::X32, audit: 0xc000_003e, is_32_bit: true, calls }
}

/// A call of i386 that does the work of several ones, and the value of its first argument for each of them.
type SharedCall = (u32, &'static [(&'static str, u64)]);

/// socketcall(2).
const SOCKETCALL: SharedCall = (
    102,
    &[
        ("socket", 1),
        ("bind", 2),
        ("connect", 3),
        ("listen", 4),
        ("accept", 5),
        ("getsockname", 6),
        ("getpeername", 7),
        ("socketpair", 8),
        ("send", 9),
        ("recv", 10),
        ("sendto", 11),
        ("recvfrom", 12),
        ("shutdown", 13),
        ("setsockopt", 14),
        ("getsockopt", 15),
        ("sendmsg", 16),
        ("recvmsg", 17),
        ("accept4", 18),
        ("recvmmsg", 19),
        ("sendmmsg", 20),
    ],
);
/// ipc(2).
const IPC: SharedCall = (
    117,
    &[
        ("semop", 1),
        ("semget", 2),
        ("semctl", 3),
        ("semtimedop", 4),
        ("msgsnd", 11),
        ("msgrcv", 12),
        ("msgget", 13),
        ("msgctl", 14),
        ("shmat", 21),
        ("shmdt", 22),
        ("shmget", 23),
        ("shmctl", 24),
    ],
);
