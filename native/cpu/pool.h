// The library's own threads. Work is cut into chunks whose number and bounds depend on the problem alone, never on how many
// threads there are, so that results do not depend on it either.

#ifndef STEPCREDIT_CPU_POOL_H
#define STEPCREDIT_CPU_POOL_H

#include <stdint.h>

// Runs body(context, chunk) for every chunk in 0 … chunks − 1, on the calling thread and the pool, and returns when all have
// ended. Calls of several threads are open at once; helpers go from one to the other, and no call waits for another. A call
// from inside a body runs its chunks on the caller alone.
void sc_parallel(int64_t chunks, void (*body)(void* context, int64_t chunk), void* context);

// Threads that take part in a call, the caller's included.
int32_t sc_num_threads();

// Takes effect at the next call; 1 … 256. From STEPCREDIT_NUM_THREADS at start, else the number of usable cores.
void sc_set_num_threads(int32_t threads);

// The flag that stops what this thread calls, until the next sc_watch; null for none. Whoever sets it to 1 stores atomically.
// Chunks that have not begun are then skipped, on this thread and on its helpers, and results are worth nothing.
void sc_watch(const int32_t* flag);

// Whether the flag of the call that this thread works for is set. For loops inside a body.
bool sc_cancelled();

#endif
