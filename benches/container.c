// The floor of a whole container in scripts/bench: the smallest C program with the same raw calls as `sandbox run`.
//
//     container plain ROOT COMMAND     new pid, mnt, net, uts and ipc, ROOT as the root with /proc, /sys and /dev
//     container full ROOT COMMAND      and a cgroup namespace, limits of memory, cpu and pids, capabilities,
//                                      no_new_privs, a seccomp filter, RLIMIT_NOFILE
//
// It runs as root. It checks each call and does nothing else. It reads no spec, compares no state with a spec, writes
// no journal, and does not clean up after a failure. filter.h is the seccomp filter that sandbox installs, as printed
// in its plan.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

// Not from <sys/mount.h>: with some C libraries, it conflicts with <linux/mount.h>.
int mount(const char *, const char *, const char *, unsigned long, const void *);
int umount2(const char *, int);
enum { PRIVATE = 1 << 18, RECURSIVE = 1 << 14, DETACH = 2, BELOW = 0x8000 };

enum {
    NO_SUID = MOUNT_ATTR_NOSUID,
    DATA = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC,
    READ_ONLY = MOUNT_ATTR_RDONLY,
};

static const uint64_t filter[] = {
#include "filter.h"
};

static long must(long result, const char *call) {
    if (result < 0) {
        perror(call);
        _exit(125);
    }
    return result;
}

static void put(const char *directory, const char *file, const char *text) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", directory, file);
    int descriptor = must(open(path, O_WRONLY | O_CLOEXEC), path);
    must(write(descriptor, text, strlen(text)), path);
    close(descriptor);
}

// The cgroups: one directory in each hierarchy (v1), or one for all (v2), in which the child is then created.
static char groups[4][128];
static int group_count;
static int is_v2;

static void make_group(const char *controller) {
    char shared[96];
    snprintf(shared, sizeof shared, "/sys/fs/cgroup%s%s/sandbox", *controller ? "/" : "", controller);
    if (mkdir(shared, 0755) < 0 && errno != EEXIST)
        must(-1, shared);
    if (is_v2) {
        put("/sys/fs/cgroup", "cgroup.subtree_control", "+memory +cpu +pids");
        put(shared, "cgroup.subtree_control", "+memory +cpu +pids");
    }
    char *group = groups[group_count++];
    snprintf(group, sizeof groups[0], "%s/floor-%d", shared, getpid());
    must(mkdir(group, 0755), group);
}

static void make_groups(void) {
    is_v2 = access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0;
    if (is_v2) {
        make_group("");
        put(groups[0], "memory.max", "67108864");
        put(groups[0], "cpu.max", "50000 100000");
        put(groups[0], "pids.max", "64");
        return;
    }
    make_group("memory");
    put(groups[0], "memory.limit_in_bytes", "67108864");
    make_group("cpu");
    put(groups[1], "cpu.cfs_period_us", "100000");
    put(groups[1], "cpu.cfs_quota_us", "50000");
    make_group("cpuacct");
    make_group("pids");
    put(groups[3], "pids.max", "64");
}

static void remove_groups(void) {
    while (group_count--) {
        must(rmdir(groups[group_count]), "rmdir");
        *strrchr(groups[group_count], '/') = 0;
        rmdir(groups[group_count]); // fails while another run uses it
    }
}

static int find(int tree, const char *path) {
    struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    return syscall(SYS_openat2, tree, path, &how, sizeof how);
}

// `options` ends with NULL. An option without a value is a flag.
static int make(const char *kind, const char *const *options, unsigned attributes) {
    int context = must(syscall(SYS_fsopen, kind, FSOPEN_CLOEXEC), kind);
    must(syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING, "source", kind, 0), "fsconfig source");
    for (; options && *options; options += 2)
        must(*options[1] ? syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING, options[0], options[1], 0)
                         : syscall(SYS_fsconfig, context, FSCONFIG_SET_FLAG, options[0], NULL, 0),
             options[0]);
    must(syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0), "fsconfig create");
    int made = must(syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, attributes), "fsmount");
    close(context);
    return made;
}

static void attach(int mounted, int place) {
    unsigned flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
    must(syscall(SYS_move_mount, mounted, "", place, "", flags), "move_mount");
    close(place);
}

static int copy(int at, const char *path, unsigned flags) {
    return must(syscall(SYS_open_tree, at, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | flags), "open_tree");
}

static void restrict_to(int mounted, unsigned attributes, unsigned below) {
    struct mount_attr attr = {.attr_set = attributes};
    must(syscall(SYS_mount_setattr, mounted, "", AT_EMPTY_PATH | below, &attr, sizeof attr), "mount_setattr");
}

static void make_root(const char *directory) {
    must(mount(NULL, "/", NULL, RECURSIVE | PRIVATE, NULL), "mount /");
    int root = copy(AT_FDCWD, directory, 0);
    restrict_to(root, MOUNT_ATTR_NODEV, 0);
    must(syscall(SYS_move_mount, root, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH), "move_mount /");

    int proc = make("proc", NULL, DATA);
    attach(proc, must(find(root, "/proc"), "/proc"));
    int sys = make("sysfs", NULL, READ_ONLY | DATA);
    attach(sys, must(find(root, "/sys"), "/sys"));
    int dev = make("tmpfs", (const char *[]){"size", "64k", "mode", "755", NULL}, NO_SUID | MOUNT_ATTR_NOEXEC);
    attach(dev, must(find(root, "/dev"), "/dev"));

    static const struct { const char *name; int major, minor; } nodes[] = {
        {"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0},
    };
    mode_t mask = umask(0);
    for (unsigned i = 0; i < sizeof nodes / sizeof *nodes; i++)
        must(mknodat(dev, nodes[i].name, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)), nodes[i].name);
    static const char *const links[][2] = {
        {"fd", "/proc/self/fd"}, {"stdin", "/proc/self/fd/0"}, {"stdout", "/proc/self/fd/1"},
        {"stderr", "/proc/self/fd/2"}, {"ptmx", "pts/ptmx"},
    };
    for (unsigned i = 0; i < sizeof links / sizeof *links; i++)
        must(symlinkat(links[i][1], dev, links[i][0]), links[i][0]);
    must(mkdirat(dev, "pts", 0755), "pts");
    must(mkdirat(dev, "shm", 0755), "shm");
    must(mkdirat(dev, "mqueue", 0755), "mqueue");
    umask(mask);
    static const char *const terminals[] = {"newinstance", "", "ptmxmode", "0666", "mode", "0620", "gid", "5", NULL};
    int pts = make("devpts", terminals, NO_SUID | MOUNT_ATTR_NOEXEC);
    attach(pts, must(find(dev, "pts"), "pts"));
    int shm = make("tmpfs", (const char *[]){"size", "64m", "mode", "1777", NULL}, DATA);
    attach(shm, must(find(dev, "shm"), "shm"));
    int queues = make("mqueue", NULL, DATA);
    attach(queues, must(find(dev, "mqueue"), "mqueue"));
    close(pts);
    close(shm);
    close(queues);

    static const struct { const char *name; int is_directory; } masked[] = {
        {"acpi", 1}, {"kcore", 0}, {"keys", 0}, {"latency_stats", 0}, {"sched_debug", 0},
        {"scsi", 1}, {"timer_list", 0}, {"timer_stats", 0}, {"firmware", 1},
    };
    for (unsigned i = 0; i < sizeof masked / sizeof *masked; i++) {
        int place = find(strcmp(masked[i].name, "firmware") ? proc : sys, masked[i].name);
        if (place < 0)
            continue;
        static const char *const least[] = {"size", "4k", "nr_inodes", "1", NULL};
        int null = masked[i].is_directory ? -1 : (int)must(find(dev, "null"), "null");
        int cover = null < 0 ? make("tmpfs", least, READ_ONLY | DATA) : copy(null, "", AT_EMPTY_PATH);
        attach(cover, place);
        close(cover);
        if (null >= 0)
            close(null);
    }
    static const char *const fixed[] = {"bus", "fs", "irq", "sys", "sysrq-trigger"};
    for (unsigned i = 0; i < sizeof fixed / sizeof *fixed; i++) {
        int place = find(proc, fixed[i]);
        if (place < 0)
            continue;
        int cover = copy(place, "", AT_EMPTY_PATH | BELOW);
        restrict_to(cover, READ_ONLY | DATA, BELOW);
        attach(cover, place);
        close(cover);
    }
    must(fchdir(root), "fchdir");
    close(root);
    close(proc);
    close(sys);
    close(dev);
    must(syscall(SYS_pivot_root, ".", "."), "pivot_root");
    must(umount2(".", DETACH), "umount2");
    must(chdir("/"), "chdir");
}

static void raise_lo(void) {
    int control = must(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket");
    struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    must(ioctl(control, SIOCSIFFLAGS, &lo), "lo up");
    close(control);
}

static void harden(void) {
    struct rlimit files = {1024, 1024};
    must(setrlimit(RLIMIT_NOFILE, &files), "setrlimit");
    // Docker's default capabilities.
    static const int kept[] = {
        CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID, CAP_KILL, CAP_SETGID, CAP_SETUID, CAP_SETPCAP,
        CAP_NET_BIND_SERVICE, CAP_NET_RAW, CAP_SYS_CHROOT, CAP_MKNOD, CAP_AUDIT_WRITE, CAP_SETFCAP,
    };
    uint64_t keep = 0;
    for (unsigned i = 0; i < sizeof kept / sizeof *kept; i++)
        keep |= 1ULL << kept[i];
    for (int i = 0; i <= CAP_LAST_CAP; i++)
        if (!(keep >> i & 1))
            must(prctl(PR_CAPBSET_DROP, i), "capability");
    must(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "ambient");
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct sets[2] = {{.effective = keep, .permitted = keep}, {.effective = keep >> 32, .permitted = keep >> 32}};
    must(syscall(SYS_capset, &header, sets), "capset");
    must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
    struct sock_fprog program = {sizeof filter / sizeof *filter, (struct sock_filter *)filter};
    must(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program), "seccomp");
}

int main(int argc, char **argv) {
    if (argc < 4 || (strcmp(argv[1], "plain") && strcmp(argv[1], "full"))) {
        fprintf(stderr, "usage: container plain|full ROOT COMMAND...\n");
        return 2;
    }
    int is_full = argv[1][0] == 'f';
    if (is_full)
        make_groups();
    int gate[2];
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, gate), "socketpair");
    int group = is_v2 ? (int)must(open(groups[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC), groups[0]) : -1;
    struct clone_args args = {
        .flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC |
                 (is_v2 ? CLONE_INTO_CGROUP | CLONE_NEWCGROUP : 0),
        .exit_signal = SIGCHLD,
        .cgroup = is_v2 ? group : 0,
    };
    long child = must(syscall(SYS_clone3, &args, sizeof args), "clone3");
    if (child == 0) {
        if (is_full && !is_v2) {
            for (int i = 0; i < group_count; i++)
                put(groups[i], "tasks", "0");
            must(unshare(CLONE_NEWCGROUP), "unshare");
        }
        must(prctl(PR_SET_PDEATHSIG, SIGKILL), "pdeathsig");
        make_root(argv[2]);
        raise_lo();
        must(sethostname("box", 3), "sethostname");
        must(syscall(SYS_close_range, 3U, ~0U, 4U /* CLOSE_RANGE_CLOEXEC */), "close_range");
        if (is_full)
            harden();
        char go;
        must(read(gate[1], &go, 1), "gate");
        execv(argv[3], argv + 3);
        perror(argv[3]);
        _exit(127);
    }
    must(write(gate[0], ".", 1), "gate");
    int status;
    must(waitpid(child, &status, 0), "waitpid");
    if (is_full)
        remove_groups();
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
