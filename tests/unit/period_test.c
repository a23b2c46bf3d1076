/* SPDX-License-Identifier: Apache-2.0 */
#include <time.h>

#include "collector/ledger.h"
#include "tests/harness.h"

#define NS_S INT64_C(1000000000)
#define NS_DAY (86400 * NS_S)

static int64_t
at(const char *text)
{
    struct tm tm = {0};
    if (strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) == NULL) {
        NS_FAIL("%s is no time", text);
    }
    return (int64_t)timegm(&tm) * NS_S;
}

TEST(bounds_of_known_moments)
{
    static const struct {
        enum ns_period period;
        const char *at, *start, *end;
    } rows[] = {
        {NS_PERIOD_HOUR, "2026-11-24T01:59:59", "2026-11-24T01:00:00", "2026-11-24T02:00:00"},
        {NS_PERIOD_HOUR, "2026-11-24T02:00:00", "2026-11-24T02:00:00", "2026-11-24T03:00:00"},
        {NS_PERIOD_DAY, "2026-12-31T23:59:59", "2026-12-31T00:00:00", "2027-01-01T00:00:00"},
        {NS_PERIOD_WEEK, "2026-11-24T12:00:00", "2026-11-23T00:00:00", "2026-11-30T00:00:00"},
        {NS_PERIOD_WEEK, "2026-11-22T23:59:59", "2026-11-16T00:00:00", "2026-11-23T00:00:00"},
        {NS_PERIOD_WEEK, "2026-11-23T00:00:00", "2026-11-23T00:00:00", "2026-11-30T00:00:00"},
        {NS_PERIOD_WEEK, "1970-01-01T00:00:00", "1969-12-29T00:00:00", "1970-01-05T00:00:00"},
        {NS_PERIOD_MONTH, "2028-02-29T12:00:00", "2028-02-01T00:00:00", "2028-03-01T00:00:00"},
        {NS_PERIOD_MONTH, "2100-02-28T23:59:59", "2100-02-01T00:00:00", "2100-03-01T00:00:00"},
        {NS_PERIOD_MONTH, "2026-12-01T00:00:00", "2026-12-01T00:00:00", "2027-01-01T00:00:00"},
        {NS_PERIOD_MONTH, "1969-12-31T23:00:00", "1969-12-01T00:00:00", "1970-01-01T00:00:00"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int64_t start;
        int64_t end;
        ns_period_bounds(rows[i].period, at(rows[i].at), &start, &end);
        CHECK_INT(start, at(rows[i].start));
        CHECK_INT(end, at(rows[i].end));
    }
}

TEST(a_total_runs_from_1970_without_end)
{
    int64_t start;
    int64_t end;
    ns_period_bounds(NS_PERIOD_TOTAL, at("2026-11-24T00:00:00"), &start, &end);
    CHECK_INT(start, 0);
    CHECK_INT(end, INT64_MAX);
}

TEST(months_agree_with_the_c_library_for_every_day_of_four_centuries)
{
    for (int64_t day = -100 * 365; day < 250 * 365; day++) {
        time_t s = (time_t)(day * 86400);
        struct tm tm;
        gmtime_r(&s, &tm);
        struct tm first = {.tm_year = tm.tm_year, .tm_mon = tm.tm_mon, .tm_mday = 1};
        struct tm next = {.tm_year = tm.tm_year, .tm_mon = tm.tm_mon + 1, .tm_mday = 1};
        int64_t start;
        int64_t end;
        ns_period_bounds(NS_PERIOD_MONTH, day * NS_DAY, &start, &end);
        if (start != (int64_t)timegm(&first) * NS_S) {
            CHECK_INT(start, (int64_t)timegm(&first) * NS_S);
            return;
        }
        if (day < 240 * 365) {
            CHECK_INT(end, (int64_t)timegm(&next) * NS_S);
        }
    }
}

TEST(periods_hold_their_moment_and_follow_one_another_without_a_gap)
{
    for (int i = 0; i < 20000; i++) {
        int64_t moment = (int64_t)(ns_test_random() % (UINT64_C(1) << 62));
        for (int p = NS_PERIOD_HOUR; p < NS_PERIOD_TOTAL; p++) {
            int64_t start;
            int64_t end;
            int64_t next_start;
            int64_t next_end;
            ns_period_bounds((enum ns_period)p, moment, &start, &end);
            CHECK(start <= moment && moment < end);
            ns_period_bounds((enum ns_period)p, end, &next_start, &next_end);
            CHECK_INT(next_start, end);
            ns_period_bounds((enum ns_period)p, end - 1, &next_start, &next_end);
            CHECK_INT(next_start, start);
        }
    }
}

TEST(the_ends_of_time_do_not_overflow)
{
    static const int64_t moments[] = {0, INT64_MAX - 1, INT64_MAX, INT64_MIN, INT64_MIN + 1};
    for (size_t i = 0; i < sizeof(moments) / sizeof(moments[0]); i++) {
        for (int p = NS_PERIOD_HOUR; p < NS_PERIOD_COUNT; p++) {
            int64_t start;
            int64_t end;
            ns_period_bounds((enum ns_period)p, moments[i], &start, &end);
            CHECK(start <= moments[i] && moments[i] <= end);
        }
    }
}
