/* A server that should save its data when it is asked to stop: ./server SECONDS */
#include <signal.h>
#include <unistd.h>

static void save(int signal)
{
    (void)signal;
    write(1, "saved\n", 6);
    _exit(0);
}

int main(void)
{
    struct sigaction action = {0};
    sigset_t set;

    action.sa_handler = save;
    sigaction(SIGINT, &action, NULL);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    for (;;)
        pause();
}
