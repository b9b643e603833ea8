/* Runs `sleep SECONDS` as a plugin, in new namespaces. The plugin does not
   get the token. Usage: TOKEN=... ./launch SECONDS */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc != 2 || !getenv("TOKEN"))
        fprintf(stderr, "usage: TOKEN=... ./launch SECONDS\n");
    if (argc != 2)
        return 2;
    /* This program compares the token with the file. It is descriptor 3. */
    int file = open("token", O_RDONLY | O_CLOEXEC);
    if (file == -1) {
        perror("token");
        return 1;
    }
    if (file != 3)
        dup3(file, 3, O_CLOEXEC);
    if (unshare(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET) == -1) {
        perror("unshare");
        return 1;
    }
    if (fork() == 0) {
        unsetenv("TOKEN");
        execlp("sleep", "sleep", argv[1], (char *)NULL);
        perror("execlp");
        _exit(1);
    }
    wait(NULL);
    return 0;
}
