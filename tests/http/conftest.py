"""A site for the agents of these tests."""

from __future__ import annotations

import pytest

from tests.runtime.cluster import Site


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("site"))
