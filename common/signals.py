"""Signals: a stop that waits until work is saved, and workers that end with their parent process."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from common.errors import StoppedError


class StopRequest:
    """Records a SIGTERM or SIGINT; `raise_if_made` then ends the command as that signal would have."""

    def __init__(self) -> None:
        self._signal: int | None = None

    @property
    def is_made(self) -> bool:
        return self._signal is not None

    def make(self, number: int = signal.SIGTERM, *_: object) -> None:
        self._signal = number

    def raise_if_made(self) -> None:
        if self._signal == signal.SIGINT:
            raise KeyboardInterrupt
        if self._signal is not None:
            raise StoppedError


@contextmanager
def deferred_stop() -> Iterator[StopRequest]:
    """Lets work be saved before a stop: the first SIGTERM or SIGINT only makes the request, the next ends it at once.

    Outside the main thread, where Python handles no signals, the request is never made.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    previous = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def make(number: int, *_: object) -> None:
        request.make(number)
        signal.signal(number, previous[number])

    for number in previous:
        signal.signal(number, make)
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def end_with(parent: int) -> None:
    """Ends this process soon after its `parent` is killed; otherwise it would wait for work forever."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
