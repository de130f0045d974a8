// tree_attention, tree_attention_backward, decode_attention.
//
// Packed positions are visited in depth-first order with the path to the current one on a stack (attention_rows.h): a position
// takes the entry of its depth, which drops whatever branch was there, and its row sees the last of the entries up to its own,
// as many as the window holds. Nothing of a shared prefix is gathered again for another branch. A run of positions, each the
// child of the one before, is loaded at once and its rows are computed in tiles.

#include "attention_rows.h"
#include "cpu.h"
#include "scratch.h"

namespace SC_ISA {

namespace {

// Scores of a work item, about 20 µs at D = 16: enough to hide its start, few enough to share out.
constexpr int64_t kItemScores = 8192;

// The forest as the walk needs it, and where it is cut into work items.
struct Walk {
  int32_t* parent;  // [T] −1: a root
  int32_t* depth;   // [T]
  int32_t* starts;  // [chunks + 1]
  int64_t chunks;
  int64_t longest;  // entries of the longest path
};

void free_walk(Walk* walk) { free(walk->parent); }

// Chunks hold whole trees, or else also parts of trees that are large enough to make loading the path to their first
// position cheap.
int32_t plan_walk(const int32_t* subtree_end, int64_t T, int64_t window, bool whole_trees, Walk* walk, ScError* error) {
  walk->parent = static_cast<int32_t*>(malloc(static_cast<size_t>(3 * T + 1) * sizeof(int32_t)));
  if (!walk->parent) return fail(error, "no memory for the depths of the positions");
  walk->depth = walk->parent + T;
  walk->starts = walk->depth + T;
  walk->chunks = 0;
  walk->longest = 0;
  int64_t scores = 0;
  for (int64_t i = 0, top = -1; i < T; ++i) {
    while (top >= 0 && subtree_end[top] <= i) top = walk->parent[top];
    if (subtree_end[i] <= i || subtree_end[i] > (top < 0 ? T : subtree_end[top])) {
      free_walk(walk);
      return fail(error, "expected subtreeEnd [T] to be nested intervals that begin at their positions");
    }
    const int64_t depth = top < 0 ? 0 : walk->depth[top] + 1;
    walk->parent[i] = static_cast<int32_t>(top);
    walk->depth[i] = static_cast<int32_t>(depth);
    top = i;
    const bool cut = depth == 0 ? scores >= kItemScores / 2 : !whole_trees && scores >= kItemScores + 64 * depth;
    if (i == 0 || cut) {
      walk->starts[walk->chunks++] = static_cast<int32_t>(i);
      scores = 0;
    }
    scores += smaller(depth + 1, window);
    walk->longest = larger(walk->longest, depth + 1);
  }
  walk->starts[walk->chunks] = static_cast<int32_t>(T);
  return 0;
}

// The end of the run that begins at i.
int64_t run_end(const Walk& walk, int64_t i, int64_t limit) {
  int64_t end = i + 1;
  while (end < limit && walk.parent[end] == end - 1) ++end;
  return end;
}

// Scratch memory is handed out in pieces of whole cache lines.
struct Pieces {
  size_t bytes;
  char* memory;  // null while sizes are added up

  void* take(size_t wanted) {
    void* const piece = memory ? memory + bytes : nullptr;
    bytes += (wanted + 63) / 64 * 64;
    return piece;
  }
  float* floats(int64_t count) { return static_cast<float*>(take(static_cast<size_t>(count) * sizeof(float))); }
  int32_t* ints(int64_t count) { return static_cast<int32_t*>(take(static_cast<size_t>(count) * sizeof(int32_t))); }
};

// What a worker of the forward passes holds.
struct ForwardScratch {
  int64_t stride;
  int32_t* path;
  float* key_panels;
  float* value_rows;
  float* scores;
  float* sums;

  ForwardScratch(Pieces* pieces, int64_t longest, int64_t D)
      : stride(whole_vectors(longest) + kLanes),
        path(pieces->ints(longest)),
        key_panels(pieces->floats(whole_vectors(longest) * D)),
        value_rows(pieces->floats(longest * whole_vectors(D))),
        scores(pieces->floats(kTileRows * stride)),
        sums(pieces->floats(kTileRows * whole_vectors(D))) {}

  // Entries begin … end of the path, whose ids are in place.
  void load_path(const Source& keys, const Source& values, int64_t begin, int64_t end, int64_t D) const {
    load_panels(keys, path, begin, end, D, key_panels);
    load_rows(values, path, begin, end, D, value_rows);
  }
};

size_t forward_scratch_bytes(int64_t longest, int64_t D) {
  Pieces sizes = {0, nullptr};
  ForwardScratch(&sizes, longest, D);
  return sizes.bytes;
}

// Positions begin … end for the query heads of one key/value head.
void tree_chunk(const TreeAttentionArgs& args, const Walk& walk, int64_t begin, int64_t end, int64_t kv_head, void* memory) {
  const int64_t D = args.D, group = args.heads / args.kv_heads;
  Pieces pieces = {0, static_cast<char*>(memory)};
  const ForwardScratch scratch(&pieces, walk.longest, D);
  const Source keys = {args.k + kv_head * D, args.kv_heads * D};
  const Source values = {args.v + kv_head * D, args.kv_heads * D};
  const PathStack stack = {D, scratch.key_panels, scratch.value_rows};

  for (int32_t j = walk.parent[begin]; j >= 0; j = walk.parent[j]) scratch.path[walk.depth[j]] = j;
  scratch.load_path(keys, values, 0, walk.depth[begin], D);
  for (int64_t first = begin, next; first < end; first = next) {
    next = run_end(walk, first, end);
    const int64_t depth = walk.depth[first], rows = (next - first) * group;
    for (int64_t i = first; i < next; ++i) scratch.path[depth + i - first] = static_cast<int32_t>(i);
    scratch.load_path(keys, values, depth, depth + next - first, D);
    for (int64_t row = 0; row < rows; row += kTileRows) {
      RowTile tile;
      tile.count = smaller(kTileRows, rows - row);
      for (int64_t r = 0; r < tile.count; ++r) {
        const int64_t i = (row + r) / group;
        const int64_t at = (first + i) * args.heads + kv_head * group + (row + r) % group;
        tile.see(r, depth + i + 1, args.window);
        tile.q[r] = args.q + at * D;
        tile.out[r] = args.out + at * D;
        tile.lse[r] = args.lse + at;
      }
      attend(stack, tile, args.scale, scratch.scores, scratch.stride, scratch.sums);
    }
  }
}

// What a worker of the backward holds. The gradients of the path's entries lie beside them; an entry's are complete, and
// written out, when its subtree has been left.
struct BackwardScratch {
  int64_t stride;
  int32_t* path;
  float* key_panels;
  float* value_panels;
  float* key_rows;
  float* dkey_rows;
  float* dvalue_rows;
  float* probabilities;  // [kBlockRows][stride], as dscores
  float* dscores;
  float* q;  // [kBlockRows][whole_vectors(D)], as dout and dq
  float* dout;
  float* dq;

  BackwardScratch(Pieces* pieces, int64_t longest, int64_t D)
      : stride(keys_per_block(D) + kLanes),
        path(pieces->ints(longest)),
        key_panels(pieces->floats(whole_vectors(longest) * D)),
        value_panels(pieces->floats(whole_vectors(longest) * D)),
        key_rows(pieces->floats(longest * whole_vectors(D))),
        dkey_rows(pieces->floats(longest * whole_vectors(D))),
        dvalue_rows(pieces->floats(longest * whole_vectors(D))),
        probabilities(pieces->floats(kBlockRows * stride)),
        dscores(pieces->floats(kBlockRows * stride)),
        q(pieces->floats(kBlockRows * whole_vectors(D))),
        dout(pieces->floats(kBlockRows * whole_vectors(D))),
        dq(pieces->floats(kBlockRows * whole_vectors(D))) {}
};

// Σ_d a[d] · b[d] by the chain of operations of dot_rows: a row that sees one key alone has out = v, so that its dp − mean is
// 0.
VecF chained_dot(const float* a, const float* b, int64_t D) {
  VecF sum = {};
  for (int64_t d = 0; d < D; ++d) sum = fma(splat(a[d]), splat(b[d]), sum);
  return sum;
}

// Some rows of a run and the path entries begin … end: their share of dq, and of the path's dk and dv.
template <int rows>
void backward_block(const TreeAttentionBackwardArgs& args, const BackwardScratch& scratch, const int64_t* at,
                    const Sight& sight, int64_t begin, int64_t end) {
  const int64_t D = args.D, padded = whole_vectors(D), stride = scratch.stride;
  const int64_t count = smaller(end, sight.end[rows - 1]) - begin;
  // Of the block: the first vector with an entry that a row sees.
  const int64_t skipped = larger(sight.first[0] - sight.first[0] % kLanes - begin, 0);
  if (skipped >= count) return;
  const float* q[rows];
  const float* dout[rows];
  for (int r = 0; r < rows; ++r) {
    q[r] = scratch.q + r * padded;
    dout[r] = scratch.dout + r * padded;
    copy_padded(args.q + at[r] * D, D, scratch.q + r * padded);
    copy_padded(args.dout + at[r] * D, D, scratch.dout + r * padded);
  }
  const int64_t panels = (begin + skipped) * D;
  dot_rows<rows>(scratch.key_panels + panels, count - skipped, D, args.scale, q, scratch.probabilities + skipped, stride);
  dot_rows<rows>(scratch.value_panels + panels, count - skipped, D, 1.0f, dout, scratch.dscores + skipped, stride);
  for (int r = 0; r < rows; ++r) {
    float* const p = scratch.probabilities + r * stride;
    float* const ds = scratch.dscores + r * stride;
    const VecF lse = splat(args.lse[at[r]]), scale = splat(args.scale);
    const VecF mean = chained_dot(dout[r], args.out + at[r] * D, D);  // Σ_j p_j · dp_j
    for (int64_t j = skipped; j < smaller(end, sight.end[r]) - begin; j += kLanes) {
      const VecF probability = exp(load(p + j) - lse);
      store(p + j, probability);
      store(ds + j, probability * (load(ds + j) - mean) * scale);
    }
  }
  // From here on in the numbering of the whole path.
  const float* const p = scratch.probabilities - begin;
  const float* const ds = scratch.dscores - begin;
  for (int r = 0; r < rows; ++r) {
    if (begin <= sight.first[0]) {  // the first block of which a row sees something
      for (int64_t d = 0; d < padded; d += kLanes) store(scratch.dq + r * padded + d, VecF{});
    } else {
      copy_padded(args.dq + at[r] * D, D, scratch.dq + r * padded);
    }
  }
  weigh_rows<rows>(scratch.key_rows, begin, end, sight, padded, ds, stride, scratch.dq);
  for (int r = 0; r < rows; ++r) copy_unpadded(scratch.dq + r * padded, D, 1.0f, args.dq + at[r] * D);
  spread_rows<rows>(scratch.q, ds, stride, begin, end, sight, padded, scratch.dkey_rows);
  spread_rows<rows>(scratch.dout, p, stride, begin, end, sight, padded, scratch.dvalue_rows);
}

// The trees begin … end for the query heads of one key/value head. An entry's dk and dv sum over the rows in packed order,
// the heads of a row in theirs.
void tree_backward_chunk(const TreeAttentionBackwardArgs& args, const Walk& walk, int64_t begin, int64_t end, int64_t kv_head,
                         void* memory) {
  const int64_t D = args.D, padded = whole_vectors(D), group = args.heads / args.kv_heads;
  Pieces pieces = {0, static_cast<char*>(memory)};
  const BackwardScratch scratch(&pieces, walk.longest, D);
  const Source keys = {args.k + kv_head * D, args.kv_heads * D};
  const Source values = {args.v + kv_head * D, args.kv_heads * D};
  int64_t entries = 0;
  auto leave_to = [&](int64_t depth) {
    for (int64_t j = depth; j < entries; ++j) {
      const int64_t at = (scratch.path[j] * args.kv_heads + kv_head) * D;
      copy_unpadded(scratch.dkey_rows + j * padded, D, 1.0f, args.dk + at);
      copy_unpadded(scratch.dvalue_rows + j * padded, D, 1.0f, args.dv + at);
    }
    entries = depth;
  };
  for (int64_t first = begin, next; first < end; first = next) {
    next = run_end(walk, first, end);
    const int64_t depth = walk.depth[first];
    leave_to(depth);
    entries = depth + next - first;
    for (int64_t i = first; i < next; ++i) scratch.path[depth + i - first] = static_cast<int32_t>(i);
    load_panels(keys, scratch.path, depth, entries, D, scratch.key_panels);
    load_panels(values, scratch.path, depth, entries, D, scratch.value_panels);
    load_rows(keys, scratch.path, depth, entries, D, scratch.key_rows);
    for (int64_t i = depth * padded; i < entries * padded; i += kLanes) {
      store(scratch.dkey_rows + i, VecF{});
      store(scratch.dvalue_rows + i, VecF{});
    }
    const int64_t block = keys_per_block(D);
    for (int64_t key = 0; key < entries; key += block) {
      for_row_blocks((next - first) * group, [&](auto rows, int64_t row) {
        int64_t at[rows.value], seen_from[rows.value], seen_to[rows.value];
        for (int r = 0; r < rows.value; ++r) {
          const int64_t i = (row + r) / group;
          at[r] = (first + i) * args.heads + kv_head * group + (row + r) % group;
          seen_to[r] = depth + i + 1;
          seen_from[r] = larger(seen_to[r] - args.window, 0);
        }
        backward_block<rows.value>(args, scratch, at, {seen_from, seen_to}, key, smaller(key + block, entries));
      });
    }
  }
  leave_to(0);
}

size_t backward_scratch_bytes(int64_t longest, int64_t D) {
  Pieces sizes = {0, nullptr};
  BackwardScratch(&sizes, longest, D);
  return sizes.bytes;
}

// Rows begin … end of a decoding batch for the query heads of one key/value head. What a row's path shares with the one
// before it stays on the stack.
void decode_chunk(const DecodeAttentionArgs& args, int64_t begin, int64_t end, int64_t kv_head, int64_t longest, void* memory) {
  const int64_t D = args.D, group = args.heads / args.kv_heads;
  Pieces pieces = {0, static_cast<char*>(memory)};
  const ForwardScratch scratch(&pieces, longest, D);
  const Source keys = {args.keys + kv_head * D, args.kv_heads * D};
  const Source values = {args.values + kv_head * D, args.kv_heads * D};
  const PathStack stack = {D, scratch.key_panels, scratch.value_rows};
  int64_t entries = 0;
  for (int64_t row = begin; row < end; ++row) {
    const int32_t* const slots = args.slots + args.slot_offsets[row];
    const int64_t visible = args.slot_offsets[row + 1] - args.slot_offsets[row];
    int64_t shared = 0;
    while (shared < entries && shared < visible && scratch.path[shared] == slots[shared]) ++shared;
    for (int64_t j = shared; j < visible; ++j) scratch.path[j] = slots[j];
    scratch.load_path(keys, values, shared, visible, D);
    entries = visible;
    for (int64_t head = 0; head < group; head += kTileRows) {
      RowTile tile;
      tile.count = smaller(kTileRows, group - head);
      for (int64_t r = 0; r < tile.count; ++r) {
        const int64_t at = row * args.heads + kv_head * group + head + r;
        tile.see(r, visible, args.window);
        tile.q[r] = args.q + at * D;
        tile.out[r] = args.out + at * D;
        tile.lse[r] = nullptr;
      }
      attend(stack, tile, args.scale, scratch.scores, scratch.stride, scratch.sums);
    }
  }
}

}  // namespace

int32_t tree_attention(const TreeAttentionArgs* args, ScStream, ScError* error) {
  Walk walk;
  if (const int32_t code = plan_walk(args->subtree_end, args->T, args->window, false, &walk, error)) return code;
  const int32_t code = parallel_with_scratch(
      walk.chunks * args->kv_heads, forward_scratch_bytes(walk.longest, args->D), error, [&](int64_t item, void* memory) {
        const int64_t chunk = item / args->kv_heads;
        tree_chunk(*args, walk, walk.starts[chunk], walk.starts[chunk + 1], item % args->kv_heads, memory);
      });
  free_walk(&walk);
  return code;
}

int32_t tree_attention_backward(const TreeAttentionBackwardArgs* args, ScStream, ScError* error) {
  Walk walk;
  if (const int32_t code = plan_walk(args->subtree_end, args->T, args->window, true, &walk, error)) return code;
  const int32_t code = parallel_with_scratch(
      walk.chunks * args->kv_heads, backward_scratch_bytes(walk.longest, args->D), error, [&](int64_t item, void* memory) {
        const int64_t chunk = item / args->kv_heads;
        tree_backward_chunk(*args, walk, walk.starts[chunk], walk.starts[chunk + 1], item % args->kv_heads, memory);
      });
  free_walk(&walk);
  return code;
}

int32_t decode_attention(const DecodeAttentionArgs* args, ScStream, ScError* error) {
  int64_t longest = 0;
  for (int64_t r = 0; r < args->R; ++r)
    longest = larger(longest, static_cast<int64_t>(args->slot_offsets[r + 1]) - args->slot_offsets[r]);
  // Neighbouring rows often share a prefix; long paths make work enough alone.
  const int64_t rows = larger(smaller(kItemScores / (longest + 1), 16), 1);
  const int64_t chunks = (args->R + rows - 1) / rows;
  return parallel_with_scratch(
      chunks * args->kv_heads, forward_scratch_bytes(longest, args->D), error, [&](int64_t item, void* memory) {
        const int64_t begin = item / args->kv_heads * rows;
        decode_chunk(*args, begin, smaller(begin + rows, args->R), item % args->kv_heads, longest, memory);
      });
}

}  // namespace SC_ISA
