#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    const char *name = argv[1];
    /* The process that sleeps must be in the new namespace: no fork(). */
    if (unshare(CLONE_NEWUSER | CLONE_NEWUTS) == -1) {
        perror("unshare");
        return 1;
    }
    if (sethostname(name, sizeof name) == -1) {
        perror("sethostname");
        return 1;
    }
    sleep(atoi(argv[2]));
    return 0;
}
