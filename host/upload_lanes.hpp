#pragma once
#include <cstddef>

namespace aloft {

/// A second queue of a device that only uploads, beside its work queue. A lane is a device buffer that the
/// two queues take turns with: upload() fills it once the work queue has released it, acquire() makes the
/// work queue wait until it is full. Nothing here makes the host wait except wait() and the destructor:
/// before a lane's buffer is destroyed, acquire() or one of them must have followed its last upload(), for
/// the buffer is freed in the work queue's order.
class UploadLanes {
 public:
  UploadLanes() = default;
  UploadLanes(const UploadLanes&) = delete;
  UploadLanes& operator=(const UploadLanes&) = delete;
  virtual ~UploadLanes() = default;  ///< uploads under way have ended when it returns

  /// Copies `bytes` from staging memory to `dst`, after all work queued before the lane's last release().
  virtual void upload(int lane, void* dst, const void* staging, std::size_t bytes) = 0;
  /// Work queued from now on starts after the lane's last upload.
  virtual void acquire(int lane) = 0;
  /// Work queued so far is the last that uses what the lane holds.
  virtual void release(int lane) = 0;
  /// Returns when the lane's last upload has ended, and its staging memory may be written again.
  virtual void wait(int lane) = 0;
};

}  // namespace aloft
