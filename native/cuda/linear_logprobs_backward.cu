// linear_logprobs_backward. The rows that have a gradient are listed and worked on like those of linear_logprobs.cu: a slab of
// logits is made again, turned into gradients in place and handed to the products of `linear_backward`.
//
// Scratch    2048 × 4096 logits; 2048 hidden states, and as many of their gradients; 4 T + 4 N bytes.
// Order      dhidden: over v as matmul.cuh says, slab by slab. dweight and dbias: a sum per 2048 rows, those in order.

#include "column_sums.cuh"
#include "head_slabs.cuh"
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

// What the gradient of one row needs besides its logits.
struct RowGradient {
  LogitRow<float> row;
  float lse, dentropy, entropy;
  const float* logprobs;
  const float* dlogprobs;

  __device__ float G() const {
    float sum = 0.0f;
    for (int64_t k = 0; k < row.count; ++k) sum += row.ignored(k) ? 0.0f : dlogprobs[k];
    return sum;
  }

  // Of an entry that is no target, from its y; `factor`: −G.
  __device__ float at(float y, float factor) const {
    const float logp = fmaf(y, row.chain.scale, -lse);
    const float p = exp_of(logp);
    float d = factor * p;
    if (dentropy != 0.0f && p != 0.0f) d = fmaf(-dentropy * p, logp + entropy, d);  // a NaN stays
    return d * bent(y);
  }

  __device__ float bent(float y) const {
    return row.chain.softcap > 0.0f ? row.chain.slope * LogitChain::bend(y / row.chain.softcap) : row.chain.slope;
  }

  // Of the k-th target, if it is the first of its id; `plain`: what `at` gave.
  __device__ float at_target(int64_t k, float y, float plain) const {
    float own = 0.0f;
    for (int64_t j = k; j < row.count; ++j) own += row.targets[j] == row.targets[k] ? dlogprobs[j] : 0.0f;
    const float logp = logprobs[k], all = G();
    if (logp < -0.28768207f) return plain + own * bent(y);
    // p ≥ ¾: own − G p = (own − G) + G (1 − p) without cancellation
    float d = (own - all) - all * expm1f(logp);
    if (dentropy != 0.0f) d -= dentropy * expf(logp) * (logp + entropy);
    return d * bent(y);
  }

  __device__ bool first_of_its_id(int64_t k) const {
    for (int64_t j = 0; j < k; ++j)
      if (row.targets[j] == row.targets[k]) return false;
    return true;
  }
};

__device__ RowGradient row_gradient_of(const LinearLogprobsBackwardArgs& args, const LogitRow<float>& row, int64_t t) {
  const int64_t first = args.head.target_offsets[t];
  return {row,
          args.lse[t],
          args.dentropy ? args.dentropy[t] : 0.0f,
          args.dentropy ? args.entropy[t] : 0.0f,
          args.logprobs + first,
          args.dlogprobs + first};
}

// Logits of a slab to gradients of them, in place. kept_y: one number per target.
template <int kRowThreads>
__global__ void __launch_bounds__(kRowThreads)
    slab_gradient(LinearLogprobsBackwardArgs args, const int32_t* list, Slab slab, float* y, float* kept_y) {
  const int64_t t = list[blockIdx.x];
  const RowGradient of = row_gradient_of(args, slab_row(args.head, y, slab, t), t);
  const LogitRow<float>& row = of.row;
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
  for (int64_t k = threadIdx.x; k < row.count; k += kRowThreads) {
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

Product dhidden_of(const HeadRows& head, const float* y, int64_t count, const Slab& slab, float* dcopies) {
  return {Form::kPlain, count,  head.H,         slab.width, {y, kF32, slab.width}, rows_of_weight(head, slab.begin),
          dcopies,      head.H, slab.begin > 0, nullptr,    head.portable != 0};
}

Product dweight_of(const HeadRows& head, const float* y, const void* copies, int64_t count, const Slab& slab, float* dweight) {
  const int64_t rows = dweight ? slab.width : 0;
  return {Form::kOverRows,
          rows,
          head.H,
          count,
          {y, kF32, slab.width},
          {copies, dtype_of_copies(head), head.H},
          dweight ? dweight + slab.begin * head.H : nullptr,
          head.H,
          true,
          nullptr,
          head.portable != 0};
}

struct Workspace {
  ListedRows listed;
  float* y;        // [rows, columns]
  float* dcopies;  // [rows, H]
  float* kept_y;   // [N]
  char* product;

  // False with the reason in `error` where there is no memory.
  bool take(Queue* queue, const LinearLogprobsBackwardArgs& args, const char* op, ScError* error) {
    const HeadRows& head = args.head;
    ScratchPieces pieces;
    listed.take(head, &pieces);
    pieces.add(&y, listed.rows * smaller(head.V, kSlabColumns));
    pieces.add(&dcopies, args.dhidden ? listed.rows * head.H : 0);
    pieces.add(&kept_y, head.N);
    pieces.add(&product, static_cast<int64_t>(product_bytes(args, listed.rows)));
    return pieces.allocate(queue, op, error);
  }

  // The most that a product or the sums of dbias want, whatever the number of rows.
  static size_t product_bytes(const LinearLogprobsBackwardArgs& args, int64_t rows) {
    const HeadRows& head = args.head;
    const Slab widest = {0, smaller(head.V, kSlabColumns), false};
    size_t most = multiply_bytes(logits_of(head, nullptr, rows, widest, nullptr));
    const auto want = [&](size_t bytes) { most = bytes > most ? bytes : most; };
    if (args.dbias) want(column_sum_bytes(rows, widest.width));
    if (args.dhidden) want(multiply_bytes(dhidden_of(head, nullptr, rows, widest, nullptr)));
    for (const int64_t width : {widest.width, head.V % kSlabColumns}) {
      const Slab one = {0, width, false};
      if (args.dweight) want(multiply_bytes(dweight_of(head, nullptr, nullptr, rows, one, args.dweight)));
    }
    return most;
  }
};

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
  int64_t count = 0;
  if (const int32_t code = list(&queue, WithGradient{*args}, head.T, work.listed, &count, kOp, error)) return code;
  row_blocks(queue, head, work.listed, count, [&](const int32_t* listed, int64_t rows) {
    slabs(head.V, [&](const Slab& slab) {
      multiply(queue, logits_of(head, work.listed.copies, rows, slab, work.y), work.product);
      with_row_threads(slab.width, [&](auto threads) {
        constexpr int kRowThreads = decltype(threads)::kCount;
        launch(slab_gradient<kRowThreads>, {static_cast<unsigned>(rows), kRowThreads}, queue.stream, *args, listed, slab,
               work.y, work.kept_y);
      });
      if (args->dbias) add_columns(queue.stream, work.y, rows, slab.width, args->dbias + slab.begin, work.product);
      if (args->dweight) multiply(queue, dweight_of(head, work.y, work.listed.copies, rows, slab, args->dweight), work.product);
      if (args->dhidden) multiply(queue, dhidden_of(head, work.y, rows, slab, work.dcopies), work.product);
    });
    if (args->dhidden && H > 0)
      launch(copy_back, {static_cast<unsigned>(rows), kListThreads}, queue.stream, work.dcopies, listed, H, args->dhidden);
  });
  return launched(&queue, kOp, error);
}

}  // namespace gpu
