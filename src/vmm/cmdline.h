/* The kernel's command line: what the options imply, then what the user wrote, so that the user has
 * the last word. */
#pragma once
#include "base/compiler.h"
#include "base/err.h"
#include "vmm/run_config.h"

/* The caller frees *out. -ENOMEM. Whether a kernel accepts its length is the loader's business. */
must_check int cmdline_create(char **out, const struct run_config *config, struct err *err);
