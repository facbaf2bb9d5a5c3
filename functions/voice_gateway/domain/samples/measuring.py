"""A decoded sample → its measurements."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from voice_gateway.domain.samples.activity import find_activity
from voice_gateway.domain.samples.company import median_pitch, pitch_groups, pitches
from voice_gateway.domain.samples.loudness import integrated_loudness
from voice_gateway.domain.samples.music import changing_tones, low_energy_share
from voice_gateway.domain.samples.report import Measurements
from voice_gateway.domain.samples.reverberation import reverberation_time
from voice_gateway.domain.samples.signal import clipped_share, dc_offset, mono, thinned
from voice_gateway.domain.samples.spectrum import effective_bandwidth, hum_level

if TYPE_CHECKING:
    from voice_gateway.domain.samples.signal import DecodedSample


def measure(sample: DecodedSample) -> Measurements:
    """Measures everything. The sample's values must be finite."""
    rate = sample.sample_rate
    single = mono(sample.samples)
    activity = find_activity(single, rate)
    pitch = pitches(single, rate, activity)
    spoken = int(activity.active[::2].sum())
    thin = thinned(single, rate)
    hertz, hum = hum_level(*thin)
    return Measurements(
        container=sample.container,
        codec=sample.codec,
        bit_depth=sample.bit_depth,
        sample_rate=rate,
        channels=sample.samples.shape[0],
        seconds=sample.seconds,
        speech_seconds=activity.speech_seconds,
        usable_seconds=activity.usable_seconds,
        silence_share=activity.silence_share,
        voiced_share=float(np.count_nonzero(pitch)) / spoken if spoken else 0.0,
        clipped_share=clipped_share(sample.samples),
        dc_offset=dc_offset(sample.samples),
        loudness=integrated_loudness(*thin),
        noise_floor=activity.noise_floor,
        snr=activity.snr,
        bandwidth=effective_bandwidth(single, rate, activity),
        hum_hertz=hertz,
        hum_level=hum,
        reverberation=reverberation_time(activity),
        pitch_groups=pitch_groups(pitch, activity),
        low_energy_share=low_energy_share(activity),
        changing_tones=changing_tones(single, rate, activity),
        pitch_hz=median_pitch(pitch),
    )
