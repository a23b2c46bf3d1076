/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/harness.h"

struct ns_test *ns_tests_first;
struct ns_test **ns_tests_last = &ns_tests_first;
int ns_test_failures;
const char *ns_test_skipped;

static uint64_t random_state = 1;

void
ns_test_seed(uint64_t seed)
{
    random_state = seed;
}

/* splitmix64 (Sebastiano Vigna, public domain algorithm). */
uint64_t
ns_test_random(void)
{
    uint64_t z = (random_state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

char *
ns_test_read_file(const char *path, size_t *bytes)
{
    FILE *file = fopen(path, "rb");
    char *text = NULL;
    size_t used = 0, room = 0;
    if (file == NULL) {
        return NULL;
    }
    for (;;) {
        if (room - used < 2) {
            room = room ? room * 2 : 65536;
            char *larger = realloc(text, room);
            if (larger == NULL) {
                free(text);
                fclose(file);
                return NULL;
            }
            text = larger;
        }
        size_t n = fread(text + used, 1, room - used - 1, file);
        if (n == 0) {
            break;
        }
        used += n;
    }
    fclose(file);
    text[used] = '\0';
    if (bytes != NULL) {
        *bytes = used;
    }
    return text;
}

static bool
wanted(const char *name, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strstr(name, argv[i]) != NULL) {
            return true;
        }
    }
    return argc <= 1;
}

int
main(int argc, char **argv)
{
    const char *seed_text = getenv("NS_TEST_SEED");
    uint64_t seed = seed_text ? strtoull(seed_text, NULL, 0) : 1;
    int number = 0, failed = 0;
    for (struct ns_test *test = ns_tests_first; test != NULL; test = test->next) {
        if (!wanted(test->name, argc, argv)) {
            continue;
        }
        number++;
        ns_test_failures = 0;
        ns_test_skipped = NULL;
        ns_test_seed(seed);
        test->run();
        if (ns_test_failures > 0) {
            failed++;
            printf("# seed: NS_TEST_SEED=%" PRIu64 "\n", seed);
            printf("not ok %d - %s\n", number, test->name);
        } else if (ns_test_skipped != NULL) {
            printf("ok %d - %s # SKIP %s\n", number, test->name, ns_test_skipped);
        } else {
            printf("ok %d - %s\n", number, test->name);
        }
        fflush(stdout);
    }
    printf("1..%d\n", number);
    return failed == 0 ? 0 : 1;
}
