/* SPDX-License-Identifier: Apache-2.0 */
#include "bpf/targets.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define LINE_BYTES 4608
#define PATH_BYTES (LINE_BYTES + 64)

/* A table with a place for each hash, or the next free one; at most half full. */
#define PLACES (2 * NS_TARGETS_MAX)

struct seen {
    struct ns_file_key key;
    enum ns_target what; /* GONE: a free place */
};

struct ns_targets {
    size_t count, attached;
    struct seen places[PLACES];
};

struct ns_targets *
ns_targets_new(void)
{
    return calloc(1, sizeof(struct ns_targets));
}

void
ns_targets_free(struct ns_targets *targets)
{
    free(targets);
}

/* --- what has been seen ----------------------------------------------------------------------- */

/* Where a file is, or would be. */
static struct seen *
place_of(struct ns_targets *targets, const struct ns_file_key *key)
{
    uint64_t hash = (key->inode ^ (uint64_t)key->device << 40 ^ (uint64_t)key->generation << 20) *
                    UINT64_C(0x9e3779b97f4a7c15);
    size_t place = hash >> 40 & (PLACES - 1);
    while (targets->places[place].what != NS_TARGET_GONE &&
           memcmp(&targets->places[place].key, key, sizeof *key) != 0) {
        place = (place + 1) & (PLACES - 1);
    }
    return &targets->places[place];
}

static void
note(struct ns_targets *targets, const struct ns_file_key *key, enum ns_target what)
{
    *place_of(targets, key) = (struct seen){*key, what};
    targets->count++;
    targets->attached += what == NS_TARGET_ATTACHED;
}

/* Makes room. False where all that is remembered is attached to. */
static bool
forget(struct ns_targets *targets)
{
    struct seen *kept =
        targets->attached == NS_TARGETS_MAX ? NULL : calloc(targets->attached + 1, sizeof *kept);
    if (kept == NULL) {
        return false;
    }
    size_t count = 0;
    for (size_t i = 0; i < PLACES; i++) {
        if (targets->places[i].what == NS_TARGET_ATTACHED) {
            kept[count++] = targets->places[i];
        }
    }
    memset(targets, 0, sizeof *targets);
    for (size_t i = 0; i < count; i++) {
        note(targets, &kept[i].key, kept[i].what);
    }
    free(kept);
    return true;
}

/* --- where it is ------------------------------------------------------------------------------ */

/* A line of maps: the path of what is mapped executable there, or NULL. Fills file, if it is asked
 * for. The line is changed. */
static char *
executable_path(char *line, struct ns_file *file)
{
    char flags[8] = "";
    int at = 0;
    unsigned long long begin, end, inode;
    unsigned device_major, device_minor;
    if (sscanf(line, "%llx-%llx %7s %*s %x:%x %llu %n", &begin, &end, flags, &device_major,
               &device_minor, &inode, &at) != 6 ||
        at == 0 || flags[2] != 'x' || line[at] != '/') {
        return NULL;
    }
    if (file != NULL) {
        *file = (struct ns_file){
            .key = {.inode = inode, .device = (unsigned)makedev(device_major, device_minor)},
            .begin = begin,
            .end = end};
    }
    line[strcspn(line, "\n")] = '\0';
    return line + at;
}

static const char *
base_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

/* Visits it where the process has it by its name, if it still has. */
static enum ns_target
visit_by_maps(const struct ns_file *file, ns_target_visit *visit, void *context)
{
    char path[PATH_BYTES], line[LINE_BYTES];
    enum ns_target what = NS_TARGET_GONE;
    snprintf(path, sizeof path, "/proc/%u/maps", file->pid);
    FILE *maps = fopen(path, "re");
    while (maps != NULL && fgets(line, sizeof line, maps) != NULL) {
        struct ns_file mapped;
        const char *name = executable_path(line, &mapped);
        if (name != NULL && mapped.begin <= file->begin && file->begin < mapped.end) {
            snprintf(path, sizeof path, "/proc/%u/root%s", file->pid, name);
            what = visit(context, path, name);
            break;
        }
    }
    if (maps != NULL) {
        fclose(maps);
    }
    return what;
}

/* Visits it by the mapping itself, which leads to it whatever its name is by now; not everybody
 * may. */
static enum ns_target
visit_by_mapping(const struct ns_file *file, ns_target_visit *visit, void *context)
{
    char path[PATH_BYTES], name[PATH_BYTES];
    snprintf(path, sizeof path, "/proc/%u/map_files/%llx-%llx", file->pid, file->begin, file->end);
    ssize_t bytes = readlink(path, name, sizeof name - 1);
    if (bytes <= 0 || access(path, R_OK) != 0) {
        return NS_TARGET_GONE;
    }
    name[bytes] = '\0';
    return visit(context, path, name);
}

bool
ns_targets_look(struct ns_targets *targets, const struct ns_file *file, ns_target_visit *visit,
                void *context)
{
    if (place_of(targets, &file->key)->what != NS_TARGET_GONE) {
        return true;
    }
    if (targets->count == NS_TARGETS_MAX && !forget(targets)) {
        return false;
    }
    enum ns_target what = visit_by_mapping(file, visit, context);
    if (what == NS_TARGET_GONE) {
        what = visit_by_maps(file, visit, context);
    }
    if (what != NS_TARGET_GONE) {
        note(targets, &file->key, what);
    }
    return what != NS_TARGET_GONE;
}

static void
scan_process(struct ns_targets *targets, uint32_t pid, ns_target_visit *visit, void *context)
{
    char path[PATH_BYTES], line[LINE_BYTES];
    snprintf(path, sizeof path, "/proc/%u/maps", pid);
    FILE *maps = fopen(path, "re");
    while (maps != NULL && fgets(line, sizeof line, maps) != NULL) {
        struct ns_file file;
        if (executable_path(line, &file) != NULL) {
            file.pid = pid;
            (void)ns_targets_look(targets, &file, visit, context);
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
            scan_process(targets, (uint32_t)pid, visit, context);
        }
    }
    if (directory != NULL) {
        closedir(directory);
    }
}

bool
ns_target_runs(uint32_t pid)
{
    char path[64], name[1];
    snprintf(path, sizeof path, "/proc/%u/exe", pid);
    return readlink(path, name, sizeof name) > 0;
}

bool
ns_target_is_preloaded(uint32_t pid)
{
    char path[64], line[LINE_BYTES];
    bool found = false;
    snprintf(path, sizeof path, "/proc/%u/maps", pid);
    FILE *maps = fopen(path, "re");
    while (maps != NULL && !found && fgets(line, sizeof line, maps) != NULL) {
        const char *mapped = executable_path(line, NULL);
        found = mapped != NULL && strncmp(base_of(mapped), "libnullspend.so", 15) == 0;
    }
    if (maps != NULL) {
        fclose(maps);
    }
    return found;
}
