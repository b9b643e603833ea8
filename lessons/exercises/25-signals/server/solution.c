/* A server that saves its data when it is asked to stop: ./server SECONDS */
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

    action.sa_handler = save;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    for (;;)
        pause();
}
