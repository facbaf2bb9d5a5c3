from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from voice_gateway.domain.billing import billed_sentences, charge
from voice_gateway.domain.errors import FailureReason
from voice_gateway.domain.receipt import Outcome
from voice_gateway.domain.speech import ProviderCapabilities, SpeechRequest

TEXT = ("One.", "Two.", "Three.")
ENGLISH = frozenset({"en"})
REQUEST = SpeechRequest(sentences=TEXT, language="en", chain=("azure",))
FAILED, SERVED = Outcome.FAILED, Outcome.SERVED


@pytest.mark.parametrize(
    ("came", "cut", "outcome", "reason", "billed"),
    [
        (3, False, SERVED, None, 3),
        # Nothing came: the first sentence was under way, unless the door was closed.
        (0, False, FAILED, "timeout", 1),
        (0, False, FAILED, "bad_audio", 1),
        (0, False, FAILED, "quota", 0),
        (0, False, FAILED, "auth", 0),
        (0, False, FAILED, "rejected", 0),
        (0, False, FAILED, "unavailable", 0),
        # One came: the second was under way, or the first itself, where it broke off.
        (1, False, FAILED, "timeout", 2),
        (1, True, FAILED, "timeout", 1),
        (1, True, FAILED, "unavailable", 1),
        (1, False, FAILED, "quota", 1),
        # The listener hung up.
        (1, False, SERVED, "cancelled", 2),
        (1, True, SERVED, "cancelled", 1),
        (3, False, SERVED, "cancelled", 3),
        # It lost the race with its first sentence, and that is billed too.
        (0, False, Outcome.HEDGE_LOST, None, 1),
    ],
)
def test_what_was_worked_on_is_billed(
    came: int, cut: bool, outcome: Outcome, reason: str | None, billed: int
) -> None:
    found = billed_sentences(TEXT, came, cut=cut, outcome=outcome, reason=reason)
    assert found == TEXT[:billed]


def test_every_reason_is_judged() -> None:
    for reason in FailureReason:
        assert len(billed_sentences(TEXT, 0, cut=False, outcome=FAILED, reason=reason.value)) <= 1


def test_dollars_a_million_are_micro_dollars_a_character() -> None:
    flat = ProviderCapabilities(languages=ENGLISH, usd_per_million_characters=16)
    assert charge(flat, REQUEST, None, TEXT) == (14, Decimal("0.000224"))
    cents = ProviderCapabilities(languages=ENGLISH, usd_per_million_characters=4.8)
    assert charge(cents, REQUEST, None, TEXT) == (14, Decimal("0.000067"))  # 67.2 millionths
    assert charge(ProviderCapabilities(languages=ENGLISH), REQUEST, "any", TEXT) == (14, 0)


def test_voices_have_prices_and_vendors_ways_to_count() -> None:
    can = ProviderCapabilities(
        languages=ENGLISH,
        usd_per_million_characters=16,
        price_of_voice={"studio": 160.0}.__getitem__,
        billed_characters=lambda sentence: 2 * len(sentence),
    )
    assert charge(can, REQUEST, "studio", ["One."]) == (8, Decimal("0.00128"))
    assert charge(can, REQUEST, None, ["One."]) == (8, Decimal("0.000128"))


def test_the_markup_of_each_sentence_is_billed_where_the_vendor_bills_it() -> None:
    can = ProviderCapabilities(
        languages=ENGLISH,
        usd_per_million_characters=10,
        billed_markup=lambda request, voice: 30 if request.speed != 1 and voice != "hd" else 0,
    )
    faster = replace(REQUEST, speed=1.5)
    assert charge(can, REQUEST, None, TEXT) == (14, Decimal("0.00014"))
    assert charge(can, faster, None, TEXT) == (14 + 90, Decimal("0.00104"))
    assert charge(can, faster, "hd", TEXT) == (14, Decimal("0.00014"))
    assert charge(can, faster, None, []) == (0, 0)
