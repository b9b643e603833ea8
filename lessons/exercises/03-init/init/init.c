/* A small init. It should start COMMAND, reap every child, and forward SIGTERM
   to COMMAND. But it waits for COMMAND only, and has no handler.
   Usage: ./init COMMAND [ARGUMENT...] */
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    pid_t command = fork();
    if (command == 0) {
        execvp(argv[1], argv + 1);
        perror("execvp");
        _exit(127);
    }
    int status;
    if (waitpid(command, &status, 0) == -1) {
        perror("waitpid");
        return 1;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
