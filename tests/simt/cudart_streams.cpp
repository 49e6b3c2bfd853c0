#include <algorithm>
#include <cstdlib>
#include <set>
#include <utility>

#include "tests/simt/cudart_state.hpp"

// Streams, events and errors.

namespace simt {

namespace {

long from_environment(const char* name, long otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::strtol(text, nullptr, 0) : otherwise;
}

}  // namespace

Runtime runtime = [] {
  Runtime out;
  out.devices = std::clamp(static_cast<int>(from_environment("SIMT_DEVICES", 1)), 0, kMaxDevices);
  out.busy = static_cast<unsigned>(from_environment("SIMT_BUSY_DEVICES", 0));
  out.seed = static_cast<std::uint64_t>(from_environment("SIMT_SEED", 0));
  return out;
}();

namespace {

std::recursive_mutex mutex;
std::set<CUstream_st*> streams;  // created ones
CUstream_st legacy_stream;       // stream 0
cudaError_t sticky = cudaSuccess, last = cudaSuccess;

int streams_so_far = 0;

cudaError_t queue_kernel(cudaStream_t stream, const Arguments& arguments,
                         std::function<cudaError_t()> kernel) {
  const auto lock = lock_runtime();
  if (const cudaError_t code = on_its_device(stream); code != cudaSuccess) return code;
  if (const cudaError_t code = gate(cudaErrorLaunchOutOfResources); code != cudaSuccess) return code;
  return enqueue_step(
      stream,
      [kernel = std::move(kernel)] {
        if (sticky == cudaSuccess) sticky = kernel();
        return true;
      },
      [&](const Queued& now) { use(arguments, now); });
}
[[maybe_unused]] const bool installed = (defer = queue_kernel, true);

bool blocking_streams_are_empty() {
  return legacy_stream.queue.empty() && std::all_of(streams.begin(), streams.end(), [](const CUstream_st* s) {
           return !s->blocking || s->queue.empty();
         });
}

}  // namespace

std::unique_lock<std::recursive_mutex> lock_runtime() { return std::unique_lock(mutex); }
CUstream_st& stream_of(cudaStream_t stream) { return stream != nullptr ? *stream : legacy_stream; }
cudaError_t on_its_device(cudaStream_t stream) {
  if (const cudaError_t code = context(); code != cudaSuccess) return code;
  const bool its_own = stream == nullptr || stream->device == current_device();
  return its_own ? cudaSuccess : done(cudaErrorInvalidResourceHandle);
}
void forget_errors() { sticky = last = cudaSuccess; }
bool failed() { return sticky != cudaSuccess; }
void misuse(const std::string& what) {
  if (sticky != cudaSuccess) return;  // what comes after a failure says nothing
  if (runtime.misuse.empty()) runtime.misuse = what;
  last_error = what;
  (void)done(sticky = cudaErrorIllegalAddress);
}

cudaError_t done(cudaError_t code) {
  if (code != cudaSuccess) last = code;
  return code;
}

cudaError_t gate(cudaError_t injected) {
  if (++runtime.calls == runtime.fail_call) {
    run_all();  // CUDA completes copies to pageable memory within the call: none may outlive its target here
    return done(injected);
  }
  return done(sticky);
}

cudaError_t gate_of_wait() {
  const cudaError_t code = gate();
  if (code != cudaSuccess) sticky = code;
  return code;
}

bool step() {
  std::vector<CUstream_st*> candidates;
  for (CUstream_st* s : streams)
    if (!s->queue.empty()) candidates.push_back(s);
  if (!legacy_stream.queue.empty()) candidates.push_back(&legacy_stream);
  while (!candidates.empty()) {
    const std::size_t i = runtime.random() % candidates.size();
    const auto operation = candidates[i]->queue.front();
    if (operation()) {
      candidates[i]->queue.pop_front();
      return true;
    }
    candidates.erase(candidates.begin() + static_cast<std::ptrdiff_t>(i));
  }
  return false;
}

cudaError_t run_until(const std::function<bool()>& finished) {
  while (!finished())
    if (!step()) return done(sticky = cudaErrorLaunchTimeout);
  return done(sticky);
}

void run_all() {
  while (step()) {
  }
}

cudaError_t enqueue_step(cudaStream_t stream, std::function<bool()> operation,
                         const std::function<void(const Queued&)>& queued) {
  if (const cudaError_t code = on_its_device(stream); code != cudaSuccess) return code;
  // The legacy default stream waits for all blocking streams, and they for it.
  CUstream_st& target = stream_of(stream);
  if (stream == nullptr) {
    (void)run_until(blocking_streams_are_empty);
    for (const CUstream_st* s : streams)
      if (s->blocking) target.known.add(s->known);
  }
  target.known.add(host_knows());
  const std::uint64_t number = next_operation();
  if (queued) queued({target.number, number, target.known});
  target.known.add(target.number, number);
  target.queue.push_back(std::move(operation));
  if (stream == nullptr) {
    (void)run_until(blocking_streams_are_empty);
    host_knows().add(target.known);
  }
  return done(sticky);
}

cudaError_t enqueue(cudaStream_t stream, std::function<void()> work) {
  const auto lock = lock_runtime();
  if (const cudaError_t code = gate(); code != cudaSuccess) return code;
  return enqueue_step(stream, [work = std::move(work)] {
    if (sticky == cudaSuccess) work();
    return true;
  });
}

std::uint64_t Runtime::random() {
  seed = seed * 6364136223846793005ull + 1442695040888963407ull;
  return seed >> 33;
}

void Runtime::reset(std::uint64_t new_seed) {
  const auto lock = lock_runtime();
  run_all();
  forget_errors();
  forget_pools();
  host_knows_all();
  calls = fail_call = 0;
  peak_bytes = bytes;
  seed = new_seed;
}

}  // namespace simt

using namespace simt;

extern "C" {

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int) {
  const auto lock = lock_runtime();
  if (const cudaError_t code = context(); code != cudaSuccess) return code;
  if (const cudaError_t code = gate(cudaErrorMemoryAllocation); code != cudaSuccess) return code;
  *stream = new CUstream_st;
  (*stream)->device = current_device();
  (*stream)->number = ++streams_so_far;
  (*stream)->blocking = (flags & cudaStreamNonBlocking) == 0;
  streams.insert(*stream);
  ++runtime.streams;
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return cudaStreamCreateWithPriority(stream, flags, 0);
}
cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return cudaStreamCreateWithPriority(stream, cudaStreamDefault, 0);
}
cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  *least = 0;
  *greatest = -5;
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const auto lock = lock_runtime();
  if (streams.count(stream) == 0) return done(cudaErrorInvalidResourceHandle);
  (void)run_until([&] { return stream->queue.empty(); });
  streams.erase(stream);
  delete stream;
  --runtime.streams;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const auto lock = lock_runtime();
  if (const cudaError_t code = gate_of_wait(); code != cudaSuccess) return code;
  const cudaError_t code = run_until([&] { return stream_of(stream).queue.empty(); });
  host_knows().add(stream_of(stream).known);
  release_kept();
  return code;
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  const auto lock = lock_runtime();
  if (const cudaError_t code = gate(); code != cudaSuccess) return code;
  (void)step();  // whoever polls sees progress in the end
  if (!stream_of(stream).queue.empty()) return cudaErrorNotReady;
  host_knows().add(stream_of(stream).known);
  return sticky;
}
cudaError_t cudaDeviceSynchronize() {
  const auto lock = lock_runtime();
  if (const cudaError_t code = gate_of_wait(); code != cudaSuccess) return code;
  run_all();
  host_knows_all();
  release_kept();
  return done(sticky);
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  const auto lock = lock_runtime();
  if (const cudaError_t code = gate(cudaErrorMemoryAllocation); code != cudaSuccess) return code;
  *event = new CUevent_st;
  (*event)->device = current_device();
  ++runtime.events;
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  const auto lock = lock_runtime();
  if (event == nullptr) return done(cudaErrorInvalidResourceHandle);
  run_all();  // queued records and waits hold its address
  delete event;
  --runtime.events;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const auto lock = lock_runtime();
  if (const cudaError_t code = gate(); code != cudaSuccess) return code;
  if (stream != nullptr && event->device != stream->device) return done(cudaErrorInvalidResourceHandle);
  const std::uint64_t turn = ++event->recorded;
  const cudaError_t code = enqueue_step(stream, [=] {
    event->done = std::max(event->done, turn);
    return true;
  });
  event->known = stream_of(stream).known;
  return code;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const auto lock = lock_runtime();
  if (const cudaError_t code = gate(); code != cudaSuccess) return code;
  const std::uint64_t turn = event->recorded;  // never recorded: nothing to wait for
  const cudaError_t code = enqueue_step(stream, [=] { return event->done >= turn; });
  stream_of(stream).known.add(event->known);
  return code;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const auto lock = lock_runtime();
  if (const cudaError_t code = gate_of_wait(); code != cudaSuccess) return code;
  const std::uint64_t turn = event->recorded;
  const cudaError_t code = run_until([=] { return event->done >= turn; });
  host_knows().add(event->known);
  release_kept();
  return code;
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  const auto lock = lock_runtime();
  if (const cudaError_t code = gate(); code != cudaSuccess) return code;
  (void)step();
  if (event->done < event->recorded) return cudaErrorNotReady;
  host_knows().add(event->known);
  return sticky;
}
/// There is no clock behind the events: always a microsecond, so that a rate stays finite.
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  const auto lock = lock_runtime();
  if (const cudaError_t code = gate(); code != cudaSuccess) return code;
  if (start->done < start->recorded || end->done < end->recorded) return done(cudaErrorNotReady);
  *milliseconds = 1e-3f;
  return cudaSuccess;
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
  return enqueue(stream, [=] { function(data); });
}

cudaError_t cudaGetLastError() {
  const auto lock = lock_runtime();
  return std::exchange(last, sticky);
}
cudaError_t cudaPeekAtLastError() {
  const auto lock = lock_runtime();
  return last;
}

}  // extern "C"
