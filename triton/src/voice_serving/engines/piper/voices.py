"""The voices on this machine: which there are, which speaks a language, which are in memory."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from voice_serving.catalogue import Catalogue, read_catalogue
from voice_serving.errors import VoiceNotInstalledError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledVoice:
    """A voice whose two files lie on this machine."""

    name: str
    language: str
    """BCP 47, lower case: `en-us`."""
    model: Path
    config: Path
    default: bool
    """Preferred among the voices of its language."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedVoice:
    """A voice in memory."""

    name: str
    sessions: tuple[Any, ...]
    """`onnxruntime.InferenceSession`s over the same file; more than one only where each brings its
    own threads."""
    lone_session: Any
    """For a pass that nobody waits behind: it may use more cores."""
    piper: Any
    """`piper.PiperVoice`, used for its phonemes only."""
    sample_rate: int
    """Hz."""
    speakers: dict[str, int]
    """Name → number; empty for a voice with only one."""
    speaker_count: int
    default_speaker: int
    length_scale: float
    noise_scale: float
    noise_w: float

    def session_at(self, place: int) -> Any:
        """The session of one of the places."""
        return self.sessions[place % len(self.sessions)]

    def speaker(self, wanted: str | None) -> tuple[int | None, str]:
        """Finds a speaker by name or number.

        Returns:
            The number to give the model (None for a voice with only one), and who speaks:
            `voice/speaker` or `voice`.

        Raises:
            VoiceNotInstalledError: It has no such speaker. Not the caller's mistake but a
                personality's: another provider can still speak.
        """
        if self.speaker_count <= 1:
            if wanted is not None and wanted not in {"0", self.name, *self.speakers}:
                raise VoiceNotInstalledError(f"{self.name} has one speaker, not the one asked for")
            return None, self.name
        names = {number: name for name, number in self.speakers.items()}
        if wanted is None:
            number = self.default_speaker
        elif wanted in self.speakers:
            number = self.speakers[wanted]
        elif wanted.isascii() and wanted.isdigit() and int(wanted) < self.speaker_count:
            number = int(wanted)
        else:
            some = ", ".join(list(self.speakers)[:8]) or f"0 to {self.speaker_count - 1}"
            raise VoiceNotInstalledError(f"{self.name} has no such speaker, it has {some}")
        return number, f"{self.name}/{names.get(number, number)}"


class VoiceLibrary:
    """Finds voices on disk and keeps the last used ones in memory.

    Args:
        folders: Where voices lie, `<name>.onnx` beside `<name>.onnx.json`; the first folder that
            has a name wins.
        catalogue: `voices.json`, or None.
        load: Reads one voice into memory.
        max_loaded: How many stay there.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        catalogue: Path | None,
        load: Callable[[InstalledVoice], LoadedVoice],
        max_loaded: int,
    ) -> None:
        self._folders = tuple(folders)
        self._catalogue = (
            Catalogue(repository="", revision="", voices=())
            if catalogue is None
            else read_catalogue(catalogue)
        )
        self._load = load
        self._max_loaded = max_loaded
        self._loaded: OrderedDict[str, LoadedVoice] = OrderedDict()
        self._lock = threading.Lock()
        # One at a time: a load is a burst of memory and of all cores.
        self._loading = threading.Lock()
        self._installed = self._scan()

    @property
    def installed(self) -> tuple[InstalledVoice, ...]:
        """What was found, the default voices first, else in the catalogue's order."""
        return tuple(self._installed.values())

    def choose(self, voice: str | None, language: str) -> InstalledVoice:
        """Picks by name, else by language.

        Raises:
            VoiceNotInstalledError: There is none, or the named one speaks another language.
        """
        try:
            return self._choose(voice, language)
        except VoiceNotInstalledError:
            # It may have been downloaded since; only a miss pays for looking again.
            self._installed = self._scan()
            return self._choose(voice, language)

    def load(self, voice: InstalledVoice) -> LoadedVoice:
        """The voice in memory, read from disk where necessary."""
        loaded = self._recall(voice.name)
        if loaded is not None:
            return loaded
        with self._loading:
            loaded = self._recall(voice.name)
            if loaded is not None:
                return loaded
            loaded = self._load(voice)
            with self._lock:
                self._loaded[voice.name] = loaded
                # One that is still speaking is freed when it has finished.
                while len(self._loaded) > self._max_loaded:
                    self._loaded.popitem(last=False)
            return loaded

    def clear(self) -> None:
        """Forgets every voice in memory."""
        with self._lock:
            self._loaded.clear()

    def _recall(self, name: str) -> LoadedVoice | None:
        with self._lock:
            loaded = self._loaded.get(name)
            if loaded is not None:
                self._loaded.move_to_end(name)
            return loaded

    def _choose(self, voice: str | None, language: str) -> InstalledVoice:
        tag = normal_tag(language)
        if voice is None:
            speaking = [v for v in self._installed.values() if primary(v.language) == primary(tag)]
            if not speaking:
                raise VoiceNotInstalledError("no installed voice speaks the language")
            # The very region if there is one, else the language's first voice.
            return next((v for v in speaking if v.language == tag), speaking[0])
        found = self._installed.get(voice)
        if found is None:
            if self._catalogue.find(voice) is None:
                raise VoiceNotInstalledError("no voice of that name is known")
            raise VoiceNotInstalledError(
                f"{voice} is not on this machine, get it with:"
                f" python scripts/fetch_models.py piper --voice {voice}"
            )
        if primary(found.language) != primary(tag):
            raise VoiceNotInstalledError(
                f"{voice} speaks {primary(found.language)}, not the language asked for"
            )
        return found

    def _scan(self) -> dict[str, InstalledVoice]:
        found: dict[str, InstalledVoice] = {}
        for folder in self._folders:
            for model in sorted(folder.glob("*.onnx")):
                config = model.with_name(f"{model.name}.json")
                if model.stem not in found and config.is_file():
                    found[model.stem] = self._describe(model, config)
        order = {voice.name: place for place, voice in enumerate(self._catalogue.voices)}
        ranked = sorted(
            found.values(), key=lambda v: (not v.default, order.get(v.name, len(order)), v.name)
        )
        return {voice.name: voice for voice in ranked}

    def _describe(self, model: Path, config: Path) -> InstalledVoice:
        entry = self._catalogue.find(model.stem)
        language = entry.language if entry else _language_of(read_voice_config(config))
        return InstalledVoice(
            name=model.stem,
            language=normal_tag(language),
            model=model,
            config=config,
            default=entry is not None and entry.default,
        )


def read_voice_config(path: Path) -> dict[str, Any]:
    """Reads a voice's JSON; the encoding is said aloud because the stub's default is ASCII."""
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return config


def normal_tag(language: str) -> str:
    """A language tag as compared here: `pt_BR` → `pt-br`."""
    return language.strip().replace("_", "-").lower()


def primary(language: str) -> str:
    """The language of a tag, whatever its region."""
    return language.partition("-")[0]


def _language_of(config: dict[str, Any]) -> str:
    declared = config.get("language", {}).get("code")
    return str(declared or config["espeak"]["voice"])
