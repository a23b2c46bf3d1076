/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/seccomp.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "shim/elf_symbols.h"
#include "shim/hooks.h"
#include "shim/process.h"

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#error "no filters for this processor"
#endif

struct filter {
    struct filter *next;
    const void *thread; /* whose it is, beside those that began after it */
    uint32_t serial;
    uint32_t count;
    bool everywhere;
    struct sock_filter program[];
};

static struct filter *filters;
static uint32_t filter_count;
static bool closed; /* a filter could not be kept: nothing is allowed */

/* What this thread has been through: one more than the filters that were there when it was first
 * seen here, any of which it may have from who began it. Its address tells threads apart; a later
 * one at the same address was seen after all that this one did. */
static __thread uint32_t first_seen;

/* --- running one --------------------------------------------------------------------------------
 */

/* One step of arithmetic, not by 0 where it divides. */
static uint32_t
compute(uint16_t code, uint32_t a, uint32_t operand)
{
    switch (BPF_OP(code)) {
    case BPF_ADD:
        return a + operand;
    case BPF_SUB:
        return a - operand;
    case BPF_MUL:
        return a * operand;
    case BPF_DIV:
        return a / operand;
    case BPF_OR:
        return a | operand;
    case BPF_AND:
        return a & operand;
    case BPF_XOR:
        return a ^ operand;
    case BPF_LSH:
        return a << (operand & 31);
    case BPF_RSH:
        return a >> (operand & 31);
    default:
        return -a; /* BPF_NEG */
    }
}

static bool
compare(uint16_t code, uint32_t a, uint32_t operand)
{
    switch (BPF_OP(code)) {
    case BPF_JEQ:
        return a == operand;
    case BPF_JGT:
        return a > operand;
    case BPF_JGE:
        return a >= operand;
    default:
        return (a & operand) != 0; /* BPF_JSET */
    }
}

/* What a load brings. */
static uint32_t
load(const struct sock_filter *step, const uint32_t memory[static BPF_MEMWORDS],
     const struct seccomp_data *data)
{
    uint32_t word = 0;
    switch (BPF_MODE(step->code)) {
    case BPF_ABS:
        if (step->k <= sizeof *data - sizeof word) {
            memcpy(&word, (const char *)data + step->k, sizeof word);
        }
        return word;
    case BPF_MEM:
        return memory[step->k % BPF_MEMWORDS];
    case BPF_LEN:
        return sizeof *data;
    default:
        return step->k; /* BPF_IMM */
    }
}

uint32_t
ns_seccomp_run(const struct sock_filter *program, uint32_t count, const struct seccomp_data *data)
{
    uint32_t a = 0, x = 0, memory[BPF_MEMWORDS] = {0};
    for (uint32_t at = 0; at < count; at++) {
        const struct sock_filter *step = &program[at];
        uint32_t operand = BPF_SRC(step->code) == BPF_X ? x : step->k;
        switch (BPF_CLASS(step->code)) {
        case BPF_LD:
            a = load(step, memory, data);
            break;
        case BPF_LDX:
            x = load(step, memory, data);
            break;
        case BPF_ST:
            memory[step->k % BPF_MEMWORDS] = a;
            break;
        case BPF_STX:
            memory[step->k % BPF_MEMWORDS] = x;
            break;
        case BPF_ALU:
            if (BPF_OP(step->code) == BPF_DIV && operand == 0) {
                return SECCOMP_RET_KILL_THREAD; /* the kernel's 0 for a program that does that */
            }
            a = compute(step->code, a, operand);
            break;
        case BPF_JMP:
            if (BPF_OP(step->code) == BPF_JA) {
                at += step->k;
            } else {
                at += compare(step->code, a, operand) ? step->jt : step->jf;
            }
            break;
        case BPF_RET:
            return BPF_RVAL(step->code) == BPF_A ? a : step->k;
        default: /* BPF_MISC */
            if (BPF_MISCOP(step->code) == BPF_TAX) {
                x = a;
            } else {
                a = x;
            }
            break;
        }
    }
    return SECCOMP_RET_KILL_PROCESS; /* the kernel takes no such program */
}

/* What is not known to let a thread go on kills it, as the kernel has it. A program may survive
 * SECCOMP_RET_TRAP; but it would find a call that it never made. */
static bool
goes_on(const struct filter *filter, const struct seccomp_data *data)
{
    switch (ns_seccomp_run(filter->program, filter->count, data) & SECCOMP_RET_ACTION_FULL) {
    case SECCOMP_RET_ERRNO:
    case SECCOMP_RET_USER_NOTIF:
    case SECCOMP_RET_TRACE:
    case SECCOMP_RET_LOG:
    case SECCOMP_RET_ALLOW:
        return true;
    default:
        return false;
    }
}

bool
ns_seccomp_allows(long number, const uint64_t arguments[static 6])
{
    const struct filter *filter = __atomic_load_n(&filters, __ATOMIC_ACQUIRE);
    if (first_seen == 0) {
        first_seen = 1 + __atomic_load_n(&filter_count, __ATOMIC_ACQUIRE);
    }
    if (__atomic_load_n(&closed, __ATOMIC_RELAXED)) {
        return false;
    }
    struct seccomp_data data = {.nr = (int)number, .arch = ARCHITECTURE};
    memcpy(data.args, arguments, sizeof data.args);
    for (; filter != NULL; filter = filter->next) {
        bool mine =
            filter->everywhere || filter->thread == &first_seen || filter->serial < first_seen;
        if (mine && !goes_on(filter, &data)) {
            return false;
        }
    }
    return true;
}

/* --- keeping them -------------------------------------------------------------------------------
 */

/* Memory for any filter, taken before the filter forbids it; pages count only once touched. */
static struct filter *
make_room(void)
{
    void *pages = mmap(NULL, sizeof(struct filter) + BPF_MAXINSNS * sizeof(struct sock_filter),
                       PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return pages == MAP_FAILED ? NULL : pages;
}

static void
give_back(struct filter *filter)
{
    if (filter != NULL) {
        munmap(filter, sizeof(struct filter) + BPF_MAXINSNS * sizeof(struct sock_filter));
    }
}

/* The kernel has read the program, so that it can be read here too. */
static void
keep(struct filter *filter, const struct sock_fprog *program, bool everywhere)
{
    if (first_seen == 0) {
        first_seen = 1 + __atomic_load_n(&filter_count, __ATOMIC_ACQUIRE);
    }
    if (filter == NULL || program->len > BPF_MAXINSNS) {
        __atomic_store_n(&closed, true, __ATOMIC_RELAXED);
        return;
    }
    filter->thread = &first_seen;
    filter->everywhere = everywhere;
    filter->count = program->len;
    memcpy(filter->program, program->filter, program->len * sizeof(struct sock_filter));
    filter->serial = __atomic_add_fetch(&filter_count, 1, __ATOMIC_ACQ_REL);
    filter->next = __atomic_load_n(&filters, __ATOMIC_ACQUIRE);
    while (!__atomic_compare_exchange_n(&filters, &filter->next, filter, false, __ATOMIC_ACQ_REL,
                                        __ATOMIC_ACQUIRE)) {
    }
}

/* --- where they come from -----------------------------------------------------------------------
 */

/* A filter on its way to the kernel. */
struct installation {
    const struct sock_fprog *program;
    bool everywhere;
    bool gives_descriptor;
    bool borrowed; /* by a child of vfork, which is about to become another program */
    struct filter *room;
};

static void
prepare(struct installation *installation)
{
    int saved = errno;
    installation->borrowed = ns_process_is_borrowed();
    installation->room = installation->borrowed ? NULL : make_room();
    errno = saved;
}

static void
conclude(const struct installation *installation, long result)
{
    int saved = errno;
    bool installed = result == 0 || (result > 0 && installation->gives_descriptor);
    if (!installed) {
        give_back(installation->room);
    } else if (!installation->borrowed) {
        keep(installation->room, installation->program, installation->everywhere);
    }
    errno = saved;
}

/* Whoever comes next with this name, libc as a rule; NULL before the constructor has looked. */
typedef long (*caller)(long, ...);
__attribute__((visibility("hidden"), used)) caller ns_seccomp_next;

__attribute__((constructor)) static void
find_next_caller(void)
{
    void *function = ns_elf_next("syscall");
    memcpy(&ns_seccomp_next, &function, sizeof ns_seccomp_next);
}

typedef int (*controller)(int, unsigned long, unsigned long, unsigned long, unsigned long);

NS_HOOK int
prctl(int option, ...)
{
    static controller next;
    unsigned long words[4];
    va_list list;
    va_start(list, option);
    for (size_t i = 0; i < 4; i++) {
        words[i] = va_arg(list, unsigned long);
    }
    va_end(list);
    controller found = __atomic_load_n(&next, __ATOMIC_ACQUIRE);
    if (found == NULL) {
        void *function = ns_elf_next("prctl");
        memcpy(&found, &function, sizeof found);
        __atomic_store_n(&next, found, __ATOMIC_RELEASE);
    }
    if (found == NULL) {
        errno = ENOSYS;
        return -1;
    }
    if (option != PR_SET_SECCOMP || words[0] != SECCOMP_MODE_FILTER) {
        return found(option, words[0], words[1], words[2], words[3]);
    }
    struct installation installation = {0};
    memcpy(&installation.program, &words[1], sizeof words[1]);
    prepare(&installation);
    int result = found(option, words[0], words[1], words[2], words[3]);
    conclude(&installation, result);
    return result;
}

/* syscall(3) with one of the numbers that are looked at: as libc's, but for what it leaves here. */
__attribute__((visibility("hidden"), used)) long
ns_seccomp_syscall(long number, unsigned long a, unsigned long b, unsigned long c, unsigned long d,
                   unsigned long e);
long
ns_seccomp_syscall(long number, unsigned long a, unsigned long b, unsigned long c, unsigned long d,
                   unsigned long e)
{
    if (ns_seccomp_next == NULL) {
        find_next_caller();
    }
    caller next = ns_seccomp_next;
    if (next == NULL) {
        errno = ENOSYS;
        return -1;
    }
    struct installation installation = {0};
    unsigned operation = (unsigned)a; /* of 32 bits, as the kernel has it */
    if (number == SYS_seccomp && operation == SECCOMP_SET_MODE_FILTER) {
        installation.everywhere = (b & SECCOMP_FILTER_FLAG_TSYNC) != 0;
        installation.gives_descriptor = (b & SECCOMP_FILTER_FLAG_NEW_LISTENER) != 0;
    } else if (number != SYS_prctl || operation != PR_SET_SECCOMP || b != SECCOMP_MODE_FILTER) {
        return next(number, a, b, c, d, e);
    }
    memcpy(&installation.program, &c, sizeof c);
    prepare(&installation);
    long result = next(number, a, b, c, d, e);
    conclude(&installation, result);
    return result;
}

__attribute__((visibility("hidden"), used)) long ns_seccomp_failed(long result);
long
ns_seccomp_failed(long result)
{
    errno = (int)-result;
    return -1;
}

/* All other numbers are handed on by a jump, for it may be anything, vfork included, so nothing of
 * it may stand on the stack. Before it is known to whom, they go to the kernel from here, as libc's
 * own syscall has it. */
#if defined(__x86_64__)
_Static_assert(SYS_seccomp == 317 && SYS_prctl == 157, "as below");
__asm__(".text\n"
        ".globl syscall\n"
        ".type syscall, @function\n"
        "syscall:\n"
        "    .cfi_startproc\n"
        "    endbr64\n"
        "    cmpq $317, %rdi\n"
        "    je ns_seccomp_syscall\n"
        "    cmpq $157, %rdi\n"
        "    je ns_seccomp_syscall\n"
        "    movq ns_seccomp_next(%rip), %rax\n"
        "    testq %rax, %rax\n"
        "    jz 2f\n"
        "    jmp *%rax\n"
        "2:  movq %rdi, %rax\n"
        "    movq %rsi, %rdi\n"
        "    movq %rdx, %rsi\n"
        "    movq %rcx, %rdx\n"
        "    movq %r8, %r10\n"
        "    movq %r9, %r8\n"
        "    movq 8(%rsp), %r9\n"
        "    syscall\n"
        "    cmpq $-4095, %rax\n"
        "    jae 1f\n"
        "    ret\n"
        "1:  movq %rax, %rdi\n"
        "    jmp ns_seccomp_failed\n"
        "    .cfi_endproc\n"
        ".size syscall, .-syscall\n");
#else
_Static_assert(SYS_seccomp == 277 && SYS_prctl == 167, "as below");
__asm__(".text\n"
        ".globl syscall\n"
        ".type syscall, %function\n"
        "syscall:\n"
        "    .cfi_startproc\n"
        "    cmp x0, #277\n"
        "    b.eq ns_seccomp_syscall\n"
        "    cmp x0, #167\n"
        "    b.eq ns_seccomp_syscall\n"
        "    adrp x16, ns_seccomp_next\n"
        "    ldr x16, [x16, #:lo12:ns_seccomp_next]\n"
        "    cbz x16, 2f\n"
        "    br x16\n"
        "2:  uxtw x8, w0\n"
        "    mov x0, x1\n"
        "    mov x1, x2\n"
        "    mov x2, x3\n"
        "    mov x3, x4\n"
        "    mov x4, x5\n"
        "    mov x5, x6\n"
        "    svc 0\n"
        "    cmn x0, #4095\n"
        "    b.cs ns_seccomp_failed\n"
        "    ret\n"
        "    .cfi_endproc\n"
        ".size syscall, .-syscall\n");
#endif
