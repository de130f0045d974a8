#include "pool.h"

#include <sched.h>
#include <stdlib.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace {

constexpr int32_t kMostThreads = 256;
// Calls that helpers can be shared between; one more runs on its caller alone.
constexpr int32_t kPlaces = 8;
// How long an idle thread polls before it sleeps: longer than the gap between two ops of one training step, short enough
// that an idle process uses no processor.
constexpr int kSpins = 20000;
// How long a caller polls for the last chunks of its helpers before it lets other threads run in between.
constexpr int kPatience = 1000;

inline void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ __volatile__("yield");
#endif
}

thread_local bool inside_body = false;
thread_local const int32_t* watched = nullptr;

bool is_set(const int32_t* flag) { return flag && __atomic_load_n(flag, __ATOMIC_RELAXED) != 0; }

// Where a call is open to helpers. The fields hold while it is open. A helper counts itself in before it looks whether it
// is, so that the caller waits for those who came, and never for one that the system has not let run yet.
struct alignas(64) Place {
  std::atomic<bool> taken{false};
  std::atomic<bool> open{false};
  std::atomic<int32_t> inside{0};
  std::atomic<int64_t> next{0};
  int32_t helpers = 0;  // threads that may take part besides the caller
  int64_t chunks = 0;
  void (*body)(void*, int64_t) = nullptr;
  void* context = nullptr;
  const int32_t* flag = nullptr;

  // The next chunk, if there is one.
  bool run_chunk() {
    if (is_set(flag)) return false;
    const int64_t chunk = next.fetch_add(1, std::memory_order_relaxed);
    if (chunk >= chunks) return false;
    body(context, chunk);
    return true;
  }
};

struct Pool {
  Place places[kPlaces];
  std::atomic<int32_t> calls{0};  // places that are open
  std::atomic<uint64_t> generation{0};
  std::atomic<int32_t> threads{1};
  std::atomic<int32_t> started{0};  // helpers that exist
  std::mutex starting;
  std::mutex sleep;
  std::condition_variable wake;
  std::atomic<int32_t> sleepers{0};

  Place* take() {
    for (Place& place : places) {
      bool free = false;
      if (place.taken.compare_exchange_strong(free, true, std::memory_order_acquire)) return &place;
    }
    return nullptr;
  }

  // A thread that cannot be started leaves its share to the others.
  void start(int32_t helpers) {
    if (started.load(std::memory_order_relaxed) >= helpers) return;
    std::lock_guard<std::mutex> lock(starting);
    while (started.load(std::memory_order_relaxed) < helpers) {
      try {
        std::thread([this, index = started.load(std::memory_order_relaxed)] { helper(index); }).detach();
        started.fetch_add(1, std::memory_order_relaxed);
      } catch (...) {
        return;
      }
    }
  }

  // Sequentially consistent on both sides: either the caller sees a sleeper, or the sleeper the new generation.
  void announce() {
    generation.fetch_add(1);
    if (sleepers.load() == 0) return;
    { std::lock_guard<std::mutex> lock(sleep); }
    wake.notify_all();
  }

  void await(uint64_t seen) {
    for (int spin = 0; spin < kSpins && generation.load(std::memory_order_acquire) == seen; ++spin) relax();
    if (generation.load(std::memory_order_acquire) != seen) return;
    std::unique_lock<std::mutex> lock(sleep);
    sleepers.fetch_add(1);
    wake.wait(lock, [&] { return generation.load() != seen; });
    sleepers.fetch_sub(1);
  }

  // Works for one place until it has no chunk left, or for one chunk where other calls are open too.
  bool help(Place& place, int32_t index) {
    if (!place.open.load(std::memory_order_relaxed)) return false;
    bool ran = false;
    place.inside.fetch_add(1);
    if (place.open.load() && index < place.helpers) {
      watched = place.flag;
      while (place.run_chunk()) {
        ran = true;
        if (calls.load(std::memory_order_relaxed) > 1) break;
      }
      watched = nullptr;
    }
    place.inside.fetch_sub(1, std::memory_order_release);
    return ran;
  }

  void helper(int32_t index) {
    inside_body = true;
    for (uint32_t first = static_cast<uint32_t>(index);; ++first) {
      const uint64_t seen = generation.load(std::memory_order_acquire);
      bool ran = false;
      for (uint32_t i = 0; i < kPlaces; ++i) ran |= help(places[(first + i) % kPlaces], index);
      if (!ran) await(seen);
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

void run_alone(int64_t chunks, void (*body)(void*, int64_t), void* context) {
  for (int64_t chunk = 0; chunk < chunks && !is_set(watched); ++chunk) body(context, chunk);
}

}  // namespace

void sc_parallel(int64_t chunks, void (*body)(void* context, int64_t chunk), void* context) {
  if (chunks <= 0) return;
  Pool& shared = pool();
  const int32_t threads = shared.threads.load(std::memory_order_relaxed);
  if (chunks == 1 || threads == 1 || inside_body) return run_alone(chunks, body, context);
  Place* const place = shared.take();
  if (!place) return run_alone(chunks, body, context);

  place->helpers = static_cast<int32_t>(chunks < threads ? chunks : threads) - 1;
  place->chunks = chunks;
  place->body = body;
  place->context = context;
  place->flag = watched;
  place->next.store(0, std::memory_order_relaxed);
  shared.start(place->helpers);
  place->open.store(true);
  shared.calls.fetch_add(1, std::memory_order_relaxed);
  shared.announce();

  inside_body = true;
  while (place->run_chunk()) {
  }
  inside_body = false;

  place->open.store(false);
  shared.calls.fetch_sub(1, std::memory_order_relaxed);
  for (int spin = 0; place->inside.load() > 0; ++spin) {
    if (spin < kPatience)
      relax();
    else
      std::this_thread::yield();
  }
  place->taken.store(false, std::memory_order_release);
}

int32_t sc_num_threads() { return pool().threads.load(std::memory_order_relaxed); }

void sc_set_num_threads(int32_t threads) { pool().threads.store(clamped(threads), std::memory_order_relaxed); }

void sc_watch(const int32_t* flag) { watched = flag; }

bool sc_cancelled() { return is_set(watched); }
