#include "pool.h"

#include <sched.h>
#include <stdlib.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace {

constexpr int32_t kMostThreads = 256;
// How long an idle thread polls before it sleeps: longer than the gap between two ops of one training step, short enough
// that an idle process uses no processor.
constexpr int kSpins = 20000;

inline void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ __volatile__("yield");
#endif
}

struct Pool {
  std::mutex calls;  // held by the one call that uses the threads
  std::mutex sleep;
  std::condition_variable wake;
  std::atomic<uint64_t> generation{0};
  std::atomic<int64_t> next{0};
  // A call is open while its fields hold. A helper counts itself in before it looks whether one is, so that the caller waits
  // for those who came, and never for one that the system has not let run yet.
  std::atomic<bool> open{false};
  std::atomic<int32_t> inside{0};
  int32_t helpers = 0;  // threads that take part in the current call
  int32_t started = 0;  // threads that exist
  std::atomic<int32_t> threads{1};
  int64_t chunks = 0;
  void (*body)(void*, int64_t) = nullptr;
  void* context = nullptr;

  void run_chunks() {
    for (int64_t chunk; (chunk = next.fetch_add(1, std::memory_order_relaxed)) < chunks;) body(context, chunk);
  }

  void helper(int32_t index, uint64_t seen) {
    for (;;) {
      for (int spin = 0; spin < kSpins && generation.load(std::memory_order_acquire) == seen; ++spin) relax();
      if (generation.load(std::memory_order_acquire) == seen) {
        std::unique_lock<std::mutex> lock(sleep);
        wake.wait(lock, [&] { return generation.load(std::memory_order_acquire) != seen; });
      }
      seen = generation.load(std::memory_order_acquire);
      inside.fetch_add(1);
      if (open.load() && index < helpers) run_chunks();
      inside.fetch_sub(1, std::memory_order_release);
    }
  }
};

int32_t usable_cores() {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
  const unsigned cores = std::thread::hardware_concurrency();
  return cores > 0 ? static_cast<int32_t>(cores) : 1;
}

int32_t clamped(int64_t threads) {
  return static_cast<int32_t>(threads < 1 ? 1 : threads > kMostThreads ? kMostThreads : threads);
}

// Never destroyed: its threads may outlive every static object at process exit.
Pool& pool() {
  static Pool* const instance = [] {
    Pool* created = new Pool;
    const char* wanted = getenv("STEPCREDIT_NUM_THREADS");
    const long number = wanted ? strtol(wanted, nullptr, 10) : 0;
    created->threads = clamped(number > 0 ? number : usable_cores());
    return created;
  }();
  return *instance;
}

thread_local bool inside_body = false;

}  // namespace

void sc_parallel(int64_t chunks, void (*body)(void* context, int64_t chunk), void* context) {
  if (chunks <= 0) return;
  Pool& shared = pool();
  const int32_t threads = shared.threads.load(std::memory_order_relaxed);
  const bool alone = chunks == 1 || threads == 1 || inside_body || !shared.calls.try_lock();
  if (alone) {
    for (int64_t chunk = 0; chunk < chunks; ++chunk) body(context, chunk);
    return;
  }
  const int32_t helpers = static_cast<int32_t>(chunks < threads ? chunks : threads) - 1;
  // A thread that cannot be started leaves its share to the others.
  while (shared.started < helpers) {
    try {
      const uint64_t seen = shared.generation.load(std::memory_order_relaxed);
      std::thread([&shared, index = shared.started, seen] { inside_body = true, shared.helper(index, seen); }).detach();
      shared.started++;
    } catch (...) {
      break;
    }
  }
  shared.helpers = helpers < shared.started ? helpers : shared.started;
  shared.chunks = chunks;
  shared.body = body;
  shared.context = context;
  shared.next.store(0, std::memory_order_relaxed);
  shared.open.store(true);
  {
    std::lock_guard<std::mutex> lock(shared.sleep);
    shared.generation.fetch_add(1, std::memory_order_release);
  }
  shared.wake.notify_all();
  inside_body = true;
  shared.run_chunks();
  inside_body = false;
  shared.open.store(false);
  while (shared.inside.load() > 0) relax();
  shared.calls.unlock();
}

int32_t sc_num_threads() { return pool().threads.load(std::memory_order_relaxed); }

void sc_set_num_threads(int32_t threads) { pool().threads.store(clamped(threads), std::memory_order_relaxed); }
