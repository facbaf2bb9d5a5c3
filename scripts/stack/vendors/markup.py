"""SSML, as far as the providers write it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from xml.etree import ElementTree

_NAMESPACE = re.compile(r"^\{[^}]*\}")


@dataclass(frozen=True, slots=True)
class Marked:
    """What the markup says."""

    text: str
    """All that is to be spoken."""
    elements: tuple[str, ...]
    """The names of all elements, in order."""
    attributes: dict[str, str]
    """Of all of them: no name is used twice."""


def read(ssml: str) -> Marked:
    """Reads a document.

    Raises:
        ValueError: It is not well-formed.
    """
    try:
        root = ElementTree.fromstring(ssml)
    except ElementTree.ParseError as error:
        raise ValueError("not well-formed") from error
    elements = list(root.iter())
    return Marked(
        text="".join(root.itertext()),
        elements=tuple(_NAMESPACE.sub("", element.tag) for element in elements),
        attributes={k: v for element in elements for k, v in element.attrib.items()},
    )


def percentage(change: str) -> float:
    """`+25%` → 1.25; nothing → 1."""
    return 1 + float(change.removesuffix("%") or 0) / 100


def semitones(change: str) -> float:
    """`+2st` → 2; nothing → 0."""
    return float(change.removesuffix("st") or 0)


def semitones_of(ratio: float) -> float:
    """2 → 12."""
    return 12 * math.log2(ratio)
