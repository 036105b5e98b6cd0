"""Helpers that several test modules share. No test is here, and no test module is imported by another module."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
