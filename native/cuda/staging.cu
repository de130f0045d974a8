#include <string.h>

#include <algorithm>
#include <new>
#include <vector>

#include "staging.cuh"

namespace gpu {

namespace {

// A small array goes into what is left of a chunk, so that many of them are enqueued before one has to wait for the device.
constexpr int kChunks = 4;
constexpr size_t kChunkBytes = size_t{1} << 20;
constexpr size_t kAlignment = 64;  // of what a chunk holds

// What a download brought into a chunk, and where it belongs.
struct Piece {
  char* to;
  const char* from;
  size_t bytes;
};

struct Chunk {
  char* memory;
  size_t used;
  bool full;           // `passed` was recorded after its last copy
  cudaEvent_t passed;  // may be reused from then on
  std::vector<Piece> pieces;

  void deliver() {
    for (const Piece& piece : pieces) memcpy(piece.to, piece.from, piece.bytes);
    empty();
  }
  void empty() {
    pieces.clear();
    used = 0;
    full = false;
  }
};

}  // namespace

struct Staging {
  char* memory;  // page-locked; null where the system has none, and copies go to and from the arrays themselves
  int latest;
  Chunk chunks[kChunks];
};

namespace {

void free_chunks(Staging* staging) {
  for (Chunk& chunk : staging->chunks)
    if (chunk.passed) cudaEventDestroy(chunk.passed);
  if (staging->memory) cudaFreeHost(staging->memory);
  staging->memory = nullptr;
}

// The chunks of a queue, made for its first copy; null where they cannot be.
Staging* staging_of(Queue* queue) {
  if (!queue->staging) {
    Staging* const staging = new (std::nothrow) Staging{};
    if (!staging) return nullptr;
    queue->staging = staging;
    void* memory = nullptr;
    cudaError_t made = cudaMallocHost(&memory, kChunks * kChunkBytes);
    staging->memory = made == cudaSuccess ? static_cast<char*>(memory) : nullptr;
    for (int i = 0; i < kChunks && made == cudaSuccess; ++i) {
      staging->chunks[i].memory = staging->memory + i * kChunkBytes;
      made = cudaEventCreateWithFlags(&staging->chunks[i].passed, cudaEventDisableTiming);
    }
    if (made != cudaSuccess) {
      cudaGetLastError();
      free_chunks(staging);
    }
  }
  return queue->staging->memory ? queue->staging : nullptr;
}

void forget(Staging* staging) {
  for (Chunk& chunk : staging->chunks) chunk.empty();
}

// A chunk with room: the latest, or the next one once the device has copied what is in it.
cudaError_t chunk_with_room(const Queue& queue, Staging* staging, Chunk** chunk) {
  Chunk* latest = &staging->chunks[staging->latest];
  if (latest->used == kChunkBytes) {
    if (const cudaError_t failed = cudaEventRecord(latest->passed, queue.stream)) return failed;
    latest->full = true;
    staging->latest = (staging->latest + 1) % kChunks;
    latest = &staging->chunks[staging->latest];
    if (latest->full) {
      if (const cudaError_t failed = cudaEventSynchronize(latest->passed)) return failed;
      latest->deliver();
    }
  }
  *chunk = latest;
  return cudaSuccess;
}

// Copies piece by piece: `copy(chunk, room, done, bytes)` has a place in a chunk and the range of the array that goes there.
template <typename Copy>
cudaError_t by_pieces(const Queue& queue, Staging* staging, size_t bytes, Copy copy) {
  for (size_t done = 0; done < bytes;) {
    Chunk* chunk = nullptr;
    cudaError_t result = chunk_with_room(queue, staging, &chunk);
    const size_t piece = result == cudaSuccess ? std::min(bytes - done, kChunkBytes - chunk->used) : 0;
    if (result == cudaSuccess) result = copy(chunk, chunk->memory + chunk->used, done, piece);
    if (result != cudaSuccess) {
      forget(staging);
      return result;
    }
    chunk->used += (piece + kAlignment - 1) / kAlignment * kAlignment;
    done += piece;
  }
  return cudaSuccess;
}

}  // namespace

cudaError_t staged_upload(Queue* queue, void* to, const void* from, size_t bytes) {
  Staging* const staging = staging_of(queue);
  if (!staging) return cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, queue->stream);
  return by_pieces(*queue, staging, bytes, [&](Chunk*, char* room, size_t done, size_t piece) {
    memcpy(room, static_cast<const char*>(from) + done, piece);
    return cudaMemcpyAsync(static_cast<char*>(to) + done, room, piece, cudaMemcpyHostToDevice, queue->stream);
  });
}

cudaError_t staged_download(Queue* queue, void* to, const void* from, size_t bytes) {
  Staging* const staging = staging_of(queue);
  if (!staging) return cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, queue->stream);
  return by_pieces(*queue, staging, bytes, [&](Chunk* chunk, char* room, size_t done, size_t piece) {
    chunk->pieces.push_back({static_cast<char*>(to) + done, room, piece});
    return cudaMemcpyAsync(room, static_cast<const char*>(from) + done, piece, cudaMemcpyDeviceToHost, queue->stream);
  });
}

void finish_staged(Queue* queue, cudaError_t waited) {
  if (!queue->staging) return;
  if (waited != cudaSuccess) return forget(queue->staging);
  for (Chunk& chunk : queue->staging->chunks) chunk.deliver();
}

void close_staging(Queue* queue) {
  if (!queue->staging) return;
  free_chunks(queue->staging);
  delete queue->staging;
  queue->staging = nullptr;
}

}  // namespace gpu
