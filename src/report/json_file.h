/* JSON documents, made with libjansson, as files. */
#pragma once
#include <jansson.h>

#include "base/compiler.h"
#include "base/err.h"

/*
 * Writes `root` to the file `path`, indented, members in the order in which they were set, and
 * releases it. "-" is standard output. A `root` that is NULL, because it could not be made, is
 * -ENOMEM; else 0 or a negative errno, with a line that names the file.
 */
must_check int json_file_write(json_t *root, const char *path, struct err *err);
