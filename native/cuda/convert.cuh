// Copies on a device between arrays of two types. What it promises is in backend.h.

#ifndef STEPCREDIT_CUDA_CONVERT_CUH
#define STEPCREDIT_CUDA_CONVERT_CUH

#include "../backend.h"

namespace gpu {

int32_t convert(ScStream queue, void* to, int32_t to_dtype, const void* from, int32_t from_dtype, size_t count, ScError* error);

}  // namespace gpu

#endif
