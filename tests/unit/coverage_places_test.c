/* SPDX-License-Identifier: Apache-2.0 */
/* Processes and their servers, as the agent keeps them, and what evidence comes to. */
#include "bpf/coverage_places.h"

#include <stdlib.h>
#include <unistd.h>

#include "bpf/coverage.h"
#include "tests/harness.h"

static enum ns_darkness
darkness_of(struct ns_tls_evidence evidence, bool attaches, enum ns_governor expected)
{
    struct ns_place place = {.host = "api.openai.com", .evidence = evidence};
    enum ns_darkness darkness;
    CHECK_INT(ns_place_governor(&place, attaches, &darkness), expected);
    return darkness;
}

TEST(evidence_says_what_governs_and_why_nothing_does)
{
    const struct {
        struct ns_tls_evidence evidence;
        bool attaches;
        enum ns_governor governor;
        enum ns_darkness darkness;
    } rows[] = {
        {{.looked = true, .library = true, .openssl = true},
         true,
         NS_GOVERNOR_PRELOAD,
         NS_DARKNESS_NONE},
        {{.looked = true, .library = true, .shows_openssl = true},
         true,
         NS_GOVERNOR_DETOUR,
         NS_DARKNESS_NONE},
        {{.looked = true, .library = true, .jvm = true}, true, NS_GOVERNOR_DARK, NS_DARKNESS_JVM},
        {{.looked = true, .library = true, .go = true}, true, NS_GOVERNOR_DARK, NS_DARKNESS_GO},
        {{.looked = true, .openssl = true}, true, NS_GOVERNOR_DARK, NS_DARKNESS_PAST_PROBE},
        {{.looked = true, .openssl = true}, false, NS_GOVERNOR_DARK, NS_DARKNESS_NOT_ATTACHED},
        {{.looked = true, .openssl = true, .rustls = true},
         true,
         NS_GOVERNOR_DARK,
         NS_DARKNESS_RUSTLS},
        {{.looked = true, .rustls = true, .boringssl = true},
         true,
         NS_GOVERNOR_DARK,
         NS_DARKNESS_RUSTLS},
        {{.looked = true, .boringssl = true}, true, NS_GOVERNOR_DARK, NS_DARKNESS_BORINGSSL},
        {{.looked = true, .hidden_openssl = true},
         true,
         NS_GOVERNOR_DARK,
         NS_DARKNESS_OPENSSL_HIDDEN},
        {{.looked = true, .gnutls = true}, true, NS_GOVERNOR_DARK, NS_DARKNESS_GNUTLS},
        {{.looked = true, .nss = true}, true, NS_GOVERNOR_DARK, NS_DARKNESS_NSS},
        {{.looked = true}, true, NS_GOVERNOR_DARK, NS_DARKNESS_UNRECOGNIZED},
        {{0}, true, NS_GOVERNOR_DARK, NS_DARKNESS_NOT_LOOKED_AT},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        CHECK_INT(darkness_of(rows[i].evidence, rows[i].attaches, rows[i].governor),
                  rows[i].darkness);
    }
}

TEST(quic_is_dark_whatever_governs_the_rest_and_a_place_without_a_host_is_unknown)
{
    struct ns_place place = {.host = "api.openai.com", .governed = true};
    enum ns_darkness darkness;
    CHECK_INT(ns_place_governor(&place, true, &darkness), NS_GOVERNOR_EBPF);
    place.quic = true;
    CHECK_INT(ns_place_governor(&place, true, &darkness), NS_GOVERNOR_DARK);
    CHECK_INT(darkness, NS_DARKNESS_QUIC);
    place.host[0] = '\0';
    place.nameless = NS_DARKNESS_ENCRYPTED_NAME;
    CHECK_INT(ns_place_governor(&place, true, &darkness), NS_GOVERNOR_UNKNOWN);
    CHECK_INT(darkness, NS_DARKNESS_ENCRYPTED_NAME);
}

TEST(a_later_process_of_the_same_number_is_another)
{
    struct ns_places *places = ns_places_new();
    struct ns_place *first = ns_places_take(places, 5, 0, "api.openai.com");
    CHECK(ns_places_take(places, 5, 70, "api.openai.com") == first); /* it is known now */
    CHECK_INT(first->start_ticks, 70);
    struct ns_place *second = ns_places_take(places, 5, 80, "api.openai.com");
    CHECK(second != first);
    CHECK(ns_places_take(places, 5, 70, "api.anthropic.com") != first);
    static struct ns_looked looked;
    looked = (struct ns_looked){.pid = 5, .start_ticks = 80, .evidence = {.looked = true}};
    snprintf(looked.executable, sizeof looked.executable, "/usr/bin/curl");
    ns_places_looked(places, &looked);
    CHECK(!first->evidence.looked && second->evidence.looked);
    CHECK_STR(second->process, "curl");
    ns_places_free(places);
}

TEST(places_are_bounded_and_those_with_sockets_stay)
{
    struct ns_places *places = ns_places_new();
    for (uint32_t pid = 1; pid <= NS_COVERAGE_PLACES_MAX; pid++) {
        struct ns_place *place = ns_places_take(places, pid, 1, "api.openai.com");
        REQUIRE(place != NULL);
        place->sockets = 1;
        place->last_seen_ns = pid;
    }
    CHECK(ns_places_take(places, 9999999, 1, "api.openai.com") == NULL);
    ns_places_take(places, 7, 1, "api.openai.com")->sockets = 0;
    CHECK(ns_places_take(places, 9999999, 1, "api.openai.com") != NULL);
    CHECK(ns_places_take(places, 7, 1, "api.openai.com") != NULL); /* in the place of the other */
    ns_places_expire(places, 100);
    ns_places_free(places);
}

/* --- files -------------------------------------------------------------------------------------
 */

static struct ns_tls_evidence
look_into(const char *path)
{
    struct ns_tls_evidence evidence = {0};
    CHECK_INT(ns_evidence_look_into(path, &evidence), 0);
    return evidence;
}

TEST(files_show_what_is_in_them_and_nothing_else)
{
    struct ns_tls_evidence plain = look_into("/bin/true");
    CHECK(!plain.go && !plain.shows_openssl && !plain.hidden_openssl);
    CHECK(look_into("/usr/lib/x86_64-linux-gnu/libssl.so.3").shows_openssl);
    struct ns_tls_evidence client =
        look_into("/usr/bin/openssl"); /* it wants a libssl, and has none */
    CHECK(!client.shows_openssl && !client.hidden_openssl && !client.rustls && !client.boringssl);
    struct ns_tls_evidence text = look_into("Makefile");
    CHECK(!text.go && !text.shows_openssl);
    struct ns_tls_evidence none = {0};
    CHECK(ns_evidence_look_into("/proc/nowhere", &none) < 0);
}

TEST(a_broken_program_shows_nothing_and_breaks_nothing)
{
    size_t bytes;
    char *program = ns_test_read_file("/usr/lib/x86_64-linux-gnu/libssl.so.3", &bytes);
    REQUIRE(program != NULL);
    char path[] = "/tmp/ns-evidence-XXXXXX";
    int fd = mkstemp(path);
    REQUIRE(fd >= 0);
    FILE *file = fdopen(fd, "w+");
    for (int round = 0; round < 300; round++) {
        size_t head = ns_test_random() % 64;
        char before = program[head];
        program[head] = (char)ns_test_random();
        size_t keep = round % 3 == 0 ? ns_test_random() % bytes : bytes;
        rewind(file);
        CHECK(ftruncate(fd, 0) == 0 && fwrite(program, 1, keep, file) == keep);
        fflush(file);
        struct ns_tls_evidence evidence = {0};
        ns_evidence_look_into(path, &evidence);
        program[head] = before;
    }
    fclose(file);
    remove(path);
    free(program);
}
