/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A TLS client that uses NSS: sends standard input, which must ask for the connection to be closed,
 * and writes what it reads to standard output; first it writes the same to a pipe of its own, which
 * is no TLS, by the same function.
 *
 * usage: nss_client write|send HOST PORT
 *
 * Exit: 0 done; 2 usage; 3 TLS failed.
 */
#include <nspr.h>
#include <nss.h>
#include <ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
check(int fine, const char *what)
{
    if (!fine) {
        fprintf(stderr, "nss_client: %s: error %d\n", what, (int)PR_GetError());
        exit(3);
    }
}

static SECStatus
accept_all(void *context, PRFileDesc *descriptor, PRBool check_signature, PRBool is_server)
{
    (void)context, (void)descriptor, (void)check_signature, (void)is_server;
    return SECSuccess;
}

static PRFileDesc *
connect_to(const char *host, const char *port)
{
    char room[PR_NETDB_BUF_SIZE];
    PRHostEnt entry;
    PRNetAddr address;
    check(PR_GetHostByName(host, room, sizeof room, &entry) == PR_SUCCESS, "host");
    check(PR_EnumerateHostEnt(0, &entry, (PRUint16)strtoul(port, NULL, 10), &address) > 0, "host");
    PRFileDesc *descriptor = SSL_ImportFD(NULL, PR_NewTCPSocket());
    check(descriptor != NULL, "SSL_ImportFD");
    SSL_OptionSet(descriptor, SSL_SECURITY, PR_TRUE);
    SSL_OptionSet(descriptor, SSL_HANDSHAKE_AS_CLIENT, PR_TRUE);
    SSL_AuthCertificateHook(descriptor, accept_all, NULL);
    SSL_SetURL(descriptor, host);
    check(PR_Connect(descriptor, &address, PR_INTERVAL_NO_TIMEOUT) == PR_SUCCESS, "connect");
    return descriptor;
}

int
main(int count, char **words)
{
    static char text[1 << 16];
    if (count != 4) {
        fputs("usage: nss_client write|send HOST PORT\n", stderr);
        return 2;
    }
    PRInt32 bytes = (PRInt32)fread(text, 1, sizeof text / 2, stdin), got;
    check(NSS_NoDB_Init(NULL) == SECSuccess && NSS_SetDomesticPolicy() == SECSuccess, "NSS");
    PRFileDesc *out, *in;
    check(PR_CreatePipe(&out, &in) == PR_SUCCESS && PR_Write(in, text, bytes) == bytes, "pipe");
    PRFileDesc *descriptor = connect_to(words[2], words[3]);
    PRInt32 sent = strcmp(words[1], "write") == 0
                       ? PR_Write(descriptor, text, bytes)
                       : PR_Send(descriptor, text, bytes, 0, PR_INTERVAL_NO_TIMEOUT);
    check(sent == bytes, words[1]);
    while ((got = strcmp(words[1], "write") == 0
                      ? PR_Read(descriptor, text, sizeof text)
                      : PR_Recv(descriptor, text, sizeof text, 0, PR_INTERVAL_NO_TIMEOUT)) > 0) {
        fwrite(text, 1, (size_t)got, stdout);
    }
    PR_Close(descriptor);
    PR_Close(out);
    PR_Close(in);
    return 0;
}
