// The stopwatch of scripts/bench.
//
//     runs ROUNDS  == LABEL BASE COMMAND...  == LABEL BASE COMMAND...  ...
//
// Every round runs each command once, in a new random order. So a slow moment of the machine affects all commands
// alike, and none gains from always following the same one. It measures the wall time from just before vfork to just
// after wait4, so the runner's own work is left out. After each run it pauses. Otherwise the kernel's deferred
// clean-up (namespaces are torn down after the exit) would be counted for the next run.
//
// Prints one row for each command: n, minimum, median, 95th percentile in milliseconds, the peak resident memory, and
// the ratio of its median time to that of BASE, another command's label ("-" for none). The peak is the ru_maxrss of
// the command and of all processes that it waited for, in KiB, the median. COMMAND is a path: no PATH lookup is
// measured. A command that does not exit with 0 ends everything: a failure is fast, and would look like a good result.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 64, PAUSE_MS = 8, WARM_UPS = 3 };

struct command {
    const char *label, *base;
    char **argv;
    double *ms, median;
    double *peak; // KiB
};

static double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static double run(const struct command *command, double *peak) {
    int status;
    struct rusage used;
    double start = now_ms();
    pid_t pid = vfork();
    if (pid == 0) {
        execv(command->argv[0], command->argv);
        _exit(127);
    }
    if (pid < 0 || wait4(pid, &status, 0, &used) < 0) {
        fprintf(stderr, "runs: %s: %s\n", command->label, strerror(errno));
        exit(1);
    }
    double taken = now_ms() - start;
    if (status != 0) {
        fprintf(stderr, "runs: \"%s\" failed: %s %d\n", command->label, WIFEXITED(status) ? "status" : "signal",
                WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
        exit(1);
    }
    *peak = used.ru_maxrss;
    struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000};
    nanosleep(&pause, NULL);
    return taken;
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    int rounds = argc > 1 ? atoi(argv[1]) : 0, count = 0;
    static struct command commands[MOST];
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "==") != 0)
            continue;
        argv[i] = NULL; // ends the argv of the command before
        if (i + 3 >= argc || count == MOST) {
            fprintf(stderr, "runs: == needs LABEL BASE COMMAND, and at most %d of them\n", MOST);
            return 2;
        }
        commands[count++] = (struct command){.label = argv[i + 1], .base = argv[i + 2], .argv = argv + i + 3,
                                             .ms = calloc(rounds > 0 ? rounds : 1, sizeof(double)),
                                             .peak = calloc(rounds > 0 ? rounds : 1, sizeof(double))};
    }
    if (rounds < 1 || count == 0) {
        fprintf(stderr, "usage: runs ROUNDS == LABEL BASE COMMAND... [== ...]\n");
        return 2;
    }
    setpriority(PRIO_PROCESS, 0, -10); // only root may; without it the figures are a little noisier

    // Each command runs once with its messages shown, so that a command that cannot work here reports why.
    int null = open("/dev/null", O_RDWR | O_CLOEXEC), out = fcntl(1, F_DUPFD_CLOEXEC, 3);
    dup2(null, 0);
    dup2(null, 1);
    double ignored;
    for (int i = 0; i < count; i++)
        run(&commands[i], &ignored);
    int err = fcntl(2, F_DUPFD_CLOEXEC, 3);
    dup2(null, 2);
    for (int w = 1; w < WARM_UPS; w++)
        for (int i = 0; i < count; i++)
            run(&commands[i], &ignored);

    int order[MOST];
    for (int i = 0; i < count; i++)
        order[i] = i;
    srandom(time(NULL) ^ getpid());
    for (int round = 0; round < rounds; round++) {
        for (int i = count - 1; i > 0; i--) {
            int j = random() % (i + 1), other = order[i];
            order[i] = order[j];
            order[j] = other;
        }
        for (int i = 0; i < count; i++) {
            struct command *c = &commands[order[i]];
            c->ms[round] = run(c, &c->peak[round]);
        }
    }
    dup2(out, 1);
    dup2(err, 2);

    for (int i = 0; i < count; i++) {
        qsort(commands[i].ms, rounds, sizeof(double), by_size);
        qsort(commands[i].peak, rounds, sizeof(double), by_size);
        commands[i].median = (commands[i].ms[(rounds - 1) / 2] + commands[i].ms[rounds / 2]) / 2;
    }
    printf("%-33s %5s %7s %7s %7s %7s  %s\n", "ms", "n", "min", "median", "p95", "KiB", "ratio to");
    for (int i = 0; i < count; i++) {
        struct command *c = &commands[i];
        printf("%-33s %5d %7.3f %7.3f %7.3f %7.0f", c->label, rounds, c->ms[0], c->median,
               c->ms[(rounds * 95 - 1) / 100], c->peak[rounds / 2]);
        for (int j = 0; j < count; j++)
            if (strcmp(c->base, commands[j].label) == 0)
                printf("  %.2f %s", c->median / commands[j].median, c->base);
        printf("\n");
    }
    return 0;
}
