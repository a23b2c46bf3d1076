/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/money.h"
#include "base/utf8.h"
#include "cli/cli.h"

#define SPAN_SECONDS_MAX (INT64_C(100) * 366 * 86400)

int
ns_complain(int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fflush(stdout);
    fputs("nullspend: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    return code;
}

int
ns_complain_usage(const struct ns_command *command, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "nullspend %s: ", command->name);
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\nTry 'nullspend %s --help'.\n", command->name);
    va_end(arguments);
    return NS_EXIT_USAGE;
}

static const struct ns_option *
find_option(const struct ns_option *options, size_t count, const char *argument, size_t name_bytes)
{
    for (size_t i = 0; i < count; i++) {
        if (strlen(options[i].name) == name_bytes &&
            memcmp(options[i].name, argument, name_bytes) == 0) {
            return &options[i];
        }
    }
    return NULL;
}

static int
take_value(const struct ns_command *command, const struct ns_option *option, const char *value)
{
    if (option->value != NULL) {
        *option->value = value;
        return -1;
    }
    size_t count = 0;
    while (option->values[count] != NULL) {
        count++;
    }
    if (count == option->values_max) {
        return ns_complain_usage(command, "%s may be given at most %zu times", option->name,
                                 option->values_max);
    }
    option->values[count] = value;
    option->values[count + 1] = NULL;
    return -1;
}

/* Reads the option at argv[*at]; *at is moved past a value of its own word. */
static int
take_option(const struct ns_command *command, char **argv, int argc, int *at,
            const struct ns_option *options, size_t option_count)
{
    const char *argument = argv[*at];
    const char *equals = strchr(argument, '=');
    size_t name_bytes = equals != NULL ? (size_t)(equals - argument) : strlen(argument);
    const struct ns_option *option = find_option(options, option_count, argument, name_bytes);
    if (option == NULL) {
        return ns_complain_usage(command, "no option %.*s", (int)name_bytes, argument);
    }
    if (option->flag != NULL) {
        if (equals != NULL) {
            return ns_complain_usage(command, "%s takes no value", option->name);
        }
        *option->flag = true;
        return -1;
    }
    if (equals != NULL) {
        return take_value(command, option, equals + 1);
    }
    if (*at + 1 >= argc) {
        return ns_complain_usage(command, "%s needs a value", option->name);
    }
    return take_value(command, option, argv[++*at]);
}

int
ns_arguments_read(const struct ns_command *command, int argc, char **argv,
                  const struct ns_option *options, size_t option_count, const char **operands,
                  size_t operands_max)
{
    size_t count = 0;
    bool all_operands = false;
    operands[0] = NULL;
    for (int i = 1; i < argc; i++) {
        if (!all_operands && strcmp(argv[i], "--") == 0) {
            all_operands = true;
            continue;
        }
        if (!all_operands && (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)) {
            fputs(command->help, stdout);
            return NS_EXIT_DONE;
        }
        if (!all_operands && argv[i][0] == '-' && argv[i][1] != '\0') {
            int code = take_option(command, argv, argc, &i, options, option_count);
            if (code >= 0) {
                return code;
            }
            continue;
        }
        if (count == operands_max) {
            return ns_complain_usage(command, "one argument too many: %s", argv[i]);
        }
        operands[count++] = argv[i];
        operands[count] = NULL;
    }
    return -1;
}

int
ns_span_parse(const char *text, int64_t *seconds)
{
    static const struct {
        char unit;
        int64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 604800}};
    int64_t count = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9'; at++) {
        count = count * 10 + (*at - '0');
        if (count > SPAN_SECONDS_MAX) {
            return -EINVAL;
        }
    }
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (at != text && at[0] == units[i].unit && at[1] == '\0' && count > 0 &&
            count <= SPAN_SECONDS_MAX / units[i].seconds) {
            *seconds = count * units[i].seconds;
            return 0;
        }
    }
    return -EINVAL;
}

int
ns_amount_check(const struct ns_command *command, const char *option, const char *text,
                int64_t *nanousd)
{
    int error = ns_money_parse(text, strlen(text), nanousd);
    const char *why = error == -EDOM     ? "more than 9 decimal places"
                      : error == -ERANGE ? "too large"
                      : error != 0       ? "not an amount like 25 or 0.5"
                      : text[0] == '-'   ? "negative"
                                         : NULL;
    return why != NULL ? ns_complain_usage(command, "%s %s: %s", option, text, why) : -1;
}

const char *
ns_label_fault(const char *text, size_t bytes_max)
{
    size_t bytes = strlen(text);
    if (bytes == 0) {
        return "is empty";
    }
    if (bytes > bytes_max) {
        return "is too long";
    }
    if (text[0] == ' ' || text[bytes - 1] == ' ') {
        return "begins or ends with a blank";
    }
    if (text[bytes - 1] == '*') {
        return "ends with a star";
    }
    return ns_utf8_is_text(text, bytes) ? NULL : "is not UTF-8 text without control characters";
}

int
ns_number_check(const struct ns_command *command, const char *what, const char *text)
{
    size_t digits = text == NULL ? 0 : strspn(text, "0123456789");
    if (digits == 0 || digits > 18 || text[digits] != '\0') {
        return ns_complain_usage(command, "wants the number of a %s%s%s", what,
                                 text == NULL ? "" : ", not ", text == NULL ? "" : text);
    }
    return -1;
}
