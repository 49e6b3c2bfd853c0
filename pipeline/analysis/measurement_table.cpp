#include "pipeline/analysis/measurement_table.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <utility>

namespace aloft::analysis {

void MeasurementTable::add(const std::string& family, Side side, std::vector<Cell> leading,
                           std::span<const double> values, std::vector<Cell> trailing) {
  PermutationFamily& of = families_.try_emplace(family, side).first->second;
  rows_.push_back({std::move(leading), std::move(trailing), &of, family, of.add(values), Measured()});
}

void MeasurementTable::add_normal(const std::string& family, Side side, std::vector<Cell> leading,
                                  double value, const NullMoments& null, std::vector<Cell> trailing) {
  PermutationFamily& of = families_.try_emplace(family, side).first->second;
  rows_.push_back({std::move(leading), std::move(trailing), &of, family,
                   of.add_normal(value, null.mean, null.sd), Measured()});
}

void MeasurementTable::add(const std::string& family, std::vector<Cell> leading, const Measured& measured,
                           std::vector<Cell> trailing) {
  rows_.push_back({std::move(leading), std::move(trailing), nullptr, family, 0, measured});
}

std::vector<Measured> MeasurementTable::measured() const {
  std::map<const PermutationFamily*, std::vector<Measured>> settled;
  for (const auto& [name, family] : families_) settled[&family] = family.settle();
  std::vector<Measured> out;
  for (const Row& row : rows_)
    out.push_back(row.family == nullptr ? row.measured : settled.at(row.family)[row.cell]);
  return out;
}

Table MeasurementTable::settled() const {
  Table out = table_;
  const std::vector<Measured> all = measured();
  for (std::size_t r = 0; r < rows_.size(); ++r) {
    std::vector<Cell> cells = rows_[r].leading;
    for (const double x : {all[r].value, all[r].null, all[r].null_sd, all[r].p, all[r].p_family})
      cells.push_back(number(x));
    cells.insert(cells.end(), rows_[r].trailing.begin(), rows_[r].trailing.end());
    out.add(std::move(cells));
  }
  return out;
}

MeasurementTable::Furthest MeasurementTable::furthest_permuted(const std::string& prefix) const {
  std::vector<double> largest;
  for (const auto& [name, family] : families_) {
    if (name.rfind(prefix, 0) != 0 || family.furthest().size() < 2) continue;
    largest.resize(family.furthest().size(), -std::numeric_limits<double>::infinity());
    for (std::size_t i = 0; i < largest.size(); ++i) largest[i] = std::max(largest[i], family.furthest()[i]);
  }
  Furthest out{0, std::numeric_limits<double>::quiet_NaN()};
  if (largest.empty()) return out;
  double own = -std::numeric_limits<double>::infinity();
  for (std::size_t r = 0; r < rows_.size(); ++r)
    if (const Row& row = rows_[r];
        row.family != nullptr && row.family_name.rfind(prefix, 0) == 0 && row.family->own(row.cell) > own) {
      own = row.family->own(row.cell);
      out.row = r;
    }
  const auto as_far = std::count_if(largest.begin() + 1, largest.end(), [&](double z) { return z >= own; });
  out.p = static_cast<double>(1 + as_far) / static_cast<double>(largest.size());
  return out;
}

MeasurementTable::Furthest MeasurementTable::furthest(const std::string& prefix, Side side) const {
  if (const Furthest permuted = furthest_permuted(prefix); !std::isnan(permuted.p)) return permuted;
  const std::vector<Measured> all = measured();
  std::set<std::string> families;
  Furthest out{0, std::numeric_limits<double>::quiet_NaN()};
  double best_z = -std::numeric_limits<double>::infinity();
  for (std::size_t r = 0; r < rows_.size(); ++r) {
    if (std::isnan(all[r].p_family) || rows_[r].family_name.rfind(prefix, 0) != 0) continue;
    families.insert(rows_[r].family_name);
    double z = (all[r].value - all[r].null) / std::max(all[r].null_sd, 1e-300);
    if (side == Side::both) z = std::abs(z);
    if (side == Side::lower) z = -z;
    const double p = z > 0 ? all[r].p_family : 1;
    if (std::isnan(out.p) || p < out.p || (p == out.p && z > best_z)) {
      out = {r, p};
      best_z = z;
    }
  }
  if (!families.empty()) out.p = std::min(1.0, out.p * static_cast<double>(families.size()));
  return out;
}

}  // namespace aloft::analysis
