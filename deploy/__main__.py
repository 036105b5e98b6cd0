"""`python -m deploy`."""

import sys

from deploy.main import main

sys.exit(main())
