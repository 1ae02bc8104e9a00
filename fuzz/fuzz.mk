# Fuzz targets, one program per fuzz/*.c (libFuzzer, so clang): make fuzz FUZZ_SECONDS=60
FUZZ_SECONDS ?= 30
FUZZ_SRC := $(wildcard fuzz/*.c)
FUZZ_BIN := $(patsubst fuzz/%.c,$(O)/fuzz/%,$(FUZZ_SRC))
# gcc's list is not clang's.
FUZZ_WARN := -Wall -Wextra -Werror -Wno-gnu-variable-sized-type-not-at-end

# Without the programs of their own, one of which holds a payload that takes gcc.
FUZZ_OBJ := $(filter-out $(foreach m,bench latency stress vmm,$(O)/src/$(m)/%),$(OBJ))

$(O)/fuzz/%: $(O)/fuzz/%.o $(FUZZ_OBJ)
	$(if $(Q),@echo LINK $@)
	$(Q)$(CC) $(ALL_LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(LIBS)

# Kept, so that a second run compiles nothing.
.SECONDARY: $(FUZZ_SRC:%.c=$(O)/%.o)

.PHONY: fuzz fuzz-run $(FUZZ_BIN:%=run-%)
fuzz:
	$(MAKE) VARIANT=fuzz CC=clang WARN='$(FUZZ_WARN)' fuzz-run
# One of them: make fuzz-boot
fuzz-%:
	$(MAKE) VARIANT=fuzz CC=clang WARN='$(FUZZ_WARN)' run-build/fuzz/fuzz/$*
fuzz-run: $(FUZZ_BIN:%=run-%)
# What is found is kept beside the target; the corpus makes the next run start where this one ended.
$(FUZZ_BIN:%=run-%): run-%: %
	@mkdir -p $<.corpus
	$< -max_total_time=$(FUZZ_SECONDS) -max_len=8192 -artifact_prefix=$<. -print_final_stats=1 $<.corpus
