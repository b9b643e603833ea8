//! The order of steps, decided here and nowhere else. A feature says *what* it needs; the phase it names says *when*.

/// The phases of a container's making, first to last. Within a phase steps stand as their features added them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The sealed copy of our own program, where a process cannot leave its program's file. First of all: `sandbox` starts anew
    /// from that copy, so nothing may have been made before.
    Program,
    /// OUTSIDE, before there is a child: whatever it needs to be born with.
    Prepare,
    /// The bridge, and the address that this container has on it. Before the clone: the child takes the address along in its
    /// copy of what is known, and needn't be told.
    Bridge,
    /// The cgroups and their limits. Before the clone: where the child is born into a group (v2) that group must be there, and
    /// a limit that came later would be one that the first instructions escaped.
    Groups,
    /// The clone. Namespaces whose rules bind "children only" (pid) or that must own the others (user) are made right here:
    /// user_namespaces(7): with CLONE_NEWUSER beside other flags, the user namespace comes first and owns the rest.
    Clone,
    /// Joining the groups, where it couldn't be born in them (v1): the child's very first act, before its ids change, since
    /// the files belong to root and a later user may not write to them; and before a cgroup namespace is made, which takes
    /// the group that it's made in for its root.
    Join,
    /// The id maps. Everything after may need a capability that stands on a mapped id; newuidmap(1) is run from OUTSIDE,
    /// because only there the caller has the right to ranges.
    Maps,
    /// Files are seen through the map. OUTSIDE, which alone may say so. After Maps: mount_setattr(2) takes a user namespace
    /// only when its map is written; before Layers, since only a mount that is nowhere yet can be given a map.
    Idmap,
    /// Time offsets. time_namespaces(7): written after unshare and before the first process enters; a clone3 with
    /// CLONE_NEWTIME would freeze them at zero. So a helper unshares, writes, and only then clones the child. Before
    /// Identity: whose ids change isn't dumpable any more, and its files in /proc belong to root outside. proc(5)
    Offsets,
    /// Becoming the mapped root. It clears the parent-death signal (prctl(2)), so that comes after.
    Identity,
    /// The parent-death signal, and the gate that closes its race. After Identity, before anything slow. And away from our own
    /// program's file: while the mount table is still a copy of the one that it was executed by.
    Leash,
    /// The clone by the helper, where there is one.
    Enter,
    /// The propagation of the copied mount table. Before the first mount, or that mount would show outside too.
    Propagation,
    /// The new root, laid on the old one. An overlay takes its layers only from mounts of the namespace that makes it, so
    /// after the clone; a mount is put into a tree only once that tree has a place itself, so before Mounts.
    Layers,
    /// Mounts whose sources are paths of the old root. Before the root changes, or they'd be out of reach.
    Mounts,
    /// The new root. pivot_root(2): refused under shared propagation, so after it.
    Root,
    /// /proc. After the clone of the pid namespace it shows, after the root that it's mounted in.
    Proc,
    /// The veth pair to the host: made OUTSIDE, where the caller has the right to it, with its other end put into the child's
    /// network namespace in the same message. So after the clone that made that namespace (and after Enter, where the
    /// child is born late), and before the child gives its end an address. The relay of published ports too: it joins the
    /// child's namespaces while that waits here, dumpable and with the ids that it was born with; once it's another user,
    /// an ordinary one may not look into it any more.
    Veth,
    /// Devices up, addresses. They need nothing of the mounts; here so that views and errors read top down.
    Network,
    /// The carrier of the veth pair. OUTSIDE, since that end was up first and without carrier: the kernel lets it send only some time
    /// after the other end is up too, and whatever is sent before is lost. So after Network, before the command.
    Carrier,
    /// Hostname and domain name.
    Names,
    /// The command's own terminal. After the mounts, since it's made in the container's devpts where there is one, and given
    /// to the command's user while the right to that is there. Before Clean, as it opens descriptors.
    Terminal,
    /// Descriptors, signals: what execve keeps. After the last step that opens something.
    Clean,
    /// What one process may have of each resource. Who holds CAP_SYS_RESOURCE may go beyond the hard limits, so before that
    /// is given up.
    Rlimits,
    /// What execve(2) can never give back. It takes CAP_SETPCAP, which becoming another user takes away.
    Bounding,
    /// The filter of system calls, where a set-user-id program is to keep its effect. Without no_new_privs the kernel wants
    /// CAP_SYS_ADMIN for it, so it comes before that goes: the filter lets the calls of the next phases pass.
    AdminFilter,
    /// Becoming the user: groups first, since CAP_SETGID goes with the user id. Here the parent-death signal is set once more,
    /// because the kernel clears it whenever the effective ids change (prctl(2)).
    RunAs,
    /// The final sets. After the ids: the kernel itself changes the sets when a process stops being root.
    Capabilities,
    /// From here to execve nobody of the container may trace the process or open its program by /proc/PID/exe: neither the
    /// command before its time, nor process 1, which stays. After the ids and the sets: when they change, the kernel may make
    /// it traceable again (fs.suid_dumpable). Not before the maps: /proc/PID/uid_map must be its user's to write to.
    Shut,
    /// From here on execve(2) gives no privilege. After the sets: nothing before needs it, and it can't be taken back.
    NoNewPrivs,
    /// The filter of system calls, where no_new_privs lets anyone install one: after all that sets up, whose calls it may
    /// deny; before View, which is to show it. What still comes (report, release, execve) any filter must let pass.
    Filter,
    /// Fork of the command, where the child stays as init. After all that confines: process 1 is there as long as the
    /// container, so it's bound by the same, as soon as the command.
    Init,
    /// The command's own session, whose controlling terminal is the command's. After Init: the leader is to be the command,
    /// since a shell that leads its session has job control, and a hang-up is told to the leader; process 1 keeps no end.
    Session,
    /// The view, when everything stands and nothing runs yet.
    View,
    /// The host lets go: it has printed what it had to say, and the journal is written.
    Release,
    /// Where the command begins. As the user that it runs as: a folder that they may not enter is none for them.
    Folder,
    /// What the kernel shows is held against the plan. After everything that confines, and while there's still a way back.
    Verify,
    /// execve, or the demonstration.
    Exec,
}
