/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Records into the rings. Nothing is lost without being counted, by stream and reason. */
#ifndef CLEARTAP_EMIT_H
#define CLEARTAP_EMIT_H

extern int bpf_probe_read_user_dynptr(struct bpf_dynptr *dptr, u32 off, u32 size, const void *unsafe_ptr) __weak __ksym;

static __always_inline u64 wakeup_flags(void)
{
	u32 zero = 0;
	u64 *wanted = bpf_map_lookup_elem(&wakeup, &zero);

	return wanted && *(volatile u64 *)wanted ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP;
}

static __always_inline u64 process_start(struct task_struct *task)
{
	return task->group_leader->start_boottime;
}

/* Counts the execs of the process and of those it was forked from; the same in all its threads. */
static __always_inline u32 process_image(struct task_struct *task)
{
	return task->self_exec_id;
}

/* True if it went into the control ring. */
static __always_inline bool emit_control(void *record, u64 size)
{
	if (bpf_ringbuf_output(&control_ring, record, size, wakeup_flags()) == 0)
		return true;
	COUNT(control_lost, 1);
	return false;
}

static __always_inline bool emit_open(struct stream *stream, u64 object)
{
	u64 pid_tgid = bpf_get_current_pid_tgid();
	struct open_record record = {
		.kind = RECORD_OPEN,
		.library_id = stream->library_id,
		.time_ns = bpf_ktime_get_boot_ns(),
		.stream_id = stream->id,
		.object = object,
		.start_ns = process_start(bpf_get_current_task_btf()),
		.pid = pid_tgid >> 32,
		.thread_id = (u32)pid_tgid,
		.image = process_image(bpf_get_current_task_btf()),
	};

	return emit_control(&record, sizeof(record));
}

static __always_inline void read_addresses(struct socket_record *record, struct sock *sk)
{
	record->local_port = BPF_CORE_READ(sk, __sk_common.skc_num);
	record->remote_port = bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));
	if (BPF_CORE_READ(sk, __sk_common.skc_family) == AF_INET6) {
		BPF_CORE_READ_INTO(&record->local_address, sk, __sk_common.skc_v6_rcv_saddr);
		BPF_CORE_READ_INTO(&record->remote_address, sk, __sk_common.skc_v6_daddr);
		return;
	}
	record->local_address[10] = record->local_address[11] = 0xff;
	record->remote_address[10] = record->remote_address[11] = 0xff;
	BPF_CORE_READ_INTO((u32 *)&record->local_address[12], sk, __sk_common.skc_rcv_saddr);
	BPF_CORE_READ_INTO((u32 *)&record->remote_address[12], sk, __sk_common.skc_daddr);
}

/* False if the socket is gone or the record found no room. */
static __always_inline bool emit_socket(struct stream *stream, struct socket_ref *socket)
{
	struct sock *sk = (struct sock *)socket->sk;
	struct socket_record record = {
		.kind = RECORD_SOCKET,
		.confidence = stream->confidence,
		.role = socket->role,
		.pid = bpf_get_current_pid_tgid() >> 32,
		.time_ns = bpf_ktime_get_boot_ns(),
		.stream_id = stream->id,
		.start_ns = process_start(bpf_get_current_task_btf()),
		.cookie = socket->cookie,
	};

	read_addresses(&record, sk);
	if ((u64)BPF_CORE_READ(sk, __sk_common.skc_cookie.counter) != socket->cookie)
		return false;
	return emit_control(&record, sizeof(record));
}

static __always_inline void note_loss(struct flow *flow, u64 offset, u64 bytes, u32 reason)
{
	if (!flow->lost) {
		flow->lost = 1;
		flow->loss_offset = offset;
	}
	flow->lost_bytes[reason & (LOSS_REASONS - 1)] += bytes;
	COUNT(lost_bytes[reason & (LOSS_REASONS - 1)], bytes);
	COUNT(lost_records[reason & (LOSS_REASONS - 1)], 1);
}

#define EMITTED (-1)
#define PAGE_BYTES 4096

struct transfer {
	struct stream *stream;
	u64 buffer;
	u64 bytes;
	u64 start_ns;
	u64 time_ns; /* when the bytes were handed over */
	u64 pid_tgid;
	u32 direction;
};

/* One record per reason, one after the other, as if each reason had its bytes in one piece. */
static __noinline int emit_loss(struct transfer *transfer, void *ring)
{
	struct stream *stream = transfer->stream;
	struct flow *flow = &stream->flows[transfer->direction & 1];
	struct loss_record record = {
		.kind = RECORD_LOSS,
		.direction = transfer->direction & 1,
		.time_ns = bpf_ktime_get_boot_ns(),
		.stream_id = stream->id,
		.start_ns = transfer->start_ns,
		.pid = transfer->pid_tgid >> 32,
	};

	for (u32 reason = 0; reason < LOSS_REASONS; reason++) {
		if (!flow->lost_bytes[reason])
			continue;
		record.reason = reason;
		record.offset = flow->loss_offset;
		record.lost_bytes = flow->lost_bytes[reason];
		if (bpf_ringbuf_output(ring, &record, sizeof(record), wakeup_flags()))
			return -1;
		flow->loss_offset += record.lost_bytes;
		flow->lost_bytes[reason] = 0;
	}
	flow->lost = 0;
	return 0;
}

/*
 * Copies n bytes of user memory behind the header. Without the dynptr read the slice must have a constant size,
 * so records come in four sizes and the tail of each is unused.
 */
static __always_inline int copy_user(struct bpf_dynptr *target, u32 n, u64 source)
{
	const u32 at = sizeof(struct data_record);
	void *slice;

	if (has_user_dynptr)
		return bpf_probe_read_user_dynptr(target, at, n, (void *)source);
#define COPY_CLASS(size)                                                                 \
	if (n <= (size)) {                                                               \
		slice = bpf_dynptr_data(target, at, (size));                             \
		return slice ? bpf_probe_read_user(slice, n, (void *)source) : -1;       \
	}
	COPY_CLASS(256)
	COPY_CLASS(1024)
	COPY_CLASS(4096)
	COPY_CLASS(CHUNK_BYTES)
#undef COPY_CLASS
	return -1;
}

static __always_inline u32 reserved_bytes(u32 n)
{
	if (has_user_dynptr)
		return n;
	return n <= 256 ? 256 : n <= 1024 ? 1024 : n <= 4096 ? 4096 : CHUNK_BYTES;
}

/* The record with n bytes of user memory behind it: EMITTED or a loss_reason. */
static __always_inline int try_emit(struct data_record *record, u32 n, u64 source)
{
	struct bpf_dynptr target;

	if (bpf_ringbuf_reserve_dynptr(&data_ring, sizeof(*record) + reserved_bytes(n), 0, &target)) {
		bpf_ringbuf_discard_dynptr(&target, BPF_RB_NO_WAKEUP);
		return LOSS_RING_FULL;
	}
	bpf_dynptr_write(&target, 0, record, sizeof(*record), 0);
	if (copy_user(&target, n, source)) {
		bpf_ringbuf_discard_dynptr(&target, BPF_RB_NO_WAKEUP);
		return LOSS_FAULT;
	}
	bpf_ringbuf_submit_dynptr(&target, wakeup_flags());
	return EMITTED;
}

/* Touches each page. Never while a reservation is held: an unsubmitted record would stop the whole ring. */
static __always_inline void fault_in(u64 source, u32 n)
{
	u8 byte;

	for (u32 page = 0; page <= CHUNK_BYTES / PAGE_BYTES; page++) {
		u64 at = page * PAGE_BYTES < n ? source + page * PAGE_BYTES : source + n - 1;

		bpf_copy_from_user(&byte, sizeof(byte), (void *)at);
	}
}

/* bpf_loop callback: one chunk of the transfer. */
static long emit_chunk(u32 index, struct transfer *transfer)
{
	struct stream *stream = transfer->stream;
	struct flow *flow = &stream->flows[transfer->direction & 1];
	u64 at = (u64)index * CHUNK_BYTES;
	u64 left = transfer->bytes - at;
	u32 n = left > CHUNK_BYTES ? CHUNK_BYTES : left;
	int outcome = LOSS_RING_FULL;
	struct data_record record = {
		.kind = RECORD_DATA,
		.direction = transfer->direction & 1,
		.length = n,
		.time_ns = transfer->time_ns,
		.stream_id = stream->id,
		.offset = flow->offset,
		.start_ns = transfer->start_ns,
		.pid = transfer->pid_tgid >> 32,
		.thread_id = (u32)transfer->pid_tgid,
		.sequence = flow->sequence,
		.library_id = stream->library_id,
	};

	if (n == 0 || n > CHUNK_BYTES)
		return 1;
	flow->offset += n;
	flow->sequence++;
	if (!flow->lost || !emit_loss(transfer, &data_ring)) {
		outcome = try_emit(&record, n, transfer->buffer + at);
		if (can_sleep && outcome == LOSS_FAULT) {
			fault_in(transfer->buffer + at, n);
			outcome = try_emit(&record, n, transfer->buffer + at);
		}
	}
	if (outcome != EMITTED)
		note_loss(flow, record.offset, n, outcome);
	return 0;
}

static __always_inline void emit_data(struct transfer *transfer)
{
	if (transfer->bytes <= CHUNK_BYTES)
		emit_chunk(0, transfer);
	else
		bpf_loop((transfer->bytes + CHUNK_BYTES - 1) / CHUNK_BYTES, emit_chunk, transfer, 0);
}

/* The stream's last words: what was lost and never told, then the close. */
static __always_inline void emit_close(struct stream *stream, u32 pid, u64 start_ns)
{
	struct transfer transfer = { .stream = stream, .start_ns = start_ns, .pid_tgid = (u64)pid << 32 };
	struct close_record record = {
		.kind = RECORD_CLOSE,
		.pid = pid,
		.time_ns = bpf_ktime_get_boot_ns(),
		.stream_id = stream->id,
		.start_ns = start_ns,
	};

	for (u32 direction = 0; direction < 2; direction++) {
		transfer.direction = direction;
		if (stream->flows[direction].lost)
			emit_loss(&transfer, &control_ring);
	}
	emit_control(&record, sizeof(record));
}

#endif
