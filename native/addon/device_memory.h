// Memory of a device that JavaScript holds (src/ops/device-tensor.ts), and the queue on which an environment's calls use it.

#ifndef STEPCREDIT_ADDON_DEVICE_MEMORY_H
#define STEPCREDIT_ADDON_DEVICE_MEMORY_H

#include <napi.h>

#include <memory>
#include <string>
#include <vector>

#include "devices.h"

// The queue of one device in one environment, touched on its JavaScript thread alone. A call whose written arrays all lie on
// the device is enqueued here and returns; whoever needs its results, or releases memory, waits first.
struct Lane {
  Device* device;
  ScStream queue;  // null once the environment has ended
  bool pending = false;
  std::vector<void*> staged;  // copies of arrays of the host that pending calls read
  size_t staged_bytes = 0;

  // 0, or a code with the failure of what was enqueued.
  int32_t wait(ScError* error);
};

// Whose memory is: the plug-in gave it, another process shares it, or somebody in this process lent it.
enum class Owner { kPlugin, kProcess, kLender };

// Memory with one owner in JavaScript. Touched on the JavaScript thread alone.
class DeviceMemory {
 public:
  // `bytes`: what the engine is told of. `lent` is resolved when memory of a lender goes back.
  DeviceMemory(Lane* lane_, void* address_, size_t bytes_, Owner owner_ = Owner::kPlugin, napi_deferred lent_ = nullptr)
      : lane(lane_), owner(owner_), address(address_), bytes(bytes_), lent(lent_) {}
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;

  Lane* const lane;
  const Owner owner;
  char* memory() const { return static_cast<char*>(address); }
  bool is_disposed() const { return disposed; }

  // Promise calls that use the memory, and others whom it was given to, keep it until they have ended.
  void begin_use() { uses++; }
  void end_use(napi_env env);
  void dispose(napi_env env);

 private:
  void free_unused(napi_env env);

  void* address;
  const size_t bytes;
  const napi_deferred lent;
  int64_t uses = 0;
  bool disposed = false;
};

// A range of such memory: what an object of JavaScript stands for.
struct DeviceView {
  std::shared_ptr<DeviceMemory> memory;
  size_t offset;  // bytes
  size_t length;  // elements
  int32_t dtype;

  char* elements() const { return memory->memory() + offset; }
};

// The view that an object stands for; null where it is another kind of value.
const DeviceView* device_view_of(napi_env env, napi_value value);

// The lane of a device in this environment, opened at the first call. Throws where no queue can be opened.
Lane* open_lane(Napi::Env env, Device* device);

// { allocate(target, bytes, dtype, length), view(target, of, offset, length), upload(target, array), download(target, array),
// clear(target), copy(target, source), dispose(target), wait() }. The first two make an object stand for memory. And
// what interop.h adds.
Napi::Object memory_functions(Napi::Env env, Lane* lane);

// Makes an object stand for a range of memory; `owner`: the memory is disposed of when the object is collected. Throws where it
// stands for something already.
void stand_for(Napi::Env env, const Napi::Value& target, DeviceView view, bool owner);

// What a failure of the plug-in says.
std::string text_of(const ScError& error);

#endif
