// Memory that the library owns: what tensors lie in. A block is freed when its last use ends: the view that JavaScript has of
// it is one, every running call that reads or writes it another. Any thread may end a use.

#ifndef STEPCREDIT_ADDON_BLOCKS_H
#define STEPCREDIT_ADDON_BLOCKS_H

#include <stddef.h>

struct Block;

// A block of zeroed bytes, aligned to 64, with one use; null where there is no memory. Large blocks are zeroed by the system
// when they are first touched.
Block* allocate_block(size_t bytes);

void* block_memory(const Block* block);

// The block that an address lies in, with one more use; null where it is not the library's.
Block* use_block_of(const void* address);

void release_block(Block* block);

// Bytes of the blocks that are not freed yet, of all threads together.
size_t bytes_in_blocks();

#endif
