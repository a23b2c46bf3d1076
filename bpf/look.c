/* SPDX-License-Identifier: Apache-2.0 */
#include "bpf/look.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/utf8.h"

/* Looks that wait, or that are done and not taken yet. */
#define QUEUE_MAX 256

/* The end waits so long for a look that is under way. */
#define STOP_S 2

struct ns_looker {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t asked;
    bool stopping;
    uint32_t pid[QUEUE_MAX];
    size_t first, waiting;
    struct ns_looked *done[QUEUE_MAX];
    size_t done_first, done_count;
};

uint64_t
ns_look_start_ticks(uint32_t pid)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%u/stat", pid);
    FILE *file = fopen(path, "re");
    size_t bytes = file == NULL ? 0 : fread(text, 1, sizeof text - 1, file);
    if (file != NULL) {
        fclose(file);
    }
    text[bytes] = '\0';
    const char *at = strrchr(text, ')'); /* the name before it may hold anything */
    for (int field = 2; at != NULL && field < 22; field++) {
        at = strchr(at + 1, ' ');
    }
    return at == NULL ? 0 : strtoull(at + 1, NULL, 10);
}

static void
look(uint32_t pid, struct ns_looked *looked)
{
    char link[64];
    looked->pid = pid;
    looked->start_ticks = ns_look_start_ticks(pid);
    snprintf(link, sizeof link, "/proc/%u/exe", pid);
    ssize_t bytes = readlink(link, looked->executable, sizeof looked->executable - 1);
    looked->executable[bytes > 0 ? bytes : 0] = '\0';
    if (bytes > 0 && !ns_utf8_is_text((const uint8_t *)looked->executable, (size_t)bytes)) {
        looked->executable[0] = '\0';
    }
    ns_evidence_look(pid, &looked->evidence);
    if (ns_look_start_ticks(pid) != looked->start_ticks) { /* another one has its number */
        looked->start_ticks = 0;
    }
}

static void *
run(void *argument)
{
    struct ns_looker *looker = argument;
    pthread_mutex_lock(&looker->lock);
    for (;;) {
        while (!looker->stopping && looker->waiting == 0) {
            pthread_cond_wait(&looker->asked, &looker->lock);
        }
        if (looker->stopping) {
            break;
        }
        uint32_t pid = looker->pid[looker->first];
        looker->first = (looker->first + 1) % QUEUE_MAX;
        looker->waiting--;
        pthread_mutex_unlock(&looker->lock);
        struct ns_looked *looked = calloc(1, sizeof *looked);
        if (looked != NULL) {
            look(pid, looked);
        }
        pthread_mutex_lock(&looker->lock);
        if (looked != NULL && looker->done_count < QUEUE_MAX) {
            looker->done[(looker->done_first + looker->done_count++) % QUEUE_MAX] = looked;
        } else {
            free(looked);
        }
    }
    pthread_mutex_unlock(&looker->lock);
    return NULL;
}

struct ns_looker *
ns_looker_start(void)
{
    struct ns_looker *looker = calloc(1, sizeof *looker);
    if (looker == NULL) {
        return NULL;
    }
    pthread_mutex_init(&looker->lock, NULL);
    pthread_cond_init(&looker->asked, NULL);
    if (pthread_create(&looker->thread, NULL, run, looker) != 0) {
        pthread_mutex_destroy(&looker->lock);
        pthread_cond_destroy(&looker->asked);
        free(looker);
        return NULL;
    }
    return looker;
}

void
ns_looker_stop(struct ns_looker *looker)
{
    if (looker == NULL) {
        return;
    }
    pthread_mutex_lock(&looker->lock);
    looker->stopping = true;
    pthread_cond_signal(&looker->asked);
    pthread_mutex_unlock(&looker->lock);
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += STOP_S;
    if (pthread_timedjoin_np(looker->thread, NULL, &until) != 0) {
        return; /* it reads where no read ends, and goes with the process */
    }
    while (looker->done_count > 0) {
        free(looker->done[(looker->done_first + --looker->done_count) % QUEUE_MAX]);
    }
    pthread_mutex_destroy(&looker->lock);
    pthread_cond_destroy(&looker->asked);
    free(looker);
}

bool
ns_looker_ask(struct ns_looker *looker, uint32_t pid)
{
    pthread_mutex_lock(&looker->lock);
    bool room = looker->waiting + looker->done_count < QUEUE_MAX - 1; /* one may be under way */
    if (room) {
        looker->pid[(looker->first + looker->waiting++) % QUEUE_MAX] = pid;
        pthread_cond_signal(&looker->asked);
    }
    pthread_mutex_unlock(&looker->lock);
    return room;
}

bool
ns_looker_take(struct ns_looker *looker, struct ns_looked *looked)
{
    pthread_mutex_lock(&looker->lock);
    struct ns_looked *one = NULL;
    if (looker->done_count > 0) {
        one = looker->done[looker->done_first];
        looker->done_first = (looker->done_first + 1) % QUEUE_MAX;
        looker->done_count--;
    }
    pthread_mutex_unlock(&looker->lock);
    if (one == NULL) {
        return false;
    }
    *looked = *one;
    free(one);
    return true;
}
