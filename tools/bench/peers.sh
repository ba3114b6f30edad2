#!/bin/sh
# peers.sh -- `make bench PEERS=1`: virtual environments with the peers, one a family, since their pins disagree.
#   peers.sh build/bench      makes build/bench/venv-jax, venv-brian2, venv-nest, venv-torch; what fails to install is left out
set -u
here=$(dirname "$0")
python=${PYTHON:-python3}

if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
  if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    apt-get update -qq && apt-get install -y --no-install-recommends python3-venv
  else
    echo "the peers need Python:  sudo apt-get install python3-venv" >&2
    exit 1
  fi
fi

make_venv() { # make_venv NAME REQUIREMENTS
  dir=$1
  [ -e "$dir/complete" ] && return
  echo "installing $2 in $dir" >&2
  "$python" -m venv "$dir" && "$dir/bin/pip" install -q --disable-pip-version-check -r "$here/$2" && touch "$dir/complete" ||
    echo "$2 did not install; its peers are left out" >&2
}

# Debian's PyTorch, in an environment that sees it.
if [ ! -e "$1/venv-torch" ]; then
  if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    apt-get install -y -q --no-install-recommends python3-torch python3-numpy >/dev/null
  fi
  if /usr/bin/python3 -c 'import torch, numpy' 2>/dev/null; then
    /usr/bin/python3 -m venv --system-site-packages --without-pip "$1/venv-torch"
  else
    echo "PyTorch is not there; it is left out:  sudo apt-get install python3-torch" >&2
  fi
fi
make_venv "$1/venv-jax" requirements.txt
make_venv "$1/venv-brian2" requirements-brian2.txt
make_venv "$1/venv-nest" requirements-nest.txt
