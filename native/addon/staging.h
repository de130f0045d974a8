// Calls of ops whose memory is a device's, on arrays of the host.

#ifndef STEPCREDIT_ADDON_STAGING_H
#define STEPCREDIT_ADDON_STAGING_H

#include <vector>

#include "record.h"

// Copies the arrays of the host to the device, runs the op, copies back what it may have written, and returns when all is done;
// 0, or a code with its text in `error`. Arrays that overlap do so on the device too. After a failure the arrays are as they
// were. On any thread, and a queue of its own.
int32_t run_staged(const BoundOp& bound, const Record& record, const std::vector<Extent>& of_host, ScError* error);

// As run_staged, on the JavaScript thread and its lane; where the op writes no array of the host it is only enqueued, and what
// fails later is told by a later call.
int32_t enqueue_staged(const BoundOp& bound, const Record& record, const std::vector<Extent>& of_host, ScError* error);

#endif
