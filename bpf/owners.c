/* SPDX-License-Identifier: Apache-2.0 */
#include "bpf/owners.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "shim/config.h"

#define BUCKETS 1024

struct ns_owners {
    size_t count;
    struct ns_owner *buckets[BUCKETS];
};

struct ns_owners *
ns_owners_new(void)
{
    return ns_mem_alloc(sizeof(struct ns_owners));
}

void
ns_owners_free(struct ns_owners *owners)
{
    for (size_t i = 0; owners != NULL && i < BUCKETS; i++) {
        while (owners->buckets[i] != NULL) {
            struct ns_owner *owner = owners->buckets[i];
            owners->buckets[i] = owner->next;
            ns_mem_free(owner);
        }
    }
    ns_mem_free(owners);
}

/* --- /proc ------------------------------------------------------------------------------------ */

static size_t
read_file(uint32_t pid, const char *name, char *text, size_t room)
{
    char path[64];
    size_t bytes = 0;
    ssize_t got = 1;
    snprintf(path, sizeof path, "/proc/%u/%s", pid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    while (fd >= 0 && got > 0 && bytes < room) {
        got = read(fd, text + bytes, room - bytes);
        bytes += got > 0 ? (size_t)got : 0;
    }
    if (fd >= 0) {
        close(fd);
    }
    return bytes;
}

/* Field 22 of its stat, behind the name, which may hold anything; 0 where there is none. */
static uint64_t
start_ticks(uint32_t pid)
{
    char text[1024];
    text[read_file(pid, "stat", text, sizeof text - 1)] = '\0';
    const char *at = strrchr(text, ')');
    for (int field = 2; at != NULL && field < 22; field++) {
        at = strchr(at + 1, ' ');
    }
    return at == NULL ? 0 : strtoull(at + 1, NULL, 10);
}

/* What is being read: the reader of settings asks by name alone. */
static const char *environment;
static size_t environment_bytes;

/* Only what says whose a call is; how it is governed is the agent's affair. */
static const char *
look_up(const char *name)
{
    static const char *const names[] = {"NULLSPEND_CUSTOMER", "NULLSPEND_AGENT",
                                        "NULLSPEND_FEATURE", "NULLSPEND_SESSION", "NULLSPEND_TAGS"};
    size_t name_bytes = strlen(name);
    bool known = false;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        known = known || strcmp(name, names[i]) == 0;
    }
    const char *end = environment + environment_bytes;
    for (const char *at = environment; known && at < end; at += strlen(at) + 1) {
        if (strncmp(at, name, name_bytes) == 0 && at[name_bytes] == '=') {
            return at + name_bytes + 1;
        }
    }
    return NULL;
}

/* Without memory it says nothing. */
static void
read_identity(struct ns_owner *owner)
{
    char *text = ns_mem_alloc(NS_OWNER_ENVIRONMENT_BYTES_MAX + 1);
    struct ns_config *config = ns_mem_alloc(sizeof *config);
    memset(&owner->identity, 0, sizeof owner->identity);
    if (text != NULL && config != NULL) {
        environment_bytes = read_file(owner->pid, "environ", text, NS_OWNER_ENVIRONMENT_BYTES_MAX);
        text[environment_bytes] = '\0';
        environment = text;
        ns_config_read(config, look_up, true);
        owner->identity = config->identity;
    }
    ns_mem_free(config);
    ns_mem_free(text);
}

/* --- the table -------------------------------------------------------------------------------- */

struct ns_owner *
ns_owners_get(struct ns_owners *owners, uint32_t pid)
{
    struct ns_owner **bucket = &owners->buckets[pid % BUCKETS], *owner = *bucket;
    char link[64], process[NS_NAME_BYTES_MAX + 1];
    uint64_t ticks = start_ticks(pid);
    snprintf(link, sizeof link, "/proc/%u/exe", pid);
    ns_executable_name(link, "", process);
    while (owner != NULL && (owner->pid != pid || owner->start_ticks != ticks ||
                             strcmp(owner->process, process) != 0)) {
        owner = owner->next;
    }
    if (owner == NULL) {
        owner = owners->count < NS_OWNERS_MAX ? ns_mem_alloc(sizeof *owner) : NULL;
        if (owner == NULL) {
            return NULL;
        }
        owners->count++;
        owner->pid = pid;
        owner->start_ticks = ticks;
        memcpy(owner->process, process, sizeof process);
        read_identity(owner);
        owner->next = *bucket;
        *bucket = owner;
    }
    owner->users++;
    return owner;
}

void
ns_owners_put(struct ns_owner *owner)
{
    owner->users -= owner->users > 0;
}

void
ns_owners_sweep(struct ns_owners *owners, ns_owners_visit *visit, void *context)
{
    for (size_t i = 0; i < BUCKETS; i++) {
        for (struct ns_owner **link = &owners->buckets[i]; *link != NULL;) {
            struct ns_owner *owner = *link;
            uint64_t ticks = start_ticks(owner->pid);
            bool gone = ticks == 0 || ticks != owner->start_ticks;
            owner->gone = gone ? owner->gone + 1 : 0;
            if (owner->gone == NS_OWNER_GONE_MAX && owner->users > 0) {
                visit(context, owner->pid);
            }
            if (gone && owner->users == 0) {
                *link = owner->next;
                owners->count--;
                ns_mem_free(owner);
            } else {
                link = &owner->next;
            }
        }
    }
}
