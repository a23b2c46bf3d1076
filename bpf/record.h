/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel's part and the agent share: records, keys and states. */
#ifndef NS_BPF_RECORD_H
#define NS_BPF_RECORD_H

/* More bytes than this come as several records, one behind the other. */
#define NS_RECORD_BYTES_MAX 16384
#define NS_RECORDS_A_CALL_MAX 1024

/* A server's name, with its NUL. */
#define NS_RECORD_NAME_BYTES 256

/* Cookie of a probe at a return of Go's Read that leaves its arguments where the ABI keeps them. */
#define NS_GO_KEEPS_ARGUMENTS 1

enum ns_record_kind {
    NS_RECORD_NAME = 1, /* a client names the server that it wants (SNI) */
    NS_RECORD_WRITE,    /* bytes that the program is about to write */
    NS_RECORD_WRITTEN,  /* that write is over: `total` bytes were taken */
    NS_RECORD_READ,     /* bytes that it has read */
    NS_RECORD_END,      /* the connection is freed */
    NS_RECORD_EXIT,     /* the process is over */
    NS_RECORD_FILE      /* it maps a file that the agent may not have looked at: struct ns_file */
};

struct ns_record {
    unsigned int kind;
    unsigned int pid; /* of the process, in the agent's own name space */
    unsigned int tid;
    unsigned int stopped;          /* the process stops before these bytes are encrypted */
    unsigned long long connection; /* its number; 0 for EXIT */
    unsigned long long from;       /* where in its memory the bytes of the whole call are */
    unsigned int offset;           /* of these bytes in them */
    unsigned int total;            /* bytes of the whole call */
    unsigned int bytes;            /* behind this head */
    unsigned int undecided;        /* the agent has not said yet what the connection is */
    unsigned int lost;             /* something of the connection before this could not be told */
    unsigned int zero;
};

/* A file that a process has mapped to run it, as the kernel knows it: those of a container's layers
 * by the layer's own, whichever mount shows them; and another one that has the inode of one that is
 * gone by its generation. */
struct ns_file_key {
    unsigned long long inode;
    unsigned int device;
    unsigned int generation;
};

/* One that a process has mapped to run it. */
struct ns_file {
    struct ns_file_key key;
    unsigned long long begin; /* of the mapping; 0 in a record */
    unsigned long long end;
    unsigned int pid;
    unsigned int zero;
};

/* A smaller file has no TLS library inside: nobody waits until it has been looked at. */
#define NS_FILE_BYTES_MIN 131072

/* What the agent says a connection is. Until it has, all of it is told. */
enum ns_connection_state {
    NS_CONNECTION_UNDECIDED,
    NS_CONNECTION_PROVIDER, /* told, and its writes wait for the agent where that is wanted */
    NS_CONNECTION_IGNORED   /* nothing of it is told */
};

/* A process that was stopped and not let go yet: the value of the table `stopped`. */
struct ns_stop {
    unsigned long long since_ns; /* monotonic; of the first of them */
    unsigned int count;          /* writes that it was stopped at: each has its record */
    unsigned int by_others; /* a stop signal that somebody else has sent it meanwhile; 0: none */
    unsigned int let_go;    /* somebody else has let it go on: its bytes may be gone already */
    unsigned int zero;
};

/* What could not be told, by process. */
struct ns_drops {
    unsigned long long records;
    unsigned long long bytes;
};

#endif
