//! What a process gives up for good: capabilities, system calls, resources. Each restriction applies to the process and
//! to all of its later children.

use std::fmt;

use caps::Capability;
use nix::errno::Errno;
use nix::sys::resource::setrlimit;
use serde::{Deserialize, Serialize};

use crate::plan::slots::Slots;
use crate::sys::{capability, seccomp};
use crate::text::text_with;

/// The calls of this family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestrictCall {
    /// setrlimit(2), which is prlimit(2) for the calling process.
    Limit {
        /// The resource.
        resource: Resource,
        /// The soft limit, which the kernel enforces.
        soft: u64,
        /// The hard limit, up to which the process may raise the soft limit.
        hard: u64,
    },
    /// prctl(PR_CAPBSET_DROP) for every capability except these.
    Bound {
        /// The capabilities that stay in the bounding set.
        keep: Vec<Capability>,
        /// The highest capability number that the kernel knows.
        last: u8,
    },
    /// prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL).
    ClearAmbient,
    /// capset(2): these capabilities are permitted and effective, and none is inheritable.
    Capabilities {
        /// The capabilities that stay.
        keep: Vec<Capability>,
        /// Those that stay until execve(2) besides.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        until_exec: Vec<Capability>,
    },
    /// capset(2): each of the three sets by itself.
    CapabilitySets {
        /// The capabilities that the kernel checks.
        effective: Vec<Capability>,
        /// Those that may be made effective.
        permitted: Vec<Capability>,
        /// Those that execve(2) can keep.
        inheritable: Vec<Capability>,
        /// Those that are permitted and effective until execve(2) besides.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        until_exec: Vec<Capability>,
    },
    /// prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE) for each of these capabilities.
    RaiseAmbient {
        /// The capabilities that execve(2) keeps.
        raise: Vec<Capability>,
    },
    /// prctl(PR_SET_NO_NEW_PRIVS).
    NoNewPrivileges,
    /// seccomp(2), which installs a filter of system calls.
    Filter {
        /// The instructions of the filter: one struct sock_filter each. `security::seccomp` makes them.
        program: Vec<u64>,
        /// SECCOMP_FILTER_FLAG_*.
        #[serde(default, skip_serializing_if = "is_zero")]
        flags: u64,
        /// How many names of system calls in its profile are unknown. They are ignored.
        #[serde(default, skip_serializing_if = "is_zero")]
        unknown_names: u64,
    },
}

/// The resources of getrlimit(2), with the names of Docker's --ulimit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)] // getrlimit(2) says what each is.
pub enum Resource {
    As,
    Core,
    Cpu,
    Data,
    Fsize,
    Locks,
    Memlock,
    Msgqueue,
    Nice,
    Nofile,
    Nproc,
    Rss,
    Rtprio,
    Rttime,
    Sigpending,
    Stack,
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format!("{self:?}").to_lowercase())
    }
}

impl Resource {
    /// Every resource.
    pub const ALL: [Resource; 16] = [
        Resource::As,
        Resource::Core,
        Resource::Cpu,
        Resource::Data,
        Resource::Fsize,
        Resource::Locks,
        Resource::Memlock,
        Resource::Msgqueue,
        Resource::Nice,
        Resource::Nofile,
        Resource::Nproc,
        Resource::Rss,
        Resource::Rtprio,
        Resource::Rttime,
        Resource::Sigpending,
        Resource::Stack,
    ];

    fn kernel_resource(self) -> nix::sys::resource::Resource {
        use nix::sys::resource::Resource as Kernel;
        match self {
            Resource::As => Kernel::RLIMIT_AS,
            Resource::Core => Kernel::RLIMIT_CORE,
            Resource::Cpu => Kernel::RLIMIT_CPU,
            Resource::Data => Kernel::RLIMIT_DATA,
            Resource::Fsize => Kernel::RLIMIT_FSIZE,
            Resource::Locks => Kernel::RLIMIT_LOCKS,
            Resource::Memlock => Kernel::RLIMIT_MEMLOCK,
            Resource::Msgqueue => Kernel::RLIMIT_MSGQUEUE,
            Resource::Nice => Kernel::RLIMIT_NICE,
            Resource::Nofile => Kernel::RLIMIT_NOFILE,
            Resource::Nproc => Kernel::RLIMIT_NPROC,
            Resource::Rss => Kernel::RLIMIT_RSS,
            Resource::Rtprio => Kernel::RLIMIT_RTPRIO,
            Resource::Rttime => Kernel::RLIMIT_RTTIME,
            Resource::Sigpending => Kernel::RLIMIT_SIGPENDING,
            Resource::Stack => Kernel::RLIMIT_STACK,
        }
    }

    /// The name of the limit in /proc/PID/limits. proc_pid_limits(5)
    pub fn line(self) -> &'static str {
        match self {
            Resource::As => "Max address space",
            Resource::Core => "Max core file size",
            Resource::Cpu => "Max cpu time",
            Resource::Data => "Max data size",
            Resource::Fsize => "Max file size",
            Resource::Locks => "Max file locks",
            Resource::Memlock => "Max locked memory",
            Resource::Msgqueue => "Max msgqueue size",
            Resource::Nice => "Max nice priority",
            Resource::Nofile => "Max open files",
            Resource::Nproc => "Max processes",
            Resource::Rss => "Max resident set",
            Resource::Rtprio => "Max realtime priority",
            Resource::Rttime => "Max realtime timeout",
            Resource::Sigpending => "Max pending signals",
            Resource::Stack => "Max stack size",
        }
    }
}

impl fmt::Display for RestrictCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RestrictCall::Limit { resource, soft, hard } => {
                let name = format!("RLIMIT_{resource}").to_uppercase();
                let (soft, hard) = (limit_value(*soft), limit_value(*hard));
                write!(f, "prlimit64(0, {name}, {{rlim_cur={soft}, rlim_max={hard}}}, NULL)")
            }
            // strace(1) prints a set of signals in the same way, by the signals that are not in it.
            RestrictCall::Bound { keep, .. } => {
                write!(f, "prctl(PR_CAPBSET_DROP, ~[{}])", names(keep, "", " "))
            }
            RestrictCall::ClearAmbient => {
                f.write_str("prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)")
            }
            RestrictCall::Capabilities { keep, until_exec } => {
                let all = [keep.as_slice(), until_exec].concat();
                write_capset(f, [&all, &all, &[]])
            }
            RestrictCall::CapabilitySets { effective, permitted, inheritable, until_exec } => {
                let with = |set: &[Capability]| [set, until_exec].concat();
                write_capset(f, [&with(effective), &with(permitted), inheritable])
            }
            RestrictCall::RaiseAmbient { raise } => {
                write!(f, "prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, [{}], 0, 0)", names(raise, "", " "))
            }
            RestrictCall::NoNewPrivileges => f.write_str("prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)"),
            RestrictCall::Filter { program, flags, unknown_names } => {
                let (instructions, flags) = (program.len(), flag_names(*flags));
                write!(
                    f,
                    "seccomp(SECCOMP_SET_MODE_FILTER, {flags}, {{len={instructions}, filter=<program>}})"
                )?;
                match unknown_names {
                    0 => Ok(()),
                    count => {
                        let count = count.to_string();
                        write!(f, "  [{}]", text_with("seccomp.unknown", &[("count", &count)]))
                    }
                }
            }
        }
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Flags of seccomp(2), as strace(1) prints them.
fn flag_names(flags: u64) -> String {
    let known = [
        (libc::SECCOMP_FILTER_FLAG_TSYNC, "SECCOMP_FILTER_FLAG_TSYNC"),
        (libc::SECCOMP_FILTER_FLAG_LOG, "SECCOMP_FILTER_FLAG_LOG"),
        (libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW, "SECCOMP_FILTER_FLAG_SPEC_ALLOW"),
    ];
    let names: Vec<&str> = known.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name).collect();
    if names.is_empty() { "0".to_owned() } else { names.join("|") }
}

/// capset(2) with the effective, the permitted and the inheritable set.
fn write_capset(f: &mut fmt::Formatter<'_>, sets: [&[Capability]; 3]) -> fmt::Result {
    let set = |keep: &[Capability]| if keep.is_empty() { "0".to_owned() } else { names(keep, "1<<", "|") };
    let [effective, permitted, inheritable] = sets.map(set);
    let header = "{version=_LINUX_CAPABILITY_VERSION_3, pid=0}";
    write!(f, "capset({header}, {{effective={effective}, permitted={permitted}, inheritable={inheritable}}})")
}

/// The value of a resource limit, as strace(1) prints it.
fn limit_value(value: u64) -> String {
    match value {
        libc::RLIM_INFINITY => "RLIM64_INFINITY".into(),
        value if value > 1024 && value.is_multiple_of(1024) => format!("{}*1024", value / 1024),
        value => value.to_string(),
    }
}

/// The names in the order of their numbers, as strace(1) prints them.
fn names(capabilities: &[Capability], before: &str, between: &str) -> String {
    let mut sorted = capabilities.to_vec();
    sorted.sort_by_key(|capability| *capability as u8);
    let names = sorted.iter().map(|capability| format!("{before}{capability}"));
    names.collect::<Vec<_>>().join(between)
}

impl RestrictCall {
    /// Makes the call.
    pub(super) fn perform(&self, _: &mut Slots) -> Result<i64, Errno> {
        match self {
            RestrictCall::Limit { resource, soft, hard } => {
                setrlimit(resource.kernel_resource(), *soft, *hard)
            }
            RestrictCall::Bound { keep, last } => {
                let keep = bits(keep);
                // No error is ignored: execve(2) could give the process a capability that was not dropped.
                (0..=*last).filter(|number| keep >> number & 1 == 0).try_for_each(capability::drop_bounding)
            }
            RestrictCall::ClearAmbient => capability::clear_ambient(),
            RestrictCall::Capabilities { keep, until_exec } => {
                let all = bits(keep) | bits(until_exec);
                capability::set(all, all, 0)
            }
            RestrictCall::CapabilitySets { effective, permitted, inheritable, until_exec } => {
                let late = bits(until_exec);
                capability::set(bits(effective) | late, bits(permitted) | late, bits(inheritable))
            }
            RestrictCall::RaiseAmbient { raise } => {
                raise.iter().try_for_each(|capability| capability::raise_ambient(*capability as u8))
            }
            RestrictCall::NoNewPrivileges => nix::sys::prctl::set_no_new_privs(),
            RestrictCall::Filter { program, flags, .. } => seccomp::install(program, *flags),
        }
        .map(|()| 0)
    }
}

fn bits(capabilities: &[Capability]) -> u64 {
    capabilities.iter().fold(0, |bits, capability| bits | capability.bitmask())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restrictions_are_printed_as_strace_does() {
        let limit = |soft, hard| RestrictCall::Limit { resource: Resource::Nofile, soft, hard }.to_string();
        assert_eq!(limit(1024, 4096), "prlimit64(0, RLIMIT_NOFILE, {rlim_cur=1024, rlim_max=4*1024}, NULL)");
        assert!(limit(0, u64::MAX).ends_with("{rlim_cur=0, rlim_max=RLIM64_INFINITY}, NULL)"));
        let keep = vec![Capability::CAP_CHOWN, Capability::CAP_KILL];
        assert_eq!(
            RestrictCall::Capabilities { keep: keep.clone(), until_exec: vec![] }.to_string(),
            "capset({version=_LINUX_CAPABILITY_VERSION_3, pid=0}, {effective=1<<CAP_CHOWN|1<<CAP_KILL, \
             permitted=1<<CAP_CHOWN|1<<CAP_KILL, inheritable=0})"
        );
        assert_eq!(
            RestrictCall::Bound { keep, last: 40 }.to_string(),
            "prctl(PR_CAPBSET_DROP, ~[CAP_CHOWN CAP_KILL])"
        );
    }
}
