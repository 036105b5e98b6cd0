"""The registry of tasks, by the task name in a dataset's schema."""

import tensorflow as tf

from common.dataset.schema import Schema
from common.errors import InputError
from trainer.serving import loading
from trainer.tasks import characters, lines
from trainer.tasks.task import Task

TASKS: dict[str, Task] = {"characters": characters.TASK, "lines": lines.TASK}


def of(schema: Schema) -> Task:
    """The task that a schema names. Raises `InputError` if it is unknown."""
    if schema.task not in TASKS:
        raise InputError(f"task {schema.task!r} of the dataset: is unknown; known tasks: {', '.join(TASKS)}")
    return TASKS[schema.task]


def of_model(model: tf.Module) -> Task:
    """The task of a loaded SavedModel."""
    return TASKS[loading.task_name(model)]
