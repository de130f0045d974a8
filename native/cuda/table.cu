#include "queue.cuh"
#include "table.cuh"

namespace gpu {

namespace {

// An op, with the device of its queue as that of the calling thread, which launches ask for.
template <class Args, int32_t (*op)(const Args*, ScStream, ScError*)>
int32_t on_its_device(const Args* args, ScStream stream, ScError* error) {
  const cudaError_t entered = cudaSetDevice(queue_of(stream).device);
  if (checked(entered, "CUDA", "entering the device of an op", error) != 0) return 1;
  return op(args, stream, error);
}

}  // namespace

const ScBackend& backend() {
#define SC_OP_ENTRY(op, Args) on_its_device<Args, op>,
  static const ScBackend table = {kScAbiVersion, sizeof(ScBackend), "cuda", SC_OPS(SC_OP_ENTRY)};
#undef SC_OP_ENTRY
  return table;
}

}  // namespace gpu
