# Goals that test. Unit tests mirror src/ below tests/unit/ and are one Criterion program per variant.
UNIT_FLAGS ?= --jobs $(if $(filter tsan,$(VARIANT)),1,2)
# Criterion's sandbox and ThreadSanitizer exclude each other: see tests/unit/tsan/criterion/criterion.h.
UNIT_LIBS := $(if $(OWN_RUNNER),,-lcriterion)

$(O)/unit: $(TEST_OBJ) $(OBJ)
	$(if $(Q),@echo LINK $@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS) $(UNIT_LIBS)

.PHONY: unit asan tsan stress-unit
# Where another architecture's programs run.
ON_ARCH := $(if $(CROSS),tests/host/run --arch $(ARCH) --timeout 1200 --attempts 2 --)
unit: $(O)/unit
	$(ON_ARCH) env LSAN_OPTIONS=suppressions=tests/unit/lsan.supp:print_suppressions=0 \
	  timeout -k 10 900 $(O)/unit $(UNIT_FLAGS)
# Sanitizer builds of everything, and the unit tests under them.
asan:
	$(MAKE) VARIANT=asan unit build/asan/ringvm
# Under ThreadSanitizer also every primitive in the stress tool, a little of each.
tsan:
	$(MAKE) VARIANT=tsan unit build/tsan/ringvm
	timeout -k 10 300 build/tsan/ringvm stress --duration 500ms --bound 60s
stress-unit:
	$(MAKE) VARIANT=stress unit

# The unit tests under valgrind's memcheck, some minutes.
.PHONY: valgrind
valgrind:
	$(MAKE) VARIANT=valgrind build/valgrind/unit
	valgrind -q --error-exitcode=99 --fair-sched=try --leak-check=full --show-leak-kinds=definite \
	  --errors-for-leak-kinds=definite --suppressions=tests/unit/valgrind.supp build/valgrind/unit

# The async library as others use it: installed, with its examples.
.PHONY: library-test
library-test: $(O)/library/libringvm-async.a
	tests/library/run

.PHONY: guest guest-all
# Guests of stock Debian kernels, on this machine's KVM or on an emulated host; guest-all has the long cases too.
guest: $(B)/ringvm $(O)/unit
	tests/guest/run
guest-all: $(B)/ringvm $(O)/unit
	tests/guest/run --all

.PHONY: test test-all demo shell
# Each step is a make of its own: what deps installs changes the flags that this one has read already.
JOBS ?= $(shell nproc)
test: deps
	$(MAKE) -j$(JOBS) unit
	$(MAKE) -j$(JOBS) asan
	$(MAKE) -j$(JOBS) tsan
	$(MAKE) model
	$(MAKE) library-test
	$(MAKE) bench-smoke
	$(MAKE) -j$(JOBS) lint
	$(MAKE) guest
	$(MAKE) test-aarch64
# The other architecture: nothing to test, which it says, only where there are no packages of it.
.PHONY: test-aarch64
test-aarch64:
	tests/aarch64/run || [ $$? -eq 69 ]
test-all: test
	$(MAKE) stress-unit
	$(MAKE) valgrind
	$(MAKE) guest-all
	ARCH=aarch64 tests/guest/run
	tests/guest/run --host-kernel 6.1
	MONITOR=build/asan/ringvm tests/guest/run
	ARCH=aarch64 HOST_GIC=2 tests/guest/run
	ARCH=aarch64 HOST_CPU=max tests/guest/run cpu-features
demo:
	@demo/run
shell:
	@demo/run --shell
