/* SPDX-License-Identifier: Apache-2.0 */
#include "pricing/fields.h"

#include <string.h>

#include "pricing/catalogue.h"

#define SECONDS_PER_DAY 86400

bool
ns_price_is_none(const char *field)
{
    return strcmp(field, "-") == 0;
}

bool
ns_price_read_number(const char *field, uint64_t least, uint64_t most, uint64_t *number)
{
    uint64_t value = 0;
    size_t digits = strspn(field, "0123456789");
    if (digits == 0 || digits > 19 || field[digits] != '\0') {
        return false;
    }
    for (size_t i = 0; i < digits; i++) {
        value = value * 10 + (uint64_t)(field[i] - '0');
    }
    *number = value;
    return value >= least && value <= most;
}

/* Does the field look like this? 0 stands for any digit, anything else for itself. */
static bool
has_form(const char *field, const char *form)
{
    size_t i = 0;
    for (; form[i] != '\0'; i++) {
        if (form[i] == '0' ? (field[i] < '0' || field[i] > '9') : field[i] != form[i]) {
            return false;
        }
    }
    return field[i] == '\0';
}

static int32_t
two_digits(const char *field)
{
    return (field[0] - '0') * 10 + (field[1] - '0');
}

/* Days since 1970-01-01 of a date of the Gregorian calendar (2000 to 2999). */
static int64_t
days_of(int32_t year, int32_t month, int32_t day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return y * 365 + y / 4 - y / 100 + y / 400 + day_of_year - 719468;
}

bool
ns_price_read_date(const char *field, int64_t *unix_s)
{
    static const int32_t days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (!has_form(field, "2000-00-00")) {
        return false;
    }
    int32_t year = two_digits(field) * 100 + two_digits(field + 2);
    int32_t month = two_digits(field + 5), day = two_digits(field + 8);
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (month < 1 || month > 12 || day < 1 || day > days[month - 1] ||
        (month == 2 && day == 29 && !leap)) {
        return false;
    }
    *unix_s = days_of(year, month, day) * SECONDS_PER_DAY;
    return true;
}

bool
ns_price_read_time(const char *field, int32_t *second)
{
    if (!has_form(field, "00:00:00")) {
        return false;
    }
    int32_t h = two_digits(field), m = two_digits(field + 3), s = two_digits(field + 6);
    *second = h * 3600 + m * 60 + s;
    return h < 24 && m < 60 && s < 60;
}

void
ns_price_lower_text(char *text)
{
    for (; *text != '\0'; text++) {
        *text = ns_price_lower(*text);
    }
}
