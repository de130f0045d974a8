// The threads that promise calls run on. They are the library's own, so that libuv's stay free; each brings its chunks to the
// pool, as a JavaScript thread does for a call that it waits for.

#ifndef STEPCREDIT_ADDON_RUNNER_H
#define STEPCREDIT_ADDON_RUNNER_H

#include <stdint.h>

#include <memory>

struct Job {
  virtual ~Job() = default;
  // On a runner's thread, once, unless the job was cancelled before.
  virtual void run() = 0;
  // After run(), on the same thread; or instead of it, on the thread that cancelled. The last call of the job's functions.
  virtual void ended() = 0;

  int32_t cancelled = 0;  // stored and loaded atomically
};

// Queues a job, which runs at once unless all runners are busy; false where there is none and none can be started.
bool submit(std::shared_ptr<Job> job);

// Stops a job after the chunks that it has begun. One that has not begun ends here.
void cancel(const std::shared_ptr<Job>& job);

bool is_cancelled(const Job& job);

#endif
