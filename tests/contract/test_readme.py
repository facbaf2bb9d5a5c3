"""What README.md tells in numbers is what the code does."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from voice_gateway.domain.access import ROLE_SCOPES, Role, Scope
from voice_gateway.domain.tiers import LIMITS

README: Final = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def _rows(header: str) -> list[list[str]]:
    """The cells of the table that begins with this column."""
    lines = iter(README.splitlines())
    for line in lines:
        if line.startswith(f"| {header} |"):
            break
    next(lines)
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def test_the_tiers() -> None:
    shown = [[cell.replace(" ", "") for cell in row] for row in _rows("tier")]
    assert shown == [
        [
            tier.value,
            str(limits.personalities),
            str(limits.samples),
            str(limits.characters),
            str(limits.trial_characters),
            str(limits.concurrent_jobs),
            "yes" if limits.cloning else "",
        ]
        for tier, limits in LIMITS.items()
    ]


def test_the_roles() -> None:
    shown = {}
    for scopes, _, *roles in _rows("scope"):
        for scope in scopes.split(", "):
            shown[scope.strip("`")] = [cell == "yes" for cell in roles]
    assert shown == {scope: [scope in ROLE_SCOPES[role] for role in Role] for scope in Scope}
