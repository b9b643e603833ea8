//! bpf(2), as far as a cgroup's device program needs it. Neither nix nor rustix wraps it.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_QUERY: libc::c_int = 16;

const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;

/// The cgroups below may have programs too, and then all are asked. Without it no program could be attached below; with
/// BPF_F_ALLOW_OVERRIDE instead, one attached below would replace this one. What is allowed here depends on the cgroups
/// above: under one that has a program with neither flag, every attachment is EPERM. systemd and runc take this one.
const BPF_F_ALLOW_MULTI: u32 = 2;

/// BPF_CGROUP_MAX_PROGS: no cgroup has more programs of a kind.
const MOST: usize = 64;

// The members of union bpf_attr that are used here, without gaps. The kernel is told how long each is, and takes what it
// knows beyond as zeroes.

#[repr(C)]
#[derive(Default)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
}

#[repr(C)]
#[derive(Default)]
struct Attach {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
}

/// To its last field: some kernels write that one without asking whether it was given.
#[repr(C)]
#[derive(Default)]
struct Query {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    unused: u32,
    prog_attach_flags: u64,
    link_ids: u64,
    link_attach_flags: u64,
    revision: u64,
}

/// Has the kernel check and keep a program for cgroups' devices; each word is one instruction.
///
/// # Errors
/// EPERM: neither CAP_BPF with CAP_NET_ADMIN nor CAP_SYS_ADMIN in the first user namespace. EINVAL: the kernel knows no
/// such programs (before 4.15, or no CONFIG_CGROUP_BPF), or refuses this one.
pub(crate) fn load_device_program(instructions: &[u64]) -> Result<OwnedFd, Errno> {
    // It calls none of the functions that the kernel keeps for the GPL, so the project's own licence will do.
    let license = c"MIT OR Apache-2.0";
    let mut attributes = Load {
        prog_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(instructions.len()).map_err(|_| Errno::E2BIG)?,
        insns: instructions.as_ptr() as u64,
        license: license.as_ptr() as u64,
        // What `bpftool prog` shows.
        prog_name: *b"sandbox_devices\0",
        ..Load::default()
    };
    // SAFETY: this command reads `insn_cnt` words and a string that ends with a NUL; both outlive the call.
    let program = unsafe { bpf(BPF_PROG_LOAD, &mut attributes) }?;
    // SAFETY: the kernel has just opened it (close-on-exec) for this caller; no one else knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(program as RawFd) })
}

/// Attaches a program to the cgroup (v2) whose directory is open. From then on the cgroup keeps it; it goes with the cgroup.
///
/// # Errors
/// EPERM: not privileged; or this cgroup, or one above, has a program whose flags stand no other. EBADF: no cgroup of
/// version 2.
pub(crate) fn attach(cgroup: impl AsFd, program: impl AsFd) -> Result<(), Errno> {
    let mut attributes = Attach {
        target_fd: number(&cgroup),
        attach_bpf_fd: number(&program),
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: BPF_F_ALLOW_MULTI,
    };
    // SAFETY: this command reads the attributes alone; numbers that are no such descriptors give an error.
    unsafe { bpf(BPF_PROG_ATTACH, &mut attributes) }.map(|_| ())
}

/// The ids of the device programs that are attached to this very cgroup.
///
/// # Errors
/// EPERM: not privileged. EBADF: no cgroup of version 2.
pub(crate) fn query(cgroup: impl AsFd) -> Result<Vec<u32>, Errno> {
    let mut ids = [0_u32; MOST];
    let mut attributes = Query {
        target_fd: number(&cgroup),
        attach_type: BPF_CGROUP_DEVICE,
        prog_ids: ids.as_mut_ptr() as u64,
        prog_cnt: MOST as u32,
        ..Query::default()
    };
    // SAFETY: this command writes up to `prog_cnt` numbers into an array of that many, which outlives the call, and its
    // answers into the attributes.
    unsafe { bpf(BPF_PROG_QUERY, &mut attributes) }?;
    Ok(ids[..MOST.min(attributes.prog_cnt as usize)].to_vec())
}

/// An open descriptor has no sign.
fn number(descriptor: &impl AsFd) -> u32 {
    descriptor.as_fd().as_raw_fd() as u32
}

/// # Safety
/// What the attributes point at must live through the call, be as long as they say, and be ours to write where the command
/// writes.
unsafe fn bpf<T>(command: libc::c_int, attributes: &mut T) -> Result<libc::c_long, Errno> {
    // SAFETY: the kernel keeps to the size that it's given; the rest is the caller's promise.
    Errno::result(unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attributes, size_of::<T>()) })
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::path::PathBuf;
    use std::process::Command;

    use super::*;
    use crate::cgroups::devices::{self, Devices, Instruction};
    use crate::observe::mountinfo;

    /// Where cgroup2 is mounted, beside version 1 or alone.
    fn mount() -> Option<PathBuf> {
        let table = mountinfo::read("/proc/self").ok()?;
        let mount = mountinfo::mounts(&table).find(|mount| *mount.filesystem == *"cgroup2")?;
        Some(mount.mount_point.into_owned())
    }

    /// A cgroup below `sandbox`, removed at the end.
    struct TestCgroup(PathBuf);

    impl TestCgroup {
        fn new(path: PathBuf) -> TestCgroup {
            fs::create_dir_all(&path).unwrap();
            TestCgroup(path)
        }

        fn hold(&self, allow: &[&str], deny: &[&str]) {
            let rules = |words: &[&str]| words.iter().map(|rule| rule.parse().unwrap()).collect();
            let policy = Devices { allow: rules(allow), deny: rules(deny) }.policy().unwrap();
            let words: Vec<u64> = policy.program().iter().map(Instruction::word).collect();
            attach(File::open(&self.0).unwrap(), load_device_program(&words).unwrap()).unwrap();
        }

        /// What a process in it is told when it reads a byte of a device.
        fn read(&self, device: &str) -> String {
            let script = format!("echo 0 > '{}/cgroup.procs' && exec head -c 1 {device}", self.0.display());
            let output = Command::new("sh").env("LC_ALL", "C").args(["-c", &script]).output().unwrap();
            String::from_utf8(output.stderr).unwrap()
        }

        fn programs(&self) -> usize {
            devices::attached(&File::open(&self.0).unwrap()).unwrap().len()
        }
    }

    impl Drop for TestCgroup {
        fn drop(&mut self) {
            let _ = fs::remove_dir(&self.0);
            // `sandbox` itself: only when no other is in it.
            let _ = self.0.parent().filter(|parent| parent.ends_with("sandbox")).map(fs::remove_dir);
        }
    }

    fn skip(reason: &str) {
        let line = format!("SKIP the_kernel_asks_the_program: {reason}\n");
        eprint!("{line}");
        if let Some(path) = std::env::var_os("SANDBOX_SKIPS") {
            let mut file = File::options().append(true).create(true).open(path).unwrap();
            std::io::Write::write_all(&mut file, line.as_bytes()).unwrap();
        }
    }

    #[test]
    fn the_kernel_asks_the_program() {
        if !nix::unistd::geteuid().is_root() {
            return skip("machine: only root can attach BPF programs to a cgroup");
        }
        let Some(mount) = mount() else { return skip("machine: no cgroup2 is mounted") };
        let outer = TestCgroup::new(mount.join(format!("sandbox/test-{}", std::process::id())));
        outer.hold(&[], &["/dev/zero rw"]);
        assert_eq!(outer.programs(), 1);
        assert_eq!(outer.read("/dev/null"), "");
        assert_eq!(outer.read("/dev/urandom"), "");
        assert!(outer.read("/dev/zero").contains("Operation not permitted"));

        // Below, all that are attached are asked: what was denied above stays so.
        let inner = TestCgroup::new(outer.0.join("below"));
        assert_eq!((inner.programs(), inner.read("/dev/null").as_str()), (0, ""));
        inner.hold(&["a"], &["/dev/urandom"]);
        assert_eq!(inner.programs(), 1);
        assert_eq!(inner.read("/dev/null"), "");
        for device in ["/dev/zero", "/dev/urandom"] {
            assert!(inner.read(device).contains("Operation not permitted"), "{device}");
        }
    }

    #[test]
    fn a_directory_elsewhere_is_no_cgroup() {
        let directory = File::open("/proc").unwrap();
        let expected = if nix::unistd::geteuid().is_root() { Errno::EBADF } else { Errno::EPERM };
        assert_eq!(query(&directory), Err(expected));
    }
}
