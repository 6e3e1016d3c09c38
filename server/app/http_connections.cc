#include "server/app/http_connections.h"

#include <algorithm>

namespace fff::app {

std::optional<int64_t> ConnectionToClose(const HttpPeers& peers,
                                         const std::string& address,
                                         const HttpLimits& limits) {
  const auto is_same = [&address](const auto& peer) {
    return peer.second == address;
  };
  const auto same =
      static_cast<size_t>(std::count_if(peers.begin(), peers.end(), is_same));
  if (same > 0 && same >= limits.connections_per_address) {
    return std::find_if(peers.begin(), peers.end(), is_same)->first;
  }
  if (!peers.empty() && peers.size() >= limits.connections) {
    return peers.begin()->first;
  }
  return std::nullopt;
}

}  // namespace fff::app
