"""Replaces TensorFlow in a session without TensorFlow tests, and in the processes that its tests start."""

import os

import pytest

if "PYTEST_CURRENT_TEST" not in os.environ:  # the import of a test module whose tests all need it
    pytest.skip("imports TensorFlow", allow_module_level=True)
raise RuntimeError("a test without the mark tensorflow imports TensorFlow")
