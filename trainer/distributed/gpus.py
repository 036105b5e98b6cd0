"""Checks that a machine has the GPUs that its job was started for: the launcher sets their number, `EXPECTED_GPUS`.

If TensorFlow cannot use a GPU, mostly because it does not find the driver's library, it silently trains on the CPU.
Such a job would waste a day of a GPU, so it is refused instead.
"""

import ctypes
import os
import re
from pathlib import Path

from common.errors import InputError

EXPECTED_GPUS = "EXPECTED_GPUS"
DRIVER_LIBRARY = "libcuda.so.1"

_DRIVER_VERSION = Path("/proc/driver/nvidia/version")


def num_expected() -> int:
    """The number of GPUs that this machine should have; 0 if unset. Raises `InputError` if it is no number."""
    text = os.environ.get(EXPECTED_GPUS, "0")
    if not text.isdecimal():
        raise InputError(f"{EXPECTED_GPUS} {text!r}: must be the number of this machine's GPUs")
    return int(text)


def check_driver() -> None:
    """Raises `InputError` if GPUs are expected, and the driver's library cannot be loaded. Needs no TensorFlow."""
    if num_expected() and _library_fault():
        raise InputError(_complaint(num_gpus=0))


def check_count(num_gpus: int, is_built_with_cuda: bool) -> None:
    """Raises `InputError` if TensorFlow has found fewer GPUs than are expected."""
    if num_gpus < num_expected():
        raise InputError(
            _complaint(num_gpus) + ("" if is_built_with_cuda else "; this TensorFlow was built without CUDA")
        )


def _complaint(num_gpus: int) -> str:
    fault = _library_fault()
    library = f"cannot be loaded ({fault})" if fault else "can be loaded"
    return (
        f"{EXPECTED_GPUS} {num_expected()}: {num_gpus} found on this machine; NVIDIA's driver: {_driver_version()}; "
        f"its library {DRIVER_LIBRARY}: {library}; GKE and Vertex AI mount it in /usr/local/nvidia/lib64, which has to "
        f"be in LD_LIBRARY_PATH ({os.environ.get('LD_LIBRARY_PATH') or 'not set'})"
    )


def _library_fault() -> str:
    """Why the driver's library cannot be loaded; empty if it can."""
    try:
        ctypes.CDLL(DRIVER_LIBRARY)
    except OSError as error:
        return str(error)
    return ""


def _driver_version() -> str:
    try:
        version = re.match(r"NVRM version: .*?\s(\d+\.\d[\d.]*)\s", _DRIVER_VERSION.read_text())
    except OSError:
        return f"none ({_DRIVER_VERSION} is missing)"
    return version[1] if version else "of an unknown version"
