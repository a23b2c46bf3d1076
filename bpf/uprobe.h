/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attaching programs to places of files. Links of the kind "uprobe multi" (Linux 6.6) need CAP_BPF
 * and CAP_PERFMON; without them it is a perf event for each, which needs CAP_SYS_ADMIN. One thread.
 */
#ifndef NS_BPF_UPROBE_H
#define NS_BPF_UPROBE_H

#include <stdbool.h>
#include <stdint.h>

struct bpf_link;
struct bpf_object;
struct bpf_program;

/* Has the kernel links of that kind? */
bool ns_uprobe_has_multi(void);

/* And such that stand at both ends of a function, where the program says at the entry of a call
 * whether it wants its return, which costs nothing else (Linux 6.13)? */
bool ns_uprobe_has_sessions(void);

/* Makes an object's uprobe programs ready for that kind of link, if there is one. Those that are
 * called around_* are for both ends, and are not loaded where the kernel has no such links. Before
 * the object is loaded. */
void ns_uprobe_prepare(struct bpf_object *object);

/* Which end of a function? */
enum ns_uprobe_end { NS_UPROBE_ENTRY, NS_UPROBE_RETURN, NS_UPROBE_BOTH };

/* One place that a program is attached to. */
struct ns_uprobe {
    int fd;                /* of a link; -1: none */
    struct bpf_link *perf; /* NULL: none */
};

/* Attaches a program that was prepared so to an offset of a file, in every process that has it
 * mapped, now and later. cookie: what the program reads there. False with errno. */
bool ns_uprobe_attach(struct ns_uprobe *uprobe, const struct bpf_program *program, const char *path,
                      uint64_t offset, enum ns_uprobe_end end, uint64_t cookie);
void ns_uprobe_detach(struct ns_uprobe *uprobe);

#endif
