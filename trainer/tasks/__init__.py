"""The registry of tasks, by the task name in a dataset's schema."""

from common.dataset.schema import Schema
from common.errors import InputError
from trainer.tasks import characters, lines
from trainer.tasks.task import Task

TASKS: dict[str, Task] = {"characters": characters.TASK, "lines": lines.TASK}


def of(schema: Schema) -> Task:
    """The task that a schema names. Raises `InputError` if it is unknown."""
    if schema.task not in TASKS:
        raise InputError(f"task {schema.task!r} of the dataset: is unknown; known tasks: {', '.join(TASKS)}")
    return TASKS[schema.task]
