"""Triton's way in to Piper; everything that happens is in voice_serving."""

from voice_serving.engines.piper import PiperEngine
from voice_serving.model import SpeechModel


class TritonPythonModel(SpeechModel):
    """Piper."""

    engine_class = PiperEngine
