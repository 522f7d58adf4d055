/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * TCP sockets as their thread uses them. sock_send_length and sock_recv_length (6.3) give the socket itself, without
 * a walk over file tables; inet_sock_set_state tells which end opened the connection.
 */

static __always_inline void note_call_socket(struct thread *thread, u64 cookie)
{
	u32 top = thread->depth - 1;
	struct call *call;

	if (top >= CALL_DEPTH)
		return;
	call = &thread->calls[top];
	if (call->socket_cookie && call->socket_cookie != cookie) {
		call->ambiguous = 1;
		COUNT(socket_ambiguous, 1);
	}
	call->socket_cookie = cookie;
}

static __always_inline int note_transfer(struct sock *sk, int result, bool is_read)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct thread *thread;
	u16 family = sk->__sk_common.skc_family;
	u64 cookie;
	u32 *role;

	if (result <= 0 || (family != AF_INET && family != AF_INET6) || sk->sk_protocol != IPPROTO_TCP)
		return 0;
	thread = bpf_task_storage_get(&threads, task, 0, 0);
	if (!thread) {
		if (!is_captured(bpf_get_current_pid_tgid() >> 32))
			return 0;
		thread = bpf_task_storage_get(&threads, task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
		if (!thread)
			return 0;
	}
	cookie = bpf_get_socket_cookie(sk);
	note_call_socket(thread, cookie);
	if (thread->last.cookie != cookie) {
		thread->last.cookie = cookie;
		thread->last.sk = (u64)sk;
		role = bpf_sk_storage_get(&socket_roles, sk, 0, 0);
		thread->last.role = role ? *role : ROLE_UNKNOWN;
		thread->fresh = 1;
	}
	if (is_read && thread->last_read.cookie != cookie) {
		thread->last_read = thread->last;
		thread->fresh = 1;
	}
	return 0;
}

SEC("tp_btf/sock_send_length")
int BPF_PROG(socket_sent, struct sock *sk, int result, int flags)
{
	return note_transfer(sk, result, false);
}

SEC("tp_btf/sock_recv_length")
int BPF_PROG(socket_received, struct sock *sk, int result, int flags)
{
	return note_transfer(sk, result, true);
}

/* Runs in the caller for a connect, in softirq for an accept: the current process is not looked at. */
SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(socket_changed, struct sock *sk, int old_state, int new_state)
{
	u32 role = new_state == TCP_SYN_SENT ? ROLE_CLIENT :
		   old_state == TCP_SYN_RECV && new_state == TCP_ESTABLISHED ? ROLE_SERVER : ROLE_UNKNOWN;
	u32 *slot;

	if (role == ROLE_UNKNOWN)
		return 0;
	slot = bpf_sk_storage_get(&socket_roles, sk, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (slot)
		*slot = role;
	return 0;
}
