/* SPDX-License-Identifier: Apache-2.0 */
#include "collector/store_link.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* A server that does not greet within this is away. */
#define NS_LINK_CONNECT_S 10
/* COPY data is given to libpq in such pieces, so that its own buffer stays small. */
#define NS_LINK_COPY_BYTES 65536

/* Keeps the first line of what libpq says. */
static void
keep_error(struct ns_link *link, const PGresult *result, const char *text)
{
    const char *state = result == NULL ? NULL : PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *primary =
        result == NULL ? NULL : PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    if (primary == NULL) {
        primary = text != NULL ? text : PQerrorMessage(link->connection);
    }
    snprintf(link->sqlstate, sizeof link->sqlstate, "%s", state == NULL ? "" : state);
    snprintf(link->error, sizeof link->error, "%.*s", (int)strcspn(primary, "\n"), primary);
}

/* Polls the socket for events, and fd (-1: none) for reading. Returns 0 or -ECANCELED. */
static int
wait_socket(const struct ns_link *link, short events, int fd, int ms)
{
    struct pollfd polled[] = {
        {link->abandon_fd, POLLIN, 0}, {PQsocket(link->connection), events, 0}, {fd, POLLIN, 0}};
    poll(polled, 3, ms);
    return (polled[0].revents & POLLIN) != 0 ? -ECANCELED : 0;
}

static void
ignore_notice(void *context, const PGresult *result)
{
    (void)context;
    (void)result;
}

int
ns_link_open(struct ns_link *link, const char *url, const char *application_name)
{
    const char *keywords[] = {"dbname", "fallback_application_name", "client_encoding", NULL};
    const char *values[] = {url, application_name, "UTF8", NULL};
    struct timespec now;
    ns_link_close(link);
    link->connection = PQconnectStartParams(keywords, values, 1);
    if (link->connection == NULL) {
        snprintf(link->error, sizeof link->error, "no memory");
        return -ECONNREFUSED;
    }
    clock_gettime(CLOCK_MONOTONIC, &now);
    time_t end = now.tv_sec + NS_LINK_CONNECT_S;
    PostgresPollingStatusType next =
        PQstatus(link->connection) == CONNECTION_BAD ? PGRES_POLLING_FAILED : PGRES_POLLING_WRITING;
    int result = 0;
    while (next != PGRES_POLLING_OK && next != PGRES_POLLING_FAILED && result == 0) {
        result = wait_socket(link, next == PGRES_POLLING_READING ? POLLIN : POLLOUT, -1, 1000);
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (result == 0 && now.tv_sec > end) {
            keep_error(link, NULL, "the server does not answer");
            result = -ECONNREFUSED;
        } else if (result == 0) {
            next = PQconnectPoll(link->connection);
        }
    }
    if (next == PGRES_POLLING_FAILED) {
        keep_error(link, NULL, NULL);
        result = -ECONNREFUSED;
    }
    if (result < 0) {
        ns_link_close(link);
        return result;
    }
    PQsetnonblocking(link->connection, 1);
    PQsetNoticeReceiver(link->connection, ignore_notice, NULL);
    return 0;
}

void
ns_link_close(struct ns_link *link)
{
    if (link->connection != NULL) {
        PQfinish(link->connection);
        link->connection = NULL;
    }
}

bool
ns_link_is_up(const struct ns_link *link)
{
    return link->connection != NULL && PQstatus(link->connection) == CONNECTION_OK;
}

/* Sends what libpq has buffered, taking in what arrives meanwhile. */
static int
flush(struct ns_link *link)
{
    for (;;) {
        int left = PQflush(link->connection);
        if (left <= 0) {
            return left < 0 ? -EIO : 0;
        }
        if (wait_socket(link, POLLIN | POLLOUT, -1, -1) < 0) {
            return -ECANCELED;
        }
        if (!PQconsumeInput(link->connection)) {
            return -EIO;
        }
    }
}

/* The next result of the statement that runs. *result is NULL at its end. */
static int
next_result(struct ns_link *link, PGresult **result)
{
    int status = flush(link);
    while (status == 0 && PQisBusy(link->connection)) {
        status = wait_socket(link, POLLIN, -1, -1);
        if (status == 0 && !PQconsumeInput(link->connection)) {
            status = -EIO;
        }
    }
    *result = NULL;
    if (status < 0) {
        keep_error(link, NULL, status == -ECANCELED ? "given up" : NULL);
        return status;
    }
    *result = PQgetResult(link->connection);
    return 0;
}

static bool
is_error(const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    return status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE;
}

/* Takes all results of the statement that runs; keeps the last for the caller. Returns 0 or -EIO
 * where any of them was an error. */
static int
finish(struct ns_link *link, PGresult **last)
{
    PGresult *result;
    int failed = 0;
    *last = NULL;
    for (;;) {
        if (next_result(link, &result) < 0) {
            failed = -EIO;
            break;
        }
        if (result == NULL) {
            break;
        }
        if (is_error(result)) {
            if (failed == 0) {
                keep_error(link, result, NULL);
            }
            failed = -EIO;
        }
        PQclear(*last);
        *last = result;
        if (PQresultStatus(result) == PGRES_COPY_IN) {
            return failed; /* the caller goes on */
        }
    }
    if (failed < 0) {
        PQclear(*last);
        *last = NULL;
    }
    return failed;
}

int
ns_link_run(struct ns_link *link, const char *sql)
{
    PGresult *last;
    if (!PQsendQuery(link->connection, sql)) {
        keep_error(link, NULL, NULL);
        return -EIO;
    }
    int result = finish(link, &last);
    PQclear(last);
    return result;
}

PGresult *
ns_link_query(struct ns_link *link, const char *sql, int parameter_count,
              const char *const *parameters)
{
    PGresult *last;
    if (!PQsendQueryParams(link->connection, sql, parameter_count, NULL, parameters, NULL, NULL,
                           0)) {
        keep_error(link, NULL, NULL);
        return NULL;
    }
    finish(link, &last);
    return last;
}

static int
put_copy(struct ns_link *link, const char *bytes, size_t count)
{
    while (count > 0) {
        size_t piece = count < NS_LINK_COPY_BYTES ? count : NS_LINK_COPY_BYTES;
        int put = PQputCopyData(link->connection, bytes, (int)piece);
        if (put < 0 || flush(link) < 0) {
            return -EIO;
        }
        if (put > 0) {
            bytes += piece;
            count -= piece;
        }
    }
    return PQputCopyEnd(link->connection, NULL) < 0 ? -EIO : 0;
}

int
ns_link_copy(struct ns_link *link, const char *sql, const void *bytes, size_t count)
{
    PGresult *last;
    if (!PQsendQuery(link->connection, sql)) {
        keep_error(link, NULL, NULL);
        return -EIO;
    }
    int result = finish(link, &last);
    bool copying = last != NULL && PQresultStatus(last) == PGRES_COPY_IN;
    PQclear(last);
    if (result < 0 || !copying) {
        return -EIO;
    }
    if (put_copy(link, bytes, count) < 0) {
        keep_error(link, NULL, NULL);
        return -EIO;
    }
    result = finish(link, &last);
    PQclear(last);
    return result;
}

int
ns_link_wait(struct ns_link *link, int fd, int ms)
{
    if (wait_socket(link, POLLIN, fd, ms) < 0) {
        return -ECANCELED;
    }
    if (!PQconsumeInput(link->connection) || PQstatus(link->connection) != CONNECTION_OK) {
        keep_error(link, NULL, NULL);
        return -EIO;
    }
    return 0;
}
