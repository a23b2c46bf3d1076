/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/pricing_support.h"

#define RULES                                                                                      \
    "catalogue\t1\ttest\nprovider\tone\nalias\tuno\nhost\tequals\tapi.one.test\n"                  \
    "host\tsuffix\t.one.test\nfallback\ttwo\n"                                                     \
    "model\texact\t-\t1\t-\nmatch\tequals\tExact\t-\n"                                             \
    "model\tpro\t-\t1\t-\nmatch\tprefix\tbig-pro\ttts\n"                                           \
    "model\tbig\t-\t1\t-\nmatch\tprefix\tbig\t-\nmatch\tdate8\tday\t-\nmatch\tdate10\tiso\t-\n"    \
    "model\tsmall\t-\t1\t-\nmatch\tsuffix\t-small\t-\nmatch\tdigit\tv-\t-\n"                       \
    "model\tlate\t-\t1\t-\nmatch\tequals\tbig-late\t-\nmatch\tcontains\tlama\t-\n"                 \
    "match\tprefix\texac\t-\n"                                                                     \
    "provider\ttwo\nfallback\tthree\n"                                                             \
    "model\tother\t-\t1\t-\nmatch\tequals\tother\t-\nmatch\tequals\texact\t-\n"                    \
    "provider\tthree\nmodel\tthird\t-\t1\t-\nmatch\tprefix\t\t-\n"

static const char *
find(const struct ns_catalogue *catalogue, const char *provider, const char *name)
{
    const struct ns_price_model *model = ns_catalogue_find(catalogue, provider, name);
    return model == NULL ? "(none)" : ns_price_model_id(model);
}

TEST(the_first_model_with_a_rule_that_fits_wins)
{
    static const struct {
        const char *name, *model;
    } rows[] = {
        {"exact", "exact"},
        {"EXACT", "exact"},
        {"exact-1", "late"},
        {"big", "big"},
        {"big-pro", "pro"},
        {"big-pro-2", "pro"},
        {"big-pro-tts", "big"},
        {"big-pro-TTS-1", "big"},
        {"big-pro-ttsx", "pro"},
        {"big-pro-xtts-tts", "big"},
        {"big-late", "big"},
        {"very-small", "small"},
        {"-small", "small"},
        {"small", "(none)"},
        {"big-small", "big"},
        {"day-20260101", "big"},
        {"day-2026010", "(none)"},
        {"day-202601011", "(none)"},
        {"day", "(none)"},
        {"iso-2026-01-01", "big"},
        {"iso-2026-01-0x", "(none)"},
        {"iso-2026-01-01-", "(none)"},
        {"v-1abc", "small"},
        {"v-", "(none)"},
        {"v-x", "(none)"},
        {"ollama/x", "late"},
        {"lama", "late"},
        {"", "(none)"},
        {"other", "other"},
    };
    struct ns_catalogue *catalogue = load_records(RULES);
    REQUIRE(catalogue != NULL);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *found = find(catalogue, "one", rows[i].name);
        if (strcmp(found, rows[i].model) != 0) {
            NS_FAIL("%s found %s, not %s", rows[i].name, found, rows[i].model);
        }
    }
    ns_catalogue_free(catalogue);
}

TEST(a_provider_is_known_by_alias_and_host_in_any_case)
{
    struct ns_catalogue *catalogue = load_records(RULES);
    REQUIRE(catalogue != NULL);
    static const char *const names[] = {"one",          "ONE",          "uno",
                                        "api.one.test", "API.one.TEST", "eu.one.test"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        CHECK_STR(find(catalogue, names[i], "exact"), "exact");
    }
    CHECK_STR(find(catalogue, "one.test", "exact"), "(none)");
    CHECK_STR(find(catalogue, "api.one.test.evil", "exact"), "(none)");
    CHECK_STR(find(catalogue, "", "exact"), "(none)");
    CHECK(ns_catalogue_find(catalogue, NULL, "exact") == NULL);
    CHECK(ns_catalogue_find(catalogue, "one", NULL) == NULL);
    ns_catalogue_free(catalogue);
}

TEST(fallback_providers_are_asked_in_order_and_not_further)
{
    struct ns_catalogue *catalogue = load_records(RULES);
    REQUIRE(catalogue != NULL);
    CHECK_STR(find(catalogue, "one", "other"), "other");
    CHECK_STR(find(catalogue, "two", "exact"), "other");
    CHECK_STR(find(catalogue, "two", "anything"), "third");
    CHECK_STR(find(catalogue, "one", "anything"), "(none)");
    ns_catalogue_free(catalogue);
}

TEST(a_name_too_long_to_be_one_matches_nothing)
{
    struct ns_catalogue *catalogue = load_records(RULES);
    REQUIRE(catalogue != NULL);
    char name[300];
    memset(name, 'a', sizeof(name));
    name[255] = '\0';
    CHECK_STR(find(catalogue, "three", name), "third");
    name[255] = 'a';
    name[256] = '\0';
    CHECK_STR(find(catalogue, "three", name), "(none)");
    CHECK_STR(find(catalogue, name, "exact"), "(none)");
    ns_catalogue_free(catalogue);
}

TEST(the_contracts_names_of_providers_find_their_rows)
{
    static const struct {
        const char *provider, *name, *model;
    } rows[] = {
        {"openai", "gpt-4o-2024-08-06", "gpt-4o"},
        {"azure", "gpt-4o", "gpt-4o"},
        {"azure", "claude-sonnet-4-5", "claude-sonnet-4-5"},
        {"anthropic", "claude-sonnet-4-5-20250929", "claude-sonnet-4-5"},
        {"gemini", "gemini-2.5-flash", "gemini-2.5-flash"},
        {"vertex", "gemini-2.5-pro", "gemini-2.5-pro"},
        {"gemini", "gemini-2.5-pro-preview-tts", "gemini-2.5-pro-tts"},
        {"vertex", "claude-sonnet-4-5@20250929", "claude-sonnet-4-5"},
        {"xai", "grok-4.3-20260801", "grok-4.3"},
        {"moonshot", "kimi-k2.5", "kimi-k2.5"},
        {"voyage", "voyage-3", "voyage-3"},
        {"ollama", "llama3:8b", "local"},
        {"api.novita.ai", "deepseek/deepseek-r1", "deepseek/deepseek-r1"},
        {"openrouter", "somebody/new:free", ":free"},
        {"openrouter", "somebody/new", "(none)"},
        {"openai", "no-such-model", "(none)"},
        {"nobody", "gpt-4o", "(none)"},
    };
    struct ns_catalogue *catalogue = load_builtin();
    REQUIRE(catalogue != NULL);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *found = find(catalogue, rows[i].provider, rows[i].name);
        if (strcmp(found, rows[i].model) != 0) {
            NS_FAIL("%s %s found %s, not %s", rows[i].provider, rows[i].name, found, rows[i].model);
        }
    }
    ns_catalogue_free(catalogue);
}

TEST(the_dearest_model_is_the_one_that_costs_most_now)
{
    struct ns_catalogue *catalogue = load_records(
        "catalogue\t1\ttest\nprovider\tp\nalias\tq\n"
        "model\ta\t-\t1\t-\nmatch\tequals\ta\t-\nset\t-\t-\t-\nprice\tinput_tokens\t5\t1\t0\n"
        "price\toutput_tokens\t5\t1\t0\nset\t2026-01-01\t-\t-\nprice\tinput_tokens\t1\t1\t0\n"
        "price\toutput_tokens\t1\t1\t0\n"
        "model\tb\t-\t1\t-\nmatch\tequals\tb\t-\nset\t-\t-\t-\nprice\tinput_tokens\t3\t1\t0\n"
        "price\toutput_tokens\t3\t1\t0\n"
        "model\tc\t-\t1\tfree\nmatch\tequals\tc\t-\nprovider\tempty\n");
    REQUIRE(catalogue != NULL);
    const struct ns_price_model *dearest = ns_catalogue_dearest(catalogue, "Q", 1700000000);
    REQUIRE(dearest != NULL);
    CHECK_STR(ns_price_model_id(dearest), "a");
    dearest = ns_catalogue_dearest(catalogue, "p", 1767225600);
    REQUIRE(dearest != NULL);
    CHECK_STR(ns_price_model_id(dearest), "b");
    CHECK(ns_catalogue_dearest(catalogue, "empty", 0) == NULL);
    CHECK(ns_catalogue_dearest(catalogue, "nobody", 0) == NULL);
    ns_catalogue_free(catalogue);
}

/* --- all of the shared matches.tsv ------------------------------------------------------------ */

/* One rule of the shared file, with a matcher of its own. */
struct shared_rule {
    const char *provider, *model, *kind, *pattern;
};

#define SHARED_RULES_MAX 16384
static struct shared_rule shared_rules[SHARED_RULES_MAX];
static size_t shared_rule_count;

static void
keep_rule(char **field, int count, void *user)
{
    (void)user;
    if (count != 4 || shared_rule_count == SHARED_RULES_MAX) {
        NS_FAIL("a row of %d fields, or too many rows", count);
        return;
    }
    shared_rules[shared_rule_count++] =
        (struct shared_rule){field[0], field[1], field[2], field[3]};
}

/* Removes the backslashes and anchors of a literal regex; *tail is what follows the literal. */
static void
literal_of(const char *regex, char *literal, const char **tail)
{
    const char *at = regex[0] == '^' ? regex + 1 : regex;
    while (*at != '\0' && *at != '$' && strncmp(at, "-\\d", 3) != 0 && strncmp(at, "\\d", 2) != 0) {
        at += *at == '\\';
        *literal++ = *at++;
    }
    *literal = '\0';
    *tail = at;
}

/* A name that a rule matches: the plainest one. False where the form is not known here. */
static bool
example_of(const struct shared_rule *rule, int variant, char *name, size_t name_bytes)
{
    char literal[256];
    const char *tail = "";
    if (strcmp(rule->kind, "regex") == 0) {
        literal_of(rule->pattern, literal, &tail);
        const char *date = strcmp(tail, "-\\d{8}$") == 0                 ? "-20260131"
                           : strcmp(tail, "-\\d{4}-\\d{2}-\\d{2}$") == 0 ? "-2026-01-31"
                           : strcmp(tail, "-\\d") == 0                   ? "-1"
                           : strcmp(tail, "$") == 0                      ? ""
                                                                         : NULL;
        snprintf(name, name_bytes, "%s%s", literal, date == NULL ? "" : date);
        return date != NULL;
    }
    if (strcmp(rule->kind, "and") == 0) {
        const char *begins = strstr(rule->pattern, "starts_with\":\"");
        snprintf(literal, sizeof(literal), "%s", begins + 14);
        literal[strcspn(literal, "\"")] = '\0';
        snprintf(name, name_bytes, "%s%s", literal, variant == 0 ? "" : "-05-06");
        return true;
    }
    static const struct {
        const char *kind, *before, *after;
    } forms[] = {{"equals", "", ""},
                 {"starts_with", "", "-zz"},
                 {"ends_with", "zz-", ""},
                 {"contains", "zz-", "-zz"}};
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        if (strcmp(rule->kind, forms[i].kind) == 0) {
            snprintf(name, name_bytes, "%s%s%s", variant == 0 ? "" : forms[i].before, rule->pattern,
                     variant == 0 ? "" : forms[i].after);
            return true;
        }
    }
    return false;
}

static bool
shared_matches(const struct shared_rule *rule, const char *name)
{
    char pattern[512], lower[512];
    snprintf(pattern, sizeof(pattern), "%s", rule->pattern);
    snprintf(lower, sizeof(lower), "%s", name);
    const char *tail = "";
    if (strcmp(rule->kind, "regex") == 0) {
        literal_of(rule->pattern, pattern, &tail);
    } else if (strcmp(rule->kind, "and") == 0) {
        const char *begins = strstr(rule->pattern, "starts_with\":\"") + 14;
        snprintf(pattern, sizeof(pattern), "%.*s", (int)strcspn(begins, "\""), begins);
    }
    for (char *c = pattern; *c != '\0'; c++) {
        *c = *c >= 'A' && *c <= 'Z' ? (char)(*c + 32) : *c;
    }
    for (char *c = lower; *c != '\0'; c++) {
        *c = *c >= 'A' && *c <= 'Z' ? (char)(*c + 32) : *c;
    }
    size_t n = strlen(lower), p = strlen(pattern);
    bool begins = strncmp(lower, pattern, p) == 0;
    if (strcmp(rule->kind, "equals") == 0) {
        return strcmp(lower, pattern) == 0;
    }
    if (strcmp(rule->kind, "starts_with") == 0) {
        return begins;
    }
    if (strcmp(rule->kind, "ends_with") == 0) {
        return n >= p && strcmp(lower + n - p, pattern) == 0;
    }
    if (strcmp(rule->kind, "contains") == 0) {
        return strstr(lower, pattern) != NULL;
    }
    if (strcmp(rule->kind, "and") == 0) {
        const char *tts = strstr(lower, "-tts");
        return begins && (tts == NULL || (tts[4] != '\0' && tts[4] != '-'));
    }
    int digits = 0, year = 0, month = 0, day = 0, end = 0;
    const char *rest = lower + p;
    if (!begins) {
        return false;
    }
    if (strcmp(tail, "$") == 0) {
        return *rest == '\0';
    }
    if (strcmp(tail, "-\\d") == 0) {
        return rest[0] == '-' && rest[1] >= '0' && rest[1] <= '9';
    }
    if (strcmp(tail, "-\\d{8}$") == 0) {
        return sscanf(rest, "-%8d%n", &digits, &end) == 1 && end == 9 && rest[9] == '\0';
    }
    return sscanf(rest, "-%4d-%2d-%2d%n", &year, &month, &day, &end) == 3 && end == 11 &&
           rest[11] == '\0';
}

/* The model that the shared file gives a name: the first whose rules match. */
static const char *
shared_find(const char *provider, const char *name)
{
    for (size_t i = 0; i < shared_rule_count; i++) {
        if (strcmp(shared_rules[i].provider, provider) == 0 &&
            shared_matches(&shared_rules[i], name)) {
            return shared_rules[i].model;
        }
    }
    return "(none)";
}

TEST(every_rule_of_the_shared_matches_finds_its_row)
{
    char *text = ns_test_read_file(shared_path("prices/matches.tsv"), NULL);
    if (text == NULL) {
        SKIP("shared prices (matches.tsv)");
    }
    each_row(text, keep_rule, NULL);
    struct ns_catalogue *catalogue = load_builtin();
    REQUIRE(catalogue != NULL);
    size_t checked = 0, own = 0;
    for (size_t i = 0; i < shared_rule_count; i++) {
        const struct shared_rule *rule = &shared_rules[i];
        for (int variant = 0; variant < 2; variant++) {
            char name[300];
            if (!example_of(rule, variant, name, sizeof(name))) {
                NS_FAIL("a rule of a new form: %s %s", rule->kind, rule->pattern);
                continue;
            }
            const char *expected = shared_find(rule->provider, name);
            const char *found = find(catalogue, rule->provider, name);
            if (strcmp(found, expected) != 0) {
                NS_FAIL("%s: %s found %s, not %s", rule->provider, name, found, expected);
            }
            checked++;
            own += strcmp(expected, rule->model) == 0;
        }
    }
    printf("# %zu names of %zu rules, %zu found by the rule's own model\n", checked,
           shared_rule_count, own);
    CHECK(shared_rule_count >= 2576);
    ns_catalogue_free(catalogue);
    free(text);
}
