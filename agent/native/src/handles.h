// SPDX-License-Identifier: Apache-2.0
// Kernel handles as values: what goes out of scope is closed. Nothing is pinned, so a crash detaches everything.
#pragma once

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace cleartap {

/** An expected failure: the message goes to JavaScript as it is. */
class Failure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

inline std::string withErrno(const std::string& what, int error) {
  return what + ": " + std::strerror(error) + " (errno " + std::to_string(error) + ")";
}

class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  ~FileDescriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_ = -1;
};

class Mapping {
 public:
  Mapping() = default;
  Mapping(int fd, size_t bytes, int protection, off_t offset) : bytes_(bytes) {
    const int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
    address_ = ::mmap(nullptr, bytes, protection, flags, fd, offset);
    if (address_ == MAP_FAILED) {
      address_ = nullptr;
      throw Failure(withErrno("mmap of " + std::to_string(bytes) + " bytes", errno));
    }
  }
  Mapping(Mapping&& other) noexcept
      : address_(std::exchange(other.address_, nullptr)), bytes_(other.bytes_) {}
  Mapping& operator=(Mapping&& other) noexcept {
    std::swap(address_, other.address_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() {
    if (address_) ::munmap(address_, bytes_);
  }
  uint8_t* data() const { return static_cast<uint8_t*>(address_); }
  size_t size() const { return bytes_; }

 private:
  void* address_ = nullptr;
  size_t bytes_ = 0;
};

struct LinkDeleter {
  void operator()(bpf_link* link) const { bpf_link__destroy(link); }
};

/** One attachment: a link of our own making, or one libbpf made per offset. */
struct Attachment {
  FileDescriptor link;
  std::vector<std::unique_ptr<bpf_link, LinkDeleter>> libbpfLinks;
};

struct ObjectDeleter {
  void operator()(bpf_object* object) const { bpf_object__close(object); }
};
using ObjectHandle = std::unique_ptr<bpf_object, ObjectDeleter>;

}  // namespace cleartap
