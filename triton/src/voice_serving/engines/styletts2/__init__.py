"""StyleTTS2: a cloned voice that finds its manner in the text."""

from voice_serving.engines.styletts2.engine import StyleTts2Engine

__all__ = ["StyleTts2Engine"]
