#include "device_memory.h"

#include "interop.h"

namespace {

// Says of an object that a DeviceView is wrapped in it.
constexpr napi_type_tag kViewTag = {0x5c1a9e0f6d2b4837, 0xa3f07c5e91d84b26};

[[noreturn]] void fail(Napi::Env env, const ScError& error) { throw Napi::Error::New(env, text_of(error)); }

// What is wrapped in an object.
struct OwnView : DeviceView {
  bool owner;
};

// The environment ends: other threads may have its queue.
void end_lane(void* argument) {
  Lane* const lane = static_cast<Lane*>(argument);
  ScError unheard = {};
  lane->wait(&unheard);
  lane->device->give_back(lane->queue);
  lane->queue = nullptr;
}

}  // namespace

std::string text_of(const ScError& error) { return error.text[0] ? error.text : "failed"; }

int32_t Lane::wait(ScError* error) {
  if (!pending) return 0;
  pending = false;
  const int32_t code = device->plugin->wait(queue, error);
  ScError unheard = {};
  for (void* copy : staged) device->plugin->release(device->index, copy, &unheard);
  staged.clear();
  staged_bytes = 0;
  return code;
}

void DeviceMemory::free_unused(napi_env env) {
  if (!disposed || uses > 0 || !address) return;
  ScError unheard = {};  // the next call on the device fails with it too
  lane->wait(&unheard);
  const Device& device = *lane->device;
  if (owner == Owner::kPlugin) device.plugin->release(device.index, address, &unheard);
  if (owner == Owner::kProcess) device.plugin->close_shared(device.index, address, &unheard);
  if (owner == Owner::kLender) napi_resolve_deferred(env, lent, Napi::Env(env).Undefined());
  address = nullptr;
  int64_t total;
  napi_adjust_external_memory(env, -static_cast<int64_t>(bytes), &total);
}

void DeviceMemory::end_use(napi_env env) {
  uses--;
  free_unused(env);
}

void DeviceMemory::dispose(napi_env env) {
  disposed = true;
  free_unused(env);
}

const DeviceView* device_view_of(napi_env env, napi_value value) {
  napi_valuetype type;
  bool tagged = false;
  void* view = nullptr;
  if (napi_typeof(env, value, &type) != napi_ok || type != napi_object ||
      napi_check_object_type_tag(env, value, &kViewTag, &tagged) != napi_ok || !tagged ||
      napi_unwrap(env, value, &view) != napi_ok)
    return nullptr;
  return static_cast<OwnView*>(view);
}

Lane* open_lane(Napi::Env env, Device* device) {
  ScError error = {};
  const ScStream queue = device->take_queue(&error);
  if (!queue) fail(env, error);
  Lane* const lane = new Lane{device, queue, false, {}, 0};  // as long as the process: what is bound to it is
  napi_add_env_cleanup_hook(env, end_lane, lane);
  return lane;
}

namespace {

void finalize(napi_env env, void* wrapped, void*) {
  auto* const own = static_cast<OwnView*>(wrapped);
  if (own->owner) own->memory->dispose(env);
  delete own;
}

}  // namespace

void stand_for(Napi::Env env, const Napi::Value& target, DeviceView view, bool owner) {
  auto* const own = new OwnView{std::move(view), owner};
  if (napi_type_tag_object(env, target, &kViewTag) != napi_ok ||
      napi_wrap(env, target, own, finalize, nullptr, nullptr) != napi_ok) {
    finalize(env, own, nullptr);
    throw Napi::TypeError::New(env, "expected an object that stands for nothing yet");
  }
}

namespace {

const DeviceView& view_of(const Napi::CallbackInfo& info, size_t index) {
  const DeviceView* const view = device_view_of(info.Env(), info[index]);
  if (!view || view->memory->lane != info.Data()) throw Napi::TypeError::New(info.Env(), "expected memory of this device");
  if (view->memory->is_disposed()) throw Napi::Error::New(info.Env(), "the memory has been disposed of");
  return *view;
}

// The memory of a typed array that has as many bytes as the view.
void* host_memory(const Napi::CallbackInfo& info, const DeviceView& view, size_t index, size_t* bytes) {
  napi_typedarray_type type;
  size_t length = 0;
  void* elements = nullptr;
  if (!info[index].IsTypedArray() ||
      napi_get_typedarray_info(info.Env(), info[index], &type, &length, &elements, nullptr, nullptr) != napi_ok ||
      type != (view.dtype == kF32 ? napi_float32_array : napi_uint16_array) || length != view.length)
    throw Napi::TypeError::New(info.Env(), "expected an array of the type and the length of the memory");
  *bytes = length * (view.dtype == kF32 ? 4 : 2);
  return elements;
}

Napi::Value allocate(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Lane* const lane = static_cast<Lane*>(info.Data());
  const size_t bytes = static_cast<size_t>(info[1].As<Napi::Number>().Int64Value());
  const ScPlugin& plugin = *lane->device->plugin;
  ScError error = {};
  void* memory = nullptr;
  if (plugin.allocate(lane->device->index, bytes, &memory, &error) != 0) throw Napi::RangeError::New(env, text_of(error));
  if (plugin.clear(lane->queue, memory, bytes, &error) != 0) {
    plugin.release(lane->device->index, memory, &error);
    fail(env, error);
  }
  lane->pending = true;
  const auto owned = std::make_shared<DeviceMemory>(lane, memory, bytes);
  int64_t total;
  napi_adjust_external_memory(env, static_cast<int64_t>(bytes), &total);
  stand_for(env, info[0],
            {owned, 0, static_cast<size_t>(info[3].As<Napi::Number>().Int64Value()), info[2].As<Napi::Number>().Int32Value()},
            true);
  return env.Undefined();
}

Napi::Value view(const Napi::CallbackInfo& info) {
  const DeviceView& of = view_of(info, 1);
  const size_t element = of.dtype == kF32 ? 4 : 2;
  const size_t begin = static_cast<size_t>(info[2].As<Napi::Number>().Int64Value());
  const size_t length = static_cast<size_t>(info[3].As<Napi::Number>().Int64Value());
  if (begin > of.length || length > of.length - begin)
    throw Napi::RangeError::New(info.Env(), "expected a range of the memory");
  stand_for(info.Env(), info[0], {of.memory, of.offset + begin * element, length, of.dtype}, false);
  return info.Env().Undefined();
}

Napi::Value upload(const Napi::CallbackInfo& info) {
  Lane* const lane = static_cast<Lane*>(info.Data());
  const DeviceView& to = view_of(info, 0);
  size_t bytes;
  const void* const from = host_memory(info, to, 1, &bytes);
  ScError error = {};
  const int32_t code = lane->device->plugin->upload(lane->queue, to.elements(), from, bytes, &error);
  lane->pending = true;
  if (code != 0 || lane->wait(&error) != 0) fail(info.Env(), error);
  return info.Env().Undefined();
}

Napi::Value download(const Napi::CallbackInfo& info) {
  Lane* const lane = static_cast<Lane*>(info.Data());
  const DeviceView& from = view_of(info, 0);
  size_t bytes;
  void* const to = host_memory(info, from, 1, &bytes);
  ScError error = {};
  const int32_t code = lane->device->plugin->download(lane->queue, to, from.elements(), bytes, &error);
  lane->pending = true;
  if (code != 0 || lane->wait(&error) != 0) fail(info.Env(), error);
  return info.Env().Undefined();
}

Napi::Value clear(const Napi::CallbackInfo& info) {
  Lane* const lane = static_cast<Lane*>(info.Data());
  const DeviceView& of = view_of(info, 0);
  ScError error = {};
  lane->pending = true;
  if (lane->device->plugin->clear(lane->queue, of.elements(), of.length * (of.dtype == kF32 ? 4 : 2), &error) != 0)
    fail(info.Env(), error);
  return info.Env().Undefined();
}

// copy(target, source): as many elements, to the nearest of the target's type.
Napi::Value copy(const Napi::CallbackInfo& info) {
  Lane* const lane = static_cast<Lane*>(info.Data());
  const DeviceView &to = view_of(info, 0), &from = view_of(info, 1);
  if (to.length != from.length) throw Napi::TypeError::New(info.Env(), "expected memory of the length of the other");
  const ScPlugin& plugin = *lane->device->plugin;
  ScError error = {};
  lane->pending = true;
  const int32_t code =
      to.dtype == from.dtype
          ? plugin.copy(lane->queue, to.elements(), from.elements(), to.length * (to.dtype == kF32 ? 4 : 2), &error)
          : plugin.convert(lane->queue, to.elements(), to.dtype, from.elements(), from.dtype, to.length, &error);
  if (code != 0) fail(info.Env(), error);
  return info.Env().Undefined();
}

Napi::Value dispose(const Napi::CallbackInfo& info) {
  if (const DeviceView* const view = device_view_of(info.Env(), info[0])) view->memory->dispose(info.Env());
  return info.Env().Undefined();
}

Napi::Value wait(const Napi::CallbackInfo& info) {
  ScError error = {};
  if (static_cast<Lane*>(info.Data())->wait(&error) != 0) fail(info.Env(), error);
  return info.Env().Undefined();
}

}  // namespace

Napi::Object memory_functions(Napi::Env env, Lane* lane) {
  Napi::Object functions = Napi::Object::New(env);
  const auto set = [&](const char* name, Napi::Value (*function)(const Napi::CallbackInfo&)) {
    functions.Set(name, Napi::Function::New(env, function, name, lane));
  };
  set("allocate", allocate);
  set("view", view);
  set("upload", upload);
  set("download", download);
  set("clear", clear);
  set("copy", copy);
  set("dispose", dispose);
  set("wait", wait);
  add_interop_functions(env, lane, functions);
  return functions;
}
