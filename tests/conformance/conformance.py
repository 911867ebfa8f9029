"""Drives the Autobahn test suite (through the PyPI package kosoku) against `/v1/echo` of a server of its own.

FAILED and wrong closings fail the run; NON-STRICT and INFORMATIONAL are what RFC 6455 leaves open; the compression
cases 12 and 13 may be UNIMPLEMENTED: windows below 15 bits are not agreed to. Prints the counts.
"""

import argparse
import asyncio
import collections
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "blackbox"))

from kosoku import FailureError, run_fuzzingclient  # noqa: E402

from serving import Server  # noqa: E402

# Section 9 sends single messages of 16 MiB, so the echo must be allowed to take and return them.
SETTINGS = {
    "echo.enabled": True,
    "listen.compression": True,
    "limits.max_frame_bytes": 32 * 1024 * 1024,
    "limits.outbox_bytes": 64 * 1024 * 1024,
    "heartbeat.interval": "300s",
}
# All of them take six minutes; without `--full` these stand for them.
COMPRESSION = ["12.*", "13.*"]
SOME = ["12.1.4", "12.1.10", "12.2.6", "12.4.11", "12.5.9", "13.1.7", "13.2.12", "13.3.1", "13.4.5", "13.7.18"]
# What the suite says of its own mistake: it hashes an empty text where it should hash no bytes.
ITS_OWN = "Strings must be encoded before hashing"
FINE = {"OK", "NON-STRICT", "INFORMATIONAL"}


def wrong(result) -> bool:
    """Whether this case counts against the server."""
    if ITS_OWN in str(result.result):
        return False
    if result.behavior.value == "UNIMPLEMENTED":
        return not result.case_id.startswith(("12.", "13."))
    return result.behavior.value not in FINE or result.behavior_close.value not in FINE


async def run(url: str, cases, exclude) -> list:
    try:
        return await run_fuzzingclient(url, cases, exclude, concurrency=4)
    except FailureError as failure:
        return failure.results


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--full", action="store_true", help="every compression case, not only some")
    arguments.add_argument("--case", action="append", help="only this case or pattern, for example 5.19 or 6.*")
    arguments.add_argument("--url", help="an echo server that is running already, for example ws://127.0.0.1:9001")
    options = arguments.parse_args()
    every = not (options.full or options.case)
    rounds = [(None, COMPRESSION), (SOME, None)] if every else [(options.case, None)]
    results = []
    if options.url:
        for cases, exclude in rounds:
            results += asyncio.run(run(options.url, cases, exclude))
    else:
        with tempfile.TemporaryDirectory(prefix="dormouse-conformance-") as folder:
            server = Server(Path(folder), SETTINGS)
            try:
                for cases, exclude in rounds:
                    results += asyncio.run(run(server.url("ws", "/v1/echo"), cases, exclude))
            finally:
                server.stop()
    failed = [result for result in results if wrong(result)]
    for result in failed:
        print(f"case {result.case_id}: {result.behavior.value}, close {result.behavior_close.value}: {result.result} "
              f"{result.result_close} (close code {result.remote_close_code})")
        print(f"    expected: {' '.join(str(result.expectation).split())}")
    counts = collections.Counter(result.behavior.value for result in results)
    print("conformance:", ", ".join(f"{count} {name}" for name, count in counts.most_common()))
    print(f"{len(results) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed or not results else 0


if __name__ == "__main__":
    sys.exit(main())
