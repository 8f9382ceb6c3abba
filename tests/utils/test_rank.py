import os
import subprocess
import sys

import pytest

from vae_lightning.utils.rank import of_first_process, rank

SLURM = {
    "SLURM_NTASKS": "2",
    "SLURM_STEP_NUM_TASKS": "2",
    "SLURM_NTASKS_PER_NODE": "2",
    "SLURM_NODELIST": "127.0.0.1",
    "SLURM_JOB_ID": str(os.getpid()),  # Lightning takes a port from it
}
# The first process, which holds the text, has to outlive the other.
CODE = """
import sys
from vae_lightning.utils.rank import of_first_process
print(of_first_process(sys.argv[1]), flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, 0),
        ({"LOCAL_RANK": "1"}, 1),
        ({"RANK": "5", "LOCAL_RANK": "1"}, 5),
        ({"SLURM_PROCID": "3"}, 3),
    ],
)
def test_the_rank_is_that_among_all_processes_of_the_run(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: int
) -> None:
    for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert rank() == expected


def test_a_process_alone_shares_nothing() -> None:
    assert of_first_process("mine") == "mine"


def test_processes_of_a_slurm_step_share_the_text_of_the_first() -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CODE, f"text {number}"],
            env={**os.environ, **SLURM, "SLURM_PROCID": str(number)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in (0, 1)
    ]
    said = [process.communicate(timeout=100)[0] for process in reversed(processes)]
    assert said == ["text 0\n"] * 2
