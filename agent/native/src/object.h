// SPDX-License-Identifier: Apache-2.0
// A loaded BPF object and its attachments. Knows programs, maps and constants by name, no event layout.
#pragma once

#include <map>
#include <mutex>

#include "handles.h"

namespace cleartap {

struct ProgramOptions {
  bool load = true;
  int attachType = -1;  // -1: as the section says
  bool sleepable = false;
};

struct LoadOptions {
  std::string path;
  std::map<std::string, uint64_t> constants;  // const volatile variables
  std::map<std::string, uint32_t> mapEntries;
  std::map<std::string, ProgramOptions> programs;
};

enum class UprobeKind { kMulti, kSession, kPerf };

struct UprobeOptions {
  std::string program;
  std::string path;
  UprobeKind kind = UprobeKind::kMulti;
  bool onReturn = false;
  std::vector<uint64_t> offsets;
  std::vector<uint64_t> cookies;
};

class LoadedObject {
 public:
  /** Throws Failure with libbpf's last words. */
  explicit LoadedObject(const LoadOptions& options);

  uint32_t attachTracing(const std::string& program);
  /** Slow (milliseconds to tens of them): call off the JS thread. */
  uint32_t attachUprobes(const UprobeOptions& options);
  /** Slow (up to 0.1 s for each link). Unknown ids are passed over. */
  void detach(const std::vector<uint32_t>& ids);
  void detachAll();

  int mapFd(const std::string& name) const;
  /** Bytes of a key and a value of the map. */
  std::pair<uint32_t, uint32_t> mapSizes(const std::string& name) const;
  uint32_t mapEntries(const std::string& name) const;

 private:
  bpf_program* program(const std::string& name) const;
  uint32_t keep(Attachment attachment);

  ObjectHandle object_;
  std::mutex mutex_;
  std::map<uint32_t, Attachment> attachments_;
  uint32_t nextId_ = 1;
};

/** True if the kernel's BTF has a function, typedef or struct of this name. */
bool kernelHasType(const std::string& kind, const std::string& name);

/** True if the kernel knows uprobe links of this attach type (48 multi, 57 session). */
bool kernelHasUprobeLink(int attachType);

}  // namespace cleartap
