#pragma once
#include <memory>
#include <string>

namespace aloft {

class Descriptor;
class InputStream;

/// Copies the rest of a stream to a temporary file in `folder` ("": the system's temporary folder) that has
/// no name any more, so that it vanishes however the process ends. Throws InputError if the folder cannot be
/// written, ResourceError when it runs full.
[[nodiscard]] std::shared_ptr<Descriptor> spool_to_temporary(InputStream& from, const std::string& folder);

}  // namespace aloft
