/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client that makes CALLS calls on one connection that is kept alive, and says what memory it has
 * after the first tenth and at the end:
 *
 *     soak CALLS
 *
 * Prints "calls N, rss A then B, mapped C then D", in KiB of /proc/self/smaps_rollup and
 * /proc/self/statm. Exit status 0 where every call was answered.
 */
#include "tests/programs/calls.h"

static long
field(const char *path, const char *name)
{
    char line[256];
    long kib = -1;
    FILE *file = fopen(path, "re");
    while (file != NULL && kib < 0 && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, name, strlen(name)) == 0) {
            kib = strtol(line + strlen(name), NULL, 10);
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return kib;
}

/* What belongs to this process alone: pages shared with others come and go. */
static long
private_kib(void)
{
    return field("/proc/self/smaps_rollup", "Anonymous:");
}

static long
mapped_kib(void)
{
    return field("/proc/self/statm", "") * 4;
}

int
main(int count, char **words)
{
    static struct tls_pair pair;
    long calls = count == 2 ? strtol(words[1], NULL, 10) : 0;
    if (calls < 10) {
        fputs("usage: soak CALLS\n", stderr);
        return 2;
    }
    struct contexts contexts = make_contexts();
    open_pair(&pair, &contexts);
    long answered = 0, private_before = 0, mapped_before = 0;
    for (long i = 0; i < calls; i++) {
        if (i == calls / 10) {
            private_before = private_kib();
            mapped_before = mapped_kib();
        }
        answered += make_call(&pair) == ANSWERED ? 1 : 0;
    }
    printf("calls %ld, anonymous %ld then %ld, mapped %ld then %ld\n", answered, private_before,
           private_kib(), mapped_before, mapped_kib());
    tls_pair_close(&pair);
    return answered == calls ? 0 : 1;
}
