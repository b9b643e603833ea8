#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

/* Reaps all children that have ended, and waits for none that is alive. */
static void reap(int signal)
{
    (void)signal;
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    signal(SIGCHLD, reap);
    for (int request = 1; request <= 21; request++) {
        pid_t child = fork();
        if (child == -1) {
            perror("fork");
            return 1;
        }
        if (child == 0) {
            if (request <= 20)
                _exit(0);
            execlp("sleep", "sleep", argv[1], (char *)NULL);
            _exit(1);
        }
    }
    for (;;)
        pause();
}
