#define _GNU_SOURCE
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    /* An ordinary user needs a new user namespace too. */
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET) == -1) {
        perror("unshare");
        return 1;
    }
    int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    /* Bring lo up. The kernel then adds 127.0.0.1 and its route. */
    struct ifreq request;
    memset(&request, 0, sizeof request);
    strcpy(request.ifr_name, "lo");
    if (ioctl(server, SIOCGIFFLAGS, &request) == -1) {
        perror("SIOCGIFFLAGS");
        return 1;
    }
    request.ifr_flags |= IFF_UP;
    if (ioctl(server, SIOCSIFFLAGS, &request) == -1) {
        perror("SIOCSIFFLAGS");
        return 1;
    }
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(atoi(argv[1])),
        .sin_addr.s_addr = htonl(INADDR_ANY),
    };
    if (bind(server, (struct sockaddr *)&address, sizeof address) == -1
        || listen(server, 8) == -1) {
        perror("server");
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
