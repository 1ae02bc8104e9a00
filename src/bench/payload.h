/* The bench guest, bench/guest/, which is built into this program. */
#pragma once
#include "base/compiler.h"
#include "base/err.h"

/*
 * A file that a monitor can boot: `*fd` is inherited by children, and open as /proc/self/fd/N there
 * as here. The caller closes it. 0, or a negative errno with its line.
 */
must_check int payload_open(int *fd, struct err *err);
