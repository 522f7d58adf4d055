// SPDX-License-Identifier: Apache-2.0
// The Node-API surface. Arguments were validated by agent/src/bpf/native.ts; here they are only converted.
#include <napi.h>

#include <set>

#include "object.h"
#include "ring-reader.h"

namespace cleartap {
namespace {

template <typename Work>
auto orThrow(Napi::Env env, Work work) {
  try {
    return work();
  } catch (const Failure& failure) {
    throw Napi::Error::New(env, failure.what());
  }
}

/** Runs work off the JS thread; the promise gets its number, or the Failure's message. */
class Job : public Napi::AsyncWorker {
 public:
  Job(Napi::Env env, std::function<uint32_t()> work)
      : Napi::AsyncWorker(env), deferred_(Napi::Promise::Deferred::New(env)), work_(std::move(work)) {}
  static Napi::Value start(Napi::Env env, std::function<uint32_t()> work) {
    auto* job = new Job(env, std::move(work));
    Napi::Promise promise = job->deferred_.Promise();
    job->Queue();
    return promise;
  }
  void Execute() override {
    try {
      result_ = work_();
    } catch (const Failure& failure) {
      SetError(failure.what());
    }
  }
  void OnOK() override { deferred_.Resolve(Napi::Number::New(Env(), result_)); }
  void OnError(const Napi::Error& error) override { deferred_.Reject(error.Value()); }

 private:
  Napi::Promise::Deferred deferred_;
  std::function<uint32_t()> work_;
  uint32_t result_ = 0;
};

class BpfObject;

using OpenObjects = std::set<BpfObject*>;

/** All that this environment has opened; closed with it. Objects hold the set too, for either may go first. */
struct Owner {
  std::shared_ptr<OpenObjects> objects = std::make_shared<OpenObjects>();
  ~Owner();
};

class BpfObject : public Napi::ObjectWrap<BpfObject> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit BpfObject(const Napi::CallbackInfo& info);
  ~BpfObject() override;
  void closeAll();

 private:
  Napi::Value attachTracing(const Napi::CallbackInfo& info);
  Napi::Value attachUprobes(const Napi::CallbackInfo& info);
  Napi::Value detach(const Napi::CallbackInfo& info);
  Napi::Value detachAll(const Napi::CallbackInfo& info);
  Napi::Value lookup(const Napi::CallbackInfo& info);
  Napi::Value update(const Napi::CallbackInfo& info);
  Napi::Value remove(const Napi::CallbackInfo& info);
  Napi::Value startRings(const Napi::CallbackInfo& info);
  Napi::Value finishRings(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  LoadedObject& loaded(Napi::Env env) {
    if (!loaded_) throw Napi::Error::New(env, "the BPF object is closed");
    return *loaded_;
  }
  void onBatch(Napi::Env env, Napi::Function callback, const Batch& batch);

  std::shared_ptr<OpenObjects> openObjects_;
  std::shared_ptr<LoadedObject> loaded_;
  std::unique_ptr<RingReader> reader_;
  Napi::ThreadSafeFunction deliver_;
  std::unique_ptr<Napi::Promise::Deferred> finished_;
};

Owner::~Owner() {
  for (BpfObject* object : *objects) object->closeAll();
}

std::vector<uint8_t> bytesOf(const Napi::Value& value, uint32_t expected) {
  const auto array = value.As<Napi::Uint8Array>();
  if (array.ByteLength() != expected)
    throw Napi::RangeError::New(value.Env(), "got " + std::to_string(array.ByteLength()) + " bytes, the map takes " +
                                                 std::to_string(expected));
  return {array.Data(), array.Data() + array.ByteLength()};
}

LoadOptions loadOptions(const Napi::Object& from) {
  LoadOptions options;
  options.path = from.Get("path").ToString();
  const auto constants = from.Get("constants").As<Napi::Object>();
  for (const auto& [key, value] : constants)
    options.constants[key.ToString()] = static_cast<uint64_t>(Napi::Value(value).ToNumber().Int64Value());
  const auto maps = from.Get("mapEntries").As<Napi::Object>();
  for (const auto& [key, value] : maps)
    options.mapEntries[key.ToString()] = Napi::Value(value).ToNumber().Uint32Value();
  const auto programs = from.Get("programs").As<Napi::Object>();
  for (const auto& [key, value] : programs) {
    const auto entry = Napi::Value(value).As<Napi::Object>();
    options.programs[key.ToString()] = {entry.Get("load").ToBoolean(), entry.Get("attachType").ToNumber(),
                                       entry.Get("sleepable").ToBoolean()};
  }
  return options;
}

UprobeOptions uprobeOptions(const Napi::Object& from) {
  UprobeOptions options;
  options.program = from.Get("program").ToString();
  options.path = from.Get("path").ToString();
  const std::string kind = from.Get("kind").ToString();
  options.kind = kind == "session" ? UprobeKind::kSession : kind == "multi" ? UprobeKind::kMulti : UprobeKind::kPerf;
  options.onReturn = from.Get("onReturn").ToBoolean();
  const auto sites = from.Get("sites").As<Napi::Array>();
  for (uint32_t i = 0; i < sites.Length(); i++) {
    const auto site = Napi::Value(sites[i]).As<Napi::Object>();
    options.offsets.push_back(static_cast<uint64_t>(site.Get("offset").ToNumber().Int64Value()));
    options.cookies.push_back(static_cast<uint64_t>(site.Get("cookie").ToNumber().Int64Value()));
  }
  return options;
}

Napi::Function BpfObject::define(Napi::Env env) {
  return DefineClass(env, "BpfObject",
                     {InstanceMethod<&BpfObject::attachTracing>("attachTracing"),
                      InstanceMethod<&BpfObject::attachUprobes>("attachUprobes"),
                      InstanceMethod<&BpfObject::detach>("detach"),
                      InstanceMethod<&BpfObject::detachAll>("detachAll"),
                      InstanceMethod<&BpfObject::lookup>("lookup"),
                      InstanceMethod<&BpfObject::update>("update"),
                      InstanceMethod<&BpfObject::remove>("remove"),
                      InstanceMethod<&BpfObject::startRings>("startRings"),
                      InstanceMethod<&BpfObject::finishRings>("finishRings"),
                      InstanceMethod<&BpfObject::close>("close")});
}

BpfObject::BpfObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<BpfObject>(info) {
  loaded_ = orThrow(info.Env(), [&] {
    return std::make_shared<LoadedObject>(loadOptions(info[0].As<Napi::Object>()));
  });
  openObjects_ = info.Env().GetInstanceData<Owner>()->objects;
  openObjects_->insert(this);
}

BpfObject::~BpfObject() {
  closeAll();
  if (openObjects_) openObjects_->erase(this);
}

void BpfObject::closeAll() {
  if (reader_) {
    reader_.reset();
    deliver_.Abort();
  }
  loaded_.reset();
}

Napi::Value BpfObject::attachTracing(const Napi::CallbackInfo& info) {
  return orThrow(info.Env(), [&] {
    return Napi::Number::New(info.Env(), loaded(info.Env()).attachTracing(info[0].ToString()));
  });
}

Napi::Value BpfObject::attachUprobes(const Napi::CallbackInfo& info) {
  loaded(info.Env());
  return Job::start(info.Env(), [object = loaded_, options = uprobeOptions(info[0].As<Napi::Object>())] {
    return object->attachUprobes(options);
  });
}

Napi::Value BpfObject::detach(const Napi::CallbackInfo& info) {
  loaded(info.Env());
  std::vector<uint32_t> ids;
  const auto given = info[0].As<Napi::Array>();
  for (uint32_t i = 0; i < given.Length(); i++) ids.push_back(Napi::Value(given[i]).ToNumber());
  return Job::start(info.Env(), [object = loaded_, ids] {
    object->detach(ids);
    return 0u;
  });
}

Napi::Value BpfObject::detachAll(const Napi::CallbackInfo& info) {
  loaded(info.Env());
  return Job::start(info.Env(), [object = loaded_] {
    object->detachAll();
    return 0u;
  });
}

Napi::Value BpfObject::lookup(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  return orThrow(env, [&]() -> Napi::Value {
    const std::string name = info[0].ToString();
    const auto [keyBytes, valueBytes] = loaded(env).mapSizes(name);
    const std::vector<uint8_t> key = bytesOf(info[1], keyBytes);
    auto value = Napi::Uint8Array::New(env, valueBytes);
    if (bpf_map_lookup_elem(loaded(env).mapFd(name), key.data(), value.Data()) == 0) return value;
    if (errno == ENOENT) return env.Null();
    throw Failure(withErrno("reading map " + name, errno));
  });
}

Napi::Value BpfObject::update(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  return orThrow(env, [&] {
    const std::string name = info[0].ToString();
    const auto [keyBytes, valueBytes] = loaded(env).mapSizes(name);
    const auto key = bytesOf(info[1], keyBytes), value = bytesOf(info[2], valueBytes);
    if (bpf_map_update_elem(loaded(env).mapFd(name), key.data(), value.data(), BPF_ANY))
      throw Failure(withErrno("writing map " + name, errno));
    return env.Undefined();
  });
}

Napi::Value BpfObject::remove(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  return orThrow(env, [&] {
    const std::string name = info[0].ToString();
    const auto key = bytesOf(info[1], loaded(env).mapSizes(name).first);
    if (bpf_map_delete_elem(loaded(env).mapFd(name), key.data()) && errno != ENOENT)
      throw Failure(withErrno("deleting from map " + name, errno));
    return env.Undefined();
  });
}

void BpfObject::onBatch(Napi::Env env, Napi::Function callback, const Batch& batch) {
  struct Release {
    RingReader* reader;
    uint32_t index;
    ~Release() { reader->release(index); }
  } release{reader_.get(), batch.buffer};
  if (batch.last) {
    deliver_.Release();
    if (finished_) finished_->Resolve(env.Undefined());
    return;
  }
  callback.Call({Napi::Number::New(env, batch.buffer), Napi::Number::New(env, batch.controlBytes),
                 Napi::Number::New(env, batch.dataBytes), Napi::Number::New(env, double(batch.dataPosition)),
                 Napi::Number::New(env, double(batch.dataProduced))});
}

Napi::Value BpfObject::startRings(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (reader_) throw Napi::Error::New(env, "the rings are being read already");
  const auto from = info[0].As<Napi::Object>();
  const std::string data = from.Get("data").ToString(), control = from.Get("control").ToString();
  LoadedObject& object = loaded(env);
  deliver_ = Napi::ThreadSafeFunction::New(env, info[1].As<Napi::Function>(), "cleartap-rings", 0, 1);
  orThrow(env, [&] {
    RingReader::Options options{object.mapFd(data), object.mapFd(control), object.mapFd(from.Get("wakeup").ToString()),
                                object.mapEntries(data), object.mapEntries(control),
                                from.Get("bufferBytes").ToNumber(), from.Get("buffers").ToNumber()};
    reader_ = std::make_unique<RingReader>(options, [this](const Batch& batch) {
      deliver_.NonBlockingCall([this, batch](Napi::Env callEnv, Napi::Function callback) {
        if (reader_) onBatch(callEnv, callback, batch);
      });
    });
    return 0;
  });
  const uint32_t bufferBytes = from.Get("bufferBytes").ToNumber(), count = from.Get("buffers").ToNumber();
  auto buffers = Napi::Array::New(env, count);
  for (uint32_t i = 0; i < count; i++) {
    auto* keep = new std::shared_ptr<Mapping>(reader_->memory());
    buffers[i] = Napi::ArrayBuffer::New(
        env, reader_->buffer(i), bufferBytes,
        [](Napi::Env, void*, std::shared_ptr<Mapping>* held) { delete held; }, keep);
  }
  return buffers;
}

Napi::Value BpfObject::finishRings(const Napi::CallbackInfo& info) {
  if (!reader_ || finished_) throw Napi::Error::New(info.Env(), "the rings are not being read");
  finished_ = std::make_unique<Napi::Promise::Deferred>(Napi::Promise::Deferred::New(info.Env()));
  reader_->finish();
  return finished_->Promise();
}

Napi::Value BpfObject::close(const Napi::CallbackInfo& info) {
  if (finished_) reader_.reset();
  closeAll();
  return info.Env().Undefined();
}

Napi::Object initialise(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new Owner());
  exports.Set("BpfObject", BpfObject::define(env));
  exports.Set("kernelHasType", Napi::Function::New(env, [](const Napi::CallbackInfo& info) {
                return Napi::Boolean::New(info.Env(), kernelHasType(info[0].ToString(), info[1].ToString()));
              }));
  exports.Set("kernelHasUprobeLink", Napi::Function::New(env, [](const Napi::CallbackInfo& info) {
                return Napi::Boolean::New(info.Env(), kernelHasUprobeLink(info[0].ToNumber()));
              }));
  return exports;
}

NODE_API_MODULE(cleartap, initialise)

}  // namespace
}  // namespace cleartap
