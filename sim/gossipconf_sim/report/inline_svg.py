"""Pictures inside a page: matplotlib's SVG as an element that takes the page's colours and font, and is small.

A colour of the palette becomes a variable of the page's style sheet, so that one
picture serves a light background, a dark one and the printer.
"""

from __future__ import annotations

import io
import re
from html import escape
from typing import Final

import matplotlib as mpl
from matplotlib.figure import Figure

from . import palette

_COLOUR: Final = re.compile("|".join(palette.NAMES))
_DIGITS: Final = re.compile(r"(\d\.\d\d)\d+")
_TAG: Final = re.compile(r"<[^>]+>")
_FONT: Final = re.compile(r"font-family: [^;\"]*;? ?")
_IDENTITY: Final = re.compile(r"(\bid=\"|xlink:href=\"#|url\(#)")
_PROLOGUE: Final = re.compile(r"^.*?(?=<svg)", re.DOTALL)
_DESCRIPTION: Final = re.compile(r"<metadata>.*?</metadata>|<style.*?</style>", re.DOTALL)
_ROOT: Final = re.compile(r"<svg[^>]*viewBox=\"([^\"]*)\"[^>]*>")
_PAPER: Final = re.compile(r"<g id=\"patch_1\">.*?</g>", re.DOTALL)


def style() -> str:
    """The variables of a page's style sheet, for a light background and for a dark one."""
    light = " ".join(f"--{name}: {colour};" for colour, name in palette.NAMES.items())
    dark = " ".join(f"--{palette.NAMES[colour]}: {shade};" for colour, shade in palette.DARK.items())
    return f":root {{ {light} }}\n@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}"


def inline_svg(figure: Figure, name: str, words: str) -> str:
    """``figure`` as an SVG element; ``name`` keeps its ids apart from others', ``words`` tell who cannot see it."""
    drawn = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none"}):
        figure.savefig(drawn, format="svg")
    text = _DESCRIPTION.sub("", _PROLOGUE.sub("", drawn.getvalue()))
    text = _PAPER.sub("", text, count=1)
    text = _TAG.sub(lambda tag: _small(tag[0], name), text)
    return _ROOT.sub(rf'<svg viewBox="\1" role="img" aria-label="{escape(words)}">', text, count=1).strip()


def _small(tag: str, name: str) -> str:
    """A tag with the page's colours and font, no more digits than can be seen, and ids of its own."""
    coloured = _COLOUR.sub(lambda colour: f"var(--{palette.NAMES[colour[0]]})", _FONT.sub("", tag))
    return _IDENTITY.sub(rf"\g<1>{name}-", _DIGITS.sub(r"\1", coloured)).replace("\n", " ")
