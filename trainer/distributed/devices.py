"""Devices: the strategy that uses all of them, and the execution plan that makes it fast."""

import logging
import signal
from dataclasses import dataclass
from typing import Literal

import tensorflow as tf

from common.errors import InputError, PeerLostError
from trainer.config.settings import TrainConfig
from trainer.distributed import gpus, supervisor
from trainer.distributed.cluster import Cluster

_FIRST_GENERATION_WITH_BFLOAT16 = (8, 0)  # NVIDIA's compute capability

_MOST_STEPS_PER_CALL = 32
_FLOPS_OF_CPU_CALL = 2_000_000_000  # some tens of milliseconds
_PASSES_OF_A_STEP = 3  # forward, and backward to the inputs and to the weights

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LocalReplica:
    """A replica of the network on a device of this machine."""

    id: int
    """The replica's index among those of all workers, which decides its part of each batch."""
    num_replicas: int
    """The number of replicas of all workers."""
    device: str
    strategy: tf.distribute.Strategy


@dataclass(frozen=True)
class ExecutionPlan:
    """The settings that make a step fast: they change how it is computed, not what."""

    precision: Literal["float32", "bfloat16"]
    jit_compile: bool
    steps_per_execution: int


def make_strategy(config: TrainConfig, workers: Cluster) -> tf.distribute.Strategy:
    """Makes and logs the strategy for this machine and cluster. TensorFlow must not have been used before.

    `MultiWorkerMirroredStrategy` for several workers; otherwise `MirroredStrategy` over all GPUs, or over the CPU,
    split into `num_virtual_devices`. Raises `InputError` if the CPU cannot be split, or if this machine has fewer GPUs
    than the job was started for.
    """
    gpu_names = _gpu_names()
    gpus.check_count(len(gpu_names), tf.test.is_built_with_cuda())
    if config.execution.num_virtual_devices > 1:
        _split_cpu(config.execution.num_virtual_devices, bool(gpu_names), not workers.is_alone)
    if not workers.is_alone:
        supervisor.report(supervisor.JOINING)
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        strategy = tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=_resolver(workers))
        for number, handler in handlers.items():  # TensorFlow has replaced them by its own
            signal.signal(number, handler)
        supervisor.report(supervisor.JOINED)
        _log.info(
            "MultiWorkerMirroredStrategy on %d workers; this is worker %d: %s",
            len(workers.addresses),
            workers.index,
            ", ".join(gpu_names) or "no GPU found, on the CPU",
        )
        return strategy
    if gpu_names:
        _log.info("MirroredStrategy on %d GPUs: %s", len(gpu_names), ", ".join(gpu_names))
        return tf.distribute.MirroredStrategy([gpu.name for gpu in tf.config.list_logical_devices("GPU")])
    cpus = [device.name for device in tf.config.list_logical_devices("CPU")]
    _log.info("no GPU found; MirroredStrategy on the CPU: %s", ", ".join(cpus))
    return tf.distribute.MirroredStrategy(cpus)


def _resolver(workers: Cluster) -> tf.distribute.cluster_resolver.ClusterResolver:
    """The resolver that TensorFlow would make from TF_CONFIG, which Kubernetes does not set."""
    addresses = tf.train.ClusterSpec({"worker": list(workers.addresses)})
    return tf.distribute.cluster_resolver.SimpleClusterResolver(
        addresses, task_type="worker", task_id=workers.index, rpc_layer="grpc"
    )


def local_replicas(strategy: tf.distribute.Strategy) -> list[LocalReplica]:
    """The replicas on this machine, in order."""
    ids = []

    def note(context: tf.distribute.experimental.ValueContext) -> tf.Tensor:
        ids.append(int(context.replica_id_in_sync_group))
        return tf.constant(0)

    strategy.experimental_distribute_values_from_function(note)
    devices = strategy.extended.worker_devices
    return [
        LocalReplica(number, strategy.num_replicas_in_sync, device, strategy)
        for number, device in zip(ids, devices, strict=True)
    ]


def choose_execution(config: TrainConfig, num_replicas: int, obstacle: str, flops_per_image: int) -> ExecutionPlan:
    """Chooses by device what `config` leaves open, and logs the plan.

    On a CPU, bfloat16 and XLA make training slower (four times and eight times on two cores), and steps share a call
    only if they are so small that the call's overhead counts. XLA cannot compile the joint operations of several
    replicas. `obstacle` is why else it cannot compile this training, or empty. Raises `InputError` if `jit_compile`
    demands it.
    """
    gpu_devices = tf.config.list_physical_devices("GPU")
    has_bfloat16 = bool(gpu_devices) and all(
        tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0))
        >= _FIRST_GENERATION_WITH_BFLOAT16
        for gpu in gpu_devices
    )
    precision = config.execution.precision
    if precision == "auto":
        precision = "bfloat16" if has_bfloat16 else "float32"
    can_compile = num_replicas == 1 and not obstacle
    jit_compile = (
        bool(gpu_devices) and can_compile if config.execution.jit_compile is None else config.execution.jit_compile
    )
    if jit_compile and not can_compile:
        why = "normalisation is over all devices" if num_replicas > 1 else obstacle
        raise InputError(f"--jit-compile True: XLA cannot compile this, because {why}")
    flops_of_step = _PASSES_OF_A_STEP * flops_per_image * config.global_batch_size
    steps_per_execution = (
        _MOST_STEPS_PER_CALL if gpu_devices else min(_MOST_STEPS_PER_CALL, 1 + _FLOPS_OF_CPU_CALL // flops_of_step)
    )
    execution = ExecutionPlan(precision, jit_compile, config.execution.steps_per_execution or steps_per_execution)
    _log.info(
        "%s, %s XLA, %d steps per execution",
        execution.precision,
        "with" if jit_compile else "without",
        execution.steps_per_execution,
    )
    return execution


def check_agreement(workers: Cluster, strategy: tf.distribute.Strategy, step: int) -> None:
    """Raises `PeerLostError` if the workers have read different checkpoints and would not all resume at `step`."""
    if not workers.is_alone:
        steps = strategy.gather(strategy.run(lambda: tf.constant([step], tf.int64)), axis=0).numpy()
        if len(set(steps.tolist())) > 1:
            raise PeerLostError(f"the workers read checkpoints of different steps {steps}; start all workers again")


def wait_for_all(workers: Cluster, strategy: tf.distribute.Strategy) -> None:
    """Returns when all workers have reached this point: one that ends earlier counts as lost."""
    if not workers.is_alone:
        strategy.reduce(tf.distribute.ReduceOp.SUM, strategy.run(lambda: tf.constant(1.0)), axis=None)


def describe() -> list[str]:
    """This machine's devices, for `run.json`."""
    return [device.name for device in tf.config.list_logical_devices("CPU")] + _gpu_names()


def _gpu_names() -> list[str]:
    return [
        tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)
        for gpu in tf.config.list_physical_devices("GPU")
    ]


def _split_cpu(parts: int, has_gpus: bool, is_one_of_several: bool) -> None:
    flag = f"--num-virtual-devices {parts}"
    if has_gpus or is_one_of_several:
        why = "there are GPUs" if has_gpus else "TF_CONFIG names several workers, which use a CPU as a whole"
        raise InputError(f"{flag}: splits the CPU, but {why}")
    (cpu,) = tf.config.list_physical_devices("CPU")
    try:
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * parts)
    except RuntimeError:
        raise InputError(f"{flag}: TensorFlow is already in use in this process") from None
