"""`python -m semquant_book` is the command `semquant`."""

import sys

from semquant_book.press.cli import main

sys.exit(main())
