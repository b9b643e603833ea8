/* Should set the hostname NAME in a new UTS namespace, and then sleep.
   But it stays in the old namespace. There is one more mistake.
   Usage: ./node NAME SECONDS */
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    const char *name = argv[1];
    pid_t child = fork();
    if (child == 0) {
        /* An ordinary user needs a new user namespace too. */
        if (unshare(CLONE_NEWUSER | CLONE_NEWUTS) == -1) {
            perror("unshare");
            _exit(1);
        }
        if (sethostname(name, sizeof name) == -1) {
            perror("sethostname");
            _exit(1);
        }
        _exit(0);
    }
    waitpid(child, NULL, 0);
    sleep(atoi(argv[2]));
    return 0;
}
