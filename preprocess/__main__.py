"""`python -m preprocess`."""

import sys

from preprocess.main import main

sys.exit(main())
