// The rows of a head that take part, which a kernel lists; their hidden states, copied side by side for the products. Both
// directions of linear_logprobs begin so.
//
// How many rows take part decides what is enqueued, so the queue is waited for once, for the device to say it.

#ifndef STEPCREDIT_CUDA_LISTED_ROWS_CUH
#define STEPCREDIT_CUDA_LISTED_ROWS_CUH

#include "block.cuh"
#include "elements.cuh"
#include "launch.cuh"
#include "scratch_pieces.cuh"

namespace gpu {

constexpr int64_t kBlockRows = 2048;  // that are worked on at a time
constexpr int kListThreads = 256;

inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

__device__ inline bool has_targets(const HeadRows& rows, int64_t t) {
  for (int64_t n = rows.target_offsets[t]; n < rows.target_offsets[t + 1]; ++n)
    if (rows.targets[n] != rows.ignore_index) return true;
  return false;
}

// list = the t < T with use(t), in order; *count: how many. One block.
template <class Use>
__global__ void list_rows(Use use, int64_t T, int32_t* list, int64_t* count) {
  constexpr int kWarps = kListThreads / kWarp;
  __shared__ int in_warp[kWarps];
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  int64_t found = 0;
  for (int64_t begin = 0; begin < T; begin += kListThreads) {
    const int64_t t = begin + threadIdx.x;
    const bool used = t < T && use(t);
    const unsigned votes = __ballot_sync(kAllLanes, used);
    if (lane == 0) in_warp[warp] = __popc(votes);
    __syncthreads();
    int64_t before = found;
    for (int w = 0; w < kWarps; ++w) {
      before += w < warp ? in_warp[w] : 0;
      found += in_warp[w];
    }
    if (used) list[before + __popc(votes & ((1u << lane) - 1u))] = static_cast<int32_t>(t);
    __syncthreads();
  }
  if (threadIdx.x == 0) *count = found;
}

template <class From, class To>
__global__ void copy_hidden(const From* hidden, const int32_t* list, int64_t H, To* copies) {
  const From* const from = hidden + list[blockIdx.x] * H;
  To* const to = copies + blockIdx.x * H;
  for (int64_t h = threadIdx.x; h < H; h += kListThreads) from_float(to_float(from[h]), to + h);
}

// Hidden states are copied as they are where the weight is of their dtype: such products may run on tensor cores.
inline int32_t dtype_of_copies(const HeadRows& head) {
  return head.hidden_dtype == head.weight_dtype ? head.hidden_dtype : int32_t{kF32};
}

inline size_t size_of(int32_t dtype) { return dtype == kF32 ? 4 : 2; }

// The list, its length and the hidden states of a block of rows, in scratch memory.
struct ListedRows {
  int64_t rows;  // of a block, at the most
  int32_t* list;
  int64_t* count;
  char* copies;  // [rows, H]

  void take(const HeadRows& head, ScratchPieces* pieces) {
    rows = smaller(head.T, kBlockRows);
    pieces->add(&list, head.T);
    pieces->add(&count, 1);
    pieces->add(&copies, rows * head.H * static_cast<int64_t>(size_of(dtype_of_copies(head))));
  }
};

// Lists the rows with use(t); waits until the device says how many there are. A code, or 0.
template <class Use>
int32_t list(Queue* queue, const Use& use, int64_t T, const ListedRows& work, int64_t* count, const char* op, ScError* error) {
  launch(list_rows<Use>, {1, kListThreads}, queue->stream, use, T, work.list, work.count);
  if (const int32_t code = launched(queue, op, error)) return code;
  const cudaError_t copied = cudaMemcpyAsync(count, work.count, sizeof *count, cudaMemcpyDeviceToHost, queue->stream);
  if (const int32_t code = checked(copied, op, "the number of rows", error)) return code;
  return checked(cudaStreamSynchronize(queue->stream), op, "work enqueued before, or the list of rows", error);
}

inline void copy_rows(cudaStream_t stream, const HeadRows& head, const int32_t* list, int64_t count, void* copies) {
  if (head.H == 0) return;
  with_element(head.hidden_dtype, [&](auto type) {
    using From = typename decltype(type)::Element;
    const Shape shape = {static_cast<unsigned>(count), kListThreads};
    const From* const hidden = static_cast<const From*>(head.hidden);
    if (dtype_of_copies(head) == head.hidden_dtype) {
      launch(copy_hidden<From, From>, shape, stream, hidden, list, head.H, static_cast<From*>(copies));
    } else {
      launch(copy_hidden<From, float>, shape, stream, hidden, list, head.H, static_cast<float*>(copies));
    }
  });
}

// body(list, count) for the rows of the list, kBlockRows at a time, with their hidden states copied.
template <class Body>
void row_blocks(Queue& queue, const HeadRows& head, const ListedRows& work, int64_t count, const Body& body) {
  for (int64_t begin = 0; begin < count; begin += kBlockRows) {
    const int64_t rows = smaller(count - begin, kBlockRows);
    copy_rows(queue.stream, head, work.list + begin, rows, work.copies);
    body(work.list + begin, rows);
  }
}

}  // namespace gpu

#endif
