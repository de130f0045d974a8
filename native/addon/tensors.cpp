#include "tensors.h"

#include <memory>

#include "blocks.h"

namespace {

// The use that an ArrayBuffer makes of a block. Touched on the thread of its environment alone.
struct View {
  Block* block;  // null once the use has ended
};

void end_use(View& view) {
  if (!view.block) return;
  release_block(view.block);
  view.block = nullptr;
}

void finalize(napi_env, void*, void* hint) {
  auto* const view = static_cast<std::shared_ptr<View>*>(hint);
  end_use(**view);
  delete view;
}

void release(Napi::Env env, const Napi::Value& buffer, View& view) {
  void* memory = nullptr;
  size_t bytes = 0;
  if (!view.block || napi_get_arraybuffer_info(env, buffer, &memory, &bytes) != napi_ok || memory != block_memory(view.block))
    return;
  if (napi_detach_arraybuffer(env, buffer) == napi_ok) end_use(view);
}

}  // namespace

Napi::Value allocate_tensor(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const int64_t bytes = info[0].As<Napi::Number>().Int64Value();
  Block* const block = allocate_block(static_cast<size_t>(bytes));
  if (!block) throw Napi::RangeError::New(env, "no memory for " + std::to_string(bytes) + " bytes");
  const auto view = std::make_shared<View>(View{block});
  auto* const hint = new std::shared_ptr<View>(view);
  // The engine counts the bytes of the buffer itself, from here until it is detached or collected: telling it by
  // napi_adjust_external_memory as well would have it collect twice as eagerly.
  napi_value buffer;
  const napi_status status =
      napi_create_external_arraybuffer(env, block_memory(block), static_cast<size_t>(bytes), finalize, hint, &buffer);
  if (status != napi_ok) {
    end_use(*view);
    if (status != napi_no_external_buffers_allowed) throw Napi::Error::New(env);  // finalize has the hint
    delete hint;
    return env.Null();
  }
  Napi::Object result = Napi::Object::New(env);
  result.Set("buffer", Napi::Value(env, buffer));
  result.Set("release", Napi::Function::New(
                            env, [view](const Napi::CallbackInfo& released) { release(released.Env(), released[0], *view); }));
  return result;
}

Napi::Value tensor_bytes(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(bytes_in_blocks()));
}
