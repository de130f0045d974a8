#include "simt.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <memory>
#include <vector>

// What the compiler has called where an address is no multiple of what its type asks for, with where that is; its name is the
// compiler's.
struct Misaligned {
  const char* file;
  uint32_t line, column;
  const void* type;
  unsigned char log_alignment;
};

extern "C" void __ubsan_handle_type_mismatch_v1_abort(void* where, void* address) {
  const Misaligned& found = *static_cast<const Misaligned*>(where);
  fprintf(stderr, "simt: %s:%u: the address %p is no multiple of %u\n", found.file, found.line, address,
          1u << found.log_alignment);
  abort();
}

namespace simt {

thread_local Place here;

namespace {

constexpr unsigned kWarp = 32;
constexpr size_t kStackBytes = 256 << 10;

enum class Wait { kNone, kBlock, kWarpBarrier, kBallot, kShuffle, kEnded };

const char* name_of(Wait wait) {
  switch (wait) {
    case Wait::kBlock:
      return "__syncthreads";
    case Wait::kWarpBarrier:
      return "__syncwarp";
    case Wait::kBallot:
      return "a vote";
    case Wait::kShuffle:
      return "a shuffle";
    case Wait::kEnded:
      return "the end of the kernel";
    default:
      return "nothing";
  }
}

[[noreturn]] void broken(const char* what, unsigned block, unsigned thread, Wait wait) {
  fprintf(stderr, "simt: %s (block %u, thread %u, at %s)\n", what, block, thread, name_of(wait));
  abort();
}

struct Fiber {
  jmp_buf at;
  void* stack = nullptr;
  bool begun = false;
  Wait wait = Wait::kNone;
  unsigned mask = 0;
  unsigned source = 0;
  unsigned votes = 0;
  bool vote = false;
  alignas(16) char value[16];
  alignas(16) char received[16];

  Fiber() {
    stack = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack == MAP_FAILED) broken("no memory for a fiber", 0, 0, Wait::kNone);
  }
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;
  ~Fiber() { munmap(stack, kStackBytes); }
};

// The fibers of this thread, kept from launch to launch.
struct Scheduler {
  std::vector<std::unique_ptr<Fiber>> fibers;
  std::vector<char> shared;
  const std::function<void()>* kernel = nullptr;
  jmp_buf home;
  ucontext_t origin;
  unsigned running = 0;
  unsigned count = 0;
  unsigned block = 0;

  Fiber& of(unsigned thread) { return *fibers[thread]; }
  [[noreturn]] void complain(const char* what, unsigned thread) { broken(what, block, thread, of(thread).wait); }
};
thread_local Scheduler scheduler;

void enter() {
  for (;;) {
    (*scheduler.kernel)();
    Fiber& fiber = scheduler.of(scheduler.running);
    fiber.wait = Wait::kEnded;
    if (_setjmp(fiber.at) == 0) _longjmp(scheduler.home, 1);
  }
}

dim3 place_in(unsigned index, dim3 size) { return {index % size.x, index / size.x % size.y, index / (size.x * size.y)}; }

// Runs a fiber until it waits for others or ends.
void resume(unsigned thread) {
  Scheduler& all = scheduler;
  Fiber& fiber = all.of(thread);
  all.running = thread;
  fiber.wait = Wait::kNone;
  here.thread = place_in(thread, here.threads);
  if (_setjmp(all.home) != 0) return;
  if (fiber.begun) _longjmp(fiber.at, 1);
  fiber.begun = true;
  ucontext_t context;
  getcontext(&context);
  context.uc_stack = {fiber.stack, 0, kStackBytes};
  context.uc_link = nullptr;
  makecontext(&context, enter, 0);
  swapcontext(&all.origin, &context);
}

void wait_for_others(Wait wait) {
  Fiber& fiber = scheduler.of(scheduler.running);
  fiber.wait = wait;
  if (_setjmp(fiber.at) == 0) _longjmp(scheduler.home, 1);
}

// Completes the collective call that `thread` waits in, if all lanes of its mask have come; whether it did.
bool complete_warp(unsigned thread) {
  Scheduler& all = scheduler;
  const Fiber& asking = all.of(thread);
  const unsigned first = thread / kWarp * kWarp;
  if (!(asking.mask >> (thread - first) & 1)) all.complain("a lane calls with a mask that it is not in", thread);
  unsigned votes = 0;
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    if (!(asking.mask >> lane & 1)) continue;
    if (first + lane >= all.count) {
      if (asking.mask == 0xffffffffu) continue;  // the missing lanes of the block's last warp
      all.complain("the mask names a lane that is not there", thread);
    }
    const Fiber& other = all.of(first + lane);
    if (other.wait == Wait::kEnded) all.complain("a lane of the mask has ended", thread);
    if (other.wait == Wait::kBlock) return false;
    if (other.wait == Wait::kNone) return false;
    if (other.wait != asking.wait) all.complain("the lanes of a mask call different things", thread);
    if (other.mask != asking.mask) all.complain("the lanes of a warp call with different masks", thread);
    votes |= static_cast<unsigned>(other.vote) << lane;
  }
  const unsigned mask = asking.mask;
  const Wait wait = asking.wait;
  for (unsigned lane = 0; lane < kWarp && first + lane < all.count; ++lane) {
    if (!(mask >> lane & 1)) continue;
    Fiber& fiber = all.of(first + lane);
    fiber.votes = votes;
    if (wait != Wait::kShuffle) continue;
    if (!(mask >> fiber.source & 1) || first + fiber.source >= all.count)
      all.complain("a shuffle reads a lane that takes no part in it", first + lane);
    memcpy(fiber.received, all.of(first + fiber.source).value, sizeof fiber.received);
  }
  for (unsigned lane = 0; lane < kWarp && first + lane < all.count; ++lane)
    if (mask >> lane & 1) all.of(first + lane).wait = Wait::kNone;
  return true;
}

// Releases what can go on where every fiber waits; false where all have ended.
bool release() {
  Scheduler& all = scheduler;
  bool released = false;
  unsigned ended = 0, at_block = 0;
  for (unsigned thread = 0; thread < all.count; ++thread) {
    const Wait wait = all.of(thread).wait;
    if (wait == Wait::kEnded) {
      ended++;
    } else if (wait == Wait::kBlock) {
      at_block++;
    } else if (wait != Wait::kNone) {
      released = complete_warp(thread) || released;
    }
  }
  if (ended == all.count) return false;
  if (released) return true;
  for (unsigned thread = 0; thread < all.count; ++thread)
    if (all.of(thread).wait != Wait::kBlock) {
      if (at_block > 0 || all.of(thread).wait != Wait::kEnded)
        all.complain("the threads of a block wait for each other", thread);
    }
  unsigned votes = 0;
  for (unsigned thread = 0; thread < all.count; ++thread) votes += all.of(thread).vote;
  for (unsigned thread = 0; thread < all.count; ++thread) {
    all.of(thread).votes = votes;
    all.of(thread).wait = Wait::kNone;
  }
  return true;
}

void run_block(bool backward) {
  Scheduler& all = scheduler;
  for (unsigned thread = 0; thread < all.count; ++thread) all.of(thread).wait = Wait::kNone;
  memset(all.shared.data(), 0xff, all.shared.size());
  do {
    for (unsigned i = 0; i < all.count; ++i) {
      const unsigned thread = backward ? all.count - 1 - i : i;
      if (all.of(thread).wait == Wait::kNone) resume(thread);
    }
  } while (release());
}

}  // namespace

void run(dim3 blocks, dim3 threads, size_t shared_bytes, const std::function<void()>& kernel) {
  static const bool backward = [] {
    const char* const order = getenv("STEPCREDIT_SIMT_ORDER");
    return order && strcmp(order, "backward") == 0;
  }();
  Scheduler& all = scheduler;
  all.count = threads.x * threads.y * threads.z;
  if (blocks.y > 65535 || blocks.z > 65535) broken("a grid has more than 65535 blocks in y or z", 0, 0, Wait::kNone);
  if (all.count == 0 || all.count > 1024) broken("a block has 1 to 1024 threads", 0, all.count, Wait::kNone);
  while (all.fibers.size() < all.count) all.fibers.push_back(std::make_unique<Fiber>());
  all.shared.resize(shared_bytes + 16);
  all.kernel = &kernel;
  here = {dim3(0, 0, 0), dim3(0, 0, 0), threads, blocks};
  const unsigned grid = blocks.x * blocks.y * blocks.z;
  for (unsigned i = 0; i < grid; ++i) {
    all.block = backward ? grid - 1 - i : i;
    here.block = place_in(all.block, blocks);
    run_block(backward);
  }
}

void* dynamic_shared() {
  const uintptr_t start = reinterpret_cast<uintptr_t>(scheduler.shared.data());
  return reinterpret_cast<void*>((start + 15) / 16 * 16);
}

void block_barrier() { wait_for_others(Wait::kBlock); }

int block_count(bool vote) {
  Fiber& fiber = scheduler.of(scheduler.running);
  fiber.vote = vote;
  wait_for_others(Wait::kBlock);
  return static_cast<int>(fiber.votes);
}

void warp_barrier(unsigned mask) {
  scheduler.of(scheduler.running).mask = mask;
  wait_for_others(Wait::kWarpBarrier);
}

unsigned ballot(unsigned mask, bool vote) {
  Fiber& fiber = scheduler.of(scheduler.running);
  fiber.mask = mask;
  fiber.vote = vote;
  wait_for_others(Wait::kBallot);
  return fiber.votes;
}

void shuffle(unsigned mask, void* value, size_t bytes, unsigned source) {
  Fiber& fiber = scheduler.of(scheduler.running);
  fiber.mask = mask;
  fiber.source = source;
  memcpy(fiber.value, value, bytes);
  wait_for_others(Wait::kShuffle);
  memcpy(value, fiber.received, bytes);
}

unsigned lane() { return scheduler.running % kWarp; }

const void* const* brought(const void* value) {
  static thread_local const void* of_lanes[1024];
  const unsigned thread = scheduler.running;
  of_lanes[thread] = value;
  warp_barrier(0xffffffffu);
  return of_lanes + thread / kWarp * kWarp;
}

}  // namespace simt
