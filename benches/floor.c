// The floor of scripts/bench: the smallest C program with the same raw calls as `sandbox uts` and `sandbox pid`.
//
//     floor uts COMMAND...    clone3(CLONE_NEWUTS), exec
//     floor pid COMMAND...    clone3(CLONE_NEWPID | CLONE_NEWNS), / private, a new /proc, exec
//
// If an ordinary user runs it, it adds CLONE_NEWUSER and maps 0 to the caller, as sandbox does. It checks each call
// and does nothing else: it has no options, no helpful messages, and no clean-up.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void must(long result, const char *call) {
    if (result < 0) {
        perror(call);
        _exit(125);
    }
}

static void put(const char *path, const char *text) {
    int file = open(path, O_WRONLY | O_CLOEXEC);
    must(file, path);
    must(write(file, text, strlen(text)), path);
    close(file);
}

static void map_root_to(uid_t uid, gid_t gid) {
    char line[32];
    // An ordinary user may write gid_map only after "deny" was written to setgroups.
    put("/proc/self/setgroups", "deny");
    snprintf(line, sizeof line, "0 %u 1", uid);
    put("/proc/self/uid_map", line);
    snprintf(line, sizeof line, "0 %u 1", gid);
    put("/proc/self/gid_map", line);
}

int main(int argc, char **argv) {
    if (argc < 3 || (strcmp(argv[1], "uts") && strcmp(argv[1], "pid"))) {
        fprintf(stderr, "usage: floor uts|pid COMMAND...\n");
        return 2;
    }
    int pid_mode = argv[1][0] == 'p';
    uid_t uid = geteuid();
    gid_t gid = getegid();
    struct clone_args args = {
        .flags = (pid_mode ? CLONE_NEWPID | CLONE_NEWNS : CLONE_NEWUTS) | (uid != 0 ? CLONE_NEWUSER : 0),
        .exit_signal = SIGCHLD,
    };
    long child = syscall(SYS_clone3, &args, sizeof args);
    must(child, "clone3");
    if (child == 0) {
        if (uid != 0)
            map_root_to(uid, gid);
        if (pid_mode) {
            must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "mount /");
            must(mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL), "mount /proc");
        }
        execvp(argv[2], argv + 2);
        perror(argv[2]);
        _exit(127);
    }
    int status;
    must(waitpid(child, &status, 0), "waitpid");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
