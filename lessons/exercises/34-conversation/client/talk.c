/* A client of Docker's API: prints nothing itself, but executes sleep with the
   line that a container has printed. Usage: ./talk SOCKET */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Connects to the daemon and sends a request. Returns the connection. */
static int ask(const char *path, const char *request, const char *body)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int connection = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(connection, (struct sockaddr *)&address, sizeof address)) {
        perror(path);
        _exit(1);
    }
    dprintf(connection,
            "%s HTTP/1.1\r\nHost: docker\r\nUpgrade: tcp\r\n"
            "Connection: Upgrade\r\nContent-Type: application/json\r\n"
            "Content-Length: %zu\r\n\r\n%s",
            request, strlen(body), body);
    return connection;
}

/* Reads a line, without its end. */
static void read_line(int connection, char *line, size_t size)
{
    size_t length = 0;
    char byte;
    while (length + 1 < size && read(connection, &byte, 1) == 1 && byte != '\n')
        if (byte != '\r')
            line[length++] = byte;
    line[length] = 0;
}

/* Reads the headers of an answer: the lines up to the first empty one. */
static void read_headers(int connection)
{
    char line[512];
    do
        read_line(connection, line, sizeof line);
    while (line[0] != 0);
}

/* Sends a request on a connection of its own, and waits for the answer. */
static void request(const char *path, const char *request, const char *body)
{
    int connection = ask(path, request, body);
    read_headers(connection);
    close(connection);
}

int main(int argc, char **argv)
{
    char line[64];
    if (argc != 2)
        return 2;
    request(argv[1], "POST /containers/create?name={name}",
            "{\"Image\": \"{name}\", \"Tty\": true,"
            " \"Cmd\": [\"sh\", \"-c\", \"echo {seconds}\"],"
            " \"HostConfig\": {\"NetworkMode\": \"none\"}}");
    request(argv[1], "POST /containers/{name}/start", "");
    int output = ask(argv[1],
                     "POST /containers/{name}/attach?stream=1&stdout=1", "");
    read_headers(output);
    read_line(output, line, sizeof line);
    execlp("sleep", "sleep", line, (char *)NULL);
    perror("sleep");
    return 1;
}
