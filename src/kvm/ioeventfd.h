/* Private to src/kvm/: doorbells as KVM ioeventfds; the chip is the vm. */
#pragma once
#include "bus/doorbell.h"

extern const struct doorbell_chip_ops ioeventfd_ops;
