#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    if (unshare(CLONE_NEWNS) == -1) {
        perror("unshare");
        return 1;
    }
    if (mount("tmpfs", "/media", "tmpfs", 0, "size=1m") == -1) {
        perror("mount");
        return 1;
    }
    /* Too late: the tmpfs has already propagated. */
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == -1) {
        perror("mount");
        return 1;
    }
    sleep(atoi(argv[1]));
    return 0;
}
