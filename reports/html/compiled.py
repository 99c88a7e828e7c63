"""Compiled charts: one script for the page, one static picture for each chart.

vl-convert carries Vega, Vega-Lite and Vega-Embed inside, so neither needs a network.
"""

from __future__ import annotations

import functools
import json
import re
from importlib import resources
from typing import Any

import vl_convert
from altair import SCHEMA_VERSION
from markupsafe import Markup, escape

from reports.html.charts import Chart

STATIC_WIDTH = 640
_SCRIPT_SAFE = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


@functools.cache
def script() -> str:
    """The one inlined script: Vega and the page's own lines."""
    own = resources.files("reports.html").joinpath("charts.js").read_text(encoding="utf-8")
    bundle = str(vl_convert.javascript_bundle(own, vl_version=_vega_lite_version()))
    # A literal end tag inside a string of the script would end the script element.
    return bundle.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def spec_json(chart: Chart) -> Markup:
    """The specification for a JSON script element; nothing in it can end the element."""
    text = json.dumps(chart.spec, separators=(",", ":"), allow_nan=False)
    return Markup(text.translate(_SCRIPT_SAFE))


def static_svg(chart: Chart) -> Markup:
    """The chart as a picture with a title and a description, free of ids and of fixed size."""
    spec: dict[str, Any] = chart.spec | {"width": STATIC_WIDTH, "autosize": {"type": "fit-x"}}
    svg = str(vl_convert.vegalite_to_svg(spec, vl_version=_vega_lite_version()))
    head, _, body = svg.partition(">")
    box = re.search(r'viewBox="[-0-9. ]+"', head)
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" {box.group() if box else ""} role="img" '
        f'aria-labelledby="{escape(chart.id)}-t {escape(chart.id)}-d">'
        f'<title id="{escape(chart.id)}-t">{escape(chart.title)}</title>'
        f'<desc id="{escape(chart.id)}-d">{escape(chart.description)}</desc>'
    )
    return Markup(opening + _round(body))


def _round(body: str) -> str:
    """Coordinates with one decimal: a third of the size, and no visible difference."""
    return re.sub(r"(\d+\.\d)\d+", r"\1", body)


def _vega_lite_version() -> str:
    """The version that vl-convert carries and that is nearest to Altair's schema."""
    wanted = re.match(r"v(\d+)\.(\d+)", SCHEMA_VERSION)
    known = vl_convert.get_vegalite_versions()
    exact = f"{wanted.group(1)}.{wanted.group(2)}" if wanted else known[-1]
    return exact if exact in known else str(known[-1])
