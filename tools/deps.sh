#!/bin/sh
# deps.sh -- finds the tools and libraries a build needs; installs the missing ones with apt when it may, else names the
# command and fails.  Those that are only wished for may be missing: some tests are skipped then, the prompt does not edit lines.
# Called by the Makefile:  deps.sh build [test] [clang] [tidy] [docs] > deps.mk
# stdout: make variables with the flags of what was found.  stderr: what is going on.
set -eu
: "${CC:=gcc}"

missing= wished=
want() { # want PACKAGE command...: PACKAGE is missing when the command fails
  package=$1
  shift
  "$@" >/dev/null 2>&1 || missing="$missing $package"
}
wish() { # the same, for what can be done without
  package=$1
  shift
  "$@" >/dev/null 2>&1 || wished="$wished $package"
}
found() { command -v "$1"; }
header() { [ -e "/usr/include/$1" ] || echo "#include <$1>" | "$CC" -E -x c - ; }
# OpenBLAS and libedit are opened at run time, so no compiler looks for them.
shared() {
  for dir in /usr/lib/*-linux-gnu* /usr/lib64 /usr/lib /usr/local/lib; do
    for file in "$dir"/$1; do [ -e "$file" ] && return 0; done
  done
  return 1
}

check() {
  missing= wished=
  for part in "$@"; do
    case $part in
    build)
      case $CC in *clang*) ;; *) want gcc found "$CC" ;; esac
      want libc6-dev header stdio.h
      want pkg-config found pkg-config
      want liblua5.4-dev pkg-config --exists lua5.4
      want libsleef-dev header sleef.h
      want libffi-dev pkg-config --exists libffi
      want zlib1g-dev pkg-config --exists zlib
      want libopenblas0-openmp shared 'openblas-openmp/libopenblas.so.0'
      wish libedit2 shared 'libedit.so.2'
      ;;
    test)
      want libcmocka-dev header cmocka.h
      wish openmpi-bin found mpirun
      wish gnuplot-nox found gnuplot
      wish lua5.4 found lua5.4
      wish g++ found g++
      wish python3 found python3
      wish libhdf5-dev pkg-config --exists hdf5
      wish cmark-gfm found cmark-gfm
      ;;
    clang)
      want clang found clang
      want libclang-rt-dev shared 'llvm-*/lib/clang/*/lib/linux/libclang_rt.asan-*.a'
      ;;
    tidy) want clang-tidy found clang-tidy ;;
    docs) want cmark-gfm found cmark-gfm ;;
    *)
      echo "deps.sh: no part '$part' (build, test, clang, tidy, docs)" >&2
      exit 2
      ;;
    esac
  done
}

check "$@"
if [ -n "$missing$wished" ]; then
  as=
  [ "$(id -u)" = 0 ] || as="sudo"
  command="apt-get install -y --no-install-recommends"
  if found apt-get >/dev/null && { [ -z "$as" ] || sudo -n true 2>/dev/null; }; then
    echo "installing:$missing$wished" >&2
    $as apt-get update -qq >&2 || true
    for packages in "$missing" "$wished"; do
      [ -z "$packages" ] || $as env DEBIAN_FRONTEND=noninteractive $command $packages >&2 || true
    done
    check "$@"
  fi
  if [ -n "$missing" ]; then
    echo "bdl needs these packages:$missing" >&2
    echo "  ${as:+$as }apt-get update && ${as:+$as }$command$missing" >&2
    exit 1
  fi
  [ -z "$wished" ] || echo "done without, and tests skipped:$wished" >&2
fi

# HDF5 is opened at run time; its header must be there to build with it.
hdf5=
! pkg-config --exists hdf5 || hdf5=yes
echo "LUA_CFLAGS := $(pkg-config --cflags lua5.4)"
echo "LUA_LIBS := $(pkg-config --libs lua5.4)"
echo "DEP_CFLAGS := $(pkg-config --cflags libffi zlib)"
echo "HDF5_CFLAGS := ${hdf5:+-DBDL_HDF5 $(pkg-config --cflags hdf5)}"
echo "DEP_LIBS := -lsleef $(pkg-config --libs libffi zlib)"
