/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The one object: every program shares the maps of lib/maps.h, so they are one translation unit. */
#include "vmlinux.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define AF_INET 2
#define AF_INET6 10

extern bool bpf_session_is_return(void) __weak __ksym;

#include "events.h"
#include "lib/maps.h"
#include "lib/emit.h"
#include "lib/conn.h"
#include "process.bpf.c"
#include "socket.bpf.c"
#include "tls/openssl.bpf.c"

char LICENSE[] SEC("license") = "Dual BSD/GPL";
