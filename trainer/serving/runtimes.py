"""Converts a SavedModel for other runtimes, LiteRT and ONNX Runtime, and runs the files there.

Each file has the SavedModel's signature `image_tensor`: it takes images uint8 [N, H, W, 1], any N, light on dark and
upright, and returns `probabilities` float32 [N, C], calibrated, `class_index` int64 [N] and `class_name` string [N].
Class names and temperature are in the file.
"""

import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

THREADS = 1

_SIGNATURE = "image_tensor"

Recognise = Callable[[np.ndarray], dict[str, np.ndarray]]
"""From images uint8 [N, H, W, 1] to what the signature returns, by name."""


@dataclass(frozen=True)
class Format:
    """A kind of file for another runtime."""

    file: str
    modules: tuple[str, ...]
    """The modules that it imports, besides TensorFlow."""
    convert: Callable[[tf.Module, np.ndarray | None], bytes]
    """The file's content, from a SavedModel and, unless it is exact, training images."""
    load: Callable[[bytes], Recognise]
    is_exact: bool = True
    """Whether it gives the SavedModel's probabilities, up to rounding."""


def _image_tensor(model: tf.Module) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    signature = model.signatures[_SIGNATURE]
    input_signature = list(signature.structured_input_signature[1].values())
    return tf.function(lambda image: signature(image=image), input_signature=input_signature)


def _to_litert(model: tf.Module, training_images: np.ndarray | None = None) -> bytes:
    """A flatbuffer; with training images, in 8-bit integers whose ranges are calibrated on them."""
    module = tf.Module()
    module.model = model  # so that its weights are saved
    image_tensor = _image_tensor(model)
    with tempfile.TemporaryDirectory() as folder:
        # Saved again, because a Keras network also saves the first assignments of its weights; the converter would
        # then take weights for variables, and drop their values.
        tf.saved_model.save(module, folder, signatures={_SIGNATURE: image_tensor})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[_SIGNATURE])
        if training_images is None:
            return converter.convert()
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ({"image": image[None]} for image in training_images)
        # An 8-bit softmax would round probabilities to 256ths and the smallest to 0, and leave ties for the most
        # probable class. Only the debugger can keep operations in float32.
        options = tf.lite.experimental.QuantizationDebugOptions(denylisted_ops=["SOFTMAX", "ARG_MAX"])
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "(?s).*tf.lite.Interpreter is deprecated")  # the debugger has one
            debugger = tf.lite.experimental.QuantizationDebugger(converter=converter, debug_options=options)
        return debugger.get_nondebug_quantized_model()


def _to_onnx(model: tf.Module) -> bytes:
    import tf2onnx

    image_tensor = _image_tensor(model)
    converted, _ = tf2onnx.convert.from_function(image_tensor, image_tensor.input_signature)
    return converted.SerializeToString()


def load_saved_model(model: tf.Module) -> Recognise:
    signature = model.signatures[_SIGNATURE]
    return lambda images: {name: value.numpy() for name, value in signature(image=tf.constant(images)).items()}


def _load_litert(content: bytes) -> Recognise:
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(model_content=content, num_threads=THREADS).get_signature_runner(_SIGNATURE)
    return lambda images: runner(image=images)


def _load_onnx(content: bytes) -> Recognise:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda images: dict(zip(names, session.run(names, {"image": images}), strict=True))


FORMATS = {
    "litert": Format("model.tflite", ("ai_edge_litert",), lambda model, _: _to_litert(model), _load_litert),
    "litert_int8": Format("model_int8.tflite", ("ai_edge_litert",), _to_litert, _load_litert, is_exact=False),
    "onnx": Format("model.onnx", ("tf2onnx", "onnxruntime"), lambda model, _: _to_onnx(model), _load_onnx),
}
