/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every read of a stream goes through. The linker puts it together, apart from the rest: a
 * program that waits between events finds little of us in its caches, and each page and line that
 * is not needed is one less to fetch.
 */
#ifndef NS_BASE_HOT_H
#define NS_BASE_HOT_H

#define NS_HOT __attribute__((hot))

#endif
