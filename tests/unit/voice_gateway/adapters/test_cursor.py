from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voice_gateway.adapters.cursor import decode_cursor, encode_cursor
from voice_gateway.domain.errors import InvalidRequestError
from voice_gateway.domain.personality import PERSONALITY_ID_PATTERN

IDS = st.from_regex(PERSONALITY_ID_PATTERN.replace("$", r"\Z"))


@settings(deadline=None)
@given(IDS)
def test_leads_back(last_id: str) -> None:
    assert decode_cursor("shop", encode_cursor("shop", last_id)) == last_id


@settings(deadline=None)
@given(IDS, st.data())
def test_one_changed_character_is_noticed(last_id: str, data: st.DataObject) -> None:
    cursor = encode_cursor("shop", last_id)
    place = data.draw(st.integers(0, len(cursor) - 1))
    spoilt = cursor[:place] + data.draw(st.characters()) + cursor[place + 1 :]
    if spoilt != cursor:
        with pytest.raises(InvalidRequestError):
            decode_cursor("shop", spoilt)


@settings(deadline=None)
@given(st.text())
def test_no_text_breaks_it(cursor: str) -> None:
    with pytest.raises(InvalidRequestError):
        decode_cursor("shop", cursor)
