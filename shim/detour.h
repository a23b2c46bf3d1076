/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs that carry their own OpenSSL and call it directly, as the official Node does: no preload
 * object is asked there, so the functions themselves are made to begin with a jump to the hooks.
 *
 * Done once, at the library's birth, and only where the main program itself shows OpenSSL's
 * functions. All of those that are hooks, or none.
 */
#ifndef NS_SHIM_DETOUR_H
#define NS_SHIM_DETOUR_H

#include <stdbool.h>

/* Is this a process whose own OpenSSL comes to the hooks by detours? Any thread. */
bool ns_detour_is_on(void);

#endif
