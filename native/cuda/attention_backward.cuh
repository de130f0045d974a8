// Gradients of tree attention, without atomics: dq in blocks of query rows, dk and dv in blocks of keys, both by runs. The rows
// that see a key lie side by side, from its own position to the end of its subtree.
//
// Order      dq: entries of the path, counted from its root. dk, dv: rows in packed order, the heads of a row in theirs,
//            counted from where the key's run would begin if it were as long as its path. So the bits of dq depend on the path
//            of a position alone, those of dk and dv on the path and the subtree.
//
//   p = exp(scale · q · k − lse)     ds = p (dout · v − mean) scale,  mean = dout · out
//   dq = Σ ds k over the keys        dk = Σ ds q,  dv = Σ p dout over the rows

#ifndef STEPCREDIT_CUDA_ATTENTION_BACKWARD_CUH
#define STEPCREDIT_CUDA_ATTENTION_BACKWARD_CUH

#include "../ops.h"
#include "attention_runs.cuh"

namespace gpu {

// means[row] = Σ_d dout[row, d] · out[row, d], as dot_tile makes it: a row that sees one key alone has out = v, so that
// dout · v − mean is 0. A warp has 16 rows, of whose products among each other it keeps those of a row with itself.
static __global__ void find_means(TreeAttentionBackwardArgs args, RowForm form, float* means) {
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kTile, rows = args.T * args.heads;
  Lines lines;
  SC_UNROLL
  for (int u = 0; u < 2; ++u) lines[u] = first + line_of(u) < rows ? (first + line_of(u)) * form.D : -1;
  ProductsOf<2> dots;
  clear<2>(dots);
  for (int d = 0; d < form.D; d += kDepth) {
    const SplitA<Bf16> a = load_lines(args.dout, lines, d, form), out = load_lines(args.out, lines, d, form);
    SC_UNROLL
    for (int u = 0; u < 2; ++u) {
      SplitB b;
      SC_UNROLL
      for (int term = 0; term < 3; ++term) b.terms[term] = {{out.terms[term].pairs[u], out.terms[term].pairs[u + 2]}};
      float sums[4] = {};
      mma_split(sums, a, b);
      SC_UNROLL
      for (int j = 0; j < 4; ++j) dots[u][j] += sums[j];
    }
  }
  each_product<2>(dots, [&](float dot, int n, int u, int i) {
    if (n == u && lines[u] >= 0 && first_line() + step_of(n, i) == line_of(u)) means[first + line_of(u)] = dot;
  });
}

// A query row as pairs need it.
struct PairRow {
  int32_t position, depth;
  float lse, mean;
};
__device__ inline PairRow no_row() { return {-1, 0, 0.0f, 0.0f}; }
__device__ inline PairRow pair_row(const TreeAttentionBackwardArgs& args, const Forest& forest, const float* means,
                                   int64_t row) {
  const int32_t position = static_cast<int32_t>(row / args.heads);
  return {position, forest.depth[position], args.lse[row], means[row]};
}

// A key as pairs need it; one that is not there is seen by nobody.
struct PairKey {
  int32_t position, depth, end;
};
__device__ inline PairKey pair_key(const Forest& forest, int64_t j) {
  const bool exists = j < forest.T;
  return {static_cast<int32_t>(j), exists ? forest.depth[j] : 0, exists ? forest.subtree_end[j] : 0};
}

__device__ inline bool sees(const PairRow& row, const PairKey& key, int64_t window) {
  return key.position <= row.position && row.position < key.end && row.depth - key.depth < window;
}

__device__ inline float probability(float dot, float scale, float lse) { return expf(__fmul_rn(dot, scale) - lse); }
__device__ inline float dscore(float p, float dot, float scale, float mean) { return seen_weight(p * (dot - mean) * scale); }

template <int kColumnTiles>
__device__ void differentiate_rows(const TreeAttentionBackwardArgs& args, const Forest& forest, const RunRows& rows, int column,
                                   RowForm form, const float* means, Path path, Tile* tile) {
  const RunLines lines(forest, rows, args.heads, args.window, form);
  float lse[2], mean[2];
  SC_UNROLL
  for (int u = 0; u < 2; ++u) {
    const bool exists = lines.at[u] >= 0;
    const int64_t row = exists ? rows.row(line_of(u), args.heads) : 0;
    lse[u] = exists ? args.lse[row] : 0.0f;
    mean[u] = exists ? means[row] : 0.0f;
  }
  LineSums<kColumnTiles> sums;
  sums.reset();
  walk_path(forest, rows, args.kv_heads, args.window, form, path, tile, [&](int at, int count, bool) {
    Products p, ds;
    dot_tile<kAcross>(args.q, lines.at, lines.busy, args.k, 0, count, form, tile, p);
    dot_tile<kAcross>(args.dout, lines.at, lines.busy, args.v, 0, count, form, tile, ds);
    each_product<kAcross>(ds, [&](float& of, int n, int u, int i) {
      const float weight = probability(p[n][2 * u + i], args.scale, lse[u]);
      of = lines.sees(u, at + step_of(n, i)) ? dscore(weight, of, args.scale, mean[u]) : kUnseen;
    });
    sums.add(ds, lines.busy, args.k, column, 0, count, form, tile);
  });
  sums.store(args.dq, lines.at, column, form);
}

template <int kColumnTiles>
__global__ void __launch_bounds__(kTileThreads, 1)
    differentiate_queries(TreeAttentionBackwardArgs args, Forest forest, RowTiles tiles, RowForm form, const float* means) {
  __shared__ Tile tile;
  __shared__ int32_t kept[Path::kKept];
  each_run_of_rows(forest, tiles, [&](const RunRows& rows, unsigned piece) {
    differentiate_rows<kColumnTiles>(args, forest, rows, static_cast<int>(piece) * kColumnTiles * kTile, form, means, {kept},
                                     &tile);
  });
}

// Whether one of 64 positions from `first` on, below `end`, has condition(position). The same in every thread of the block,
// whose warps all look.
template <class Condition>
__device__ inline bool any_position(int64_t first, int64_t end, const Condition& condition) {
  bool found = false;
  for (int64_t i = first + threadIdx.x % kWarp; i < first + kTile; i += kWarp) found = found || (i < end && condition(i));
  return __any_sync(kAllLanes, found) != 0;
}

struct KeyTile {
  Tile tile;
  PairRow rows[kTile];              // of the steps
  float weights[kTile][kTile + 4];  // [step][line]: what a lane keeps for itself while it makes other products
};

// Keys first … next − 1 of a run, and 64 columns of their gradients: the sums of more would not stay in registers.
__device__ inline void differentiate_keys_of_run(const TreeAttentionBackwardArgs& args, const Forest& forest, int first,
                                                 int next, int column, RowForm form, const float* means, KeyTile* memory) {
  Tile* const tile = &memory->tile;
  const int64_t kv_head = blockIdx.y, group = args.heads / args.kv_heads;
  const int mine = static_cast<int>(threadIdx.x);
  const bool busy = first + first_line() < next;
  Lines lines;
  PairKey keys[2];
  SC_UNROLL
  for (int u = 0; u < 2; ++u) {
    const int64_t key = first + line_of(u);
    lines[u] = key < next ? (key * args.kv_heads + kv_head) * form.D : -1;
    keys[u] = pair_key(forest, key < next ? key : forest.T);
  }
  LineSums<1> dk, dv;
  dk.reset();
  dv.reset();
  // Rows are counted by position and head, from a position on that lies as far before a key as its path is long.
  const int depth = forest.depth[first], origin = first - depth;
  const int64_t rows_end = (forest.subtree_end[first] - origin) * group;
  for (int64_t at = depth * group / kTile * kTile; at < rows_end; at += kTile) {
    const int count = static_cast<int>(rows_end - at < kTile ? rows_end - at : kTile);
    if (args.window < args.T) {
      const int deepest = forest.depth[next - 1];
      const int64_t begin = origin + at / group, end = origin + (at + count - 1) / group + 1;
      if (!any_position(begin, end, [&](int64_t i) { return i >= first && forest.depth[i] - deepest < args.window; })) continue;
    }
    __syncthreads();  // the steps before have been read
    if (mine < kTile) {
      const int64_t position = origin + (at + mine) / group;
      const int64_t row = position * args.heads + kv_head * group + (at + mine) % group;
      const bool exists = mine < count && position >= first;
      tile->steps[mine] = exists ? row * form.D : -1;
      memory->rows[mine] = exists ? pair_row(args, forest, means, row) : no_row();
    }
    Products weights;
    dot_tile<kAcross>(args.k, lines, busy, args.q, 0, count, form, tile, weights);
    each_product<kAcross>(weights, [&](float& weight, int n, int u, int i) {
      const PairRow& row = memory->rows[step_of(n, i)];
      weight = sees(row, keys[u], args.window) ? probability(weight, args.scale, row.lse) : kUnseen;
      memory->weights[step_of(n, i)][line_of(u)] = weight;
    });
    dv.add(weights, busy, args.dout, column, 0, count, form, tile);
    dot_tile<kAcross>(args.v, lines, busy, args.dout, 0, count, form, tile, weights);
    each_product<kAcross>(weights, [&](float& weight, int n, int u, int i) {
      const int step = step_of(n, i);
      const float p = memory->weights[step][line_of(u)];
      weight = is_seen(p) ? dscore(p, weight, args.scale, memory->rows[step].mean) : kUnseen;
    });
    dk.add(weights, busy, args.q, column, 0, count, form, tile);
  }
  dk.store(args.dk, lines, column, form);
  dv.store(args.dv, lines, column, form);
}

static __global__ void __launch_bounds__(kTileThreads, 1)
    differentiate_keys(TreeAttentionBackwardArgs args, Forest forest, RowForm form, const float* means) {
  __shared__ KeyTile memory;
  const int begin = static_cast<int>(blockIdx.x) * kTile;
  const int end = begin + kTile < forest.T ? begin + kTile : static_cast<int>(forest.T);
  each_run(forest, begin, end, [&](int first, int next, unsigned piece) {
    differentiate_keys_of_run(args, forest, first, next, static_cast<int>(piece) * kTile, form, means, &memory);
  });
}

}  // namespace gpu

#endif
