// The tracer of scripts/hot.
//
//     steps FROM TO COMMAND...
//
// Runs COMMAND, and all processes that it makes until they execute another program, one instruction at a time. Prints each
// address between FROM and TO (hexadecimal) that was executed, in the order of the first times.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv) {
    unsigned long from = argc > 3 ? strtoul(argv[1], NULL, 16) : 0, to = argc > 3 ? strtoul(argv[2], NULL, 16) : 0;
    if (from >= to) {
        fprintf(stderr, "usage: steps FROM TO COMMAND...\n");
        return 2;
    }
    char *seen = calloc(to - from, 1);
    pid_t first = fork();
    if (first == 0) {
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        execv(argv[3], argv + 3);
        _exit(127);
    }
    int status, code = 0;
    if (seen == NULL || first < 0 || waitpid(first, &status, 0) < 0 || !WIFSTOPPED(status)) {
        fprintf(stderr, "steps: %s can't be run: %s\n", argv[3], strerror(errno));
        return 1;
    }
    ptrace(PTRACE_SETOPTIONS, first, NULL,
           (void *)(PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL));
    ptrace(PTRACE_SINGLESTEP, first, NULL, NULL);
    for (pid_t process; (process = waitpid(-1, &status, __WALL)) > 0;) {
        if (!WIFSTOPPED(status)) {
            if (process == first)
                code = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
            continue;
        }
        if (status >> 16 == PTRACE_EVENT_EXEC) {
            ptrace(PTRACE_DETACH, process, NULL, NULL);
            continue;
        }
        struct user_regs_struct at;
        if (ptrace(PTRACE_GETREGS, process, NULL, &at) == 0 && at.rip >= from && at.rip < to && !seen[at.rip - from]) {
            seen[at.rip - from] = 1;
            printf("%llx\n", at.rip);
        }
        // A new process begins with SIGSTOP, and a step ends with SIGTRAP: neither is the program's.
        long signal = WSTOPSIG(status);
        ptrace(PTRACE_SINGLESTEP, process, NULL, (void *)(signal == SIGTRAP || signal == SIGSTOP ? 0L : signal));
    }
    return code;
}
