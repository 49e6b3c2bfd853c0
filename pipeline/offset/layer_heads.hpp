#pragma once
#include "pipeline/offset/head_writer.hpp"
#include "pipeline/offset/residual.hpp"

namespace aloft::offset {

/// Writes the attention of one layer after the other: the background, what undesigned heads lean towards, and
/// the designed heads that the layout puts there.
class HeadDesigner {
 public:
  HeadDesigner(const OffsetRequest& request, const ResidualBudget& budget)
      : request_(request),
        budget_(budget),
        write_(request.shape, request.layout, budget.gain, budget.amplitude, request.stream_scale) {}

  [[nodiscard]] LayerHeads layer(std::int64_t layer) const;

 private:
  [[nodiscard]] LayerHeads background(std::int64_t layer) const;
  [[nodiscard]] std::int64_t prior_offset(std::int64_t layer, std::int64_t group) const;
  void lean(std::int64_t layer, LayerHeads& w) const;
  void carry(std::int32_t lag, LayerHeads& w) const;
  void erase(LayerHeads& w) const;
  void drive_log_p(LayerHeads& w) const;
  void copy_code(LayerHeads& w) const;
  void predict_found(LayerHeads& w) const;
  template <class Output>
  void write_map(std::int64_t group, HostView<const double> value, double gain, std::int64_t to,
                 std::int64_t width, const Output& output, LayerHeads& w) const;

  const OffsetRequest& request_;
  const ResidualBudget& budget_;
  HeadWriter write_;
};

}  // namespace aloft::offset
