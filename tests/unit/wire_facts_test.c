/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/facts.h"

#include "tests/harness.h"
#include "wire/providers/family.h"

enum { COST = 1, NAME, TEXT, TOTAL, DETAIL };

static const struct ns_fact_rule detail_rules[] = {{"a|bc", DETAIL, NULL}};
static const struct ns_fact_table details = NS_FACT_TABLE(detail_rules);

static const struct ns_fact_rule rules[] = {
    {"cost", COST, NULL},
    {"choices/[]/delta|message/name", NAME, NULL},
    {"choices/[]/delta|message/text|content", TEXT, NULL},
    {"usage|usage_metadata/total", TOTAL, NULL},
    {"usage|usage_metadata/details/[]", 0, &details},
};
static const struct ns_fact_table table = NS_FACT_TABLE(rules);

/* What a document says, as text: a number for each fact, and its value. */
static void
hear(void *context, int fact, const struct ns_json_input *value)
{
    char *told = context;
    size_t used = strlen(told);
    snprintf(told + used, 256 - used, "%d=%.*s ", fact, (int)value->text_bytes, value->text);
}

static void
read_document(const char *text, char told[static 256])
{
    struct ns_json *json = ns_json_new();
    struct ns_facts facts;
    size_t bytes = strlen(text);
    told[0] = '\0';
    ns_facts_init(&facts, &table);
    for (size_t i = 0;;) {
        struct ns_json_input input;
        i += ns_json_feed(json, (const uint8_t *)text + i, bytes - i, &input);
        if (input.event == NS_JSON_MORE) {
            break;
        }
        REQUIRE(input.event != NS_JSON_ERROR);
        ns_facts_event(&facts, &input, hear, told);
    }
    ns_json_free(json);
}

static const struct {
    const char *document, *told;
} cases[] = {
    {"{\"cost\": 1, \"choices\": [{\"delta\": {\"name\": \"n\", \"text\": \"t\"}},"
     " {\"message\": {\"content\": \"c\"}}]}",
     "1=1 2=n 3=t 3=c "},
    {"{\"usage\": {\"total\": 7, \"details\": [{\"a\": 1}, {\"bc\": 2, \"b\": 3}]}}",
     "4=7 5=1 5=2 "},
    {"{\"usage_metadata\": {\"total\": 8}, \"usage_meta\": {\"total\": 9}}", "4=8 "},
    /* Not at the place of a path: deeper, higher, beside it. */
    {"{\"choices\": [{\"cost\": 1, \"usage\": {\"total\": 2}}], \"total\": 3, \"delta\": 4}", ""},
    /* Keys that are spelled like parts of paths are no paths. */
    {"{\"usage|usage_metadata\": {\"total\": 1}, \"usage/total\": 2, \"\": 3, \"cos\": 4,"
     " \"costs\": 5, \"usage|\": {\"total\": 6}, \"[]\": 7, \"cost\\u0000\": 8}",
     ""},
};

TEST(facts_are_told_at_the_places_of_their_paths_alone)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char told[256];
        read_document(cases[i].document, told);
        CHECK_STR(told, cases[i].told);
    }
}

TEST(without_an_index_they_are_the_same)
{
    static const uint32_t unmade[] = {NS_FACT_INDEX_BEGUN, NS_FACT_INDEX_TOO_SMALL};
    for (size_t i = 0; i < 2 * sizeof cases / sizeof cases[0]; i++) {
        char told[256];
        table.index->state = details.index->state = unmade[i % 2];
        read_document(cases[i / 2].document, told);
        CHECK_STR(told, cases[i / 2].told);
    }
}

/* How many tables hang here; each has been looked through, and its index is whole. */
static size_t
check_indexes(const struct ns_fact_table *one)
{
    size_t count = 1;
    struct ns_facts facts;
    struct ns_json_input key = {
        .event = NS_JSON_KEY, .depth = 1, .text = "no such key", .text_bytes = 11};
    ns_facts_init(&facts, one);
    facts.levels[++facts.depth] = facts.next;
    ns_facts_event(&facts, &key, hear, NULL);
    CHECK_INT(one->index->state, NS_FACT_INDEX_MADE);
    for (uint32_t i = 0; i < one->count; i++) {
        count += one->rules[i].below == NULL ? 0 : check_indexes(one->rules[i].below);
    }
    return count;
}

TEST(the_tables_of_all_families_have_an_index)
{
    const struct ns_family *const families[] = {&ns_family_openai, &ns_family_anthropic,
                                                &ns_family_gemini};
    size_t count = 0;
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        count += check_indexes(&families[i]->request) + check_indexes(&families[i]->response);
    }
    CHECK(count > 10);
}
