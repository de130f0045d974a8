// Gradients of tree attention, without atomics: dq in blocks of query rows, dk and dv in blocks of keys. The rows that see a
// key lie side by side, from its own position to the end of its subtree. Every gradient is one chain of fma over its keys, or
// over its rows, in packed order, the heads of a row in theirs.
//
//   p = exp(scale · q · k − lse)     ds = p (dout · v − mean) scale,  mean = dout · out
//   dq = Σ ds k over the keys        dk = Σ ds q,  dv = Σ p dout over the rows

#ifndef STEPCREDIT_CUDA_ATTENTION_BACKWARD_CUH
#define STEPCREDIT_CUDA_ATTENTION_BACKWARD_CUH

#include "../ops.h"
#include "attention_forest.cuh"

namespace gpu {

// means[row] = Σ_d dout[row, d] · out[row, d], by the chain of dot_tile: a row that sees one key alone has out = v, so that
// dout · v − mean is 0.
static __global__ void find_means(TreeAttentionBackwardArgs args, RowForm form, float* means) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kTileThreads + threadIdx.x;
  if (row >= args.T * args.heads) return;
  float sum = 0.0f;
  for (int d = 0; d < form.D; d += 4) {
    const float4 a = load_four(args.dout + row * form.D, d, form), b = load_four(args.out + row * form.D, d, form);
    sum = fmaf(a.x, b.x, sum);
    sum = fmaf(a.y, b.y, sum);
    sum = fmaf(a.z, b.z, sum);
    sum = fmaf(a.w, b.w, sum);
  }
  means[row] = sum;
}

// A query row as pairs need it.
struct PairRow {
  int32_t position, depth;
  float lse, mean;

  __device__ PairRow(const TreeAttentionBackwardArgs& args, const Forest& forest, const float* means, int64_t row)
      : position(static_cast<int32_t>(row / args.heads)), depth(forest.depth[position]), lse(args.lse[row]), mean(means[row]) {}
  __device__ PairRow() : position(-1), depth(0), lse(0.0f), mean(0.0f) {}
};

// A key as pairs need it; one that is not there is seen by nobody.
struct PairKey {
  int32_t position, depth, end;

  __device__ PairKey(const Forest& forest, int64_t j)
      : position(static_cast<int32_t>(j)),
        depth(j < forest.T ? forest.depth[j] : 0),
        end(j < forest.T ? forest.subtree_end[j] : 0) {}
};

__device__ inline bool sees(const PairRow& row, const PairKey& key, int64_t window) {
  return key.position <= row.position && row.position < key.end && row.depth - key.depth < window;
}

__device__ inline float probability(float dot, float scale, const PairRow& row) {
  return expf(__fmul_rn(dot, scale) - row.lse);
}
__device__ inline float dscore(float p, float dot, float scale, float mean) { return seen_weight(p * (dot - mean) * scale); }

// Whether one of 64 positions from `first` on, below `end`, has condition(position). The same in every thread of the block,
// whose warps all look.
template <class Condition>
__device__ inline bool any_position(int64_t first, int64_t end, const Condition& condition) {
  bool found = false;
  for (int64_t i = first + threadIdx.x % kWarp; i < first + kTile; i += kWarp) found = found || (i < end && condition(i));
  return __any_sync(kAllLanes, found) != 0;
}

template <int kColumnTiles>
__global__ void __launch_bounds__(kTileThreads, kColumnTiles <= 2 ? 2 : 1)
    differentiate_queries(TreeAttentionBackwardArgs args, Forest forest, RowTiles tiles, RowForm form, const float* means) {
  __shared__ Tile tile;
  const int64_t begin = static_cast<int64_t>(gridDim.x - 1 - blockIdx.x) * tiles.positions;  // long paths first
  const int64_t end = begin + tiles.positions < args.T ? begin + tiles.positions : args.T;
  const HeadsOfBlock heads(tiles);
  const int64_t kv_head = heads.kv_head;
  const int count = static_cast<int>(end - begin) * heads.count, mine = static_cast<int>(threadIdx.x);
  const auto row_of = [&](int line) { return (begin + line / heads.count) * args.heads + heads.first + line % heads.count; };
  if (mine < kTile) tile.lines[mine] = mine < count ? row_of(mine) * form.D : -1;
  PairRow rows[kPerThread];
  SC_UNROLL
  for (int u = 0; u < kPerThread; ++u)
    if (first_line() + u < count) rows[u] = PairRow(args, forest, means, row_of(first_line() + u));
  const bool windowed = args.window < args.T;
  int shallowest = forest.depth[begin];
  for (int64_t i = begin + 1; windowed && i < end; ++i) shallowest = Least{}(shallowest, forest.depth[i]);

  const int column = static_cast<int>(blockIdx.z) * kColumnTiles * kTile;
  LineSums<kColumnTiles> sums;
  sums.clear();
  for (int64_t at = 0; at < end; at += kTile) {
    if (forest.latest_end[at / kTile] <= begin) continue;
    if (windowed && !any_position(at, end, [&](int64_t j) {
          return forest.subtree_end[j] > begin && shallowest - forest.depth[j] < args.window;
        }))
      continue;
    const int keys = static_cast<int>(end - at < kTile ? end - at : kTile);
    const bool partly = windowed || at + keys - 1 > begin || forest.earliest_end[at / kTile] < end;
    if (mine < kTile) tile.steps[mine] = mine < keys ? ((at + mine) * args.kv_heads + kv_head) * form.D : -1;
    float p[4][4], ds[4][4];
    dot_tile(args.q, args.k, form, &tile, p);
    dot_tile(args.dout, args.v, form, &tile, ds);
    SC_UNROLL
    for (int w = 0; w < 4; ++w) {
      const PairKey key(forest, at + step_of(w));
      SC_UNROLL
      for (int u = 0; u < kPerThread; ++u)
        ds[u][w] = sees(rows[u], key, args.window)
                       ? dscore(probability(p[u][w], args.scale, rows[u]), ds[u][w], args.scale, rows[u].mean)
                       : kUnseen;
    }
    store_weights(ds, &tile);
    sums.add(args.k, column, keys, partly, form, &tile);
  }
  sums.store(args.dq, column, form, tile);
}

template <int kColumnTiles>
__global__ void __launch_bounds__(kTileThreads, kColumnTiles == 1 ? 2 : 1)
    differentiate_keys(TreeAttentionBackwardArgs args, Forest forest, RowForm form, const float* means) {
  __shared__ Tile tile;
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * kTile, kv_head = blockIdx.y;
  const int64_t end = begin + kTile < args.T ? begin + kTile : args.T;
  const int64_t group = args.heads / args.kv_heads;
  const int mine = static_cast<int>(threadIdx.x);
  if (mine < kTile) tile.lines[mine] = begin + mine < end ? ((begin + mine) * args.kv_heads + kv_head) * form.D : -1;
  const bool windowed = args.window < args.T;
  int deepest = forest.depth[begin];
  for (int64_t j = begin + 1; windowed && j < end; ++j) deepest = Most{}(deepest, forest.depth[j]);
  const int earliest_end = forest.earliest_end[begin / kTile];

  const int column = static_cast<int>(blockIdx.z) * kColumnTiles * kTile;
  LineSums<kColumnTiles> dk, dv;
  dk.clear();
  dv.clear();
  // Rows of this key/value head are counted by position and head: row r is that of position r / group.
  const int64_t rows_end = forest.latest_end[begin / kTile] * group;
  for (int64_t at = begin * group; at < rows_end; at += kTile) {
    const int count = static_cast<int>(rows_end - at < kTile ? rows_end - at : kTile);
    const int64_t first = at / group, last = (at + count - 1) / group;
    if (windowed && !any_position(first, last + 1, [&](int64_t i) { return forest.depth[i] - deepest < args.window; }))
      continue;
    const bool partly = windowed || first < end - 1 || last >= earliest_end;
    const auto row_of = [&](int step) { return (at + step) / group * args.heads + kv_head * group + (at + step) % group; };
    if (mine < kTile) tile.steps[mine] = mine < count ? row_of(mine) * form.D : -1;
    float p[4][4], ds[4][4];
    dot_tile(args.k, args.q, form, &tile, p);
    SC_UNROLL
    for (int w = 0; w < 4; ++w) {
      const PairRow row = step_of(w) < count ? PairRow(args, forest, means, row_of(step_of(w))) : PairRow();
      SC_UNROLL
      for (int u = 0; u < kPerThread; ++u) {
        const bool seen = sees(row, PairKey(forest, begin + first_line() + u), args.window);
        p[u][w] = seen ? probability(p[u][w], args.scale, row) : kUnseen;
      }
    }
    store_weights(p, &tile);
    dv.add(args.dout, column, count, partly, form, &tile);
    dot_tile(args.v, args.dout, form, &tile, ds);
    load_weights(tile, p);
    SC_UNROLL
    for (int w = 0; w < 4; ++w) {
      const float mean = step_of(w) < count ? means[row_of(step_of(w))] : 0.0f;
      SC_UNROLL
      for (int u = 0; u < kPerThread; ++u) ds[u][w] = is_seen(p[u][w]) ? dscore(p[u][w], ds[u][w], args.scale, mean) : kUnseen;
    }
    store_weights(ds, &tile);
    dk.add(args.q, column, count, partly, form, &tile);
  }
  dk.store(args.dk, column, form, tile);
  dv.store(args.dv, column, form, tile);
}

}  // namespace gpu

#endif
