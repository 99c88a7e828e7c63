"""What every page of ours has: one style sheet, one script, a strict policy, escaping."""

from __future__ import annotations

import base64
import hashlib
import re
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from attacks.wording import p_equals
from reports import text
from reports.html import charts, compiled


def fill(template: str, **values: Any) -> str:
    """A whole page from a template, with style, script and policy."""
    style, script = source("style.css"), compiled.script()
    return (
        environment()
        .get_template(template)
        .render(
            style=Markup(style),  # noqa: S704
            script=Markup(script),  # noqa: S704
            csp=_policy(style, script),
            **values,
        )
    )


def compile_chart(chart: charts.Chart) -> dict[str, Any]:
    """A chart with its specification and its static picture."""
    return {
        "chart": chart,
        "spec": compiled.spec_json(chart),
        "svg": compiled.static_svg(chart),
    }


def _policy(style: str, script: str) -> str:
    """A content security policy that allows this script and this style sheet and nothing else."""
    return (
        f"default-src 'none'; script-src {_digest(script)}; style-src {_digest(style)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _digest(source: str) -> str:
    digest = hashlib.sha256(source.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def source(name: str) -> str:
    """A template or the style sheet, as text."""
    return resources.files("reports.html").joinpath(name).read_text(encoding="utf-8")


def environment() -> jinja2.Environment:
    """Templates of this package, autoescaped, with the formats of figures."""
    templates = jinja2.Environment(
        loader=jinja2.FunctionLoader(source),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(
        share=text.share,
        rate=text.rate,
        number=text.number,
        decimal=text.decimal,
        p_equals=p_equals,
        p_value=text.p_value,
        flat=text.flat,
        seconds=text.seconds,
        megabytes=text.megabytes,
        cut=text.clean,
        swatch=_swatch,
    )
    templates.globals.update(interval=text.interval)
    return templates


def _visible(value: Any) -> Any:
    """Every plain string that the template prints is made visible before it is escaped.

    A space between a figure and its percent sign does not break the line.
    """
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    return re.sub(r"(?<=\d) %", f"{text.NARROW}%", text.clean(value))


def _swatch(colour: str) -> str:
    """The colour if it is #rrggbb, grey otherwise."""
    digits = colour[1:]
    is_colour = len(colour) == 7 and colour[0] == "#" and all(c in "0123456789abcdefABCDEF" for c in digits)  # fmt: skip
    return colour if is_colour else "#808080"
