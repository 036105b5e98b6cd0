"""Stands in for TensorFlow in a session without its tests, and in the processes that this session's tests start."""

import os

import pytest

if "PYTEST_CURRENT_TEST" not in os.environ:  # a test module is imported, all of whose tests need it
    pytest.skip("imports TensorFlow", allow_module_level=True)
raise RuntimeError("a test without the mark tensorflow imports TensorFlow")
