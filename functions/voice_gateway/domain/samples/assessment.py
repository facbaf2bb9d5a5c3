"""Measurements or a refusal → the report: findings, grade, and whom it suits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from voice_gateway.domain.samples.findings import find
from voice_gateway.domain.samples.report import (
    Finding,
    Grade,
    ProviderFitness,
    SampleReport,
    Severity,
)
from voice_gateway.domain.samples.requirements import NEEDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voice_gateway.domain.samples.report import Measurements
    from voice_gateway.domain.samples.requirements import ProviderNeeds

_STUDIO_SNR: Final = 45.0
_STUDIO_BANDWIDTH: Final = 10_000.0
_STUDIO_REVERBERATION: Final = 0.4
_GRADES: Final = {
    Severity.FATAL: Grade.REJECTED,
    Severity.MAJOR: Grade.POOR,
    Severity.MINOR: Grade.OK,
}


def assess(content_hash: str, measured: Measurements) -> SampleReport:
    """Writes the report on a sample that was measured."""
    findings = find(measured)
    grade, reason = _grade(measured, findings)
    return SampleReport(
        content_hash=content_hash,
        grade=grade,
        reason=reason,
        findings=findings,
        measurements=measured,
        fitness=tuple(
            _fitness(needs, measured.usable_seconds, rejected=grade is Grade.REJECTED)
            for needs in NEEDS
        ),
    )


def refuse(content_hash: str, finding: Finding) -> SampleReport:
    """Writes the report on bytes that are no usable recording."""
    return SampleReport(
        content_hash=content_hash,
        grade=Grade.REJECTED,
        reason=finding.advice,
        findings=(finding,),
        fitness=tuple(_fitness(needs, 0.0, rejected=True) for needs in NEEDS),
    )


def _grade(measured: Measurements, findings: Sequence[Finding]) -> tuple[Grade, str]:
    if findings and findings[0].severity in _GRADES:
        return _GRADES[findings[0].severity], findings[0].advice
    if measured.snr < _STUDIO_SNR:
        return Grade.GOOD, f"Clean; with {_STUDIO_SNR:.0f} dB over the noise it would be studio."
    if measured.bandwidth < _STUDIO_BANDWIDTH:
        return Grade.GOOD, "Clean; the highest frequencies are missing."
    if (measured.reverberation or 0.0) > _STUDIO_REVERBERATION:
        return Grade.GOOD, "Clean; the room can be heard a little."
    return Grade.STUDIO, "Clean, wide and dry."


def _fitness(needs: ProviderNeeds, usable: float, *, rejected: bool) -> ProviderFitness:
    fits = not rejected and usable >= needs.least
    best = fits and usable >= needs.best_least
    if rejected:
        reason = "The sample was rejected."
    elif not fits:
        reason = f"There are {usable:.1f} s of speech, and {needs.least:g} s are needed."
    elif not best:
        reason = f"Enough; {needs.best_least:g} to {needs.best_most:g} s would be better."
    else:
        reason = "As long as it likes best."
    return ProviderFitness(
        provider=needs.provider,
        fits=fits,
        best=best,
        usable_seconds=usable,
        least=needs.least,
        most=needs.most,
        best_least=needs.best_least,
        best_most=needs.best_most,
        reason=reason,
    )
