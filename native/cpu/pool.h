// The library's own threads. Work is cut into chunks whose number and bounds depend on the problem alone, never on how many
// threads there are, so that results do not depend on it either.

#ifndef STEPCREDIT_CPU_POOL_H
#define STEPCREDIT_CPU_POOL_H

#include <stdint.h>

// Runs body(context, chunk) for every chunk in 0 … chunks − 1, on the calling thread and the pool, and returns when all have
// ended. A call from inside a body, or while another thread's call is running, runs its chunks on the caller alone.
void sc_parallel(int64_t chunks, void (*body)(void* context, int64_t chunk), void* context);

// Threads that take part in a call, the caller's included.
int32_t sc_num_threads();

// Takes effect at the next call; 1 … 256. From STEPCREDIT_NUM_THREADS at start, else the number of usable cores.
void sc_set_num_threads(int32_t threads);

#endif
