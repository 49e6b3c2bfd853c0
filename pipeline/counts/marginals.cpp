#include "pipeline/counts/marginals.hpp"

#include <span>

namespace aloft {

Marginals marginals_of(Context& ctx, const CountCsr& counts) {
  Buffer<std::uint64_t> rows(ctx.device(), static_cast<std::size_t>(counts.rows));
  Buffer<std::uint64_t> columns(ctx.device(), static_cast<std::size_t>(counts.cols));
  ctx.linear().marginals(counts.view(), rows.data(), columns.data());
  return {to_host(rows), to_host(columns)};
}

Buffer<double> reciprocals(Device& device, const std::vector<std::uint64_t>& x) {
  std::vector<double> out;
  out.reserve(x.size());
  for (const std::uint64_t n : x) out.push_back(n == 0 ? 0.0 : 1.0 / static_cast<double>(n));
  return to_device(device, std::span(out));
}

}  // namespace aloft
