#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t command;

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    command = fork();
    if (command == 0) {
        execvp(argv[1], argv + 1);
        perror("execvp");
        _exit(127);
    }
    int status;
    pid_t ended;
    /* Orphans are children too: wait for any child. */
    while ((ended = wait(&status)) != command) {
        if (ended == -1) {
            perror("wait");
            return 1;
        }
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
