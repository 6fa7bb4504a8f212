/* Put in front of the library's sources that the model check compiles: operations on shared memory
 * are the explorer's, and room for messages is small, so that a desk that is full is reached too
 * and a moment is little to copy. */
#ifndef FP_SMALL_BOUNDS_H
#define FP_SMALL_BOUNDS_H

#include "scheduled_atomics.h"

#include "base/text.h"
#undef FP_MESSAGE_MAX_BYTES
#define FP_MESSAGE_MAX_BYTES 32

#include "run/process_desk.h"
#undef FP_DESK_TEXT_BYTES
#define FP_DESK_TEXT_BYTES 40

#endif
