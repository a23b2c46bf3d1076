/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shim/spool.h"
#include "tests/harness.h"

#define ENDPOINT "ipc:///a"

static char place[64];
static char text[64 << 10]; /* messages that were posted, one after the other */
static size_t text_bytes;
static int sent;
static int settled;
static int fail_send_at;
static int fail_settle;
static int batches_left;

static int
post_send(void *context, const void *message, size_t bytes)
{
    (void)context;
    if (++sent == fail_send_at) {
        return -ECONNRESET;
    }
    if (text_bytes + bytes < sizeof text) {
        memcpy(text + text_bytes, message, bytes);
        text_bytes += bytes;
    }
    return 0;
}

static int
post_settle(void *context)
{
    (void)context;
    settled++;
    return fail_settle;
}

static bool
post_go_on(void *context)
{
    (void)context;
    return batches_left-- > 0;
}

static int
post(void)
{
    struct ns_spool_poster poster = {NULL, post_send, post_settle, post_go_on};
    text_bytes = 0;
    sent = 0;
    return ns_spool_post(place, ENDPOINT, &poster);
}

static void
start(void)
{
    memcpy(place, "/tmp/nullspend-spool-XXXXXX", sizeof "/tmp/nullspend-spool-XXXXXX");
    if (mkdtemp(place) == NULL) {
        NS_FAIL("no temporary directory");
    }
    fail_send_at = 0;
    fail_settle = 0;
    batches_left = 1000;
}

static void
end(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", place);
    if (system(command) != 0) {
        NS_FAIL("%s stays", place);
    }
}

/* Runs a shell command with the place as its directory. */
static int
shell(const char *what)
{
    char command[256];
    snprintf(command, sizeof command, "cd '%s' && %s", place, what);
    return system(command);
}

TEST(what_was_spooled_is_posted_in_order_and_removed)
{
    start();
    CHECK_INT(ns_spool_append(place, ENDPOINT, "one", 3), 0);
    CHECK_INT(ns_spool_append(place, ENDPOINT, "two", 3), 0);
    CHECK_INT(ns_spool_append(place, "ipc:///other", "other", 5), 0);
    CHECK_INT(shell("test $(ls | wc -l) = 2"), 0);
    CHECK_INT(shell("test -z \"$(find . -type f ! -perm 600)\""), 0);
    CHECK_INT(post(), 0);
    CHECK_INT(text_bytes, 6);
    CHECK(memcmp(text, "onetwo", 6) == 0);
    CHECK_INT(shell("test $(ls | wc -l) = 1"), 0);
    CHECK_INT(post(), 0);
    CHECK_INT(sent, 0);
    CHECK_INT(ns_spool_append(place, ENDPOINT, "three", 5), 0);
    CHECK_INT(post(), 0);
    CHECK_INT(text_bytes, 5);
    end();
}

TEST(directories_are_made_and_what_cannot_be_written_is_an_error)
{
    start();
    char below[128];
    snprintf(below, sizeof below, "%s/a/b", place);
    CHECK_INT(ns_spool_append(below, ENDPOINT, "x", 1), 0);
    CHECK_INT(shell("test $(stat -c %a a) = 700"), 0);
    CHECK_INT(ns_spool_append("/proc/nowhere", ENDPOINT, "x", 1), -ENOENT);
    CHECK_INT(ns_spool_append("", ENDPOINT, "x", 1), -ENOENT);
    end();
}

TEST(a_file_that_somebody_holds_is_left_to_him)
{
    start();
    CHECK_INT(ns_spool_append(place, ENDPOINT, "held", 4), 0);
    char command[128];
    snprintf(command, sizeof command, "ls %s", place);
    FILE *list = popen(command, "r");
    char name[128] = "";
    REQUIRE(list != NULL && fgets(name, sizeof name, list) != NULL);
    pclose(list);
    name[strcspn(name, "\n")] = '\0';
    char path[256];
    snprintf(path, sizeof path, "%s/%s", place, name);
    int fd = open(path, O_RDONLY);
    REQUIRE(fd >= 0 && flock(fd, LOCK_EX) == 0);
    CHECK_INT(post(), 0);
    CHECK_INT(sent, 0);
    /* And who wants to write makes another. */
    CHECK_INT(ns_spool_append(place, ENDPOINT, "mine", 4), 0);
    CHECK_INT(post(), 0);
    CHECK_INT(text_bytes, 4);
    close(fd);
    CHECK_INT(post(), 0);
    CHECK(memcmp(text, "held", 4) == 0);
    end();
}

TEST(what_was_not_acknowledged_stays)
{
    start();
    for (int i = 0; i < NS_SPOOL_BATCH + 100; i++) {
        CHECK_INT(ns_spool_append(place, ENDPOINT, "x", 1), 0);
    }
    fail_send_at = 1;
    CHECK_INT(post(), -ECONNRESET);
    fail_send_at = 0;
    fail_settle = -ETIMEDOUT;
    CHECK_INT(post(), -ETIMEDOUT);
    fail_settle = 0;
    batches_left = 1;
    CHECK_INT(post(), -EAGAIN);
    CHECK_INT(text_bytes, NS_SPOOL_BATCH);
    batches_left = 100;
    CHECK_INT(post(), 0);
    CHECK_INT(text_bytes, 100);
    CHECK_INT(shell("test $(ls | wc -l) = 0"), 0);
    end();
}

TEST(damage_is_set_aside_after_what_stands_before_it)
{
    start();
    CHECK_INT(ns_spool_append(place, ENDPOINT, "whole", 5), 0);
    CHECK_INT(ns_spool_append(place, ENDPOINT, "broken", 6), 0);
    CHECK_INT(shell("for f in *; do truncate -s -1 $f; done"), 0);
    CHECK_INT(post(), 0);
    CHECK_INT(text_bytes, 5);
    CHECK_INT(shell("ls *.damage > /dev/null && ! ls *.spool 2> /dev/null"), 0);
    CHECK_INT(shell("rm -f *"), 0);
    CHECK_INT(ns_spool_append(place, ENDPOINT, "abc", 3), 0);
    CHECK_INT(shell("for f in *; do printf garbage | dd of=$f conv=notrunc status=none; done"), 0);
    CHECK_INT(post(), 0);
    CHECK_INT(sent, 0);
    CHECK_INT(shell("ls *.damage > /dev/null"), 0);
    end();
}

TEST(what_one_file_does_not_take_goes_into_the_next)
{
    start();
    static char large[30000];
    int one_file = (NS_SPOOL_FILE_BYTES_MAX - 16) / (30000 + 8);
    for (int i = 0; i < one_file; i++) {
        CHECK_INT(ns_spool_append(place, ENDPOINT, large, sizeof large), 0);
    }
    CHECK_INT(shell("test $(ls | wc -l) = 1"), 0);
    CHECK_INT(ns_spool_append(place, ENDPOINT, large, sizeof large), 0);
    CHECK_INT(shell("test $(ls | wc -l) = 2"), 0);
    batches_left = 1000;
    CHECK_INT(post(), 0);
    CHECK_INT(sent, one_file + 1);
    CHECK_INT(shell("test $(ls | wc -l) = 0"), 0);
    end();
}

TEST(a_file_whose_beginning_could_not_be_written_is_begun_again)
{
    start();
    CHECK_INT(ns_spool_append(place, ENDPOINT, "abc", 3), 0);
    CHECK_INT(shell("for f in *; do truncate -s 5 $f; done"), 0);
    CHECK_INT(ns_spool_append(place, ENDPOINT, "def", 3), 0);
    CHECK_INT(shell("test $(ls | wc -l) = 1"), 0);
    CHECK_INT(post(), 0);
    CHECK_INT(text_bytes, 3);
    CHECK_INT(memcmp(text, "def", 3), 0);
    CHECK_INT(ns_spool_append(place, ENDPOINT, "abc", 3), 0);
    CHECK_INT(shell("for f in *; do truncate -s 0 $f; done"), 0);
    CHECK_INT(post(), 0);
    CHECK_INT(sent, 0);
    CHECK_INT(shell("test $(ls | wc -l) = 0"), 0);
    end();
}
