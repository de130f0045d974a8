// Ops that have no kernel yet fail with a message. A definition elsewhere replaces the one here; the file goes when none is
// left.

#include <stdio.h>

#include "table.cuh"

namespace gpu {

namespace {

int32_t missing(const char* op, ScError* error) {
  error->code = 1;
  snprintf(error->text, sizeof error->text, "%s: the CUDA backend has no kernel for it yet", op);
  return 1;
}

}  // namespace

#define SC_MISSING(op, Args) \
  __attribute__((weak)) int32_t op(const Args*, ScStream, ScError* error) { return missing(#op, error); }
SC_OPS(SC_MISSING)
#undef SC_MISSING

}  // namespace gpu
