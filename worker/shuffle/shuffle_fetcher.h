// The Fetcher around FetchCore: threads that wait for transfers, files that
// take the bytes, a thread that watches the time.
#ifndef MILLRACE_WORKER_SHUFFLE_SHUFFLE_FETCHER_H_
#define MILLRACE_WORKER_SHUFFLE_SHUFFLE_FETCHER_H_

#include <memory>

#include "common/clock.h"
#include "common/file_system.h"
#include "common/random.h"
#include "worker/shuffle/fetch_core.h"
#include "worker/shuffle/fetch_transport.h"
#include "worker/shuffle/fetcher.h"

namespace millrace::worker {

// Clock, files and transport are borrowed. Has options.transfers_max threads,
// one for local checks and one for time.
std::unique_ptr<Fetcher> MakeFetcher(const FetchOptions& options, Clock& clock,
                                     FileSystem& fs,
                                     std::unique_ptr<Random> random,
                                     FetchTransport& transport);

}  // namespace millrace::worker

#endif  // MILLRACE_WORKER_SHUFFLE_SHUFFLE_FETCHER_H_
