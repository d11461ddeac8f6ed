// All that a job author needs. See jobs/ for programs to copy from.
#ifndef MILLRACE_MILLRACE_H_
#define MILLRACE_MILLRACE_H_

#include "millrace/codec.h"
#include "millrace/combiner.h"
#include "millrace/context.h"
#include "millrace/input.h"
#include "millrace/job.h"
#include "millrace/main.h"
#include "millrace/mapper.h"
#include "millrace/output.h"
#include "millrace/partitioner.h"
#include "millrace/reducer.h"
#include "millrace/text_format.h"
#include "millrace/types.h"
#include "millrace/values.h"
#include "millrace/words.h"

#endif  // MILLRACE_MILLRACE_H_
