#include "runner.h"

#include <stdlib.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "../cpu/pool.h"

namespace {

// Calls that run at the same time. More would only take the processors from each other; the others wait their turn.
constexpr size_t kMostRunners = 4;

struct Runners {
  std::mutex mutex;
  std::condition_variable wake;
  std::condition_variable quiet;
  std::deque<std::shared_ptr<Job>> waiting;
  std::vector<Job*> running;
  size_t started = 0;
  size_t idle = 0;
  bool exiting = false;

  void work() {
    std::unique_lock<std::mutex> lock(mutex);
    for (;;) {
      idle++;
      wake.wait(lock, [&] { return !waiting.empty() && !exiting; });
      idle--;
      std::shared_ptr<Job> job = std::move(waiting.front());
      waiting.pop_front();
      running.push_back(job.get());
      lock.unlock();
      sc_watch(&job->cancelled);
      job->run();
      sc_watch(nullptr);
      lock.lock();
      running.erase(std::find(running.begin(), running.end(), job.get()));
      const bool deliver = !exiting;
      quiet.notify_all();
      lock.unlock();
      if (deliver) job->ended();
      job.reset();
      lock.lock();
    }
  }
};

void stop_at_exit();

// Never destroyed: its threads outlive static objects.
Runners& runners() {
  static Runners* const instance = [] {
    atexit(stop_at_exit);
    return new Runners;
  }();
  return *instance;
}

// The process ends while calls run: BLAS frees its buffers after this, so they must have stopped. Nobody hears of them.
void stop_at_exit() {
  Runners& all = runners();
  std::unique_lock<std::mutex> lock(all.mutex);
  all.exiting = true;
  for (Job* job : all.running) __atomic_store_n(&job->cancelled, 1, __ATOMIC_RELAXED);
  all.quiet.wait(lock, [&] { return all.running.empty(); });
}

}  // namespace

bool submit(std::shared_ptr<Job> job) {
  Runners& all = runners();
  std::lock_guard<std::mutex> lock(all.mutex);
  if (all.idle <= all.waiting.size() && all.started < kMostRunners) {
    try {
      std::thread([&all] { all.work(); }).detach();
      all.started++;
    } catch (...) {
      if (all.started == 0) return false;
    }
  }
  all.waiting.push_back(std::move(job));
  all.wake.notify_one();
  return true;
}

void cancel(const std::shared_ptr<Job>& job) {
  __atomic_store_n(&job->cancelled, 1, __ATOMIC_RELAXED);
  Runners& all = runners();
  {
    std::lock_guard<std::mutex> lock(all.mutex);
    const auto place = std::find(all.waiting.begin(), all.waiting.end(), job);
    if (place == all.waiting.end()) return;
    all.waiting.erase(place);
  }
  job->ended();
}

bool is_cancelled(const Job& job) { return __atomic_load_n(&job.cancelled, __ATOMIC_RELAXED) != 0; }
