"""The settings of devices and workers."""

from dataclasses import dataclass
from typing import Annotated, Literal

from common.marks import OPERATIONAL, RARE, Count, Formerly, Positive


@dataclass(frozen=True)
class ExecutionConfig:
    """Where and how the training runs; by default on all GPUs of the machine, or on the CPU."""

    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of the layers while training; auto: bfloat16 on GPUs that have it."""
    cluster_timeout: Annotated[Positive, OPERATIONAL, RARE] = 600.0
    """Seconds to wait for the other workers, where TF_CONFIG names several."""
    num_virtual_devices: Annotated[Count, RARE] = 1
    """Split the CPU into this many devices, to try out what several GPUs would do."""
    jit_compile: Annotated[bool | None, RARE] = None
    """Compile with XLA; by default on a single GPU, if the network has no max pooling."""
    steps_per_execution: Annotated[Count | None, Formerly("steps_per_call"), RARE] = None
    """Steps that the device takes between two looks at the clock, at signals and at the loss; by default 32 on GPUs,
    and 1 to 32 on a CPU, by a step's size."""
    profile: Annotated[bool, OPERATIONAL, RARE] = False
    """Write a TensorFlow profile of some steps to the run folder's logs."""
