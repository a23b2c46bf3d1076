/* SPDX-License-Identifier: Apache-2.0 */
/* Signals that others send to a process that is stopped here: its stop may be theirs, too. */
#ifndef NS_BPF_CAPTURE_SIGNALS_BPF_H
#define NS_BPF_CAPTURE_SIGNALS_BPF_H

#define SIGTTOU 22 /* between SIGSTOP and this: SIGTSTP, SIGTTIN */
#define SI_TKILL (-6)
#define SIGNAL_IGNORED 1 /* TRACE_SIGNAL_IGNORED: the program does not want it */

/* A debugger stops a thread so, or the kernel for it, and lets it go by itself. */
static __always_inline int
is_of_debugger(const void *info)
{
    int head[3] = {0}; /* si_signo, si_errno, si_code */
    if ((__u64)info <= 1) {
        return info != NULL; /* SEND_SIG_NOINFO: of a user; SEND_SIG_PRIV: of the kernel */
    }
    bpf_probe_read_kernel(head, sizeof head, info);
    return head[2] == SI_TKILL;
}

/* The agent and its guard, set by them. */
__u32 own_pids[2] = {0};

/* A stopped process that somebody else stops, too, stays stopped when we let it go: our SIGCONT
 * would take his stop away. One that somebody else lets go must not be written into any more. */
SEC("raw_tp/signal_generate")
int
on_signal(struct bpf_raw_tracepoint_args *context)
{
    int signal = (int)context->args[0];
    /* A SIGCONT lets go on whether the program wants to hear of it or not. */
    int ignored = signal != SIGCONT && context->args[4] == SIGNAL_IGNORED;
    if (signal < SIGCONT || signal > SIGTTOU || ignored) {
        return 0;
    }
    struct task_struct *task = (struct task_struct *)context->args[2];
    __u32 pid = (__u32)BPF_CORE_READ(task, tgid);
    __u32 sender = bpf_get_current_pid_tgid() >> 32;
    struct ns_stop *stop = bpf_map_lookup_elem(&stopped, &pid);
    if (stop == NULL || sender == own_pids[0] || sender == own_pids[1]) {
        return 0;
    }
    if (signal == SIGCONT) {
        stop->let_go = 1;
        stop->by_others = 0;
    } else if (signal != SIGSTOP || !is_of_debugger((const void *)context->args[1])) {
        stop->by_others = (__u32)signal;
    }
    return 0;
}

#endif
