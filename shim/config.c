/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/config.h"

#include <stddef.h>
#include <string.h>

#include "base/mem.h"
#include "shim/counters.h"
#include "shim/log.h"
#include "shim/tags.h"

#define SPOOL_OF_ROOT "/var/lib/nullspend/spool"

static void
reject(struct ns_config *config, const char *name)
{
    config->rejected++;
    ns_count(NS_COUNTER_SETTINGS_REJECTED);
    ns_log("ignored, not of its form", name);
}

/* --- one reader for each form of value. Each returns whether the text had it. -------------------
 */

static bool
read_mode(struct ns_config *config, char *place, const char *text)
{
    (void)place;
    int mode = ns_mode_find(text, strlen(text));
    config->mode = mode >= 0 ? mode : config->mode;
    return mode >= 0;
}

static bool
read_unreachable(struct ns_config *config, char *place, const char *text)
{
    (void)place;
    int policy = ns_unreachable_find(text, strlen(text));
    config->on_unreachable = policy >= 0 ? policy : config->on_unreachable;
    return policy >= 0;
}

static bool
read_inject_usage(struct ns_config *config, char *place, const char *text)
{
    (void)place;
    bool good = (text[0] == '0' || text[0] == '1') && text[1] == '\0';
    config->inject_usage = good && text[0] == '1';
    return good;
}

static bool
read_deadline(struct ns_config *config, char *place, const char *text)
{
    (void)place;
    int64_t deadline_ms = 0;
    for (const char *at = text; *at != '\0'; at++) {
        if (*at < '0' || *at > '9' || deadline_ms > NS_DEADLINE_MS_MAX) {
            return false;
        }
        deadline_ms = deadline_ms * 10 + (*at - '0');
    }
    if (deadline_ms < 1 || deadline_ms > NS_DEADLINE_MS_MAX) {
        return false;
    }
    config->deadline_ns = deadline_ms * 1000000;
    return true;
}

static bool
read_text(char *place, const char *text, size_t bytes_max)
{
    size_t bytes = strnlen(text, bytes_max + 1);
    if (!ns_tags_clean(text, bytes, bytes_max)) {
        return false;
    }
    memcpy(place, text, bytes + 1);
    return true;
}

static bool
read_id(struct ns_config *config, char *place, const char *text)
{
    (void)config;
    return read_text(place, text, NS_ID_BYTES_MAX);
}

static bool
read_collector(struct ns_config *config, char *place, const char *text)
{
    (void)config;
    return (strncmp(text, "ipc://", 6) == 0 || strncmp(text, "tcp://", 6) == 0) &&
           read_text(place, text, NS_COLLECTOR_BYTES_MAX);
}

static bool
read_key(struct ns_config *config, char *place, const char *text)
{
    (void)config;
    return read_text(place, text, NS_API_KEY_BYTES_MAX);
}

static bool
read_path(struct ns_config *config, char *place, const char *text)
{
    (void)config;
    size_t bytes = strnlen(text, NS_FILE_PATH_BYTES_MAX + 1);
    if (text[0] != '/' || bytes > NS_FILE_PATH_BYTES_MAX) {
        return false;
    }
    memcpy(place, text, bytes + 1);
    return true;
}

static bool
read_tags(struct ns_config *config, char *place, const char *text)
{
    (void)place;
    return ns_tags_parse(&config->identity, text) == 0;
}

static bool
read_providers(struct ns_config *config, char *place, const char *text)
{
    (void)place;
    size_t bad_offset = 0;
    return ns_wire_hosts_parse(&config->hosts, text, &bad_offset) == 0;
}

static const struct {
    const char *name;
    bool (*read)(struct ns_config *config, char *place, const char *text);
    size_t place;
} settings[] = {
    /* The log comes first, so that it hears of the others. */
    {"NULLSPEND_LOG", read_path, offsetof(struct ns_config, log_path)},
    {"NULLSPEND_MODE", read_mode, 0},
    {"NULLSPEND_COLLECTOR", read_collector, offsetof(struct ns_config, collector)},
    {"NULLSPEND_ON_UNREACHABLE", read_unreachable, 0},
    {"NULLSPEND_DEADLINE_MS", read_deadline, 0},
    {"NULLSPEND_API_KEY", read_key, offsetof(struct ns_config, api_key)},
    {"NULLSPEND_CUSTOMER", read_id, offsetof(struct ns_config, identity.customer)},
    {"NULLSPEND_AGENT", read_id, offsetof(struct ns_config, identity.agent)},
    {"NULLSPEND_FEATURE", read_id, offsetof(struct ns_config, identity.feature)},
    {"NULLSPEND_SESSION", read_id, offsetof(struct ns_config, identity.session)},
    {"NULLSPEND_TAGS", read_tags, 0},
    {"NULLSPEND_PROVIDERS", read_providers, 0},
    {"NULLSPEND_INJECT_USAGE", read_inject_usage, 0},
    {"NULLSPEND_SPOOL_DIR", read_path, offsetof(struct ns_config, spool_dir)},
};

/* Below which the spool is where no directory is named, the first that is set. */
static const struct {
    const char *variable, *below;
} places[] = {{"XDG_STATE_HOME", "/nullspend/spool"}, {"HOME", "/.local/state/nullspend/spool"}};

#define SETTINGS (sizeof settings / sizeof settings[0])
#define PLACES (sizeof places / sizeof places[0])

/* root: its own; else the user's state directory. */
static void
choose_spool(struct ns_config *config, const char *(*lookup)(const char *name), bool root)
{
    if (root) {
        memcpy(config->spool_dir, SPOOL_OF_ROOT, sizeof SPOOL_OF_ROOT);
        return;
    }
    for (size_t i = 0; i < PLACES; i++) {
        const char *base = lookup(places[i].variable);
        size_t below_bytes = strlen(places[i].below);
        size_t bytes = base == NULL ? 0 : strnlen(base, NS_FILE_PATH_BYTES_MAX);
        if (bytes > 0 && base[0] == '/' && bytes + below_bytes <= NS_FILE_PATH_BYTES_MAX) {
            memcpy(config->spool_dir, base, bytes);
            memcpy(config->spool_dir + bytes, places[i].below, below_bytes + 1);
            return;
        }
    }
}

bool
ns_config_is_set(const char *(*lookup)(const char *name))
{
    for (size_t i = 0; i < SETTINGS; i++) {
        if (lookup(settings[i].name) != NULL) {
            return true;
        }
    }
    return false;
}

/* What the process was started with: for each of the settings, then of the places, its value with
 * its NUL, or one NUL where it was not set or is empty, which means the same. */
static char *kept;

static const char *
name_at(size_t i)
{
    return i < SETTINGS ? settings[i].name : places[i - SETTINGS].variable;
}

void
ns_config_keep(const char *(*lookup)(const char *name))
{
    if (!ns_config_is_set(lookup)) {
        return;
    }
    size_t bytes = 0;
    for (size_t i = 0; i < SETTINGS + PLACES; i++) {
        const char *text = lookup(name_at(i));
        bytes += text == NULL ? 1 : strlen(text) + 1;
    }
    char *to = kept = ns_mem_alloc(bytes);
    for (size_t i = 0; to != NULL && i < SETTINGS + PLACES; i++) {
        const char *text = lookup(name_at(i));
        size_t count = text == NULL ? 0 : strlen(text);
        memcpy(to, text == NULL ? "" : text, count + 1);
        to += count + 1;
    }
}

const char *
ns_config_kept(const char *name)
{
    const char *text = kept;
    for (size_t i = 0; text != NULL && i < SETTINGS + PLACES; i++) {
        if (strcmp(name_at(i), name) == 0) {
            return text[0] == '\0' ? NULL : text;
        }
        text += strlen(text) + 1;
    }
    return NULL;
}

void
ns_config_read(struct ns_config *config, const char *(*lookup)(const char *name), bool root)
{
    config->mode = NS_MODE_ENFORCE;
    config->on_unreachable = NS_UNREACHABLE_ALLOW;
    config->deadline_ns = (int64_t)NS_DEADLINE_MS_DEFAULT * 1000000;
    memcpy(config->collector, NS_COLLECTOR_DEFAULT, sizeof NS_COLLECTOR_DEFAULT);
    for (size_t i = 0; i < SETTINGS; i++) {
        const char *text = lookup(settings[i].name);
        if (text == NULL || text[0] == '\0') {
            continue;
        }
        if (!settings[i].read(config, (char *)config + settings[i].place, text)) {
            reject(config, settings[i].name);
        }
        if (i == 0 && config->log_path[0] != '\0') {
            ns_log_open(config->log_path);
        }
    }
    if (config->spool_dir[0] == '\0') {
        choose_spool(config, lookup, root);
    }
}
