#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    if (unshare(CLONE_NEWUSER | CLONE_NEWPID) == -1) {
        perror("unshare");
        return 1;
    }
    /* unshare(CLONE_NEWPID) changes the namespace of later children only. */
    pid_t child = fork();
    if (child == 0) {
        execlp("sleep", "sleep", argv[1], (char *)NULL);
        perror("execlp");
        return 1;
    }
    waitpid(child, NULL, 0);
    return 0;
}
