"""Sentences to learn from: a small grammar over a word list, the same ones for the same seed.

The teacher speaks whatever text it gets, so the only thing that text can do well or badly is
*cover*: every phoneme in many neighbourhoods, every punctuation mark, questions, lists, numbers,
prices, single words and long clauses. A third of the lines are therefore no sentences at all, but
random words, some of them invented.
"""

import random
from collections.abc import Callable, Iterator

from vocabulary import words

__all__ = ["Sentences", "held_out"]

_TRAINING_SEED = 20261123
_HELD_OUT_SEED = 42


class Sentences:
    """An endless, reproducible stream of lines of text.

    Args:
        seed: Two generators with one seed give the same lines in the same order.
    """

    def __init__(self, seed: int = _TRAINING_SEED) -> None:
        self._random = random.Random(seed)
        self._shapes: list[tuple[float, Callable[[], str]]] = [
            (6, self._greeting),
            (10, self._shop),
            (8, self._question),
            (9, self._statement),
            (6, self._compound),
            (5, self._list),
            (6, self._price),
            (5, self._number),
            (4, self._exclamation),
            (7, self._word),
            (16, self._random_words),
            (8, self._invented_words),
        ]

    def __iter__(self) -> Iterator[str]:
        """Yield lines for ever."""
        weights = [weight for weight, _ in self._shapes]
        makers = [maker for _, maker in self._shapes]
        while True:
            line = self._random.choices(makers, weights)[0]()
            yield line[:1].upper() + line[1:]

    # Words and phrases

    def _pick(self, *options: str) -> str:
        return self._random.choice(options)

    def _chance(self, probability: float) -> bool:
        return self._random.random() < probability

    def _of(self, vocabulary: list[str]) -> str:
        return self._random.choice(vocabulary)

    def _thing(self) -> str:
        noun = self._of(self._random.choice([words("nouns"), words("products")]))
        adjective = f"{self._of(words('adjectives'))} " if self._chance(0.55) else ""
        article = self._pick(
            "the", "the", "a", "this", "that", "my", "your", "our", "every", "some"
        )
        return f"{article} {adjective}{noun}"

    def _who(self) -> str:
        if self._chance(0.4):
            return self._of(words("names"))
        return self._pick(
            "I", "you", "we", "they", "he", "she", "the manager", "my friend", "people"
        )

    def _amount(self) -> str:
        return self._pick(
            str(self._random.randint(1, 30)),
            str(self._random.randint(30, 999)),
            f"{self._random.randint(1, 9)}.{self._random.randint(1, 9)}",
            self._pick("one", "two", "three", "half a dozen", "a couple of", "ten", "twenty-five"),
        )

    def _money(self) -> str:
        dollars = self._random.choice([self._random.randint(1, 20), self._random.randint(20, 400)])
        return self._pick(
            f"${dollars}", f"${dollars}.{self._random.randint(1, 99):02d}", f"{dollars} dollars"
        )

    def _end(self) -> str:
        return self._random.choices([".", "!", "", "..."], [8, 1.5, 0.6, 0.2])[0]

    # Shapes of sentences

    def _greeting(self) -> str:
        line = self._of(words("greetings"))
        if self._chance(0.45):
            line += f", {self._of(words('names'))}"
        line += self._pick(".", "!", ".", ",", "?")
        if line.endswith(","):
            line += " " + self._pick(
                "how can I help you today?",
                "what can I get for you?",
                "it's good to see you.",
                "I'm right here.",
                "let's have a look.",
            )
        return line

    def _shop(self) -> str:
        strain, product, effect = (
            self._of(words("strains")),
            self._of(words("products")),
            self._of(words("effects")),
        )
        adjective, other = self._of(words("adjectives")), self._of(words("adjectives"))
        return self._pick(
            f"{strain} is {adjective} and {other}, and many people choose it for {effect}.",
            f"If you want something {adjective}, try the {strain} {product}.",
            f"We have {self._amount()} kinds of {product} {self._of(words('places'))}.",
            f"This {product} has {self._random.randint(5, 32)} percent THC and almost no CBD.",
            f"Start low and go slow: take {self._amount()} milligrams, then wait two hours.",
            "May I see your ID, please? You must be twenty-one or older.",
            f"The {strain} comes from {self._pick('Oregon', 'Colorado', 'California', 'Maine')}.",
            f"It smells of {self._pick('pine', 'lemon', 'pepper', 'mango', 'diesel', 'berries')}; "
            f"the taste is {adjective}.",
            f"A {product} for {effect} would be my choice.",
            "Myrcene, limonene and "
            f"{self._pick('pinene', 'linalool', 'caryophyllene')} are terpenes.",
            f"I'd go with the {adjective} {product}; "
            f"it's {other} but not too {self._of(words('adjectives'))}.",
            f"Your order is ready: one {product}, {self._amount()} grams of {strain}.",
        )  # fmt: skip

    def _question(self) -> str:
        thing, place = self._thing(), self._of(words("places"))
        verb, who = self._of(words("verbs")), self._who()
        return self._pick(
            f"do you {verb} {thing}?",
            f"would you like {thing} or {self._thing()}?",
            f"what did {who} {verb} {place}?",
            f"where can I {verb} {thing}?",
            f"how much is {thing}?",
            f"why is {thing} so {self._of(words('adjectives'))}?",
            f"have you {self._of(words('adverbs'))} {self._of(words('past'))} {thing}?",
            f"is it {self._of(words('adjectives'))}?",
            f"can {who} {verb} {thing} {place}?",
            f"who {self._of(words('past'))} {thing}?",
            f"{thing}?",
            f"and {who}?",
            f"you {verb} {thing}, don't you?",
        )

    def _clause(self) -> str:
        tail = f" {self._of(words('places'))}" if self._chance(0.4) else ""
        adverb = f" {self._of(words('adverbs'))}" if self._chance(0.3) else ""
        return self._pick(
            f"{self._who()}{adverb} {self._of(words('past'))} {self._thing()}{tail}",
            f"{self._thing()} is{adverb} {self._of(words('adjectives'))}{tail}",
            f"{self._who()} will{adverb} {self._of(words('verbs'))} {self._thing()}{tail}",
            f"there are {self._amount()} {self._of(words('nouns'))}s{tail}",
            f"{self._who()} can't {self._of(words('verbs'))} {self._thing()}{tail}",
            f"it was{adverb} {self._of(words('adjectives'))}{tail}",
        )

    def _statement(self) -> str:
        return self._clause() + self._end()

    def _compound(self) -> str:
        link = self._pick(
            ", and ",
            ", but ",
            ", so ",
            "; ",
            ": ",
            " because ",
            ", which means ",
            " - ",
            ", or ",
            " if ",
            ", although ",
            " when ",
        )
        line = self._clause() + link + self._clause()
        if self._chance(0.3):
            line += self._pick(", ", "; ", " and ") + self._clause()
        return line + self._end()

    def _list(self) -> str:
        things = [
            self._of(self._random.choice([words("nouns"), words("products"), words("adjectives")]))
            for _ in range(self._random.randint(3, 6))
        ]
        head = self._pick("", "we have ", "you need ", "choose: ", "there is ")
        return (
            head + ", ".join(things[:-1]) + self._pick(" and ", ", and ", " or ") + things[-1] + "."
        )

    def _price(self) -> str:
        return self._pick(
            f"that's {self._money()}{self._end()}",
            f"{self._thing()} costs {self._money()}, or {self._money()} with the discount.",
            f"your total is {self._money()}.",
            f"{self._money()}, please.",
            f"is it {self._money()}?",
            f"you save {self._random.randint(5, 60)} percent, {self._of(words('names'))}!",
        )

    def _number(self) -> str:
        integer = self._random.randint
        return self._pick(
            f"{integer(0, 99)}, {integer(0, 999)}, {integer(0, 9999)}.",
            f"we open at {integer(7, 11)} and close at {integer(5, 10)} "
            f"{self._pick('PM', 'in the evening')}.",
            f"it is {integer(1, 12)}:{integer(10, 59)}.",
            f"call {integer(200, 999)}, {integer(100, 999)}, {integer(1000, 9999)}.",
            f"the {integer(1, 30)}th of {self._pick('January', 'June', 'August', 'November')}, "
            f"{integer(1950, 2030)}.",
            f"number {integer(1, 200)}{self._end()}",
            f"{integer(1, 99)} {self._of(words('nouns'))}s?",
        )

    def _exclamation(self) -> str:
        return self._pick(
            f"what a {self._of(words('adjectives'))} {self._of(words('nouns'))}!",
            f"{self._of(words('verbs'))} {self._thing()}!",
            f"how {self._of(words('adjectives'))}!",
            f"{self._of(words('greetings'))}! {self._clause()}!",
        )

    def _word(self) -> str:
        pools = [
            words("nouns"),
            words("adjectives"),
            words("common"),
            words("names"),
            words("products"),
            words("verbs"),
        ]
        return self._of(self._random.choice(pools)) + self._pick(".", "?", "!", "", ",", ".")

    def _mark(self) -> str:
        return self._random.choices(["", ",", ";", ":"], [14, 2, 0.6, 0.4])[0]

    def _strung(self, pool: list[str], low: int, high: int) -> str:
        picked = [self._of(pool) for _ in range(self._random.randint(low, high))]
        line = " ".join(word + self._mark() for word in picked[:-1])
        return f"{line} {picked[-1]}".strip() + self._pick(".", ".", "?", "!", "")

    def _random_words(self) -> str:
        pools = [
            words("common"),
            words("nouns"),
            words("verbs"),
            words("past"),
            words("adjectives"),
            words("adverbs"),
        ]
        longest = 22 if self._chance(0.15) else 11
        return self._strung([word for pool in pools for word in pool], 2, longest)

    def _invented_words(self) -> str:
        def syllable() -> str:
            return self._of(words("onsets")) + self._of(words("nuclei")) + self._of(words("codas"))

        invented = [
            "".join(syllable() for _ in range(self._random.randint(1, 3))) for _ in range(8)
        ]
        return self._strung(invented, 2, 7)


def held_out(count: int, exclude: set[str]) -> list[str]:
    """Give lines that no training set holds.

    Args:
        count: How many lines to give.
        exclude: The lines of the training set.

    Returns:
        ``count`` distinct lines, each of three words or more, none of them in ``exclude``.
    """
    lines: list[str] = []
    seen = set(exclude)
    for line in Sentences(_HELD_OUT_SEED):
        if len(line.split()) >= 3 and line not in seen:
            lines.append(line)
            seen.add(line)
        if len(lines) == count:
            break
    return lines
