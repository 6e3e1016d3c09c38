"""python3 -m fff_client.export."""

import sys

from .command import main

sys.exit(main())
