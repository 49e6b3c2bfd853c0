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
  void remap(TokenChunk chunk, const TokenId* rank, TokenId* out) override {
    cuda::remap(chunk, rank, out, device_.stream());
  }
  std::string dense_kernel(std::int64_t, std::int32_t) const override { return "counters in global memory"; }
  CountCsr compact(DenseCounts counts, std::int32_t lag, const TokenId* rank) override {
    const std::size_t cells = static_cast<std::size_t>(counts.n_rows * counts.vocab);
    auto table = fetch(counts.data + static_cast<std::size_t>(lag - 1) * cells, cells);
    const auto ranks = fetch(rank, rank == nullptr ? 0 : static_cast<std::size_t>(counts.vocab));
    const DenseCounts on_host{table.data(), 1, counts.vocab, counts.row_begin, counts.n_rows};
    return moved(host_ops_->compact(on_host, 1, rank == nullptr ? nullptr : ranks.data()), device_);
  }
  std::vector<CountCsr> count_pairs_sparse(TokenChunk chunk, std::int64_t vocab,
                                           std::int32_t max_lag) override {
    const auto ids = fetch(chunk.ids, static_cast<std::size_t>(chunk.n_from + chunk.halo));
    std::vector<CountCsr> out;
    for (const CountCsr& lag :
         host_ops_->count_pairs_sparse({ids.data(), chunk.n_from, chunk.halo}, vocab, max_lag))
      out.push_back(moved(lag, device_));
    return out;
  }
  std::uint64_t sparse_workspace_bytes(std::int64_t n, std::int64_t vocab,
                                       std::int32_t max_lag) const override {
    return host_ops_->sparse_workspace_bytes(n, vocab, max_lag);
  }
  CountCsr add(CountCsrView a, CountCsrView b) override {
    const CountCsr x = on_host(a), y = on_host(b);
    return moved(host_ops_->add(x.view(), y.view()), device_);
  }

  std::uint64_t total(CountCsrView a) override { return host_ops_->total(on_host(a).view()); }

 private:
  std::vector<std::uint32_t> fetch(const std::uint32_t* from, std::size_t n) {
    std::vector<std::uint32_t> out(n);
    device_.download(out.data(), from, n * sizeof(out[0]));
    device_.synchronize();
    return out;
  }
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
