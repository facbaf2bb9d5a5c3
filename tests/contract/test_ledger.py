"""The ledger is the sum of the receipts, whatever happens while they are stored."""

from __future__ import annotations

import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Protocol

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ReadTimeoutError

from fakes.budgets import FakeBudgets
from fakes.clock import FakeClock
from fakes.receipts import FakeReceipts
from voice_gateway.adapters.dynamodb_budgets import DynamoBudgets
from voice_gateway.adapters.dynamodb_ledger import DynamoLedger
from voice_gateway.adapters.dynamodb_receipts import DynamoReceipts
from voice_gateway.domain.budget import Budget
from voice_gateway.domain.errors import StorageUnavailableError
from voice_gateway.domain.histogram import RELATIVE_ERROR
from voice_gateway.domain.receipt import Asked, Attempt, Outcome, Receipt, Served
from voice_gateway.domain.statistics import Window
from voice_gateway.services.bookkeeping import Bookkeeper

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_dynamodb.service_resource import Table

    from voice_gateway.ports import BudgetRepository, Clock, Ledger, ReceiptStore, Statistics

NOW = datetime(2026, 3, 31, 23, 58, tzinfo=UTC)
WRITERS = 64
RECEIPTS_EACH = 2


class Books(Protocol):
    """A receipt store, and what it wrote."""

    receipts: ReceiptStore
    ledger: Ledger
    statistics: Statistics
    clock: FakeClock


class Trouble:
    """A DynamoDB client that is throttled, loses answers, and meets others.

    The lost answer is the worst of it: the transaction was done, and nobody knows.
    """

    def __init__(self, client: Any, seed: int) -> None:
        self._client = client
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self.happened: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def transact_write_items(self, **request: Any) -> Any:
        with self._lock:
            fate = self._random.choices(
                ["done", "lost", "refused", "throttled", "conflict"], [60, 10, 5, 5, 20]
            )[0]
            self.happened[fate] += 1
        if fate == "done":
            return self._client.transact_write_items(**request)
        if fate == "lost":
            self._client.transact_write_items(**request)
            raise ReadTimeoutError(endpoint_url="http://dynamodb")
        if fate == "refused":
            raise ReadTimeoutError(endpoint_url="http://dynamodb")
        if fate == "throttled":
            answer: Any = {"Error": {"Code": "ThrottlingException", "Message": "slow down"}}
            raise ClientError(answer, "TransactWriteItems")
        answer = {
            "Error": {"Code": "TransactionCanceledException", "Message": "cancelled"},
            "CancellationReasons": [{"Code": "None"}, {"Code": "TransactionConflict"}],
        }
        raise self._client.exceptions.TransactionCanceledException(answer, "TransactWriteItems")


def troubled(table: Any, seed: int = 1) -> tuple[Any, Trouble]:
    client = Trouble(table.meta.client, seed)
    return SimpleNamespace(name=table.name, meta=SimpleNamespace(client=client)), client


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW)


@pytest.fixture
def wide_table(table: Table, aws_endpoint: str) -> Iterator[Table]:
    """The same table, for many threads at once."""
    resource = boto3.resource(
        "dynamodb",
        endpoint_url=aws_endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(max_pool_connections=WRITERS, read_timeout=60),
    )
    yield resource.Table(table.name)
    resource.meta.client.close()


@pytest.fixture(params=["fake", "dynamodb"])
def books(request: pytest.FixtureRequest, clock: FakeClock) -> Books:
    if request.param == "fake":
        fake = FakeReceipts(clock)
        return SimpleNamespace(receipts=fake, ledger=fake, statistics=fake, clock=clock)
    table = request.getfixturevalue("wide_table")
    ledger = DynamoLedger(table, clock)
    return SimpleNamespace(
        receipts=DynamoReceipts(table, clock), ledger=ledger, statistics=ledger, clock=clock
    )


def priced(request_id: str, micro: int = 1234, **changes: Any) -> Receipt:
    """Google failed, billed; Azure spoke a part, Piper the rest."""
    tried = (
        ("google", Outcome.FAILED, "timeout", micro),
        ("azure", Outcome.SERVED, None, 2 * micro + 1),
        ("piper", Outcome.SERVED, None, 0),
    )
    attempts = tuple(
        Attempt(
            provider=provider,
            outcome=outcome,
            reason=reason,
            sentences=0 if reason else 1,
            characters=10,
            cost_usd=Decimal(cost).scaleb(-6),
            cost_saved_usd=Decimal(7).scaleb(-6) if provider == "azure" else Decimal(0),
            first_audio_ms=None if reason else 100.0,
            elapsed_ms=300.0,
        )
        for provider, outcome, reason, cost in tried
    )
    return Receipt.model_validate(
        {
            "request_id": request_id,
            "personality": "marcel",
            "asked": Asked(provider="google", voice=None, quality="high"),
            "served": (Served(provider="azure", voice=None, sentences=1),),
            "substituted": True,
            "complete": True,
            "attempts": attempts,
            "sentences": 2,
            "first_audio_ms": 150.0,
            "total_ms": 600.0,
            "audio_seconds": 2.0,
            "real_time_factor": 0.3,
            "characters": 20,
            "cost_usd": sum((a.cost_usd for a in attempts), Decimal(0)),
            "cost_saved_usd": sum((a.cost_saved_usd for a in attempts), Decimal(0)),
            "format": "wav",
            "sample_rate": 24_000,
            **changes,
        }
    )


def many() -> list[Receipt]:
    chance = random.Random(7)
    return [
        priced(
            f"r{number}",
            chance.randrange(10**6),
            personality=chance.choice(["marcel", "shante", "zac"]),
        )
        for number in range(WRITERS * RECEIPTS_EACH)
    ]


def equal_to_the_cent_and_below(receipts: list[Receipt], books: Any, tenant: str = "shop") -> None:
    """The ledger, by every account, is the sum of the receipts; and so are the statistics."""
    month = books.ledger.month(tenant, "2026-03")
    total = sum((r.cost_usd for r in receipts), Decimal(0))
    saved = sum((r.cost_saved_usd for r in receipts), Decimal(0))
    assert (month.total.cost_usd, month.total.cost_saved_usd) == (total, saved)
    assert month.total.requests == len(receipts)
    assert sum((p.cost_usd for p in month.providers.values()), Decimal(0)) == total
    for name, sums in month.providers.items():
        own = [a for r in receipts for a in r.attempts if a.provider == name]
        assert sums.cost_usd == sum((a.cost_usd for a in own), Decimal(0))
        assert sums.characters == sum(a.characters for a in own)
        assert sums.requests == len(own)
    for name, sums in month.personalities.items():
        spoken = [r for r in receipts if r.personality == name]
        assert sums.cost_usd == sum((r.cost_usd for r in spoken), Decimal(0))
        assert sums.requests == len(spoken)
    assert books.ledger.spent(tenant, "2026-03") == total
    for window in Window:
        found = books.statistics.figures(tenant, window)
        assert found.requests == found.substituted == len(receipts)
        assert found.cost_usd == total
        assert found.failures == {"timeout": len(receipts)}
        assert found.providers["azure"].served == len(receipts)


class TestBooking:
    def test_64_writers_at_once_lose_and_double_nothing(self, books: Any) -> None:
        receipts = many()
        keep = Bookkeeper(books.receipts).keep
        with ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(lambda receipt: keep("shop", receipt), receipts))
        equal_to_the_cent_and_below(receipts, books)

    def test_nor_do_they_while_dynamodb_throttles_and_answers_get_lost(
        self, wide_table: Table, clock: FakeClock
    ) -> None:
        receipts = many()
        table, trouble = troubled(wide_table)
        store = DynamoReceipts(table, clock)
        stubborn = Bookkeeper(store, sleep=lambda _: None)

        def keep(receipt: Receipt) -> None:
            # Whoever gave up asks again: that, too, must not charge twice.
            while True:
                try:
                    return stubborn.keep("shop", receipt)
                except StorageUnavailableError:
                    continue

        with ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(keep, receipts))
        assert {"lost", "refused", "throttled", "conflict"} <= set(trouble.happened)
        ledger = DynamoLedger(wide_table, clock)
        books = SimpleNamespace(ledger=ledger, statistics=ledger)
        equal_to_the_cent_and_below(receipts, books)
        for receipt in receipts:
            assert DynamoReceipts(wide_table, clock).get("shop", receipt.request_id) == receipt

    def test_the_fake_suffers_alike(self, clock: FakeClock) -> None:
        fake = FakeReceipts(clock)
        fake.overtaken, fake.deaf = 30, 2
        receipts = [priced(f"r{number}") for number in range(5)]
        for receipt in receipts:
            Bookkeeper(fake, sleep=lambda _: None).keep("shop", receipt)
        books = SimpleNamespace(ledger=fake, statistics=fake)
        equal_to_the_cent_and_below(receipts, books)

    def test_a_receipt_that_stands_there_is_not_booked_again(self, books: Any) -> None:
        for _ in range(3):
            books.receipts.save("shop", priced("r1"))
        # Nor a day later, when nobody can read it any more.
        books.clock.advance(25 * 3600)
        books.receipts.save("shop", priced("r1"))
        assert books.ledger.month("shop", "2026-03").total.requests == 1
        assert books.ledger.month("shop", "2026-04").total.requests == 0

    def test_each_tenant_has_a_ledger_of_its_own(self, books: Any) -> None:
        books.receipts.save("shop", priced("r1"))
        books.receipts.save("shop2", priced("r1", 5))
        equal_to_the_cent_and_below([priced("r1")], books)
        equal_to_the_cent_and_below([priced("r1", 5)], books, "shop2")

    def test_a_month_ends_at_midnight(self, books: Any) -> None:
        books.receipts.save("shop", priced("r1"))
        books.clock.advance(119.5)
        books.receipts.save("shop", priced("r2"))
        books.clock.advance(0.5)
        books.receipts.save("shop", priced("r3"))
        assert books.ledger.month("shop", "2026-03").total.requests == 2
        assert books.ledger.month("shop", "2026-04").total.requests == 1
        assert books.ledger.month("shop", "2026-02").total.requests == 0
        assert books.ledger.spent("shop", "2026-02") == 0


class TestWindows:
    def test_roll(self, books: Any) -> None:
        """What was booked is in the window for its whole length, and then it goes."""
        books.receipts.save("shop", priced("r1"))
        seen = {window: [] for window in Window}  # type: ignore[var-annotated]
        steps = {
            Window.HOUR: (timedelta(minutes=60), timedelta(minutes=5)),
            Window.DAY: (timedelta(hours=24), timedelta(hours=1)),
            Window.MONTH: (timedelta(days=30), timedelta(days=1)),
        }
        start = books.clock.now()
        for window, (length, bucket) in steps.items():
            for after in (timedelta(0), length, length + bucket):
                books.clock.advance((start + after - books.clock.now()).total_seconds())
                found = books.statistics.figures("shop", window)
                seen[window].append(found.requests)
                assert found.until - found.since < length + bucket
        assert seen == {window: [1, 1, 0] for window in Window}

    def test_percentiles_come_together_from_all_shares_and_buckets(self, books: Any) -> None:
        values = [10.0 * 1.07**number for number in range(60)]
        for number, value in enumerate(values):
            books.receipts.save("shop", priced(f"r{number}", first_audio_ms=value))
            books.clock.advance(30)
        found = books.statistics.figures("shop", Window.HOUR)
        assert found.requests == 60
        for share, told in ((30, found.first_audio_ms.p50), (57, found.first_audio_ms.p95)):
            assert told == pytest.approx(values[share - 1], rel=RELATIVE_ERROR)

    def test_nothing_happened(self, books: Any) -> None:
        found = books.statistics.figures("shop", Window.DAY)
        assert (found.requests, found.providers, found.first_audio_ms.p50) == (0, {}, None)


def test_buckets_expire_and_the_ledger_does_not(table: Table, clock: FakeClock) -> None:
    DynamoReceipts(table, clock).save("shop", priced("r1"))
    items = table.scan()["Items"]
    kinds = {str(item["SK"]).partition("#")[0]: item for item in items}
    assert set(kinds) == {"RECEIPT", "LEDGER", "STATS"}
    assert "expires_at" not in kinds["LEDGER"]
    longest = timedelta(days=33)
    for item in items:
        if str(item["SK"]).startswith("STATS#"):
            assert NOW.timestamp() < int(item["expires_at"]) <= (NOW + longest).timestamp()  # type: ignore[arg-type]


def test_a_page_of_sums_goes_on_where_dynamodb_stopped(table: Any, clock: FakeClock) -> None:
    class StopsEarly:
        """Does what DynamoDB does at a megabyte."""

        def query(self, **request: Any) -> Any:
            return table.query(**request, Limit=2)

        def __getattr__(self, name: str) -> Any:
            return getattr(table, name)

    receipts = [priced(f"r{number}", personality=f"p{number}") for number in range(5)]
    for receipt in receipts:
        DynamoReceipts(table, clock).save("shop", receipt)
    early: Any = StopsEarly()
    ledger = DynamoLedger(early, clock)
    equal_to_the_cent_and_below(receipts, SimpleNamespace(ledger=ledger, statistics=ledger))


class TestBudgets:
    @pytest.fixture(params=["fake", "dynamodb"])
    def budgets(self, request: pytest.FixtureRequest) -> BudgetRepository:
        if request.param == "fake":
            return FakeBudgets()
        return DynamoBudgets(request.getfixturevalue("table"))

    def test_are_kept_and_replaced_each_tenant_s_own(self, budgets: BudgetRepository) -> None:
        assert budgets.get("shop") == Budget()
        budgets.put("shop", Budget(monthly_usd=Decimal("12.345678"), soft_percent=50))
        budgets.put("other", Budget(monthly_usd=Decimal(0)))
        assert budgets.get("shop") == Budget(monthly_usd=Decimal("12.345678"), soft_percent=50)
        budgets.put("shop", Budget())
        assert budgets.get("shop").monthly_usd is None


def test_trouble_with_the_table_is_one_error(unreachable_table: Table, clock: Clock) -> None:
    ledger, budgets = DynamoLedger(unreachable_table, clock), DynamoBudgets(unreachable_table)
    for call in (
        lambda: ledger.month("shop", "2026-03"),
        lambda: ledger.spent("shop", "2026-03"),
        lambda: ledger.figures("shop", Window.HOUR),
        lambda: budgets.get("shop"),
        lambda: budgets.put("shop", Budget()),
    ):
        with pytest.raises(StorageUnavailableError):
            call()
