# bdl: the only build file.  Settings on top, no configure, GNU make.  `make help` lists the targets.
#
#   make [CC=clang] [BUILD=dir] [SAN=address,undefined | SAN=thread] [DEBUG=1] [target]
#
# Objects go to $(BUILD); a build with asserts (DEBUG=1, which `make test` and `make fuzz` set) to $(BUILD)/debug, a
# sanitizer build to $(BUILD)-asan and so on.  A change of compiler or flags rebuilds what it concerns.  V=1 shows commands.

PREFIX  ?= /usr/local
DESTDIR ?=
BUILD   ?= build
SAN     ?=
DEBUG   ?=
WERROR  ?= -Werror
JOBS    ?= $(shell getconf _NPROCESSORS_ONLN)
MODEL   ?= models/coba_ei.lua
V       ?=

ifeq ($(origin CC),default)
CC := gcc
endif
CC := $(strip $(CC))

WARN := -Wall -Wextra -Wpedantic $(WERROR)
OPT  := -O2 -g
# Kernels may assume that nobody reads errno or floating-point flags, nothing else: the bits of a sum or a product must
# not depend on the compiler.
KOPT := -O3 -g -fno-math-errno -fno-trapping-math -ffp-contract=off

# The tile kernels are compiled once an instruction set and chosen at run time.
ISA_x86_64 :=
ISA_avx2   := -mavx2 -mfma -mprefer-vector-width=256
ISA_avx512 := -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mprefer-vector-width=512
MACHINE := $(firstword $(subst -, ,$(shell $(CC) -dumpmachine 2>/dev/null || uname -m)))
ISAS    := $(or $(if $(filter x86_64,$(MACHINE)),x86_64 avx2 avx512),$(filter aarch64,$(MACHINE)),generic)

# ---- which build this is ----------------------------------------------------------------------------------------------

GOALS   := $(or $(MAKECMDGOALS),all)
TESTING := $(filter test fuzz,$(GOALS))
null    :=
space   := $(null) $(null)

ifneq ($(SAN),)
OUT := $(BUILD)-$(or $(if $(findstring address,$(SAN)),asan),$(if $(findstring thread,$(SAN)),tsan),$(SAN))
OPT := -O1 -g -fno-omit-frame-pointer -fsanitize=$(SAN) -fno-sanitize-recover=all -DBDL_DEBUG
KOPT := $(filter-out -O3,$(KOPT)) $(OPT)
else ifneq ($(DEBUG)$(TESTING),)
OUT := $(BUILD)/debug
OPT  += -DBDL_DEBUG
KOPT += -DBDL_DEBUG
else
OUT := $(BUILD)
endif

ifeq ($(filter -j%,$(MAKEFLAGS)),)
MAKEFLAGS += -j$(JOBS)
endif
MAKEFLAGS += --no-builtin-rules --no-print-directory
Q   := $(if $(V),,@)
say  = $(if $(V),,@printf '  %-5s %s\n' $(1) $(2))

# ---- dependencies -----------------------------------------------------------------------------------------------------

# deps.sh installs what is missing, or says how, and writes the compiler flags of what it found.  make runs it once, then
# starts over.
NEED := build$(if $(filter test tidy,$(GOALS)),-test)$(if $(findstring clang,$(CC))$(filter fuzz,$(GOALS)),-clang)
NEED := $(NEED)$(if $(filter tidy,$(GOALS)),-tidy)$(if $(filter docs deb,$(GOALS)),-docs)
ifneq ($(filter-out clean uninstall help,$(GOALS)),)
include $(BUILD)/deps-$(NEED).mk
endif

$(BUILD)/deps-%.mk: tools/deps.sh
	@mkdir -p $(@D)
	@CC="$(CC)" sh tools/deps.sh $(subst -, ,$*) > $@.tmp && mv $@.tmp $@

# ---- sources ----------------------------------------------------------------------------------------------------------

VERSION := $(shell sed -n 's/^\#define BDL_VERSION "\(.*\)"/\1/p' runtime/bdl.h)
SONAME  := libbdl.so.$(firstword $(subst ., ,$(VERSION)))

RUNTIME := $(wildcard runtime/*/*.c) $(wildcard lua/binding/*.c)
KERNELS := $(wildcard kernels/cpu/*.c)
PER_ISA := $(filter %_isa.c,$(KERNELS))
MODULES := $(shell find lua/bdl -name '*.lua' | LC_ALL=C sort) $(wildcard models/data/*.npz)
PROGRAM := $(filter-out tools/embed.c,$(wildcard tools/*.c))
TESTS   := $(wildcard tests/*/test_*.c)
SUPPORT := $(filter-out $(TESTS) tests/fuzz/%,$(wildcard tests/*/*.c))
FUZZERS := $(wildcard tests/fuzz/*.c)
SEEDS   := $(wildcard tests/fuzz/corpus_*) tests/file/numpy tests/nir
FAKE    := $(addprefix $(OUT)/fake-cuda/,libcuda.so.1 libnvrtc.so.12 libcublas.so.12 libcublasLt.so.12 libnccl.so.2 accepts shim.h)
HEADERS := $(wildcard runtime/*.h runtime/*/*.h lua/binding/*.h kernels/*/*.h)

# Text of programs: kernels/<folder>/<name>, in the library as bdl_<folder>_<name>.
TEXTS := native_elements export_device cuda_device cuda_prelude

obj = $(patsubst %.c,$(OUT)/obj/%.o,$(1))
LIB_OBJ := $(call obj,$(RUNTIME) $(filter-out $(PER_ISA),$(KERNELS))) $(OUT)/obj/embedded.o $(TEXTS:%=$(OUT)/obj/%.o) \
           $(foreach i,$(ISAS),$(PER_ISA:%.c=$(OUT)/obj/%.$(i).o))

CPPFLAGS += -D_DEFAULT_SOURCE -Iruntime -Ikernels -Ilua $(LUA_CFLAGS) $(DEP_CFLAGS)
ALL_CFLAGS = -std=c11 $(OPT) -fPIC -pthread $(WARN) $(CPPFLAGS) $(CFLAGS)
ALL_KFLAGS = -std=c11 $(KOPT) -fPIC -pthread $(WARN) $(CPPFLAGS) $(CFLAGS)
LINK = $(CC) -pthread $(if $(SAN),-fsanitize=$(SAN)) -Wl,--as-needed $(LDFLAGS)
LIBS = $(LUA_LIBS) $(DEP_LIBS) -lm -ldl -lpthread

# ---- products ---------------------------------------------------------------------------------------------------------

.PHONY: all run test test-gpu golden bench bench-gpu docs fuzz tidy install deb module install-module uninstall clean help
.DELETE_ON_ERROR:
.SECONDARY:

all: $(OUT)/bdl $(OUT)/libbdl.a $(OUT)/libbdl.so $(OUT)/lua/bdl.so  ## the program, the two libraries, the module of Lua

$(OUT)/bdl: $(call obj,$(PROGRAM)) $(OUT)/libbdl.a
	$(call say,LINK,$@)
	$(Q)$(LINK) -o $@ $^ $(LIBS)

$(OUT)/libbdl.a: $(LIB_OBJ)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(OUT)/libbdl.so: $(LIB_OBJ)
	$(call say,LINK,$@)
	$(Q)$(LINK) -shared -Wl,-soname,$(SONAME) -Wl,-Bsymbolic-functions $(if $(SAN),,-Wl,--no-undefined) -o $@ $^ $(LIBS)

# The Lua that loads it brings the functions of Lua.
$(OUT)/lua/bdl.so: $(LIB_OBJ)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(LINK) -shared -Wl,-Bsymbolic-functions -o $@ $^ $(DEP_LIBS) -lm -ldl -lpthread

# The command line that everything in $(OUT) was built with; its text is the prerequisite, not its age.
FLAGS = $(CC) $(ALL_CFLAGS) : $(KOPT) : $(foreach i,$(ISAS),$(i) $(ISA_$(i)))
$(OUT)/flags: force
	@mkdir -p $(@D)
	@printf '%s\n' '$(FLAGS)' | cmp -s - $@ || printf '%s\n' '$(FLAGS)' > $@
.PHONY: force

$(OUT)/obj/%.o: %.c $(OUT)/flags
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# What one file needs alone does not rebuild the others when it comes or goes.
HDF5 := $(patsubst %.c,%,$(wildcard runtime/file/hdf5_lib*.c))
$(HDF5:%=$(OUT)/obj/%.o) $(HDF5:%=$(OUT)/tidy/%.c): private CPPFLAGS += $(HDF5_CFLAGS)
$(HDF5:%=$(OUT)/obj/%.o): $(BUILD)/deps-$(NEED).mk

$(OUT)/obj/kernels/%.o: kernels/%.c $(OUT)/flags
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(ALL_KFLAGS) -MMD -MP -c -o $@ $<

define isa_rule
$(OUT)/obj/%.$(1).o: %.c $(OUT)/flags
	@mkdir -p $$(@D)
	$$(call say,CC,$$@)
	$$(Q)$$(CC) $$(ALL_KFLAGS) -DBDL_ISA=$(1) $$(ISA_$(1)) -MMD -MP -c -o $$@ $$<
endef
$(foreach i,$(ISAS),$(eval $(call isa_rule,$(i))))

# The Lua modules and the data of models, inside the library.  `modules` changes when one is added or removed.
$(OUT)/modules: force
	@mkdir -p $(@D)
	@printf '%s\n' $(MODULES) | cmp -s - $@ || printf '%s\n' $(MODULES) > $@

$(BUILD)/embed: tools/embed.c
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) -std=c11 -O1 $(WARN) $(LUA_CFLAGS) -o $@ $< $(LUA_LIBS)

$(OUT)/embedded.c: $(BUILD)/embed $(OUT)/modules $(MODULES)
	$(call say,EMBED,$@)
	$(Q)$(BUILD)/embed $(MODULES) > $@

$(OUT)/obj/embedded.o: $(OUT)/embedded.c $(OUT)/flags
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# What native code and exported programs are made of, as text: functions of C after the preprocessor.
define text_rule
$(OUT)/$(2)_$(1).c: kernels/$(2)/$(1).$(4) $(wildcard kernels/native/* kernels/export/*.inc kernels/cuda/*.inc kernels/cpu/*.inc)
	@mkdir -p $$(@D)
	$$(call say,EMBED,$$@)
	$$(Q){ echo '#include "$(3)"'; echo 'const char bdl_$(2)_$(1)[] = {'; \
	  $(5) $$< | od -An -v -tu1 | sed 's/  *\([0-9][0-9]*\)/\1,/g'; echo '0};'; } > $$@

$(OUT)/obj/$(2)_$(1).o: $(OUT)/$(2)_$(1).c $(OUT)/flags
	@mkdir -p $$(@D)
	$$(call say,CC,$$@)
	$$(Q)$$(CC) $$(ALL_CFLAGS) -MMD -MP -c -o $$@ $$<
endef
PREPROCESSED = $$(CC) -E -P -Ikernels
$(eval $(call text_rule,elements,native,exec/emit.h,c,$(PREPROCESSED)))
$(eval $(call text_rule,device,export,export/export.h,c,$(PREPROCESSED)))
$(eval $(call text_rule,device,cuda,gpu/program.h,c,$(PREPROCESSED)))
$(eval $(call text_rule,prelude,cuda,gpu/program.h,cu,cat))

-include $(shell [ -d $(OUT)/obj ] && find $(OUT)/obj -name '*.d')

# ---- use, test, measure -----------------------------------------------------------------------------------------------

run: $(OUT)/bdl  ## build, then simulate a network of 4,000 neurons (MODEL=models/...)
	$(OUT)/bdl run $(MODEL)

# Areas of reference data that are compared in single precision, too.
SINGLE   := autodiff cells etrace events networks neurons optim seeds surrogate synapses units
TEST_BIN := $(TESTS:tests/%.c=$(OUT)/tests/%)
# Texts of kernels are the same whatever compiled bdl: one compiler's run sees them all.
TEXTS_OF_KERNELS := $(addprefix tests/gpu/test_,kernels.c events.c products.c)
SUITES   := $(if $(findstring clang,$(CC)),$(filter-out $(TEXTS_OF_KERNELS),$(TESTS)),$(TESTS)) $(filter-out %/harness.lua %/run.lua,$(wildcard tests/lua/*.lua tests/layers/*.lua)) \
            $(if $(SAN)$(findstring clang,$(CC)),,tests/gpu/models.lua) \
            $(if $(wildcard tests/golden/run.lua),$(filter-out %/areas/ %/generate/,$(wildcard tests/golden/*/)) $(SINGLE:%=tests/golden/%/f32/))

$(OUT)/tests/%: $(OUT)/obj/tests/%.o $(call obj,$(SUPPORT)) $(OUT)/libbdl.a
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(LINK) -o $@ $^ -lcmocka $(LIBS)

# Stand-ins for NVIDIA's libraries (tests/cuda/README.md), without sanitizers: they change stacks.  Not unloaded: what a
# driver holds outlives its users.
FAKE_CC  = $(CC) -std=c11 -O2 -g -fPIC -shared -fvisibility=hidden -pthread $(WARN) -D_GNU_SOURCE -U_FORTIFY_SOURCE \
           -Wl,-z,nodelete -Wl,--no-undefined -Wl,-soname,$(@F)
FAKE_SRC := $(filter-out %/nvrtc.c %/cublas.c %/cublaslt.c %/nccl.c %/accepts.c,$(wildcard tests/cuda/fake/*.c))
FAKE_H   := tests/cuda/shim.h tests/cuda/fake/fake.h $(OUT)/flags

$(OUT)/fake-cuda/libcuda.so.1: $(FAKE_SRC) $(FAKE_H)
	@mkdir -p $(@D)
	$(call say,FAKE,$@)
	$(Q)$(FAKE_CC) -o $@ $(FAKE_SRC) -ldl

$(OUT)/fake-cuda/libnvrtc.so.12: tests/cuda/fake/nvrtc.c $(FAKE_H)
	@mkdir -p $(@D)
	$(call say,FAKE,$@)
	$(Q)$(FAKE_CC) -o $@ $< -ldl

$(OUT)/fake-cuda/libcublas.so.12: tests/cuda/fake/cublas.c
$(OUT)/fake-cuda/libcublasLt.so.12: tests/cuda/fake/cublaslt.c
$(OUT)/fake-cuda/libcublas%.12: $(OUT)/fake-cuda/libcuda.so.1 tests/cuda/fake/product.h $(FAKE_H)
	@mkdir -p $(@D)
	$(call say,FAKE,$@)
	$(Q)$(FAKE_CC) -Wl,-rpath,'$$ORIGIN' -o $@ $(filter %.c,$^) $(@D)/libcuda.so.1

$(OUT)/fake-cuda/libnccl.so.2: tests/cuda/fake/nccl.c $(OUT)/fake-cuda/libcuda.so.1 $(FAKE_H)
	@mkdir -p $(@D)
	$(call say,FAKE,$@)
	$(Q)$(FAKE_CC) -Wl,-rpath,'$$ORIGIN' -o $@ $< $(@D)/libcuda.so.1

$(OUT)/fake-cuda/accepts: tests/cuda/fake/accepts.c $(OUT)/flags
	@mkdir -p $(@D)
	$(call say,FAKE,$@)
	$(Q)$(CC) -std=c11 -O1 $(WARN) -o $@ $< -ldl

$(OUT)/fake-cuda/shim.h: tests/cuda/shim.h
	@mkdir -p $(@D)
	$(Q)cp $< $@

$(filter $(OUT)/tests/cuda/% $(OUT)/tests/gpu/%,$(TEST_BIN)): | $(FAKE)

# On the fake GPU what shows most of it in two minutes; on a real one everything.
GOLDENS  := $(filter-out %/areas/ %/generate/,$(wildcard tests/golden/*/))
ON_FAKE  := $(if $(SAN)$(findstring clang,$(CC)),,$(filter-out %/etrace/ %/seeds/,$(GOLDENS)) $(addprefix tests/lua/,array.lua checkify.lua compile.lua delay.lua layers.lua memory.lua vmap.lua))
NOT_ON_GPU := $(addprefix tests/lua/,harness.lua run.lua cli.lua native.lua repl.lua)
ON_GPU   := $(filter-out $(NOT_ON_GPU),$(wildcard tests/lua/*.lua)) $(GOLDENS) $(SINGLE:%=tests/golden/%/f32/)

test-gpu: all $(TEST_BIN)  ## the suites on the GPU of this machine (SANITIZER=memcheck, racecheck: under compute-sanitizer)
	@BDL_TEST_GPU=real OUT=$(OUT) BDL_PREFIX='$(if $(SANITIZER),compute-sanitizer --tool $(SANITIZER) --error-exitcode 9)' \
	  ONLY='$(ONLY)' JOBS=1 sh tests/run.sh $(wildcard tests/gpu/test_*.c) $(ON_GPU:%=gpu:%)

test: all $(TEST_BIN) $(FAKE)  ## every suite of C, Lua and reference data (ONLY=pattern)
	@OUT=$(OUT) SAN=$(SAN) CC='$(CC)' LIBS='$(LIBS)' ONLY='$(ONLY)' JOBS=$(JOBS) sh tests/run.sh $(SUITES) $(addprefix gpu:,$(wildcard $(ON_FAKE)))

golden: $(OUT)/bdl  ## compare with the reference data (AREA=name, PRECISION=32, BDL_GOLDEN=dir)
	@$(OUT)/bdl run --quiet tests/golden/run.lua

docs: $(OUT)/bdl  ## the reference: $(BUILD)/docs/index.html, man pages in docs/man, docs/bdl.d.lua for editors
	@$(OUT)/bdl run --quiet tools/docs.lua $(BUILD)/docs

fuzz: $(FUZZERS:tests/fuzz/%.c=$(BUILD)/fuzz/%)  ## build the fuzz drivers; FUZZ=seconds also runs each so long
	@$(if $(FUZZ),for f in $^; do mkdir -p $$f.corpus && \
	  $$f -max_total_time=$(FUZZ) -timeout=10 $$f.corpus $(SEEDS) || exit 1; done)

$(BUILD)/fuzz-asan/libbdl.a: force
	@$(MAKE) CC=clang SAN=address,undefined,fuzzer-no-link BUILD=$(BUILD)/fuzz $@

$(BUILD)/fuzz/%: tests/fuzz/%.c $(BUILD)/fuzz-asan/libbdl.a
	@mkdir -p $(@D)
	$(call say,FUZZ,$@)
	$(Q)clang -std=c11 -O1 -g -DBDL_DEBUG $(WARN) $(CPPFLAGS) -fsanitize=fuzzer,address,undefined -o $@ $< \
	  $(BUILD)/fuzz-asan/libbdl.a $(LIBS)

REFS := $(patsubst tools/bench/%.c,$(BUILD)/bench/%,$(wildcard tools/bench/*.c))
bench: $(OUT)/bdl $(REFS)  ## times beside the C references and the peers (PEERS=1 installs them, ONLY=w2 chooses)
	@$(if $(PEERS),sh tools/bench/peers.sh $(BUILD)/bench)
	@BUILD=$(BUILD) BDL=$(OUT)/bdl ONLY='$(ONLY)' THREADS=$(or $(THREADS),1) ROUNDS=$(or $(ROUNDS),1) \
	  $(OUT)/bdl run --quiet tools/bench/bench.lua

bench-gpu:  ## the workloads W2 to W7 and W10 on the GPU of this machine, beside the native tier and the peers
	@GPU=1 $(MAKE) --no-print-directory bench

$(BUILD)/bench/%: tools/bench/%.c tools/bench/timing.h
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)gcc -O3 -march=native -ffast-math -fopenmp -o $@ $< -lm -ldl

$(BUILD)/bench/w8_bdl $(BUILD)/bench/w9_dot: $(BUILD)/bench/%: tools/bench/%.c $(OUT)/libbdl.a tools/bench/timing.h
	@mkdir -p $(@D)
	$(call say,CC,$@)
	$(Q)$(CC) $(ALL_CFLAGS) -o $@ $(filter-out %.h,$^) $(LIBS)

# One stamp a file, made after its object: a changed header has its users checked again.
TIDY := $(filter-out $(PER_ISA),$(RUNTIME) $(KERNELS) $(PROGRAM) $(TESTS) $(SUPPORT))
tidy: $(TIDY:%=$(OUT)/tidy/%)  ## clang-tidy over the files that changed since the last time

$(OUT)/tidy/%.c: $(OUT)/obj/%.o .clang-tidy
	@mkdir -p $(@D)
	$(call say,TIDY,$*.c)
	$(Q)clang-tidy --quiet --warnings-as-errors='*' $*.c -- -std=c11 $(CPPFLAGS) 2>/dev/null
	@touch $@

install: all  ## PREFIX=/usr/local DESTDIR=
	$(Q)OUT=$(OUT) LIBS='$(LIBS)' PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' sh tools/install.sh
	$(if $(DESTDIR),,-@ldconfig 2>/dev/null || true)

deb: all docs  ## a package for Debian, in BUILD
	$(Q)OUT=$(OUT) DOCS=$(BUILD)/docs LIBS='$(LIBS)' sh tools/deb.sh

module: $(OUT)/lua/bdl.so  ## bdl for a Lua 5.4 that is there already: require "bdl"

install-module: module
	install -d $(DESTDIR)$(LUA_LIBDIR)
	install -m 644 $(OUT)/lua/bdl.so $(DESTDIR)$(LUA_LIBDIR)/bdl.so

uninstall:  ## what install put under PREFIX
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/,bin/bdl lib/libbdl.a lib/libbdl.so* lib/lua/5.4/bdl.so include/bdl.h lib/pkgconfig/bdl.pc)
	rm -rf $(DESTDIR)$(PREFIX)/share/bdl

clean:  ## remove every build folder
	rm -rf $(BUILD) $(BUILD)-*

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*  ## /\1: /p' Makefile | awk -F': ' '{printf "  make %-14s %s\n", $$1, $$2}'
