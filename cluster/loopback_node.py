"""`ray start --address 127.0.0.1:PORT` that stays on 127.0.0.1: a second node on the head's own machine.

Ray replaces 127.0.0.1 by an address that other machines reach, and where it is told not to
(`cluster.state_folder.LOOPBACK_ONLY`), it refuses nodes that join.  A head on loopback answers on 127.0.0.1
alone, so here the address stays what it is, and everything this node starts stays on loopback as well.
"""

from __future__ import annotations

import os

from cluster.state_folder import LOOPBACK_ONLY


def main() -> None:
    """Run Ray's command line with addresses as they were given."""
    from ray._private import services
    from ray.scripts import scripts

    services.resolve_ip_for_localhost = lambda host: host
    # After Ray has read its own: for the processes this node starts, not for the start itself.
    os.environ.update(LOOPBACK_ONLY)
    scripts.main()


if __name__ == "__main__":
    main()
