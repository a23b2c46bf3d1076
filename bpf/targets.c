/* SPDX-License-Identifier: Apache-2.0 */
#include "bpf/targets.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define LINE_BYTES 4608

struct identity {
    dev_t device;
    ino_t inode;
};

struct ns_targets {
    struct identity *seen;
    size_t count, capacity;
};

struct ns_targets *
ns_targets_new(void)
{
    return calloc(1, sizeof(struct ns_targets));
}

void
ns_targets_free(struct ns_targets *targets)
{
    if (targets != NULL) {
        free(targets->seen);
        free(targets);
    }
}

/* Notes a file; false where it was known, or there is no memory to know it by. */
static bool
is_new(struct ns_targets *targets, struct identity identity)
{
    for (size_t i = 0; i < targets->count; i++) {
        if (targets->seen[i].device == identity.device &&
            targets->seen[i].inode == identity.inode) {
            return false;
        }
    }
    if (targets->count == targets->capacity) {
        size_t capacity = targets->capacity == 0 ? 64 : 2 * targets->capacity;
        struct identity *seen = reallocarray(targets->seen, capacity, sizeof *seen);
        if (seen == NULL) {
            return false;
        }
        targets->seen = seen;
        targets->capacity = capacity;
    }
    targets->seen[targets->count++] = identity;
    return true;
}

static const char *
base_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

/* A line of maps: the path of what is mapped executable there, or NULL. The line is changed. */
static char *
executable_path(char *line)
{
    char flags[8] = "";
    int at = 0;
    if (sscanf(line, "%*s %7s %*s %*s %*s %n", flags, &at) != 1 || at == 0 || flags[2] != 'x' ||
        line[at] != '/') {
        return NULL;
    }
    line[strcspn(line, "\n")] = '\0';
    return line + at;
}

static void
visit_file(struct ns_targets *targets, const char *path, const char *name, ns_target_visit *visit,
           void *context)
{
    struct stat status;
    if (stat(path, &status) == 0 && S_ISREG(status.st_mode) &&
        is_new(targets, (struct identity){status.st_dev, status.st_ino}) &&
        !visit(context, path, name)) {
        targets->count--;
    }
}

void
ns_targets_scan_process(struct ns_targets *targets, uint32_t pid, ns_target_visit *visit,
                        void *context)
{
    char path[LINE_BYTES + 64], line[LINE_BYTES];
    snprintf(path, sizeof path, "/proc/%u/exe", pid);
    visit_file(targets, path, path, visit, context);
    snprintf(path, sizeof path, "/proc/%u/maps", pid);
    FILE *maps = fopen(path, "re");
    while (maps != NULL && fgets(line, sizeof line, maps) != NULL) {
        const char *mapped = executable_path(line);
        if (mapped != NULL && strncmp(base_of(mapped), "libssl", 6) == 0) {
            snprintf(path, sizeof path, "/proc/%u/root%s", pid, mapped);
            visit_file(targets, path, mapped, visit, context);
        }
    }
    if (maps != NULL) {
        fclose(maps);
    }
}

void
ns_targets_scan(struct ns_targets *targets, ns_target_visit *visit, void *context)
{
    DIR *directory = opendir("/proc");
    struct dirent *entry;
    while (directory != NULL && (entry = readdir(directory)) != NULL) {
        unsigned long pid = strtoul(entry->d_name, NULL, 10);
        if (pid > 0 && pid <= UINT32_MAX) {
            ns_targets_scan_process(targets, (uint32_t)pid, visit, context);
        }
    }
    if (directory != NULL) {
        closedir(directory);
    }
}

bool
ns_target_is_preloaded(uint32_t pid)
{
    char path[64], line[LINE_BYTES];
    bool found = false;
    snprintf(path, sizeof path, "/proc/%u/maps", pid);
    FILE *maps = fopen(path, "re");
    while (maps != NULL && !found && fgets(line, sizeof line, maps) != NULL) {
        const char *mapped = executable_path(line);
        found = mapped != NULL && strncmp(base_of(mapped), "libnullspend.so", 15) == 0;
    }
    if (maps != NULL) {
        fclose(maps);
    }
    return found;
}
