"""The machine that a figure was measured on."""

import os
import platform
from pathlib import Path


def describe() -> str:
    """Processor, cores and Python."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
    return f"{(names or [platform.processor()])[0]}, {os.cpu_count()} cores, Python {platform.python_version()}"
