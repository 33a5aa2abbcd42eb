"""Processes that are killed: forked from one that has imported everything, so that each is cheap.

Run as a program it reads a request a line, (function, arguments) of `killable_jobs.py`, forks, and
says the number of the new process and later how it ended.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

TESTS = Path(__file__).parents[1]


class ForkServer:
    """Starts functions of `killable_jobs.py` as processes of their own."""

    def __init__(self):
        paths = [str(TESTS), os.environ.get("PYTHONPATH", "")]
        self.process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
        )  # fmt: skip

    def start(self, function, **arguments):
        """Start a function; the number of its process."""
        print(json.dumps([function, arguments]), file=self.process.stdin, flush=True)
        return int(self.process.stdout.readline())

    def wait(self):
        """How the process ended: its exit code, or minus the signal that ended it."""
        return int(self.process.stdout.readline())

    def run(self, function, **arguments):
        """Start a function and wait for its end."""
        self.start(function, **arguments)
        return self.wait()

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def await_file(path, seconds=60):
    """Wait until a process has written a file."""
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"{path} was not written in {seconds} s"
        time.sleep(0.005)


def serve():
    """Fork a process for each request."""
    import torch

    torch.set_num_threads(1)
    jobs = importlib.import_module("helpers.killable_jobs")
    jobs.warm_up()
    for line in sys.stdin:
        function, arguments = json.loads(line)
        child = os.fork()
        if child == 0:
            # A process group of its own, as a scheduler gives each task, and nothing to read.
            os.setpgid(0, 0)
            says = os.open(
                arguments.pop("says", os.devnull), os.O_WRONLY | os.O_CREAT | os.O_APPEND
            )
            for stream in (1, 2):
                os.dup2(says, stream)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            code = 1
            try:
                code = getattr(jobs, function)(**arguments) or 0
            except BaseException:
                traceback.print_exc()
            sys.stdout.flush()
            os._exit(code)  # what this one left in its buffers is its parent's
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for pytest, which closes our input
    serve()
