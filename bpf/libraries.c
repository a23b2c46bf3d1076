/* SPDX-License-Identifier: Apache-2.0 */
#include "bpf/libraries.h"

#include <errno.h>
#include <stddef.h>

#include "bpf/object.h"

/* The rows of a library follow each other. Nothing is probed of one whose first is not there. */
struct row {
    int library;
    const char *symbol;
    enum ns_hook hook, at_return;
    /* The plain form stands in the row before: both may share a function that is called like this
     * one. */
    bool is_telling;
};

enum { OPENSSL, GNUTLS, NSS, NSPR };

static const struct row rows[] = {
    /* and BoringSSL, which has SSL_set_tlsext_host_name in place of SSL_ctrl */
    {OPENSSL, "SSL_write", NS_HOOK_WRITE, NS_HOOK_WRITTEN, false},
    {OPENSSL, "SSL_write_ex", NS_HOOK_WRITE_TELLING, NS_HOOK_WRITTEN, true},
    {OPENSSL, "SSL_read", NS_HOOK_READ, NS_HOOK_HAVE_READ, false},
    {OPENSSL, "SSL_read_ex", NS_HOOK_READ_TELLING, NS_HOOK_HAVE_READ, true},
    {OPENSSL, "SSL_ctrl", NS_HOOK_CTRL, NS_HOOK_NONE, false},
    {OPENSSL, "SSL_set_tlsext_host_name", NS_HOOK_NAME, NS_HOOK_NONE, false},
    {OPENSSL, "SSL_free", NS_HOOK_FREE, NS_HOOK_NONE, false},

    {GNUTLS, "gnutls_record_send", NS_HOOK_WRITE_SIZED, NS_HOOK_WRITTEN, false},
    {GNUTLS, "gnutls_record_send2", NS_HOOK_WRITE_SIZED, NS_HOOK_WRITTEN, false},
    {GNUTLS, "gnutls_record_send_range", NS_HOOK_WRITE_SIZED, NS_HOOK_WRITTEN, false},
    {GNUTLS, "gnutls_record_recv", NS_HOOK_READ, NS_HOOK_HAVE_READ, false},
    {GNUTLS, "gnutls_record_recv_seq", NS_HOOK_READ, NS_HOOK_HAVE_READ, false},
    {GNUTLS, "gnutls_server_name_set", NS_HOOK_NAME_SIZED, NS_HOOK_NONE, false},
    {GNUTLS, "gnutls_deinit", NS_HOOK_FREE, NS_HOOK_NONE, false},

    /* Descriptors become TLS in one file, and are written to, as all others are, in another. */
    {NSS, "SSL_ImportFD", NS_HOOK_IMPORT, NS_HOOK_NONE, false},
    {NSS, "SSL_SetURL", NS_HOOK_NAME, NS_HOOK_NONE, false},
    {NSPR, "PR_Write", NS_HOOK_WRITE_KNOWN, NS_HOOK_WRITTEN, false},
    {NSPR, "PR_Send", NS_HOOK_WRITE_KNOWN, NS_HOOK_WRITTEN, false},
    {NSPR, "PR_Read", NS_HOOK_READ, NS_HOOK_HAVE_READ, false},
    {NSPR, "PR_Recv", NS_HOOK_READ, NS_HOOK_HAVE_READ, false},
    {NSPR, "PR_Close", NS_HOOK_FREE, NS_HOOK_NONE, false},
};
enum { ROWS = sizeof rows / sizeof rows[0] };

_Static_assert(ROWS <= NS_POINTS_MAX, "a file may have all of them");

struct plan {
    struct ns_object *object;
    struct ns_function functions[ROWS];
    struct ns_point *points;
    int count;
};

static bool
has(struct plan *plan, size_t row)
{
    return plan->functions[row].address != 0;
}

static void
add_row(struct plan *plan, size_t row, uint64_t address)
{
    uint64_t offset = ns_object_offset(plan->object, address);
    if (offset != 0) {
        plan->points[plan->count++] =
            (struct ns_point){offset, rows[row].hook, rows[row].at_return};
    }
}

/* A row with a point of its own: where it is cheap, or at its entry. */
static void
plan_row(struct plan *plan, size_t row)
{
    bool cheap;
    if (has(plan, row)) {
        add_row(plan, row, ns_point_of_entry(&plan->functions[row], &cheap));
    }
}

/* The plain row and the telling one behind it, in one function that both call, if they are dear
 * themselves and that one is not. */
static bool
plan_shared(struct plan *plan, size_t row)
{
    const struct ns_function *plain = &plan->functions[row], *telling = plain + 1;
    struct ns_function shared = {0};
    bool cheap, cheap_too;
    if (!has(plan, row) || !has(plan, row + 1)) {
        return false;
    }
    ns_point_of_entry(plain, &cheap);
    ns_point_of_entry(telling, &cheap_too);
    if ((cheap && cheap_too) || !ns_point_shared(plain, telling, &shared.address) ||
        !ns_object_code(plan->object, &shared)) {
        return false;
    }
    uint64_t address = ns_point_of_entry(&shared, &cheap);
    if (cheap) {
        add_row(plan, row + 1, address);
    }
    return cheap;
}

int
ns_library_points(const char *path, struct ns_point points[static NS_POINTS_MAX])
{
    const char *names[ROWS];
    struct plan plan = {.points = points};
    for (size_t i = 0; i < ROWS; i++) {
        names[i] = rows[i].symbol;
    }
    plan.object = ns_object_open(path);
    if (plan.object == NULL) {
        return errno == ENOEXEC ? 0 : -errno;
    }
    bool wanted = false;
    ns_object_find(plan.object, names, ROWS, plan.functions);
    for (size_t i = 0; i < ROWS; i++) {
        bool first = i == 0 || rows[i].library != rows[i - 1].library;
        wanted = first ? has(&plan, i) : wanted;
        if (!wanted || !has(&plan, i) || !ns_object_code(plan.object, &plan.functions[i])) {
            plan.functions[i] = (struct ns_function){0};
        }
    }
    for (size_t i = 0; i < ROWS; i++) {
        if (i + 1 < ROWS && rows[i + 1].is_telling && plan_shared(&plan, i)) {
            i++;
        } else {
            plan_row(&plan, i);
        }
    }
    ns_object_close(plan.object);
    return plan.count;
}
