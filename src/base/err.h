/*
 * Errors of host set-up: what goes wrong before the guest runs, or because of the host. The
 * function that detects the error writes ONE line that names the file, option or device and what to
 * do; its callers pass the negative errno up unchanged; main prints the line. Guest misbehaviour is
 * never reported this way.
 */
#pragma once
#include "base/compiler.h"

struct err {
    char text[512];
};

/*
 * Stores the line and returns `code`, a negative errno, so that `return err_set(err, -ENOENT, ...)`
 * works. `err` may be NULL. The line has no newline and no program name. Any thread.
 */
int err_set(struct err *err, int code, const char *format, ...) printf_like(3, 4);
