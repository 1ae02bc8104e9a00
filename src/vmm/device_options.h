/* The values of the options that describe devices: --block, --net, --serial. See options.h. */
#pragma once
#include "base/compiler.h"
#include "base/err.h"
#include "vmm/run_config.h"

/* Each adds one device to `config`. -EINVAL or -ERANGE with a line that names option and key. */
must_check int block_option_apply(struct run_config *config, char *value, struct err *err);
must_check int net_option_apply(struct run_config *config, char *value, struct err *err);
must_check int serial_option_apply(struct run_config *config, char *value, struct err *err);
