"""What runs in a guest: the supervisor, and with it the agents, by the compiled build where the host has one.

python -m testbed.engines.vkernel.inside <job directory>
"""

import os
import sys

if os.environ["OAE_COMPILED"] != "0":  # looking for a build takes a tenth of a second in a guest
    from testbed import compiled

    compiled.use()  # before anything that was compiled is imported

from testbed.engines.live.supervisor import main

if __name__ == "__main__":
    sys.exit(main([*sys.argv, "virtual"]))
