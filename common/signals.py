"""Processes that work for another one."""

import os
import threading
import time


def end_with(parent: int) -> None:
    """Ends this process soon after its `parent` was killed; by itself it would wait for work for ever."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
