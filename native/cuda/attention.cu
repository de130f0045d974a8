// tree_attention, tree_attention_backward, decode_attention.
//
// tree_attention: a block takes rows of a run (positions, each the child of the one before) with the heads that share a
// key/value head, so that all of them go along one path. It gathers the path from subtree_end as it goes, 64 entries at a
// time. decode_attention: a block takes a stretch of a row's path for the heads that share a key/value head; a second kernel
// joins the stretches. Both take the same steps for a row (attention_softmax.cuh).

#include "attention_backward.cuh"
#include "attention_forest.cuh"
#include "attention_softmax.cuh"
#include "launch.cuh"
#include "queue.cuh"
#include "table.cuh"

namespace gpu {

namespace {

// ── tree_attention

// The path of a run, as far as it was gathered: the packed position of entry e is at(e) for the last kKept entries.
struct Path {
  static constexpr int kKept = 512;  // ≥ kTile + kTileThreads
  int32_t* kept;
  int gathered = 0;
  int cursor = 0;  // position from which on the search goes on

  __device__ int at(int entry) const { return kept[entry % kKept]; }

  // Entries up to `wanted` of the path of the run first … next − 1. The same in every thread of the block.
  __device__ void gather(const Forest& forest, int first, int next, int wanted) {
    while (gathered < wanted) {
      const bool beside = cursor + kTileThreads <= first && !leads_to(forest, first);
      if (!beside) {
        const int j = cursor + static_cast<int>(threadIdx.x);
        const bool found = j < next && (j >= first || forest.subtree_end[j] > first);
        if (found) kept[forest.depth[j] % kKept] = j;
        gathered += __syncthreads_count(found);
      }
      cursor += kTileThreads;
    }
  }

  // Whether `first` lies in a subtree that begins at one of the next positions.
  __device__ bool leads_to(const Forest& forest, int first) const {
    for (int i = 0; i < kTileThreads / kTile; ++i)
      if (forest.latest_end[cursor / kTile + i] > first) return true;
    return false;
  }
};

// Rows of a run: positions first … next − 1, `heads` heads of each from `first_head` on, which read key/value head kv_head.
struct RunRows {
  int first, next;
  int first_head, kv_head;
  int heads;

  __device__ int count() const { return (next - first) * heads; }
  __device__ int position(int line) const { return first + line / heads; }
  __device__ int64_t row(int line, int64_t all_heads) const { return position(line) * all_heads + first_head + line % heads; }
};

template <int kColumnTiles>
__device__ void attend_run(const TreeAttentionArgs& args, const Forest& forest, const RunRows& rows, int column, RowForm form,
                           Path path, Tile* tile) {
  const int depth = forest.depth[rows.first], entries = depth + rows.next - rows.first;
  const auto first_seen = [&](int visible) { return visible > args.window ? visible - static_cast<int>(args.window) : 0; };
  const int mine = static_cast<int>(threadIdx.x);
  __syncthreads();  // the rows of the run before are done
  if (mine < kTile) tile->lines[mine] = mine < rows.count() ? rows.row(mine, args.heads) * form.D : -1;

  int seen_to[kPerThread];
  Stretch stretch[kPerThread];
  RowSoftmax softmax[kPerThread];
  SC_UNROLL
  for (int u = 0; u < kPerThread; ++u) {
    const int line = first_line() + u < rows.count() ? first_line() + u : rows.count() - 1;
    seen_to[u] = depth + rows.position(line) - rows.first + 1;
    stretch[u] = empty_stretch();
    softmax[u] = nothing_seen();
  }
  LineSums<kColumnTiles> sums;
  sums.clear();

  for (int at = first_seen(depth + 1) / kTile * kTile; at < entries; at += kTile) {
    const int count = entries - at < kTile ? entries - at : kTile;
    path.gather(forest, rows.first, rows.next, at + count);
    if (mine < kTile) tile->steps[mine] = mine < count ? (path.at(at + mine) * args.kv_heads + rows.kv_head) * form.D : -1;
    float scores[4][4];
    dot_tile(args.q, args.k, form, tile, scores);
    SC_UNROLL
    for (int u = 0; u < kPerThread; ++u) {
      bool seen[4];
      SC_UNROLL
      for (int w = 0; w < 4; ++w) {
        scores[u][w] = __fmul_rn(args.scale, scores[u][w]);
        const int entry = at + step_of(w);
        seen[w] = entry >= first_seen(seen_to[u]) && entry < seen_to[u];
      }
      sums.scale(u, stretch[u].take(scores[u], seen));
    }
    store_weights(scores, tile);
    const bool partly = at < first_seen(entries) || at + count > depth + 1;
    sums.add(args.v, column, count, partly, form, tile);

    const bool last = at + kTile >= entries;
    if (!last && (at + kTile) % kStretch != 0) continue;
    SC_UNROLL
    for (int u = 0; u < kPerThread; ++u) {
      const Joint joint = softmax[u].join(stretch[u].top, reduce_sixteen(stretch[u].sum, Add{}));
      const float factor = last ? 1.0f / softmax[u].sum : 1.0f;
      stretch[u] = empty_stretch();
      const int64_t line = tile->lines[first_line() + u];
      if (line < 0) continue;
      // `out` keeps what the stretches before came to.
      SC_UNROLL
      for (int c = 0; c < kColumnTiles; ++c) {
        const int d = column + c * kTile + first_column();
        const float4 old = joint.before ? load_four(args.out + line, d, form) : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        const float before[4] = {old.x, old.y, old.z, old.w};
        float joined[4];
        SC_UNROLL
        for (int i = 0; i < 4; ++i) joined[i] = joint(before[i], sums.of[c][u][i]) * factor;
        store_four(args.out + line, d, form, joined);
      }
    }
    sums.clear();
  }
  if (column != 0 || step_of(0) != 0) return;
  for (int u = 0; u < kPerThread && first_line() + u < rows.count(); ++u)
    args.lse[rows.row(first_line() + u, args.heads)] = softmax[u].lse();
}

// Blocks that share the runs of some positions, in turn: short runs do not wait for each other.
constexpr int kRunShares = 4;

template <int kColumnTiles>
__global__ void __launch_bounds__(kTileThreads, 1)
    attend_tree(TreeAttentionArgs args, Forest forest, RowTiles tiles, RowForm form) {
  __shared__ Tile tile;
  __shared__ int32_t kept[Path::kKept];
  // Long paths first.
  const int begin = static_cast<int>(gridDim.x - 1 - blockIdx.x) * tiles.positions;
  const int end = begin + tiles.positions < args.T ? begin + tiles.positions : static_cast<int>(args.T);
  const int column = static_cast<int>(blockIdx.z / kRunShares) * kColumnTiles * kTile;
  const HeadsOfBlock heads(tiles);
  unsigned run = 0;
  for (int first = begin, next; first < end; first = next) {
    next = first + 1;
    while (next < end && args.subtree_end[next - 1] > next) ++next;
    if (run++ % kRunShares != blockIdx.z % kRunShares) continue;
    attend_run<kColumnTiles>(args, forest, {first, next, heads.first, heads.kv_head, heads.count}, column, form, {kept}, &tile);
  }
}

// ── decode_attention

constexpr int kDecodeThreads = 128;
constexpr int kDecodeHeads = kDecodeThreads / kPartialSums;
constexpr int kDecodeColumns = 2 * kDecodeThreads;  // of D, for each block

// Where the stretches of a row lie among those of all: there is room for one more than a row may need.
__device__ inline int64_t first_stretch(const DecodeAttentionArgs& args, int64_t row) {
  return args.slot_offsets[row] / kStretch + row;
}

// What a stretch of a row comes to, by query head.
struct Stretches {
  float* top;   // [stretches, heads]
  float* sum;   // [stretches, heads]
  float* sums;  // [stretches, heads, D]
};

struct DecodeMemory {
  alignas(16) float keys[kTile * kSliceStride];
  alignas(16) float q[kDecodeHeads * kSliceStride];
  float weights[kTile * kDecodeHeads];  // [entry][head]
  float factor[kDecodeHeads];
  int64_t slots[kTile];  // where the rows of entries begin
};

// Scores of a block of entries: of entry threadIdx.x % 64 for four heads from `head` on, as dot_tile makes them.
__device__ inline void score_entries(const DecodeAttentionArgs& args, int64_t q_row, int heads, RowForm form,
                                     DecodeMemory* memory, float (&dots)[4]) {
  const int mine = static_cast<int>(threadIdx.x), entry = mine % kTile, head = mine / kTile * 4;
  constexpr int kPerRow = kSlice / 4;
  SC_UNROLL
  for (int u = 0; u < 4; ++u) dots[u] = 0.0f;
  for (int d = 0; d < form.D; d += kSlice) {
    __syncthreads();
    const int column = d + mine % kPerRow * 4;
    for (int row = mine / kPerRow; row < kTile; row += kDecodeThreads / kPerRow) {
      const int64_t at = memory->slots[row];
      *reinterpret_cast<float4*>(memory->keys + row * kSliceStride + mine % kPerRow * 4) =
          at < 0 ? make_float4(0.0f, 0.0f, 0.0f, 0.0f) : load_four(args.keys + at, column, form);
    }
    const int row = mine / kPerRow;
    if (row < kDecodeHeads)
      *reinterpret_cast<float4*>(memory->q + row * kSliceStride + mine % kPerRow * 4) =
          row < heads ? load_four(args.q + q_row + row * form.D, column, form) : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    __syncthreads();
    const int count = form.D - d < kSlice ? form.D - d : kSlice;
    for (int i = 0; i < count; i += 4) {
      const float4 key = float4_at(memory->keys + entry * kSliceStride + i);
      SC_UNROLL
      for (int u = 0; u < 4; ++u) {
        const float4 q = float4_at(memory->q + (head + u) * kSliceStride + i);
        float sum = dots[u];
        sum = fmaf(q.x, key.x, sum);
        sum = fmaf(q.y, key.y, sum);
        sum = fmaf(q.z, key.z, sum);
        dots[u] = fmaf(q.w, key.w, sum);
      }
    }
  }
}

// One stretch of a row for up to 8 heads from first_head on, and 256 columns of the values.
__device__ void decode_stretch(const DecodeAttentionArgs& args, int64_t row, int64_t stretch_index, int64_t first_head,
                               int64_t kv_head, int heads, int column, RowForm form, const Stretches& stretches,
                               DecodeMemory* memory) {
  const int32_t* const slots = args.slots + args.slot_offsets[row];
  const int64_t visible = args.slot_offsets[row + 1] - args.slot_offsets[row];
  const int64_t seen_from = visible > args.window ? visible - args.window : 0;
  const int64_t begin = stretch_index * kStretch;
  const int64_t end = begin + kStretch < visible ? begin + kStretch : visible;
  const int64_t q_row = (row * args.heads + first_head) * form.D;
  const int mine = static_cast<int>(threadIdx.x), head = mine / kPartialSums, partial = mine % kPartialSums;
  Stretch stretch = empty_stretch();
  float sums[kDecodeHeads][2];
  SC_UNROLL
  for (int h = 0; h < kDecodeHeads; ++h) sums[h][0] = sums[h][1] = 0.0f;

  for (int64_t at = begin > seen_from ? begin : seen_from / kTile * kTile; at < end; at += kTile) {
    const int count = static_cast<int>(end - at < kTile ? end - at : kTile);
    const int unseen = seen_from > at ? static_cast<int>(seen_from - at) : 0;
    if (mine < kTile) memory->slots[mine] = mine < count ? (slots[at + mine] * args.kv_heads + kv_head) * form.D : -1;
    float dots[4];
    score_entries(args, q_row, heads, form, memory, dots);
    SC_UNROLL
    for (int u = 0; u < 4; ++u)
      memory->weights[mine % kTile * kDecodeHeads + mine / kTile * 4 + u] = __fmul_rn(args.scale, dots[u]);
    __syncthreads();
    float scores[4];
    bool seen[4];
    SC_UNROLL
    for (int w = 0; w < 4; ++w) {
      const int entry = partial + kPartialSums * w;
      scores[w] = memory->weights[entry * kDecodeHeads + head];
      seen[w] = entry >= unseen && entry < count;
    }
    const float factor = stretch.take(scores, seen);
    SC_UNROLL
    for (int w = 0; w < 4; ++w) memory->weights[(partial + kPartialSums * w) * kDecodeHeads + head] = scores[w];
    if (partial == 0) memory->factor[head] = factor;
    __syncthreads();
    SC_UNROLL
    for (int h = 0; h < kDecodeHeads; ++h) sums[h][0] *= memory->factor[h], sums[h][1] *= memory->factor[h];
    SC_UNROLL
    for (int c = 0; c < 2; ++c) {
      const int d = column + c * kDecodeThreads + mine;
      if (d >= form.D) continue;
      for (int entry = unseen; entry < count; ++entry) {
        const float value = args.values[memory->slots[entry] + d];
        const float4 low = float4_at(memory->weights + entry * kDecodeHeads);
        const float4 high = float4_at(memory->weights + entry * kDecodeHeads + 4);
        const float weights[kDecodeHeads] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
        SC_UNROLL
        for (int h = 0; h < kDecodeHeads; ++h) sums[h][c] = fmaf(weights[h], value, sums[h][c]);
      }
    }
    __syncthreads();
  }

  const float sum = reduce_sixteen(stretch.sum, Add{});
  const int64_t place = (first_stretch(args, row) + stretch_index) * args.heads + first_head;
  if (partial == 0 && head < heads && column == 0) {
    stretches.top[place + head] = stretch.top;
    stretches.sum[place + head] = sum;
  }
  SC_UNROLL
  for (int h = 0; h < kDecodeHeads; ++h) {
    SC_UNROLL
    for (int c = 0; c < 2; ++c) {
      const int d = column + c * kDecodeThreads + mine;
      if (h < heads && d < form.D) stretches.sums[(place + h) * form.D + d] = sums[h][c];
    }
  }
}

// Stretches of a row: those before `first` are outside its window.
struct Span {
  int64_t first, end;

  __device__ Span(const DecodeAttentionArgs& args, int64_t row) {
    const int64_t visible = args.slot_offsets[row + 1] - args.slot_offsets[row];
    first = visible > args.window ? (visible - args.window) / kStretch : 0;
    end = (visible + kStretch - 1) / kStretch;
  }
};

__global__ void __launch_bounds__(kDecodeThreads)
    attend_stretches(DecodeAttentionArgs args, int pieces, RowForm form, Stretches stretches) {
  __shared__ DecodeMemory memory;
  const int64_t place = blockIdx.x;
  int64_t row = 0;  // the last one that begins at or before `place`
  for (int64_t end = args.R; end - row > 1;) {
    const int64_t middle = row + (end - row) / 2;
    if (first_stretch(args, middle) <= place) {
      row = middle;
    } else {
      end = middle;
    }
  }
  const int64_t stretch = place - first_stretch(args, row);
  const Span span(args, row);
  if (stretch < span.first || stretch >= span.end) return;
  const int64_t group = args.heads / args.kv_heads, kv_head = blockIdx.y / static_cast<unsigned>(pieces);
  const int64_t head = static_cast<int64_t>(blockIdx.y % static_cast<unsigned>(pieces)) * kDecodeHeads;
  const int heads = static_cast<int>(group - head < kDecodeHeads ? group - head : kDecodeHeads);
  decode_stretch(args, row, stretch, kv_head * group + head, kv_head, heads, static_cast<int>(blockIdx.z) * kDecodeColumns,
                 form, stretches, &memory);
}

// A block for every row and head.
__global__ void join_stretches(DecodeAttentionArgs args, Stretches stretches) {
  const int64_t row = blockIdx.x, head = blockIdx.y;
  const Span span(args, row);
  const int64_t base = first_stretch(args, row);
  for (int64_t d = threadIdx.x; d < args.D; d += blockDim.x) {
    RowSoftmax softmax = nothing_seen();
    float out = 0.0f;
    for (int64_t stretch = span.first; stretch < span.end; ++stretch) {
      const int64_t at = (base + stretch) * args.heads + head;
      const Joint joint = softmax.join(stretches.top[at], stretches.sum[at]);
      out = joint(out, stretches.sums[at * args.D + d]);
    }
    args.out[(row * args.heads + head) * args.D + d] = out * (1.0f / softmax.sum);
  }
}

bool aligned(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; }

template <class... Pointers>
RowForm form_of(int64_t D, Pointers... pointers) {
  bool wide = D % 4 == 0;
  for (const void* pointer : {static_cast<const void*>(pointers)...}) wide = wide && aligned(pointer);
  return {static_cast<int>(D), wide};
}

unsigned pieces_of(int64_t count, int64_t size) { return static_cast<unsigned>((count + size - 1) / size); }

}  // namespace

int32_t tree_attention(const TreeAttentionArgs* args, ScStream stream, ScError* error) {
  Queue& queue = queue_of(stream);
  if (args->T == 0) return launched(&queue, "tree_attention", error);
  void* const memory = scratch(&queue, Forest::bytes(args->T), "tree_attention", error);
  if (!memory) return 1;
  const Forest forest(args->T, args->subtree_end, memory);
  explore(forest, queue.stream);
  const RowTiles tiles(args->heads, args->kv_heads);
  const RowForm form = form_of(args->D, args->q, args->k, args->v, args->out);
  const unsigned pieces = static_cast<unsigned>(args->kv_heads * tiles.pieces);
  const auto attend = [&](auto kernel, int64_t columns) {
    const Shape shape = {{tiles.blocks(args->T), pieces, kRunShares * pieces_of(args->D, columns)}, kTileThreads};
    launch(kernel, shape, queue.stream, *args, forest, tiles, form);
  };
  if (args->D <= kTile) {
    attend(attend_tree<1>, kTile);
  } else if (args->D <= 2 * kTile) {
    attend(attend_tree<2>, 2 * kTile);
  } else {
    attend(attend_tree<4>, 4 * kTile);
  }
  return launched(&queue, "tree_attention", error);
}

int32_t tree_attention_backward(const TreeAttentionBackwardArgs* args, ScStream stream, ScError* error) {
  Queue& queue = queue_of(stream);
  if (args->T == 0) return launched(&queue, "tree_attention_backward", error);
  const size_t forest_bytes = Forest::bytes(args->T);
  const size_t bytes = forest_bytes + static_cast<size_t>(args->T * args->heads) * sizeof(float);
  void* const memory = scratch(&queue, bytes, "tree_attention_backward", error);
  if (!memory) return 1;
  const Forest forest(args->T, args->subtree_end, memory);
  float* const means = reinterpret_cast<float*>(static_cast<char*>(memory) + forest_bytes);
  explore(forest, queue.stream);
  const RowForm form = form_of(args->D, args->q, args->k, args->v, args->out, args->dout, args->dq, args->dk, args->dv);
  launch(find_means, {pieces_of(args->T * args->heads, kTileThreads), kTileThreads}, queue.stream, *args, form, means);

  const RowTiles tiles(args->heads, args->kv_heads);
  const unsigned pieces = static_cast<unsigned>(args->kv_heads * tiles.pieces);
  const auto query_gradients = [&](auto kernel, int64_t columns) {
    const Shape shape = {{tiles.blocks(args->T), pieces, pieces_of(args->D, columns)}, kTileThreads};
    launch(kernel, shape, queue.stream, *args, forest, tiles, form, static_cast<const float*>(means));
  };
  const auto key_gradients = [&](auto kernel, int64_t columns) {
    const Shape shape = {{pieces_of(args->T, kTile), static_cast<unsigned>(args->kv_heads), pieces_of(args->D, columns)},
                         kTileThreads};
    launch(kernel, shape, queue.stream, *args, forest, form, static_cast<const float*>(means));
  };
  if (args->D <= kTile) {
    query_gradients(differentiate_queries<1>, kTile);
    key_gradients(differentiate_keys<1>, kTile);
  } else if (args->D <= 2 * kTile) {
    query_gradients(differentiate_queries<2>, 2 * kTile);
    key_gradients(differentiate_keys<2>, 2 * kTile);
  } else {
    query_gradients(differentiate_queries<4>, 4 * kTile);
    key_gradients(differentiate_keys<2>, 2 * kTile);
  }
  return launched(&queue, "tree_attention_backward", error);
}

int32_t decode_attention(const DecodeAttentionArgs* args, ScStream stream, ScError* error) {
  Queue& queue = queue_of(stream);
  if (args->R == 0) return launched(&queue, "decode_attention", error);
  const int64_t places = args->K / kStretch + args->R, heads = args->heads;
  const size_t floats = static_cast<size_t>(places * heads * (args->D + 2));
  float* const memory = static_cast<float*>(scratch(&queue, floats * sizeof(float), "decode_attention", error));
  if (!memory) return 1;
  const Stretches stretches = {memory, memory + places * heads, memory + 2 * places * heads};
  const RowForm form = form_of(args->D, args->q, args->keys, args->values, args->out);
  const int64_t group = heads / args->kv_heads;
  const unsigned pieces = pieces_of(group, kDecodeHeads);
  const Shape shape = {
      {static_cast<unsigned>(places), static_cast<unsigned>(args->kv_heads) * pieces, pieces_of(args->D, kDecodeColumns)},
      kDecodeThreads};
  launch(attend_stretches, shape, queue.stream, *args, static_cast<int>(pieces), form, stretches);
  const dim3 rows = {static_cast<unsigned>(args->R), static_cast<unsigned>(heads)};
  launch(join_stretches, {rows, kDecodeThreads}, queue.stream, *args, stretches);
  return launched(&queue, "decode_attention", error);
}

}  // namespace gpu
