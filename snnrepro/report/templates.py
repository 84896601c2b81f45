"""Pages and texts from templates: everything that others wrote is escaped in pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Mapping

from snnrepro.errors import DependencyError

_HERE = Path(__file__).parent


def rendered(template: str, content: Mapping[str, Any], **filters: Callable[[str], str]) -> str:
    """Return a template of this folder with its content; a page's own style is in it as ``css``.

    Parameters
    ----------
    template : str
        The file's name; in what ends in ``.html.jinja`` everything but what is marked safe is escaped.
    content : mapping of str to Any
        What it names.
    **filters : callable
        More of Jinja's filters.

    Raises
    ------
    DependencyError
        Jinja2 is missing.
    """
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError as error:
        raise DependencyError('Jinja2 is not installed; run: pip install "jinja2>=3.0"') from error
    environment = Environment(
        loader=FileSystemLoader(str(_HERE), encoding="utf-8"),
        # Names and sources come from files that others write: everything but our own SVG and CSS is escaped.
        autoescape=lambda name: name is not None and name.endswith(".html.jinja"),
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters.update(filters)
    css = (_HERE / "page.css").read_text(encoding="utf-8")
    page: str = environment.get_template(template).render({"css": css, **content})
    return page
