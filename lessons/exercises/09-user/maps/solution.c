#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void put(const char *path, const char *text)
{
    int file = open(path, O_WRONLY | O_CLOEXEC);
    if (file == -1 || write(file, text, strlen(text)) == -1)
        perror(path);
    if (file != -1)
        close(file);
}

int main(int argc, char **argv)
{
    char map[64];
    if (argc != 2)
        return 2;
    uid_t user = geteuid();
    gid_t group = getegid();
    if (unshare(CLONE_NEWUSER) == -1) {
        perror("unshare");
        return 1;
    }
    snprintf(map, sizeof map, "0 %u 1\n", (unsigned)user);
    put("/proc/self/uid_map", map);
    /* Otherwise a process could leave a group that denies it access. */
    put("/proc/self/setgroups", "deny");
    snprintf(map, sizeof map, "0 %u 1\n", (unsigned)group);
    put("/proc/self/gid_map", map);
    sleep((unsigned)atoi(argv[1]));
    return 0;
}
