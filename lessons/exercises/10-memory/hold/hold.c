/* Should hold some MiB of memory. It allocates them, but its cgroup counts
   nearly nothing. Add what is missing.
   Usage: ./hold MIB */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    size_t size = (size_t)atoi(argv[1]) << 20;
    volatile char *memory = malloc(size);
    if (memory == NULL) {
        perror("malloc");
        return 1;
    }
    for (;;)
        pause();
}
