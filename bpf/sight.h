/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel's part of coverage and the agent share: who begins TLS or QUIC, and how much goes
 * over it. */
#ifndef NS_BPF_SIGHT_H
#define NS_BPF_SIGHT_H

/* So much of what a client says first is told, over all packets. Hellos with a post-quantum key are
 * 1.5 to 2 KiB. */
#define NS_SIGHT_BYTES_MAX 4096

enum ns_sight_kind {
    NS_SIGHT_TLS = 1, /* bytes of a ClientHello, in its TLS records */
    NS_SIGHT_QUIC,    /* a datagram that begins with a QUIC Initial */
    NS_SIGHT_OWNER,   /* the process that wrote to the socket first */
    NS_SIGHT_END      /* the socket is over: its bytes */
};

struct ns_sight {
    unsigned int kind;
    unsigned int bytes; /* behind this head */
    unsigned long long cookie;
    unsigned int offset; /* TLS: of these bytes in what the client said since the hello began */
    unsigned int port;   /* of the server */
    unsigned int pid;    /* OWNER: in the agent's own name space */
    unsigned int uid;
    unsigned int network; /* OWNER: inode of its network name space */
    unsigned int zero;
    unsigned long long start_ns; /* OWNER: of the process, since boot */
    unsigned long long sent;     /* END */
    unsigned long long received; /* END */
    char name[16];               /* OWNER: of the thread */
};

/* Of a socket that began TLS or QUIC, while it is there. */
struct ns_traffic {
    unsigned long long sent; /* bytes that programs wrote: ciphertext and handshake */
    unsigned long long received;
    unsigned int pid; /* 0: nobody was seen to write yet */
    unsigned int zero;
};

#endif
