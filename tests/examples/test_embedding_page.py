"""What the page on embedding shows is what runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from gossipconf import Source
from gossipconf.embed.overrides import variable_of
from tests.runtime.cluster import HANG_S, Site

PAGE = (Path(__file__).parents[2] / "docs" / "embedding.md").read_text()


def test_the_first_example_runs(tmp_path: Path) -> None:
    site = Site(tmp_path / "site")
    directory = site.certificate("checkout-7").key.parent
    (directory / "agent.toml").write_text(f'node = "checkout-7"\nlisten = "127.0.0.1:0"\ncluster = "{site.file}"\n')
    example = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert example is not None
    assert "/etc/gossipconf/checkout-7" in example[1]
    done = subprocess.run(
        [sys.executable, "-c", example[1].replace("/etc/gossipconf/checkout-7", str(directory))],
        capture_output=True,
        text=True,
        check=True,
        timeout=HANG_S,
    )
    assert (done.stdout, done.stderr) == ("500\n", "")


def test_the_fallback_order_is_that_of_the_code() -> None:
    assert re.findall(r"^\| \d \| `(\w+)` \|", PAGE, re.MULTILINE) == [source.name for source in Source]
    assert f"`shop/checkout/timeout-ms` is `{variable_of('shop/checkout/timeout-ms')}`" in PAGE
