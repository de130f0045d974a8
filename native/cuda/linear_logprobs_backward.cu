// linear_logprobs_backward. The rows that have a gradient are listed and worked on like those of linear_logprobs.cu: a slab of
// logits is made again, turned into gradients in place and handed to the products of `linear_backward`. Of half types, tiles of
// logits are turned into gradients before they reach memory (head_tiles.cuh), and the products are on tensor cores
// (split_products.cuh).
//
// Scratch    2048 × 4096 logits; 2048 hidden states, and as many of their gradients; 4 T + 4 N bytes.
// Order      dhidden: over v as matmul.cuh or split_products.cuh says, slab by slab. dweight and dbias: a sum per 2048 rows,
// those in order.

#include "column_sums.cuh"
#include "head_gradient.cuh"
#include "head_slabs.cuh"
#include "head_tiles.cuh"
#include "split_products.cuh"
#include "table.cuh"

namespace gpu {

namespace {

constexpr int kInFlight = 4;  // vectors of a thread that are on their way at once

struct WithGradient {
  LinearLogprobsBackwardArgs args;
  __device__ bool operator()(int64_t t) const {
    const HeadRows& rows = args.head;
    if (!has_targets(rows, t) || args.lse[t] == -INFINITY) return false;
    if (args.dentropy && args.dentropy[t] != 0.0f) return true;
    for (int64_t n = rows.target_offsets[t]; n < rows.target_offsets[t + 1]; ++n)
      if (rows.targets[n] != rows.ignore_index && args.dlogprobs[n] != 0.0f) return true;
    return false;
  }
};

// Logits of a slab to gradients of them, in place. kept_y: one number per target.
template <int kRowThreads>
__global__ void __launch_bounds__(kRowThreads)
    slab_gradient(LinearLogprobsBackwardArgs args, const int32_t* list, Slab slab, float* y, float* kept_y) {
  const int64_t t = list[blockIdx.x];
  const HeadGradient of = head_gradient(args, t);
  const LogitRow<float> row = slab_row(args.head, y, slab, t);
  float* const out = y + blockIdx.x * slab.width;
  float* const kept = kept_y + args.head.target_offsets[t];
  const auto held = [&](int64_t k) { return !row.ignored(k) && slab.holds(row.targets[k]); };
  for (int64_t k = threadIdx.x; k < row.count; k += kRowThreads)
    if (held(k)) kept[k] = row.y(row.targets[k] - slab.begin);
  __syncthreads();  // the row may be overwritten

  const float factor = -of.G();
  const Pieces pieces = pieces_of(out);
  each_vector<kRowThreads, kInFlight, Walk::kFromStart>(row.vectors(), 0, row.V, [&](int64_t v, const Wide<float>& vector) {
    float x[Wide<float>::kCount];
    widen(vector, x);
    SC_UNROLL
    for (int i = 0; i < Wide<float>::kCount; ++i) x[i] = of.at(row.chain.softcap > 0.0f ? row.chain.cap(x[i]) : x[i], factor);
    store_vector(out + v, row.V - v, pieces, narrowed(x, out));
  });
  __syncthreads();  // the row has been written
  for (int32_t k = static_cast<int32_t>(threadIdx.x); k < of.count; k += kRowThreads) {
    if (!held(k) || kept[k] == -INFINITY || !of.first_of_its_id(k)) continue;
    float* const to = out + (row.targets[k] - slab.begin);
    *to = of.at_target(k, kept[k], *to);
  }
}

__global__ void copy_back(const float* copies, const int32_t* list, int64_t H, float* dhidden) {
  const float* const from = copies + blockIdx.x * H;
  float* const to = dhidden + list[blockIdx.x] * H;
  for (int64_t h = threadIdx.x; h < H; h += kListThreads) to[h] = from[h];
}

// ── products

Product dhidden_of(const HeadRows& head, const GradientSlab& d, int64_t count, float* dcopies) {
  return {Form::kPlain, count,  head.H,      d.width, {d.dlogits, kF32, d.stride}, rows_of_weight(head, d.begin),
          dcopies,      head.H, d.begin > 0, nullptr, head.portable != 0};
}

Product dweight_of(const HeadRows& head, const GradientSlab& d, const void* copies, int64_t count, float* dweight) {
  const int64_t rows = dweight ? d.width : 0;
  return {Form::kOverRows,
          rows,
          head.H,
          count,
          {d.dlogits, kF32, d.stride},
          {copies, dtype_of_copies(head), head.H},
          dweight ? dweight + d.begin * head.H : nullptr,
          head.H,
          true,
          nullptr,
          head.portable != 0};
}

struct Workspace {
  ListedRows listed;
  bool tiles;
  float* y;        // [rows, columns]
  float* dcopies;  // [rows, H]
  float* kept_y;   // [N], not of tiles
  char* product;   // and sums of dbias

  // False with the reason in `error` where there is no memory.
  bool take(Queue* queue, const LinearLogprobsBackwardArgs& args, const char* op, ScError* error) {
    const HeadRows& head = args.head;
    ScratchPieces pieces;
    listed.take(head, &pieces);
    tiles = backward_takes_tiles(head);
    const int64_t columns = smaller(head.V, kSlabColumns);
    pieces.add(&y, listed.rows * stride_of(columns));
    pieces.add(&dcopies, args.dhidden ? listed.rows * head.H : 0);
    pieces.add(&kept_y, tiles ? 0 : head.N);
    const size_t sums = args.dbias ? column_sum_bytes(listed.rows, columns) : 0;
    const size_t products = tiles ? 0 : product_bytes(args, listed.rows);
    pieces.add(&product, static_cast<int64_t>(sums > products ? sums : products));
    return pieces.allocate(queue, op, error);
  }

  // From one row of a slab of gradients to the next.
  int64_t stride_of(int64_t width) const { return tiles ? blocks_of(width, kGradientTile) * kGradientTile : width; }

  // The most that a product wants, whatever the number of rows.
  static size_t product_bytes(const LinearLogprobsBackwardArgs& args, int64_t rows) {
    const HeadRows& head = args.head;
    const int64_t columns = smaller(head.V, kSlabColumns);
    size_t most = multiply_bytes(logits_of(head, nullptr, rows, {0, columns, false}, nullptr));
    const auto want = [&](size_t bytes) { most = bytes > most ? bytes : most; };
    if (args.dhidden) want(multiply_bytes(dhidden_of(head, {0, columns, nullptr, columns}, rows, nullptr)));
    for (const int64_t width : {columns, head.V % kSlabColumns})
      if (args.dweight) want(multiply_bytes(dweight_of(head, {0, width, nullptr, width}, nullptr, rows, args.dweight)));
    return most;
  }
};

// Enqueues the gradients of the logits of a slab.
GradientSlab gradients_of(Queue& queue, const LinearLogprobsBackwardArgs& args, const Workspace& work, const int32_t* listed,
                          int64_t rows, const Slab& slab) {
  const GradientSlab d = {slab.begin, slab.width, work.y, work.stride_of(slab.width)};
  if (work.tiles) {
    enqueue_gradient_tiles(args, listed, rows, work.listed.copies, d, queue.stream);
    return d;
  }
  multiply(queue, logits_of(args.head, work.listed.copies, rows, slab, work.y), work.product);
  with_row_threads(slab.width, [&](auto threads) {
    constexpr int kRowThreads = decltype(threads)::kCount;
    launch(slab_gradient<kRowThreads>, {static_cast<unsigned>(rows), kRowThreads}, queue.stream, args, listed, slab, work.y,
           work.kept_y);
  });
  return d;
}

}  // namespace

int32_t linear_logprobs_backward(const LinearLogprobsBackwardArgs* args, ScStream stream, ScError* error) {
  constexpr const char* kOp = "linear_logprobs_backward";
  Queue& queue = queue_of(stream);
  const HeadRows& head = args->head;
  const int64_t H = head.H;
  if (args->dhidden && head.T * H > 0)
    cudaMemsetAsync(args->dhidden, 0, static_cast<size_t>(head.T * H) * sizeof(float), queue.stream);
  const bool wanted = args->dhidden || args->dweight || args->dbias;
  if (head.T <= 0 || head.N <= 0 || !wanted) return launched(&queue, kOp, error);
  Workspace work;
  if (!work.take(&queue, *args, kOp, error)) return 1;
  const auto enqueue = [&](const Product& product) {
    work.tiles ? multiply_split(queue, product) : multiply(queue, product, work.product);
  };
  int64_t count = 0;
  if (const int32_t code = list(&queue, WithGradient{*args}, head.T, work.listed, &count, kOp, error)) return code;
  row_blocks(queue, head, work.listed, count, [&](const int32_t* listed, int64_t rows) {
    slabs(head.V, [&](const Slab& slab) {
      const GradientSlab d = gradients_of(queue, *args, work, listed, rows, slab);
      if (args->dbias) add_columns(queue.stream, d.dlogits, d.stride, rows, d.width, args->dbias + d.begin, work.product);
      if (args->dweight) enqueue(dweight_of(head, d, work.listed.copies, rows, args->dweight));
      if (args->dhidden) enqueue(dhidden_of(head, d, rows, work.dcopies));
    });
    if (args->dhidden && H > 0)
      launch(copy_back, {static_cast<unsigned>(rows), kListThreads}, queue.stream, work.dcopies, listed, H, args->dhidden);
  });
  return launched(&queue, kOp, error);
}

}  // namespace gpu
