#include "blocks.h"

#include <stdint.h>
#include <stdlib.h>

#include <map>
#include <mutex>
#include <new>

namespace {

constexpr size_t kAlignment = 64;

}  // namespace

struct Block {
  void* allocated;
  void* memory;
  size_t bytes;
  int64_t uses;
};

namespace {

struct Blocks {
  std::mutex mutex;
  std::map<uintptr_t, Block*> by_address;
  size_t bytes = 0;
};

// Never destroyed: finalizers may run after static objects are gone.
Blocks& blocks() {
  static Blocks* const instance = new Blocks;
  return *instance;
}

}  // namespace

Block* allocate_block(size_t bytes) {
  if (bytes > SIZE_MAX - kAlignment) return nullptr;
  void* const allocated = calloc(1, bytes + kAlignment);
  Block* const block = allocated ? new (std::nothrow) Block : nullptr;
  if (!block) {
    free(allocated);
    return nullptr;
  }
  const uintptr_t address = (reinterpret_cast<uintptr_t>(allocated) + kAlignment - 1) / kAlignment * kAlignment;
  *block = {allocated, reinterpret_cast<void*>(address), bytes, 1};
  Blocks& all = blocks();
  std::lock_guard<std::mutex> lock(all.mutex);
  all.by_address.emplace(address, block);
  all.bytes += bytes;
  return block;
}

void* block_memory(const Block* block) { return block->memory; }

Block* use_block_of(const void* address) {
  const uintptr_t wanted = reinterpret_cast<uintptr_t>(address);
  Blocks& all = blocks();
  std::lock_guard<std::mutex> lock(all.mutex);
  auto after = all.by_address.upper_bound(wanted);
  if (after == all.by_address.begin()) return nullptr;
  Block* const block = (--after)->second;
  if (wanted - after->first >= block->bytes) return nullptr;
  block->uses++;
  return block;
}

void release_block(Block* block) {
  {
    Blocks& all = blocks();
    std::lock_guard<std::mutex> lock(all.mutex);
    if (--block->uses > 0) return;
    all.by_address.erase(reinterpret_cast<uintptr_t>(block->memory));
    all.bytes -= block->bytes;
  }
  free(block->allocated);
  delete block;
}

size_t bytes_in_blocks() {
  Blocks& all = blocks();
  std::lock_guard<std::mutex> lock(all.mutex);
  return all.bytes;
}
