"""The tasks, and the one look-up of them: by the name that a dataset's schema has."""

from common.dataset.schema import Schema
from common.errors import InputError
from trainer.tasks import characters
from trainer.tasks.task import Task

TASKS: dict[str, Task] = {"characters": characters.TASK}


def of(schema: Schema) -> Task:
    """Raises `InputError` for a task that this program does not know."""
    if schema.task not in TASKS:
        raise InputError(f"the dataset's task is {schema.task!r}; this program knows {', '.join(TASKS)}")
    return TASKS[schema.task]
