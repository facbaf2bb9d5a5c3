"""Piper: small VITS voices on onnxruntime, fast enough for one CPU core."""

from voice_serving.engines.piper.engine import PiperEngine

__all__ = ["PiperEngine"]
