/* Starts sleep as a further process in a container.
   Usage: ./join PID SECONDS (PID: of the container's command) */
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char *argv[])
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s PID SECONDS\n", argv[0]);
        return 2;
    }
    int process = syscall(SYS_pidfd_open, atoi(argv[1]), 0);
    if (process == -1) {
        perror("pidfd_open");
        return 1;
    }
    if (setns(process, CLONE_NEWUSER | CLONE_NEWIPC | CLONE_NEWPID |
                           CLONE_NEWUTS) == -1) {
        perror("setns");
        return 1;
    }
    clearenv();
    if (fork() == 0) {
        execlp("sleep", "sleep", argv[2], (char *)NULL);
        perror("execlp");
        _exit(1);
    }
    wait(NULL);
    return 0;
}
