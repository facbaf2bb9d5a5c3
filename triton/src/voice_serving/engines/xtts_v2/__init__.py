"""XTTS v2: a GPT that writes audio tokens in a cloned voice, and a vocoder that speaks them."""

from voice_serving.engines.xtts_v2.engine import XttsEngine

__all__ = ["XttsEngine"]
