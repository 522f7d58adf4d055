/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What the kernel side and the agent say to each other: records, opcodes, limits, knobs of attach cookies.
 * agent/src/bpf/layout.ts mirrors it; layout.test.ts compares the two.
 *
 * Everything is little endian and 8-byte aligned. Times are CLOCK_BOOTTIME nanoseconds.
 */
#ifndef CLEARTAP_EVENTS_H
#define CLEARTAP_EVENTS_H

enum record_kind {
	RECORD_DATA = 1,   /* data ring */
	RECORD_LOSS = 2,   /* data ring; control ring before a close */
	RECORD_OPEN = 3,   /* control ring, like all below */
	RECORD_SOCKET = 4,
	RECORD_CLOSE = 5,
	RECORD_EXEC = 6,
	RECORD_FORK = 7,
	RECORD_EXIT = 8,
};

enum flow_direction {
	FLOW_READ = 0,
	FLOW_WRITE = 1,
};

enum loss_reason {
	LOSS_RING_FULL = 0,
	LOSS_FAULT = 1,
	LOSS_TRUNCATED = 2,
	LOSS_TABLE_FULL = 3,
	LOSS_REASONS = 4,
};

enum confidence {
	CONFIDENCE_UNKNOWN = 0,
	CONFIDENCE_INFERRED = 1,
	CONFIDENCE_EXACT = 2,
};

enum socket_role {
	ROLE_UNKNOWN = 0,
	ROLE_CLIENT = 1,
	ROLE_SERVER = 2,
};

/* Which processes are captured: knob target_mode. */
enum target_mode {
	TARGET_ALL = 0,      /* all but those marked ignored */
	TARGET_ONLY = 1,     /* those marked target, and what they fork */
	TARGET_CHILDREN = 2, /* what the agent itself forks from now on, and what those fork */
};

/* Values of the map "processes", by tgid. */
enum process_mark {
	MARK_IGNORED = 1,
	MARK_TARGET = 2,
};

/* How a probed function reports its count: bits 1 and 2 of the attach cookie. Bit 0 is the direction, the library id stands above bit 8. */
enum count_source {
	COUNT_RETURN = 0, /* int result */
	COUNT_OUT4 = 1,   /* size_t through the fourth argument, valid if the result is above 0 */
	COUNT_OUT5 = 2,   /* the same, fifth argument */
};

enum limits {
	CHUNK_BYTES = 16384,  /* payload of one data record at most */
	CALL_DEPTH = 4,       /* nested TLS calls followed on one thread */
	ARGV_BYTES = 512,
	PATH_BYTES = 4096,
	PATH_COMPONENTS = 48, /* directories of an executable's path that are walked */
	COMM_BYTES = 16,
	SOCKET_CORRECTIONS = 4, /* times that an inferred socket may change */
};

/* Payload of `length` bytes follows. */
struct data_record {
	unsigned short kind;
	unsigned short direction;
	unsigned int length;
	unsigned long long time_ns;
	unsigned long long stream_id;
	unsigned long long offset;
	unsigned long long start_ns;
	unsigned int pid;
	unsigned int thread_id;
	unsigned int sequence;
	unsigned int library_id;
};

struct loss_record {
	unsigned short kind;
	unsigned short direction;
	unsigned int reason;
	unsigned long long time_ns;
	unsigned long long stream_id;
	unsigned long long offset;
	unsigned long long start_ns;
	unsigned int pid;
	unsigned int pad;
	unsigned long long lost_bytes;
};

struct open_record {
	unsigned short kind;
	unsigned short pad;
	unsigned int library_id;
	unsigned long long time_ns;
	unsigned long long stream_id;
	unsigned long long object; /* address of the TLS object: with start_ns, pid and image the key of the map "streams" */
	unsigned long long start_ns;
	unsigned int pid;
	unsigned int thread_id;
	unsigned int image;
	unsigned int pad2;
};

/* Addresses are IPv6, IPv4 as ::ffff:a.b.c.d; ports in host order. */
struct socket_record {
	unsigned short kind;
	unsigned char confidence;
	unsigned char role;
	unsigned int pid;
	unsigned long long time_ns;
	unsigned long long stream_id;
	unsigned long long start_ns;
	unsigned long long cookie;
	unsigned char local_address[16];
	unsigned char remote_address[16];
	unsigned short local_port;
	unsigned short remote_port;
	unsigned int pad;
};

struct close_record {
	unsigned short kind;
	unsigned short pad;
	unsigned int pid;
	unsigned long long time_ns;
	unsigned long long stream_id;
	unsigned long long start_ns;
};

/* argv (argv_bytes, NUL separated) follows, then the path's components from leaf to root (path_bytes, NUL ended each). */
struct exec_record {
	unsigned short kind;
	unsigned short argv_bytes;
	unsigned int pid;
	unsigned long long time_ns;
	unsigned long long start_ns;
	unsigned long long cgroup_id;
	unsigned int parent_pid;
	unsigned int uid;
	unsigned short path_bytes;
	unsigned short path_complete; /* 0: the root was not reached */
	unsigned int pad;
	char comm[16];
};

struct fork_record {
	unsigned short kind;
	unsigned short pad;
	unsigned int pid;
	unsigned long long time_ns;
	unsigned long long start_ns;
	unsigned int parent_pid;
	unsigned int pad2;
};

struct exit_record {
	unsigned short kind;
	unsigned short pad;
	unsigned int pid;
	unsigned long long time_ns;
	unsigned long long start_ns;
	unsigned int status; /* as wait(2) gives it */
	unsigned int pad2;
};

/* Value of the map "counters", index 0. */
struct counters {
	unsigned long long lost_bytes[4]; /* by loss_reason */
	unsigned long long lost_records[4];
	unsigned long long control_lost;   /* control records that found their ring full */
	unsigned long long marks_lost;     /* forked processes whose mark found the map full */
	unsigned long long depth_overflow; /* calls nested deeper than CALL_DEPTH */
	unsigned long long stale_calls;    /* entered calls that never returned here: longjmp, stack switch */
	unsigned long long storage_failed; /* threads without task storage: their calls are not seen */
	unsigned long long socket_ambiguous; /* calls that used two sockets */
};

/* Key of the map "streams". */
struct stream_key {
	unsigned long long object;
	unsigned long long start_ns;
	unsigned int pid;
	unsigned int image; /* another one after each exec: the addresses of one program say nothing in the next */
};

#endif
