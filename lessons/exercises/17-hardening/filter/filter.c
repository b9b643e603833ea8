/* Should run `sleep SECONDS` so that unshare(2) fails with EPERM for it. The
   filter is right, but it is not accepted, or it is not safe. Add what is
   missing. Usage: ./filter SECONDS */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    struct sock_filter rules[] = {
        /* Load the number of the system call. */
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        /* If it is not unshare, go to the last line. */
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_unshare, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof rules / sizeof rules[0], rules};
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == -1)
        perror("prctl(PR_SET_SECCOMP)");
    execlp("sleep", "sleep", argv[1], (char *)NULL);
    perror("execlp");
    return 1;
}
