// The payload of scripts/bench: a program that only exits. It is built without a C library (-nostdlib -static): the
// start of a C library alone takes longer than making a namespace, and would hide the time to be measured.
#include <sys/syscall.h>

void _start(void) {
#if defined(__x86_64__)
    __asm__ volatile("syscall" : : "a"(SYS_exit_group), "D"(0));
#elif defined(__aarch64__)
    register long number __asm__("x8") = SYS_exit_group;
    register long status __asm__("x0") = 0;
    __asm__ volatile("svc 0" : : "r"(number), "r"(status));
#else
#error "nothing.c knows x86_64 and aarch64"
#endif
    __builtin_unreachable();
}
