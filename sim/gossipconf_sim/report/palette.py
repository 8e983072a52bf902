"""Palette: the colours of all pictures of a run, as roles. Knows no pictures.

Hues are those of Okabe and Ito, which people with any colour vision tell apart. A page
gives each role another shade on a dark background, by replacing the hex digits.
"""

from __future__ import annotations

from typing import Final

INK: Final = "#1b2129"
"""Text."""
MUTED: Final = "#5d6672"
"""Labels of axes, and what is said beside."""
LINE: Final = "#c9ced6"
"""Axes and grids."""
GREY: Final = "#a9b1bc"
"""What is there, and not the subject."""
PAPER: Final = "#fefefe"
"""Behind a picture."""

BLUE: Final = "#0072b2"
ORANGE: Final = "#e69f00"
GREEN: Final = "#009e73"
SKY: Final = "#56b4e9"
RED: Final = "#d55e00"
PURPLE: Final = "#cc79a7"

CLASSES: Final = {"control": PURPLE, "broadcast": BLUE, "ack": ORANGE, "sync": GREEN}
"""Of each frame class."""
QUARTERS: Final = ("#9ecae9", "#5ba3d0", "#2171b5", "#0b4a86")
"""Early to late."""

NAMES: Final = {
    INK: "ink",
    MUTED: "muted",
    LINE: "line",
    GREY: "grey",
    PAPER: "paper",
    BLUE: "blue",
    ORANGE: "orange",
    GREEN: "green",
    SKY: "sky",
    RED: "red",
    PURPLE: "purple",
    **{colour: f"quarter{number}" for number, colour in enumerate(QUARTERS, 1)},
}
"""Of each role, its name in a style sheet."""
DARK: Final = {
    INK: "#e8ebef",
    MUTED: "#a3adba",
    LINE: "#414a56",
    GREY: "#6b7582",
    PAPER: "#171b21",
    BLUE: "#4ba6dd",
    ORANGE: "#f0b429",
    GREEN: "#2fc196",
    SKY: "#8ccdf4",
    RED: "#ff8b45",
    PURPLE: "#e09cc2",
    QUARTERS[0]: "#2c5f86",
    QUARTERS[1]: "#3d8cc0",
    QUARTERS[2]: "#6cb8e6",
    QUARTERS[3]: "#c8e6fa",
}
"""Of each role, the shade on a dark background."""
