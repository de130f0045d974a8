#include "promises.h"

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <memory>
#include <mutex>
#include <vector>

#include "blocks.h"
#include "copies.h"
#include "runner.h"

namespace {

struct Environment;

// An array of a running call.
struct Held {
  const Field* field;
  napi_ref array;
  size_t length;
  size_t bytes;
  bool given;             // by the caller
  Block* block;           // the library's memory, which the call keeps
  const char* copy_back;  // what is copied to the array when the call settles
};

struct PromiseCall : Job {
  const BoundOp* bound;
  std::string name;
  Record record;
  ScError error = {};
  int32_t code = 0;
  std::vector<Held> arrays;
  std::vector<Extent> extents;
  std::vector<std::shared_ptr<DeviceMemory>> of_device;  // which the call keeps
  Copies copies;
  napi_deferred deferred = nullptr;
  std::shared_ptr<Environment> environment;

  void run() override { code = run_op(*bound, record, extents, &error); }
  void ended() override;
  void let_go(napi_env env);
};

// The promise calls of one JavaScript thread.
struct Environment {
  napi_env env = nullptr;
  napi_threadsafe_function wake = nullptr;
  std::vector<std::shared_ptr<PromiseCall>> calls;  // not settled yet; touched on the JavaScript thread alone

  std::mutex mutex;  // of what follows
  std::condition_variable quiet;
  std::vector<PromiseCall*> done;  // ended, but not settled
  size_t running = 0;
  bool closed = false;
};

void PromiseCall::ended() {
  Environment& home = *environment;
  std::lock_guard<std::mutex> lock(home.mutex);
  home.running--;
  home.done.push_back(this);
  if (!home.closed) napi_call_threadsafe_function(home.wake, nullptr, napi_tsfn_nonblocking);
  home.quiet.notify_all();
}

void PromiseCall::let_go(napi_env env) {
  for (Held& held : arrays) {
    napi_delete_reference(env, held.array);
    if (held.block) release_block(held.block);
  }
  arrays.clear();
  for (const auto& memory : of_device) memory->end_use(env);
  of_device.clear();
}

// ── settling, on the JavaScript thread

// The array as it is now; false where it is shorter than it was.
bool still_there(Napi::Env env, const Held& held, void** elements) {
  napi_value array;
  size_t length = 0;
  return napi_get_reference_value(env, held.array, &array) == napi_ok && array &&
         napi_get_typedarray_info(env, array, nullptr, &length, elements, nullptr, nullptr) == napi_ok && length >= held.length;
}

// Copies back what the op wrote, or says why not.
Napi::Value deliver(Napi::Env env, const PromiseCall& call) {
  if (is_cancelled(call)) return Napi::Error::New(env, call.name + ": cancelled").Value();
  if (call.code != 0) return Napi::Error::New(env, failure(call.name, *call.bound, call.error)).Value();
  for (const Held& held : call.arrays) {
    void* elements;
    if (held.given && held.field->written && !still_there(env, held, &elements))
      return Napi::RangeError::New(env, call.name + ": expected " + held.field->name + " to have " +
                                            std::to_string(held.length) +
                                            " elements until the call has ended, received an array that was detached or shrunk")
          .Value();
  }
  for (const Held& held : call.arrays) {
    void* elements;
    if (held.copy_back && still_there(env, held, &elements)) memcpy(elements, held.copy_back, held.bytes);
  }
  return {};
}

void settle(Napi::Env env, PromiseCall& call) {
  const Napi::Value failure = deliver(env, call);
  call.let_go(env);
  if (failure.IsEmpty())
    napi_resolve_deferred(env, call.deferred, env.Undefined());
  else
    napi_reject_deferred(env, call.deferred, failure);
}

void settle_done(napi_env env, napi_value, void* context, void*) {
  if (!env) return;  // the environment ends: end_environment has seen to its calls
  const std::shared_ptr<Environment> home = *static_cast<std::shared_ptr<Environment>*>(context);
  std::vector<PromiseCall*> done;
  {
    std::lock_guard<std::mutex> lock(home->mutex);
    done.swap(home->done);
  }
  for (PromiseCall* call : done) {
    const Napi::HandleScope scope(env);
    settle(env, *call);
    home->calls.erase(
        std::find_if(home->calls.begin(), home->calls.end(), [&](const auto& each) { return each.get() == call; }));
  }
  // Pending promises keep the thread's event loop alive, and nothing else here does.
  if (home->calls.empty()) napi_unref_threadsafe_function(env, home->wake);
}

// ── environments

// The JavaScript thread ends: nobody will hear of its calls, but they must not outlive its memory.
void end_environment(void* context) {
  Environment& home = **static_cast<std::shared_ptr<Environment>*>(context);
  {
    std::lock_guard<std::mutex> lock(home.mutex);
    home.closed = true;
  }
  for (const auto& call : home.calls) cancel(call);
  {
    std::unique_lock<std::mutex> lock(home.mutex);
    home.quiet.wait(lock, [&] { return home.running == 0; });
  }
  for (const auto& call : home.calls) {
    call->let_go(home.env);
    call->environment.reset();
  }
  home.calls.clear();
}

void delete_context(napi_env, void*, void* context) { delete static_cast<std::shared_ptr<Environment>*>(context); }

// The environment of this thread, made at its first promise call.
std::shared_ptr<Environment> environment_of(Napi::Env env) {
  void* existing = nullptr;
  napi_get_instance_data(env, &existing);
  if (existing) return *static_cast<std::shared_ptr<Environment>*>(existing);
  auto made = std::make_shared<Environment>();
  made->env = env;
  auto* const context = new std::shared_ptr<Environment>(made);
  const napi_status status = napi_create_threadsafe_function(env, nullptr, nullptr, Napi::String::New(env, "stepcredit"), 0, 1,
                                                             nullptr, delete_context, context, settle_done, &made->wake);
  if (status != napi_ok) {
    delete context;
    throw Napi::Error::New(env);
  }
  napi_unref_threadsafe_function(env, made->wake);
  // Hooks run in reverse order: this one before that of the function, which must still be there while calls end.
  napi_add_env_cleanup_hook(env, end_environment, context);
  napi_set_instance_data(
      env, new std::shared_ptr<Environment>(made),
      [](napi_env, void* instance, void*) { delete static_cast<std::shared_ptr<Environment>*>(instance); }, nullptr);
  return made;
}

// ── starting

std::vector<napi_value> buffers_of(Napi::Env env, const Napi::Array& given) {
  std::vector<napi_value> buffers;
  for (uint32_t i = 0; i < given.Length(); ++i) {
    napi_value buffer;
    if (napi_get_typedarray_info(env, given.Get(i), nullptr, nullptr, nullptr, &buffer, nullptr) == napi_ok)
      buffers.push_back(buffer);
  }
  return buffers;
}

bool holds(Napi::Env env, const std::vector<napi_value>& buffers, napi_value buffer) {
  for (napi_value each : buffers) {
    bool same = false;
    if (napi_strict_equals(env, each, buffer, &same) == napi_ok && same) return true;
  }
  return false;
}

bool is_shared(Napi::Env env, napi_value buffer) {
  bool ordinary = true;
  napi_is_arraybuffer(env, buffer, &ordinary);
  return !ordinary;
}

// Keeps every array of the call, and puts the addresses of the copies into the record.
void hold(Napi::Env env, PromiseCall& call, const std::vector<ArrayArgument>& arrays, const std::vector<napi_value>& given) {
  std::vector<const ArrayArgument*> copied;
  for (const ArrayArgument& array : arrays) {
    Held held = {array.field, nullptr, array.length, array.bytes, holds(env, given, array.buffer), nullptr, nullptr};
    if (napi_create_reference(env, array.array, 1, &held.array) != napi_ok) throw Napi::Error::New(env);
    if (array.bytes > 0) held.block = use_block_of(array.elements);
    call.arrays.push_back(held);
    call.extents.push_back({array.field, array.bytes});
    const bool copy = array.bytes > 0 && held.given && !held.block && !is_shared(env, array.buffer);
    copied.push_back(copy ? &array : nullptr);
    if (copy) call.copies.add(array.elements, array.bytes);
  }
  if (!call.copies.make()) throw Napi::RangeError::New(env, call.name + ": no memory for copies of its arrays");
  for (size_t i = 0; i < copied.size(); ++i) {
    if (!copied[i]) continue;
    const char* const copy = call.copies.of(copied[i]->elements);
    memcpy(call.record.bytes + copied[i]->field->offset, &copy, sizeof copy);
    if (copied[i]->field->written) call.arrays[i].copy_back = copy;
  }
}

}  // namespace

Napi::Value start_call(Napi::Env env, const BoundOp& bound, const Napi::Object& arguments, const std::string& name,
                       const Napi::Array& given) {
  const std::shared_ptr<Environment> home = environment_of(env);
  const auto call = std::make_shared<PromiseCall>();
  call->bound = &bound;
  call->name = name;
  call->environment = home;
  RecordArrays arrays;
  fill_record(env, bound, arguments, &call->record, &arrays);
  for (const auto& memory : arrays.of_device) memory->begin_use();
  call->of_device = std::move(arrays.of_device);
  napi_value settled;
  try {
    // The call has a queue of its own, which knows nothing of what the environment's has to do yet.
    ScError error = {};
    if (!call->of_device.empty() && bound.lane->wait(&error) != 0) throw Napi::Error::New(env, failure(name, bound, error));
    hold(env, *call, arrays.of_host, buffers_of(env, given));
    if (napi_create_promise(env, &call->deferred, &settled) != napi_ok) throw Napi::Error::New(env);
  } catch (...) {
    call->let_go(env);
    throw;
  }
  if (home->calls.empty()) napi_ref_threadsafe_function(env, home->wake);
  home->calls.push_back(call);
  {
    std::lock_guard<std::mutex> lock(home->mutex);
    home->running++;
  }
  if (!submit(call)) {
    call->code = 1;
    strncpy(call->error.text, "no thread can be started for it", sizeof call->error.text - 1);
    call->ended();
  }
  Napi::Object started = Napi::Object::New(env);
  started.Set("settled", Napi::Value(env, settled));
  started.Set("cancel", Napi::Function::New(env, [weak = std::weak_ptr<PromiseCall>(call)](const Napi::CallbackInfo&) {
                if (const auto running = weak.lock()) cancel(running);
              }));
  return started;
}
