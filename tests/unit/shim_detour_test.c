/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/harness.h"

#if defined(__x86_64__)
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "shim/detour_move.h"

#define CODE_BYTES 4096

static struct ns_zydis zydis;
static uint8_t *code; /* executable and writable: this is a test */

static void
open_all(void)
{
    if (code != NULL) {
        return;
    }
    char name[64];
    snprintf(name, sizeof name, "libZydis.so.%u.%u", (unsigned)ZYDIS_VERSION_MAJOR(ZYDIS_VERSION),
             (unsigned)ZYDIS_VERSION_MINOR(ZYDIS_VERSION));
    void *library = dlopen(name, RTLD_NOW);
    CHECK(library != NULL);
    *(void **)&zydis.decoder_init = dlsym(library, "ZydisDecoderInit");
    *(void **)&zydis.decode = dlsym(library, "ZydisDecoderDecodeFull");
    CHECK(ZYAN_SUCCESS(
        zydis.decoder_init(&zydis.decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)));
    code = mmap(NULL, CODE_BYTES, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
                -1, 0);
    CHECK(code != MAP_FAILED);
}

static uintptr_t entry;

/* Moves the beginning of a function of these bytes to code + 1024. */
static enum ns_detour_refusal
move(const void *bytes, size_t count)
{
    open_all();
    size_t moved = 0;
    memset(code, 0xcc, CODE_BYTES);
    memcpy(code, bytes, count);
    return ns_detour_move(&zydis, code, count, (uintptr_t)code, code + 1024,
                          (uintptr_t)(code + 1024), &entry, &moved);
}
#define MOVE(text) move(text, sizeof(text) - 1)

/* Patches the original to end in a trap and calls the moved one. */
static long
call(long first)
{
    memset((void *)entry, 0xcc, NS_DETOUR_JUMP_BYTES);
    long (*function)(long);
    uint8_t *moved = code + 1024;
    memcpy(&function, &moved, sizeof function);
    return function(first);
}

TEST(moved_instructions_do_what_they_did)
{
    /* lea 7(%rdi),%rax; add $1,%rax; ret */
    CHECK_INT(MOVE("\x48\x8d\x47\x07\x48\x83\xc0\x01\xc3"), NS_DETOUR_MOVED);
    CHECK_INT(entry, (uintptr_t)code);
    CHECK_INT(call(30), 38);
    /* the same behind endbr64, which stays where it is */
    CHECK_INT(MOVE("\xf3\x0f\x1e\xfa\x48\x8d\x47\x07\x48\x83\xc0\x01\xc3"), NS_DETOUR_MOVED);
    CHECK_INT(entry, (uintptr_t)code + 4);
    CHECK_INT(call(30), 38);
}

TEST(distances_are_written_anew)
{
    /* mov 2(%rip),%eax; ret; nop; .long 0x1234 */
    CHECK_INT(MOVE("\x8b\x05\x02\x00\x00\x00\xc3\x90\x34\x12\x00\x00\xc3"), NS_DETOUR_MOVED);
    CHECK_INT(call(0), 0x1234);
    /* test %rdi,%rdi; je 1f; mov $1,%eax; ret; 1: mov $2,%eax; ret */
    const char branch[] = "\x48\x85\xff\x74\x06\xb8\x01\x00\x00\x00\xc3\xb8\x02\x00\x00\x00\xc3";
    CHECK_INT(move(branch, sizeof branch - 1), NS_DETOUR_MOVED);
    CHECK_INT(call(5), 1);
    CHECK_INT(call(0), 2);
    /* jmp 1f; nop; 1: mov $3,%eax; ret: a jump of its own is the end of what is moved */
    CHECK_INT(MOVE("\xe9\x01\x00\x00\x00\x90\xb8\x03\x00\x00\x00\xc3"), NS_DETOUR_MOVED);
    CHECK_INT(call(0), 3);
    /* call 1f; add $1,%eax; ret; 1: mov $4,%eax; ret */
    CHECK_INT(MOVE("\xe8\x04\x00\x00\x00\x83\xc0\x01\xc3\xb8\x04\x00\x00\x00\xc3"),
              NS_DETOUR_MOVED);
    CHECK_INT(call(0), 5);
}

TEST(what_cannot_be_moved_is_refused)
{
    CHECK_INT(MOVE("\x31\xc0\xc3"), NS_DETOUR_SHORT);     /* shorter than the jump */
    CHECK_INT(MOVE("\x31\xc0\x90\xc3"), NS_DETOUR_SHORT); /* by one byte */
    CHECK_INT(MOVE("\xf3\x0f\x1e\xfa\x31\xc0\x90\xc3"), NS_DETOUR_SHORT); /* endbr64 counts not */
    CHECK_INT(MOVE("\x31\xc0\xc3\x90\x90\x90"), NS_DETOUR_SHORT);         /* it ends before */
    CHECK_INT(MOVE("\xcc\x90\x90\x90\x90\x90\xc3"), NS_DETOUR_UNDECODED); /* a breakpoint */
    CHECK_INT(MOVE("\x90\x90\x90\x90\x90\x06\xc3"), NS_DETOUR_UNDECODED); /* no instruction */
    CHECK_INT(MOVE("\xe3\x04\x90\x90\x90\x90\xc3"), NS_DETOUR_RELATIVE);  /* jrcxz */
    /* call *%rax, after which the jump's rest would run */
    CHECK_INT(MOVE("\xff\xd0\x90\x90\x90\x90\xc3"), NS_DETOUR_RELATIVE);
    /* 1: dec %edi; nop; nop; nop; jne back to the second instruction */
    CHECK_INT(MOVE("\xff\xcf\x90\x90\x90\x75\xfb\xc3"), NS_DETOUR_ENTERED);
    /* back to the function's own beginning is as good as a call of it */
    CHECK_INT(MOVE("\xff\xcf\x90\x90\x90\x75\xf9\xc3"), NS_DETOUR_MOVED);
}

TEST(what_is_too_far_is_refused)
{
    open_all();
    uint8_t to[NS_DETOUR_MOVED_BYTES_MAX];
    size_t moved;
    memcpy(code, "\x8b\x05\x02\x00\x00\x00\xc3", 7);
    CHECK_INT(ns_detour_move(&zydis, code, 7, (uintptr_t)code, to,
                             (uintptr_t)code + (UINT64_C(1) << 32), &entry, &moved),
              NS_DETOUR_FAR);
    uint8_t jump[NS_DETOUR_JUMP_BYTES];
    CHECK(ns_detour_jump(jump, 0x10000000, 0x10000000 + 5 + INT64_C(0x7fffffff)));
    CHECK(!ns_detour_jump(jump, 0x10000000, 0x10000000 + 5 + INT64_C(0x80000000)));
    CHECK(ns_detour_jump(jump, 0x100000000, 0x100000000 + 5 - INT64_C(0x80000000)));
    CHECK(!ns_detour_jump(jump, 0x100000000, 0x100000000 + 4 - INT64_C(0x80000000)));
}
#endif
