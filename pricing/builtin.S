/* SPDX-License-Identifier: Apache-2.0 */
/* pricing/catalogue.tsv as bytes of the program (assembled from the top of the repository). */
    .section .rodata
    .balign 16
    .globl ns_catalogue_builtin
    .type ns_catalogue_builtin, @object
ns_catalogue_builtin:
    .incbin "pricing/catalogue.tsv"
.Lend:
    .size ns_catalogue_builtin, .Lend - ns_catalogue_builtin
    .byte 0

    .balign 8
    .globl ns_catalogue_builtin_bytes
    .type ns_catalogue_builtin_bytes, @object
    .size ns_catalogue_builtin_bytes, 8
ns_catalogue_builtin_bytes:
    .quad .Lend - ns_catalogue_builtin

    .section .note.GNU-stack, "", @progbits
