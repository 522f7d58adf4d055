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

/*
 * The socket that the object's bytes go through. Seen within this call: exact. Else, for objects that are fed through
 * memory, the socket that the thread read last: a guess at first, right when plaintext follows, so a read corrects it.
 */
static __always_inline void bind_socket(struct thread *thread, struct call *call, struct stream *stream, bool has_read)
{
	struct socket_ref *socket;
	u8 confidence;

	if (call->socket_cookie && call->socket_cookie == thread->last.cookie) {
		socket = &thread->last;
		confidence = call->ambiguous ? CONFIDENCE_INFERRED : CONFIDENCE_EXACT;
	} else {
		socket = &thread->last_read;
		confidence = CONFIDENCE_INFERRED;
		if (!socket->cookie || stream->confidence == CONFIDENCE_EXACT)
			return;
	}
	if (socket->cookie == stream->cookie) {
		if (confidence <= stream->confidence && stream->socket_sent)
			return;
	} else if (stream->cookie && confidence == CONFIDENCE_INFERRED) {
		if (stream->confidence == CONFIDENCE_EXACT || !has_read || stream->corrections >= SOCKET_CORRECTIONS)
			return;
		stream->corrections++;
	}
	stream->cookie = socket->cookie;
	stream->confidence = confidence;
	stream->socket_sent = emit_socket(stream, socket);
}

#endif
