"""From settings to a network that is ready to speak."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from voice_serving.engines.styletts2.network.checkpoint import load
from voice_serving.engines.styletts2.network.speaker import Speaker
from voice_serving.engines.styletts2.settings import Device, Precision
from voice_serving.errors import InternalError

if TYPE_CHECKING:
    from pathlib import Path

    from voice_serving.engines.styletts2.settings import StyleTts2Settings


def load_speaker(settings: StyleTts2Settings, model_directory: Path) -> tuple[Speaker, str]:
    """Reads the checkpoint and puts it where it runs.

    Returns:
        The speaker, and what tells its checkpoint from others.

    Raises:
        InternalError: There is no checkpoint, or no GPU although one is asked for.
    """
    cuda = torch.cuda.is_available() and settings.device is not Device.CPU
    if settings.device is Device.CUDA and not cuda:
        raise InternalError("the setting device asks for a GPU, and torch finds none")
    # What is float32 here has to be: tensor cores would leave ten bits of a pitch.
    torch.backends.cudnn.allow_tf32 = False
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    folder = settings.checkpoint or model_directory
    loaded = load(folder, settings.rearranged or folder)
    network = loaded.network
    if settings.precision is Precision.BF16:
        network = network.in_half()
    alone = settings.batch if cuda else 1
    speaker = Speaker(
        network,
        torch.device("cuda" if cuda else "cpu"),
        sound_batch=settings.sound_batch or alone,
        padded=cuda,
        recorded=cuda,
    )
    return speaker, loaded.digest[:16]
