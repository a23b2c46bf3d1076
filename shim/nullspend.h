/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a program may call in libnullspend.so, from any language (ctypes, ffi, dlsym): whom the
 * calling thread's next LLM requests are for. A request's own X-NullSpend-* headers come before
 * this, this comes before the process's environment.
 */
#ifndef NULLSPEND_H
#define NULLSPEND_H

#ifdef __cplusplus
extern "C" {
#endif

/* Each sets one value of this thread, or with NULL takes it back. id: 1 to 128 bytes of UTF-8
 * without control characters. Returns 0, or -EINVAL and changes nothing (-ENOMEM without memory).
 */
int nullspend_set_customer(const char *id);
int nullspend_set_agent(const char *id);
int nullspend_set_feature(const char *id);
int nullspend_set_session(const char *id);

/* Sets a tag of this thread: key 1 to 64 bytes, value up to 256; a NULL value takes it away. At
 * most 16. Returns 0 or -EINVAL (-ENOMEM without memory). */
int nullspend_set_tag(const char *key, const char *value);

/* This thread's next requests end an agent's work: they may use what their budgets keep for that
 * (`nullspend budget set --finalize-reserve`), as those with X-NullSpend-Finalize: 1. Until
 * nullspend_clear. Returns 0 (-ENOMEM without memory). */
int nullspend_finalize(void);

/* Takes back everything that this thread has set. Returns 0. */
int nullspend_clear(void);

#ifdef __cplusplus
}
#endif

#endif
