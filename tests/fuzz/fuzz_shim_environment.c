/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as the environment of a governed process: values apart by NUL, in the order of names.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "shim/config.h"
#include "shim/tags.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Not NULLSPEND_LOG, which would open the file. */
static const char *const names[] = {
    "NULLSPEND_MODE",           "NULLSPEND_COLLECTOR",
    "NULLSPEND_ON_UNREACHABLE", "NULLSPEND_TAGS",
    "NULLSPEND_PROVIDERS",      "NULLSPEND_DEADLINE_MS",
    "NULLSPEND_CUSTOMER",       "NULLSPEND_AGENT",
    "NULLSPEND_FEATURE",        "NULLSPEND_SESSION",
    "NULLSPEND_API_KEY",        "NULLSPEND_SPOOL_DIR",
    "XDG_STATE_HOME",           "HOME",
};
static const char *values[sizeof names / sizeof names[0]];

static const char *
lookup(const char *name)
{
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name, names[i]) == 0) {
            return values[i];
        }
    }
    return NULL;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    struct ns_config *config = calloc(1, sizeof *config);
    if (text == NULL || config == NULL) {
        free(text);
        free(config);
        return 0;
    }
    memcpy(text, data, size);
    text[size] = '\0';
    const char *at = text;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        values[i] = at <= text + size ? at : NULL;
        at += values[i] != NULL ? strlen(at) + 1 : 0;
    }
    ns_config_read(config, lookup, false);
    const struct ns_wire_identity *identity = &config->identity;
    bool sound = config->deadline_ns > 0 && identity->tag_count <= NS_TAGS_MAX &&
                 config->hosts.count <= NS_EXTRA_HOSTS_MAX;
    for (size_t i = 0; i < identity->tag_count; i++) {
        const struct ns_wire_tag *tag = &identity->tags[i];
        sound = sound && ns_tags_clean(tag->key, strlen(tag->key), NS_TAG_KEY_BYTES_MAX);
    }
    for (size_t i = 0; i < config->hosts.count; i++) {
        sound = sound && config->hosts.extra[i].family != NULL &&
                ns_wire_host_known(&config->hosts, config->hosts.extra[i].host,
                                   strlen(config->hosts.extra[i].host));
    }
    if (!sound) {
        abort();
    }
    free(config);
    free(text);
    return 0;
}
