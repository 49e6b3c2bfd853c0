#include <nlohmann/json.hpp>

#include "host/hash.hpp"
#include "pipeline/spectra/spectra.hpp"

namespace aloft {

bool from_file(const EmbedParams& p) { return p.method != "ppmi-svd" && p.method != "mobius"; }

std::string key_json(const EmbedParams& params) {
  const auto& [method, tensor, d, seed] = params;
  return nlohmann::ordered_json{{"method", from_file(params) ? hash_of_file(method) : method},
                                {"tensor", tensor},
                                {"d", d},
                                {"seed", seed}}
      .dump();
}

Embedding embed(Context& ctx, const Counts& counts, const EmbedParams& p, std::uint64_t memory_bytes) {
  if (p.method == "ppmi-svd") return embed_ppmi_svd(ctx, counts, p.d, p.seed);
  if (p.method == "mobius") return embed_mobius(ctx, counts, p.d, memory_bytes);
  return embed_from_file(ctx, p.method, p.tensor, counts.vocab, p.d);
}

Peak embed_memory(const LinearOps& ops, const CountsShape& counts, const EmbedParams& p) {
  if (p.method == "ppmi-svd") return embed_ppmi_svd_memory(ops, counts, p.d);
  return p.method == "mobius" ? embed_mobius_memory(counts.vocab, p.d)
                              : embed_from_file_memory(counts.vocab, p.d);
}

}  // namespace aloft
