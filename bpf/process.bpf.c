/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Fork, exec and exit of processes. Everything that names a process is read at exec: a few milliseconds later it may be gone. */

/* Scratch is per CPU: tracepoints do not sleep and are not re-entered by themselves, unlike uprobes. */
struct exec_scratch {
	struct exec_record record;
	/* Each half has room for one write more than its limit, so that masked offsets stay inside. */
	char tail[ARGV_BYTES + PATH_BYTES + 256];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct exec_scratch);
} exec_scratch SEC(".maps");

struct path_walk {
	struct dentry *dentry;
	struct vfsmount *mount;
	struct exec_scratch *scratch;
	u32 used;
	u32 complete;
};

/* bpf_loop callback: one directory up, across mount points. */
static long walk_up(u32 index, struct path_walk *walk)
{
	struct dentry *dentry = walk->dentry;
	struct dentry *parent = BPF_CORE_READ(dentry, d_parent);
	struct vfsmount *vfsmount = walk->mount;
	struct dentry *mount_root = BPF_CORE_READ(vfsmount, mnt_root);
	struct mount *mount, *mount_parent;
	const unsigned char *name;
	u32 at = walk->used;
	long n;

	if (dentry == mount_root || dentry == parent) {
		mount = container_of(vfsmount, struct mount, mnt);
		mount_parent = BPF_CORE_READ(mount, mnt_parent);
		if (mount == mount_parent || dentry != mount_root) {
			walk->complete = 1;
			return 1;
		}
		walk->dentry = BPF_CORE_READ(mount, mnt_mountpoint);
		walk->mount = &mount_parent->mnt;
		return 0;
	}
	if (at >= PATH_BYTES)
		return 1;
	name = BPF_CORE_READ(dentry, d_name.name);
	n = bpf_probe_read_kernel_str(&walk->scratch->tail[ARGV_BYTES + (at & (PATH_BYTES - 1))], 256, name);
	if (n <= 0)
		return 1;
	walk->used = at + n;
	walk->dentry = parent;
	return 0;
}

static __always_inline u32 read_argv(struct exec_scratch *scratch, struct task_struct *task)
{
	u64 start = BPF_CORE_READ(task, mm, arg_start);
	u64 bytes = BPF_CORE_READ(task, mm, arg_end) - start;

	if (bytes > ARGV_BYTES)
		bytes = ARGV_BYTES;
	if (bpf_probe_read_user(scratch->tail, bytes, (void *)start))
		return 0;
	return bytes;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(process_exec, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	u32 zero = 0, pid = task->tgid;
	struct exec_scratch *scratch = bpf_map_lookup_elem(&exec_scratch, &zero);
	struct path_walk walk = {};
	struct exec_record *record;
	u32 *mark;

	/* The calls and sockets of the thread are those of a program that is gone. */
	bpf_task_storage_delete(&threads, task);
	mark = bpf_map_lookup_elem(&processes, &pid);
	if (mark && *mark == MARK_IGNORED)
		bpf_map_delete_elem(&processes, &pid);
	if (!scratch)
		return 0;
	record = &scratch->record;
	record->kind = RECORD_EXEC;
	record->pid = pid;
	record->time_ns = bpf_ktime_get_boot_ns();
	record->start_ns = process_start(task);
	record->cgroup_id = bpf_get_current_cgroup_id();
	record->parent_pid = BPF_CORE_READ(task, real_parent, tgid);
	record->uid = (u32)bpf_get_current_uid_gid();
	BPF_CORE_READ_STR_INTO(&record->comm, task, comm);
	record->argv_bytes = read_argv(scratch, task);
	walk.dentry = BPF_CORE_READ(bprm, file, f_path.dentry);
	walk.mount = BPF_CORE_READ(bprm, file, f_path.mnt);
	walk.scratch = scratch;
	bpf_loop(PATH_COMPONENTS, walk_up, &walk, 0);
	record->path_bytes = walk.used;
	record->path_complete = walk.complete;
	if (walk.used > PATH_BYTES)
		record->path_bytes = walk.used = PATH_BYTES;
	emit_control(scratch, sizeof(*record) + ARGV_BYTES + (walk.used & (2 * PATH_BYTES - 1)));
	return 0;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(process_fork, struct task_struct *parent, struct task_struct *child)
{
	u32 parent_pid = parent->tgid, pid = child->tgid, mark = 0, *inherited;
	struct fork_record record = {
		.kind = RECORD_FORK,
		.pid = pid,
		.time_ns = bpf_ktime_get_boot_ns(),
		.start_ns = child->start_boottime,
		.parent_pid = parent_pid,
	};

	if (child->pid != child->tgid)
		return 0;
	inherited = bpf_map_lookup_elem(&processes, &parent_pid);
	if (inherited)
		mark = *inherited;
	else if (target_mode == TARGET_CHILDREN && parent_pid == agent_pid)
		mark = MARK_TARGET;
	/* The pid may be a used one whose mark came after its exit. */
	if (!mark)
		bpf_map_delete_elem(&processes, &pid);
	else if (bpf_map_update_elem(&processes, &pid, &mark, BPF_ANY))
		COUNT(marks_lost, 1);
	emit_control(&record, sizeof(record));
	return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(process_exit, struct task_struct *task)
{
	u32 pid = task->tgid;
	struct exit_record record = {
		.kind = RECORD_EXIT,
		.pid = pid,
		.time_ns = bpf_ktime_get_boot_ns(),
		.start_ns = process_start(task),
	};

	/* Each thread passes here; the process ends with its last. */
	if (BPF_CORE_READ(task, signal, live.counter) > 0)
		return 0;
	record.status = BPF_CORE_READ(task, signal, group_exit_code);
	if (!record.status)
		record.status = task->exit_code;
	bpf_map_delete_elem(&processes, &pid);
	emit_control(&record, sizeof(record));
	return 0;
}
