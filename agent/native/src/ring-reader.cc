// SPDX-License-Identifier: Apache-2.0
#include "ring-reader.h"

#include <dirent.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>

#include <algorithm>

namespace cleartap {
namespace {

constexpr uint64_t kBusyBit = 1u << 31;
constexpr uint64_t kDiscardBit = 1u << 30;
constexpr uint32_t kHeaderBytes = 8;
// Records that come together are taken together: without the pause each record would wake the reader.
constexpr useconds_t kGatherMicroseconds = 500;
// After so many pauses without a record the reader sleeps until the kernel wakes it.
constexpr uint32_t kIdleRounds = 16;
// The wake-up flag and the last record may cross; this bounds what that costs.
constexpr int kSleepMilliseconds = 50;
constexpr uint32_t kBusyBytes = 256 * 1024;
constexpr uint32_t kControlShare = 4;

// A thread that wakes takes no processor from one that is running: what is observed goes first. Its share stays the
// same, so the rings are still emptied; children are not affected. Without effect where it is not allowed.
void yieldToOthers(pid_t thread) {
  const sched_param none{};
  ::sched_setscheduler(thread, SCHED_BATCH | SCHED_RESET_ON_FORK, &none);
}

void yieldAllThreads() {
  DIR* tasks = ::opendir("/proc/self/task");
  if (!tasks) return;
  while (const dirent* entry = ::readdir(tasks))
    if (const int thread = ::atoi(entry->d_name); thread > 0) yieldToOthers(thread);
  ::closedir(tasks);
}

size_t pageBytes() { return static_cast<size_t>(::sysconf(_SC_PAGESIZE)); }

void watch(int epoll, int fd) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = fd;
  if (::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event)) throw Failure(withErrno("watching a ring", errno));
}

}  // namespace

Ring::Ring(int mapFd, uint32_t bytes)
    : consumerPage_(mapFd, pageBytes(), PROT_READ | PROT_WRITE, 0),
      producerPages_(mapFd, pageBytes() + 2 * size_t(bytes), PROT_READ, pageBytes()),
      mask_(bytes - 1),
      consumer_(reinterpret_cast<volatile uint64_t*>(consumerPage_.data())),
      producer_(reinterpret_cast<uint64_t*>(producerPages_.data())),
      data_(producerPages_.data() + pageBytes()) {}

uint32_t Ring::drain(uint64_t end, uint8_t* target, uint32_t room) {
  const uint64_t start = consumed();
  uint64_t position = start;
  while (position < end) {
    const auto* header = reinterpret_cast<const uint32_t*>(data_ + (position & mask_));
    const uint32_t length = __atomic_load_n(header, __ATOMIC_ACQUIRE);
    if (length & kBusyBit) break;
    const uint64_t step = ((length & ~kDiscardBit) + kHeaderBytes + 7) & ~uint64_t{7};
    if (position + step - start > room) break;
    position += step;
  }
  const uint32_t bytes = position - start;
  if (bytes == 0) return 0;
  std::memcpy(target, data_ + (start & mask_), bytes);
  __atomic_store_n(consumer_, position, __ATOMIC_RELEASE);
  return bytes;
}

RingReader::RingReader(const Options& options, std::function<void(const Batch&)> deliver)
    : options_(options),
      deliver_(std::move(deliver)),
      memory_(std::make_shared<Mapping>(-1, size_t(options.bufferBytes) * options.bufferCount,
                                        PROT_READ | PROT_WRITE, 0)),
      data_(options.dataFd, options.dataBytes),
      control_(options.controlFd, options.controlBytes),
      wakeup_(options.wakeupFd, pageBytes(), PROT_READ | PROT_WRITE, 0),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      stopEvent_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  watch(epoll_.get(), options.dataFd);
  watch(epoll_.get(), options.controlFd);
  watch(epoll_.get(), stopEvent_.get());
  for (uint32_t i = 0; i < options.bufferCount; i++) free_.push_back(i);
  yieldAllThreads();
  thread_ = std::thread([this] { run(); });
}

RingReader::~RingReader() {
  abandoned_ = true;
  finish();
  thread_.join();
}

void RingReader::release(uint32_t index) {
  std::lock_guard lock(mutex_);
  free_.push_back(index);
  released_.notify_one();
}

void RingReader::finish() {
  finishing_ = true;
  const uint64_t one = 1;
  if (::write(stopEvent_.get(), &one, sizeof one) < 0 && errno != EAGAIN) std::abort();
  std::lock_guard lock(mutex_);
  released_.notify_one();
}

bool RingReader::takeBuffer(uint32_t* index) {
  std::unique_lock lock(mutex_);
  released_.wait(lock, [this] { return !free_.empty() || abandoned_; });
  if (abandoned_) return false;
  *index = free_.back();
  free_.pop_back();
  return true;
}

// The end of the data is fixed before control records are read: so what a data record refers to (its process, its
// stream) is always in the same batch or an earlier one.
Batch RingReader::fill(uint32_t index) {
  Batch batch{};
  uint8_t* target = buffer(index);
  const uint64_t dataEnd = data_.produced();
  const uint64_t controlEnd = control_.produced();
  batch.buffer = index;
  batch.controlBytes = control_.drain(controlEnd, target, options_.bufferBytes / kControlShare);
  batch.dataProduced = data_.produced();
  if (control_.consumed() >= controlEnd)
    batch.dataBytes =
        data_.drain(dataEnd, target + batch.controlBytes, options_.bufferBytes - batch.controlBytes);
  batch.dataPosition = data_.consumed();
  return batch;
}

void RingReader::waitForWork(uint32_t idleRounds) {
  auto* wanted = reinterpret_cast<uint64_t*>(wakeup_.data());
  if (idleRounds < kIdleRounds) {
    ::usleep(kGatherMicroseconds);
    return;
  }
  __atomic_store_n(wanted, 1, __ATOMIC_SEQ_CST);
  epoll_event events[3];
  if (data_.produced() == data_.consumed() && control_.produced() == control_.consumed())
    ::epoll_wait(epoll_.get(), events, 3, kSleepMilliseconds);
  __atomic_store_n(wanted, 0, __ATOMIC_SEQ_CST);
}

void RingReader::run() {
  ::prctl(PR_SET_NAME, "cleartap-rings");
  yieldToOthers(0);
  uint32_t idleRounds = 0, index = 0;
  while (takeBuffer(&index)) {
    const bool finishing = finishing_;
    Batch batch = fill(index);
    const uint32_t bytes = batch.controlBytes + batch.dataBytes;
    batch.last = finishing && bytes == 0;
    if (bytes > 0 || batch.last) {
      deliver_(batch);
      if (batch.last) return;
      idleRounds = 0;
      if (bytes < kBusyBytes && !finishing) ::usleep(kGatherMicroseconds);
      continue;
    }
    release(index);
    waitForWork(idleRounds++);
  }
}

}  // namespace cleartap
