# The payload of `ringvm bench`: a kernel of its own, which is built into ringvm and can be given to other monitors.
PAYLOAD_DIRS := bench/guest bench/guest/$(ARCH)
PAYLOAD_OBJ := $(patsubst %,$(B)/%.o,$(wildcard $(PAYLOAD_DIRS:%=%/*.c) bench/guest/$(ARCH)/*.S))
PAYLOAD_LD := bench/guest/$(ARCH)/payload.ld
# No vector registers: not every KVM that emulates its guests has them. No calls that the compiler makes up.
PAYLOAD_FLAGS := -std=gnu17 -O2 -g $(WARN) -ffreestanding -nostdlib -static -fno-pic -no-pie -fno-stack-protector \
                 -fno-strict-aliasing -fno-asynchronous-unwind-tables -fno-tree-loop-distribute-patterns
PAYLOAD_FLAGS_x86_64 := -mgeneral-regs-only -mno-red-zone
PAYLOAD_COMMAND := $(CC) $(PAYLOAD_FLAGS) $(PAYLOAD_FLAGS_$(ARCH))

# What src/bench/$(ARCH)/payload.c takes in.
$(O)/gen/bench-guest: $(PAYLOAD_OBJ) $(PAYLOAD_LD)
	@mkdir -p $(@D)
	$(if $(Q),@echo LINK $@)
	$(Q)$(PAYLOAD_COMMAND) -Wl,-T,$(PAYLOAD_LD),--build-id=none,-z,noexecstack,--strip-debug -o $@ $(PAYLOAD_OBJ)
$(O)/src/bench/x86_64/payload.o: $(O)/gen/bench-guest

$(B)/bench/guest/%.o: bench/guest/% bench/guest/guest.mk
	@mkdir -p $(@D)
	$(if $(Q),@echo CC $<)
	$(Q)$(PAYLOAD_COMMAND) -MMD -MP -c -o $@ $<

-include $(PAYLOAD_OBJ:.o=.d)
