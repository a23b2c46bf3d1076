/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SSL BIOs: OpenSSL's own reads and writes of them go past SSL_read and SSL_write, so what makes
 * such a BIO is hooked, and gives it callbacks that go through the engine. Whatever chain it stands
 * in, a buffer above it or another SSL BIO below, calls those.
 */
#ifndef NS_SHIM_BIO_H
#define NS_SHIM_BIO_H

#include "shim/hooks.h"

NS_HOOK const BIO_METHOD *BIO_f_ssl(void);
NS_HOOK BIO *BIO_new_ssl(SSL_CTX *context, int client);
NS_HOOK BIO *BIO_new_ssl_connect(SSL_CTX *context);
NS_HOOK BIO *BIO_new_buffer_ssl_connect(SSL_CTX *context);

#endif
