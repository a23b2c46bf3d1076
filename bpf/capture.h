/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's part as the agent sees it: loaded, attached to files, its records, its tables. One
 * thread. Functions that fail say why on stderr. */
#ifndef NS_BPF_CAPTURE_H
#define NS_BPF_CAPTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/record.h"

struct ns_capture;

/* Takes a record; bytes are behind its head. */
typedef void ns_capture_handler(void *context, const struct ns_record *record,
                                const uint8_t *bytes);

/* Loads it. stops: writes to providers wait for ns_capture_go_on. only_network: inode of the
 * network name space whose processes alone are looked at; 0: all. NULL where the kernel does not
 * take it. */
struct ns_capture *ns_capture_load(bool stops, uint32_t only_network, ns_capture_handler *handler,
                                   void *context);

/* Detaches from everything and frees it. */
void ns_capture_free(struct ns_capture *capture);

/* Attaches to a file that has one of the known libraries, for all processes that map it, now and
 * later. Returns how many probes it took: 0 where it has none of them, -1 with errno where it could
 * not be read, or some could not be attached (then it is attached to none). */
int ns_capture_attach(struct ns_capture *capture, const char *path);

/* A mapping of a file that nobody has looked at. */
typedef void ns_capture_file_visit(void *context, const struct ns_file *file);

/* From here on a process that maps such a file to run it is told of (NS_RECORD_FILE), and waits
 * where writes do; those that are mapped now are visited. False where the kernel cannot: nothing is
 * told then. */
bool ns_capture_watch_files(struct ns_capture *capture, ns_capture_file_visit *visit,
                            void *context);
bool ns_capture_tells_files(const struct ns_capture *capture);

/* Visits those that a process has mapped, or all have (0): after NS_RECORD_FILE, and now and then,
 * for what found no room or came to be run in another way. False where the kernel cannot, or the
 * process is gone. */
bool ns_capture_visit_mapped(struct ns_capture *capture, uint32_t pid, ns_capture_file_visit *visit,
                             void *context);

/* A file has been looked at: it is told no more. */
void ns_capture_know_file(struct ns_capture *capture, const struct ns_file_key *key);
/* A place in a file, and the program of the kernel's part that is to run there. */
struct ns_capture_place {
    const char *program;
    uint64_t offset; /* in the file, of an instruction */
    uint64_t cookie; /* for the program */
};

/* Attaches to such places. Returns how many, or -1 with errno (then it is attached to none). */
int ns_capture_attach_places(struct ns_capture *capture, const char *path,
                             const struct ns_capture_place *places, size_t count);

/* For poll(2): there are records. */
int ns_capture_fd(const struct ns_capture *capture);

/* Hands on what there is. */
void ns_capture_take(struct ns_capture *capture);

/* What a connection is, by its number; nothing more is to be told of a process. */
void ns_capture_decide(struct ns_capture *capture, uint64_t connection,
                       enum ns_connection_state state);
void ns_capture_leave_alone(struct ns_capture *capture, uint32_t pid);

/* Visits the processes of which something could not be told since the last visit.
 * Returns whether there were any. */
typedef void ns_capture_drops_visit(uint32_t pid, const struct ns_drops *drops);
bool ns_capture_visit_drops(struct ns_capture *capture, ns_capture_drops_visit *visit);

/* The table of stopped processes, struct ns_stop by pid; a descriptor that stays the capture's. */
int ns_capture_stopped_fd(const struct ns_capture *capture);

/* The guard's signals are our own. */
void ns_capture_guarded_by(struct ns_capture *capture, uint32_t pid);

/* From here on. */
void ns_capture_stop_nobody(struct ns_capture *capture);

/* Visits the numbers of all connections that the kernel's part knows. False: not all of them, for
 * there was a change meanwhile. */
typedef void ns_capture_connections_visit(void *context, uint64_t connection);
bool ns_capture_visit_connections(struct ns_capture *capture, ns_capture_connections_visit *visit,
                                  void *context);

#endif
