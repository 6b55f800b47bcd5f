"""`python -m semquant` is the command `semquant`."""

import sys

from semquant.cli import main

sys.exit(main())
