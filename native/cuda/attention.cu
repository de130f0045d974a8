// tree_attention, tree_attention_backward, decode_attention.
//
// tree_attention: a block takes rows of a run against their path (attention_runs.cuh). decode_attention: a block takes a
// stretch of a row's path for the heads that share a key/value head; a second kernel joins the stretches. Both take the same
// steps for a row (attention_softmax.cuh).

#include "attention_backward.cuh"
#include "attention_runs.cuh"
#include "attention_softmax.cuh"
#include "launch.cuh"
#include "queue.cuh"
#include "table.cuh"

namespace gpu {

namespace {

// ── tree_attention

template <int kColumnTiles>
__device__ void attend_run(const TreeAttentionArgs& args, const Forest& forest, const RunRows& rows, int column, RowForm form,
                           Path path, Tile* tile) {
  const RunLines lines(forest, rows, args.heads, args.window, form);
  Stretch stretch[2] = {empty_stretch(), empty_stretch()};
  RowSoftmax softmax[2] = {nothing_seen(), nothing_seen()};
  LineSums<kColumnTiles> sums;
  sums.reset();

  walk_path(forest, rows, args.kv_heads, args.window, form, path, tile, [&](int at, int count, bool last) {
    Products weights;
    dot_tile<kAcross>(args.q, lines.at, lines.busy, args.k, 0, count, form, tile, weights);
    each_product<kAcross>(weights, [&](float& score, int, int, int) { score = __fmul_rn(args.scale, score); });
    SC_UNROLL
    for (int u = 0; u < 2; ++u) sums.scale(u, stretch[u].take(weights, u, [&](int step) { return lines.sees(u, at + step); }));
    sums.add(weights, lines.busy, args.v, column, 0, count, form, tile);
    if (!last && (at + kTile) % kStretch != 0) return;
    SC_UNROLL
    for (int u = 0; u < 2; ++u) {
      const Joint joint = softmax[u].join(stretch[u].top, reduce_four(stretch[u].sum, Add{}));
      const float factor = last ? 1.0f / softmax[u].sum : 1.0f;
      stretch[u] = empty_stretch();
      if (lines.at[u] < 0) continue;
      // `out` keeps what the stretches before came to.
      sums.each_two(u, column, [&](int d, float2 added) {
        float* const out = args.out + lines.at[u];
        const float2 before = joint.before ? load_two(out, d, form) : make_float2(0.0f, 0.0f);
        store_two(out, d, form, make_float2(joint(before.x, added.x) * factor, joint(before.y, added.y) * factor));
      });
    }
    sums.reset();
  });
  if (column != 0 || threadIdx.x % 4 != 0) return;
  SC_UNROLL
  for (int u = 0; u < 2; ++u)
    if (lines.at[u] >= 0) args.lse[rows.row(line_of(u), args.heads)] = softmax[u].lse();
}

template <int kColumnTiles>
__global__ void __launch_bounds__(kTileThreads, 1)
    attend_tree(TreeAttentionArgs args, Forest forest, RowTiles tiles, RowForm form) {
  __shared__ Tile tile;
  __shared__ int32_t kept[Path::kKept];
  each_run_of_rows(forest, tiles, [&](const RunRows& rows, unsigned piece) {
    attend_run<kColumnTiles>(args, forest, rows, static_cast<int>(piece) * kColumnTiles * kTile, form, {kept}, &tile);
  });
}

// ── decode_attention

constexpr int kDecodeHeads = kWarpLines;
constexpr int kDecodeColumnTiles = 4;  // of D, for each block
constexpr int kDecodeColumns = kDecodeColumnTiles * kTile;

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

// All warps have the same heads as lines, and of 64 steps, or of 64 columns, two times eight each.
constexpr int kDecodeAcross = 2;
__device__ inline int first_across() { return static_cast<int>(threadIdx.x) / kWarp * 8 * kDecodeAcross; }
__device__ inline int head_of(int u) { return line_of(u) - first_line(); }

struct DecodeMemory {
  Tile tile;
  float scores[kTile][kDecodeHeads + 4];  // [step][head]
};

// One stretch of a row for up to 16 heads from first_head on, and 256 columns of the values.
__device__ void decode_stretch(const DecodeAttentionArgs& args, int64_t row, int64_t stretch_index, int64_t first_head,
                               int64_t kv_head, int heads, int column, RowForm form, const Stretches& stretches,
                               DecodeMemory* memory) {
  const int32_t* const slots = args.slots + args.slot_offsets[row];
  const int64_t visible = args.slot_offsets[row + 1] - args.slot_offsets[row];
  const int64_t seen_from = visible > args.window ? visible - args.window : 0;
  const int64_t begin = stretch_index * kStretch;
  const int64_t end = begin + kStretch < visible ? begin + kStretch : visible;
  const int mine = static_cast<int>(threadIdx.x);
  Tile* const tile = &memory->tile;
  Lines lines;
  Stretch stretch[2];
  SC_UNROLL
  for (int u = 0; u < 2; ++u) {
    lines[u] = head_of(u) < heads ? (row * args.heads + first_head + head_of(u)) * form.D : -1;
    stretch[u] = empty_stretch();
  }
  LineSums<kDecodeColumnTiles, kDecodeAcross> sums;
  sums.reset();

  for (int64_t at = begin > seen_from ? begin : seen_from / kTile * kTile; at < end; at += kTile) {
    const int count = static_cast<int>(end - at < kTile ? end - at : kTile);
    const int unseen = seen_from > at ? static_cast<int>(seen_from - at) : 0;
    __syncthreads();  // the steps before have been read
    if (mine < kTile) tile->steps[mine] = mine < count ? (slots[at + mine] * args.kv_heads + kv_head) * form.D : -1;
    ProductsOf<kDecodeAcross> dots;
    dot_tile<kDecodeAcross>(args.q, lines, true, args.keys, first_across(), count, form, tile, dots);
    each_product<kDecodeAcross>(dots, [&](float dot, int n, int u, int i) {
      memory->scores[first_across() + step_of(n, i)][head_of(u)] = __fmul_rn(args.scale, dot);
    });
    __syncthreads();
    Products weights;
    each_product<kAcross>(weights,
                          [&](float& score, int n, int u, int i) { score = memory->scores[step_of(n, i)][head_of(u)]; });
    SC_UNROLL
    for (int u = 0; u < 2; ++u)
      sums.scale(u, stretch[u].take(weights, u, [&](int step) { return step >= unseen && step < count; }));
    sums.add(weights, true, args.values, column, first_across(), count, form, tile);
  }

  const int64_t place = (first_stretch(args, row) + stretch_index) * args.heads + first_head;
  SC_UNROLL
  for (int u = 0; u < 2; ++u) {
    const float sum = reduce_four(stretch[u].sum, Add{});
    if (lines[u] < 0) continue;
    const int64_t at = place + head_of(u);
    if (mine < kWarp && mine % 4 == 0 && column == 0) {
      stretches.top[at] = stretch[u].top;
      stretches.sum[at] = sum;
    }
    sums.each_two(u, column + first_across(), [&](int d, float2 two) {
      if (d < form.D) stretches.sums[at * form.D + d] = two.x;
      if (d + 1 < form.D) stretches.sums[at * form.D + d + 1] = two.y;
    });
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

__global__ void __launch_bounds__(kTileThreads)
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
  args->D <= kTile ? attend(attend_tree<1>, kTile) : attend(attend_tree<2>, 2 * kTile);
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
  launch(find_means, {pieces_of(args->T * args->heads, kTile), kTileThreads}, queue.stream, *args, form, means);

  const RowTiles tiles(args->heads, args->kv_heads);
  const unsigned pieces = static_cast<unsigned>(args->kv_heads * tiles.pieces);
  const auto query_gradients = [&](auto kernel, int64_t columns) {
    const Shape shape = {{tiles.blocks(args->T), pieces, kRunShares * pieces_of(args->D, columns)}, kTileThreads};
    launch(kernel, shape, queue.stream, *args, forest, tiles, form, static_cast<const float*>(means));
  };
  args->D <= kTile ? query_gradients(differentiate_queries<1>, kTile) : query_gradients(differentiate_queries<2>, 2 * kTile);
  const unsigned of_keys = kRunShares * pieces_of(args->D, kTile);
  launch(differentiate_keys, {{pieces_of(args->T, kTile), static_cast<unsigned>(args->kv_heads), of_keys}, kTileThreads},
         queue.stream, *args, forest, form, static_cast<const float*>(means));
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
      kTileThreads};
  launch(attend_stretches, shape, queue.stream, *args, static_cast<int>(pieces), form, stretches);
  const dim3 rows = {static_cast<unsigned>(args->R), static_cast<unsigned>(heads)};
  launch(join_stretches, {rows, kTileThreads}, queue.stream, *args, stretches);
  return launched(&queue, "decode_attention", error);
}

}  // namespace gpu
