"""The command line."""

import sys

from tests.plugins.campaign.run import main

if __name__ == "__main__":
    sys.exit(main())
