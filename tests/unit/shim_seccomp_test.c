/* SPDX-License-Identifier: Apache-2.0 */
/* Filters say here what they say to the kernel: it runs the same programs, on the same calls. */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shim/seccomp.h"
#include "tests/harness.h"

#define PROGRAMS 400
#define STEPS_MAX 60
#define MEMORY_WORDS BPF_MEMWORDS
#define RESULT_MASK 0xfff /* an errno, which tells what was computed */

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#else
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

static uint64_t state;

static uint32_t
below(uint32_t n)
{
    state += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
    uint64_t z = state;
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((z ^ z >> 31) % n);
}

static uint32_t
any_word(void)
{
    static const uint32_t odd[] = {0, 1, 31, 32, 0x7fffffff, 0x80000000, 0xffffffff};
    return below(2) == 0 ? odd[below(sizeof odd / sizeof odd[0])] : below(UINT32_MAX);
}

static struct sock_filter
step(uint32_t code, uint32_t k)
{
    return (struct sock_filter){(uint16_t)code, 0, 0, k};
}

/* One of those that the kernel takes, with `left` steps behind it. */
static struct sock_filter
any_step(uint32_t left)
{
    static const uint16_t operations[] = {BPF_ADD, BPF_SUB, BPF_MUL, BPF_DIV, BPF_OR,
                                          BPF_AND, BPF_XOR, BPF_LSH, BPF_RSH};
    static const uint16_t jumps[] = {BPF_JEQ, BPF_JGT, BPF_JGE, BPF_JSET};
    uint16_t source = below(2) == 0 ? BPF_K : BPF_X;
    uint16_t operation = operations[below(9)];
    uint32_t k = any_word();
    switch (below(10)) {
    case 0:
        return step(BPF_LD | BPF_W | BPF_ABS, 4 * below(sizeof(struct seccomp_data) / 4));
    case 1:
        return step((below(2) == 0 ? BPF_LD : BPF_LDX) | BPF_IMM, k);
    case 2:
        return step((below(2) == 0 ? BPF_LD : BPF_LDX) | BPF_MEM, below(MEMORY_WORDS));
    case 3:
        return step((below(2) == 0 ? BPF_LD : BPF_LDX) | BPF_W | BPF_LEN, 0);
    case 4:
        return step(below(2) == 0 ? BPF_ST : BPF_STX, below(MEMORY_WORDS));
    case 5:
        return step(BPF_MISC | (below(2) == 0 ? BPF_TAX : BPF_TXA), 0);
    case 6:
        return step(BPF_ALU | BPF_NEG, 0);
    case 7: {
        struct sock_filter jump = step(BPF_JMP | jumps[below(4)] | source, k);
        jump.jt = (uint8_t)below(left);
        jump.jf = (uint8_t)below(left);
        return below(4) == 0 ? step(BPF_JMP | BPF_JA, below(left)) : jump;
    }
    default:
        k = operation == BPF_LSH || operation == BPF_RSH ? k % 32 : k;
        k = operation == BPF_DIV && k == 0 ? 7 : k;
        return step(BPF_ALU | operation | source, k);
    }
}

/* Lets all calls but one pass; that one fails with what was computed. */
static uint32_t
make_program(struct sock_filter program[static STEPS_MAX + MEMORY_WORDS + 8])
{
    uint32_t count = 0;
    program[count++] = step(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    program[count] = step(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid);
    program[count++].jt = 1;
    program[count++] = step(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    for (uint32_t i = 0; i < MEMORY_WORDS; i++) { /* none is read before it is written */
        program[count++] = step(BPF_ST, i);
    }
    for (uint32_t steps = 1 + below(STEPS_MAX), i = 0; i < steps; i++) {
        program[count++] = any_step(steps - i);
    }
    program[count++] = step(BPF_ALU | BPF_AND | BPF_K, RESULT_MASK);
    program[count++] = step(BPF_ALU | BPF_OR | BPF_K, SECCOMP_RET_ERRNO);
    program[count++] = step(BPF_RET | BPF_A, 0);
    return count;
}

/* In a child: what the kernel says to this call, or -1. */
static void
ask_kernel(struct sock_filter *program, uint32_t count, const __u64 words[static 6], int *answer)
{
    struct sock_fprog whole = {(unsigned short)count, program};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &whole) != 0) {
        _exit(1);
    }
    errno = 0;
    syscall(SYS_getppid, words[0], words[1], words[2], words[3], words[4], words[5]);
    *answer = errno;
    _exit(0);
}

TEST(a_filter_says_what_it_says_to_the_kernel)
{
    int *answer =
        mmap(NULL, sizeof *answer, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(answer != MAP_FAILED);
    int killed = 0;
    for (int i = 0; i < PROGRAMS; i++) {
        static struct sock_filter program[STEPS_MAX + MEMORY_WORDS + 8];
        state = (uint64_t)i;
        uint32_t count = make_program(program);
        struct seccomp_data data = {.nr = SYS_getppid, .arch = ARCHITECTURE};
        for (int w = 0; w < 6; w++) {
            data.args[w] = (uint64_t)any_word() << 32 | any_word();
        }
        for (uint32_t s = 0; s < count; s++) { /* it cannot be known here where the call stands */
            bool where = program[s].code == (BPF_LD | BPF_W | BPF_ABS) &&
                         program[s].k / 8 == offsetof(struct seccomp_data, instruction_pointer) / 8;
            program[s].k = where ? offsetof(struct seccomp_data, args) : program[s].k;
        }
        uint32_t said = ns_seccomp_run(program, count, &data);
#ifdef __SANITIZE_THREAD__
        /* A thread of the sanitizer's would outlive the one that is killed. */
        killed += said == SECCOMP_RET_KILL_THREAD;
        if (said == SECCOMP_RET_KILL_THREAD) {
            continue;
        }
#endif
        *answer = -1;
        pid_t pid = fork();
        if (pid == 0) {
            ask_kernel(program, count, data.args, answer);
        }
        int status = -1;
        REQUIRE(waitpid(pid, &status, 0) == pid);
        if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS) {
            killed++;
            CHECK_INT(said, SECCOMP_RET_KILL_THREAD); /* it divides by 0 */
        } else if (status != 0) {
            NS_FAIL("the kernel does not take program %d", i);
        } else if (said != (SECCOMP_RET_ERRNO | (uint32_t)*answer)) {
            NS_FAIL("program %d says %x, and to the kernel %x", i, said & RESULT_MASK, *answer);
        }
    }
    CHECK(killed > 0 && killed < PROGRAMS / 4);
    munmap(answer, sizeof *answer);
}

TEST(a_program_that_runs_off_its_end_kills)
{
    struct seccomp_data data = {.nr = SYS_read, .arch = ARCHITECTURE};
    struct sock_filter program[] = {step(BPF_LD | BPF_IMM, 1)};
    CHECK_INT(ns_seccomp_run(program, 0, &data), SECCOMP_RET_KILL_PROCESS);
    CHECK_INT(ns_seccomp_run(program, 1, &data), SECCOMP_RET_KILL_PROCESS);
}
