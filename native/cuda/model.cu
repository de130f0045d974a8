// embed, rms_norm, rope, swiglu, and their backwards. Most are a block of threads per row, four numbers per thread.
//
// Order      rms_norm: a row's sum over 256 threads, each in the order of its quads. dweight of rms_norm_backward: a running
//            f32 sum per chunk of rows, the chunks in order. embed_backward: see sort_tiles.

#include <math.h>

#include "block.cuh"
#include "launch.cuh"
#include "quad.cuh"
#include "queue.cuh"
#include "table.cuh"
#include "unroll.cuh"

namespace gpu {

namespace {

constexpr int kThreads = 256;

// Whether all arrays of rows of this stride lie in quads.
template <class... Arrays>
bool all_in_quads(int64_t stride, const Arrays*... arrays) {
  return (lies_in_quads(arrays, stride) && ...);
}

// body(first, count) for the quads of 0 … count that are the thread's.
template <class Body>
__device__ inline void for_quads(int64_t count, const Body& body) {
  for (int64_t i = threadIdx.x * kQuad; i < count; i += kThreads * kQuad) body(i, count - i);
}

// ── embed

template <class Element>
__global__ void gather_rows(EmbedArgs args, bool wide) {
  const int64_t t = blockIdx.x;
  const Element* const row = static_cast<const Element*>(args.table) + args.ids[t] * args.H;
  float* const out = args.out + t * args.H;
  for_quads(args.H, [&](int64_t h, int64_t count) {
    Quad sum = load_quad(row + h, count, wide);
    if (args.accumulate) {
      const Quad before = load_quad(out + h, count, wide);
      SC_UNROLL
      for (int q = 0; q < kQuad; ++q) sum.of[q] = before.of[q] + sum.of[q];
    }
    store_quad(out + h, sum, count, wide);
  });
}

// The positions by id, and by t where ids are equal, as numbers (id · 2³² + t): then the positions of an id lie side by side,
// in order, and one block adds up their rows. Tiles are sorted first, then merged two by two.
constexpr int kTile = 1024;

__device__ int32_t id_of(uint64_t position) { return static_cast<int32_t>(position >> 32); }
__device__ int64_t t_of(uint64_t position) { return static_cast<int64_t>(position & 0xffffffffu); }

// A tile of kTile positions: the place of each is the number of smaller ones.
__global__ void sort_tiles(const int32_t* ids, int64_t T, uint64_t* sorted) {
  __shared__ uint64_t tile[kTile];
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * kTile;
  const int count = static_cast<int>(T - begin < kTile ? T - begin : kTile);
  for (int i = static_cast<int>(threadIdx.x); i < count; i += kThreads)
    tile[i] = static_cast<uint64_t>(ids[begin + i]) << 32 | static_cast<uint64_t>(begin + i);
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < count; i += kThreads) {
    const uint64_t mine = tile[i];
    int smaller = 0;
    SC_UNROLL
    for (int j = 0; j < count; ++j) smaller += tile[j] < mine;
    sorted[begin + smaller] = mine;
  }
}

// Sorted runs of `width` to runs of twice that: an element's place is its own in its run, and as many more as are smaller in
// the other run.
__global__ void merge_runs(const uint64_t* from, int64_t T, int64_t width, uint64_t* to) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= T) return;
  const int64_t run = i / width, begin = run / 2 * 2 * width;
  int64_t low = (run ^ 1) * width, high = low + width < T ? low + width : T;
  const int64_t other = low;
  const uint64_t mine = from[i];
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (from[middle] < mine) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  to[begin + (i - run * width) + (low - other)] = mine;
}

constexpr int kAddThreads = 128;
constexpr int kAhead = 4;  // rows that are on their way at once

// The block of an id's first position adds the rows of all of them, in order, to a part of the columns.
__global__ void add_rows(EmbedBackwardArgs args, const uint64_t* sorted, bool wide) {
  const int64_t first = blockIdx.x, T = args.T, H = args.H;
  const int32_t id = id_of(sorted[first]);
  if (first > 0 && id_of(sorted[first - 1]) == id) return;
  const int64_t h = (static_cast<int64_t>(blockIdx.y) * kAddThreads + threadIdx.x) * kQuad, count = H - h;
  if (count <= 0) return;
  float* const to = args.dtable + id * H + h;
  Quad sum = load_quad(to, count, wide);
  for (int64_t i = first; i < T && id_of(sorted[i]) == id; i += kAhead) {
    Quad rows[kAhead];
    bool own[kAhead];
    SC_UNROLL
    for (int a = 0; a < kAhead; ++a) {
      own[a] = i + a < T && id_of(sorted[i + a]) == id;
      rows[a] = load_quad(args.dout + (own[a] ? t_of(sorted[i + a]) * H + h : 0), own[a] ? count : 0, wide);
    }
    SC_UNROLL
    for (int a = 0; a < kAhead; ++a) {
      SC_UNROLL
      for (int q = 0; q < kQuad; ++q) sum.of[q] = own[a] ? sum.of[q] + rows[a].of[q] : sum.of[q];
    }
  }
  store_quad(to, sum, count, wide);
}

// ── rms_norm

__global__ void normalise_rows(RmsNormArgs args, bool wide) {
  const int64_t t = blockIdx.x, H = args.H;
  const float* const x = args.x + t * H;
  float* const y = args.y + t * H;
  float squares = 0.0f;
  for_quads(H, [&](int64_t h, int64_t count) {
    const Quad v = load_quad(x + h, count, wide);
    SC_UNROLL
    for (int q = 0; q < kQuad; ++q) squares = fmaf(v.of[q], v.of[q], squares);
  });
  const float rrms = 1.0f / sqrtf(reduce_block<kThreads>(squares, Add{}) / static_cast<float>(H) + args.eps);
  if (threadIdx.x == 0) args.rrms[t] = rrms;
  for_quads(H, [&](int64_t h, int64_t count) {
    const Quad weight = load_quad(args.weight + h, count, wide);
    Quad v = load_quad(x + h, count, wide);
    SC_UNROLL
    for (int q = 0; q < kQuad; ++q) v.of[q] = v.of[q] * rrms * weight.of[q];
    store_quad(y + h, v, count, wide);
  });
}

__global__ void normalise_rows_backward(RmsNormBackwardArgs args, bool wide) {
  const int64_t t = blockIdx.x, H = args.H;
  const float* const x = args.x + t * H;
  const float* const dy = args.dy + t * H;
  float* const dx = args.dx + t * H;
  float dot = 0.0f;
  for_quads(H, [&](int64_t h, int64_t count) {
    const Quad v = load_quad(x + h, count, wide), d = load_quad(dy + h, count, wide);
    const Quad weight = load_quad(args.weight + h, count, wide);
    SC_UNROLL
    for (int q = 0; q < kQuad; ++q) dot = fmaf(d.of[q] * weight.of[q], v.of[q], dot);
  });
  const float rrms = args.rrms[t];
  const float pull = rrms * rrms * reduce_block<kThreads>(dot, Add{}) / static_cast<float>(H);
  for_quads(H, [&](int64_t h, int64_t count) {
    const Quad v = load_quad(x + h, count, wide), d = load_quad(dy + h, count, wide);
    const Quad weight = load_quad(args.weight + h, count, wide);
    const Quad before = load_quad(dx + h, args.accumulate ? count : 0, wide);
    Quad sum;
    SC_UNROLL
    for (int q = 0; q < kQuad; ++q) {
      const float own = rrms * (d.of[q] * weight.of[q] - v.of[q] * pull);
      sum.of[q] = args.accumulate ? before.of[q] + own : own;
    }
    store_quad(dx + h, sum, count, wide);
  });
}

// Rows whose share of dweight one thread sums: about 32,768 numbers, but enough chunks to occupy the device.
int64_t rows_per_chunk(int64_t H) { return H >= 32768 ? 1 : H > 512 ? 32768 / H : 64; }

__global__ void share_dweight(RmsNormBackwardArgs args, int64_t rows, float* shares) {
  const int64_t h = static_cast<int64_t>(blockIdx.y) * kThreads + threadIdx.x, H = args.H;
  if (h >= H) return;
  const int64_t begin = blockIdx.x * rows, end = begin + rows < args.T ? begin + rows : args.T;
  float sum = 0.0f;
  for (int64_t t = begin; t < end; ++t) sum = fmaf(args.dy[t * H + h], args.x[t * H + h] * args.rrms[t], sum);
  shares[blockIdx.x * H + h] = sum;
}

__global__ void add_shares(const float* shares, int64_t chunks, int64_t H, float* dweight) {
  const int64_t h = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (h >= H) return;
  float sum = dweight[h];
  for (int64_t chunk = 0; chunk < chunks; ++chunk) sum += shares[chunk * H + h];
  dweight[h] = sum;
}

// ── rope

__global__ void rotate_rows(RopeArgs args, float direction, bool wide) {
  const int64_t t = blockIdx.x, half = args.D / 2, quads_of_head = (half + kQuad - 1) / kQuad;
  const float* const cosines = args.cosines + args.depth[t] * half;
  const float* const sines = args.sines + args.depth[t] * half;
  float* const row = args.x + t * args.heads * args.D;
  for (int64_t i = threadIdx.x; i < args.heads * quads_of_head; i += kThreads) {
    const int64_t head = i / quads_of_head, pair = (i - head * quads_of_head) * kQuad, count = half - pair;
    float* const low = row + head * args.D + pair;
    const Quad c = load_quad(cosines + pair, count, wide), s = load_quad(sines + pair, count, wide);
    const Quad a = load_quad(low, count, wide), b = load_quad(low + half, count, wide);
    Quad new_a, new_b;
    SC_UNROLL
    for (int q = 0; q < kQuad; ++q) {
      const float sine = direction * s.of[q];
      new_a.of[q] = a.of[q] * c.of[q] - b.of[q] * sine;
      new_b.of[q] = b.of[q] * c.of[q] + a.of[q] * sine;
    }
    store_quad(low, new_a, count, wide);
    store_quad(low + half, new_b, count, wide);
  }
}

int32_t rotate(const RopeArgs& args, float direction, const char* op, ScStream stream, ScError* error) {
  Queue& queue = queue_of(stream);
  const bool wide = all_in_quads(args.D / 2, args.x, args.cosines, args.sines) && args.D % 2 == 0;
  if (args.T > 0 && args.heads > 0 && args.D > 1)
    launch(rotate_rows, {static_cast<unsigned>(args.T), kThreads}, queue.stream, args, direction, wide);
  return launched(&queue, op, error);
}

// ── swiglu

__device__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

__global__ void gate_up(SwigluArgs args, bool wide) {
  const int64_t i = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * kQuad, count = args.count - i;
  if (count <= 0) return;
  const Quad gate = load_quad(args.gate + i, count, wide), up = load_quad(args.up + i, count, wide);
  Quad out;
  SC_UNROLL
  for (int q = 0; q < kQuad; ++q) out.of[q] = gate.of[q] * sigmoid(gate.of[q]) * up.of[q];
  store_quad(args.out + i, out, count, wide);
}

__global__ void gate_up_backward(SwigluBackwardArgs args, bool wide) {
  const int64_t i = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) * kQuad, count = args.count - i;
  if (count <= 0) return;
  const Quad gate = load_quad(args.gate + i, count, wide), up = load_quad(args.up + i, count, wide);
  const Quad dout = load_quad(args.dout + i, count, wide);
  Quad dgate, dup;
  SC_UNROLL
  for (int q = 0; q < kQuad; ++q) {
    const float x = gate.of[q], s = sigmoid(x);
    dgate.of[q] = dout.of[q] * up.of[q] * s * (1.0f + x * (1.0f - s));
    dup.of[q] = dout.of[q] * x * s;
  }
  store_quad(args.dgate + i, dgate, count, wide);
  store_quad(args.dup + i, dup, count, wide);
}

unsigned quad_blocks(int64_t count) { return static_cast<unsigned>(blocks_of(count, kThreads * kQuad)); }

}  // namespace

int32_t embed(const EmbedArgs* args, ScStream stream, ScError* error) {
  Queue& queue = queue_of(stream);
  if (args->T > 0 && args->H > 0) {
    with_element(args->table_dtype, [&](auto type) {
      using Element = typename decltype(type)::Element;
      launch(gather_rows<Element>, {static_cast<unsigned>(args->T), kThreads}, queue.stream, *args,
             all_in_quads(args->H, static_cast<const Element*>(args->table), args->out));
    });
  }
  return launched(&queue, "embed", error);
}

int32_t embed_backward(const EmbedBackwardArgs* args, ScStream stream, ScError* error) {
  Queue& queue = queue_of(stream);
  const int64_t T = args->T, H = args->H;
  if (T <= 0 || H <= 0) return launched(&queue, "embed_backward", error);
  uint64_t* sorted =
      static_cast<uint64_t*>(scratch(&queue, static_cast<size_t>(2 * T) * sizeof(uint64_t), "embed_backward", error));
  if (!sorted) return 1;
  uint64_t* spare = sorted + T;
  launch(sort_tiles, {static_cast<unsigned>(blocks_of(T, kTile)), kThreads}, queue.stream, args->ids, T, sorted);
  for (int64_t width = kTile; width < T; width *= 2) {
    launch(merge_runs, {static_cast<unsigned>(blocks_of(T, kThreads)), kThreads}, queue.stream, sorted, T, width, spare);
    uint64_t* const merged = spare;
    spare = sorted;
    sorted = merged;
  }
  const dim3 blocks(static_cast<unsigned>(T), static_cast<unsigned>(blocks_of(H, kAddThreads * kQuad)));
  launch(add_rows, {blocks, kAddThreads}, queue.stream, *args, sorted, all_in_quads(H, args->dout, args->dtable));
  return launched(&queue, "embed_backward", error);
}

int32_t rms_norm(const RmsNormArgs* args, ScStream stream, ScError* error) {
  Queue& queue = queue_of(stream);
  if (args->T > 0)
    launch(normalise_rows, {static_cast<unsigned>(args->T), kThreads}, queue.stream, *args,
           all_in_quads(args->H, args->x, args->y, args->weight));
  return launched(&queue, "rms_norm", error);
}

int32_t rms_norm_backward(const RmsNormBackwardArgs* args, ScStream stream, ScError* error) {
  Queue& queue = queue_of(stream);
  const int64_t T = args->T, H = args->H;
  if (T <= 0 || H <= 0) return launched(&queue, "rms_norm_backward", error);
  const int64_t rows = rows_per_chunk(H), chunks = blocks_of(T, rows);
  float* const shares =
      static_cast<float*>(scratch(&queue, static_cast<size_t>(chunks * H) * sizeof(float), "rms_norm_backward", error));
  if (!shares) return 1;
  const unsigned across = static_cast<unsigned>(blocks_of(H, kThreads));
  launch(share_dweight, {dim3(static_cast<unsigned>(chunks), across), kThreads}, queue.stream, *args, rows, shares);
  launch(add_shares, {across, kThreads}, queue.stream, shares, chunks, H, args->dweight);
  launch(normalise_rows_backward, {static_cast<unsigned>(T), kThreads}, queue.stream, *args,
         all_in_quads(H, args->x, args->weight, args->dy, args->dx));
  return launched(&queue, "rms_norm_backward", error);
}

int32_t rope(const RopeArgs* args, ScStream stream, ScError* error) { return rotate(*args, 1.0f, "rope", stream, error); }

int32_t rope_backward(const RopeArgs* args, ScStream stream, ScError* error) {
  return rotate(*args, -1.0f, "rope_backward", stream, error);
}

int32_t swiglu(const SwigluArgs* args, ScStream stream, ScError* error) {
  Queue& queue = queue_of(stream);
  if (args->count > 0)
    launch(gate_up, {quad_blocks(args->count), kThreads}, queue.stream, *args,
           all_in_quads(kQuad, args->gate, args->up, args->out));
  return launched(&queue, "swiglu", error);
}

int32_t swiglu_backward(const SwigluBackwardArgs* args, ScStream stream, ScError* error) {
  Queue& queue = queue_of(stream);
  if (args->count > 0)
    launch(gate_up_backward, {quad_blocks(args->count), kThreads}, queue.stream, *args,
           all_in_quads(kQuad, args->gate, args->up, args->dout, args->dgate, args->dup));
  return launched(&queue, "swiglu_backward", error);
}

}  // namespace gpu
