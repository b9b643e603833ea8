/* A server that starts a child for each request. The children of the first
   20 requests end at once. The last one stays. Then the server waits for the
   next request. It should leave no zombies. Add what is missing.
   Usage: ./workers SECONDS */
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
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
    /* Here it would accept the next request. */
    for (;;)
        pause();
}
