// linear_logprobs, linear_logprobs_backward: a head and its log-probabilities without the logits of all rows.
//
// The rows that take part are listed on the device and worked on 2048 at a time: their hidden states are copied side by side,
// and the vocabulary goes by in slabs of 4096 columns. A slab of logits is a product like that of `linear`, goes into the
// running sums of its rows, and makes room for the next. The backward makes the slab again, turns it into gradients in place
// and hands them to the products of `linear_backward`.
//
// How many rows take part decides what is enqueued, so both ops wait once for the device to say it.
//
// Scratch    2048 × 4096 logits; 2048 hidden states, and as many of their gradients; what the threads of a row carry from slab
//            to slab; 4 T + 4 N bytes.
// Order      every thread of a row goes on where it was in the slab before, segment by segment: the sums are those of logprobs.
//            dhidden: over v as matmul.cuh says, slab by slab. dweight and dbias: a sum per 2048 rows, those in order.
//
// A forward of half types may go by head_tiles.cuh instead, without slabs.

#include <stdlib.h>

#include "column_sums.cuh"
#include "cublaslt.cuh"
#include "head_tiles.cuh"
#include "logit_row.cuh"
#include "matmul.cuh"
#include "table.cuh"
#include "unroll.cuh"

namespace gpu {

namespace {

constexpr int64_t kBlockRows = 2048;
constexpr int64_t kSlabColumns = 4096;
constexpr int kMostRowThreads = 512;
static_assert(kSlabColumns % (kMostRowThreads * Wide<float>::kCount) == 0, "a slab ends where all threads have had as many");
static_assert(Segment<256>::kElements % kSlabColumns == 0, "a segment of a row of several slabs ends where a slab does");

constexpr int kThreads = 256;
constexpr int kInFlight = 4;  // vectors of a thread that are on their way at once

int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// ── the rows that take part

__device__ bool has_targets(const HeadRows& rows, int64_t t) {
  for (int64_t n = rows.target_offsets[t]; n < rows.target_offsets[t + 1]; ++n)
    if (rows.targets[n] != rows.ignore_index) return true;
  return false;
}

struct WithTargets {
  HeadRows rows;
  __device__ bool operator()(int64_t t) const { return has_targets(rows, t); }
};

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

// list = the t < T with use(t), in order; *count: how many. One block.
template <class Use>
__global__ void list_rows(Use use, int64_t T, int32_t* list, int64_t* count) {
  constexpr int kWarps = kThreads / kWarp;
  __shared__ int in_warp[kWarps];
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  int64_t found = 0;
  for (int64_t begin = 0; begin < T; begin += kThreads) {
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
  for (int64_t h = threadIdx.x; h < H; h += kThreads) from_float(to_float(from[h]), to + h);
}

__global__ void copy_back(const float* copies, const int32_t* list, int64_t H, float* dhidden) {
  const float* const from = copies + blockIdx.x * H;
  float* const to = dhidden + list[blockIdx.x] * H;
  for (int64_t h = threadIdx.x; h < H; h += kThreads) to[h] = from[h];
}

// ── slabs

struct Slab {
  int64_t begin, width;
  bool last;

  __device__ bool holds(int32_t target) const { return target >= begin && target < begin + width; }
};

__device__ LogitRow<float> slab_row(const HeadRows& rows, const float* y, const Slab& slab, int64_t t) {
  const int64_t first = rows.target_offsets[t];
  const float temperature = rows.temperatures ? rows.temperatures[t] : rows.temperature;
  return {y + blockIdx.x * slab.width,
          slab.width,
          logit_chain(rows.logit_scale, rows.softcap, temperature),
          nullptr,
          rows.targets + first,
          rows.target_offsets[t + 1] - first,
          rows.ignore_index,
          {}};
}

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

// ── both directions

// Where the pieces of scratch memory begin.
struct Layout {
  size_t bytes = 0;

  size_t take(int64_t count, size_t size) {
    const size_t at = bytes;
    bytes += (static_cast<size_t>(count) * size + 255) / 256 * 256;
    return at;
  }
};

// Hidden states are copied as they are where the weight is of their dtype: such products may run on tensor cores.
int32_t dtype_of_copies(const HeadRows& head) {
  return head.hidden_dtype == head.weight_dtype ? head.hidden_dtype : int32_t{kF32};
}

size_t size_of(int32_t dtype) { return dtype == kF32 ? 4 : 2; }

Matrix rows_of_weight(const HeadRows& head, int64_t begin) {
  const char* const weight = static_cast<const char*>(head.weight);
  return {weight + static_cast<size_t>(begin * head.H) * size_of(head.weight_dtype), head.weight_dtype, head.H};
}

Product logits_of(const HeadRows& head, const void* copies, int64_t count, const Slab& slab, float* y) {
  return {Form::kOverColumns,
          count,
          slab.width,
          head.H,
          {copies, dtype_of_copies(head), head.H},
          rows_of_weight(head, slab.begin),
          y,
          slab.width,
          false,
          head.bias ? head.bias + slab.begin : nullptr,
          head.portable != 0};
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

// Whether a forward takes head_tiles.cuh rather than products that go through memory: where it can and there is no cuBLASLt,
// unless STEPCREDIT_CUDA_HEAD asks for "tiles" or "products".
bool takes_tiles(const HeadRows& head) {
  if (head.portable != 0 || !head_tiles_fit(head)) return false;
  const char* const wanted = getenv("STEPCREDIT_CUDA_HEAD");
  if (wanted && strcmp(wanted, "tiles") == 0) return true;
  if (wanted && strcmp(wanted, "products") == 0) return false;
  return cublaslt_absence() != nullptr;
}

// What both directions work in.
struct Workspace {
  int64_t rows, columns;
  bool tiles;
  int32_t* list;
  int64_t* count;
  void* copies;          // [rows, H]
  float* y;              // [rows, columns]
  float* dcopies;        // [rows, H]; backward
  float* kept_y;         // [N]; backward
  SegmentSums* carried;  // [rows, threads]; forward
  void* product;
  void* of_tiles;  // instead of y, carried and product

  // False with the reason in `error` where there is no memory.
  bool take(Queue* queue, const HeadRows& head, const LinearLogprobsBackwardArgs* backward, const char* op, ScError* error) {
    rows = smaller(head.T, kBlockRows);
    columns = smaller(head.V, kSlabColumns);
    Layout layout;
    const size_t list_at = layout.take(head.T, sizeof *list), count_at = layout.take(1, sizeof *count);
    const size_t copies_at = layout.take(rows * head.H, size_of(dtype_of_copies(head)));
    tiles = !backward && takes_tiles(head);
    const size_t tiles_at = layout.take(tiles ? static_cast<int64_t>(head_tiles_bytes(head, rows)) : 0, 1);
    const size_t y_at = layout.take(tiles ? 0 : rows * columns, sizeof *y);
    const size_t dcopies_at = layout.take(backward && backward->dhidden ? rows * head.H : 0, sizeof *dcopies);
    const size_t kept_at = layout.take(backward ? head.N : 0, sizeof *kept_y);
    const size_t carried_at =
        layout.take(!backward && !tiles && head.V > kSlabColumns ? rows * kMostRowThreads : 0, sizeof *carried);
    const size_t product_at = layout.take(tiles ? 0 : static_cast<int64_t>(product_bytes(head, backward)), 1);
    char* const memory = static_cast<char*>(scratch(queue, layout.bytes, op, error));
    if (!memory) return false;
    list = reinterpret_cast<int32_t*>(memory + list_at);
    count = reinterpret_cast<int64_t*>(memory + count_at);
    copies = memory + copies_at;
    y = reinterpret_cast<float*>(memory + y_at);
    dcopies = reinterpret_cast<float*>(memory + dcopies_at);
    kept_y = reinterpret_cast<float*>(memory + kept_at);
    carried = reinterpret_cast<SegmentSums*>(memory + carried_at);
    product = memory + product_at;
    of_tiles = memory + tiles_at;
    return true;
  }

  // The most that a product or the sums of dbias want, whatever the number of rows.
  size_t product_bytes(const HeadRows& head, const LinearLogprobsBackwardArgs* backward) const {
    const Slab slab = {0, columns, false};
    size_t most = multiply_bytes(logits_of(head, nullptr, rows, slab, nullptr));
    if (!backward) return most;
    const auto want = [&](size_t bytes) { most = bytes > most ? bytes : most; };
    if (backward->dbias) want(column_sum_bytes(rows, columns));
    if (backward->dhidden) want(multiply_bytes(dhidden_of(head, nullptr, rows, slab, nullptr)));
    for (const int64_t width : {columns, head.V % kSlabColumns}) {
      const Slab one = {0, width, false};
      if (backward->dweight) want(multiply_bytes(dweight_of(head, nullptr, nullptr, rows, one, backward->dweight)));
    }
    return most;
  }
};

// Lists the rows with use(t); waits until the device says how many there are. A code, or 0.
template <class Use>
int32_t list(Queue* queue, const Use& use, int64_t T, const Workspace& work, int64_t* count, const char* op, ScError* error) {
  launch(list_rows<Use>, {1, kThreads}, queue->stream, use, T, work.list, work.count);
  if (const int32_t code = launched(queue, op, error)) return code;
  const cudaError_t copied = cudaMemcpyAsync(count, work.count, sizeof *count, cudaMemcpyDeviceToHost, queue->stream);
  if (const int32_t code = checked(copied, op, "the number of rows", error)) return code;
  return checked(cudaStreamSynchronize(queue->stream), op, "work enqueued before, or the list of rows", error);
}

void copy_rows(cudaStream_t stream, const HeadRows& head, const int32_t* list, int64_t count, void* copies) {
  if (head.H == 0) return;
  with_element(head.hidden_dtype, [&](auto type) {
    using From = typename decltype(type)::Element;
    const Shape shape = {static_cast<unsigned>(count), kThreads};
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
void row_blocks(Queue& queue, const HeadRows& head, const Workspace& work, int64_t count, const Body& body) {
  for (int64_t begin = 0; begin < count; begin += kBlockRows) {
    const int64_t rows = smaller(count - begin, kBlockRows);
    copy_rows(queue.stream, head, work.list + begin, rows, work.copies);
    body(work.list + begin, rows);
  }
}

// body(slab) for the slabs of the vocabulary, in order.
template <class Body>
void slabs(int64_t V, const Body& body) {
  for (int64_t begin = 0; begin < V; begin += kSlabColumns)
    body(Slab{begin, smaller(V - begin, kSlabColumns), begin + kSlabColumns >= V});
}

}  // namespace

int32_t linear_logprobs(const LinearLogprobsArgs* args, ScStream stream, ScError* error) {
  constexpr const char* kOp = "linear_logprobs";
  Queue& queue = queue_of(stream);
  const HeadRows& head = args->head;
  if (head.N > 0) cudaMemsetAsync(args->logprobs, 0, static_cast<size_t>(head.N) * sizeof(float), queue.stream);
  if (head.T <= 0 || head.N <= 0) return launched(&queue, kOp, error);
  Workspace work;
  if (!work.take(&queue, head, nullptr, kOp, error)) return 1;
  int64_t count = 0;
  if (const int32_t code = list(&queue, WithTargets{head}, head.T, work, &count, kOp, error)) return code;
  row_blocks(queue, head, work, count, [&](const int32_t* listed, int64_t rows) {
    if (work.tiles) return enqueue_head_tiles(*args, listed, rows, work.copies, work.of_tiles, queue.stream);
    slabs(head.V, [&](const Slab& slab) {
      multiply(queue, logits_of(head, work.copies, rows, slab, work.y), work.product);
      with_row_threads(head.V, [&](auto threads) {
        constexpr int kRowThreads = decltype(threads)::kCount;
        const auto kernel = args->entropy ? add_slab<kRowThreads, true> : add_slab<kRowThreads, false>;
        launch(kernel, {static_cast<unsigned>(rows), kRowThreads}, queue.stream, *args, listed, slab, work.y, work.carried);
      });
    });
  });
  return launched(&queue, kOp, error);
}

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
  if (!work.take(&queue, head, args, kOp, error)) return 1;
  int64_t count = 0;
  if (const int32_t code = list(&queue, WithGradient{*args}, head.T, work, &count, kOp, error)) return code;
  row_blocks(queue, head, work, count, [&](const int32_t* listed, int64_t rows) {
    slabs(head.V, [&](const Slab& slab) {
      multiply(queue, logits_of(head, work.copies, rows, slab, work.y), work.product);
      with_row_threads(slab.width, [&](auto threads) {
        constexpr int kRowThreads = decltype(threads)::kCount;
        launch(slab_gradient<kRowThreads>, {static_cast<unsigned>(rows), kRowThreads}, queue.stream, *args, listed, slab,
               work.y, work.kept_y);
      });
      if (args->dbias) add_columns(queue.stream, work.y, rows, slab.width, args->dbias + slab.begin, work.product);
      if (args->dweight) multiply(queue, dweight_of(head, work.y, work.copies, rows, slab, args->dweight), work.product);
      if (args->dhidden) multiply(queue, dhidden_of(head, work.y, rows, slab, work.dcopies), work.product);
    });
    if (args->dhidden && H > 0)
      launch(copy_back, {static_cast<unsigned>(rows), kThreads}, queue.stream, work.dcopies, listed, H, args->dhidden);
  });
  return launched(&queue, kOp, error);
}

}  // namespace gpu
