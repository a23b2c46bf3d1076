/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How deep the stack gets in a thread that makes calls:
 *
 *     depth STACK_BYTES CALLS
 *
 * The first connection of a thread with room enough and then CALLS calls on one connection, which
 * are measured from a word beyond which the stack was painted before. Prints "handshake A, calls
 * B", in bytes. With STACK_BYTES below 65536 the thread has a stack of that size, paints nothing,
 * and prints "done": or the program ends by SIGSEGV.
 */
#include "tests/programs/calls.h"

#include <pthread.h>
#include <sys/mman.h>

#define PAINT 0xa5
#define MEASURED_BYTES_MIN 65536

static struct contexts contexts;
static struct tls_pair pair;
static uint8_t *stack;
static size_t stack_bytes;
static long calls;

static void *
shake_hands(void *context)
{
    (void)context;
    return make_call(&pair) != FAILED ? &pair : NULL;
}

static void *
keep_calling(void *context)
{
    bool well = true;
    (void)context;
    for (long i = 0; i < calls; i++) {
        well = make_call(&pair) != FAILED && well;
    }
    return well ? &pair : NULL;
}

/* Runs it in a thread on the painted stack; returns how deep it went. */
static size_t
measure(void *(*run)(void *context))
{
    pthread_attr_t attributes;
    pthread_t thread;
    void *well = NULL;
    memset(stack, PAINT, stack_bytes);
    pthread_attr_init(&attributes);
    if (pthread_attr_setstack(&attributes, stack, stack_bytes) != 0 ||
        pthread_create(&thread, &attributes, run, NULL) != 0) {
        fputs("depth: no thread\n", stderr);
        exit(2);
    }
    pthread_join(thread, &well);
    if (well == NULL) {
        fputs("depth: a call failed\n", stderr);
        exit(1);
    }
    size_t untouched = 0;
    while (untouched < stack_bytes && stack[untouched] == PAINT) {
        untouched++;
    }
    return stack_bytes - untouched;
}

int
main(int count, char **words)
{
    stack_bytes = count == 3 ? strtoul(words[1], NULL, 10) : 0;
    calls = count == 3 ? strtol(words[2], NULL, 10) : 0;
    if (stack_bytes < 16384 || calls < 1) {
        fputs("usage: depth STACK_BYTES CALLS\n", stderr);
        return 2;
    }
    contexts = make_contexts();
    open_pair(&pair, &contexts);
    /* A page below it ends the program where it is too small. */
    uint8_t *pages =
        mmap(NULL, stack_bytes + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED || mprotect(pages, 4096, PROT_NONE) != 0) {
        return 2;
    }
    stack = pages + 4096;
    size_t handshake = stack_bytes < MEASURED_BYTES_MIN ? 0 : measure(shake_hands);
    if (handshake == 0) {
        (void)make_call(&pair);
    }
    size_t deepest = measure(keep_calling);
    printf("handshake %zu, calls %zu\n", handshake, deepest);
    return 0;
}
