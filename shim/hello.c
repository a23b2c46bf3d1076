/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/hello.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "shim/tags.h"

#define PATH_BYTES 4096

static void
keep_clean(char *text)
{
    if (!ns_tags_clean(text, strlen(text), NS_NAME_BYTES_MAX)) {
        text[0] = '\0';
    }
}

void
ns_executable_name(const char *link, const char *otherwise, char name[static NS_NAME_BYTES_MAX + 1])
{
    char *path = ns_mem_alloc(PATH_BYTES);
    ssize_t bytes = path == NULL ? -1 : readlink(link, path, PATH_BYTES - 1);
    const char *base = NULL;
    if (bytes > 0) {
        path[bytes] = '\0';
        base = strrchr(path, '/');
    }
    base = base != NULL ? base + 1 : otherwise;
    size_t base_bytes = strnlen(base, NS_NAME_BYTES_MAX);
    memcpy(name, base, base_bytes);
    name[base_bytes] = '\0';
    ns_mem_free(path);
    keep_clean(name);
}

/* It stays the same as long as this library is there: looked up once. */
void
ns_process_name(char name[static NS_NAME_BYTES_MAX + 1])
{
    enum { UNKNOWN, BEING_WRITTEN, KNOWN };
    static char known[NS_NAME_BYTES_MAX + 1];
    static uint32_t state;
    if (__atomic_load_n(&state, __ATOMIC_ACQUIRE) == KNOWN) {
        memcpy(name, known, sizeof known);
        return;
    }
    ns_executable_name("/proc/self/exe", program_invocation_short_name, name);
    uint32_t seen = UNKNOWN;
    if (__atomic_compare_exchange_n(&state, &seen, BEING_WRITTEN, false, __ATOMIC_ACQUIRE,
                                    __ATOMIC_RELAXED)) {
        memcpy(known, name, sizeof known);
        __atomic_store_n(&state, KNOWN, __ATOMIC_RELEASE);
    }
}

/* Field 22 of /proc/self/stat: the comm in field 2 may hold anything, blanks and parentheses
 * included, so counting begins behind the last parenthesis. 0 where it cannot be read. */
static uint64_t
start_ticks(void)
{
    char text[1024];
    int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
    ssize_t bytes = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0) {
        close(fd);
    }
    if (bytes <= 0) {
        return 0;
    }
    text[bytes] = '\0';
    const char *at = strrchr(text, ')');
    for (int field = 2; at != NULL && field < 22; field++) {
        at = strchr(at + 1, ' ');
    }
    uint64_t ticks = 0;
    for (at = at == NULL ? "" : at + 1; *at >= '0' && *at <= '9'; at++) {
        ticks = ticks * 10 + (uint64_t)(*at - '0');
    }
    return ticks;
}

void
ns_hello_fill(struct ns_message *message, struct ns_hello_text *text,
              const struct ns_config *config)
{
    memset(message, 0, sizeof *message);
    memset(text, 0, sizeof *text);
    ns_process_name(text->process);
    if (gethostname(text->hostname, NS_NAME_BYTES_MAX) != 0) {
        text->hostname[0] = '\0';
    }
    keep_clean(text->hostname);
    message->kind = NS_MESSAGE_HELLO;
    struct ns_hello *hello = &message->as.hello;
    hello->protocol_max = NS_PROTOCOL_VERSION;
    hello->library = ns_text_of(NS_VERSION);
    hello->source = (uint8_t)ns_process_source();
    hello->pid = (uint32_t)getpid();
    hello->start_ticks = start_ticks();
    hello->process = ns_text_of(text->process);
    hello->hostname = ns_text_of(text->hostname);
    hello->api_key = ns_text_of(config->api_key);
    hello->mode = (uint8_t)config->mode;
}
