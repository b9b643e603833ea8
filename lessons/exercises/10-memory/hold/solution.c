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
    /* A page is charged when it is first touched. */
    for (size_t at = 0; at < size; at += 4096)
        memory[at] = 1;
    for (;;)
        pause();
}
