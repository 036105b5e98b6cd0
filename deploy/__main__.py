"""`python -m deploy`."""

import sys

from deploy.task import main

sys.exit(main())
