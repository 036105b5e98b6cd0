"""`python -m preprocess`."""

import sys

from preprocess.task import main

sys.exit(main())
