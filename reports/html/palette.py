"""Colours of the charts, as literals that the style sheet maps to its variables.

A chart is drawn once, in the light palette. `style.css` overrides each literal by attribute
selector (`[stroke="#1d4ed8"]`), so that static and live charts follow dark mode and print
without being drawn again. A literal here therefore needs its rule there (tested).
"""

SERIES = "#1d4ed8"
"""The attack, the members."""
SECOND = "#b45309"
"""The nonmembers."""
INK = "#1f2937"
MUTED = "#5b6472"
GRID = "#e5e7eb"
SHADE = "#9aa3af"
"""What the sample cannot resolve."""
LIMIT = "#b42318"
PAPER = "#ffffff"

ALL = (SERIES, SECOND, INK, MUTED, GRID, SHADE, LIMIT, PAPER)
