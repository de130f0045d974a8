// Copies between ordinary memory of the host and the device, by way of a few chunks of page-locked memory that take turns: the
// device copies one while the host fills or empties another. From ordinary memory the driver would copy by way of its own, and
// keep the caller waiting for it.

#ifndef STEPCREDIT_CUDA_STAGING_CUH
#define STEPCREDIT_CUDA_STAGING_CUH

#include "queue.cuh"

namespace gpu {

// `from` may be reused after the return.
cudaError_t staged_upload(Queue* queue, void* to, const void* from, size_t bytes);

// `to` is written when `finish_staged` has returned, or earlier. After a failure nothing is written to any array that waits.
cudaError_t staged_download(Queue* queue, void* to, const void* from, size_t bytes);

// To be called when the stream of the queue was waited for, with what came of it.
void finish_staged(Queue* queue, cudaError_t waited);

// As the queue is closed, after a wait.
void close_staging(Queue* queue);

}  // namespace gpu

#endif
