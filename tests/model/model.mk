# The schedule explorer: production sources and scenarios compiled so that each access calls the explorer.
MODEL_O   := build/model
MODEL_SRC := $(wildcard tests/model/*.c)
# Production code that scenarios run.
MODEL_USE := src/base/err.c src/kvm/vm.c src/kvm/vcpu.c src/kvm/exit.c src/kvm/stop.c \
             $(wildcard src/virtio/queue*.c) src/exec/inbox.c src/exec/timeout.c $(wildcard src/sync/*.c)
MODEL_SCN := $(wildcard tests/model/scenarios/*.c)
model_obj  = $(patsubst %.c,$(MODEL_O)/%.o,$(1))
MODEL_OBJ := $(call model_obj,$(MODEL_SRC) $(MODEL_USE) $(MODEL_SCN))
MODEL_CFLAGS := -std=gnu17 -D_GNU_SOURCE -Itests/model/include -Itests/model -Isrc $(WARN) -O2 -g -fno-strict-aliasing \
                -fno-pie \
                -ffunction-sections -fdata-sections $(PKG_CFLAGS)
MODEL_WATCHED := -fsanitize=thread -Wno-tsan -Dmemcpy=model_memcpy -Dmemset=model_memset \
                 -Dcalloc=model_calloc -Dfree=model_free -Dclock_gettime=model_clock_gettime

# System calls that scenarios stand in for.
MODEL_WRAPS := write ioctl pthread_create pthread_join pthread_kill pthread_setname_np sigaction

# The random programs of self.c, too.
$(MODEL_O)/src/%.o $(MODEL_O)/tests/model/scenarios/%.o $(MODEL_O)/tests/model/self.o $(MODEL_O)/tests/model/tasks.o: MODEL_CFLAGS += $(MODEL_WATCHED)
$(MODEL_O)/%.o: %.c tests/model/model.mk
	@mkdir -p $(@D)
	$(if $(Q),@echo CC $<)
	$(Q)$(CC) $(MODEL_CFLAGS) -MMD -MP -c -o $@ $<

# Without -fsanitize=thread: the explorer is what it calls.
$(MODEL_O)/model: $(MODEL_OBJ)
	$(if $(Q),@echo LINK $@)
	$(Q)$(CC) -no-pie -Wl,--gc-sections $(MODEL_WRAPS:%=-Wl,--wrap=%) -o $@ $^

-include $(MODEL_OBJ:.o=.d)

# clang-tidy sees them as they are compiled.
build/lint/tests/model/%.tidy: ALL_CFLAGS = $(MODEL_CFLAGS)

# Each scenario to its end, or for so many runs; both need no more than two minutes. model-full takes hours.
.PHONY: model model-full
model: $(MODEL_O)/model
	$(MODEL_O)/model --self 300
	$(MODEL_O)/model --limit 100000
	tests/model/spin/check $(MODEL_O)/spin
model-full: $(MODEL_O)/model
	$(MODEL_O)/model --self 5000
	$(MODEL_O)/model --limit 20000000

# Production code with wrong edits, each of which the explorer or a unit test has to catch; some minutes.
.PHONY: mutants
mutants:
	tests/mutants/run
