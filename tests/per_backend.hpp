#pragma once
#include <gtest/gtest.h>

#include <string>

#include "kernels/ops.hpp"

namespace aloft {

/// A suite whose tests run once for each backend that this program has; GetParam() is the backend's name.
class PerBackend : public testing::TestWithParam<std::string> {};

inline std::string name_of_backend(const testing::TestParamInfo<std::string>& backend) {
  return backend.param;
}

}  // namespace aloft

#define ALOFT_ON_EACH_BACKEND(suite)                                                    \
  INSTANTIATE_TEST_SUITE_P(Each, suite, testing::ValuesIn(aloft::available_backends()), \
                           aloft::name_of_backend)
