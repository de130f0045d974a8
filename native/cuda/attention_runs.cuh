// Runs: positions of a forest side by side, each the child of the one before. A block takes rows of a run with the heads that
// share a key/value head, so that all of them go along one path, of which it gathers the entries from subtree_end as it goes,
// 64 at a time.

#ifndef STEPCREDIT_CUDA_ATTENTION_RUNS_CUH
#define STEPCREDIT_CUDA_ATTENTION_RUNS_CUH

#include "attention_forest.cuh"

namespace gpu {

// Blocks that share the runs of some positions, in turn: short runs do not wait for each other.
constexpr int kRunShares = 4;

// body(first, next, piece) for the runs among the positions begin … end − 1 that fall to this block; blockIdx.z counts the
// shares of all pieces.
template <class Body>
__device__ inline void each_run(const Forest& forest, int begin, int end, const Body& body) {
  unsigned run = 0;
  for (int first = begin, next; first < end; first = next) {
    next = first + 1;
    while (next < end && forest.subtree_end[next - 1] > next) ++next;
    if (run++ % kRunShares == blockIdx.z % kRunShares) body(first, next, blockIdx.z / kRunShares);
  }
}

// How query rows are put into tiles: some positions with the heads of a key/value head, all of them or 64 at a time.
struct RowTiles {
  int64_t group;
  int heads;
  int pieces;
  int positions;

  RowTiles(int64_t all_heads, int64_t kv_heads)
      : group(all_heads / kv_heads),
        heads(static_cast<int>(group < kTile ? group : kTile)),
        pieces(static_cast<int>((group + heads - 1) / heads)),
        positions(kTile / heads) {}
  unsigned blocks(int64_t T) const { return static_cast<unsigned>((T + positions - 1) / positions); }
};

// The heads of a block, of which blockIdx.y counts the pieces of all key/value heads.
struct HeadsOfBlock {
  int kv_head, first, count;

  __device__ HeadsOfBlock(const RowTiles& tiles) : kv_head(static_cast<int>(blockIdx.y) / tiles.pieces) {
    const int group = static_cast<int>(tiles.group), begin = static_cast<int>(blockIdx.y) % tiles.pieces * tiles.heads;
    first = kv_head * group + begin;
    count = group - begin < tiles.heads ? group - begin : tiles.heads;
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

// body(rows, piece) for the runs of query rows that fall to this block.
template <class Body>
__device__ inline void each_run_of_rows(const Forest& forest, const RowTiles& tiles, const Body& body) {
  // Long paths first.
  const int begin = static_cast<int>(gridDim.x - 1 - blockIdx.x) * tiles.positions;
  const int end = begin + tiles.positions < forest.T ? begin + tiles.positions : static_cast<int>(forest.T);
  const HeadsOfBlock heads(tiles);
  each_run(forest, begin, end, [&](int first, int next, unsigned piece) {
    body(RunRows{first, next, heads.first, heads.kv_head, heads.count}, piece);
  });
}

// The first of the entries that a row sees of `visible`.
__device__ inline int first_seen(int visible, int64_t window) {
  return visible > window ? visible - static_cast<int>(window) : 0;
}

// The lane's lines among the rows of a run, with the entries of its path that they see.
struct RunLines {
  bool busy;  // whether the warp has any
  Lines at;
  int seen_from[2], seen_to[2];

  __device__ RunLines(const Forest& forest, const RunRows& rows, int64_t heads, int64_t window, RowForm form)
      : busy(first_line() < rows.count()) {
    SC_UNROLL
    for (int u = 0; u < 2; ++u) {
      const bool exists = line_of(u) < rows.count();
      const int line = exists ? line_of(u) : rows.count() - 1;
      at[u] = exists ? rows.row(line, heads) * form.D : -1;
      seen_to[u] = forest.depth[rows.first] + rows.position(line) - rows.first + 1;
      seen_from[u] = first_seen(seen_to[u], window);
    }
  }
  __device__ bool sees(int u, int entry) const { return entry >= seen_from[u] && entry < seen_to[u]; }
};

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

// body(at, count, last) for every 64 entries of a run's path from `at` on that some row sees: the keys of `count` are the steps
// of the tile.
template <class Body>
__device__ inline void walk_path(const Forest& forest, const RunRows& rows, int64_t kv_heads, int64_t window, RowForm form,
                                 Path path, Tile* tile, const Body& body) {
  const int depth = forest.depth[rows.first], entries = depth + rows.next - rows.first;
  const int mine = static_cast<int>(threadIdx.x);
  for (int at = first_seen(depth + 1, window) / kTile * kTile; at < entries; at += kTile) {
    const int count = entries - at < kTile ? entries - at : kTile;
    path.gather(forest, rows.first, rows.next, at + count);
    __syncthreads();  // the steps before have been read
    if (mine < kTile) tile->steps[mine] = mine < count ? (path.at(at + mine) * kv_heads + rows.kv_head) * form.D : -1;
    body(at, count, at + kTile >= entries);
  }
}

}  // namespace gpu

#endif
