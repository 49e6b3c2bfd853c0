#pragma once
#include <string>
#include <string_view>

namespace aloft {

/// The encoding that a file's first bytes show it to be in, if that is one of UTF-16 or UTF-32: by its
/// byte-order mark, or by where its NUL bytes are. As iconv calls it; "" where nothing says so (Chinese
/// without a mark, a space or a line break, say).
[[nodiscard]] std::string wide_encoding(std::string_view head);

}  // namespace aloft
