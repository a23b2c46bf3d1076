/* SPDX-License-Identifier: Apache-2.0 */
#include "bpf/privileges.h"

#include <grp.h>
#include <libgen.h>
#include <limits.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BIT(capability) (UINT64_C(1) << (capability))

/* Loading and attaching; /proc of others, and the memory of who is stopped; SIGCONT; files in
 * directories of others; /proc/PID/map_files, for what is mapped has a name no more, or another's;
 * who begins TLS, for coverage.
 */
const uint64_t NS_PRIVILEGES_AGENT = BIT(CAP_BPF) | BIT(CAP_PERFMON) | BIT(CAP_SYS_PTRACE) |
                                     BIT(CAP_KILL) | BIT(CAP_DAC_READ_SEARCH) |
                                     BIT(CAP_CHECKPOINT_RESTORE) | BIT(CAP_NET_ADMIN);
/* The table; SIGCONT. */
const uint64_t NS_PRIVILEGES_GUARD = BIT(CAP_BPF) | BIT(CAP_KILL);
const uint64_t NS_PRIVILEGES_PERF_UPROBES = BIT(CAP_SYS_ADMIN);

static bool
get(struct __user_cap_data_struct data[2])
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    return syscall(SYS_capget, &head, data) == 0;
}

bool
ns_privileges_has(int capability)
{
    struct __user_cap_data_struct data[2] = {{0}};
    return get(data) && (data[capability / 32].effective >> capability % 32 & 1) != 0;
}

/* Without CAP_SETPCAP the bounding set stays: with PR_SET_NO_NEW_PRIVS nothing comes of it. */
static void
narrow_bounding_set(uint64_t kept)
{
    for (int i = 0; i < 64; i++) {
        if ((kept >> i & 1) == 0 && prctl(PR_CAPBSET_DROP, i, 0, 0, 0) != 0) {
            return; /* not ours to drop, or past the last one */
        }
    }
}

bool
ns_privileges_keep(uint64_t kept)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{0}};
    if (!get(data) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        return false;
    }
    narrow_bounding_set(kept);
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    for (int i = 0; i < 2; i++) {
        data[i].permitted &= (uint32_t)(kept >> 32 * i);
        data[i].effective = data[i].permitted;
        data[i].inheritable = 0;
    }
    return syscall(SYS_capset, &head, data) == 0;
}

/* --- beforehand ------------------------------------------------------------------------------- */

#define GROUPS_MAX 256

static bool
group_of(const char *socket, gid_t *group)
{
    char directory[PATH_MAX];
    struct stat status;
    const struct group *named;
    snprintf(directory, sizeof directory, "%s", socket);
    if (stat(socket, &status) == 0 || stat(dirname(directory), &status) == 0) {
        *group = status.st_gid;
        return true;
    }
    named = getgrnam("nullspend"); /* the collector has not been started yet */
    *group = named == NULL ? 0 : named->gr_gid;
    return named != NULL;
}

void
ns_privileges_reach(const char *collector, const char *spool)
{
    static const char ipc[] = "ipc://";
    gid_t groups[GROUPS_MAX + 1], group;
    if (strncmp(collector, ipc, sizeof ipc - 1) == 0 &&
        group_of(collector + sizeof ipc - 1, &group)) {
        int count = getgroups(GROUPS_MAX, groups);
        groups[count < 0 ? 0 : count] = group;
        (void)setgroups((size_t)(count < 0 ? 0 : count) + 1, groups); /* where it may */
    }
    char part[PATH_MAX];
    for (size_t i = 1; spool[0] != '\0' && i < sizeof part && spool[i - 1] != '\0'; i++) {
        if (spool[i] == '/' || spool[i] == '\0') {
            snprintf(part, sizeof part, "%.*s", (int)i, spool);
            (void)mkdir(part, 0700);
        }
    }
}
