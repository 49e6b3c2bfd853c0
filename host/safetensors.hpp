#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "host/atomic_file.hpp"

namespace aloft {

enum class DType { boolean, u8, i8, i16, u16, f16, bf16, i32, u32, f32, f64, i64, u64, f8_e4m3, f8_e5m2 };
[[nodiscard]] std::string_view dtype_name(DType t);  ///< as safetensors spells it: "F32", "BF16", ...
[[nodiscard]] std::size_t dtype_bytes(DType t);

struct TensorInfo {
  std::string name;
  DType dtype = DType::f32;
  std::vector<std::int64_t> shape;
  [[nodiscard]] std::int64_t elements() const;  ///< product of shape (1 for a scalar)
};

/// A safetensors file, its header validated whole when it is opened: header length, JSON, duplicate keys,
/// dtypes, shapes (overflow), offsets (order, overlap, holes, end of file). Data are read when asked for, and
/// never mapped: a file that shrinks meanwhile is an InputError. Throws InputError naming file, tensor and
/// reason.
class SafetensorsReader {
 public:
  explicit SafetensorsReader(const std::string& path);
  ~SafetensorsReader();
  SafetensorsReader(SafetensorsReader&&) noexcept;

  [[nodiscard]] const std::vector<TensorInfo>& tensors() const;  ///< by offset in the file
  [[nodiscard]] const std::map<std::string, std::string>& metadata() const;
  [[nodiscard]] bool contains(const std::string& name) const;
  [[nodiscard]] const TensorInfo& info(const std::string& name) const;  ///< InputError if absent
  /// The tensor's bytes from first to last, a block of at most 1 MiB at a time.
  void read_blocks(const std::string& name, const std::function<void(std::span<const std::byte>)>& use) const;
  /// The tensor's elements, checked to have this dtype and shape (-1: any extent). InputError otherwise.
  template <class T>
  [[nodiscard]] std::vector<T> read(const std::string& name, const std::vector<std::int64_t>& shape) const;
  /// Floating tensor (F64, F32, F16, BF16) widened to double, a block at a time; InputError for other types.
  void read_real_blocks(const std::string& name,
                        const std::function<void(std::span<const double>)>& use) const;
  /// The same whole.
  [[nodiscard]] std::vector<double> read_real(const std::string& name,
                                              const std::vector<std::int64_t>& shape) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Writes a safetensors file atomically: declare every tensor, then append their data in the declared order.
/// Header: __metadata__ first (keys sorted), then the tensors as declared, padded with spaces so that the
/// data begin at a multiple of 8 bytes. The same declarations and data give the same bytes.
class SafetensorsWriter {
 public:
  SafetensorsWriter(const std::string& path, const std::map<std::string, std::string>& metadata,
                    std::vector<TensorInfo> tensors);
  /// Raw little-endian bytes of the next tensor, or a part of it; parts must add up to the tensor exactly,
  /// and no part reaches into the tensor after it.
  void append(std::span<const std::byte> data);
  template <class T>
  void append(std::span<const T> values) {
    append(std::as_bytes(values));
  }
  /// Floats converted to the next tensor's dtype, which must be `dtype` (F32, F16 or BF16, round to nearest
  /// even; F64 widens).
  void append_as(DType dtype, std::span<const float> values);
  /// Throws Error if any byte is missing. `with`: another file, which appears together with this one.
  void commit(AtomicFile* with = nullptr);

 private:
  void skip_full_tensors();

  AtomicFile file_;
  std::string path_;
  std::vector<TensorInfo> tensors_;
  std::size_t current_ = 0;    ///< the tensor that the next byte belongs to
  std::uint64_t written_ = 0;  ///< bytes of it so far
};

// Rounding of one value, round to nearest even; infinity and NaN kept (its sign and the payload's leading
// bits too), overflow to infinity. Every 16-bit pattern survives from_* followed by to_*.
[[nodiscard]] std::uint16_t to_bf16(float x);
[[nodiscard]] std::uint16_t to_f16(float x);
[[nodiscard]] float from_bf16(std::uint16_t x);
[[nodiscard]] float from_f16(std::uint16_t x);

}  // namespace aloft
