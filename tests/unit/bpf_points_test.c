/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/harness.h"

#if defined(__x86_64__)
#include "bpf/points.h"

#define AT 0x1000
#define SHARED 0x4000

/* Where the probe of a function of these bytes goes, from its entry; -1: nowhere cheap. */
static int
point(const void *code, size_t bytes)
{
    struct ns_function function = {code, bytes, AT};
    bool cheap;
    uint64_t address = ns_point_of_entry(&function, &cheap);
    CHECK(cheap || address == AT);
    return cheap ? (int)(address - AT) : -1;
}
#define POINT(text) point(text, sizeof(text) - 1)

TEST(the_entry_is_cheap_where_the_kernel_emulates_it)
{
    CHECK_INT(POINT("\x55\xc3"), 0);                     /* push %rbp */
    CHECK_INT(POINT("\x50\xc3"), 0);                     /* push %rax */
    CHECK_INT(POINT("\x41\x57\xc3"), 0);                 /* push %r15 */
    CHECK_INT(POINT("\x90\xc3"), 0);                     /* nop */
    CHECK_INT(POINT("\xe8\x00\x01\x00\x00\xc3"), 0);     /* call */
    CHECK_INT(POINT("\xe9\x00\x01\x00\x00\xc3"), 0);     /* jmp, near */
    CHECK_INT(POINT("\xeb\x10\xc3"), 0);                 /* jmp, short */
    CHECK_INT(POINT("\x74\x10\xc3"), 0);                 /* je, short */
    CHECK_INT(POINT("\x0f\x8f\x00\x01\x00\x00\xc3"), 0); /* jg, near */
}

TEST(the_entry_is_dear_where_the_kernel_steps_through_it)
{
    CHECK_INT(POINT("\x48\x83\xec\x18\x55\xc3"), -1);     /* sub $0x18,%rsp */
    CHECK_INT(POINT("\x48\x89\xfb\x55\xc3"), -1);         /* mov %rdi,%rbx */
    CHECK_INT(POINT("\x48\x55\xc3"), -1);                 /* push with another REX */
    CHECK_INT(POINT("\x66\x55\xc3"), -1);                 /* push %bp */
    CHECK_INT(POINT("\x41\x90\xc3"), -1);                 /* xchg %eax,%r8d */
    CHECK_INT(POINT("\x66\xe9\x00\x01\x00\x00\xc3"), -1); /* refused by the kernel */
    CHECK_INT(POINT("\xf2\xe9\x00\x01\x00\x00\xc3"), -1); /* bnd jmp */
    CHECK_INT(POINT("\x6a\x01\xc3"), -1);                 /* push $1 */
    CHECK_INT(POINT("\xff\x77\x08\xc3"), -1);             /* push 8(%rdi) */
    CHECK_INT(POINT("\xff\xe0"), -1);                     /* jmp *%rax */
    CHECK_INT(POINT("\xe3\x10\xc3"), -1);                 /* jrcxz */
    CHECK_INT(POINT("\xc3"), -1);                         /* ret */
    CHECK_INT(POINT("\x06\x55\xc3"), -1);                 /* no instruction */
    CHECK_INT(POINT("\xe8\x00\x01"), -1);                 /* cut short */
    CHECK_INT(POINT(""), -1);
}

TEST(what_changes_nothing_is_passed_over)
{
    CHECK_INT(POINT("\xf3\x0f\x1e\xfa\x55\xc3"), 4);                     /* endbr64 */
    CHECK_INT(POINT("\xf3\x0f\x1e\xfa\x41\x54\xc3"), 4);                 /* and push %r12 */
    CHECK_INT(POINT("\x66\x90\x55\xc3"), 2);                             /* nop of two bytes */
    CHECK_INT(POINT("\x0f\x1f\x44\x00\x00\x55\xc3"), 5);                 /* nop of five */
    CHECK_INT(POINT("\xf3\x0f\x1e\xfa\x0f\x1f\x44\x00\x00\x55\xc3"), 9); /* both */
    CHECK_INT(POINT("\xf3\x0f\x1e\xfa\x90\x55\xc3"), 4);                 /* the nop itself */
    CHECK_INT(POINT("\xf3\x0f\x1e\xfa\x48\x83\xec\x08\x55\xc3"), -1);
    CHECK_INT(POINT("\xf3\x0f\x1e\xfa"), -1);
    CHECK_INT(POINT("\x31\xc0\x55\xc3"), -1); /* xor %eax,%eax: it may be an argument */
}

TEST(a_point_behind_the_entry_is_none_where_the_function_comes_back_to_it)
{
    /* endbr64; push %rax; jmp to the push, to the entry, to behind it */
    CHECK_INT(POINT("\xf3\x0f\x1e\xfa\x50\xeb\xfd"), -1);
    CHECK_INT(POINT("\xf3\x0f\x1e\xfa\x50\xeb\xf9"), 4);
    CHECK_INT(POINT("\xf3\x0f\x1e\xfa\x50\x90\xeb\xfd"), 4);
}

/* --- a function that two share -------------------------------------------------------------- */

/* Code that is put together of pieces; a call's distance is filled in. */
struct text {
    uint8_t bytes[128];
    size_t count;
};

static void
put(struct text *text, const char *bytes, size_t count)
{
    memcpy(text->bytes + text->count, bytes, count);
    text->count += count;
}
#define PUT(text, bytes) put(text, bytes, sizeof(bytes) - 1)

/* call or jmp, from a function at `at`, to `target` */
static void
put_branch(struct text *text, uint8_t code, uint64_t at, uint64_t target)
{
    int32_t distance = (int32_t)(target - (at + text->count + 5));
    text->bytes[text->count++] = code;
    memcpy(text->bytes + text->count, &distance, sizeof distance);
    text->count += sizeof distance;
}

#define TELLING 0x2000

#define TO_STACK "\x48\x89\xe1"           /* mov %rsp,%rcx */
#define TO_STACK_8 "\x48\x8d\x4c\x24\x08" /* lea 8(%rsp),%rcx */
#define WIDEN "\x48\x63\xd2"              /* movslq %edx,%rdx */
#define ROOM "\x48\x83\xec\x18"           /* sub $0x18,%rsp */
#define RESULT "\x8b\x04\x24"             /* mov (%rsp),%eax */
#define LEAVE "\x48\x83\xc4\x18\xc3"      /* add $0x18,%rsp; ret */

/* A plain function: `before` the call of the shared one, and `after` it. */
static struct text
plain_text(const char *before, size_t before_bytes, const char *after, size_t after_bytes)
{
    struct text text = {0};
    put(&text, before, before_bytes);
    put_branch(&text, 0xe8, AT, SHARED);
    put(&text, after, after_bytes);
    return text;
}

static struct text
telling_text(const char *before, size_t bytes)
{
    struct text text = {0};
    put(&text, before, bytes);
    put_branch(&text, 0xe8, TELLING, SHARED);
    PUT(&text, "\x48\x83\xc4\x08\xc3");
    return text;
}

static bool
shares(const struct text *plain, const struct text *telling)
{
    struct ns_function first = {plain->bytes, plain->count, AT};
    struct ns_function second = {telling->bytes, telling->count, TELLING};
    uint64_t shared = 0;
    bool does = ns_point_shared(&first, &second, &shared);
    CHECK(!does || shared == SHARED);
    return does;
}

/* Does a plain function of this kind share it with one of the usual kind? */
static bool
plain_shares(const char *before, size_t before_bytes, const char *after, size_t after_bytes)
{
    struct text plain = plain_text(before, before_bytes, after, after_bytes);
    struct text telling = telling_text("\x48\x83\xec\x08", 4);
    return shares(&plain, &telling);
}
#define PLAIN_SHARES(before, after)                                                                \
    plain_shares(before, sizeof(before) - 1, after, sizeof(after) - 1)

TEST(the_function_that_both_call_is_found)
{
    CHECK(PLAIN_SHARES(ROOM TO_STACK WIDEN, RESULT LEAVE));
    CHECK(PLAIN_SHARES(ROOM WIDEN TO_STACK, RESULT LEAVE));
    CHECK(PLAIN_SHARES("\xf3\x0f\x1e\xfa" ROOM WIDEN TO_STACK, RESULT LEAVE));
    CHECK(PLAIN_SHARES("\x53" ROOM "\x48\x89\xfb" WIDEN TO_STACK, RESULT LEAVE)); /* keeps rdi */
    CHECK(PLAIN_SHARES(ROOM WIDEN TO_STACK_8, "\x8b\x44\x24\x08" LEAVE));
    /* the canary, and a count below zero that leaves: as Debian's */
    CHECK(PLAIN_SHARES(ROOM "\x64\x48\x8b\x04\x25\x28\x00\x00\x00\x48\x89\x44\x24\x08\x31\xc0"
                            "\x85\xd2\x78\x2f" TO_STACK WIDEN,
                       "\x85\xc0\x7e\x03" RESULT LEAVE));
}

TEST(a_function_that_is_called_otherwise_is_not_shared)
{
    CHECK(!PLAIN_SHARES(ROOM TO_STACK, RESULT LEAVE)); /* the count as it came */
    CHECK(!PLAIN_SHARES(ROOM WIDEN, RESULT LEAVE));    /* nowhere to tell it */
    CHECK(!PLAIN_SHARES(ROOM WIDEN TO_STACK "\x48\x89\xfe", RESULT LEAVE)); /* mov %rdi,%rsi */
    CHECK(!PLAIN_SHARES(ROOM WIDEN TO_STACK "\x31\xff", RESULT LEAVE));     /* xor %edi,%edi */
    CHECK(!PLAIN_SHARES(ROOM WIDEN TO_STACK "\x40\xb7\x01", RESULT LEAVE)); /* mov $1,%dil */
    CHECK(!PLAIN_SHARES(ROOM WIDEN TO_STACK "\x48\x87\xf0", RESULT LEAVE)); /* xchg %rsi,%rax */
    CHECK(!PLAIN_SHARES(ROOM WIDEN TO_STACK "\x5f", RESULT LEAVE));         /* pop %rdi */
    CHECK(!PLAIN_SHARES(ROOM WIDEN TO_STACK "\xff\xc2", RESULT LEAVE));     /* inc %edx */
    CHECK(!PLAIN_SHARES(ROOM WIDEN TO_STACK "\x48\x99", RESULT LEAVE));     /* cqto: rdx */
    CHECK(!PLAIN_SHARES(ROOM WIDEN TO_STACK "\xa4", RESULT LEAVE));         /* movsb: rdi, rsi */
    CHECK(!PLAIN_SHARES(ROOM WIDEN TO_STACK "\x31\xc9", RESULT LEAVE));     /* xor %ecx,%ecx */
    CHECK(!PLAIN_SHARES(ROOM WIDEN "\x48\x89\xf9", RESULT LEAVE));          /* mov %rdi,%rcx */
    CHECK(!PLAIN_SHARES(ROOM WIDEN TO_STACK "\x50", RESULT LEAVE));     /* the stack goes further */
    CHECK(!PLAIN_SHARES(ROOM WIDEN TO_STACK "\x0f\x05", RESULT LEAVE)); /* syscall */
    CHECK(!PLAIN_SHARES(ROOM WIDEN TO_STACK "\xcc", RESULT LEAVE));     /* int3 */
    CHECK(!PLAIN_SHARES(ROOM WIDEN TO_STACK "\x06", RESULT LEAVE));     /* no instruction */
    CHECK(!PLAIN_SHARES(ROOM WIDEN TO_STACK, LEAVE)); /* the result is not taken from there */
    CHECK(!PLAIN_SHARES(ROOM WIDEN TO_STACK_8, RESULT LEAVE));
}

TEST(other_ways_through_a_function_make_it_its_own)
{
    /* other branches than that of a count below zero; that of another comparison */
    CHECK(!PLAIN_SHARES(ROOM "\x85\xd2\x74\x40" WIDEN TO_STACK, RESULT LEAVE));
    CHECK(!PLAIN_SHARES(ROOM "\x78\x40" WIDEN TO_STACK, RESULT LEAVE));
    CHECK(!PLAIN_SHARES(ROOM "\x85\xf6\x78\x40" WIDEN TO_STACK, RESULT LEAVE));
    CHECK(!PLAIN_SHARES(ROOM "\x85\xd2\x31\xc0\x78\x40" WIDEN TO_STACK, RESULT LEAVE));
    CHECK(!PLAIN_SHARES(ROOM "\xeb\x00" WIDEN TO_STACK, RESULT LEAVE));
    /* it comes back to the call with who knows what; jumps and calls of addresses that it makes */
    CHECK(!PLAIN_SHARES(ROOM WIDEN TO_STACK, RESULT "\x75\xf6" LEAVE));
    CHECK(!PLAIN_SHARES(ROOM WIDEN TO_STACK, RESULT "\xff\xd0" LEAVE));
    CHECK(!PLAIN_SHARES(ROOM WIDEN TO_STACK, RESULT "\xff\xe0"));
    CHECK(!PLAIN_SHARES(ROOM WIDEN TO_STACK, RESULT LEAVE "\x06"));
}

TEST(both_call_it_once_with_what_they_were_called_with)
{
    struct text plain = plain_text(ROOM WIDEN TO_STACK, 10, RESULT LEAVE, 8);
    struct text twice = plain;
    put_branch(&twice, 0xe8, AT, SHARED);
    struct text goes_on = plain;
    put_branch(&goes_on, 0xe9, AT, SHARED);
    struct text other = plain;
    put_branch(&other, 0xe8, AT, SHARED + 16);
    struct text telling = telling_text("\x48\x83\xec\x08", 4);
    CHECK(shares(&plain, &telling));
    CHECK(shares(&other, &telling));
    CHECK(!shares(&twice, &telling));
    CHECK(!shares(&goes_on, &telling));
    struct text changed = telling_text("\x48\x89\xe1", 3); /* mov %rsp,%rcx */
    CHECK(!shares(&plain, &changed));
    changed = telling_text("\x48\x63\xd2", 3); /* movslq %edx,%rdx */
    CHECK(!shares(&plain, &changed));
    changed = telling_text("\x85\xd2\x78\x40", 4); /* a way of its own */
    CHECK(!shares(&plain, &changed));
    changed = telling;
    put_branch(&changed, 0xe8, TELLING, SHARED);
    CHECK(!shares(&plain, &changed));
    struct text elsewhere = {0};
    put_branch(&elsewhere, 0xe8, TELLING, SHARED + 16);
    PUT(&elsewhere, "\xc3");
    CHECK(!shares(&plain, &elsewhere));
    put_branch(&elsewhere, 0xe8, TELLING, SHARED); /* first another one */
    CHECK(!shares(&plain, &elsewhere));
    struct text jumps = {0}; /* the return of what it jumps to is its own */
    put_branch(&jumps, 0xe9, TELLING, SHARED);
    CHECK(!shares(&plain, &jumps));
    struct text cut = {.count = plain.count - 9};
    memcpy(cut.bytes, plain.bytes, cut.count);
    CHECK(!shares(&cut, &telling));
}
#endif
