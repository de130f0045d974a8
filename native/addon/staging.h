// Calls of ops whose memory is a device's, on arrays of the host.

#ifndef STEPCREDIT_ADDON_STAGING_H
#define STEPCREDIT_ADDON_STAGING_H

#include <vector>

#include "record.h"

// Copies the arrays to the device, runs the op, copies back what it may have written, and returns when all is done; 0, or a code
// with its text in `error`. Arrays that overlap do so on the device too. After a failure the arrays are as they were.
int32_t run_staged(const BoundOp& bound, const Record& record, const std::vector<Extent>& arrays, ScError* error);

#endif
