"""The command `python -m trainer`: parses flags into a configuration, then calls one function."""

import os
import sys
import tempfile
from collections.abc import Sequence

from common import cli, flags
from common.errors import InputError
from trainer.config import recipes
from trainer.config import settings as configs
from trainer.config.commands import CheckConfig, EvaluateConfig, ExportConfig, PredictConfig, ReportConfig, ReviewConfig
from trainer.config.settings import TrainConfig
from trainer.distributed import cluster, supervisor


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    commands = {
        "train": _train,
        "evaluate": _evaluate,
        "report": _report,
        "check": _check,
        "predict": _predict,
        "review": _review,
        "export": _export,
    }
    return cli.run_one_of(commands, "python -m trainer", list(sys.argv[1:] if arguments is None else arguments))


def _train(arguments: list[str]) -> str | int:
    """Train a network on a dataset folder."""
    recipe, others = flags.take("--config", arguments)
    config = flags.parse(
        TrainConfig,
        others,
        "python -m trainer train",
        default=recipes.defaults(recipe, others),
        other_flags={
            "--config": f"takes defaults from a YAML file or a recipe: {', '.join(sorted(recipes.recipes()))}."
        },
    )
    workers = cluster.from_environment()
    if not workers.is_alone and not supervisor.is_supervised():
        configs.check(config)
        cluster.wait_for_peers(workers, config.execution.cluster_timeout)
        return supervisor.supervise(["train", *arguments], config.execution.cluster_timeout)
    import_tensorflow()
    from trainer import train

    return train.run(config, workers)


def _evaluate(arguments: list[str]) -> str:
    """Compute all figures of a finished model on a dataset folder."""
    config = flags.parse(EvaluateConfig, arguments, "python -m trainer evaluate")
    import_tensorflow()
    from trainer import evaluate

    return evaluate.run(config)


def _predict(arguments: list[str]) -> str:
    """Recognise the characters in pictures, IDX files or a dataset folder."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    config = flags.parse(PredictConfig, arguments[:end], "python -m trainer predict")
    import_tensorflow()
    from trainer import predict

    return predict.run(config, tuple(arguments[end + 1 :]) if "--" in arguments else None)


def _review(arguments: list[str]) -> str:
    """Write a page on which people look at predictions and correct them."""
    config = flags.parse(ReviewConfig, arguments, "python -m trainer review")
    from trainer import review

    return review.run(config)


def _export(arguments: list[str]) -> str:
    """Convert the model of a finished run for LiteRT and ONNX Runtime, and measure it there."""
    config = flags.parse(ExportConfig, arguments, "python -m trainer export")
    import_tensorflow()
    from trainer import export

    export.use_one_thread()
    return export.run(config)


def _report(arguments: list[str]) -> str:
    """Write the HTML report of a finished run, or a comparison of several."""
    config = flags.parse(ReportConfig, arguments, "python -m trainer report")
    import_tensorflow()
    from trainer import report

    return report.run(config)


def _check(arguments: list[str]) -> str:
    """Check that the exported models of a run reproduce its test figures."""
    config = flags.parse(CheckConfig, arguments, "python -m trainer check")
    import_tensorflow()
    from trainer import check

    return check.run(config)


def import_tensorflow() -> None:
    """Imports TensorFlow without its start-up notices.

    Called late, because the import takes seconds and `--help` does not need it. TensorFlow writes the notices to the
    process' stderr before it reads any setting. They are shown only if the import fails.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    visible_stderr = os.dup(2)
    with tempfile.TemporaryFile() as notices:
        os.dup2(notices.fileno(), 2)
        try:
            import tensorflow  # noqa: F401
        except ImportError as error:
            notices.seek(0)
            os.write(visible_stderr, notices.read())
            raise InputError(f"cannot import TensorFlow ({error}); install this package's extra cpu or gpu") from None
        finally:
            os.dup2(visible_stderr, 2)
            os.close(visible_stderr)
