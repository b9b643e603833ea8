/* Should run `sleep SECONDS` as process 1 of a new PID namespace.
   But sleep is still in the old one. Add what is missing.
   Usage: ./forks SECONDS */
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    /* An ordinary user needs a new user namespace too. */
    if (unshare(CLONE_NEWUSER | CLONE_NEWPID) == -1) {
        perror("unshare");
        return 1;
    }
    execlp("sleep", "sleep", argv[1], (char *)NULL);
    perror("execlp");
    return 1;
}
