"""What is downloaded: `voices.json` or `weights.json` beside a model's config.pbtxt."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceFile:
    """One file of a voice or a checkpoint that is downloaded."""

    path: str
    """Within the hub repository."""
    size_bytes: int
    md5: str | None
    """As the hub's own voices.json publishes it; None where no copy of it was at hand."""
    sha256: str
    """As several independent public projects state it for the pinned revision."""

    @property
    def name(self) -> str:
        """The file's own name."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueVoice:
    """A voice that is shipped with the model or can be downloaded."""

    name: str
    display_name: str
    language: str
    """BCP 47: `en-US`."""
    gender: str | None
    """None where nobody says."""
    quality: str
    sample_rate: int
    """Hz."""
    speakers: tuple[str, ...]
    """Names of its speakers; empty for a voice with only one."""
    licence: str
    """Of the recordings it was trained on, as its model card names it."""
    default: bool
    """Whether it is preferred among the voices of its language."""
    files: tuple[VoiceFile, ...]
    """Empty for a shipped voice."""

    @property
    def shipped(self) -> bool:
        """Whether it comes with the model repository."""
        return not self.files


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """All named voices, and where the downloaded ones come from."""

    repository: str
    """`owner/name` on the hub."""
    revision: str
    """The pinned commit or tag."""
    voices: tuple[CatalogueVoice, ...]

    def find(self, name: str) -> CatalogueVoice | None:
        """The voice of that name."""
        return next((voice for voice in self.voices if voice.name == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Licence:
    """What one agrees to."""

    name: str
    url: str
    summary: str
    """One sentence on what it forbids or asks for."""
    explicit: bool
    """Whether nothing may be downloaded before somebody has said yes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """A model's checkpoint, and where it comes from."""

    repository: str
    """`owner/name` on the hub."""
    revision: str
    """The pinned commit."""
    licence: Licence
    files: tuple[VoiceFile, ...]


def read_weights(path: Path) -> Weights:
    """Reads `weights.json`."""
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return Weights(
        repository=document["repository"],
        revision=document["revision"],
        licence=Licence(**document["licence"]),
        files=_files(document["files"]),
    )


def read_catalogue(path: Path) -> Catalogue:
    """Reads `voices.json`.

    The encoding is said aloud because Triton's stub would otherwise read ASCII.
    """
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return Catalogue(
        repository=document["repository"],
        revision=document["revision"],
        voices=tuple(_voice(entry) for entry in document["voices"]),
    )


def _voice(entry: dict[str, Any]) -> CatalogueVoice:
    return CatalogueVoice(
        name=entry["name"],
        display_name=entry["display_name"],
        language=entry["language"],
        gender=entry["gender"],
        quality=entry["quality"],
        sample_rate=entry["sample_rate"],
        speakers=tuple(entry["speakers"]),
        licence=entry["licence"],
        default=entry.get("default", False),
        files=_files(entry.get("files", ())),
    )


def _files(entries: Iterable[dict[str, Any]]) -> tuple[VoiceFile, ...]:
    return tuple(
        VoiceFile(
            path=file["path"],
            size_bytes=file["size_bytes"],
            md5=file["md5"],
            sha256=file["sha256"],
        )
        for file in entries
    )
