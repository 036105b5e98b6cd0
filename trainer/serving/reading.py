"""Reading the text off the logits of a line, in the graph: CTC's best path."""

from typing import NamedTuple

import tensorflow as tf

from common.normalize.line import COLUMNS_PER_STEP


class BestPath(NamedTuple):
    """The most probable output of each step, and the characters that they make; the blank is the last output."""

    outputs: tf.Tensor
    """int64 [N, T]."""
    log_probabilities: tf.Tensor
    """float32 [N, T]: those of the outputs, 0 behind the line."""
    begins: tf.Tensor
    """bool [N, T]: where a character begins."""
    is_character: tf.Tensor
    """bool [N, T]: where an output is part of a character."""


def steps_of(widths: tf.Tensor) -> tf.Tensor:
    """The number of steps, int64 [N], of lines of these widths."""
    return (widths + COLUMNS_PER_STEP - 1) // COLUMNS_PER_STEP


def best_path(logits: tf.Tensor, steps: tf.Tensor) -> BestPath:
    """Of logits float32 [N, T, C+1], of which the first `steps`, int64 [N], of each line count."""
    blank = logits.shape[-1] - 1
    outputs = tf.argmax(logits, axis=-1)
    is_inside = tf.sequence_mask(steps, tf.shape(logits)[1])
    before = tf.pad(outputs[:, :-1], ((0, 0), (1, 0)), constant_values=blank)
    is_character = is_inside & (outputs != blank)
    best = tf.reduce_max(logits, axis=-1) - tf.reduce_logsumexp(logits, axis=-1)
    return BestPath(outputs, tf.where(is_inside, best, 0), is_character & (outputs != before), is_character)


def log_confidence(path: BestPath) -> tf.Tensor:
    """The mean log probability a character, float32 [N], of all outputs that make a reading, blanks included."""
    num_characters = tf.math.count_nonzero(path.begins, axis=1, dtype=tf.float32)
    return tf.reduce_sum(path.log_probabilities, axis=1) / tf.maximum(num_characters, 1)


def texts(path: BestPath, vocabulary: tuple[str, ...]) -> tf.Tensor:
    """The readings, string [N]."""
    characters = tf.gather(tf.constant([*vocabulary, ""]), path.outputs)
    return tf.strings.reduce_join(tf.where(path.begins, characters, ""), axis=1)


def characters(path: BestPath) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Of each character its probability, float32, its first step and the one behind its last, int32: [N, L] each.

    L is the length of the longest reading; what is behind a shorter one is 0.
    """
    num_rows, num_steps = tf.unstack(tf.shape(path.outputs))
    counts = tf.math.count_nonzero(path.begins, axis=1, dtype=tf.int32)
    longest = tf.maximum(tf.reduce_max(counts), 1)
    number = tf.cumsum(tf.cast(path.begins, tf.int32), axis=1) - 1
    # A place for what is no character, at the end of each row.
    number = tf.where(path.is_character, number, longest) + tf.range(num_rows)[:, None] * (longest + 1)

    def largest(values: tf.Tensor, initial: float) -> tf.Tensor:
        found = tf.math.unsorted_segment_max(values, number, num_rows * (longest + 1))
        found = tf.reshape(found, [num_rows, longest + 1])[:, :longest]
        return tf.where(tf.sequence_mask(counts, longest), found, tf.cast(initial, found.dtype))

    places = tf.broadcast_to(tf.range(num_steps), [num_rows, num_steps])
    probability = tf.exp(largest(path.log_probabilities, 0)) * tf.sequence_mask(counts, longest, tf.float32)
    return probability, -largest(-places, 0), largest(places + 1, 0)


def errors(path: BestPath, texts: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
    """The edit distance, int64 [N], from each reading to its text, int64 [N, L], of which `lengths`, [N], count."""
    read = tf.ragged.boolean_mask(path.outputs, path.begins).to_sparse()
    true = tf.RaggedTensor.from_tensor(texts, lengths).to_sparse()
    return tf.cast(tf.edit_distance(read, true, normalize=False), tf.int64)
