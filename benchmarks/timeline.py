"""One incident in a timeline of 1,000 entries and in one of 1,000,000: is it read and appended to equally fast?

    python benchmarks/timeline.py [ENTRIES]

Loads valid chains (every hash right, so that `verify` would pass) by COPY into databases of their own on an embedded PostgreSQL.
"""

from __future__ import annotations

import statistics
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import psycopg
from sqlalchemy import make_url

from stopgap import home
from stopgap.timeline import chain, migrate, postgres, tables
from stopgap.timeline.entry import Draft
from stopgap.timeline.rows import row_of
from stopgap.timeline.store import PostgresTimeline, create_engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stopgap.timeline.chain import Head
    from stopgap.timeline.entry import Entry

SMALL, LARGE = 1_000, 1_000_000
PER_INCIDENT = 50
ROUNDS = 200
KEY = b"the key of the benchmark"
START = datetime(2016, 1, 1, tzinfo=UTC)


def main() -> None:
    large = int(sys.argv[1]) if len(sys.argv) > 1 else LARGE
    with home.temporary() as folder, postgres.start(folder) as server:
        results = {}
        for size in (SMALL, large):
            server.create_database(f"of_{size}")
            results[size] = measure(server.url(f"of_{size}"), size)
    print(f"\n{'median of ' + str(ROUNDS):<36}{f'{SMALL:,} entries':>18}{f'{large:,} entries':>20}{'ratio':>8}")
    for name, small in results[SMALL].items():
        print(f"{name:<36}{small * 1000:>15.2f} ms{results[large][name] * 1000:>17.2f} ms{results[large][name] / small:>8.2f}")


def measure(url: str, size: int) -> dict[str, float]:
    engine = create_engine(url)
    migrate.to_newest(engine)
    began = time.perf_counter()
    load(url, size)
    print(f"loaded {size:,} entries in {time.perf_counter() - began:.1f} s", flush=True)
    timeline = PostgresTimeline(engine, key=KEY)
    middle = f"INC-{size // PER_INCIDENT // 2}"
    results = {
        f"read an incident of {PER_INCIDENT}": median(lambda _number: timeline.of_chain(middle)),
        "read a run": median(lambda _number: timeline.of_run(f"{middle}.1")),
        "find a key": median(lambda _number: timeline.find(f"{middle}/25")),
        "the 20 newest incidents": median(lambda _number: timeline.recent()),
        "append to an old incident": median(lambda number: timeline.append(note("INC-2", number))),
        "append to a new incident": median(lambda number: timeline.append(note("INC-new", number))),
    }
    began = time.perf_counter()
    damages = timeline.verify().damages
    print(f"verified in {time.perf_counter() - began:.1f} s: {len(damages)} damages", flush=True)
    engine.dispose()
    return results


def median(do: Callable[[int], object]) -> float:
    taken = []
    for number in range(ROUNDS):
        began = time.perf_counter()
        do(number)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def note(name: str, number: int) -> Draft:
    text = f"what happened as number {number}, in a sentence of ordinary length"
    return Draft(
        chain=name, kind="step.note", text=text, actor="stopgap", incident=name, run=f"{name}.1", step="scale", data={"number": number}
    )


def load(url: str, size: int) -> None:
    """COPY whole chains, then their heads and their seals."""
    heads: dict[str, Head] = {}
    login = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(login) as connection:
        copy(connection, entries(size // PER_INCIDENT, heads))
        copy(connection, seals(heads))
        columns = list(tables.head.c.keys())
        with connection.cursor().copy(f"COPY head ({', '.join(columns)}) FROM STDIN".encode()) as target:
            for head in heads.values():
                target.write_row([row_of(head)[name] for name in columns])
        connection.commit()
        connection.autocommit = True
        connection.execute("VACUUM ANALYZE")


def copy(connection: psycopg.Connection[object], found: Iterator[Entry]) -> None:
    columns = list(tables.entry.c.keys())
    with connection.cursor().copy(f"COPY entry ({', '.join(columns)}) FROM STDIN".encode()) as target:
        for entry in found:
            row = {**row_of(entry), "data": chain.canonical(entry.data)}
            target.write_row([row[name] for name in columns])


def entries(incidents: int, heads: dict[str, Head]) -> Iterator[Entry]:
    for incident in range(1, incidents + 1):
        at = START + incident * timedelta(minutes=5)
        yield from linked(f"INC-{incident}", (note(f"INC-{incident}", number) for number in range(PER_INCIDENT)), heads, at=at)


def seals(heads: dict[str, Head]) -> Iterator[Entry]:
    yield from linked(chain.SEALS, (chain.seal(head) for head in list(heads.values())), heads, at=datetime.now(UTC))


def linked(name: str, drafts: Iterator[Draft], heads: dict[str, Head], *, at: datetime) -> Iterator[Entry]:
    head: Head | None = None
    for draft in drafts:
        entry = chain.link(draft, head=head, at=at, key=KEY)
        head = chain.head_of(entry, before=head, key=KEY)
        yield entry
    if head:
        heads[name] = head


if __name__ == "__main__":
    main()
