// SPDX-License-Identifier: Apache-2.0
#include "object.h"

#include <bpf/btf.h>
#include <linux/bpf.h>
#include <signal.h>
#include <sys/syscall.h>

#include <cstdarg>
#include <cstdio>

namespace cleartap {
namespace {

constexpr int kUprobeMulti = 48;
constexpr int kUprobeSession = 57;
constexpr uint32_t kReturnOnly = 1;
constexpr size_t kMaxLogBytes = 8 * 1024;

// What libbpf says on this thread while an object loads: the end of it explains a refusal.
thread_local std::string* libbpfLog = nullptr;

int collectLog(libbpf_print_level level, const char* format, va_list arguments) {
  if (!libbpfLog || level == LIBBPF_DEBUG) return 0;
  va_list again;
  va_copy(again, arguments);
  const int n = std::vsnprintf(nullptr, 0, format, again);
  va_end(again);
  if (n <= 0) return 0;
  std::string line(n + 1, '\0');
  std::vsnprintf(line.data(), line.size(), format, arguments);
  libbpfLog->append(line, 0, n);
  if (libbpfLog->size() > kMaxLogBytes) libbpfLog->erase(0, libbpfLog->size() - kMaxLogBytes);
  return n;
}

class LogCollector {
 public:
  LogCollector() {
    libbpf_set_print(collectLog);
    libbpfLog = &text_;
  }
  ~LogCollector() { libbpfLog = nullptr; }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

// The verifier gives up with EAGAIN when a signal is pending for the loading thread (kernel/bpf/verifier.c,
// do_check); libbpf tries five times, which is not enough beside a profiler or a chatty parent.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_;
};

// The kernel's union for BPF_LINK_CREATE of uprobe links; headers of the distribution may be older than the kernel.
struct UprobeLinkAttr {
  uint32_t programFd, target, attachType, flags;
  uint64_t path, offsets, refCounters, cookies;
  uint32_t count, uprobeFlags, pid, pad;
};

int createUprobeLink(UprobeLinkAttr& attr) {
  return static_cast<int>(::syscall(SYS_bpf, BPF_LINK_CREATE, &attr, sizeof attr));
}

void setConstant(bpf_object* object, const std::string& name, uint64_t value) {
  btf* types = bpf_object__btf(object);
  const int section = types ? btf__find_by_name_kind(types, ".rodata", BTF_KIND_DATASEC) : -1;
  bpf_map* map = bpf_object__find_map_by_name(object, ".rodata");
  if (section < 0 || !map) throw Failure("the object has no constants, wanted " + name);
  size_t bytes = 0;
  auto* data = static_cast<uint8_t*>(const_cast<void*>(bpf_map__initial_value(map, &bytes)));
  const btf_type* type = btf__type_by_id(types, section);
  const btf_var_secinfo* variables = btf_var_secinfos(type);
  for (int i = 0; i < btf_vlen(type); i++) {
    const btf_type* variable = btf__type_by_id(types, variables[i].type);
    if (name != btf__name_by_offset(types, variable->name_off)) continue;
    if (variables[i].size > sizeof value || variables[i].offset + variables[i].size > bytes) break;
    std::memcpy(data + variables[i].offset, &value, variables[i].size);
    return;
  }
  throw Failure("the object has no constant " + name);
}

}  // namespace

LoadedObject::LoadedObject(const LoadOptions& options) {
  LogCollector log;
  SignalsBlocked quiet;
  object_.reset(bpf_object__open_file(options.path.c_str(), nullptr));
  if (!object_) throw Failure(withErrno("opening " + options.path, errno) + "\n" + log.text());
  for (const auto& [name, value] : options.constants) setConstant(object_.get(), name, value);
  for (const auto& [name, entries] : options.mapEntries) {
    bpf_map* map = bpf_object__find_map_by_name(object_.get(), name.c_str());
    if (!map) throw Failure("the object has no map " + name);
    if (int error = bpf_map__set_max_entries(map, entries))
      throw Failure(withErrno("sizing map " + name, -error));
  }
  for (const auto& [name, wanted] : options.programs) {
    bpf_program__set_autoload(program(name), wanted.load);
    if (wanted.sleepable) bpf_program__set_flags(program(name), BPF_F_SLEEPABLE);
    if (wanted.attachType >= 0)
      bpf_program__set_expected_attach_type(program(name), static_cast<bpf_attach_type>(wanted.attachType));
  }
  if (int error = bpf_object__load(object_.get()))
    throw Failure(withErrno("loading " + options.path, -error) + "\n" + log.text());
}

bpf_program* LoadedObject::program(const std::string& name) const {
  bpf_program* found = bpf_object__find_program_by_name(object_.get(), name.c_str());
  if (!found) throw Failure("the object has no program " + name);
  return found;
}

uint32_t LoadedObject::keep(Attachment attachment) {
  std::lock_guard lock(mutex_);
  const uint32_t id = nextId_++;
  attachments_.emplace(id, std::move(attachment));
  return id;
}

uint32_t LoadedObject::attachTracing(const std::string& name) {
  LogCollector log;
  Attachment attachment;
  attachment.libbpfLinks.emplace_back(bpf_program__attach(program(name)));
  if (!attachment.libbpfLinks.back()) throw Failure(withErrno("attaching " + name, errno) + "\n" + log.text());
  return keep(std::move(attachment));
}

uint32_t LoadedObject::attachUprobes(const UprobeOptions& options) {
  LogCollector log;
  Attachment attachment;
  bpf_program* target = program(options.program);
  const std::string what = "attaching " + options.program + " to " + options.path;
  if (options.kind == UprobeKind::kPerf) {
    for (size_t i = 0; i < options.offsets.size(); i++) {
      bpf_uprobe_opts settings{};
      settings.sz = sizeof settings;
      settings.retprobe = options.onReturn;
      settings.bpf_cookie = options.cookies[i];
      attachment.libbpfLinks.emplace_back(
          bpf_program__attach_uprobe_opts(target, -1, options.path.c_str(), options.offsets[i], &settings));
      if (!attachment.libbpfLinks.back()) throw Failure(withErrno(what, errno) + "\n" + log.text());
    }
    return keep(std::move(attachment));
  }
  UprobeLinkAttr attr{};
  attr.programFd = bpf_program__fd(target);
  attr.attachType = options.kind == UprobeKind::kSession ? kUprobeSession : kUprobeMulti;
  attr.path = reinterpret_cast<uint64_t>(options.path.c_str());
  attr.offsets = reinterpret_cast<uint64_t>(options.offsets.data());
  attr.cookies = reinterpret_cast<uint64_t>(options.cookies.data());
  attr.count = options.offsets.size();
  attr.uprobeFlags = options.onReturn ? kReturnOnly : 0;
  const int fd = createUprobeLink(attr);
  if (fd < 0) throw Failure(withErrno(what, errno));
  attachment.link = FileDescriptor(fd);
  return keep(std::move(attachment));
}

void LoadedObject::detach(const std::vector<uint32_t>& ids) {
  std::vector<Attachment> ending;
  {
    std::lock_guard lock(mutex_);
    for (uint32_t id : ids) {
      auto found = attachments_.find(id);
      if (found == attachments_.end()) continue;
      ending.push_back(std::move(found->second));
      attachments_.erase(found);
    }
  }
}

void LoadedObject::detachAll() {
  std::map<uint32_t, Attachment> ending;
  std::lock_guard lock(mutex_);
  ending.swap(attachments_);
}

int LoadedObject::mapFd(const std::string& name) const {
  const int fd = bpf_object__find_map_fd_by_name(object_.get(), name.c_str());
  if (fd < 0) throw Failure("the object has no map " + name);
  return fd;
}

std::pair<uint32_t, uint32_t> LoadedObject::mapSizes(const std::string& name) const {
  const bpf_map* map = bpf_object__find_map_by_name(object_.get(), name.c_str());
  if (!map) throw Failure("the object has no map " + name);
  return {bpf_map__key_size(map), bpf_map__value_size(map)};
}

uint32_t LoadedObject::mapEntries(const std::string& name) const {
  const bpf_map* map = bpf_object__find_map_by_name(object_.get(), name.c_str());
  if (!map) throw Failure("the object has no map " + name);
  return bpf_map__max_entries(map);
}

bool kernelHasType(const std::string& kind, const std::string& name) {
  struct BtfDeleter {
    void operator()(btf* types) const { btf__free(types); }
  };
  static const std::unique_ptr<btf, BtfDeleter> types(btf__load_vmlinux_btf());
  if (!types) return false;
  const uint32_t number = kind == "function" ? BTF_KIND_FUNC : kind == "typedef" ? BTF_KIND_TYPEDEF : BTF_KIND_STRUCT;
  return btf__find_by_name_kind(types.get(), name.c_str(), number) > 0;
}

bool kernelHasUprobeLink(int attachType) {
  const bpf_insn program[] = {
      {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .src_reg = 0, .off = 0, .imm = 0},
      {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0},
  };
  SignalsBlocked quiet;
  bpf_prog_load_opts settings{};
  settings.sz = sizeof settings;
  settings.expected_attach_type = static_cast<bpf_attach_type>(attachType);
  FileDescriptor loaded(bpf_prog_load(BPF_PROG_TYPE_KPROBE, "probe", "GPL", program, 2, &settings));
  if (loaded.get() < 0) return false;
  // A kernel that knows the type gets as far as the path and refuses it, for it is a directory.
  const uint64_t offset = 0;
  UprobeLinkAttr attr{};
  attr.programFd = loaded.get();
  attr.attachType = attachType;
  attr.path = reinterpret_cast<uint64_t>("/");
  attr.offsets = reinterpret_cast<uint64_t>(&offset);
  attr.count = 1;
  const FileDescriptor link(createUprobeLink(attr));
  return link.get() < 0 && errno == EBADF;
}

}  // namespace cleartap
