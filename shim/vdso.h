/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's own functions, from the object that it maps into every process: nobody puts others
 * before them.
 */
#ifndef NS_SHIM_VDSO_H
#define NS_SHIM_VDSO_H

#include "base/clock.h"

/* clock_gettime of the kernel; NULL where it maps no such object (gVisor, vdso=0). Makes no system
 * call and takes no lock. */
ns_clock_source ns_vdso_clock(void);

#endif
