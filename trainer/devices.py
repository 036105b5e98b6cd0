"""Which devices there are, and the strategy that uses all of them."""

import logging

import tensorflow as tf

from preprocess.errors import InputError

_log = logging.getLogger(__name__)


def make_strategy(num_virtual_devices: int) -> tf.distribute.Strategy:
    """`MirroredStrategy` over all GPUs, or over the CPU where there is none; says which, in one line.

    `num_virtual_devices` splits the CPU, which must happen before TensorFlow has used it. Raises `InputError` if asked
    to where there are GPUs or where it is too late.
    """
    gpus = tf.config.list_logical_devices("GPU") if tf.config.list_physical_devices("GPU") else []
    if gpus:
        if num_virtual_devices != 1:
            raise InputError(f"--num-virtual-devices {num_virtual_devices}: splits the CPU, but there are GPUs")
        names = [
            tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)
            for gpu in tf.config.list_physical_devices("GPU")
        ]
        _log.info("MirroredStrategy on %d GPUs: %s", len(gpus), ", ".join(names))
        return tf.distribute.MirroredStrategy([gpu.name for gpu in gpus])
    (cpu,) = tf.config.list_physical_devices("CPU")
    if num_virtual_devices > 1:
        parts = [tf.config.LogicalDeviceConfiguration()] * num_virtual_devices
        try:
            tf.config.set_logical_device_configuration(cpu, parts)
        except RuntimeError:
            raise InputError("--num-virtual-devices: TensorFlow is already in use in this process") from None
    cpus = tf.config.list_logical_devices("CPU")
    _log.info("no GPU found; MirroredStrategy on the CPU: %s", ", ".join(device.name for device in cpus))
    return tf.distribute.MirroredStrategy([device.name for device in cpus])
