#include <unistd.h>

/* Waits until a signal ends it. */
int main(void)
{
    for (;;)
        pause();
}
