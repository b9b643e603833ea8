//! bpf(2), as far as the device program of a cgroup needs it. Neither nix nor rustix wraps it.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_QUERY: libc::c_int = 16;

const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;

/// Cgroups below may have programs too, and then all programs are asked. Without this flag no program could be attached
/// below. With BPF_F_ALLOW_OVERRIDE, a program that is attached below would replace this one. The cgroups above limit
/// what is allowed here: below a program with neither flag, every attachment fails with EPERM. systemd and runc use
/// this flag too.
const BPF_F_ALLOW_MULTI: u32 = 2;

/// BPF_CGROUP_MAX_PROGS: the maximum number of programs of one type in a cgroup.
const MAX_PROGRAMS: usize = 64;

/// The program calls none of the kernel functions that are reserved for GPL programs, so the project's own licence is
/// sufficient.
const LICENSE: &CStr = c"MIT OR Apache-2.0";

/// What `bpftool prog` shows.
const NAME: &[u8; 16] = b"sandbox_devices\0";

// The members of union bpf_attr that are used here, without gaps. The kernel gets the size of each, and treats the
// fields that it knows beyond that size as zeros.

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

/// Complete to its last field: some kernels write that field without checking that the caller's structure has it.
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

/// Loads a device program, which the kernel verifies. Each number is one instruction, a struct bpf_insn.
///
/// # Errors
/// EPERM: neither CAP_BPF with CAP_NET_ADMIN nor CAP_SYS_ADMIN in the initial user namespace. EINVAL: the kernel has no
/// such programs (before 4.15, or without CONFIG_CGROUP_BPF), or rejects this one.
pub(crate) fn load_device_program(instructions: &[u64]) -> Result<OwnedFd, Errno> {
    let mut attributes = Load {
        prog_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(instructions.len()).map_err(|_| Errno::E2BIG)?,
        insns: instructions.as_ptr() as u64,
        license: LICENSE.as_ptr() as u64,
        prog_name: *NAME,
        ..Load::default()
    };
    // SAFETY: this command reads `insn_cnt` instructions and a string that ends with a NUL. Both outlive the call.
    let program = unsafe { bpf(BPF_PROG_LOAD, &mut attributes) }?;
    // SAFETY: the kernel has just opened it (close-on-exec) for this process, and no other code knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(program as RawFd) })
}

/// The call of [`load_device_program`] as text.
pub(crate) fn load_text(instructions: usize) -> String {
    let (license, size) = (LICENSE.to_string_lossy(), size_of::<Load>());
    let name = String::from_utf8_lossy(NAME);
    let name = name.trim_end_matches('\0');
    format!(
        "bpf(BPF_PROG_LOAD, {{prog_type=BPF_PROG_TYPE_CGROUP_DEVICE, insn_cnt={instructions}, insns=<program>, \
         license=\"{license}\", prog_name=\"{name}\"}}, {size})"
    )
}

/// Attaches a program to the cgroup whose directory is open. The program stays attached until the cgroup is removed.
///
/// # Errors
/// EPERM: not privileged; or this cgroup, or one above, has a program whose flags allow no other. EBADF: not a
/// directory of cgroup v2.
pub(crate) fn attach(cgroup: impl AsFd, program: impl AsFd) -> Result<(), Errno> {
    let mut attributes = Attach {
        target_fd: raw_fd(&cgroup),
        attach_bpf_fd: raw_fd(&program),
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: BPF_F_ALLOW_MULTI,
    };
    // SAFETY: this command reads only the attributes. Numbers that are no such descriptors give an error.
    unsafe { bpf(BPF_PROG_ATTACH, &mut attributes) }.map(|_| ())
}

/// The call of [`attach`] as text.
pub(crate) fn attach_text(cgroup: &str) -> String {
    let size = size_of::<Attach>();
    format!(
        "bpf(BPF_PROG_ATTACH, {{target_fd=<{cgroup}>, attach_bpf_fd=<program>, attach_type=BPF_CGROUP_DEVICE, \
         attach_flags=BPF_F_ALLOW_MULTI}}, {size})"
    )
}

/// The IDs of the device programs that are attached to this cgroup itself.
///
/// # Errors
/// EPERM: not privileged. EBADF: not a directory of cgroup v2.
pub(crate) fn query(cgroup: impl AsFd) -> Result<Vec<u32>, Errno> {
    let mut ids = [0_u32; MAX_PROGRAMS];
    let mut attributes = Query {
        target_fd: raw_fd(&cgroup),
        attach_type: BPF_CGROUP_DEVICE,
        prog_ids: ids.as_mut_ptr() as u64,
        prog_cnt: MAX_PROGRAMS as u32,
        ..Query::default()
    };
    // SAFETY: this command writes up to `prog_cnt` numbers into an array of that size, which outlives the call, and its
    // other results into the attributes.
    unsafe { bpf(BPF_PROG_QUERY, &mut attributes) }?;
    Ok(ids[..MAX_PROGRAMS.min(attributes.prog_cnt as usize)].to_vec())
}

/// A descriptor as the kernel's structures have it. An open one is never negative.
fn raw_fd(descriptor: &impl AsFd) -> u32 {
    descriptor.as_fd().as_raw_fd() as u32
}

/// # Safety
/// What the attributes point to must live through the call and have the size that they state. Where the command writes,
/// it must be writable memory of this process.
unsafe fn bpf<T>(command: libc::c_int, attributes: &mut T) -> Result<libc::c_long, Errno> {
    // SAFETY: the kernel uses no more bytes of the attributes than this size. The caller ensures the rest.
    Errno::result(unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attributes, size_of::<T>()) })
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::path::PathBuf;
    use std::process::Command;

    use super::*;
    use crate::cgroups::devices::{self, DeviceInstruction, DeviceRules, Devices};
    use crate::observe::mountinfo;

    /// The mount point of cgroup2, which may be mounted beside cgroup v1 or alone.
    fn mount() -> Option<PathBuf> {
        let table = mountinfo::read("/proc/self").ok()?;
        let mount = mountinfo::mounts(&table).find(|mount| *mount.filesystem == *"cgroup2")?;
        Some(mount.mount_point.into_owned())
    }

    /// A cgroup below `sandbox`. It is removed at the end.
    struct TestCgroup(PathBuf);

    impl TestCgroup {
        fn new(path: PathBuf) -> TestCgroup {
            fs::create_dir_all(&path).unwrap();
            TestCgroup(path)
        }

        fn attach_policy(&self, allow: &[&str], deny: &[&str]) {
            let rules = |rules: &[&str]| rules.iter().map(|rule| rule.parse().unwrap()).collect();
            let rules = Devices { allow: rules(allow), deny: rules(deny) };
            let policy = DeviceRules::from(rules).policy().unwrap();
            let instructions: Vec<u64> = policy.program().iter().map(DeviceInstruction::word).collect();
            let program = load_device_program(&instructions).unwrap();
            attach(File::open(&self.0).unwrap(), program).unwrap();
        }

        /// What a process in the cgroup writes to standard error when it reads a byte of a device.
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
            // rmdir(2) removes `sandbox` itself only if no other cgroup is in it.
            let _ = self.0.parent().filter(|parent| parent.ends_with("sandbox")).map(fs::remove_dir);
        }
    }

    fn skip(reason: &str) {
        let line = format!("SKIP the_kernel_asks_every_attached_program: {reason}\n");
        eprint!("{line}");
        if let Some(path) = std::env::var_os("SANDBOX_SKIPS") {
            let mut file = File::options().append(true).create(true).open(path).unwrap();
            std::io::Write::write_all(&mut file, line.as_bytes()).unwrap();
        }
    }

    #[test]
    fn the_kernel_asks_every_attached_program() {
        if !nix::unistd::geteuid().is_root() {
            return skip("machine: only root can attach BPF programs to a cgroup");
        }
        let Some(mount) = mount() else { return skip("machine: no cgroup2 is mounted") };
        let outer = TestCgroup::new(mount.join(format!("sandbox/test-{}", std::process::id())));
        outer.attach_policy(&[], &["/dev/zero rw"]);
        assert_eq!(outer.programs(), 1);
        assert_eq!(outer.read("/dev/null"), "");
        assert_eq!(outer.read("/dev/urandom"), "");
        assert!(outer.read("/dev/zero").contains("Operation not permitted"));

        // In a cgroup below, all attached programs are asked: what was denied above stays denied.
        let inner = TestCgroup::new(outer.0.join("below"));
        assert_eq!((inner.programs(), inner.read("/dev/null").as_str()), (0, ""));
        inner.attach_policy(&["a"], &["/dev/urandom"]);
        assert_eq!(inner.programs(), 1);
        assert_eq!(inner.read("/dev/null"), "");
        for device in ["/dev/zero", "/dev/urandom"] {
            assert!(inner.read(device).contains("Operation not permitted"), "{device}");
        }
    }

    #[test]
    fn a_directory_of_another_filesystem_is_no_cgroup() {
        let directory = File::open("/proc").unwrap();
        let expected = if nix::unistd::geteuid().is_root() { Errno::EBADF } else { Errno::EPERM };
        assert_eq!(query(&directory), Err(expected));
    }
}
