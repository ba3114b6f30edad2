#!/bin/sh
# run.sh -- runs test suites, two or more at a time, and adds up what they say.  Called by `make test`.
#   OUT=build/debug [SAN=..] [ONLY=pattern] [JOBS=n] [TEST_TIMEOUT=s] run.sh tests/ir/test_text.c tests/lua/check.lua tests/golden/units/ ..
# gpu: in front of a suite: its programs run on a GPU (tests/cuda).  A suite is a C program (built from the file named), a Lua file, or a folder of reference cases, with f32/ behind it in single
# precision.  One line a suite, then
# the output of those that failed; last line `N passed, N failed`.  A suite that crashes, hangs, or says nothing fails.
set -u
export OUT="${OUT:-build/debug}" SAN="${SAN:-}" BDL="${OUT:-build/debug}/bdl"
export TEST_TIMEOUT="${TEST_TIMEOUT:-$([ -n "$SAN" ] && echo 900 || echo 300)}"
log=$OUT/log

# one suite: writes $log/<name>.log and $log/<name>.sum (passed failed skipped), prints its line
one() {
  gpu=
  case $1 in gpu:*) # on a GPU: the fake one, or that of BDL_TEST_GPU=real
    gpu="BDL_PLATFORM=gpu BDL_CACHE=$log/cache"
    [ "${BDL_TEST_GPU:-}" = real ] || gpu="$gpu BDL_CUDA=$(cd "$OUT" && pwd)/fake-cuda"
    set -- "${1#gpu:}"
    ;;
  esac
  name=${1#tests/}
  case $1 in
  *.c)
    name=$(echo "${name%.c}" | sed 's|/test_|/|')
    set -- env CMOCKA_MESSAGE_OUTPUT=TAP "$OUT/${1%.c}"
    ;;
  *.lua)
    name=${name%.lua}
    set -- "$BDL" run --quiet tests/lua/run.lua "$1"
    ;;
  */f32/)
    name=${name%/}
    area=${name#golden/}
    set -- env PRECISION=32 AREA="${area%/f32}" "$BDL" run --quiet tests/golden/run.lua
    ;;
  */)
    name=${name%/}
    set -- env AREA="${name#golden/}" "$BDL" run --quiet tests/golden/run.lua
    ;;
  esac
  [ -z "$gpu" ] || set -- env $gpu ${BDL_PREFIX:-} "$@"
  [ -z "$gpu" ] || name=gpu:$name
  mkdir -p "$log/${name%/*}"
  begin=$(date +%s%N)
  timeout -k 10 "$TEST_TIMEOUT" "$@" >"$log/$name.log" 2>&1
  status=$?
  ms=$((($(date +%s%N) - begin) / 1000000))
  awk -v status=$status -v name="$name" -v ms=$ms -v sum="$log/$name.sum" '
    /^1\.\.[0-9]+/            { plan += substr($0, 4) }              # TAP, from cmocka
    /^ok /                    { passed++ }
    /^not ok [0-9]+ # SKIP/   { skipped++; next }
    /^not ok /                { failed++ }
    /^[0-9]+ passed, [0-9]+ failed/ { total = $0 }                   # from Lua
    END {
      if (total != "") { n = split(total, t, /[ ,]+/); passed += t[1]; failed += t[3]; skipped += n > 4 ? t[5] : 0 }
      lost = plan - passed - failed - skipped
      if (plan && lost > 0) failed += lost
      why = status == 124 || status == 137 ? "timed out" : status > 128 ? "killed by signal " status - 128 : \
            status && !failed ? "exit status " status : !(passed + failed + skipped) ? "said nothing" : ""
      if (why != "" && !failed) failed = 1
      print passed + 0, failed + 0, skipped + 0 > sum
      printf "%-5s %-28s %5d passed", failed ? "FAIL" : "ok", name, passed
      if (failed) printf ", %d failed", failed
      if (skipped) printf ", %d skipped", skipped
      if (why != "") printf ", %s", why
      printf "  (%.2f s)\n", ms / 1000
    }' "$log/$name.log"
}

if [ "${1:-}" = --one ]; then
  one "$2"
  exit 0
fi

rm -rf "$log"
mkdir -p "$log"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-2}" BDL_TIER="${BDL_TIER:-interp}"
case $SAN in
*thread*)
  export TSAN_OPTIONS="ignore_noninstrumented_modules=1:${TSAN_OPTIONS:-}"
  ;;
?*) export UBSAN_OPTIONS="print_stacktrace=1:${UBSAN_OPTIONS:-}" ;;
esac

# The real compiler of a GPU's programs, where there is one, sees them all; it needs no GPU.
if [ -z "${FAKE_CUDA_NVRTC:-}$SAN" ]; then
  FAKE_CUDA_NVRTC=$(ls -d /usr/local/cuda*/lib64/libnvrtc.so.1? /usr/lib/*/libnvrtc.so.1? 2>/dev/null | head -n 1)
fi
export FAKE_CUDA_NVRTC

for suite in "$@"; do
  case $suite in *${ONLY:-}*) echo "$suite" ;; esac
done | xargs -P "${JOBS:-2}" -n 1 sh "$0" --one

for sum in $(find "$log" -name '*.sum' | LC_ALL=C sort); do
  read -r passed failed skipped <"$sum"
  [ "$failed" = 0 ] && continue
  printf '\n---- %s\n' "${sum%.sum}.log"
  grep -v '^ok ' "${sum%.sum}.log" | tail -n 60
done
find "$log" -name '*.sum' -exec cat {} + | awk '
  { passed += $1; failed += $2; skipped += $3 }
  END {
    if (skipped) printf "(%d skipped)\n", skipped
    printf "%d passed, %d failed\n", passed, failed
    exit failed > 0 || passed == 0
  }'
