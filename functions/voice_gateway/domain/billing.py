"""What a provider's turn costs: which sentences its vendor bills, and what they come to.

| who | bills | counts |
| --- | --- | --- |
| google, watson | what it was asked to speak | every character, spaces and line ends too |
| azure | the same | the same, each ideograph twice, and the markup that asks for speed and pitch |
| piper, xtts_v2, styletts2, espeak | nothing: they are ours | |

A sentence is billed from the moment its vendor works on it, heard or not. So a turn that was broken
off is charged for the sentence that was under way: after silence or garbage, after a time-out, when
the listener hung up, and for the loser of a race. A turn that the vendor turned away (quota, auth,
rejected) or that never reached it (unavailable) is charged for what came before, and no more.
Where a vendor is kinder than that, our figure is too high, never too low.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final

from voice_gateway.domain.errors import FailureReason
from voice_gateway.domain.money import dollars
from voice_gateway.domain.receipt import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voice_gateway.domain.speech import ProviderCapabilities, SpeechRequest

_TURNED_AWAY: Final = frozenset(
    {
        FailureReason.QUOTA.value,
        FailureReason.AUTH.value,
        FailureReason.REJECTED.value,
        FailureReason.UNAVAILABLE.value,
    }
)
_MILLION: Final = Decimal(1_000_000)


def billed_sentences(
    sentences: Sequence[str], came: int, *, cut: bool, outcome: Outcome, reason: str | None
) -> Sequence[str]:
    """Says which sentences of a turn are charged.

    Args:
        sentences: What the provider was asked to speak.
        came: Of how many of them audio came, heard or not; of the last one perhaps in part.
        cut: Whether that one broke off: then it is the one that was under way.
        outcome: How the turn ended.
        reason: Why, where it was not served to the end.
    """
    broken_off = reason is not None and reason not in _TURNED_AWAY
    if not cut and (broken_off or outcome is Outcome.HEDGE_LOST):
        return sentences[: came + 1]
    return sentences[:came]


def charge(
    capabilities: ProviderCapabilities,
    request: SpeechRequest,
    voice: str | None,
    sentences: Sequence[str],
) -> tuple[int, Decimal]:
    """Works out what sentences cost.

    Args:
        capabilities: How the provider counts, and what it charges.
        request: How they are to be spoken.
        voice: The one that speaks, or None for the one that the provider chooses.
        sentences: All of them are billed.

    Returns:
        The characters, and dollars rounded to the micro-dollar.
    """
    characters = sum(map(capabilities.billed_characters, sentences))
    characters += len(sentences) * capabilities.billed_markup(request, voice)
    price = Decimal(str(capabilities.price(voice)))
    return characters, dollars(characters * price / _MILLION)
