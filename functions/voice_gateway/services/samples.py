"""Voice samples: look at what was sent, and cut from it what the providers need."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from voice_gateway.domain.errors import InvalidRequestError, InvalidSampleError
from voice_gateway.domain.samples.activity import find_activity
from voice_gateway.domain.samples.assessment import assess, refuse
from voice_gateway.domain.samples.loudness import integrated_loudness, true_peak
from voice_gateway.domain.samples.measuring import measure
from voice_gateway.domain.samples.preparation import PreparedSample, best_window, levelled
from voice_gateway.domain.samples.requirements import NEEDS
from voice_gateway.domain.samples.signal import mono

if TYPE_CHECKING:
    from voice_gateway.domain.samples.report import SampleReport
    from voice_gateway.ports import SampleConverter, SampleDecoder


def content_hash(data: bytes) -> str:
    """Returns the identity of a recording: SHA-256 of its bytes, hexadecimal."""
    return hashlib.sha256(data).hexdigest()


class SampleService:
    """The same bytes give the same report and the same prepared bytes, whenever and how often."""

    def __init__(self, decoder: SampleDecoder, converter: SampleConverter) -> None:
        self._decoder = decoder
        self._converter = converter

    def inspect(self, data: bytes) -> SampleReport:
        """Writes the report; on what cannot be read too: nothing that is sent raises."""
        identity = content_hash(data)
        try:
            sample = self._decoder.decode(data)
        except InvalidSampleError as error:
            return refuse(identity, error.finding)
        return assess(identity, measure(sample))

    def prepare(self, data: bytes, report: SampleReport) -> tuple[PreparedSample, ...]:
        """Cuts the best stretch for each provider that the sample is long enough for.

        Args:
            data: The original; it is left as it is.
            report: On the same bytes.

        Raises:
            InvalidRequestError: The report is on other bytes, or rejects them.
            InvalidSampleError: The bytes cannot be read.
        """
        source = content_hash(data)
        if report.content_hash != source:
            raise InvalidRequestError("The report belongs to another sample.", field="report")
        if not report.usable:
            raise InvalidRequestError("The sample was rejected.", field="sample")
        sample = self._decoder.decode(data)
        single = mono(sample.samples)
        activity = find_activity(single, sample.sample_rate)
        fitting = {fitness.provider for fitness in report.fitness if fitness.fits}
        prepared = []
        for needs in NEEDS:
            window = best_window(single, activity, needs) if needs.provider in fitting else None
            if window is None:
                continue
            start, end = window
            rate = needs.sample_rate
            cut = self._converter.resample(single[start:end], sample.sample_rate, rate)
            final = levelled(cut, rate)
            wav = self._converter.wav(final, rate)
            prepared.append(
                PreparedSample(
                    provider=needs.provider,
                    wav=wav,
                    content_hash=content_hash(wav),
                    source_hash=source,
                    sample_rate=rate,
                    seconds=final.size / rate,
                    start=start / sample.sample_rate,
                    loudness=integrated_loudness(final, rate),
                    true_peak=true_peak(final),
                )
            )
        return tuple(prepared)
