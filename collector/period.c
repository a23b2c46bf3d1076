/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The calendar of budgets: UTC, no leap seconds, a week starts on Monday. Days are counted with
 * H. Hinnant's civil-calendar algorithms ("chrono-Compatible Low-Level Date Algorithms"), so that
 * neither time zone files nor a C library's locks are touched.
 */
#include "collector/ledger.h"

#define NS_SECOND INT64_C(1000000000)
#define NS_HOUR (3600 * NS_SECOND)
#define NS_DAY (24 * NS_HOUR)
#define NS_WEEK (7 * NS_DAY)
/* 1970-01-01 was a Thursday: the Monday before it. */
#define FIRST_MONDAY_NS (-3 * NS_DAY)

static int64_t
floor_div(int64_t a, int64_t b)
{
    int64_t q = a / b;
    return a % b < 0 ? q - 1 : q;
}

/* Days since 1970-01-01 of the first of a month; month counts from 0 and may be 12. */
static int64_t
days_of_month(int64_t year, int64_t month)
{
    year += month / 12;
    month = month % 12 + 1;
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = floor_div(y, 400);
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

/* The year and the month (from 0) of a day. */
static void
month_of_days(int64_t days, int64_t *year, int64_t *month)
{
    int64_t z = days + 719468;
    int64_t era = floor_div(z, 146097);
    int64_t doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    *month = mp < 10 ? mp + 2 : mp - 10;
    *year = yoe + era * 400 + (*month < 2);
}

/* A day's beginning, held at the ends of int64. */
static int64_t
days_to_ns(int64_t days)
{
    int64_t ns;
    if (__builtin_mul_overflow(days, NS_DAY, &ns)) {
        return days < 0 ? INT64_MIN : INT64_MAX;
    }
    return ns;
}

static void
fixed_bounds(int64_t at_ns, int64_t origin_ns, int64_t length_ns, int64_t *start_ns,
             int64_t *end_ns)
{
    int64_t into = at_ns % length_ns - origin_ns % length_ns;
    into %= length_ns;
    if (into < 0) {
        into += length_ns;
    }
    if (__builtin_sub_overflow(at_ns, into, start_ns)) {
        *start_ns = INT64_MIN;
    }
    if (__builtin_add_overflow(at_ns, length_ns - into, end_ns)) {
        *end_ns = INT64_MAX;
    }
}

static void
month_bounds(int64_t at_ns, int64_t *start_ns, int64_t *end_ns)
{
    int64_t year;
    int64_t month;
    month_of_days(floor_div(at_ns, NS_DAY), &year, &month);
    *start_ns = days_to_ns(days_of_month(year, month));
    *end_ns = days_to_ns(days_of_month(year, month + 1));
}

void
ns_period_bounds(enum ns_period period, int64_t at_ns, int64_t *start_ns, int64_t *end_ns)
{
    switch (period) {
    case NS_PERIOD_HOUR:
        fixed_bounds(at_ns, 0, NS_HOUR, start_ns, end_ns);
        return;
    case NS_PERIOD_DAY:
        fixed_bounds(at_ns, 0, NS_DAY, start_ns, end_ns);
        return;
    case NS_PERIOD_WEEK:
        fixed_bounds(at_ns, FIRST_MONDAY_NS, NS_WEEK, start_ns, end_ns);
        return;
    case NS_PERIOD_MONTH:
        month_bounds(at_ns, start_ns, end_ns);
        return;
    case NS_PERIOD_TOTAL:
    case NS_PERIOD_COUNT:
        break;
    }
    *start_ns = at_ns < 0 ? INT64_MIN : 0;
    *end_ns = INT64_MAX;
}
