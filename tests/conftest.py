"""What all tests share. `--hypothesis-profile=thorough` looks twenty times as far as the default."""

from __future__ import annotations

import signal

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "default", deadline=None, derandomize=True, max_examples=100, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("thorough", settings.get_profile("default"), derandomize=False, max_examples=2_000)
settings.load_profile("default")


@pytest.fixture
def interruptible():
    """This process, and those that a test starts meanwhile, heed SIGINT, also where this one was started to ignore it,
    as a shell's job in the background is."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
