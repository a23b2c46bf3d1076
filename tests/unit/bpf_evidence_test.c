/* SPDX-License-Identifier: Apache-2.0 */
#include "bpf/evidence.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/harness.h"

#define LIBRARIES 500

/* Maps so many files that the kernel tells of them in parts, a libssl last. */
static bool
map_libraries(const char *directory)
{
    long page = sysconf(_SC_PAGESIZE);
    char path[128];
    uint8_t *room =
        mmap(NULL, (size_t)(LIBRARIES * page), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bool mapped = room != MAP_FAILED;
    for (int i = 0; mapped && i < LIBRARIES; i++) {
        if (i < LIBRARIES - 1) {
            snprintf(path, sizeof path, "%s/libm-%d.so", directory, i);
        } else {
            snprintf(path, sizeof path, "%s/libssl.so.3", directory);
        }
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        mapped = fd >= 0 && ftruncate(fd, page) == 0 &&
                 mmap(room + i * page, (size_t)page, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, 0) !=
                     MAP_FAILED;
        close(fd);
        mapped = unlink(path) == 0 && mapped;
    }
    return mapped;
}

/* A child that has what its parent has, until it reads a byte. */
static pid_t
spawn(int *end)
{
    int ends[2];
    pid_t child = pipe(ends) == 0 ? fork() : -1;
    if (child == 0) {
        char byte;
        close(ends[1]);
        _exit(read(ends[0], &byte, 1) == 1 ? 0 : 1);
    }
    close(ends[0]);
    *end = ends[1];
    return child;
}

TEST(a_process_that_ends_meanwhile_is_not_half_looked_at)
{
    char directory[] = "/tmp/evidenceXXXXXX";
    struct ns_tls_evidence evidence;
    int end;
    REQUIRE(mkdtemp(directory) != NULL);
    bool mapped = map_libraries(directory);
    rmdir(directory);
    REQUIRE(mapped);
    ns_evidence_look((uint32_t)getpid(), &evidence);
    CHECK(evidence.looked && evidence.openssl);
    for (int i = 0; i < 400; i++) {
        pid_t child = spawn(&end);
        REQUIRE(child > 0);
        for (volatile int spin = 0; spin < i * 400; spin++) {
        }
        REQUIRE(write(end, "", 1) == 1);
        ns_evidence_look((uint32_t)child, &evidence);
        CHECK(!evidence.looked || evidence.openssl);
        close(end);
        CHECK(waitpid(child, NULL, 0) == child);
    }
    pid_t child = spawn(&end);
    REQUIRE(child > 0);
    ns_evidence_look((uint32_t)child, &evidence);
    CHECK(evidence.looked && evidence.openssl);
    close(end);
    CHECK(waitpid(child, NULL, 0) == child);
    ns_evidence_look((uint32_t)child, &evidence);
    CHECK(!evidence.looked);
}
