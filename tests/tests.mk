# Goals that test. Unit tests mirror src/ below tests/unit/ and are one Criterion program per variant.
UNIT_FLAGS ?= --jobs 2 --timeout 120
# Criterion's sandbox and ThreadSanitizer exclude each other: see tests/unit/tsan/criterion/criterion.h.
UNIT_LIBS := $(if $(filter tsan,$(VARIANT)),,-lcriterion)

$(O)/unit: $(TEST_OBJ) $(OBJ)
	$(if $(Q),@echo LINK $@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS) $(UNIT_LIBS)

.PHONY: unit asan tsan stress-unit
unit: $(O)/unit
	$(O)/unit $(UNIT_FLAGS)
# Sanitizer builds of everything, and the unit tests under them.
asan:
	$(MAKE) VARIANT=asan unit build/asan/ringvm
tsan:
	$(MAKE) VARIANT=tsan unit
stress-unit:
	$(MAKE) VARIANT=stress unit
