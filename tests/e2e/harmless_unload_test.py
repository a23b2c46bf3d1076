#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Programs that close a libssl and open another: what went is never called again, and what came is
governed as the first was."""
import os
import shutil
import struct
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import fake_collector  # noqa: E402  pylint: disable=wrong-import-position
import harmlab  # noqa: E402  pylint: disable=wrong-import-position
from tap import check, equal, main, test  # noqa: E402

SYSTEM = subprocess.run(["gcc", "-print-file-name=libssl.so.3"], stdout=subprocess.PIPE, text=True,
                        check=True).stdout.strip()
LIBSSL_MAX = 8  # NS_LIBSSL_MAX
OK, CANCELLED = 0, 2  # outcomes
PT_DYNAMIC, DT_NULL, DT_FLAGS_1, DF_1_NODELETE = 2, 0, 0x6ffffffb, 8


def let_go(path):
    """Takes the mark out of an object with which the loader would keep it for ever."""
    with open(path, "rb") as file:
        image = bytearray(file.read())
    headers, = struct.unpack_from("<Q", image, 32)
    size, count = struct.unpack_from("<HH", image, 54)
    for header in range(headers, headers + size * count, size):
        kind, = struct.unpack_from("<I", image, header)
        at, = struct.unpack_from("<Q", image, header + 8)
        while kind == PT_DYNAMIC:
            tag, value = struct.unpack_from("<QQ", image, at)
            if tag == DT_NULL:
                break
            if tag == DT_FLAGS_1:
                struct.pack_into("<Q", image, at + 8, value & ~DF_1_NODELETE)
            at += 16
    with open(path, "wb") as file:
        file.write(image)


def pair_that_goes(directory):
    """The system's libraries, but as a build without pinning is: they can be unloaded."""
    steps = []
    for name in ("libcrypto.so.3", "libssl.so.3"):
        path = os.path.join(directory, name)
        shutil.copy(os.path.join(os.path.dirname(SYSTEM), name), path)
        let_go(path)
        steps += ["open", path]
    return steps


def plugin(directory):
    """A library that has an OpenSSL in it and shows that."""
    path = os.path.join(directory, "libplugin.so")
    subprocess.run(["gcc", "-shared", "-o", path, "-Wl,--whole-archive,-Bsymbolic", "-l:libssl.a",
                    "-l:libcrypto.a", "-Wl,--no-whole-archive"], check=True)
    return ["open", path]


def lives(steps, rule=None, **more):
    """What a program says that does this, and what the collector heard of it."""
    with harmlab.Host() as host:
        host.collector.rule = rule or host.collector.rule
        done = host.run("reload", *steps(host.directory), **more)
        equal((done.returncode, done.stderr), (0, ""), done.stdout)
        asked = {c["call_id"] for c in host.collector.of("CHECK")}
        reports = host.collector.wait("REPORT", len(asked)) if rule is None else []
        return done.stdout.split(), asked, reports, host.counters()


VERDICTS = ((None, "answered"), (fake_collector.deny(), "denied"))


@test
def a_libssl_that_the_loader_keeps_goes_on_after_it_was_closed():
    for rule, word in VERDICTS:
        words, asked, _, _ = lives(
            lambda _: ["open", SYSTEM, "call", "leak", "close", "open", SYSTEM, "call"], rule)
        equal(words, [word] * 2 + ["stayed", word], "calls")
        equal(len(asked), 3, "asked")


@test
def a_libssl_that_went_and_came_back_is_governed_wherever_it_lies():
    for made in (pair_that_goes, plugin):
        for rule, word in VERDICTS:
            def steps(directory):
                libraries = made(directory)
                return [*libraries, "call", "call", "cleanup", "close",
                        *libraries, "call", "cleanup", "close", "hold",
                        *libraries, "where", "call"]
            words, asked, _, _ = lives(steps, rule)
            equal(words, [word, word, "went", word, "went", "moved", word], made.__name__)
            equal(len(asked), 4, "asked")


@test
def as_many_may_come_and_go_as_like():
    rounds = 3 * LIBSSL_MAX

    def steps(directory):
        libraries = pair_that_goes(directory)
        return [*libraries, "call", "cleanup", "close", "hold"] * rounds
    words, asked, _, counters = lives(steps)
    equal(words, ["answered", "went"] * rounds, "calls")
    equal((len(asked), counters["connections_governed"]), (rounds, rounds), "asked, governed")


@test
def connections_that_were_leaked_end_with_their_libssl():
    for made in (pair_that_goes, plugin):
        def steps(directory):
            libraries = made(directory)
            return [*libraries, "leak", "begin", "cleanup", "close", "hold", *libraries, "leak", "begin",
                    "cleanup", "close", "open", "libm.so.6"]
        words, asked, reports, counters = lives(steps)
        equal(words, ["answered", "begun", "went"] * 2, made.__name__)
        equal(len(asked), 4, "asked")
        # The answers that nobody read are told once each, with the next connection or at the end, also
        # where it is known by then that the libssl went.
        equal([(r["outcome"], r["checked"]) for r in reports],
              [(OK, True), (CANCELLED, True)] * 2, "reports")
        equal(counters.get("calls_unasked", 0), 0, "unasked")


@test
def off_it_calls_nothing_that_went_either():
    def steps(directory):
        libraries = pair_that_goes(directory)
        return [*libraries, "leak", "cleanup", "close", "hold", *libraries, "call", "cleanup", "close",
                *libraries, "call"]
    words, asked, _, _ = lives(steps, NULLSPEND_MODE="off")
    equal((words, asked), (["answered", "went", "answered", "went", "answered"], set()), "off")


# --- another library in the very place, whose SSL* are where the first one's were ------------------

TWIN = """
#include <stddef.h>
#include <string.h>
struct ssl_st { const void *method; long more[7]; };
static const int method = 1;
static struct ssl_st only = {&method};
#define BEFORE(name) void name(void); void name(void) { __builtin_trap(); }
#if TWIN == 2
BEFORE(t0) BEFORE(t1) BEFORE(t2) BEFORE(t3) BEFORE(t4)
#endif
const char *OpenSSL_version(int what) { (void)what; return VERSION; }
void ERR_clear_error(void) {}
int ERR_set_mark(void) { return 0; }
struct ssl_st *SSL_new(void *context) { (void)context; return &only; }
int SSL_get_error(const struct ssl_st *ssl, int result) { (void)ssl; return result; }
int SSL_write(struct ssl_st *ssl, const void *b, int n) { (void)b; ssl->more[0] += n; return n; }
int SSL_read(struct ssl_st *ssl, void *b, int n) { (void)ssl, (void)b, (void)n; return -1; }
int SSL_peek(struct ssl_st *ssl, void *b, int n) { return SSL_read(ssl, b, n); }
int SSL_pending(const struct ssl_st *ssl) { return (int)ssl->more[0] + 10 * TWIN; }
void SSL_free(struct ssl_st *ssl) { (void)ssl; }
int SSL_clear(struct ssl_st *ssl) { (void)ssl; return 1; }
int SSL_shutdown(struct ssl_st *ssl) { (void)ssl; return 1; }
#if TWIN == 1
BEFORE(t0) BEFORE(t1) BEFORE(t2) BEFORE(t3) BEFORE(t4)
#endif
"""
CALLER = """
#include <stdio.h>
struct ssl_st;
struct ssl_st *SSL_new(void *);
int SSL_write(struct ssl_st *, const void *, int), SSL_pending(const struct ssl_st *);
void *use(void);
void *use(void) {
    struct ssl_st *ssl = SSL_new(NULL);
    int wrote = SSL_write(ssl, "? ?", 3);
    printf("%d %d\\n", wrote, SSL_pending(ssl));
    fflush(stdout);
    return ssl;
}
"""
TWIN_USER = """
#include <dlfcn.h>
#include <stdio.h>
int main(int count, char **paths) {
    void *before = NULL;
    int again = 0;
    for (int i = 1; i < count; i++) {
        void *library = dlopen(paths[i], RTLD_NOW | RTLD_LOCAL);
        if (library == NULL) { puts(dlerror()); return 2; }
        void *ssl = ((void *(*)(void))dlsym(library, "use"))();
        again += ssl == before;
        before = ssl;
        if (dlclose(library) != 0) { return 2; }
    }
    printf("%d\\n", again);
    return 0;
}
"""


def compiled(directory, name, text, *options):
    path = os.path.join(directory, name)
    subprocess.run(["gcc", "-O2", "-x", "c", "-", "-x", "none", "-o", path, *options], input=text.encode(),
                   check=True)
    return path


@test
def another_library_in_the_place_of_the_first_gets_its_own_functions():
    for version in ("OpenSSL 3.0.99 twin", "LibreSSL 3.9 twin"):
        for mode in ("enforce", "off"):
            with harmlab.Host() as host:
                callers = []
                for n in (1, 2):
                    twin = compiled(host.directory, f"libtwin{n}.so", TWIN, "-shared", "-fPIC",
                                    f"-DTWIN={n}", f'-DVERSION="{version}"')
                    callers.append(compiled(host.directory, f"libcaller{n}.so", CALLER, "-shared",
                                            "-fPIC", "-Wl,--no-as-needed", twin))
                turns = [callers[i % 2] for i in range(2 * LIBSSL_MAX + 2)]
                done = host.run(compiled(host.directory, "user", TWIN_USER), *turns,
                                NULLSPEND_MODE=mode)
                equal((done.returncode, done.stderr), (0, ""), done)
                *lines, again = done.stdout.splitlines()
                equal(lines, [f"3 {13 + i % 2 * 10}" for i in range(len(turns))], version)
                check(int(again) > LIBSSL_MAX, f"only {again} lay where another was before")
                if mode == "enforce":
                    name = "connections_governed" if "Open" in version else "connections_libressl"
                    equal(host.counters()[name], len(turns), name)


if __name__ == "__main__":
    main()
