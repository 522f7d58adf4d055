/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Who is captured, and which socket stands below a TLS object. */
#ifndef CLEARTAP_CONN_H
#define CLEARTAP_CONN_H

static __always_inline bool is_captured(u32 pid)
{
	u32 *mark;

	if (pid == agent_pid)
		return false;
	mark = bpf_map_lookup_elem(&processes, &pid);
	if (target_mode == TARGET_ALL)
		return !mark || *mark != MARK_IGNORED;
	return mark && *mark == MARK_TARGET;
}

/* The socket that the object's bytes go through: seen within this call, else the thread's last. */
static __always_inline void bind_socket(struct thread *thread, struct call *call, struct stream *stream)
{
	struct socket_ref *socket = 0;
	u8 confidence = CONFIDENCE_UNKNOWN;

	if (call->socket_cookie && call->socket_cookie == thread->last.cookie) {
		socket = &thread->last;
		confidence = call->ambiguous ? CONFIDENCE_INFERRED : CONFIDENCE_EXACT;
	} else if (!stream->cookie && thread->last_read.cookie) {
		socket = &thread->last_read;
		confidence = CONFIDENCE_INFERRED;
	}
	if (!socket)
		return;
	if (socket->cookie == stream->cookie && confidence <= stream->confidence && stream->socket_sent)
		return;
	if (confidence < stream->confidence)
		return;
	stream->cookie = socket->cookie;
	stream->confidence = confidence;
	stream->socket_sent = emit_socket(stream, socket);
}

#endif
