/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where in a function a probe is cheap. x86-64.
 *
 * The kernel emulates a few instructions (branches, calls, push, nop) when it comes to a probe; any
 * other it lets the processor step through in a page of its own, which costs a second trap: some 14
 * us in a virtual machine, in place of some 0.4. So the instruction matters that a probe stands on.
 * What is not understood for certain is left where it was: at the entry. Pure, any thread.
 */
#ifndef NS_BPF_POINTS_H
#define NS_BPF_POINTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A function as its file has it. `bytes` from `code` on are its own, or where its length is
 * unknown, those that follow. */
struct ns_function {
    const uint8_t *code;
    size_t bytes;
    uint64_t address;
};

/* Where to probe the entry: everything that a function is called with, and [rsp] with where it
 * returns to, is there as at its first instruction. *cheap tells whether the kernel emulates what
 * stands there; where it is false, the address is the entry itself. */
uint64_t ns_point_of_entry(const struct ns_function *function, bool *cheap);

/*
 * Two functions of one kind, the plain one (connection, bytes, int count) and the one that tells a
 * count (connection, bytes, size_t count, size_t *done), call a third that does the work for both
 * and is called like the second. Fills *shared with its address where that is certain: each calls
 * it once, directly, on straight code on which the connection and the bytes stay where they came,
 * and the plain one makes no other way than that to refuse a count below zero. False otherwise.
 */
bool ns_point_shared(const struct ns_function *plain, const struct ns_function *telling,
                     uint64_t *shared);

#endif
