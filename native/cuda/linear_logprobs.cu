// linear_logprobs: a head and its log-probabilities without the logits of all rows. The backward: linear_logprobs_backward.cu.
//
// The rows that take part are listed on the device and worked on 2048 at a time: their hidden states are copied side by side,
// and the vocabulary goes by in slabs of 4096 columns. A slab of logits is a product like that of `linear`, goes into the
// running sums of its rows, and makes room for the next. Half types may go by head_tiles.cuh instead, without slabs.
//
// How many rows take part decides what is enqueued, so the op waits once for the device to say it.
//
// Scratch    2048 × 4096 logits; 2048 hidden states; what the threads of a row carry from slab to slab; 4 T bytes.
// Order      every thread of a row goes on where it was in the slab before, segment by segment: the sums are those of logprobs.

#include "head_slabs.cuh"
#include "head_tiles.cuh"
#include "table.cuh"

namespace gpu {

namespace {

constexpr int kMostRowThreads = 512;
static_assert(kSlabColumns % (kMostRowThreads * Wide<float>::kCount) == 0, "a slab ends where all threads have had as many");
static_assert(Segment<256>::kElements % kSlabColumns == 0, "a segment of a row of several slabs ends where a slab does");

struct WithTargets {
  HeadRows rows;
  __device__ bool operator()(int64_t t) const { return has_targets(rows, t); }
};

// Adds the slab to the sums of a row, which are the threads' own until the last slab. Until then logprobs holds the logits of
// the targets that have gone by.
template <int kRowThreads, bool with_entropy>
__global__ void __launch_bounds__(kRowThreads, kRowThreads < 64 ? 16 : 1024 / kRowThreads)
    add_slab(LinearLogprobsArgs args, const int32_t* list, Slab slab, const float* y, SegmentSums* carried) {
  const int64_t t = list[blockIdx.x];
  const LogitRow<float> row = slab_row(args.head, y, slab, t);
  float* const logprobs = args.logprobs + args.head.target_offsets[t];
  SegmentSums* const mine = carried + blockIdx.x * kRowThreads + threadIdx.x;
  SegmentSums sums = slab.begin == 0 ? no_segments() : *mine;
  extend<kRowThreads, with_entropy>(&sums, row, false, 0, row.V, slab.begin);
  if (!slab.last) {
    *mine = sums;
    for (int64_t k = threadIdx.x; k < row.count; k += kRowThreads)
      if (!row.ignored(k) && slab.holds(row.targets[k])) logprobs[k] = row.y(row.targets[k] - slab.begin);
    return;
  }
  const RowSums<double> all = sum_threads<kRowThreads, with_entropy>(sums.all(row.chain.scale), row.chain.scale);
  for (int64_t k = threadIdx.x; k < row.count; k += kRowThreads) {
    if (row.ignored(k)) continue;
    const float logit = slab.holds(row.targets[k]) ? row.y(row.targets[k] - slab.begin) : logprobs[k];
    logprobs[k] = row_logprob(all, logit, row.chain.scale);
  }
  if (threadIdx.x != 0) return;
  args.lse[t] = row_lse(all, row.chain.scale);
  if (with_entropy) args.entropy[t] = row_entropy(all);
}

struct Workspace {
  ListedRows listed;
  bool tiles;
  float* y;              // [rows, columns]
  SegmentSums* carried;  // [rows, threads]
  char* product;
  char* of_tiles;  // instead of y, carried and product

  // False with the reason in `error` where there is no memory.
  bool take(Queue* queue, const HeadRows& head, const char* op, ScError* error) {
    ScratchPieces pieces;
    listed.take(head, &pieces);
    tiles = forward_takes_tiles(head);
    const int64_t rows = listed.rows, columns = smaller(head.V, kSlabColumns);
    const Slab widest = {0, columns, false};
    pieces.add(&of_tiles, tiles ? static_cast<int64_t>(head_tiles_bytes(head, rows)) : 0);
    pieces.add(&y, tiles ? 0 : rows * columns);
    pieces.add(&carried, !tiles && head.V > kSlabColumns ? rows * kMostRowThreads : 0);
    pieces.add(&product, tiles ? 0 : static_cast<int64_t>(multiply_bytes(logits_of(head, nullptr, rows, widest, nullptr))));
    return pieces.allocate(queue, op, error);
  }
};

}  // namespace

int32_t linear_logprobs(const LinearLogprobsArgs* args, ScStream stream, ScError* error) {
  constexpr const char* kOp = "linear_logprobs";
  Queue& queue = queue_of(stream);
  const HeadRows& head = args->head;
  if (head.N > 0) cudaMemsetAsync(args->logprobs, 0, static_cast<size_t>(head.N) * sizeof(float), queue.stream);
  if (head.T <= 0 || head.N <= 0) return launched(&queue, kOp, error);
  Workspace work;
  if (!work.take(&queue, head, kOp, error)) return 1;
  int64_t count = 0;
  if (const int32_t code = list(&queue, WithTargets{head}, head.T, work.listed, &count, kOp, error)) return code;
  row_blocks(queue, head, work.listed, count, [&](const int32_t* listed, int64_t rows) {
    if (work.tiles) return enqueue_head_tiles(*args, listed, rows, work.listed.copies, work.of_tiles, queue.stream);
    slabs(head.V, [&](const Slab& slab) {
      multiply(queue, logits_of(head, work.listed.copies, rows, slab, work.y), work.product);
      with_row_threads(head.V, [&](auto threads) {
        constexpr int kRowThreads = decltype(threads)::kCount;
        const auto kernel = args->entropy ? add_slab<kRowThreads, true> : add_slab<kRowThreads, false>;
        launch(kernel, {static_cast<unsigned>(rows), kRowThreads}, queue.stream, *args, listed, slab, work.y, work.carried);
      });
    });
  });
  return launched(&queue, kOp, error);
}

}  // namespace gpu
