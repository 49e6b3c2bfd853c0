#include "kernels/cuda/backend.hpp"

#include "host/cpu_device.hpp"
#include "host/cuda_device.hpp"
#include "host/error.hpp"
#include "kernels/cpu/backend.hpp"
#include "kernels/cuda/count_dense.cuh"

namespace aloft::cuda {
namespace {

// Counting runs on the GPU. Turning tables into rows, and adding rows, goes through the host: both happen
// once a flush, not once a token.
class CudaCountOps final : public CountOps {
 public:
  explicit CudaCountOps(CudaDevice& device)
      : device_(device), host_(make_cpu_device()), host_ops_(cpu::make_count_ops(*host_)) {}

  void count_tokens(TokenChunk chunk, std::uint64_t* unigram, std::int64_t vocab) override {
    cuda::count_tokens(chunk, unigram, vocab, device_.stream());
  }
  void count_pairs_dense(TokenChunk chunk, DenseCounts counts) override {
    cuda::count_pairs_dense(chunk, counts, device_.stream());
  }
  CountCsr compact(DenseCounts counts, std::int32_t lag) override {
    const std::size_t cells = static_cast<std::size_t>(counts.n_rows * counts.vocab);
    std::vector<std::uint32_t> table(cells);
    device_.download(table.data(), counts.data + static_cast<std::size_t>(lag - 1) * cells,
                     cells * sizeof(table[0]));
    device_.synchronize();
    const DenseCounts on_host{table.data(), 1, counts.vocab, counts.row_begin, counts.n_rows};
    return moved(host_ops_->compact(on_host, 1), device_);
  }
  bool counts_without_table() const override { return false; }
  std::vector<CountCsr> count_pairs_sparse(TokenChunk, std::int64_t, std::int32_t) override {
    throw UsageError(
        "the cuda backend counts into dense tables only: use --strategy dense, or --backend cpu");
  }
  CountCsr add(CountCsrView a, CountCsrView b) override {
    const CountCsr x = on_host(a), y = on_host(b);
    return moved(host_ops_->add(x.view(), y.view()), device_);
  }

 private:
  CountCsr on_host(CountCsrView a) {
    CountCsr out{a.rows, a.cols, Buffer<std::uint64_t>(*host_, static_cast<std::size_t>(a.rows + 1)), {}, {}};
    device_.download(out.row_offsets.data(), a.row_offsets, out.row_offsets.size() * sizeof(std::uint64_t));
    device_.synchronize();
    const std::size_t nnz = out.row_offsets.data()[a.rows];
    out.columns = Buffer<std::uint32_t>(*host_, nnz);
    out.values = Buffer<std::uint64_t>(*host_, nnz);
    device_.download(out.columns.data(), a.columns, nnz * sizeof(std::uint32_t));
    device_.download(out.values.data(), a.values, nnz * sizeof(std::uint64_t));
    device_.synchronize();
    return out;
  }

  CudaDevice& device_;
  std::unique_ptr<Device> host_;
  std::unique_ptr<CountOps> host_ops_;
};

}  // namespace

BackendInfo info() {
  const CudaStatus status = cuda_status();
  return {"cuda", true, status.usable, status.detail};
}

Backend make_backend() {
  Backend out;
  auto device = make_cuda_device();
  out.count = std::make_unique<CudaCountOps>(*device);
  out.device = std::move(device);
  return out;
}

}  // namespace aloft::cuda
