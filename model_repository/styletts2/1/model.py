"""Triton's way in to StyleTTS2; everything that happens is in voice_serving."""

from voice_serving.engines.styletts2 import StyleTts2Engine
from voice_serving.model import SpeechModel


class TritonPythonModel(SpeechModel):
    """StyleTTS2."""

    engine_class = StyleTts2Engine
