/* SPDX-License-Identifier: Apache-2.0 */
/* What every command of `nullspend` shares: exit codes, complaints, options, the list of commands.
 */
#ifndef NS_CLI_CLI_H
#define NS_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ns_exit {
    NS_EXIT_DONE = 0,
    NS_EXIT_FAILED = 1,
    NS_EXIT_USAGE = 2,
    NS_EXIT_NO_COLLECTOR = 3,
    NS_EXIT_NOT_FOUND = 4,
};

struct ns_command {
    const char *name;
    const char *summary; /* one line for the overview */
    const char *help;    /* usage, options, examples */
    int (*run)(const struct ns_command *command, int argc, char **argv);
};

/* One option of a command; exactly one of value, values and flag is set. */
struct ns_option {
    const char *name;    /* with its dashes */
    const char **value;  /* set to the last value given */
    const char **values; /* gathers up to values_max, NULL after the last */
    size_t values_max;
    bool *flag;
};

/*
 * Reads "--name value", "--name=value" and flags anywhere before "--", and gathers the rest in
 * operands (NULL after the last). --help prints the command's help. Returns -1 to go on, else the
 * exit code; what is wrong has been said.
 */
int ns_arguments_read(const struct ns_command *command, int argc, char **argv,
                      const struct ns_option *options, size_t option_count, const char **operands,
                      size_t operands_max);

/* "nullspend: …" on stderr; returns code. */
__attribute__((format(printf, 2, 3))) int ns_complain(int code, const char *format, ...);

/* The same for wrong usage, with the way to the command's help. Returns NS_EXIT_USAGE. */
__attribute__((format(printf, 2, 3))) int ns_complain_usage(const struct ns_command *command,
                                                            const char *format, ...);

/* "90s", "15m", "1h", "30d", "2w" in seconds. Returns 0 or -EINVAL (also 0 or beyond 100 years). */
int ns_span_parse(const char *text, int64_t *seconds);

/* The number of a request, a grant or a delivery (what), an operand; NULL: not given. Returns -1,
 * else NS_EXIT_USAGE with what is wrong said. */
int ns_number_check(const struct ns_command *command, const char *what, const char *text);

/* An amount in dollars as people write it, into nano-dollars. Returns -1, else NS_EXIT_USAGE with
 * what is wrong said: "--limit -1: negative". */
int ns_amount_check(const struct ns_command *command, const char *option, const char *text,
                    int64_t *nanousd);

/* What is wrong with a name of a customer and its like, so that no budget could count it; NULL:
 * nothing. A star at its end would stand for every such name. */
const char *ns_label_fault(const char *text, size_t bytes_max);

/* The longest names that the library hands on. */
#define NS_LABEL_BYTES_MAX 128
#define NS_TAG_KEY_BYTES_MAX 64
#define NS_TAG_VALUE_BYTES_MAX 256

extern const struct ns_command ns_commands[];
extern const size_t ns_command_count;

int ns_run_main(const struct ns_command *command, int argc, char **argv);
int ns_start_main(const struct ns_command *command, int argc, char **argv);
int ns_stop_main(const struct ns_command *command, int argc, char **argv);
int ns_status_main(const struct ns_command *command, int argc, char **argv);
int ns_budget_main(const struct ns_command *command, int argc, char **argv);
int ns_mandate_main(const struct ns_command *command, int argc, char **argv);
int ns_calls_main(const struct ns_command *command, int argc, char **argv);
int ns_denials_main(const struct ns_command *command, int argc, char **argv);
int ns_explain_main(const struct ns_command *command, int argc, char **argv);
int ns_savings_main(const struct ns_command *command, int argc, char **argv);
int ns_request_main(const struct ns_command *command, int argc, char **argv);
int ns_requests_main(const struct ns_command *command, int argc, char **argv);
int ns_approve_main(const struct ns_command *command, int argc, char **argv);
int ns_reject_main(const struct ns_command *command, int argc, char **argv);
int ns_grant_main(const struct ns_command *command, int argc, char **argv);
int ns_grants_main(const struct ns_command *command, int argc, char **argv);
int ns_audit_main(const struct ns_command *command, int argc, char **argv);
int ns_events_main(const struct ns_command *command, int argc, char **argv);
int ns_endpoint_main(const struct ns_command *command, int argc, char **argv);
int ns_deliveries_main(const struct ns_command *command, int argc, char **argv);
int ns_coverage_main(const struct ns_command *command, int argc, char **argv);
int ns_revenue_main(const struct ns_command *command, int argc, char **argv);
int ns_margins_main(const struct ns_command *command, int argc, char **argv);
int ns_db_main(const struct ns_command *command, int argc, char **argv);
int ns_psql_main(const struct ns_command *command, int argc, char **argv);

#endif
