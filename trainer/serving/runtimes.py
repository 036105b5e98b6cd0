"""Converts a SavedModel for other runtimes, LiteRT and ONNX Runtime, and runs the files there.

Each file has one signature, which the task chooses: for characters the SavedModel's `image_tensor`, with class names
and temperature in the file; for lines `logits`, since not all runtimes have texts.
"""

import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from common.dataset.schema import Batch, Schema

THREADS = 1

_OF_RECURRENT_LAYERS = "TensorListReserve"

Arrays = dict[str, np.ndarray]
"""The arguments or the results of a model's function, by name."""
Recognise = Callable[..., Arrays]
"""A model's function, in any runtime: from arguments, given by name, to results."""


@dataclass(frozen=True)
class Portable:
    """What the files for other runtimes hold of a task's models, and what their answers mean."""

    signature: str
    function: Callable[[tf.Module], tf.types.experimental.GenericFunction]
    """The function of a loaded SavedModel that a file is made of."""
    inputs: Callable[[Batch], Arrays]
    """Its arguments for a batch."""
    predictions: Callable[[Batch, Arrays, tuple[str, ...]], Arrays]
    """The task's `Predictions` for a batch, from the results and the model's vocabulary. Raises `FailedError` if the
    results contradict each other."""
    read: Callable[[Arrays, tuple[str, ...]], list[str]]
    """What is read, from predictions and vocabulary."""
    figures: Callable[[Arrays, Schema], dict[str, Any]]
    """The metrics of a split, from predictions: accuracy and what else there is."""
    compared: str
    """The result by which a file is compared with the SavedModel."""
    tolerance: float
    """The largest difference of it: other runtimes sum float32 in another order."""
    float_operations: tuple[str, ...] = ()
    """LiteRT's operations that are in float32 even if others are in 8-bit integers."""


@dataclass(frozen=True)
class Format:
    """A kind of file for another runtime."""

    file: str
    modules: tuple[str, ...]
    """The modules that it imports, besides TensorFlow."""
    convert: Callable[[tf.Module, Portable, Sequence[Arrays] | None], bytes]
    """The file's content, from a SavedModel and, unless it is exact, the arguments for some training examples."""
    load: Callable[[bytes], Recognise]
    is_exact: bool = True
    """Whether it gives the SavedModel's answers, up to rounding."""
    has_recurrence: bool = True
    """Whether it can hold recurrent layers for any number of examples."""


def is_recurrent(model: tf.Module, portable: Portable) -> bool:
    """Whether a model has recurrent layers."""
    graph = portable.function(model).get_concrete_function().graph.as_graph_def()
    parts = [graph.node, *(function.node_def for function in graph.library.function)]
    return any(node.op == _OF_RECURRENT_LAYERS for nodes in parts for node in nodes)


def _to_litert(model: tf.Module, portable: Portable, training: Sequence[Arrays] | None = None) -> bytes:
    """A flatbuffer; with training examples, in 8-bit integers whose ranges are calibrated on them."""
    module = tf.Module()
    module.model = model  # so that its weights are saved
    with tempfile.TemporaryDirectory() as folder:
        # Saved again, because a Keras network also saves the first assignments of its weights; the converter would
        # then take weights for variables, and drop their values.
        tf.saved_model.save(module, folder, signatures={portable.signature: portable.function(model)})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[portable.signature])
        if training is None:
            return converter.convert()
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: iter(training)
        # Only the debugger can keep operations in float32.
        options = tf.lite.experimental.QuantizationDebugOptions(denylisted_ops=list(portable.float_operations))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "(?s).*tf.lite.Interpreter is deprecated")  # the debugger has one
            debugger = tf.lite.experimental.QuantizationDebugger(converter=converter, debug_options=options)
        return debugger.get_nondebug_quantized_model()


def _to_onnx(model: tf.Module, portable: Portable) -> bytes:
    import tf2onnx

    function = portable.function(model)
    converted, _ = tf2onnx.convert.from_function(function, function.input_signature)
    return converted.SerializeToString()


def load_saved_model(model: tf.Module, portable: Portable) -> Recognise:
    function = portable.function(model)
    return lambda **inputs: {name: value.numpy() for name, value in function(**inputs).items()}


def _load_litert(content: bytes) -> Recognise:
    from ai_edge_litert.interpreter import Interpreter

    return Interpreter(model_content=content, num_threads=THREADS).get_signature_runner()


def _load_onnx(content: bytes) -> Recognise:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda **inputs: dict(zip(names, session.run(names, inputs), strict=True))


_LITERT: dict[str, Any] = {"modules": ("ai_edge_litert",), "load": _load_litert, "has_recurrence": False}

FORMATS = {
    "litert": Format("model.tflite", convert=lambda model, portable, _: _to_litert(model, portable), **_LITERT),
    "litert_int8": Format("model_int8.tflite", convert=_to_litert, is_exact=False, **_LITERT),
    "onnx": Format(
        "model.onnx", ("tf2onnx", "onnxruntime"), lambda model, portable, _: _to_onnx(model, portable), _load_onnx
    ),
}
