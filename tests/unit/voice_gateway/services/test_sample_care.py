"""What becomes of samples, whatever happens in whichever order, and whoever dies on the way."""

from __future__ import annotations

import contextlib
import itertools
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from fakes.sample_house import SampleHouse, bad_recording, good_recording
from voice_gateway.domain.errors import NotFoundError, StorageUnavailableError
from voice_gateway.domain.samples.report import FindingCode
from voice_gateway.domain.samples.requirements import MAX_BYTES
from voice_gateway.domain.samples.sample import (
    CHECKED_EVERY,
    MOST_HASHES,
    REJECTED_KEPT_FOR,
    SETTLING,
    UPLOAD_GRACE,
    UPLOAD_LIFETIME,
    PurgeReason,
    SamplePurpose,
    SampleState,
    StoredObject,
)
from voice_gateway.domain.tiers import Stock


@pytest.fixture
def house() -> SampleHouse:
    return SampleHouse()


def chosen(house: SampleHouse) -> str | None:
    return house.repository.get("shop", "marcel").voice_config.sample_path


def awaited(house: SampleHouse) -> Any:
    sample, _ = house.api.request_upload(house.order())
    return sample


class TestVerdict:
    def test_a_good_recording_becomes_the_voice(self, house: SampleHouse) -> None:
        sample = house.validated()
        assert sample.state is SampleState.VALIDATED
        assert sample.report is not None
        assert sample.report.usable
        assert chosen(house) == sample.path
        assert {w.provider for w in sample.windows} == {"xtts_v2", "styletts2"}
        for window in sample.windows:
            ((_, wav),) = house.files.versions[window.path]
            assert wav.startswith(b"RIFF")
        assert house.files.versions[sample.path][-1][1] == good_recording()
        assert [s.id for s in house.observer.verdicts] == [sample.id]
        # Each write of the personality is in its history.
        versions, _ = house.repository.versions(house.repository.get("shop", "marcel"), limit=9)
        assert [v.voice_config.sample_path for v in versions] == [sample.path, None]

    def test_only_when_it_was_asked_for(self, house: SampleHouse) -> None:
        sample = house.validated(activate=False)
        assert sample.state is SampleState.VALIDATED
        assert chosen(house) is None

    def test_a_bad_one_is_rejected_and_changes_nothing(self, house: SampleHouse) -> None:
        sample = house.validated(bad_recording())
        assert sample.state is SampleState.REJECTED
        assert sample.report is not None
        assert sample.report.findings
        assert sample.windows == ()
        assert chosen(house) is None
        assert [path for path in house.files.versions if path.endswith(".wav")] == []

    def test_of_a_spoken_consent_nothing_is_cut(self, house: SampleHouse) -> None:
        sample = house.validated(bad_recording(), purpose=SamplePurpose.CONSENT)
        assert sample.state is SampleState.VALIDATED
        assert sample.windows == ()
        assert chosen(house) is None

    def test_what_is_too_large_is_not_even_fetched(self, house: SampleHouse) -> None:
        sample = awaited(house)
        huge = StoredObject(version_id="v", etag="e", size=MAX_BYTES + 1)
        house.files.versions[sample.path] = [(huge, b"")]
        house.care.attend("shop", sample.id)
        judged = house.samples.get("shop", sample.id)
        assert judged.state is SampleState.REJECTED
        assert judged.report is not None
        assert [f.code for f in judged.report.findings] == [FindingCode.TOO_LARGE]

    def test_a_form_that_is_used_without_end_makes_no_record_without_end(
        self, house: SampleHouse
    ) -> None:
        sample = house.validated()
        full = tuple(f"{number:064x}" for number in range(MOST_HASHES))
        house.samples.replace((sample, sample.model_copy(update={"content_hashes": full})))
        for number in range(3):
            again = StoredObject(version_id=f"v{number}", etag=f"e{number}", size=9)
            house.files.versions[sample.path].append((again, good_recording()))
            house.care.attend("shop", sample.id)
            judged = house.samples.get("shop", sample.id)
            assert judged.state is SampleState.REJECTED
            assert judged.report is not None
            assert [f.code for f in judged.report.findings] == [FindingCode.TOO_OFTEN]
            assert judged.content_hashes == full

    def test_a_personality_that_is_gone_meanwhile_is_left_alone(self, house: SampleHouse) -> None:
        made = house.api.upload(house.order(), good_recording())
        house.personalities.delete("shop", "marcel")
        house.care.attend("shop", made.id)
        assert house.samples.get("shop", made.id).state is SampleState.VALIDATED
        assert house.personalities.restore("shop", "marcel").voice_config.sample_path is None


class TestOrder:
    def test_five_at_once_make_one_report(self, house: SampleHouse) -> None:
        made = house.api.upload(house.order(), good_recording())
        with ThreadPoolExecutor(5) as pool:
            list(pool.map(lambda _: house.care.attend("shop", made.id), range(5)))
        assert [s.id for s in house.observer.verdicts] == [made.id]
        reported = [s for s in house.samples.written if s.report is not None]
        assert len({s.report.model_dump_json() for s in reported if s.report}) == 1
        assert chosen(house) == made.path
        versions, _ = house.repository.versions(house.repository.get("shop", "marcel"), limit=9)
        assert len(versions) == 2

    def test_a_second_look_writes_nothing(self, house: SampleHouse) -> None:
        sample = house.validated()
        before = len(house.samples.written)
        house.care.attend("shop", sample.id)
        assert len(house.samples.written) == before

    @pytest.mark.parametrize("events", list(itertools.product("ab", repeat=3)))
    def test_the_newest_upload_wins_whatever_the_order(
        self, house: SampleHouse, events: tuple[str, ...]
    ) -> None:
        """Uploads of a and b, and any events of them at any time after each."""
        sample = awaited(house)
        house.files.write(sample.path, bad_recording())
        if events[0] == "a":
            house.care.attend("shop", sample.id)
        house.files.write(sample.path, good_recording())
        for _ in events:
            house.care.attend("shop", sample.id)
        judged = house.samples.get("shop", sample.id)
        assert judged.state is SampleState.VALIDATED
        assert judged.upload == house.files.versions[sample.path][-1][0]

    def test_an_event_of_what_is_no_longer_there_ends_quietly(self, house: SampleHouse) -> None:
        sample = awaited(house)
        house.care.attend("shop", sample.id)
        assert house.samples.get("shop", sample.id) == sample
        house.care.attend("shop", "0" * 32)
        validated = house.validated()
        del house.files.versions[validated.path]
        house.care.attend("shop", validated.id)
        assert house.samples.get("shop", validated.id) == validated

    def test_what_arrives_after_the_purge_is_purged_too(self, house: SampleHouse) -> None:
        sample = house.validated()
        house.api.delete("shop", "marcel", sample.id, "key-1")
        house.work_off()
        assert house.files.versions == {}
        house.files.write(sample.path, good_recording())
        house.care.attend("shop", sample.id)
        assert house.files.versions == {}
        house.clock.advance(SETTLING.total_seconds() + 1)
        house.care.attend("shop", sample.id)
        house.files.write(sample.path, good_recording())
        house.care.attend("shop", sample.id)
        assert house.files.versions == {}

    def test_a_look_under_way_leaves_nothing_behind_a_purge(self) -> None:
        """The validator has read the bytes when the owner deletes the sample."""
        house = SampleHouse(wrap=lambda name, port: Interrupted(port) if name == "files" else port)
        made = house.api.upload(house.order(), good_recording())

        def purge() -> None:
            house.api.delete("shop", "marcel", made.id, "key-1")
            house.work_off()

        Interrupted.before_writing = purge
        house.care.attend("shop", made.id)
        assert house.samples.get("shop", made.id).state is SampleState.PURGED
        assert house.files.versions == {}
        assert chosen(house) is None


class Interrupted:
    """A port before whose first write of a window something happens."""

    before_writing: Any = None

    def __init__(self, port: Any) -> None:
        self._port = port

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)

    def write(self, path: str, data: bytes) -> Any:
        if path.endswith(".wav") and (happens := Interrupted.before_writing) is not None:
            Interrupted.before_writing = None
            happens()
        return self._port.write(path, data)


class Killed(BaseException):
    """The process is gone: no handler of ours may run."""


class Deadly:
    """Kills at the n-th call of any port, before or after the call took effect."""

    def __init__(self, at: int, *, after: bool) -> None:
        self.left = at
        self.after = after

    def wrap(self, name: str, port: Any) -> Any:
        deadly = self

        class Mortal:
            def __getattr__(self, method: str) -> Any:
                whole = getattr(port, method)

                def call(*args: Any, **kwargs: Any) -> Any:
                    deadly.left -= 1
                    if deadly.left == 0 and not deadly.after:
                        raise Killed
                    done = whole(*args, **kwargs)
                    if deadly.left == 0:
                        raise Killed
                    return done

                return call

        return Mortal()


LOOK = 16
"""More calls than a look at a sample makes."""


class TestDeath:
    @pytest.mark.parametrize("after", [False, True])
    @pytest.mark.parametrize("at", range(1, LOOK))
    def test_at_any_call_of_a_look(self, at: int, *, after: bool) -> None:
        deadly = Deadly(10**9, after=after)
        house = SampleHouse(wrap=deadly.wrap)
        good = house.api.upload(house.order(), good_recording())
        bad = house.api.upload(house.order(), bad_recording())
        for made, state in ((good, SampleState.VALIDATED), (bad, SampleState.REJECTED)):
            deadly.left = at
            with contextlib.suppress(Killed):
                house.care.attend("shop", made.id)
            deadly.left = 10**9
            house.care.attend("shop", made.id)  # the queue hands the message out again
            assert house.samples.get("shop", made.id).state is state
        assert chosen(house) == good.path
        assert not house.samples.get("shop", good.id).activate

    @pytest.mark.parametrize("after", [False, True])
    @pytest.mark.parametrize("at", range(1, LOOK))
    def test_at_any_call_without_a_second_message(self, at: int, *, after: bool) -> None:
        """The message is lost as well: the sweep finds the sample."""
        deadly = Deadly(10**9, after=after)
        house = SampleHouse(wrap=deadly.wrap)
        made = house.api.upload(house.order(), good_recording())
        deadly.left = at
        with contextlib.suppress(Killed):
            house.care.attend("shop", made.id)
        deadly.left = 10**9
        house.clock.advance(3600)
        house.care.sweep()
        house.work_off()
        assert house.samples.get("shop", made.id).state is SampleState.VALIDATED
        assert chosen(house) == made.path
        assert house.care.sweep() == 0

    @pytest.mark.parametrize("after", [False, True])
    @pytest.mark.parametrize("at", range(1, 12))
    def test_at_any_call_of_a_purge(self, at: int, *, after: bool) -> None:
        deadly = Deadly(10**9, after=after)
        house = SampleHouse(wrap=deadly.wrap)
        sample = house.validated()
        house.caches.kept |= set(sample.content_hashes)
        house.api.delete("shop", "marcel", sample.id, "key-1")
        house.queue.waiting.clear()  # and our own message never arrives
        deadly.left = at
        with contextlib.suppress(Killed):
            house.care.attend("shop", sample.id)
        deadly.left = 10**9
        house.care.sweep()
        house.work_off()
        assert house.samples.get("shop", sample.id).state is SampleState.PURGED
        assert house.files.versions == {}
        assert house.caches.kept == set()
        assert chosen(house) is None

    @pytest.mark.parametrize("after", [False, True])
    @pytest.mark.parametrize("at", range(1, 12))
    def test_at_any_call_of_an_upload(self, at: int, *, after: bool) -> None:
        """Either there is a sample with its verdict in the end, or there is none at all."""
        deadly = Deadly(at, after=after)
        house = SampleHouse(wrap=deadly.wrap)
        with contextlib.suppress(Killed):
            house.api.upload(house.order(), good_recording())
        deadly.left = 10**9
        house.clock.advance((UPLOAD_LIFETIME + UPLOAD_GRACE).total_seconds())
        house.care.sweep()
        house.work_off()
        states = {s.id: s.state for s in house.samples.written}
        assert set(states.values()) <= {SampleState.VALIDATED, SampleState.PURGED}
        kept = sum(state is SampleState.VALIDATED for state in states.values())
        assert house.samples.stock.count("shop", Stock.SAMPLES) == kept
        assert (house.files.versions == {}) == (kept == 0)


class TestSweep:
    def test_nobody_waits_for_ever_for_an_upload(self, house: SampleHouse) -> None:
        sample = awaited(house)
        house.clock.advance((UPLOAD_LIFETIME + UPLOAD_GRACE).total_seconds() - 1)
        assert house.care.sweep() == 0
        house.clock.advance(2)
        assert house.care.sweep() == 1
        house.work_off()
        gone = house.samples.get("shop", sample.id)
        assert gone.tombstone is not None
        assert gone.tombstone.reason is PurgeReason.NEVER_UPLOADED
        assert house.samples.stock.count("shop", Stock.SAMPLES) == 0

    def test_an_upload_whose_event_was_lost_is_found(self, house: SampleHouse) -> None:
        sample = awaited(house)
        house.files.write(sample.path, good_recording())
        house.clock.advance(3600)
        house.care.sweep()
        house.work_off()
        assert house.samples.get("shop", sample.id).state is SampleState.VALIDATED

    def test_what_was_received_and_is_lost_is_rejected(self, house: SampleHouse) -> None:
        made = house.api.upload(house.order(), good_recording())
        house.files.versions.clear()
        house.care.attend("shop", made.id)
        assert house.samples.get("shop", made.id).state is SampleState.RECEIVED
        house.clock.advance(3600)
        house.care.sweep()
        house.work_off()
        judged = house.samples.get("shop", made.id)
        assert judged.state is SampleState.REJECTED
        assert judged.report is not None
        assert [f.code for f in judged.report.findings] == [FindingCode.MISSING]

    def test_a_rejected_recording_is_purged_after_a_day(self, house: SampleHouse) -> None:
        sample = house.validated(bad_recording())
        house.clock.advance(REJECTED_KEPT_FOR.total_seconds() + 1)
        house.care.sweep()
        house.work_off()
        gone = house.samples.get("shop", sample.id)
        assert gone.tombstone is not None
        assert gone.tombstone.reason is PurgeReason.REJECTED
        assert house.files.versions == {}

    def test_a_sample_goes_when_its_personality_is_gone_for_good(self, house: SampleHouse) -> None:
        sample = house.validated()
        house.personalities.delete("shop", "marcel")
        for _ in range(4):
            house.clock.advance(CHECKED_EVERY.total_seconds() + 1)
            house.care.sweep()
            house.work_off()
            assert house.samples.get("shop", sample.id).tombstone is None
        house.clock.advance(CHECKED_EVERY.total_seconds())
        house.care.sweep()
        house.work_off()
        gone = house.samples.get("shop", sample.id)
        assert gone.tombstone is not None
        assert gone.tombstone.reason is PurgeReason.PERSONALITY_GONE
        assert house.files.versions == {}

    def test_a_purge_is_done_once_more_and_then_never_again(self, house: SampleHouse) -> None:
        sample = house.validated()
        house.api.delete("shop", "marcel", sample.id, "key-1")
        house.work_off()
        assert house.care.sweep() == 0
        # An answer that began before the purge stored its audio after it.
        house.caches.kept |= set(sample.content_hashes)
        house.clock.advance(SETTLING.total_seconds() + 1)
        assert house.care.sweep() == 1
        house.work_off()
        assert house.caches.kept == set()
        house.clock.advance(timedelta(days=999).total_seconds())
        assert house.care.sweep() == 0

    @pytest.mark.parametrize("broken", ["files", "caches"])
    def test_a_purge_waits_for_whoever_is_away(self, house: SampleHouse, broken: str) -> None:
        sample = house.validated()
        house.api.delete("shop", "marcel", sample.id, "key-1")
        house.queue.waiting.clear()
        getattr(house, broken).broken = True
        with pytest.raises(StorageUnavailableError):
            house.care.attend("shop", sample.id)
        assert house.samples.get("shop", sample.id).state is SampleState.PURGING
        getattr(house, broken).broken = False
        assert house.care.sweep() == 1
        house.work_off()
        assert house.samples.get("shop", sample.id).state is SampleState.PURGED
        assert house.files.versions == {}


def test_unknown_samples_are_nobody_s(house: SampleHouse) -> None:
    with pytest.raises(NotFoundError):
        house.api.get("shop", "marcel", "0" * 32)
