// SPDX-License-Identifier: Apache-2.0
// Drains two ring buffers in a thread of its own: whole spans are copied into a few lasting buffers, each handed
// over in one call. Knows the kernel's ring framing (8-byte header, busy and discard bits), no record of ours.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "handles.h"

namespace cleartap {

/** One filled buffer. Control records stand first, data records from the next multiple of 8. */
struct Batch {
  uint32_t buffer;
  uint32_t controlBytes;
  uint32_t dataBytes;
  /** Data ring: position up to which it has been handed over with this batch. */
  uint64_t dataPosition;
  /** Data ring: position up to which it was filled when this batch's control records had been read. */
  uint64_t dataProduced;
  bool last;
};

class Ring {
 public:
  Ring(int mapFd, uint32_t bytes);
  uint64_t produced() const { return __atomic_load_n(producer_, __ATOMIC_ACQUIRE); }
  uint64_t consumed() const { return *consumer_; }
  /** Copies whole records before `end` into target and frees them. Returns bytes, framing included. */
  uint32_t drain(uint64_t end, uint8_t* target, uint32_t room);

 private:
  Mapping consumerPage_, producerPages_;
  uint64_t mask_;
  volatile uint64_t* consumer_;
  uint64_t* producer_;
  uint8_t* data_;
};

class RingReader {
 public:
  struct Options {
    int dataFd, controlFd, wakeupFd;
    uint32_t dataBytes, controlBytes;
    uint32_t bufferBytes, bufferCount;
  };

  /** `deliver` is called on the reader's thread and must not block. */
  RingReader(const Options& options, std::function<void(const Batch&)> deliver);
  ~RingReader();

  uint8_t* buffer(uint32_t index) const { return memory_->data() + size_t(index) * options_.bufferBytes; }
  std::shared_ptr<Mapping> memory() const { return memory_; }
  /** The buffer may be filled again. */
  void release(uint32_t index);
  /** Hands over what the rings still hold, then a batch marked last. Returns at once. */
  void finish();

 private:
  void run();
  bool takeBuffer(uint32_t* index);
  Batch fill(uint32_t index);
  void waitForWork(uint32_t idleRounds);

  Options options_;
  std::function<void(const Batch&)> deliver_;
  std::shared_ptr<Mapping> memory_;
  Ring data_, control_;
  Mapping wakeup_;
  FileDescriptor epoll_, stopEvent_;
  std::mutex mutex_;
  std::condition_variable released_;
  std::vector<uint32_t> free_;
  std::atomic<bool> finishing_{false}, abandoned_{false};
  std::thread thread_;
};

}  // namespace cleartap
