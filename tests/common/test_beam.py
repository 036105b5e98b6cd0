"""Beam's own options: unknown ones are refused, and by default nothing is downloaded."""

import pytest
from apache_beam.options.pipeline_options import DirectOptions, GoogleCloudOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from common.beam import make_pipeline
from common.errors import InputError


@pytest.mark.parametrize("flags", [(), ("--runner", "DirectRunner"), ("--runner=DirectRunner",)])
def test_by_default_the_pipeline_runs_in_this_process(flags):
    pipeline = make_pipeline(flags, local_workers=1)
    assert type(pipeline.runner) is FnApiRunner
    assert pipeline.options.view_as(DirectOptions).direct_running_mode == "in_memory"


def test_several_workers_are_processes():
    options = make_pipeline((), local_workers=3).options.view_as(DirectOptions)
    assert (options.direct_num_workers, options.direct_running_mode) == (3, "multi_processing")


def test_beams_own_options_reach_it():
    options = make_pipeline(("--project", "mine", "--region=europe-west4"), 1).options.view_as(GoogleCloudOptions)
    assert (options.project, options.region) == ("mine", "europe-west4")


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (("--projct", "mine"), "unknown Beam option --projct; did you mean --project"),
        (("project",), "unknown Beam option project"),
        (("--direct_num_workers", "two"), "direct_num_workers: invalid int value: 'two'"),
        (("--runner", "NoRunner"), "--runner NoRunner: Unexpected pipeline runner.*DataflowRunner"),
    ],
)
def test_what_beam_does_not_know_is_refused(flags, complaint):
    with pytest.raises(InputError, match=complaint):
        make_pipeline(flags, 1)
