"""The stock `tensorboard` shows a run's logs."""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from PIL import Image

from tests.support.settings import train_config
from tests.support.workers import free_port
from trainer import train


@pytest.mark.xdist_group("alone")
def test_tensorboard_shows_figures_and_augmented_examples(synthetic_digits, tmp_path):
    config = train_config(
        *(str(synthetic_digits), str(tmp_path / "run")),
        model="dense",
        epochs=2,
        global_batch_size=64,
        schedule="cosine",
        augmentation=("rotate",),
        verify_export=False,
    )
    run = Path(train.run(config))
    port = free_port()
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(run / "logs"), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as board:
        try:

            def get(plugin: str, **query: str):
                address = f"http://127.0.0.1:{port}/data/plugin/{plugin}?{urllib.parse.urlencode(query)}"
                return json.loads(urllib.request.urlopen(address, timeout=10).read())

            wait_for(lambda: get("scalars/tags").get("validation"))
            tags = get("scalars/tags")
            assert set(tags["train"]) == {"loss", "accuracy", "learning rate", "examples per second", "loss by step"}
            assert set(tags["validation"]) == {"loss", "accuracy"}
            epochs = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
            for split in ("train", "validation"):
                shown = get("scalars/scalars", tag="accuracy", run=split)
                assert [(step, round(value, 5)) for _, step, value in shown] == [
                    (epoch["step"], round(epoch[split]["accuracy"], 5)) for epoch in epochs
                ]
            steps = [step for _, step, _ in get("scalars/scalars", tag="loss by step", run="train")]
            assert steps == [50, 100]
            (picture,) = get("images/images", tag="augmentation", run="train", sample="0")
            address = f"http://127.0.0.1:{port}/data/plugin/images/individualImage?{picture['query']}"
            shown = Image.open(urllib.request.urlopen(address, timeout=10))
            assert shown.size == Image.open(run / "augmentation.png").size
        finally:
            board.terminate()


def wait_for(condition) -> None:
    for _ in range(200):
        try:
            if condition():
                return
        except (urllib.error.URLError, ConnectionError):
            pass
        time.sleep(0.2)
    raise AssertionError("TensorBoard does not show the run")
