// Memory, streams and events of others: of libraries in this process, and of other processes. What the functions promise is in
// backend.h.

#ifndef STEPCREDIT_CUDA_INTEROP_CUH
#define STEPCREDIT_CUDA_INTEROP_CUH

#include "../backend.h"

namespace gpu {

int32_t queue_after_stream(ScStream queue, uint64_t stream, ScError* error);
int32_t stream_after_queue(ScStream queue, uint64_t stream, ScError* error);
int32_t stream_of(ScStream queue, uint64_t* stream, ScError* error);
int32_t device_of(const void* address, int32_t* device, ScError* error);
int32_t share(int32_t device, const void* memory, ScShared* shared, ScError* error);
int32_t open_shared(int32_t device, const ScShared* shared, void** memory, ScError* error);
int32_t close_shared(int32_t device, void* memory, ScError* error);
int32_t make_event(int32_t device, void** event, ScShared* shared, ScError* error);
int32_t open_event(int32_t device, const ScShared* shared, void** event, ScError* error);
int32_t close_event(int32_t device, void* event, ScError* error);
int32_t record_event(ScStream queue, void* event, ScError* error);
int32_t queue_after_event(ScStream queue, void* event, ScError* error);

}  // namespace gpu

#endif
