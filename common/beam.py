"""Builds a pipeline from Beam's own options, and checks them, because Beam only warns of unknown ones."""

import difflib
import logging
from typing import NoReturn

import apache_beam as beam
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions
from apache_beam.runners import create_runner
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from common.errors import InputError


def make_pipeline(flags: tuple[str, ...], local_workers: int) -> beam.Pipeline:
    """An empty pipeline on the runner that `flags` name, in this process if they name none.

    Raises `InputError` for an option, a value or a runner that Beam does not know.
    """
    options = PipelineOptions(list(flags))
    runner = options.view_as(StandardOptions).runner
    if runner == "DaskRunner":
        runner = _load_dask_runner()
    _check(flags)
    if runner not in (None, "DirectRunner"):
        try:
            return beam.Pipeline(create_runner(runner), options)
        except (RuntimeError, ValueError, ImportError, AttributeError) as error:
            raise InputError(f"--runner {runner}: {' '.join(str(error).split())}") from None
    # Beam's DirectRunner would first try to download another runner, Prism, and fall back to this one.
    if local_workers > 1:
        direct = options.view_as(DirectOptions)
        direct.direct_num_workers = local_workers
        direct.direct_running_mode = "multi_processing"
        # Each worker process warns about a folder that only containers have.
        logging.getLogger("apache_beam.runners.portability.local_job_service").addFilter(_is_worth_reading)
    return beam.Pipeline(FnApiRunner(), options)


def _load_dask_runner() -> str:
    """The name by which Beam finds its Dask runner. Importing it also makes Beam know Dask's options."""
    try:
        from apache_beam.runners.dask.dask_runner import DaskRunner
    except ImportError:
        raise InputError("--runner DaskRunner: Dask is not installed; install this package's extra dask") from None
    return f"{DaskRunner.__module__}.{DaskRunner.__name__}"


def _is_worth_reading(record: logging.LogRecord) -> bool:
    return "No semi_persistent_directory found" not in record.getMessage()


def _check(flags: tuple[str, ...]) -> None:
    parsers = []
    PipelineOptions([]).get_all_options(add_extra_args_fn=parsers.append)
    (parser,) = parsers

    def refuse(message: str) -> NoReturn:
        raise InputError(f"Beam options: {message}")

    parser.error = refuse
    _, unknown = parser.parse_known_args(list(flags))
    if unknown:
        known = sorted(option for action in parser._actions for option in action.option_strings if option[:2] == "--")
        near = difflib.get_close_matches(unknown[0].split("=")[0], known)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise InputError(f"unknown Beam option {unknown[0]}; {hint}Known: {', '.join(known)}")
