/* A server that isolates itself: its process is in a new network namespace,
   and its socket belongs to the old one. Usage: ./publish PORT */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(atoi(argv[1])),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    if (bind(server, (struct sockaddr *)&address, sizeof address) == -1
        || listen(server, 8) == -1) {
        perror("server");
        return 1;
    }
    /* The socket exists already, so it stays outside. */
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET) == -1) {
        perror("unshare");
        return 1;
    }
    for (;;) {
        int client = accept(server, NULL, NULL);
        if (client == -1) {
            perror("accept");
            return 1;
        }
        if (write(client, "hello\n", 6) != 6)
            perror("write");
        close(client);
    }
}
