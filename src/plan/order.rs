//! The order of steps. It is decided here and nowhere else: a feature says *what* it needs, its phase says *when*.
//!
//! Each phase has its reason: a rule of the kernel that requires it to come after one phase or before another.

/// The phases in which a container is made, from first to last. Within a phase, steps keep the order in which features
/// added them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// `sandbox` executes a sealed copy of its own program, where a process cannot leave its program's file. First of
    /// all: what was made before would be lost.
    Program,
    /// OUTSIDE opens the namespaces that are joined. Before anything is made: what cannot be opened stops the start
    /// here. From now on each of them stays, also if all its processes end.
    Namespaces,
    /// OUTSIDE: what the child inherits must exist before the clone.
    Prepare,
    /// The bridge, and the container's address on it. Before Clone: the child inherits a copy of the address and needs
    /// no message with it.
    Bridge,
    /// The cgroups and their limits. Before Clone: with cgroup v2 the child is created inside its cgroup, which must
    /// exist. A limit that is set later would not apply to the child's first instructions.
    Groups,
    /// The clone. New namespaces are made here, because a new PID namespace applies to children only, and because with
    /// CLONE_NEWUSER among the flags, the user namespace is made first and owns the others. user_namespaces(7)
    Clone,
    /// cgroup v1: the child joins its cgroups. Before Identity: the files belong to root, and the user of the command
    /// may not write them. Before a new cgroup namespace, whose root is the cgroup in which it is made.
    Join,
    /// setns(2): the namespaces that are joined. After Join: the caller may write to its cgroups, and a user namespace
    /// takes that right. Before Maps: to join a namespace takes CAP_SYS_ADMIN in the user namespace that owns it, which a
    /// process gives up when it enters a new one. A joined user namespace comes before those that it owns, and after all
    /// others. The child is made after that, by a helper: only children are in a joined PID namespace.
    Setns,
    /// The ID maps. Before all steps that need a capability or a mapped ID. OUTSIDE runs newuidmap(1): only the caller
    /// has the right to its subordinate IDs.
    Maps,
    /// Idmapped mounts, made OUTSIDE with the privilege of the host. After Maps: mount_setattr(2) accepts a user
    /// namespace only when its map is written. Before Layers: only a mount that is not attached yet can be idmapped.
    Idmap,
    /// Time offsets. They must be written after unshare(2) and before the first process enters the time namespace;
    /// clone3 with CLONE_NEWTIME would leave them at zero. So a helper unshares, writes them, and then clones the
    /// child. Before Identity: a process that changes its IDs becomes undumpable, and root then owns its files in
    /// /proc. time_namespaces(7), proc(5)
    Offsets,
    /// The child becomes the mapped root. Before ParentDeathSignal: a change of IDs clears that signal. prctl(2)
    Identity,
    /// The parent-death signal. After Identity, before anything that takes time. Here the child also leaves the
    /// program's file, while its mount table is still a copy of the host's.
    ParentDeathSignal,
    /// The helper clones the child, where there is a helper.
    Enter,
    /// Kernel parameters of the new namespaces. After Enter, which makes the last of them. Before Layers: a new root has
    /// /proc/sys read-only, and Network copies the defaults of a parameter to each device.
    Sysctls,
    /// The propagation of the copied mount table. Before the first mount: a shared mount would propagate it to the
    /// host.
    Propagation,
    /// The layers of the new root filesystem, with all mount points that an overlay needs. After Clone: overlayfs accepts
    /// layers only from mounts of the mount namespace that makes it. Before Overlay: a lower layer must not change any
    /// more when the overlay is made.
    Layers,
    /// The new root filesystem is made and mounted on the old one. Before Mounts: a mount can be attached only to a tree
    /// that is attached itself.
    Overlay,
    /// Mounts whose sources are paths of the old root. Before Root: afterwards these paths do not exist.
    Mounts,
    /// The new root. After Propagation: pivot_root(2) fails if a mount is shared.
    Root,
    /// /proc. After Clone and Root: it shows the PID namespace of the process that mounts it.
    Proc,
    /// OUTSIDE makes the veth pair, and puts one end into the child's network namespace. After Clone and Enter, which
    /// make that namespace; before Network, which gives that end its address. The relay of published ports joins the
    /// namespaces of the child here, while the child is still dumpable: later an ordinary user may not open its
    /// /proc/PID/ns.
    Veth,
    /// Network devices up, and addresses.
    Network,
    /// OUTSIDE waits for the carrier of the veth pair. After Network: the kernel drops packets until both ends are up.
    Carrier,
    /// Host name and domain name.
    Names,
    /// The command's own terminal. After Mounts: it is made in the container's devpts, if there is one. Before RunAs:
    /// it is given to the command's user. Before Clean: it opens descriptors.
    Terminal,
    /// Descriptors are marked close-on-exec. After the last step that opens one.
    Clean,
    /// Resource limits. Before Capabilities: to raise a hard limit takes CAP_SYS_RESOURCE.
    Rlimits,
    /// The bounding set of capabilities. Before RunAs: to drop from it takes CAP_SETPCAP.
    Bounding,
    /// The user of the command. Groups first: to change them takes CAP_SETGID, which is lost with the user ID. The
    /// parent-death signal is set again, because the kernel clears it when the effective IDs change. prctl(2)
    RunAs,
    /// The other sets of capabilities. After RunAs: the kernel changes them when a process stops being root. Without
    /// no_new_privileges, CAP_SYS_ADMIN stays for Filter.
    Capabilities,
    /// The process becomes undumpable: until execve(2), nobody in the container can trace it, or open its program by
    /// /proc/PID/exe. After RunAs and Capabilities: a change of IDs can make it dumpable again (fs.suid_dumpable).
    /// After Maps: root would own /proc/PID/uid_map.
    Undumpable,
    /// no_new_privileges. After Capabilities: no earlier step needs it, and it cannot be undone.
    NoNewPrivs,
    /// The child becomes init: it forks the command and stays as process 1. After the restrictions above, which so apply
    /// to init too.
    Init,
    /// The seccomp filter of init, which allows only the calls of its loop. After Init: the command would inherit it.
    InitFilter,
    /// Init gives up the CAP_SYS_ADMIN that it had for InitFilter. The command gives it up by execve(2), which init does
    /// not call.
    InitCapabilities,
    /// The command's own session, with its terminal as the controlling terminal. After Init: the command must be the
    /// session leader, because a shell has job control only then.
    Session,
    /// The view from inside. Everything is set up, and nothing runs yet.
    View,
    /// The working directory of the command. After RunAs: its user must have the right to enter it.
    WorkingDirectory,
    /// What the kernel shows is compared with the plan. After all restrictions; before Hold, so that a container that
    /// waits for its release is known to be right.
    Verify,
    /// The process waits for its release. By then the host has printed its messages and written the journal.
    Hold,
    /// Resource limits that would stop these steps themselves, such as three open files. After Verify, which opens files.
    LowLimits,
    /// The signal dispositions and the mask of the caller. After all waiting, during which signals are blocked; before
    /// Filter, which may deny these calls.
    Signals,
    /// The seccomp filter of the command. Last of all: whatever comes after it, every profile would have to allow.
    /// Behind it nothing is read, awaited or reported but the failure of execve(2), and `plan::behind` refuses a plan
    /// whose filter denies execve.
    Filter,
    /// execve(2), or the process of a demonstration.
    Exec,
}
