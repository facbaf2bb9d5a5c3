"""Triton's way in to XTTS v2; everything that happens is in voice_serving."""

from voice_serving.engines.xtts_v2 import XttsEngine
from voice_serving.model import SpeechModel


class TritonPythonModel(SpeechModel):
    """XTTS v2."""

    engine_class = XttsEngine
