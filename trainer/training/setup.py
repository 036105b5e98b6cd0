"""The setup of a training: everything that stays the same from its first step to its last."""

from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf

from trainer.config.settings import TrainConfig
from trainer.data.datasets import Dataset
from trainer.distributed.cluster import Cluster
from trainer.distributed.devices import ExecutionPlan
from trainer.runs.ancestry import Ancestry
from trainer.tasks.task import Task


@dataclass(frozen=True)
class Setup:
    config: TrainConfig
    dataset: Dataset
    task: Task
    workers: Cluster
    strategy: tf.distribute.Strategy
    execution: ExecutionPlan
    run_dir: Path
    """The run folder, or its local copy if it is in a bucket. All workers read checkpoints there; the chief writes."""
    ancestry: Ancestry

    @property
    def num_replicas(self) -> int:
        return self.strategy.num_replicas_in_sync
