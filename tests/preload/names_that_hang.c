/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A resolver that never answers: whoever asks for a name that ends in ".hangs" waits for ever.
 */
#include <dlfcn.h>
#include <netdb.h>
#include <string.h>
#include <unistd.h>

int
getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
            struct addrinfo **result)
{
    static const char end[] = ".hangs";
    int (*next)(const char *, const char *, const struct addrinfo *, struct addrinfo **) =
        (int (*)(const char *, const char *, const struct addrinfo *, struct addrinfo **))dlsym(
            RTLD_NEXT, "getaddrinfo");
    size_t bytes = name == NULL ? 0 : strlen(name);
    while (bytes >= sizeof end - 1 && strcmp(name + bytes - (sizeof end - 1), end) == 0) {
        pause();
    }
    return next(name, service, hints, result);
}
