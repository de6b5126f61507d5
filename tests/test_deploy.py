"""The set-up scripts, with a stand-in for Python and pip that writes down what it is asked to install."""

import os
import subprocess
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parent.parent / "deploy"
SCRIPTS = DEPLOY.parent / "scripts"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"

# "python -m pip install" obeys, and what it then holds is what $INSTALLS says; "python -" is the look at what is there.
PYTHON = """#!/bin/sh
here=$(dirname "$0")
case "$*" in
    *--version*) echo "Python 3.11.2" ;;
    *--dry-run*) [ "$CONFIGURED" = yes ] ;;
    *install*) echo "$*" >>"$here/calls"; [ "$REACHABLE" = yes ] && echo "$INSTALLS" >"$here/state" ;;
    *) cat "$here/state" ;;
esac
"""


@pytest.fixture
def install_torch(tmp_path):
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    (tmp_path / "calls").touch()

    def install(before="", configured="no", reachable="yes", installs="cpu"):
        (tmp_path / "state").write_text(before)
        answers = {"CONFIGURED": configured, "REACHABLE": reachable, "INSTALLS": installs}
        environment = {**os.environ, **answers}
        environment.pop("RTSTREAM_TORCH_INDEX", None)
        done = subprocess.run(
            [DEPLOY / "install-torch.sh", python], env=environment, capture_output=True, text=True, check=False
        )
        return done, (tmp_path / "calls").read_text()

    return install


def test_cpu_build_that_is_there_already_is_kept(install_torch):
    done, calls = install_torch(before="cpu")
    assert (done.returncode, done.stdout, calls) == (0, "", "")


def test_cpu_build_comes_from_where_pip_is_configured_to_look(install_torch):
    done, calls = install_torch(configured="yes")
    assert done.returncode == 0
    assert "+cpu" in calls
    assert CPU_INDEX not in calls


def test_cpu_build_comes_from_pytorch_where_pip_knows_none(install_torch):
    done, calls = install_torch()
    assert done.returncode == 0
    assert f"--index-url {CPU_INDEX} torch==" in calls


@pytest.mark.parametrize("configured", ["yes", "no"])
def test_cuda_build_is_replaced(install_torch, configured):
    done, calls = install_torch(before="other", configured=configured)
    assert done.returncode == 0
    assert len(calls.splitlines()) == 1


def test_cuda_build_after_all_is_an_error(install_torch):
    done, _ = install_torch(installs="other")
    assert done.returncode == 1
    assert done.stderr.startswith("setup: error: what was installed is not the CPU build of torch ")


def test_unreachable_index_is_an_error_that_says_what_to_do(install_torch):
    done, _ = install_torch(reachable="no")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert CPU_INDEX in done.stderr
    assert "PIP_FIND_LINKS" in done.stderr


def test_missing_interpreter_is_an_error_that_says_what_to_do(tmp_path):
    done = subprocess.run(
        [SCRIPTS / "make-venv.sh", "no-such-python", tmp_path / "venv"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "make setup PYTHON=" in done.stderr


def test_interpreter_without_venv_is_an_error_that_names_the_debian_package(tmp_path):
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\ncase "$*" in *ensurepip*) exit 1 ;; esac\n')
    python.chmod(0o755)
    done = subprocess.run(
        [SCRIPTS / "make-venv.sh", python, tmp_path / "venv"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "python3-venv" in done.stderr
