"""Processes that work together, as a launcher starts them, but forked: they import nothing anew."""

import multiprocessing
import os
import socket
import sys
import time
from contextlib import contextmanager

from statecast.distributed import LAUNCHED

LIMIT = 120  # seconds; a few are needed
PRELOADED = [
    "statecast.runs.run", "statecast.cli.main", "torch.distributed.rendezvous", "jsonargparse",
    "tqdm",
    "torch._dynamo",  # which optimizers import
]  # fmt: skip
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(PRELOADED)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


class Launched:
    """Several processes of one command; what each of them prints goes to files."""

    def __init__(self, folder, act, arguments, count, environment):
        self.folder, port = folder, free_port()
        folder.mkdir(parents=True, exist_ok=True)
        self.processes = []
        for rank in range(count):
            launched = dict(zip(LAUNCHED, (str(rank), str(count), "127.0.0.1", port), strict=True))
            given = (str(folder), launched | environment, act, arguments)
            self.processes.append(CONTEXT.Process(target=start, args=given))
        for process in self.processes:
            process.start()

    def ended(self):
        """Exit code of each, and what it said on the two streams."""
        for process in self.processes:
            process.join(LIMIT)
        codes = [process.exitcode for process in self.processes]
        return codes, [self.said(rank) for rank in range(len(codes))]

    def said(self, rank):
        return tuple((self.folder / f"{rank}.{name}").read_text() for name in ("out", "err"))

    def wait_for(self, path, lines):
        """Wait until a file has so many lines."""
        end = time.monotonic() + LIMIT
        while not path.is_file() or path.read_text().count("\n") < lines:
            assert time.monotonic() < end, [self.said(rank) for rank in range(len(self.processes))]
            time.sleep(0.01)


@contextmanager
def launched(folder, act, *arguments, count=2, environment=None):
    """Call `act(*arguments)` in several processes, none of which outlives the block."""
    command = Launched(folder, act, arguments, count, environment or {})
    try:
        yield command
    finally:
        for process in command.processes:
            process.kill()
            process.join()
            process.close()


def start(folder, environment, act, arguments):
    """Run one process's part."""
    os.environ.update(environment)
    os.chdir(folder)
    for name, stream in (("out", sys.stdout), ("err", sys.stderr)):
        with open(f"{environment['RANK']}.{name}", "w") as file:  # noqa: PTH123
            os.dup2(file.fileno(), stream.fileno())
    code = act(*arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    sys.exit(code or 0)


def statecast(*words):
    """The command."""
    from statecast.cli.main import main

    return main(words)
