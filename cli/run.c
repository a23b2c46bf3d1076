/* SPDX-License-Identifier: Apache-2.0 */
/* `run`: executes a command with the library preloaded. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/utf8.h"
#include "base/words.h"
#include "cli/cli.h"
#include "cli/collector.h"
#include "cli/launch.h"

#define EXIT_NOT_EXECUTABLE 126
#define EXIT_NOT_THERE 127
#define TAGS_MAX 16
#define TAGS_BYTES 8192
#define PATH_BYTES 4096

struct request {
    const char *customer, *agent, *feature, *session, *mode;
    const char *tags[TAGS_MAX + 1];
    char **words; /* of the command, NULL after the last */
};

/* --- the command ------------------------------------------------------------------------------ */

/* Is there a program of this name? Returns 0, 126 or 127, as shells do. */
static int
look_up(const char *name)
{
    const char *path = getenv("PATH");
    if (strchr(name, '/') != NULL) {
        return access(name, X_OK) == 0               ? 0
               : errno == ENOENT || errno == ENOTDIR ? EXIT_NOT_THERE
                                                     : EXIT_NOT_EXECUTABLE;
    }
    int code = EXIT_NOT_THERE;
    for (path = path != NULL ? path : "/bin:/usr/bin"; name[0] != '\0';) {
        char candidate[PATH_BYTES];
        struct stat status;
        size_t bytes = strcspn(path, ":");
        int count = snprintf(candidate, sizeof candidate, "%.*s%s%s", (int)bytes, path,
                             bytes > 0 ? "/" : "", name);
        if (count > 0 && count < PATH_BYTES && stat(candidate, &status) == 0 &&
            S_ISREG(status.st_mode)) {
            if (access(candidate, X_OK) == 0) {
                return 0;
            }
            code = EXIT_NOT_EXECUTABLE;
        }
        if (path[bytes] == '\0') {
            break;
        }
        path += bytes + 1;
    }
    return code;
}

static int
complain_of_command(const char *name, int code)
{
    return ns_complain(code, "%s: %s", name,
                       code == EXIT_NOT_THERE ? "command not found" : "cannot be executed");
}

/* --- the environment -------------------------------------------------------------------------- */

static int
check_tag(const struct ns_command *command, const char *tag)
{
    const char *equals = strchr(tag, '=');
    size_t key_bytes = equals != NULL ? (size_t)(equals - tag) : 0;
    const char *fault = equals != NULL ? ns_label_fault(equals + 1, NS_TAG_VALUE_BYTES_MAX) : NULL;
    if (key_bytes == 0 || strchr(tag, ',') != NULL) {
        return ns_complain_usage(command, "--tag wants KEY=VALUE without a comma, not %s", tag);
    }
    if (key_bytes > NS_TAG_KEY_BYTES_MAX || tag[0] == ' ' || !ns_utf8_is_text(tag, key_bytes)) {
        return ns_complain_usage(command,
                                 "the key of --tag %s is not UTF-8 text of at most %d bytes", tag,
                                 NS_TAG_KEY_BYTES_MAX);
    }
    if (fault != NULL) {
        return ns_complain_usage(command, "the value of --tag %s %s", tag, fault);
    }
    return -1;
}

/* Returns -1 or an exit code. */
static int
check(const struct ns_command *command, const struct request *request)
{
    const struct {
        const char *option, *value;
    } labels[] = {
        {"--customer", request->customer},
        {"--agent", request->agent},
        {"--feature", request->feature},
        {"--session", request->session},
    };
    for (size_t i = 0; i < sizeof labels / sizeof labels[0]; i++) {
        const char *fault =
            labels[i].value != NULL ? ns_label_fault(labels[i].value, NS_LABEL_BYTES_MAX) : NULL;
        if (fault != NULL) {
            return ns_complain_usage(command, "the value of %s %s", labels[i].option, fault);
        }
    }
    if (request->mode != NULL && ns_mode_find(request->mode, strlen(request->mode)) < 0) {
        return ns_complain_usage(command, "--mode is enforce, shadow, observe or off, not %s",
                                 request->mode);
    }
    for (size_t i = 0; request->tags[i] != NULL; i++) {
        int code = check_tag(command, request->tags[i]);
        if (code >= 0) {
            return code;
        }
    }
    return -1;
}

static int
set(const char *name, const char *value)
{
    return value == NULL || setenv(name, value, 1) == 0 ? 0 : -errno;
}

/* Tags given here stand behind those of the environment, so they win. */
static int
set_tags(const struct request *request)
{
    char text[TAGS_BYTES];
    const char *before = getenv("NULLSPEND_TAGS");
    int used = snprintf(text, sizeof text, "%s", before != NULL ? before : "");
    for (size_t i = 0; request->tags[i] != NULL && used >= 0 && used < TAGS_BYTES; i++) {
        int more = snprintf(text + used, sizeof text - (size_t)used, "%s%s", used > 0 ? "," : "",
                            request->tags[i]);
        used = more < 0 ? more : used + more;
    }
    if (used < 0 || used >= TAGS_BYTES) {
        return -ENAMETOOLONG;
    }
    return used > 0 ? set("NULLSPEND_TAGS", text) : 0;
}

/* Puts a word before the others of a list that colons part. */
static int
set_first(const char *name, const char *word)
{
    char text[PATH_BYTES];
    const char *before = getenv(name);
    bool more = before != NULL && before[0] != '\0';
    int count = snprintf(text, sizeof text, "%s%s%s", word, more ? ":" : "", more ? before : "");
    if (count < 0 || count >= PATH_BYTES || set(name, text) != 0) {
        return ns_complain(NS_EXIT_FAILED, "%s is too long", name);
    }
    return -1;
}

/* Blanks and colons part the words of LD_PRELOAD, and nothing quotes them: a path that has any is
 * given as a name, and the folder as one to search. */
static int
set_preload(void)
{
    char library[NS_PLACE_BYTES];
    if (ns_discover_beside("libnullspend.so", library) != 0) {
        return ns_complain(NS_EXIT_FAILED, "libnullspend.so is neither beside this program nor in "
                                           "../lib: install both");
    }
    if (strpbrk(library, " :") == NULL) {
        return set_first("LD_PRELOAD", library);
    }
    char *slash = strrchr(library, '/');
    *slash = '\0';
    if (strpbrk(library, ":;") != NULL) {
        return ns_complain(NS_EXIT_FAILED,
                           "%s: the loader takes no path with a colon: install elsewhere", library);
    }
    int code = set_first("LD_LIBRARY_PATH", library);
    return code >= 0 ? code : set_first("LD_PRELOAD", slash + 1);
}

static int
set_environment(const struct request *request, const char *endpoint)
{
    int error = set("NULLSPEND_CUSTOMER", request->customer);
    error = error != 0 ? error : set("NULLSPEND_AGENT", request->agent);
    error = error != 0 ? error : set("NULLSPEND_FEATURE", request->feature);
    error = error != 0 ? error : set("NULLSPEND_SESSION", request->session);
    error = error != 0 ? error : set("NULLSPEND_MODE", request->mode);
    error = error != 0 ? error : set("NULLSPEND_COLLECTOR", endpoint);
    error = error != 0 ? error : set_tags(request);
    if (error != 0) {
        return ns_complain(NS_EXIT_FAILED, "the environment: %s", strerror(-error));
    }
    return set_preload();
}

/* --- the collector ---------------------------------------------------------------------------- */

/* Finds the collector, or starts one where none was named and none answers. Returns -1 or an exit
 * code. */
static int
ensure_collector(char endpoint[static NS_PLACE_BYTES])
{
    char state[NS_PLACE_BYTES];
    bool started;
    const char *given = getenv("NULLSPEND_COLLECTOR");
    if (given != NULL && given[0] != '\0') {
        /* The library knows what to do where it does not answer. */
        snprintf(endpoint, NS_PLACE_BYTES, "%s", given);
        return -1;
    }
    int error = ns_collector_find(endpoint);
    if (error == 0) {
        return -1;
    }
    if (error == -ENAMETOOLONG) {
        return ns_complain(NS_EXIT_NO_COLLECTOR, NS_ENDPOINT_TOO_LONG);
    }
    if (ns_launch(endpoint, state, &started) != 0) {
        return NS_EXIT_NO_COLLECTOR;
    }
    if (started) {
        ns_complain(0,
                    "started a collector of your own, Postgres included, in %s ('nullspend stop' "
                    "ends it)",
                    state);
    }
    return -1;
}

/* --- run -------------------------------------------------------------------------------------- */

/* The options end at "--" or at the first word that is none. Returns how many words are options. */
static int
option_words(int argc, char **argv)
{
    int at = 1;
    while (at < argc && argv[at][0] == '-' && strcmp(argv[at], "--") != 0) {
        bool alone = strchr(argv[at], '=') != NULL || strcmp(argv[at], "--help") == 0 ||
                     strcmp(argv[at], "-h") == 0;
        at += alone ? 1 : 2;
    }
    return at < argc ? at : argc;
}

int
ns_run_main(const struct ns_command *command, int argc, char **argv)
{
    struct request request = {0};
    char endpoint[NS_PLACE_BYTES];
    const struct ns_option options[] = {
        {.name = "--customer", .value = &request.customer},
        {.name = "--agent", .value = &request.agent},
        {.name = "--feature", .value = &request.feature},
        {.name = "--session", .value = &request.session},
        {.name = "--mode", .value = &request.mode},
        {.name = "--tag", .values = request.tags, .values_max = TAGS_MAX},
    };
    const char *none[1];
    int words = option_words(argc, argv);
    int code = ns_arguments_read(command, words, argv, options, sizeof options / sizeof options[0],
                                 none, 0);
    if (code < 0) {
        code = check(command, &request);
    }
    if (code >= 0) {
        return code;
    }
    words += words < argc && strcmp(argv[words], "--") == 0 ? 1 : 0;
    if (words >= argc) {
        return ns_complain_usage(command, "no command to run");
    }
    request.words = argv + words;
    code = look_up(request.words[0]);
    if (code != 0) {
        return complain_of_command(request.words[0], code);
    }
    const char *mode = request.mode != NULL ? request.mode : getenv("NULLSPEND_MODE");
    bool off = mode != NULL && strcmp(mode, "off") == 0;
    endpoint[0] = '\0';
    code = off ? -1 : ensure_collector(endpoint);
    if (code < 0) {
        code = set_environment(&request, off ? NULL : endpoint);
    }
    if (code >= 0) {
        return code;
    }
    fflush(NULL);
    execvp(request.words[0], request.words);
    return complain_of_command(request.words[0],
                               errno == ENOENT ? EXIT_NOT_THERE : EXIT_NOT_EXECUTABLE);
}
