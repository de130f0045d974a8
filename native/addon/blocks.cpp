#include "blocks.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <map>
#include <mutex>
#include <new>

namespace {

constexpr size_t kAlignment = 64;
// From here on a block has pages of its own, which are zeroed when they are first touched and go back to the system at once.
constexpr size_t kOwnPages = size_t{1} << 20;

void* allocate_zeros(size_t bytes) {
  if (bytes < kOwnPages) return calloc(1, bytes);
  void* const pages = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return pages == MAP_FAILED ? nullptr : pages;
}

void free_zeros(void* allocated, size_t bytes) {
  if (bytes < kOwnPages)
    free(allocated);
  else
    munmap(allocated, bytes);
}

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
  void* const allocated = allocate_zeros(bytes + kAlignment);
  Block* const block = allocated ? new (std::nothrow) Block : nullptr;
  if (!block) {
    if (allocated) free_zeros(allocated, bytes + kAlignment);
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
  free_zeros(block->allocated, block->bytes + kAlignment);
  delete block;
}

size_t bytes_in_blocks() {
  Blocks& all = blocks();
  std::lock_guard<std::mutex> lock(all.mutex);
  return all.bytes;
}
