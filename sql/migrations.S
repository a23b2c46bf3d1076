/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Embeds sql/migrations/. A further migration is a line in MIGRATIONS; a test compares the list
 * with the folder.
 */
#define MIGRATIONS \
    migration "0001_calls.sql" ; \
    migration "0002_budgets.sql" ; \
    migration "0003_margins.sql" ; \
    migration "0004_coverage.sql" ; \
    migration "0005_budget_terms.sql" ; \
    migration "0006_mandates.sql" ; \
    migration "0007_events.sql" ; \
    migration "0008_event_kinds.sql" ; \
    migration "0009_repeats.sql" ; \
    migration "0010_savings.sql" ; \
    migration "0011_requests.sql" ; \
    migration "0012_notifications.sql"

    .macro migration file
    .pushsection .rodata
8:  .asciz "\file"
9:  .incbin "sql/migrations/\file"
    .byte 0
7:
    .popsection
    .quad 8b, 9b, 7b - 9b - 1
    .endm

    .section .data.rel.ro, "aw", @progbits
    .balign 8
    .globl ns_migrations
    .hidden ns_migrations
    .type ns_migrations, @object
ns_migrations:
    MIGRATIONS
migrations_end:
    .size ns_migrations, migrations_end - ns_migrations

    .section .rodata
    .balign 8
    .globl ns_migration_count
    .hidden ns_migration_count
    .type ns_migration_count, @object
ns_migration_count:
    .quad (migrations_end - ns_migrations) / 24
    .size ns_migration_count, 8

    .section .note.GNU-stack, "", @progbits
