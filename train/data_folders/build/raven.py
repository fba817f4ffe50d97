"""RAVEN matrices as text: each panel of the metadata's XML as a list of shapes, eight given and eight to choose from.

RAVEN (1903.02741) draws the matrices; its metadata names the shapes. Unverified: written from the published schema.
"""

from __future__ import annotations

from xml.etree import ElementTree

from router.errors import DataError

SHAPES = ("none", "triangle", "square", "pentagon", "hexagon", "circle")
GIVEN = 8  # panels of the 3 x 3 matrix; the ninth is asked for


def panels_of(metadata: str) -> list[str]:
    """One line of text per panel of RAVEN's XML, the given ones first; DataError for text that is not XML.

    >>> entity = '<Entity Type="5" Size="2" Color="7" Angle="3"/>'
    >>> panel = f'<Panel><Struct><Component><Layout>{entity}</Layout></Component></Struct></Panel>'
    >>> panels_of(f"<Data><Panels>{panel}</Panels></Data>")
    ['circle, size 2, colour 7, angle 3']
    """
    try:
        root = ElementTree.fromstring(metadata)
    except ElementTree.ParseError as error:
        raise DataError(f"RAVEN's metadata is not XML: {error}") from error
    return [" / ".join(_component(part) for part in panel.iter("Component")) for panel in root.iter("Panel")]


def _component(component: ElementTree.Element) -> str:
    return "; ".join(
        f"{SHAPES[int(entity.get('Type', 0))]}, size {entity.get('Size')}, colour {entity.get('Color')}, "
        f"angle {entity.get('Angle')}"
        for entity in component.iter("Entity")
    )


def with_panels(row: dict[str, object]) -> dict[str, object]:
    """The row with `given` and `shown`: the panels of the matrix and those to choose from, as text."""
    panels = panels_of(str(row.get("metadata", "")))
    given = [f"row {i // 3 + 1}, column {i % 3 + 1}: {panel}" for i, panel in enumerate(panels[:GIVEN])]
    return {**row, "given": given, "shown": panels[GIVEN:]}
