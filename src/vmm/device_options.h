/* The values of the options that describe devices: --block, --net, --rng, --serial. See
 * cli/option.h. */
#pragma once
#include "base/compiler.h"
#include "base/err.h"

/* Each adds what describes one device to `config`, a struct run_config. -EINVAL or -ERANGE with a
 * line that names option and key. */
must_check int block_option_apply(void *config, char *value, struct err *err);
must_check int net_option_apply(void *config, char *value, struct err *err);
must_check int rng_option_apply(void *config, char *value, struct err *err);
must_check int serial_option_apply(void *config, char *value, struct err *err);
