/* SPDX-License-Identifier: Apache-2.0 */
/* nullspendd: reads its options and runs; or is its own notifier. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "collector/daemon.h"
#include "collector/notifier.h"
#include "collector/service.h"

static const char *
environment(const char *name)
{
    return getenv(name);
}

int
main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], NS_NOTIFIER_ARGUMENT) == 0) {
        return ns_notifier_main();
    }
    static struct ns_options options;
    static char text[NS_OPTIONS_TEXT_BYTES];
    switch (ns_options_read(argc, argv, environment, geteuid(), &options, text)) {
    case NS_OPTIONS_DONE:
        fputs(text, stdout);
        return 0;
    case NS_OPTIONS_WRONG:
        fputs(text, stderr);
        return 2;
    case NS_OPTIONS_RUN:
        break;
    }
    if (!options.foreground) {
        char log[NS_PATH_BYTES + 8];
        snprintf(log, sizeof log, "%s/log", options.state_directory);
        int error = ns_make_directory(options.state_directory, 0700);
        error = error != 0 ? error : ns_background(log);
        if (error != 0) {
            ns_log("%s: %s", log, strerror(-error));
            return 1;
        }
    }
    return ns_daemon_run(&options);
}
