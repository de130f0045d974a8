// The ops of the backend, one function each; their records are those of ops.h, with pointers to the memory of the queue's
// device.

#ifndef STEPCREDIT_CUDA_TABLE_CUH
#define STEPCREDIT_CUDA_TABLE_CUH

#include "../backend.h"

namespace gpu {
#define SC_OP_DECLARATION(op, Args) int32_t op(const Args* args, ScStream stream, ScError* error);
SC_OPS(SC_OP_DECLARATION)
#undef SC_OP_DECLARATION

// All of them.
const ScBackend& backend();
}  // namespace gpu

#endif
