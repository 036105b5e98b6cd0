"""The execution plan for a device, and its log line."""

import pytest
import tensorflow as tf

from common.errors import InputError
from tests.support.settings import changed, train_config
from trainer.distributed import devices
from trainer.distributed.cluster import ALONE
from trainer.distributed.devices import ExecutionPlan

CONFIG = train_config("d", "r")
CNN_FLOPS, DENSE_FLOPS = 4_342_272, 89_600

needs_no_gpu = pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="tells of machines without GPU")


@needs_no_gpu
def test_on_a_cpu_nothing_is_compiled_and_said_so(caplog):
    with caplog.at_level("INFO", "trainer"):
        assert devices.choose_execution(CONFIG, 1, "", CNN_FLOPS) == ExecutionPlan("float32", False, 1)
    assert "float32, without XLA, 1 steps per execution" in caplog.text


@needs_no_gpu
def test_on_a_cpu_small_steps_share_a_call():
    assert (
        devices.choose_execution(changed(CONFIG, global_batch_size=100), 1, "", DENSE_FLOPS).steps_per_execution == 32
    )
    assert devices.choose_execution(CONFIG, 1, "", DENSE_FLOPS).steps_per_execution == 8


@needs_no_gpu
def test_every_choice_can_be_overridden():
    config = changed(CONFIG, precision="bfloat16", jit_compile=True, steps_per_execution=7)
    assert devices.choose_execution(config, 1, "", CNN_FLOPS) == ExecutionPlan("bfloat16", True, 7)
    with pytest.raises(InputError, match=r"--jit-compile True: .* because normalisation is over all"):
        devices.choose_execution(config, 2, "", CNN_FLOPS)
    with pytest.raises(InputError, match="because cnn has max pooling"):
        devices.choose_execution(config, 1, "cnn has max pooling", CNN_FLOPS)


@needs_no_gpu
def test_the_cpu_cannot_be_split_once_it_is_in_use():
    tf.config.list_logical_devices()
    with pytest.raises(InputError, match="--num-virtual-devices 3: TensorFlow is already in use"):
        devices.make_strategy(changed(CONFIG, num_virtual_devices=3), ALONE)


def test_a_machines_replicas_are_known(caplog):
    (replica,) = devices.local_replicas(tf.distribute.MirroredStrategy(["/cpu:0"]))
    assert (replica.id, replica.num_replicas) == (0, 1)
    assert "CPU:0" in replica.device
