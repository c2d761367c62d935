"""Makes the virtual environment, starting from a machine that has nothing but python3 and make.

``python3 tools/setup_venv.py .venv``.  Runs on the system's Python, whatever its version, so it uses the
standard library only and old syntax.  Ways to a pip inside the environment, in order: ensurepip; the
system's package manager, as root on Debian and its children; a pip or virtualenv of the system; a copy of
virtualenv installed below the environment's parent.
"""

import os
import shutil
import subprocess
import sys

NEEDED = (3, 11)
EXTRAS = "dev"


def say(text):
    print("setup: " + text, flush=True)


def attempt(*command):
    """Whether the command ran and succeeded."""
    say("$ " + " ".join(command))
    try:
        return subprocess.call(list(command)) == 0
    except OSError as error:
        say(str(error))
        return False


def quiet(*command):
    try:
        return subprocess.call(list(command), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0
    except OSError:
        return False


def choose_python():
    """This interpreter, or the newest suitable one on PATH."""
    if sys.version_info >= NEEDED:
        return sys.executable
    for minor in range(19, NEEDED[1] - 1, -1):
        found = shutil.which("python3.%d" % minor)
        if found:
            return found
    sys.exit(
        "setup: Python %d.%d or newer is needed; this is %s. Install one and run make PYTHON=python3.x"
        % (NEEDED[0], NEEDED[1], sys.version.split()[0])
    )


def is_root():
    return hasattr(os, "geteuid") and os.geteuid() == 0


def install_venv_package(python):
    """As root on Debian and its children: the package that holds ensurepip."""
    if not (is_root() and shutil.which("apt-get")):
        return False
    version = subprocess.check_output([python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"])
    name = "python" + version.decode().strip() + "-venv"
    quiet("apt-get", "update")
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    for package in (name, "python3-venv"):
        say("$ apt-get install -y " + package)
        if subprocess.call(["apt-get", "install", "-y", "-q", package], env=environment) == 0:
            return quiet(python, "-c", "import ensurepip, venv")
    return False


def make_with_system_pip(python, venv):
    """With a system pip but no ensurepip: a bare environment, and pip installs itself into it."""
    if not quiet(python, "-m", "pip", "--version"):
        return False
    bootstrap = os.path.join(os.path.dirname(os.path.abspath(venv)), ".zabra", "bootstrap")
    if not attempt(python, "-m", "pip", "install", "-q", "--target", bootstrap, "--upgrade", "virtualenv"):
        return False
    command = [python, "-m", "virtualenv", "-q", venv]
    say("$ " + " ".join(command))
    return subprocess.call(command, env=dict(os.environ, PYTHONPATH=bootstrap)) == 0


def make_environment(python, venv):
    if quiet(python, "-c", "import ensurepip, venv") and attempt(python, "-m", "venv", venv):
        return
    say("this Python has no ensurepip; looking for another way to a pip")
    shutil.rmtree(venv, ignore_errors=True)
    if install_venv_package(python) and attempt(python, "-m", "venv", venv):
        return
    shutil.rmtree(venv, ignore_errors=True)
    if shutil.which("virtualenv") and attempt("virtualenv", "-q", "-p", python, venv):
        return
    if make_with_system_pip(python, venv):
        return
    shutil.rmtree(venv, ignore_errors=True)
    sys.exit(
        "setup: cannot make a virtual environment: this Python has neither ensurepip nor pip.\n"
        "setup: on Debian or Ubuntu run `sudo apt-get install python3-venv`, then make again."
    )


def healthy(venv):
    """Whether the environment's Python still runs (its base may have been upgraded away) and has pip."""
    python = os.path.join(venv, "bin", "python")
    check = "import sys, pip; sys.exit(sys.version_info < (%d, %d))" % NEEDED
    return os.path.exists(python) and quiet(python, "-c", check)


def main():
    venv = sys.argv[1]
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if not healthy(venv):
        shutil.rmtree(venv, ignore_errors=True)
        make_environment(choose_python(), venv)
    pip = [os.path.join(venv, "bin", "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    if not attempt(*(pip + ["-e", "%s[%s]" % (root, EXTRAS)])):
        sys.exit("setup: pip could not install the packages (see above); is the network reachable?")
    say("done")


if __name__ == "__main__":
    main()
