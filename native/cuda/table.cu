#include "table.cuh"

namespace gpu {

const ScBackend& backend() {
#define SC_OP_ENTRY(op, Args) op,
  static const ScBackend table = {kScAbiVersion, sizeof(ScBackend), "cuda", SC_OPS(SC_OP_ENTRY)};
#undef SC_OP_ENTRY
  return table;
}

}  // namespace gpu
