"""`python -m trainer`."""

import sys

from trainer.task import main

sys.exit(main())
