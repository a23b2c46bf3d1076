/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program whose life gets hard between its calls:
 *
 *     hardship STEP…
 *         call             a call on the connection; says answered, denied or failed
 *         new              a new connection
 *         late             only as the first: no connection before `new`
 *         heap             a heap of its own for what OpenSSL will want
 *         memory N, room   no memory beyond N KiB more, and the old limit again
 *         nofile, files    no descriptor more, and the old limit again
 *         clearenv         no environment
 *         scribble         environment written over where it lies, as setproctitle does
 *         chroot DIR       another root
 *         setuid N         another user
 *         only N,N,…       a filter that kills at any system call but these
 *         never N,N,…      a filter that kills at these
 *         sync N,N,…       as only, for all threads at once, by seccomp(2)
 *         trap N,N,…       as only, but with a signal that nobody handles
 *         aside N,N,…      as only, for another thread, which then waits for ever
 *         unseen N,N,…     as only, but past libc
 *         spawned N,N,…    as only, for a child of vfork, which ends at once
 *         fork             goes on as its own child
 *         wait             until standard input has a line, or ends
 *
 * Prints a word a call. Exit status 0; 2 where a step could not be done.
 */
#include "tests/programs/calls.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define HEAP_BYTES (8 << 20)
#define CALLS_LISTED_MAX 250
#define KIB 1024

static struct contexts contexts;
static struct tls_pair pair;
static struct rlimit memory_before, files_before;
static int aside[2];

static void
must(bool done, const char *what)
{
    if (!done) {
        fprintf(stderr, "hardship: %s: %s\n", what, strerror(errno));
        exit(2);
    }
}

/* stdio would take memory at the worst moment. */
static void
say(enum outcome outcome)
{
    static const char *const words[] = {"answered\n", "denied\n", "failed\n"};
    must(write(1, words[outcome], strlen(words[outcome])) > 0, "write");
}

static void
limit_memory(size_t more_bytes)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    must(file != NULL && fscanf(file, "%lu", &pages) == 1, "statm"); /* NOLINT: a number */
    fclose(file);
    struct rlimit limit = {pages * 4096 + more_bytes, memory_before.rlim_max};
    must(setrlimit(RLIMIT_AS, &limit) == 0, "RLIMIT_AS");
}

static void
limit_files(void)
{
    int next = dup(0);
    close(next);
    struct rlimit limit = {(rlim_t)next, files_before.rlim_max};
    must(setrlimit(RLIMIT_NOFILE, &limit) == 0, "RLIMIT_NOFILE");
}

static void
scribble(void)
{
    for (char **entry = environ; *entry != NULL; entry++) {
        memset(*entry, 'x', strlen(*entry));
    }
}

static void
fill_heap(void)
{
    mallopt(M_MMAP_THRESHOLD, HEAP_BYTES + 1);
    mallopt(M_TRIM_THRESHOLD, 2 * HEAP_BYTES);
    void *block = malloc(HEAP_BYTES);
    must(block != NULL, "heap");
    memset(block, 1, HEAP_BYTES);
    free(block);
}

/* A filter by numbers of system calls: these get one action, all others the other. */
static struct sock_fprog
make_filter(const char *list, uint32_t listed, uint32_t others)
{
    static struct sock_filter program[2 * CALLS_LISTED_MAX + 2];
    unsigned short count = 0;
    program[count++] =
        (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (const char *at = list; *at != '\0' && count < 2 * CALLS_LISTED_MAX;) {
        char *end;
        uint32_t number = (uint32_t)strtoul(at, &end, 10);
        must(end != at, "a number");
        program[count++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1);
        program[count++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, listed);
        at = *end == ',' ? end + 1 : end;
    }
    program[count++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, others);
    must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no new privileges");
    return (struct sock_fprog){count, program};
}

static void
filter(const char *list, uint32_t listed, uint32_t others)
{
    struct sock_fprog whole = make_filter(list, listed, others);
    must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &whole) == 0, "filter");
}

static void *
filter_and_wait(void *list)
{
    filter(list, SECCOMP_RET_ALLOW, SECCOMP_RET_KILL_PROCESS);
    char byte;
    must(write(aside[1], "", 1) == 1, "write");
    while (read(aside[0], &byte, 0) == 0) {
        pause();
    }
    return NULL;
}

static void
become_child(void)
{
    pid_t pid = fork();
    must(pid >= 0, "fork");
    if (pid > 0) {
        int status = -1;
        must(waitpid(pid, &status, 0) == pid, "wait");
        _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    }
}

static void
wait_for_line(void)
{
    char byte;
    while (read(0, &byte, 1) == 1 && byte != '\n') {
    }
}

/* --- steps without and with a word of their own -------------------------------------------------
 */

static void
step_call(void)
{
    say(make_call(&pair));
}

static void
step_new(void)
{
    if (pair.client != NULL) {
        tls_pair_close(&pair);
    }
    open_pair(&pair, &contexts);
}

static void
step_room(void)
{
    must(setrlimit(RLIMIT_AS, &memory_before) == 0, "RLIMIT_AS");
}

static void
step_files(void)
{
    must(setrlimit(RLIMIT_NOFILE, &files_before) == 0, "RLIMIT_NOFILE");
}

static void
step_late(void)
{
    must(pair.client == NULL, "late");
}

static void
step_clearenv(void)
{
    must(clearenv() == 0, "clearenv");
}

static void
step_memory(char *word)
{
    limit_memory(strtoul(word, NULL, 10) * KIB);
}

static void
step_chroot(char *word)
{
    must(chroot(word) == 0 && chdir("/") == 0, "chroot");
}

static void
step_setuid(char *word)
{
    uid_t user = (uid_t)strtoul(word, NULL, 10);
    must(setgid(user) == 0 && setuid(user) == 0, "setuid");
}

static void
step_only(char *word)
{
    filter(word, SECCOMP_RET_ALLOW, SECCOMP_RET_KILL_PROCESS);
}

static void
step_sync(char *word)
{
    struct sock_fprog whole = make_filter(word, SECCOMP_RET_ALLOW, SECCOMP_RET_KILL_PROCESS);
    must(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &whole) == 0,
         "filter");
}

static void
step_trap(char *word)
{
    struct sock_fprog whole = make_filter(word, SECCOMP_RET_ALLOW, SECCOMP_RET_TRAP);
    must(syscall(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &whole) == 0, "filter");
}

static void
step_aside(char *word)
{
    pthread_t thread;
    char byte;
    must(pipe(aside) == 0, "pipe");
    must(pthread_create(&thread, NULL, filter_and_wait, word) == 0, "thread");
    must(read(aside[0], &byte, 1) == 1, "read");
}

/* By an instruction of its own, as programs do that have no libc. */
static void
step_unseen(char *word)
{
    struct sock_fprog whole = make_filter(word, SECCOMP_RET_ALLOW, SECCOMP_RET_KILL_PROCESS);
#if defined(__x86_64__)
    long result = SYS_seccomp;
    __asm__ volatile("syscall"
                     : "+a"(result)
                     : "D"(SECCOMP_SET_MODE_FILTER), "S"(0L), "d"(&whole)
                     : "rcx", "r11", "memory");
#else
    register long number __asm__("x8") = SYS_seccomp;
    register long result __asm__("x0") = SECCOMP_SET_MODE_FILTER;
    register long flags __asm__("x1") = 0;
    register void *program __asm__("x2") = &whole;
    __asm__ volatile("svc 0" : "+r"(result) : "r"(number), "r"(flags), "r"(program) : "memory");
#endif
    must(result == 0, "filter");
}

static void
step_spawned(char *word)
{
    struct sock_fprog whole = make_filter(word, SECCOMP_RET_ALLOW, SECCOMP_RET_KILL_PROCESS);
    int status = -1;
    pid_t pid = vfork(); /* NOLINT: what is tested */
    if (pid == 0) {
        _exit(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &whole) == 0 ? 0 : 1); /* NOLINT */
    }
    must(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, "child");
}

static void
step_never(char *word)
{
    filter(word, SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_ALLOW);
}

static const struct {
    const char *name;
    void (*bare)(void);
    void (*worded)(char *word);
} steps[] = {
    {"call", step_call, NULL},     {"new", step_new, NULL},           {"heap", fill_heap, NULL},
    {"memory", NULL, step_memory}, {"room", step_room, NULL},         {"nofile", limit_files, NULL},
    {"files", step_files, NULL},   {"clearenv", step_clearenv, NULL}, {"scribble", scribble, NULL},
    {"chroot", NULL, step_chroot}, {"setuid", NULL, step_setuid},     {"only", NULL, step_only},
    {"never", NULL, step_never},   {"fork", become_child, NULL},      {"wait", wait_for_line, NULL},
    {"sync", NULL, step_sync},     {"trap", NULL, step_trap},         {"aside", NULL, step_aside},
    {"unseen", NULL, step_unseen}, {"spawned", NULL, step_spawned},   {"late", step_late, NULL},
};

int
main(int count, char **words)
{
    getrlimit(RLIMIT_AS, &memory_before);
    getrlimit(RLIMIT_NOFILE, &files_before);
    contexts = make_contexts();
    if (count < 2 || strcmp(words[1], "late") != 0) {
        open_pair(&pair, &contexts);
    }
    for (int i = 1; i < count; i++) {
        size_t s = 0;
        while (s < sizeof steps / sizeof steps[0] && strcmp(steps[s].name, words[i]) != 0) {
            s++;
        }
        if (s == sizeof steps / sizeof steps[0]) {
            fprintf(stderr, "hardship: no step %s\n", words[i]);
            return 2;
        }
        if (steps[s].bare != NULL) {
            steps[s].bare();
        } else {
            must(++i < count, "a word more");
            steps[s].worded(words[i]);
        }
    }
    tls_pair_close(&pair);
    return 0;
}
