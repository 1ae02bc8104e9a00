# ringvm: a KVM virtual machine monitor whose devices are tasks on one io_uring executor.
#
#   make            build/ringvm
#   make demo       everything a first look needs: tools, kernel, disk, then a guest from boot to power-off
#   make shell      the same guest, with a shell on its console
#   make test       unit tests, sanitizers, lint and a few guests (installs what is missing); what CI runs
#   make test-aarch64 its last part, the other architecture: build, unit tests and guests on an emulated host
#   make test-all   also the stress build, and every guest test, also with another host kernel and under ASan
#
#   make unit asan tsan stress-unit   the unit tests: plain, under sanitizers, with every await suspending
#   make model model-full             the schedule explorer and the Spin model: tests/model/README.md
#   make mutants                      wrong edits of src/, each of which a test has to catch: tests/mutants/run
#   make guest guest-all              guest tests: the daily ones, all
#   make lint format                  what make test checks of the sources; clang-format in place
#   make bench                        all benchmarks; build/bench/NAME.json
#   make bench-guest ROUNDS=1         those of guests, beside QEMU: build/bench/guest.json; also by parts, see bench/bench.mk
#   make bench-compare OLD=a NEW=b    two such documents or directories: what became worse
#   make fuzz FUZZ_SECONDS=30         every fuzz target for so long (needs clang)
#   make install PREFIX=/usr/local DESTDIR=
#   make deps clean                   installs what all of this needs; removes build/
#
# ARCH=aarch64 with deps, all and the tests builds for that architecture; on another one into build/aarch64/.

VERSION := 0.1.0
HOST_ARCH := $(shell uname -m)
ARCH    ?= $(HOST_ARCH)
# Another architecture than this machine's has a build tree of its own, Debian's cross compiler and a sysroot.
CROSS   := $(filter-out $(HOST_ARCH),$(ARCH))
B       := build$(CROSS:%=/%)
# One build tree per variant: release, asan (with UBSan), tsan, stress, valgrind.
VARIANT ?= release
O       := $(B)/$(VARIANT)

ifeq ($(origin CC),default)
CC      := $(CROSS:%=%-linux-gnu-)gcc $(CROSS:%=--sysroot=$(B)/sysroot)
endif
ifeq ($(origin AR),default)
AR      := $(CROSS:%=%-linux-gnu-)ar
endif
PKG_CONFIG := $(if $(CROSS),PKG_CONFIG_SYSROOT_DIR=$(B)/sysroot PKG_CONFIG_LIBDIR=$(B)/sysroot/usr/lib/$(ARCH)-linux-gnu/pkgconfig) \
           pkg-config
# make V=1 shows the whole commands.
Q       := $(if $(V),,@)
PKGS    := liburing libcap jansson
PKG_CFLAGS := $(shell $(PKG_CONFIG) --cflags $(PKGS) 2>/dev/null)
PKG_LIBS := $(shell $(PKG_CONFIG) --libs $(PKGS) 2>/dev/null)
WARN    := -Wall -Wextra -Werror -Wshadow -Wpointer-arith -Wstrict-prototypes -Wmissing-prototypes \
           -Wold-style-definition -Wvla -Wundef -Wwrite-strings -Wformat=2 -Wcast-qual \
           -Wimplicit-fallthrough -Wduplicated-cond -Wlogical-op -Wmissing-field-initializers
HARDEN  := -fstack-protector-strong -fPIE -fno-common -fno-strict-aliasing
CFLAGS  ?= -O2 -g
ALL_CFLAGS = -std=gnu17 -D_GNU_SOURCE -DRINGVM_VERSION=\"$(VERSION)\" -Isrc -I$(O)/gen $(WARN) $(HARDEN) $(CFLAGS) $(VARIANT_CFLAGS) \
             $(PKG_CFLAGS)
ALL_LDFLAGS = -pthread -pie -Wl,-z,relro,-z,now $(LDFLAGS) $(VARIANT_CFLAGS)
# Debian's libfdt has no pkg-config file.
LIBS    = $(PKG_LIBS) -lfdt -lm $(LIBS_$(ARCH))
LIBS_aarch64 := -lz -lzstd -llz4

VARIANT_CFLAGS_release := -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
VARIANT_CFLAGS_asan    := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
# It takes fences for nothing, which shows no race less: data is published by stores with release.
VARIANT_CFLAGS_tsan    := -fsanitize=thread -Wno-tsan -fno-omit-frame-pointer
# For valgrind: see src/exec/ring.h.
VARIANT_CFLAGS_valgrind := -DRING_SLEEPS_IN_POLL -fno-omit-frame-pointer
# Every AWAIT suspends at least once: finds locals that live across an await and wake-ups that were luck.
VARIANT_CFLAGS_stress  := -DASYNC_STRESS=1 -fsanitize=address,undefined -fno-sanitize-recover=all
VARIANT_CFLAGS_fuzz    := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
VARIANT_CFLAGS := $(VARIANT_CFLAGS_$(VARIANT))

MODULES := base cli report exec sync stress latency bench mem bus chardev virtio legacy kvm boot vmm
ASYNC   := base exec sync
OTHER_ARCH := $(filter-out $(ARCH),x86_64 aarch64)
sources = $(filter-out %/main.c,$(wildcard $(1)/*.c $(1)/$(ARCH)/*.c))
SRC     := $(foreach m,$(MODULES),$(call sources,src/$(m)))
TEST_SRC := $(foreach m,$(MODULES),$(call sources,tests/unit/$(m)))
# Criterion's sandbox does not work under ThreadSanitizer and valgrind, and starts a program for each test, which takes
# seconds on an emulated processor: those builds bring their own test runner.
OWN_RUNNER := $(filter tsan valgrind,$(VARIANT))$(CROSS)
VARIANT_CFLAGS += $(if $(OWN_RUNNER),-isystem tests/unit/tsan)
TEST_SRC += $(if $(OWN_RUNNER),tests/unit/tsan/runner.c,tests/unit/time_limit.c)
obj     = $(patsubst %.c,$(O)/%.o,$(1))
OBJ     := $(call obj,$(SRC))
TEST_OBJ := $(call obj,$(TEST_SRC))
ASYNC_OBJ := $(call obj,$(foreach m,$(ASYNC),$(call sources,src/$(m))))

.PHONY: all
all: $(B)/ringvm $(O)/libringvm-async.a

$(B)/ringvm: $(O)/ringvm
	$(Q)ln -sf $(VARIANT)/ringvm $@ && touch -h $@

$(O)/ringvm: $(O)/src/vmm/main.o $(OBJ)
	$(if $(Q),@echo LINK $@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

$(O)/libringvm-async.a: $(ASYNC_OBJ)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

# The flags are part of what an object depends on.
$(O)/flags: FORCE
	@mkdir -p $(@D); echo '$(CC) $(ALL_CFLAGS)' | cmp -s - $@ || echo '$(CC) $(ALL_CFLAGS)' > $@
$(O)/%.o: %.c $(O)/flags
	@mkdir -p $(@D)
	$(if $(Q),@echo CC $<)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<
FORCE:

-include $(OBJ:.o=.d) $(TEST_OBJ:.o=.d) $(O)/src/vmm/main.d

include tests/tests.mk
include tests/model/model.mk
include fuzz/fuzz.mk
include bench/guest/guest.mk
include bench/bench.mk
include tools/tools.mk

.PHONY: clean
clean:
	rm -rf build
