"""A site for the agents of these tests."""

from __future__ import annotations

import pytest

from tests.runtime.cluster import Site


class SiteWithSchemas(Site):
    """A site whose admin publishes schemas too."""

    ADMIN_PREFIXES = ("", "_schemas")


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return SiteWithSchemas(tmp_path_factory.mktemp("site"))
