/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Every map, and the knobs set before load. Sizes marked 1 are set by the agent. */
#ifndef CLEARTAP_MAPS_H
#define CLEARTAP_MAPS_H

struct flow {
	u64 offset;
	u64 lost_bytes[LOSS_REASONS];
	u64 loss_offset;
	u32 sequence;
	u32 lost; /* some lost_bytes is not 0 */
};

/* A socket by address, trusted only while it still has this cookie: cookies are never used twice. */
struct socket_ref {
	u64 sk;
	u64 cookie;
	u64 role;
};

struct stream {
	u64 id;
	u64 cookie;
	u32 library_id;
	u8 confidence;
	u8 open_sent;
	u8 socket_sent;
	u8 corrections; /* inferred sockets that were replaced by another */
	struct flow flows[2];
};

struct call {
	u64 object;
	u64 buffer;
	u64 out; /* where the count is written, 0: it is the result */
	u64 stack;
	u64 cookie;        /* of the attachment */
	u64 entered_ns;    /* of a write: its bytes are under way from here on */
	u64 socket_cookie; /* last socket used within the call, 0: none */
	u32 nested;        /* same object and buffer as the call around it */
	u32 ambiguous;
};

/* What is known of a thread. Task storage: freed with the thread, so it needs no bound of its own. */
struct thread {
	u32 depth;
	u32 fresh; /* a socket was used since the last look at it */
	struct call calls[CALL_DEPTH];
	struct socket_ref last;      /* last TCP socket sent to or read from */
	struct socket_ref last_read; /* last TCP socket read from */
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1);
} data_ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1);
} control_ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, struct stream_key);
	__type(value, struct stream);
} streams SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u32);
} processes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct thread);
} threads SEC(".maps");

/* How a socket came to be; freed with the socket. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, u32);
} socket_roles SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct counters);
} counters SEC(".maps");

/* 1: the reader of the rings sleeps and wants to be woken. Written by the agent through a mapping. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} wakeup SEC(".maps");

const volatile u32 agent_pid = 0;
const volatile u32 target_mode = TARGET_ALL;
/* The kernel copies from user memory straight into a dynptr (6.16). */
const volatile u32 has_user_dynptr = 0;
/* The programs that copy payload are loaded as sleepable: pages that are not resident can be brought in. */
const volatile u32 can_sleep = 0;

u64 next_stream_id = 0;

#define COUNT(field, n)                                                                  \
	do {                                                                             \
		u32 zero_ = 0;                                                           \
		struct counters *c_ = bpf_map_lookup_elem(&counters, &zero_);            \
		if (c_)                                                                  \
			__sync_fetch_and_add(&c_->field, (n));                           \
	} while (0)

#endif
