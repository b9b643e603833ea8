#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void stop(const char *call)
{
    perror(call);
    exit(1);
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    mkdir("root", 0755);
    mkdir("root/old", 0755);
    FILE *note = fopen("root/note", "w");
    if (note == NULL)
        stop("root/note");
    fprintf(note, "{word}\n");
    fclose(note);

    /* An ordinary user needs a new user namespace too. */
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) == -1)
        stop("unshare");
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == -1)
        stop("mount /");
    /* The new root must be a mount point: bind it on itself. */
    if (mount("root", "root", NULL, MS_BIND | MS_REC, NULL) == -1)
        stop("mount root");

    sleep(atoi(argv[1]));
    return 0;
}
