/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the library asks of libc that is a system call, between the two: the linker (system_calls.
 * options) leads every such reference of the library here. What a filter of the program's own would
 * kill at (seccomp.h) is not made, and fails with EPERM; with its own arguments, for filters look
 * at them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim/process.h"
#include "shim/seccomp.h"

/* A value of any type as the kernel gets it. */
#define WORD(value) ((uint64_t)(value))
#define POINTER(value) ((uint64_t)(uintptr_t)(value))

static bool
may(long number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f)
{
    const uint64_t arguments[6] = {a, b, c, d, e, f};
    if (ns_seccomp_allows(number, arguments)) {
        return true;
    }
    errno = EPERM;
    return false;
}

/* Declares both ends of a function: the one that the library's references come to, and libc's. */
#define BETWEEN(type, name, ...)                                                                   \
    type __real_##name(__VA_ARGS__);                                                               \
    type __wrap_##name(__VA_ARGS__);                                                               \
    type __wrap_##name(__VA_ARGS__)

/* --- sockets ------------------------------------------------------------------------------------
 */

BETWEEN(int, socket, int family, int type, int protocol)
{
    return may(SYS_socket, WORD(family), WORD(type), WORD(protocol), 0, 0, 0)
               ? __real_socket(family, type, protocol)
               : -1;
}

BETWEEN(int, connect, int fd, const struct sockaddr *address, socklen_t bytes)
{
    return may(SYS_connect, WORD(fd), POINTER(address), bytes, 0, 0, 0)
               ? __real_connect(fd, address, bytes)
               : -1;
}

BETWEEN(int, setsockopt, int fd, int level, int name, const void *value, socklen_t bytes)
{
    return may(SYS_setsockopt, WORD(fd), WORD(level), WORD(name), POINTER(value), bytes, 0)
               ? __real_setsockopt(fd, level, name, value, bytes)
               : -1;
}

BETWEEN(int, shutdown, int fd, int how)
{
    return may(SYS_shutdown, WORD(fd), WORD(how), 0, 0, 0, 0) ? __real_shutdown(fd, how) : -1;
}

BETWEEN(ssize_t, sendmsg, int fd, const struct msghdr *message, int flags)
{
    return may(SYS_sendmsg, WORD(fd), POINTER(message), WORD(flags), 0, 0, 0)
               ? __real_sendmsg(fd, message, flags)
               : -1;
}

BETWEEN(ssize_t, recv, int fd, void *bytes, size_t count, int flags)
{
    return may(SYS_recvfrom, WORD(fd), POINTER(bytes), count, WORD(flags), 0, 0)
               ? __real_recv(fd, bytes, count, flags)
               : -1;
}

/* --- descriptors and files ----------------------------------------------------------------------
 */

int __real_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, long argument);

/* Called as libc's variadic function, always with one number behind the command. */
int
__wrap_fcntl(int fd, int command, long argument)
{
    return may(SYS_fcntl, WORD(fd), WORD(command), WORD(argument), 0, 0, 0)
               ? __real_fcntl(fd, command, argument)
               : -1;
}

BETWEEN(int, close, int fd)
{
    return may(SYS_close, WORD(fd), 0, 0, 0, 0, 0) ? __real_close(fd) : -1;
}

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __real_openat(int directory, const char *path, int flags, ...);
int __wrap_openat(int directory, const char *path, int flags, ...);

#define MODE_OF(mode, flags)                                                                       \
    va_list list_;                                                                                 \
    va_start(list_, flags);                                                                        \
    mode_t mode = ((flags)&O_CREAT) != 0 ? va_arg(list_, mode_t) : 0;                              \
    va_end(list_)

int
__wrap_open(const char *path, int flags, ...)
{
    MODE_OF(mode, flags);
    return may(SYS_openat, WORD(AT_FDCWD), POINTER(path), WORD(flags), mode, 0, 0)
               ? __real_open(path, flags, mode)
               : -1;
}

int
__wrap_openat(int directory, const char *path, int flags, ...)
{
    MODE_OF(mode, flags);
    return may(SYS_openat, WORD(directory), POINTER(path), WORD(flags), mode, 0, 0)
               ? __real_openat(directory, path, flags, mode)
               : -1;
}

BETWEEN(ssize_t, read, int fd, void *bytes, size_t count)
{
    return may(SYS_read, WORD(fd), POINTER(bytes), count, 0, 0, 0) ? __real_read(fd, bytes, count)
                                                                   : -1;
}

BETWEEN(ssize_t, write, int fd, const void *bytes, size_t count)
{
    return may(SYS_write, WORD(fd), POINTER(bytes), count, 0, 0, 0) ? __real_write(fd, bytes, count)
                                                                    : -1;
}

BETWEEN(ssize_t, pread, int fd, void *bytes, size_t count, off_t offset)
{
    return may(SYS_pread64, WORD(fd), POINTER(bytes), count, WORD(offset), 0, 0)
               ? __real_pread(fd, bytes, count, offset)
               : -1;
}

BETWEEN(ssize_t, pwrite, int fd, const void *bytes, size_t count, off_t offset)
{
    return may(SYS_pwrite64, WORD(fd), POINTER(bytes), count, WORD(offset), 0, 0)
               ? __real_pwrite(fd, bytes, count, offset)
               : -1;
}

BETWEEN(int, ftruncate, int fd, off_t bytes)
{
    return may(SYS_ftruncate, WORD(fd), WORD(bytes), 0, 0, 0, 0) ? __real_ftruncate(fd, bytes) : -1;
}

BETWEEN(int, flock, int fd, int operation)
{
    return may(SYS_flock, WORD(fd), WORD(operation), 0, 0, 0, 0) ? __real_flock(fd, operation) : -1;
}

BETWEEN(int, mkdir, const char *path, mode_t mode)
{
#ifdef SYS_mkdir
    bool allowed = may(SYS_mkdir, POINTER(path), mode, 0, 0, 0, 0);
#else
    bool allowed = may(SYS_mkdirat, WORD(AT_FDCWD), POINTER(path), mode, 0, 0, 0);
#endif
    return allowed ? __real_mkdir(path, mode) : -1;
}

BETWEEN(ssize_t, readlink, const char *path, char *target, size_t bytes)
{
#ifdef SYS_readlink
    bool allowed = may(SYS_readlink, POINTER(path), POINTER(target), bytes, 0, 0, 0);
#else
    bool allowed = may(SYS_readlinkat, WORD(AT_FDCWD), POINTER(path), POINTER(target), bytes, 0, 0);
#endif
    return allowed ? __real_readlink(path, target, bytes) : -1;
}

BETWEEN(int, renameat, int from, const char *path, int to, const char *new_path)
{
    return may(SYS_renameat, WORD(from), POINTER(path), WORD(to), POINTER(new_path), 0, 0)
               ? __real_renameat(from, path, to, new_path)
               : -1;
}

BETWEEN(int, unlinkat, int directory, const char *path, int flags)
{
    return may(SYS_unlinkat, WORD(directory), POINTER(path), WORD(flags), 0, 0, 0)
               ? __real_unlinkat(directory, path, flags)
               : -1;
}

/* --- memory -------------------------------------------------------------------------------------
 */

BETWEEN(void *, mmap, void *at, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    return may(SYS_mmap, POINTER(at), bytes, WORD(protection), WORD(flags), WORD(fd), WORD(offset))
               ? __real_mmap(at, bytes, protection, flags, fd, offset)
               : MAP_FAILED;
}

BETWEEN(int, munmap, void *at, size_t bytes)
{
    return may(SYS_munmap, POINTER(at), bytes, 0, 0, 0, 0) ? __real_munmap(at, bytes) : -1;
}

void *__real_mremap(void *at, size_t old_bytes, size_t bytes, int flags, ...);
void *__wrap_mremap(void *at, size_t old_bytes, size_t bytes, int flags, void *to);

/* Called as libc's variadic function; where to is not given it is not looked at. */
void *
__wrap_mremap(void *at, size_t old_bytes, size_t bytes, int flags, void *to)
{
    return may(SYS_mremap, POINTER(at), old_bytes, bytes, WORD(flags), POINTER(to), 0)
               ? __real_mremap(at, old_bytes, bytes, flags, to)
               : MAP_FAILED;
}

BETWEEN(int, madvise, void *at, size_t bytes, int advice)
{
    return may(SYS_madvise, POINTER(at), bytes, WORD(advice), 0, 0, 0)
               ? __real_madvise(at, bytes, advice)
               : -1;
}

/* --- the process --------------------------------------------------------------------------------
 */

BETWEEN(pid_t, getpid, void)
{
    return may(SYS_getpid, 0, 0, 0, 0, 0, 0) ? __real_getpid() : ns_process_owner();
}

BETWEEN(uid_t, geteuid, void)
{
    return may(SYS_geteuid, 0, 0, 0, 0, 0, 0) ? __real_geteuid() : (uid_t)-1;
}

BETWEEN(int, gethostname, char *name, size_t bytes)
{
    return may(SYS_uname, 0, 0, 0, 0, 0, 0) ? __real_gethostname(name, bytes) : -1;
}

BETWEEN(int, getrlimit, int resource, struct rlimit *limit)
{
    return may(SYS_prlimit64, 0, WORD(resource), 0, POINTER(limit), 0, 0)
               ? __real_getrlimit(resource, limit)
               : -1;
}

BETWEEN(ssize_t, getrandom, void *bytes, size_t count, unsigned flags)
{
    return may(SYS_getrandom, POINTER(bytes), count, flags, 0, 0, 0)
               ? __real_getrandom(bytes, count, flags)
               : -1;
}

BETWEEN(int, sched_yield, void)
{
    return may(SYS_sched_yield, 0, 0, 0, 0, 0, 0) ? __real_sched_yield() : 0;
}

long __real_syscall(long number, ...);
long __wrap_syscall(long number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e,
                    uint64_t f);

/* Called as libc's variadic function, with as many words as the call has. */
long
__wrap_syscall(long number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f)
{
    return may(number, a, b, c, d, e, f) ? __real_syscall(number, a, b, c, d, e, f) : -1;
}
