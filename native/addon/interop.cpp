#include "interop.h"

#include <cstring>

namespace {

Lane& lane_of(const Napi::CallbackInfo& info) { return *static_cast<Lane*>(info.Data()); }

const DeviceView& view_of(const Napi::CallbackInfo& info) {
  const DeviceView* const view = device_view_of(info.Env(), info[0]);
  if (!view || view->memory->lane != info.Data()) throw Napi::TypeError::New(info.Env(), "expected memory of this device");
  if (!view->memory->memory()) throw Napi::Error::New(info.Env(), "the memory has been disposed of");
  return *view;
}

uint64_t number_of(const Napi::Value& value) {
  bool lossless;
  return value.As<Napi::BigInt>().Uint64Value(&lossless);
}

// The 64 bytes of a handle.
ScShared handle_of(Napi::Env env, const Napi::Value& value) {
  ScShared shared;
  const Napi::Uint8Array handle = value.As<Napi::Uint8Array>();
  if (handle.ByteLength() != sizeof shared.handle) throw Napi::TypeError::New(env, "expected a handle of 64 bytes");
  memcpy(shared.handle, handle.Data(), sizeof shared.handle);
  return shared;
}

Napi::Uint8Array bytes_of(Napi::Env env, const ScShared& shared) {
  Napi::Uint8Array handle = Napi::Uint8Array::New(env, sizeof shared.handle);
  memcpy(handle.Data(), shared.handle, sizeof shared.handle);
  return handle;
}

size_t size_of(const Napi::Value& value) { return static_cast<size_t>(value.As<Napi::Number>().Int64Value()); }

// Throws a RangeError where the address is not of the lane's device.
void expect_here(Napi::Env env, const Lane& lane, const char* address) {
  ScError error = {};
  int32_t device = -1;
  if (lane.device->plugin->device_of(address, &device, &error) != 0) throw Napi::RangeError::New(env, text_of(error));
  if (device != lane.device->index)
    throw Napi::RangeError::New(env, "the address is in the memory of device " + std::to_string(device));
}

Napi::Value borrow(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Lane& lane = lane_of(info);
  char* const address = reinterpret_cast<char*>(static_cast<uintptr_t>(number_of(info[1])));
  const size_t bytes = size_of(info[2]);
  expect_here(env, lane, address);
  if (bytes > 0) expect_here(env, lane, address + (bytes - 1));
  napi_deferred lent;
  napi_value back;
  if (napi_create_promise(env, &lent, &back) != napi_ok) throw Napi::Error::New(env);
  const auto memory = std::make_shared<DeviceMemory>(&lane, address, 0, Owner::kLender, lent);
  stand_for(env, info[0], {memory, 0, size_of(info[4]), info[3].As<Napi::Number>().Int32Value()}, true);
  return Napi::Value(env, back);
}

Napi::Object place_of(const Napi::CallbackInfo& info, const DeviceView& view) {
  Napi::Object place = Napi::Object::New(info.Env());
  place.Set("byteOffset", static_cast<double>(view.offset));
  return place;
}

Napi::Value hold(const Napi::CallbackInfo& info) {
  const DeviceView& view = view_of(info);
  Napi::Object place = place_of(info, view);
  place.Set("pointer",
            Napi::BigInt::New(info.Env(), static_cast<uint64_t>(reinterpret_cast<uintptr_t>(view.memory->memory()))));
  view.memory->begin_use();
  return place;
}

Napi::Value let_go(const Napi::CallbackInfo& info) {
  view_of(info).memory->end_use(info.Env());
  return info.Env().Undefined();
}

Napi::Value share(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const DeviceView& view = view_of(info);
  Lane& lane = lane_of(info);
  if (view.memory->owner != Owner::kPlugin) throw Napi::TypeError::New(env, "the memory is another's, who alone can share it");
  ScError error = {};
  ScShared shared;
  if (lane.wait(&error) != 0 || lane.device->plugin->share(lane.device->index, view.memory->memory(), &shared, &error) != 0)
    throw Napi::Error::New(env, text_of(error));
  Napi::Object place = place_of(info, view);
  place.Set("handle", bytes_of(env, shared));
  view.memory->begin_use();
  return place;
}

Napi::Value open(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Lane& lane = lane_of(info);
  const ScShared shared = handle_of(env, info[1]);
  ScError error = {};
  void* address = nullptr;
  if (lane.device->plugin->open_shared(lane.device->index, &shared, &address, &error) != 0)
    throw Napi::Error::New(env, text_of(error));
  const auto memory = std::make_shared<DeviceMemory>(&lane, address, 0, Owner::kProcess);
  const DeviceView view = {memory, size_of(info[2]), size_of(info[4]), info[3].As<Napi::Number>().Int32Value()};
  stand_for(env, info[0], view, true);
  return env.Undefined();
}

Napi::Value follow(const Napi::CallbackInfo& info) {
  Lane& lane = lane_of(info);
  ScError error = {};
  lane.pending = true;  // promise calls wait for the stream too, by way of the queue
  if (lane.device->plugin->queue_after_stream(lane.queue, number_of(info[0]), &error) != 0)
    throw Napi::Error::New(info.Env(), text_of(error));
  return info.Env().Undefined();
}

Napi::Value precede(const Napi::CallbackInfo& info) {
  Lane& lane = lane_of(info);
  ScError error = {};
  if (lane.device->plugin->stream_after_queue(lane.queue, number_of(info[0]), &error) != 0)
    throw Napi::Error::New(info.Env(), text_of(error));
  return info.Env().Undefined();
}

Napi::Value stream(const Napi::CallbackInfo& info) {
  const Lane& lane = lane_of(info);
  ScError error = {};
  uint64_t own = 0;
  if (lane.device->plugin->stream_of(lane.queue, &own, &error) != 0) throw Napi::Error::New(info.Env(), text_of(error));
  return Napi::BigInt::New(info.Env(), own);
}

// An event of the plug-in, in an external value; the collector leaves it alone, because another process may have it.
struct OwnEvent {
  Lane* lane;
  void* event;
};

Napi::Value wrapped(Napi::Env env, Lane* lane, void* event) {
  return Napi::External<OwnEvent>::New(env, new OwnEvent{lane, event}, [](Napi::Env, OwnEvent* own) { delete own; });
}

void* event_of(const Napi::CallbackInfo& info) {
  OwnEvent* const own = info[0].IsExternal() ? info[0].As<Napi::External<OwnEvent>>().Data() : nullptr;
  if (!own || own->lane != info.Data()) throw Napi::TypeError::New(info.Env(), "expected an event of this device");
  return own->event;
}

Napi::Value make_event(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Lane& lane = lane_of(info);
  ScError error = {};
  ScShared shared;
  void* event = nullptr;
  if (lane.device->plugin->make_event(lane.device->index, &event, &shared, &error) != 0)
    throw Napi::Error::New(env, text_of(error));
  Napi::Object made = Napi::Object::New(env);
  made.Set("event", wrapped(env, &lane, event));
  made.Set("handle", bytes_of(env, shared));
  return made;
}

Napi::Value open_event(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Lane& lane = lane_of(info);
  const ScShared shared = handle_of(env, info[0]);
  ScError error = {};
  void* event = nullptr;
  if (lane.device->plugin->open_event(lane.device->index, &shared, &event, &error) != 0)
    throw Napi::Error::New(env, text_of(error));
  return wrapped(env, &lane, event);
}

Napi::Value close_event(const Napi::CallbackInfo& info) {
  Lane& lane = lane_of(info);
  ScError error = {};
  if (lane.device->plugin->close_event(lane.device->index, event_of(info), &error) != 0)
    throw Napi::Error::New(info.Env(), text_of(error));
  return info.Env().Undefined();
}

Napi::Value record_event(const Napi::CallbackInfo& info) {
  Lane& lane = lane_of(info);
  ScError error = {};
  if (lane.device->plugin->record_event(lane.queue, event_of(info), &error) != 0)
    throw Napi::Error::New(info.Env(), text_of(error));
  return info.Env().Undefined();
}

Napi::Value wait_for_event(const Napi::CallbackInfo& info) {
  Lane& lane = lane_of(info);
  ScError error = {};
  lane.pending = true;  // promise calls wait for the event too, by way of the queue
  if (lane.device->plugin->queue_after_event(lane.queue, event_of(info), &error) != 0)
    throw Napi::Error::New(info.Env(), text_of(error));
  return info.Env().Undefined();
}

}  // namespace

void add_interop_functions(Napi::Env env, Lane* lane, Napi::Object functions) {
  const auto set = [&](const char* name, Napi::Value (*function)(const Napi::CallbackInfo&)) {
    functions.Set(name, Napi::Function::New(env, function, name, lane));
  };
  set("borrow", borrow);
  set("hold", hold);
  set("letGo", let_go);
  set("share", share);
  set("open", open);
  set("follow", follow);
  set("precede", precede);
  set("stream", stream);
  set("makeEvent", make_event);
  set("openEvent", open_event);
  set("closeEvent", close_event);
  set("recordEvent", record_event);
  set("waitForEvent", wait_for_event);
}
