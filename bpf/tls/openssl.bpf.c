/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * OpenSSL: read and write of one TLS object. Which functions are probed, and how each reports its count, the agent
 * says by the attach cookie; the arguments are (object, buffer, length, ...) in all of them.
 *
 * Bytes are emitted on return: a read buffer is filled only then, and a refused write comes again.
 */

static __always_inline struct thread *current_thread(u64 flags)
{
	return bpf_task_storage_get(&threads, bpf_get_current_task_btf(), 0, flags);
}

/* Entries whose frame lies below the present stack never returned here: longjmp or a switched stack. */
static __always_inline void drop_stale_calls(struct thread *thread, u64 stack)
{
	for (u32 i = 0; i < CALL_DEPTH; i++) {
		u32 top = thread->depth - 1;

		if (top >= CALL_DEPTH || thread->calls[top].stack > stack)
			return;
		thread->depth = top;
		COUNT(stale_calls, 1);
	}
}

/* 0 if the call is followed; then its return must be seen too. */
static __always_inline int enter_call(struct pt_regs *ctx)
{
	struct thread *thread;
	struct call *call, *outer;
	u64 cookie, source, fourth, fifth;
	u32 depth;

	if (!is_captured(bpf_get_current_pid_tgid() >> 32))
		return 1;
	thread = current_thread(BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!thread) {
		COUNT(storage_failed, 1);
		return 1;
	}
	drop_stale_calls(thread, PT_REGS_SP(ctx));
	depth = thread->depth;
	if (depth >= CALL_DEPTH) {
		COUNT(depth_overflow, 1);
		return 1;
	}
	cookie = bpf_get_attach_cookie(ctx);
	source = cookie >> 1 & 3;
	call = &thread->calls[depth];
	call->object = PT_REGS_PARM1(ctx);
	call->buffer = PT_REGS_PARM2(ctx);
	/* Read both: a choice between two loads would become one load at a computed place, which is refused. */
	fourth = PT_REGS_PARM4(ctx);
	fifth = PT_REGS_PARM5(ctx);
	barrier_var(fourth);
	barrier_var(fifth);
	call->out = source == COUNT_OUT4 ? fourth : source == COUNT_OUT5 ? fifth : 0;
	call->stack = PT_REGS_SP(ctx);
	call->cookie = cookie;
	call->entered_ns = cookie & 1 ? bpf_ktime_get_boot_ns() : 0;
	call->socket_cookie = 0;
	call->ambiguous = 0;
	call->nested = 0;
	if (depth > 0 && depth <= CALL_DEPTH) {
		outer = &thread->calls[depth - 1];
		call->nested = outer->object == call->object && outer->buffer == call->buffer;
	}
	thread->depth = depth + 1;
	return 0;
}

static __always_inline u64 transferred_bytes(struct call *call, struct pt_regs *ctx)
{
	int result = (int)PT_REGS_RC(ctx);
	u64 bytes = 0;

	if (result <= 0)
		return 0;
	if (!call->out)
		return result;
	if (bpf_probe_read_user(&bytes, sizeof(bytes), (void *)call->out))
		return 0;
	return bytes > 0x7fffffff ? 0 : bytes;
}

static __always_inline struct stream *find_stream(struct call *call, u32 pid, u64 start_ns, u64 bytes)
{
	struct stream_key key = {
		.object = call->object,
		.start_ns = start_ns,
		.pid = pid,
		.image = process_image(bpf_get_current_task_btf()),
	};
	struct stream *stream = bpf_map_lookup_elem(&streams, &key);
	struct stream fresh = {};

	if (!stream) {
		fresh.id = __sync_fetch_and_add(&next_stream_id, 1) + 1;
		fresh.library_id = call->cookie >> 8;
		bpf_map_update_elem(&streams, &key, &fresh, BPF_NOEXIST);
		stream = bpf_map_lookup_elem(&streams, &key);
		if (!stream) {
			if (bytes) {
				COUNT(lost_bytes[LOSS_TABLE_FULL], bytes);
				COUNT(lost_records[LOSS_TABLE_FULL], 1);
			}
			return 0;
		}
	}
	if (!stream->open_sent)
		stream->open_sent = emit_open(stream, call->object);
	return stream;
}

static __always_inline int leave_call(struct pt_regs *ctx)
{
	struct thread *thread = current_thread(0);
	u64 stack = PT_REGS_SP(ctx) - sizeof(u64);
	struct transfer transfer = {};
	struct stream *stream;
	struct call *call;
	u32 top;

	if (!thread)
		return 0;
	drop_stale_calls(thread, stack - 1);
	top = thread->depth - 1;
	if (top >= CALL_DEPTH)
		return 0;
	call = &thread->calls[top];
	if (call->stack != stack)
		return 0;
	thread->depth = top;
	transfer.bytes = transferred_bytes(call, ctx);
	if (!transfer.bytes && !thread->fresh)
		return 0;
	if (call->nested)
		return 0;
	transfer.pid_tgid = bpf_get_current_pid_tgid();
	transfer.start_ns = process_start(bpf_get_current_task_btf());
	stream = find_stream(call, transfer.pid_tgid >> 32, transfer.start_ns, transfer.bytes);
	if (!stream)
		return 0;
	thread->fresh = 0;
	bind_socket(thread, call, stream, transfer.bytes && !(call->cookie & 1));
	if (!transfer.bytes)
		return 0;
	transfer.stream = stream;
	transfer.buffer = call->buffer;
	transfer.direction = call->cookie & 1;
	transfer.time_ns = transfer.direction ? call->entered_ns : bpf_ktime_get_boot_ns();
	emit_data(&transfer);
	return 0;
}

/* Entry and return by one link (6.13); not following a call spares its return. */
SEC("uprobe")
int tls_session(struct pt_regs *ctx)
{
	if (bpf_session_is_return())
		return leave_call(ctx);
	return enter_call(ctx);
}

SEC("uprobe")
int tls_entry(struct pt_regs *ctx)
{
	enter_call(ctx);
	return 0;
}

SEC("uretprobe")
int tls_return(struct pt_regs *ctx)
{
	return leave_call(ctx);
}

/* SSL_free, SSL_clear: the object's stream ends. Another reference to the object starts a new one. */
SEC("uprobe")
int tls_free(struct pt_regs *ctx)
{
	u32 pid = bpf_get_current_pid_tgid() >> 32;
	struct stream_key key = { .object = PT_REGS_PARM1(ctx), .pid = pid };
	struct stream *stream;

	key.start_ns = process_start(bpf_get_current_task_btf());
	key.image = process_image(bpf_get_current_task_btf());
	stream = bpf_map_lookup_elem(&streams, &key);
	if (!stream)
		return 0;
	emit_close(stream, pid, key.start_ns);
	bpf_map_delete_elem(&streams, &key);
	return 0;
}
